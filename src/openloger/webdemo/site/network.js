// An exported network in ONNX Runtime Web: a window and the memory in, a prediction and the next memory out.
// As network/exported/onnx_network.py; the folder is what `openloger export-network` writes.

import { frameRoles } from "./windows.js";

const NEXT = "next.";
const FAST_WEIGHTS = "fast_weights.";
const OF_BYTE = Float32Array.from({ length: 256 }, (_, n) => n / 255);

export class ExportedNetwork {
  constructor(ort, description, initial, graphs) {
    this.ort = ort;
    this.description = description;
    this.initial = initial; // name → tensor: the fast weights before the first window
    this.graphs = graphs; // "first", "steady" → session
  }

  /** Fetches a folder (a URL that ends in a slash). `options` are those of an inference session. */
  static async load(ort, folder, options) {
    const description = await (await fetched(folder + "network.json")).json();
    const initial = await readInitial(ort, folder + "initial_memory.safetensors", description);
    const graphs = {};
    for (const kind of Object.keys(description.inputs)) {
      const graph = new Uint8Array(await (await fetched(`${folder}${kind}.onnx`)).arrayBuffer());
      graphs[kind] = await ort.InferenceSession.create(graph, options);
    }
    return new ExportedNetwork(ort, description, initial, graphs);
  }

  /**
   * `frames`: pictures { rgb, height, width } of one size, `memory`: what the window before left, {} at first.
   * Returns { worldFromCam (frame × 16), pointsCam (frame × height × width × 3), confidenceLogit, memory }.
   */
  async run(frames, memory, { last }) {
    const { description } = this;
    const given = {
      ...this.initial,
      ...memory,
      images: this.images(frames),
      roles: this.roles(frames.length),
    };
    const steady = description.inputs.steady;
    const kind = steady && Object.keys(steady).every((name) => name in given) ? "steady" : "first";
    const feeds = Object.fromEntries(Object.keys(description.inputs[kind]).map((name) => [name, given[name]]));
    const wanted = description.outputs.filter((name) => !(last && name.startsWith(NEXT)));
    const found = await this.graphs[kind].run(feeds, wanted);
    const next = wanted.filter((name) => name.startsWith(NEXT));
    return {
      worldFromCam: found.world_from_cam.data,
      pointsCam: found.points_cam.data,
      confidenceLogit: found.confidence_logit.data,
      memory: Object.fromEntries(next.map((name) => [name.slice(NEXT.length), found[name]])),
    };
  }

  /** sRGB in [0, 1], channel by channel: 1 × frame × 3 × height × width. */
  images(frames) {
    const { height, width } = frames[0];
    const area = height * width;
    const values = new Float32Array(frames.length * 3 * area);
    frames.forEach(({ rgb }, frame) => {
      for (let channel = 0; channel < 3; channel++) {
        const start = (3 * frame + channel) * area;
        for (let pixel = 0; pixel < area; pixel++) values[start + pixel] = OF_BYTE[rgb[3 * pixel + channel]];
      }
    });
    return new this.ort.Tensor("float32", values, [1, frames.length, 3, height, width]);
  }

  roles(count) {
    const roles = frameRoles(count, this.description.window, this.description.overlap);
    return new this.ort.Tensor("int64", BigInt64Array.from(roles, BigInt), [count]);
  }
}

/** The memory without what was learned: LoGeR's reset for long videos. */
export function withoutFastWeights(memory) {
  return Object.fromEntries(Object.entries(memory).filter(([name]) => !name.startsWith(FAST_WEIGHTS)));
}

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} cannot be loaded (${response.status}): write the page again`);
  return response;
}

/** float32 tensors of a safetensors file, by name. */
async function readInitial(ort, url, description) {
  const content = await (await fetched(url)).arrayBuffer();
  const headerBytes = Number(new DataView(content).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 8, headerBytes)));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (dtype !== "F32" || !(name in description.inputs.first)) throw new Error(`${url}: ${name} is not expected`);
    const bytes = content.slice(8 + headerBytes + begin, 8 + headerBytes + end);
    tensors[name] = new ort.Tensor("float32", new Float32Array(bytes), shape);
  }
  return tensors;
}
