// Which processor runs the network, and the stream on it.

import { ExportedNetwork } from "./network.js";
import { Stream } from "./stream.js";

const MOST_THREADS = 4;

/**
 * Loads ONNX Runtime and the network. `wanted`: { on: "auto", "gpu" or "cpu", threads: a number or null }.
 * Returns { stream: () => a new Stream, about: { on, threads, note } }; `note` is what did not go as wanted, or "".
 */
export async function loadEngine(base, wanted) {
  const { precision, cpu_nodes: cpuNodes } = await (await fetch(new URL("settings.json", base))).json();
  const adapter = wanted.on === "cpu" ? null : await navigator.gpu?.requestAdapter();
  let note = "";
  if (wanted.on === "gpu" && !adapter) note = "This browser has no WebGPU here, so the CPU is used.";
  if (adapter && precision === "int8") note = "The int8 network runs on the CPU.";
  if (adapter && precision !== "int8") {
    try {
      const provider = { name: "webgpu", forceCpuNodeNames: cpuNodes };
      return await started(base, provider, 1, "");
    } catch (error) {
      note = `WebGPU failed, so the CPU is used: ${error.message}`;
    }
  }
  if (!self.crossOriginIsolated) {
    note ||= "One thread only: this server does not send the headers for more (COOP, COEP).";
  }
  return started(base, { name: "wasm" }, threadsFor(wanted.threads), note);
}

function threadsFor(wanted) {
  if (!self.crossOriginIsolated) return 1; // no memory can be shared between threads
  const cores = navigator.hardwareConcurrency || 1;
  return wanted ?? Math.min(Math.max(cores - 1, 1), MOST_THREADS); // one is for the page
}

async function started(base, provider, threads, note) {
  const ort = await import(new URL(`runtime/ort.${provider.name}.min.mjs`, base).href);
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = new URL("runtime/", base).href;
  const options = { executionProviders: [provider], logSeverityLevel: 3 };
  const network = await ExportedNetwork.load(ort, new URL("network/", base).href, options);
  await tried(network);
  return { stream: () => new Stream(network), about: { on: provider.name, threads, note } };
}

/** A first and a steady window of small grey pictures, so that what fails, fails before a video is chosen. */
async function tried(network) {
  const { patch, window } = network.description;
  const side = 4 * patch;
  const grey = { rgb: new Uint8Array(3 * side * side).fill(127), height: side, width: side };
  const stream = new Stream(network);
  for (let n = 0; n < 2 * window; n++) await stream.push(grey);
}
