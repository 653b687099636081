// Where pictures come from: a video file, read at even times, or the camera, as fast as there is room for them.

import { resizeRgb } from "./resize.js";
import { leastStretchedSize } from "./sizing.js";

const SHRUNK = 4; // times the network's size, at most, of what is read from the browser: what is larger it shrinks
const STALLED_MS = 1000;
const FAR_S = 0.5; // off a time that was asked for: where a server gives a video only from its beginning
const MOMENT_S = 1e-3; // into a picture's time, so that rounding does not give the one before

/** Reads a video element's current picture at the network's size, always of the same video. */
export class PictureReader {
  constructor(video, sizing) {
    this.video = video;
    this.native = [video.videoHeight, video.videoWidth];
    this.size = leastStretchedSize(...this.native, sizing);
    this.canvas = document.createElement("canvas");
    [this.canvas.height, this.canvas.width] = this.native.map((side, n) => Math.min(side, SHRUNK * this.size[n]));
    this.context = this.canvas.getContext("2d", { willReadFrequently: true, alpha: false });
    this.context.imageSmoothingQuality = "high";
  }

  read() {
    const { video, canvas, context, native, size } = this;
    if (video.videoHeight !== native[0] || video.videoWidth !== native[1]) {
      throw new Error(
        `the picture changed from ${native[1]}×${native[0]} to ${video.videoWidth}×${video.videoHeight}: start again`,
      );
    }
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return { rgb: resizeRgb(data, [canvas.height, canvas.width], size), height: size[0], width: size[1] };
  }
}

/** Shows a video file in the element, paused; returns a function that ends what runs, which is nothing. */
export async function openFile(video, url) {
  video.srcObject = null;
  video.src = url;
  video.muted = true;
  await happened(video, "loadeddata", "this browser cannot play the file: try MP4 (H.264) or WebM");
  if (!Number.isFinite(video.duration)) await seek(video, 1e7); // recordings of a browser: their end is found so
  await seek(video, 0);
  return () => {};
}

/** Pictures of a file, `rate` a second, each as soon as `room()` resolves; ends early where that gives false. */
export async function* filePictures(video, reader, { rate, room }) {
  const count = Math.max(Math.ceil(video.duration * rate - MOMENT_S), 1);
  for (let n = 0; n < count; n++) {
    if (!(await room())) return;
    await seek(video, Math.min(n / rate + MOMENT_S, video.duration));
    yield { frame: reader.read(), done: (n + 1) / count };
  }
}

/** Shows the camera in the element; returns a function that turns it off, and leaves its last picture. */
export async function openCamera(video) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("the camera needs a page at https:// or at localhost");
  }
  const wanted = { facingMode: "environment", width: { ideal: 640 }, height: { ideal: 480 } };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  } catch (error) {
    throw new Error(`the camera cannot be used (${error.name}): allow it for this page, or choose a video`);
  }
  video.srcObject = stream;
  video.muted = true;
  await video.play();
  return () => stream.getTracks().forEach((track) => track.stop());
}

/** Pictures of the camera, at most `rate` a second; `dropped()` is called for each for which there is no room. */
export async function* cameraPictures(video, reader, { rate, hasRoom, isWanted, dropped }) {
  let next = -Infinity;
  while (isWanted()) {
    const now = await nextPicture(video);
    if (now === null || now < next) continue;
    next = Math.max(next + 1000 / rate, now + 500 / rate); // evenly, and with no rush after a pause
    if (!isWanted()) return;
    if (hasRoom()) yield { frame: reader.read(), done: null };
    else dropped();
  }
}

/** The time of the next picture in milliseconds; null where none comes for a while. */
function nextPicture(video) {
  return new Promise((resolve) => {
    setTimeout(resolve, STALLED_MS, null);
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
}

async function seek(video, time) {
  const arrived = happened(video, "seeked", "the video cannot be read further");
  video.currentTime = time;
  await arrived;
  const wanted = Math.min(time, video.duration);
  if (Math.abs(video.currentTime - wanted) > FAR_S) throw new Error("the video cannot be read at times of one's choice");
}

function happened(video, event, failure) {
  return new Promise((resolve, reject) => {
    const settle = (settled, value) => () => {
      video.removeEventListener(event, good);
      video.removeEventListener("error", bad);
      settled(value);
    };
    const good = settle(resolve);
    const bad = settle(reject, new Error(failure));
    video.addEventListener(event, good);
    video.addEventListener("error", bad);
  });
}
