// The page: its buttons, its numbers, and the way of pictures from a source to the worker, and of windows to the scene.

import { Cloud, Path } from "./cloud.js";
import { depthColours } from "./colours.js";
import { plyFile } from "./ply.js";
import { Scene } from "./scene.js";
import { PictureReader, cameraPictures, filePictures, openCamera, openFile } from "./source.js";

const $ = (id) => document.getElementById(id);
const MOST_CENTRES = 20_000; // of the path
const RATE_WINDOWS = 6; // over which frames/s is measured
const settings = await (await fetch("settings.json")).json();
const cloud = new Cloud(settings.most_points);
const path = new Path(MOST_CENTRES);
const scene = startScene();
const worker = new Worker("worker.js", { type: "module" });
const inFlight = { sent: 0, taken: 0 };
let run = 0;
let busy = true; // until the network is there
let wanted = false; // more pictures
let dropped = 0;
let frames = 0; // that are final
let ownVideo = ""; // the URL of what was chosen last
let windowTimes = []; // { at: milliseconds, frames } of the latest windows
let wake = () => {}; // whoever waits for room
let ended = () => {}; // whoever waits for the last window
let fail = () => {};

function startScene() {
  try {
    return new Scene($("scene"), settings.most_points);
  } catch (error) {
    say(error.message, { bad: true });
    throw error;
  }
}

function say(text, { bad = false } = {}) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function setBusy(now) {
  busy = now;
  $("choose").hidden = $("camera").hidden = now;
  $("clip").hidden = now || !settings.clip;
  $("stop").hidden = !now;
}

// The worker's answers

worker.onerror = (event) => say(`The network cannot be loaded: ${event.message ?? "see the console"}`, { bad: true });
worker.onmessage = ({ data }) => {
  if (data.kind === "loaded") loaded(data.about);
  else if (data.kind === "failed" && data.run === undefined) say(`The network cannot be loaded: ${data.message}`, { bad: true });
  else if (data.run === run) ({ window: showWindow, taken, failed: ({ message }) => fail(new Error(message)) })[data.kind](data);
};

function loaded({ on, threads, note }) {
  $("engine").textContent = on === "webgpu" ? "GPU (WebGPU)" : `CPU, ${threads} thread${threads > 1 ? "s" : ""}`;
  $("note").textContent = note;
  $("note").hidden = !note;
  document.body.dataset.engine = on;
  setBusy(false);
  say("Ready.");
}

function taken({ frames: count, finished }) {
  inFlight.taken += count;
  wake();
  if (finished) ended();
}

function showWindow({ final, provisional, worldFromCam, finalCount, newest, milliseconds, last }) {
  cloud.add(final);
  scene.addFrom(cloud);
  scene.setFresh(provisional);
  const centres = worldFromCam.map(({ translation }) => translation);
  centres.slice(0, finalCount).forEach((centre) => path.add(centre));
  const depth = Float32Array.from(newest.depth).sort()[newest.depth.length >> 1];
  scene.setPath([...path.centres, ...centres.slice(finalCount)], worldFromCam.at(-1), depth, newest.width / newest.height);
  paintDepth(newest);
  frames += finalCount;
  windowTimes.push({ at: performance.now(), frames: finalCount });
  if (!last) windowTimes = windowTimes.slice(-RATE_WINDOWS);
  showNumbers(milliseconds);
  if (last) lookAtAll();
}

function showNumbers(milliseconds) {
  $("frames").textContent = frames.toLocaleString("en");
  $("points").textContent = (cloud.count + scene.freshCount).toLocaleString("en");
  $("save").disabled = cloud.count === 0;
  const [first] = windowTimes;
  const seconds = (windowTimes.at(-1).at - first.at) / 1000;
  const count = windowTimes.slice(1).reduce((sum, one) => sum + one.frames, 0);
  if (seconds > 0) $("rate").textContent = (count / seconds).toFixed(1);
  $("rate").title = `the network takes ${milliseconds.toFixed(0)} ms for a window`;
}

function paintDepth({ depth, height, width }) {
  const canvas = $("depth");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(new ImageData(depthColours(depth, settings.depth_colours), width, height), 0, 0);
}

function lookAtAll() {
  const step = Math.max(Math.floor(cloud.count / 5000), 1);
  const points = [...path.centres];
  for (let n = 0; n < cloud.count; n += step) points.push(cloud.positions.subarray(3 * n, 3 * n + 3));
  const sorted = (values) => Float64Array.from(values).sort();
  const middle = [0, 1, 2].map((axis) => sorted(points.map((point) => point[axis]))[points.length >> 1]);
  const far = sorted(points.map((point) => Math.hypot(...middle.map((x, n) => x - point[n]))));
  scene.overview(middle, far[Math.floor(0.9 * (far.length - 1))]);
}

// A run: from a source to the last window

