// The networks in onnxruntime-web: their sessions, and faces to panels of numbers and back to pixels.

import * as ort from "./runtime/ort.wasm.bundle.min.mjs";

import { blank } from "./resizing.js";

ort.env.wasm.numThreads = 1; // more of them need headers that a plain file server does not send

const bytes = async (path) => {
  const answer = await fetch(new URL(path, import.meta.url));
  if (!answer.ok) throw new Error(`${path} cannot be loaded (${answer.status}). The folder is not complete.`);
  return new Uint8Array(await answer.arrayBuffer());
};

/** Return what the folder says of itself; see facecycle/serving/export_folder.py. */
export async function facts() {
  return JSON.parse(new TextDecoder().decode(await bytes("facts.json")));
}

/** Open a graph whose tensors are byte ranges of a file of weights: a promise of bytes, and the name of the file. */
async function session(graph, weights, name) {
  const externalData = [{ path: name, data: await weights }];
  // To optimise a graph takes longer here than all that is won while it runs, once for each face.
  const options = { externalData, graphOptimizationLevel: "disabled", logSeverityLevel: 3 };
  return ort.InferenceSession.create(await bytes(graph), options);
}

/** Open the detector's network; see `detect` in yunet.js. */
export async function openDetector() {
  const opened = await session("detector/yunet.onnx", bytes("detector/yunet.safetensors"), "yunet.safetensors");
  return async (planes, shape) => {
    const maps = await opened.run({ images: new ort.Tensor("float32", planes, shape) });
    return opened.outputNames.map((name) => maps[name].data);
  };
}

/** The graphs that a folder may have: of the panels of a face alone, and of all panels of a face and another one. */
export const ALONE = "face.onnx", PAIR = "pair.onnx";

/**
 * Open the networks of faces: the function that it returns makes the panels of a face, or of a face and another one.
 *
 * Faces are images of the side that the networks read. `flow` is { width, height, data }, other panels are images.
 * A graph that is not the first is opened when it is first needed. The weights are loaded once.
 */
export async function openFaces(facts) {
  const weights = bytes(`weights/${facts.weights}`), opened = {};
  const open = (graph) => (opened[graph] ??= session(`weights/${graph}`, weights, facts.weights));
  await open(facts.graphs[0]);
  return async (face, driver = null) => {
    const graph = driver ? PAIR : ALONE;
    if (!facts.graphs.includes(graph)) return {};
    const network = await open(graph);
    const feed = { images: normalised(face, facts) };
    if (network.inputNames.includes("drivers")) feed.drivers = normalised(driver, facts);
    const made = await network.run(feed);
    return Object.fromEntries(network.outputNames.map((name) => [name, panel(name, made[name], facts)]));
  };
}

function normalised({ width, height, data }, { mean, deviation }) {
  const size = width * height, planes = new Float32Array(3 * size);
  for (let i = 0; i < size; i++) {
    for (let channel = 0; channel < 3; channel++) {
      planes[channel * size + i] = (data[4 * i + channel] / 255 - mean[channel]) / deviation[channel];
    }
  }
  return new ort.Tensor("float32", planes, [1, 3, height, width]);
}

function panel(name, { data, dims }, { mean, deviation }) {
  const [height, width] = dims.slice(2), size = width * height;
  if (name === "flow") return { width, height, data };
  const image = blank(width, height); // whose array clamps, and rounds to the nearest level
  for (let i = 0; i < size; i++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * i + channel] = 255 * (data[channel * size + i] * deviation[channel] + mean[channel]);
    }
  }
  return image;
}
