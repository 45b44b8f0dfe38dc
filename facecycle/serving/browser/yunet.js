// The detector yunet: boxes and landmarks of faces, from the three maps that its network makes of an image.
// The same as facecycle_plugins/detectors/yunet.py, whose docstrings say why.
//
// A face is { points, score }: the points are two corners of its box and five landmarks, in pixels.

import { crop, cutOut, reduced, resize, resizeBox, rounded } from "./resizing.js";
import { ALIGNED, Similarity, USED, fit } from "./similarity.js";

export const SCORE = 0.8;
const USUAL = [640, 160], CLOSER = 1280, LARGEST_SCALE = 2, MULTIPLE = 32, STRIDES = [8, 16, 32];
const OVERLAP = 0.3;
const PATCH = 192, FINEST = 1.25, ZOOMS = [1.8, 1.5, 2.2], PASSES = 2, REACH = 6.6;
const TURNS = [45, 90, 135, 180, 225, 270, 315], UPRIGHT = 0.9, SURER = 0.02;
const MIRRORED = [1, 0, 2, 4, 3];
const GAP = 2;

/**
 * Find the faces of an image, largest first: [{ box: [x, y, w, h], landmarks: [[x, y] x5], score }].
 *
 * `network` maps BGR planes, Float32Array of (n, 3, h, w), to a map (n, 16, h / s, w / s) for each stride s.
 */
export async function detect(image, network) {
  const faces = [];
  for (const { points, score } of await search(image, network)) {
    const [[a, b], [c, d]] = points; // a quarter turn back exchanges the corners
    const [left, top] = [Math.min(a, c), Math.min(b, d)];
    const box = [left, top, Math.max(a, c) - left, Math.max(b, d) - top];
    faces.push({ box, score, landmarks: await followed(image, points.slice(2), network) });
  }
  return faces.sort((one, other) => other.box[2] * other.box[3] - one.box[2] * one.box[3]);
}

/** Look at the usual sizes, then closer, then at the three quarter turns, of which the surest counts. */
async function search(image, network) {
  const length = Math.max(image.width, image.height);
  const usual = [...new Set(USUAL.map((side) => Math.min(1, side / length)))];
  for (const scales of [usual, [Math.min(LARGEST_SCALE, CLOSER / length)]]) {
    const found = await look(image, scales, network);
    if (found.length) return found;
  }
  let best = [];
  let turned = image;
  for (let turns = 1; turns < 4; turns++) {
    turned = quarterTurned(turned);
    const found = await look(turned, usual, network);
    const middle = [turned.width / 2, turned.height / 2];
    const back = ([x, y]) => turnedBack([x - middle[0], y - middle[1]], turns, image);
    if (surest(found) > surest(best)) best = found.map(({ points, score }) => ({ points: points.map(back), score }));
  }
  return best;
}

const surest = (found) => Math.max(0, ...found.map(({ score }) => score));

/** Turn an image by 90 degrees against the clock. */
function quarterTurned({ width, height, data }) {
  const from = new Uint32Array(data.buffer, data.byteOffset, width * height), to = new Uint32Array(width * height);
  for (let row = 0, place = 0; row < width; row++) {
    for (let column = 0; column < height; column++) to[place++] = from[column * width + (width - 1 - row)];
  }
  return { width: height, height: width, data: new Uint8ClampedArray(to.buffer) };
}

/** Map a point, seen from the middle of an image that was turned, to the image. */
function turnedBack([x, y], turns, { width, height }) {
  for (let i = 0; i < turns; i++) [x, y] = [-y, x];
  return [x + width / 2, y + height / 2];
}

async function look(image, scales, network) {
  const found = [];
  for (const scale of scales) found.push(...(await lookAt(image, scale, network)));
  return distinct(found);
}

async function lookAt(image, scale, network) {
  const small = resized(image, scale);
  const beyond = (length) => Math.ceil(length / MULTIPLE) * MULTIPLE;
  const [found] = await facesOf([small], beyond(small.width), beyond(small.height), network);
  const back = ([x, y]) => [(x * image.width) / small.width, (y * image.height) / small.height];
  return found.map(({ points, score }) => ({ points: points.map(back), score }));
}

