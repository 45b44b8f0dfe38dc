// What the page asks, computed beside it, so that it stays responsive: photographs to faces and to pictures of them.

import { inverse, moved, paste } from "./motion.js";
import { PAIR, facts as readFacts, openDetector, openFaces } from "./networks.js";
import { isJpeg, read, write } from "./photographs.js";
import { crop } from "./resizing.js";
import { align, doubtsOf } from "./similarity.js";
import { detect } from "./yunet.js";

const KEPT = 2;
/** Photographs whose faces and panels are remembered, because a slider asks again and again: one, and its driver. */
const kept = new Map();
let opened;

/** Load the networks, once: { facts, detector, panels }. */
function load() {
  opened ??= (async () => {
    const facts = await readFacts();
    const [detector, panels] = await Promise.all([openDetector(), openFaces(facts)]);
    return { facts, detector, panels };
  })();
  return opened;
}

const answers = {
  async open() {
    const { terms, origin, moves, panels } = (await load()).facts;
    return { terms, origin, moves, panels };
  },

  async find(picture) {
    const { image, faces } = await photograph(picture);
    const { width, height } = image;
    return { width, height, faces: faces.map(({ box, landmarks, doubts }) => ({ box, landmarks, doubts })) };
  },

  async translate(picture, { face: place, strength, driver }) {
    const { image, faces } = await photograph(picture), face = faces[place];
    if (!face) {
      const there = faces.length === 1 ? "is 1 face" : `are ${faces.length} faces`;
      throw new Error(`There is no face ${place + 1}, because there ${there}.`);
    }
    const other = driver ? (await photograph(driver)).faces[0] : null;
    const { size, panels } = (await load()).facts, { flow, ...images } = await panelsOf(face, other), made = {};
    if (flow) {
      const flows = other ? [flow, inverse((await panelsOf(other)).flow, size)] : [flow];
      const kind = (await isJpeg(picture.blob)) ? "image/jpeg" : "image/png";
      made.pasted = await write(paste(image, face.similarity, flows, strength, size), kind);
      images.frontal = moved(image, face.similarity, [flow], strength, size);
      if (other) images.reexpressed = moved(image, face.similarity, flows, strength, size);
    }
    const shown = panels.filter(({ name }) => images[name]);
    const files = await Promise.all(shown.map(async ({ name }) => [name, await write(images[name])]));
    return { ...made, ...Object.fromEntries(files) };
  },
};

/** Return the upright image of a picture { number, blob } and its faces, of which there is one at least. */
function photograph({ number, blob }) {
  const known = kept.get(number) ?? found(blob);
  kept.delete(number);
  kept.set(number, known); // as the last one
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return known;
}

async function found(blob) {
  const { facts, detector } = await load(), image = await read(blob);
  const faces = await detect(image, detector);
  if (!faces.length) {
    throw new Error("No face was found. Faces are found from 20 pixels on, best where both eyes can be seen.");
  }
  const ready = faces.map((face) => {
    const similarity = align(face), pixels = crop(image, similarity, facts.size);
    return { ...face, similarity, pixels, doubts: doubtsOf(face, image), panels: new Map() };
  });
  return { image, faces: ready };
}

/** Return the panels of a face, or of a face and the one that it follows, which no strength changes. */
async function panelsOf(face, other = null) {
  if (!(await load()).facts.graphs.includes(PAIR)) other = null;
  if (!face.panels.has(other)) {
    face.panels.clear(); // of drivers before
    face.panels.set(other, (await load()).panels(face.pixels, other?.pixels));
  }
  return face.panels.get(other);
}

// One question after the other: the networks' memory is one.
let last = Promise.resolve();
addEventListener("message", ({ data: { id, name, parameters } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, value: await answers[name](...parameters) });
    } catch (error) {
      postMessage({ id, message: error.message });
    }
  });
});