async function reconstruct(open, pictures) {
  if (busy) return;
  setBusy(true);
  start();
  const failure = new Promise((_, reject) => (fail = reject));
  failure.catch(() => {});
  let close = () => {};
  try {
    say("Opening …");
    close = await open($("video"));
    $("stage").classList.remove("empty");
    const reader = new PictureReader($("video"), { patch: settings.patch, maxPixels: settings.max_pixels });
    const began = performance.now();
    const feeding = feed(pictures($("video"), reader));
    feeding.catch(() => {}); // it is reported here, or a failure before it is
    await Promise.race([feeding, failure]);
    const finished = new Promise((resolve) => (ended = resolve));
    worker.postMessage({ kind: "finish", run });
    await Promise.race([finished, failure]);
    report((performance.now() - began) / 1000);
  } catch (error) {
    say(`Stopped: ${error.message}`, { bad: true });
  } finally {
    wanted = false;
    wake();
    close();
    $("progress").hidden = true;
    setBusy(false);
  }
}

function start() {
  run++;
  wanted = true;
  Object.assign(inFlight, { sent: 0, taken: 0 });
  [frames, dropped, windowTimes] = [0, 0, []];
  cloud.clear();
  path.clear();
  scene.clear();
  $("rate").textContent = "–";
  $("frames").textContent = $("points").textContent = "0";
  $("save").disabled = true;
  worker.postMessage({ kind: "begin", run });
}

async function feed(pictures) {
  for await (const { frame, done } of pictures) {
    worker.postMessage({ kind: "frame", run, frame }, [frame.rgb.buffer]);
    inFlight.sent++;
    $("progress").hidden = done === null;
    if (done !== null) $("progress").value = done;
    const lost = dropped ? ` ${dropped.toLocaleString("en")} pictures left out: the network is slower than the camera.` : "";
    say(`Reconstructing …${lost}`);
  }
}

function report(seconds) {
  if (!frames) throw new Error("there was no picture");
  const rate = frames / seconds;
  $("rate").textContent = rate.toFixed(1);
  say(`Done: ${frames.toLocaleString("en")} frames in ${seconds.toFixed(1)} s, ${rate.toFixed(1)} frames/s.`);
}

function hasRoom(windows) {
  return inFlight.sent - inFlight.taken < windows * settings.window;
}

/** Resolves when the worker has room: true, or false where no more pictures are wanted. */
async function room() {
  while (wanted && !hasRoom(1)) await new Promise((resolve) => (wake = resolve));
  return wanted;
}

function reconstructCamera() {
  const rate = Number($("pictures").value);
  const options = { rate, hasRoom: () => hasRoom(2), isWanted: () => wanted, dropped: () => dropped++ };
  return reconstruct(openCamera, (video, reader) => cameraPictures(video, reader, options));
}

function reconstructOwn(file) {
  if (busy) return undefined;
  URL.revokeObjectURL(ownVideo); // the video of before was shown until now
  const url = (ownVideo = URL.createObjectURL(file));
  const rate = Number($("pictures").value);
  return reconstruct((video) => openFile(video, url), (video, reader) => filePictures(video, reader, { rate, room }));
}

// The page

$("file").onchange = ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) reconstructOwn(file);
};
$("choose").onkeydown = ({ key }) => (key === "Enter" || key === " ") && $("file").click();
$("camera").onclick = reconstructCamera;
$("clip").onclick = async () => {
  say("Loading the clip …");
  const response = await fetch(settings.clip); // as a whole: not every server gives a part of a file
  if (response.ok) reconstructOwn(await response.blob());
  else say(`The clip cannot be loaded (${response.status}).`, { bad: true });
};
$("stop").onclick = () => {
  wanted = false;
  wake();
};
$("save").onclick = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(plyFile(cloud));
  link.download = "openloger-cloud.ply";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
};
$("follow").onclick = () => scene.follow();
$("stage").ondragover = (event) => {
  event.preventDefault();
  $("stage").classList.add("over");
};
$("stage").ondragleave = () => $("stage").classList.remove("over");
$("stage").ondrop = (event) => {
  event.preventDefault();
  $("stage").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file && !busy) reconstructOwn(file);
};
$("on").onchange = ({ target }) => {
  location.search = target.value === "auto" ? "" : `?on=${target.value}`;
};

function drawAlways() {
  scene.draw();
  $("follow").hidden = scene.isFollowing || !scene.camera;
  requestAnimationFrame(drawAlways);
}

$("stage").classList.add("empty");
$("about").textContent = settings.about;
$("most").textContent = settings.most_points.toLocaleString("en");
drawAlways();
const asked = new URLSearchParams(location.search);
const on = ["cpu", "gpu"].includes(asked.get("on")) ? asked.get("on") : "auto";
$("on").value = on;
worker.postMessage({
  kind: "load",
  selection: { confidenceMin: settings.confidence_min, leastEdge: settings.least_edge },
  wanted: { on, threads: Number(asked.get("threads")) || null },
});