function resized(image, scale) {
  const [width, height] = scaled(image, scale);
  return width === image.width && height === image.height ? image : resize(image, width, height, GAP);
}

const scaled = ({ width, height }, scale) => [width, height].map((side) => Math.max(1, rounded(side * scale)));

/** Find a face's landmarks again; of a large face, in a smaller image, which is as good and much faster. */
async function followed(image, landmarks, network) {
  const scale = (FINEST * PATCH) / around(landmarks, Math.max(...ZOOMS)).side;
  if (scale >= 1) return refined(image, landmarks, network);
  const { part, first, factors } = partOf(image, around(landmarks, REACH), scale);
  const there = (point) => point.map((place, axis) => place * factors[axis] - first[axis]);
  const found = await refined(part, landmarks.map(there), network);
  return found.map((point) => point.map((place, axis) => (place + first[axis]) / factors[axis]));
}

/** Return the part of a smaller image that a square covers, its first pixel [x, y], and the factors of x and y. */
function partOf(image, square, scale) {
  const sides = [image.width, image.height], small = scaled(image, scale), factors = small.map((s, i) => s / sides[i]);
  const corners = [[0, 0], [1, 0], [1, 1], [0, 1]].map((corner) => square.toPhotograph(corner));
  const edge = (most, beyond) => small.map((side, axis) => {
    const place = most(...corners.map((corner) => corner[axis] * factors[axis])) + beyond;
    return Math.trunc(Math.min(Math.max(place, 0), side));
  });
  const first = edge(Math.min, -2), last = edge(Math.max, 3);
  const block = factors.map((factor) => Math.max(1, Math.trunc(1 / factor / GAP)));
  const begin = first.map((place, i) => {
    return Math.floor(Math.max(place / factors[i] - 1 / factors[i] - block[i], 0) / block[i]) * block[i];
  });
  const end = last.map((place, i) => Math.ceil((place + 1) / factors[i] / block[i] + 1) * block[i]);
  const cut = reduced(cutOut(image, begin, end), ...block);
  const from = first.map((place, i) => (place / factors[i] - begin[i]) / block[i]);
  const to = last.map((place, i) => (Math.min(place / factors[i], sides[i]) - begin[i]) / block[i]);
  return { part: resizeBox(cut, [...from, ...to], last[0] - first[0], last[1] - first[1]), first, factors };
}

/** Find landmarks again in squares that they make upright; of a face that is not seen there, they stay. */
async function refined(image, landmarks, network) {
  let [best] = await seen(image, [around(landmarks, ZOOMS[0])], network);
  if (best.score < UPRIGHT) {
    const squares = TURNS.map((degrees) => around(landmarks, ZOOMS[0], degrees));
    best.score += SURER;
    for (const other of await seen(image, squares, network)) if (other.score > best.score) best = other;
  }
  if (best.score > SURER) landmarks = best.landmarks;
  for (let pass = 0; pass < PASSES; pass++) {
    const squares = ZOOMS.map((zoom) => around(landmarks, zoom));
    const all = await seen(image, squares, network, true);
    const sure = all.filter(({ score }) => score);
    if (sure.length) landmarks = landmarks.map((_, i) => [0, 1].map((axis) => meanOf(sure, i, axis)));
  }
  return landmarks;
}

const meanOf = (all, i, axis) => all.reduce((sum, { landmarks }) => sum + landmarks[i][axis], 0) / all.length;

/** Return landmarks, in pixels of the image, and the score of the face in the middle of each square; 0 for none. */
async function seen(image, squares, network, mirrored = false) {
  const patches = squares.map((square) => crop(image, square, PATCH));
  const found = (await facesOf(patches, PATCH, PATCH, network)).map(middle);
  const all = found.map(({ points, score }, i) => ({ square: squares[i], points, score }));
  if (mirrored) {
    const again = (await facesOf(patches.map(mirror), PATCH, PATCH, network)).map(middle);
    again.forEach(({ points, score }, i) => {
      all.push({ square: squares[i], points: MIRRORED.map((k) => [1 - points[k][0], points[k][1]]), score });
    });
  }
  return all.map(({ square, points, score }) => ({ landmarks: points.map((p) => square.toPhotograph(p)), score }));
}

