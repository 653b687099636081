// Which pixels become points, and the cloud that keeps a bounded number of them: as export/selection.py.

import { turned } from "./placement.js";
import { depths } from "./stream.js";

/** The largest depth range of a pixel's 3 × 3 neighbourhood, relative to its depth: more in a low picture. */
export function usualEdge(height, leastEdge) {
  return Math.max(leastEdge, 2 / (height / 4));
}

/** Where depth is finite and positive, confidence suffices and the surface does not break; a byte a pixel. */
export function trustedPixels(depth, confidenceLogit, height, width, { confidenceMin, leastEdge }) {
  const relative = Math.fround(usualEdge(height, leastEdge));
  const isDepth = (d) => d > 0 && d < Infinity;
  return Uint8Array.from({ length: height * width }, (_, pixel) => {
    const own = depth[pixel];
    if (!isDepth(own) || 1 / (1 + Math.exp(-confidenceLogit[pixel])) < confidenceMin) return 0;
    const row = Math.floor(pixel / width);
    const column = pixel % width;
    let [nearest, farthest] = [own, own];
    for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, height - 1); y++) {
      for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, width - 1); x++) {
        const beside = depth[y * width + x];
        if (!isDepth(beside)) return 0;
        nearest = Math.min(nearest, beside);
        farthest = Math.max(farthest, beside);
      }
    }
    return Number(Math.fround(farthest - nearest) <= Math.fround(relative * own));
  });
}

/** World points and colours of one frame of a placed window: { positions (point × 3), colours (point × 3 bytes) }. */
export function framePoints(placed, frame, selection) {
  const { rgb, height, width } = placed.frames[frame];
  const { rotation, translation } = placed.worldFromCam[frame];
  const area = height * width;
  const logit = placed.confidenceLogit.subarray(frame * area, (frame + 1) * area);
  const trusted = trustedPixels(depths(placed.pointsCam, frame * area, area), logit, height, width, selection);
  const count = trusted.reduce((sum, one) => sum + one, 0);
  const positions = new Float32Array(3 * count);
  const colours = new Uint8Array(3 * count);
  let to = 0;
  for (let pixel = 0; pixel < area; pixel++) {
    if (!trusted[pixel]) continue;
    const from = 3 * (frame * area + pixel);
    const point = turned(rotation, placed.pointsCam.subarray(from, from + 3));
    for (let axis = 0; axis < 3; axis++, to++) {
      positions[to] = point[axis] + translation[axis];
      colours[to] = rgb[3 * pixel + axis];
    }
  }
  return { positions, colours };
}

/**
 * At most `most` points, from all of the video: when it is full, every second one goes, and from then on every second
 * (then fourth, eighth, …) new one is kept.
 */
export class Cloud {
  constructor(most) {
    this.most = most;
    this.positions = new Float32Array(3 * most);
    this.colours = new Uint8Array(3 * most);
    this.clear();
  }

  clear() {
    this.count = 0;
    this.seen = 0;
    this.stride = 1;
    this.thinnings = 0; // whoever has a copy of the points needs them all anew when this changes
  }

  add({ positions, colours }) {
    for (let n = 0; n < positions.length / 3; n++, this.seen++) {
      if (this.seen % this.stride) continue;
      if (this.count === this.most) {
        this.thin();
        if (this.seen % this.stride) continue;
      }
      for (let axis = 0; axis < 3; axis++) {
        this.positions[3 * this.count + axis] = positions[3 * n + axis];
        this.colours[3 * this.count + axis] = colours[3 * n + axis];
      }
      this.count++;
    }
  }

  thin() {
    const kept = Math.ceil(this.count / 2);
    for (let n = 0; n < kept; n++) {
      this.positions.copyWithin(3 * n, 6 * n, 6 * n + 3);
      this.colours.copyWithin(3 * n, 6 * n, 6 * n + 3);
    }
    this.count = kept;
    this.stride *= 2;
    this.thinnings++;
  }
}

/** At most `most` camera centres, thinned as a Cloud is. */
export class Path {
  constructor(most) {
    this.most = most;
    this.clear();
  }

  clear() {
    this.centres = [];
    this.seen = 0;
    this.stride = 1;
  }

  add(centre) {
    if (this.seen++ % this.stride === 0) this.centres.push(centre);
    if (this.centres.length <= this.most) return;
    this.centres = this.centres.filter((_, n) => n % 2 === 0);
    this.stride *= 2;
  }
}
