// The network's thread: pictures come in, placed windows go out. Messages are answered in their order.

import { framePoints } from "./cloud.js";
import { loadEngine } from "./engine.js";
import { depths } from "./stream.js";

let engine = null;
let stream = null;
let selection = null;
let run = 0; // what belongs to an earlier one is dropped
let before = Promise.resolve();

self.onmessage = ({ data }) => {
  if (data.kind === "begin") run = data.run; // at once, so that what waits for an earlier run does no work
  before = before.then(() => answer(data)).catch((error) => {
    self.postMessage({ kind: "failed", run: data.run, message: error.message ?? String(error) });
  });
};

async function answer(message) {
  if (message.kind === "load") {
    selection = message.selection;
    engine = await loadEngine(new URL(".", self.location.href), message.wanted);
    self.postMessage({ kind: "loaded", about: engine.about });
    return;
  }
  if (message.run !== run) return;
  if (message.kind === "begin") stream = engine.stream();
  if (message.kind === "frame") await passed(() => stream.push(message.frame), { frames: 1 });
  if (message.kind === "finish") await passed(() => stream.finish(), { frames: 0 });
}

async function passed(step, { frames }) {
  const mine = run;
  const start = performance.now();
  const placed = await step();
  if (placed && mine === run) {
    const shown = windowToShow(placed, performance.now() - start);
    self.postMessage({ kind: "window", run: mine, ...shown }, shown.buffers);
  }
  self.postMessage({ kind: "taken", run: mine, frames, finished: frames === 0 });
}

function windowToShow(placed, milliseconds) {
  const { finalCount, worldFromCam, last } = placed;
  const points = placed.frames.map((_, frame) => framePoints(placed, frame, selection));
  const newest = placed.frames.length - 1;
  const { height, width } = placed.frames[newest];
  const depth = depths(placed.pointsCam, newest * height * width, height * width);
  const final = joined(points.slice(0, finalCount));
  const provisional = joined(points.slice(finalCount));
  const buffers = [final, provisional].flatMap(({ positions, colours }) => [positions.buffer, colours.buffer]);
  return {
    final, provisional, worldFromCam, finalCount, last, milliseconds,
    newest: { depth, height, width },
    buffers: [...buffers, depth.buffer],
  };
}

function joined(parts) {
  const count = parts.reduce((sum, { colours }) => sum + colours.length, 0);
  const whole = { positions: new Float32Array(count), colours: new Uint8Array(count) };
  let at = 0;
  for (const { positions, colours } of parts) {
    whole.positions.set(positions, at);
    whole.colours.set(colours, at);
    at += colours.length;
  }
  return whole;
}