function mirror({ width, height, data }) {
  const pixels = new Uint32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
  for (let row = 0; row < height; row++) pixels.subarray(row * width, (row + 1) * width).reverse();
  return { width, height, data: new Uint8ClampedArray(pixels.buffer) };
}

/** Run the network on images, whose borders go on to a width and height, and find the faces of each. */
async function facesOf(images, width, height, network) {
  const planes = new Float32Array(images.length * 3 * height * width);
  images.forEach((image, i) => fill(planes.subarray(i * 3 * height * width), image, width, height));
  const maps = await network(planes, [images.length, 3, height, width]);
  const found = (image) => STRIDES.flatMap((s, level) => decode(maps[level], image, width / s, height / s, s));
  return images.map((_, i) => distinct(found(i)));
}

/** Write an image as planes of blue, green and red. */
function fill(planes, image, width, height) {
  const size = width * height;
  for (let row = 0, to = 0; row < height; row++) {
    for (let column = 0; column < width; column++, to++) {
      const from = 4 * (Math.min(row, image.height - 1) * image.width + Math.min(column, image.width - 1));
      for (let channel = 0; channel < 3; channel++) planes[channel * size + to] = image.data[from + 2 - channel];
    }
  }
}

/** Turn one image of a map (n, 16, height, width) into faces whose score is at least `least`. */
export function decode(map, image, width, height, stride, least = SCORE) {
  const size = width * height, found = [];
  const at = (channel, cell) => map[(16 * image + channel) * size + cell];
  const share = (logit) => 1 / (1 + Math.exp(-logit));
  for (let cell = 0; cell < size; cell++) {
    const score = Math.sqrt(share(at(0, cell)) * share(at(1, cell))); // of class and objectness
    if (score < least) continue;
    const column = cell % width, row = Math.floor(cell / width);
    const half = [Math.exp(at(4, cell)) / 2, Math.exp(at(5, cell)) / 2];
    const place = (x, y) => [(x + column) * stride, (y + row) * stride];
    const [x, y] = [at(2, cell), at(3, cell)];
    const points = [place(x - half[0], y - half[1]), place(x + half[0], y + half[1])];
    for (let i = 0; i < 5; i++) points.push(place(at(6 + 2 * i, cell), at(7 + 2 * i, cell)));
    found.push({ points, score });
  }
  return found;
}

/** Keep the surest of the boxes that overlap (non-maximum suppression). */
export function distinct(found) {
  let left = [...found].sort((one, other) => other.score - one.score);
  const kept = [];
  while (left.length) {
    const [best, ...others] = left;
    kept.push(best);
    left = others.filter((other) => overlap(best.points, other.points) <= OVERLAP);
  }
  return kept;
}

function overlap([a, b], [c, d]) {
  const area = ([x, y], [right, bottom]) => (right - x) * (bottom - y);
  const width = Math.min(b[0], d[0]) - Math.max(a[0], c[0]), height = Math.min(b[1], d[1]) - Math.max(a[1], c[1]);
  const common = Math.max(width, 0) * Math.max(height, 0);
  return common / (area(a, b) + area(c, d) - common);
}

/** Return the square around a face that its landmarks make upright, turned further by some degrees. */
function around(landmarks, zoom, degrees = 0) {
  const aligned = fit(ALIGNED, USED.map((i) => landmarks[i]));
  return new Similarity(...aligned.toPhotograph([0.5, 0.45]), zoom * aligned.side, aligned.roll + degrees);
}

/** Return landmarks, in sides of a patch, and the score of the face in its middle; 0 where there is none. */
function middle(found) {
  let best = { score: 0, points: Array(7).fill([0, 0]) }, least = PATCH / 5;
  for (const face of found) {
    const [a, b] = face.points;
    const distance = Math.max(...[0, 1].map((axis) => Math.abs((a[axis] + b[axis]) / 2 - PATCH / 2)));
    if (distance < least || (distance === least && !best.score)) [best, least] = [face, distance];
  }
  return { points: best.points.slice(2).map(([x, y]) => [x / PATCH, y / PATCH]), score: best.score };
}
