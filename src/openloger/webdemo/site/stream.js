// The engine: frames in, placed windows out, one window in hand at a time: as streaming/stream.py.

import { withoutFastWeights } from "./network.js";
import { place, rigidly, windowPoses } from "./placement.js";
import { FrameWindows } from "./windows.js";

export class Stream {
  /** `network` has `description`, and `run` as an ExportedNetwork. */
  constructor(network) {
    const { window, overlap, config } = network.description;
    this.network = network;
    this.placement = config.placement;
    this.resetEvery = (overlap && config.reset_every) || 0; // windows; the length of what comes is not known
    this.overlap = overlap;
    this.windows = new FrameWindows(window, overlap);
    this.memory = {};
    this.anchor = null;
    this.number = 0;
  }

  /** Takes a picture { rgb, height, width }; returns the placed window that it completes, or null. */
  async push(frame) {
    const group = this.windows.push(frame);
    return group && this.passed(group);
  }

  /** The last window; null where there was no frame. */
  async finish() {
    const group = this.windows.finish();
    return group && this.passed(group);
  }

  /**
   * A placed window: `worldFromCam` are rigid motions, one a frame, `pointsCam` (frame × height × width × 3, in world
   * units), `confidenceLogit`, and `finalCount` leading frames that no later window estimates again.
   */
  async passed({ frames, last }) {
    const startsBlock = this.number > 0 && this.resetEvery > 0 && this.number % this.resetEvery === 0;
    const memory = startsBlock ? withoutFastWeights(this.memory) : this.memory;
    const found = await this.network.run(frames, memory, { last });
    const area = frames[0].height * frames[0].width;
    const windowFromCam = windowPoses(found.worldFromCam);
    const depthOf = (frame) => depths(found.pointsCam, frame * area, area);
    const worldFromWindow = place(this.placement, windowFromCam, depthOf(0), this.anchor, { startsBlock });
    const worldFromCam = windowFromCam.map((one) => rigidly(worldFromWindow, one));
    const pointsCam = found.pointsCam;
    if (worldFromWindow.scale !== 1) {
      const scale = Math.fround(worldFromWindow.scale);
      for (let n = 0; n < pointsCam.length; n++) pointsCam[n] *= scale;
    }
    const shared = Math.max(frames.length - this.overlap, 0); // the first frame that the next window has, too
    const number = this.number++;
    this.memory = found.memory;
    this.anchor = this.overlap && shared < frames.length
      ? { worldFromWindow, firstWorldFromCam: worldFromCam[shared], firstDepth: depthOf(shared) }
      : null;
    const finalCount = last ? frames.length : shared;
    return { number, frames, worldFromCam, pointsCam, confidenceLogit: found.confidenceLogit, finalCount, last };
  }
}

/** z of `count` points from the one numbered `first` on. */
export function depths(points, first, count) {
  return Float32Array.from({ length: count }, (_, n) => points[3 * (first + n) + 2]);
}
