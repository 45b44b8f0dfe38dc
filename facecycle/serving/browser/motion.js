// Faces moved at the photograph's own resolution, by the flows that a network saw in the small crop.
// The same as facecycle/faces/motion.py and sampling.py, whose docstrings say why.
//
// A flow is { width, height, data }: all x, then all y, in grid units. -1 and 1 are the outermost pixels' centres.

import { blank, crop, finestSide, rounded, shrunk } from "./resizing.js";
import { fit } from "./similarity.js";

export const STRONGEST = 1.5;
const SHARPNESS = -0.75;
const NODES = 97;
const INVERSE_NODES = 32, ITERATIONS = 30, STEP = 0.7;
const MIDDLE = [0.5, 0.46], RADII = [0.62, 0.72], WHOLE = 0.5;

/** Return the four cells around a place along an axis, clamped to it, and their weights, by cubic convolution. */
function taps(place, length) {
  const at = Math.min(Math.max(place, 0), length - 1), first = Math.floor(at), t = at - first;
  const near = (d) => ((SHARPNESS + 2) * d - (SHARPNESS + 3)) * d * d + 1;
  const far = (d) => ((SHARPNESS * d - 5 * SHARPNESS) * d + 8 * SHARPNESS) * d - 4 * SHARPNESS;
  const cells = [-1, 0, 1, 2].map((step) => Math.min(Math.max(first + step, 0), length - 1));
  return { cells, weights: [far(1 + t), near(t), near(1 - t), far(2 - t)] };
}

/** Interpolate both numbers of a flow at a place in cells, of which the first has its centre at 0. */
export function cubic(flow, x, y) {
  const across = taps(x, flow.width), down = taps(y, flow.height), size = flow.width * flow.height;
  let first = 0, second = 0;
  for (let i = 0; i < 4; i++) {
    for (let j = 0; j < 4; j++) {
      const cell = down.cells[i] * flow.width + across.cells[j], weight = down.weights[i] * across.weights[j];
      first += weight * flow.data[cell];
      second += weight * flow.data[size + cell];
    }
  }
  return [first, second];
}

/** Map a point of a moved crop to where its pixel comes from, by one flow or by two, in sides of the crop. */
export function follow(point, flows, strength, networkSize) {
  const sides = (networkSize - 1) / (2 * networkSize);
  let [u, v] = point;
  for (const flow of [...flows].reverse()) {
    const [x, y] = [u, v].map((place) => (place - 0.5) / (2 * sides) + 0.5);
    const [dx, dy] = cubic(flow, x * (flow.width - 1), y * (flow.height - 1));
    u += Math.min(Math.max(strength * dx, -1), 1) * sides;
    v += Math.min(Math.max(strength * dy, -1), 1) * sides;
  }
  return [u, v];
}

/** Return the flow of 32 x 32 cells that takes back what a flow does. */
export function inverse(flow, networkSize) {
  const sides = (networkSize - 1) / (2 * networkSize), count = INVERSE_NODES * INVERSE_NODES;
  const made = { width: INVERSE_NODES, height: INVERSE_NODES, data: new Float64Array(2 * count) };
  const axis = linspace(-1, 1, INVERSE_NODES);
  for (let cell = 0; cell < count; cell++) {
    const point = [axis[cell % INVERSE_NODES] * sides + 0.5, axis[Math.floor(cell / INVERSE_NODES)] * sides + 0.5];
    let found = point;
    for (let i = 0; i < ITERATIONS; i++) {
      const there = follow(found, [flow], 1, networkSize);
      found = found.map((place, k) => place + STEP * (point[k] - there[k]));
    }
    made.data[cell] = (found[0] - point[0]) / sides;
    made.data[count + cell] = (found[1] - point[1]) / sides;
  }
  return made;
}

/** Move a face and cut it out, sampled once from the photograph, at the face's own resolution. */
export function moved(image, similarity, flows, strength, networkSize) {
  checkMotion(flows, strength);
  const size = Math.max(1, rounded(similarity.side));
  if (strength === 0) return crop(image, similarity, size);
  const finest = finestSide(similarity, size);
  const displacement = (x, y) => {
    const own = [x / finest, y / finest];
    return difference(similarity.toPhotograph(follow(own, flows, strength, networkSize)), similarity.toPhotograph(own));
  };
  const square = blank(finest, finest);
  betweenNodes(displacement, [0, 0], [finest, finest], (column, row, dx, dy) => {
    const [x, y] = similarity.toPhotograph([(column + 0.5) / finest, (row + 0.5) / finest]);
    sampleInto(square.data, 4 * (row * finest + column), image, x + dx, y + dy);
  });
  return shrunk(square, size);
}

/** Move a face within its photograph, which stays the same outside the face. */
export function paste(image, similarity, flows, strength, networkSize) {
  checkMotion(flows, strength);
  const result = { ...image, data: image.data.slice() };
  const [first, last] = reach(similarity, image);
  if (strength === 0 || !(last[0] > first[0] && last[1] > first[1])) return result;
  const whole = wholeMotion(flows, strength, networkSize);
  const displacement = (x, y) => {
    const own = similarity.toCrop([x, y]), known = own.map((place) => Math.min(Math.max(place, 0), 1));
    const source = similarity.toPhotograph(follow(whole.toCrop(known), flows, strength, networkSize));
    const share = fade(own);
    return difference(source, similarity.toPhotograph(known)).map((step) => share * step);
  };
  betweenNodes(displacement, first, last, (column, row, dx, dy) => {
    const x = column + 0.5, y = row + 0.5;
    if (radius(similarity.toCrop([x, y])) >= 1) return;
    sampleCubicInto(result.data, 4 * (row * image.width + column), image, x + dx, y + dy);
  });
  return result;
}

/** Return what flows do to a face as a whole: the similarity that is closest to them, over the face. */
export function wholeMotion(flows, strength, networkSize) {
  const points = Array.from({ length: 32 * 32 }, (_, i) => [((i % 32) + 0.5) / 32, (Math.floor(i / 32) + 0.5) / 32]);
  return fit(points, points.map((point) => follow(point, flows, strength, networkSize)), points.map(fade));
}

/** Return how much a point of the crop moves: 1 in the middle, falling smoothly to 0 at the face's rim. */
export function fade(point) {
  const t = Math.min(Math.max((1 - radius(point)) / (1 - WHOLE), 0), 1);
  return t * t * (3 - 2 * t);
}

const radius = ([u, v]) => Math.hypot((u - MIDDLE[0]) / RADII[0], (v - MIDDLE[1]) / RADII[1]);
const difference = (a, b) => [a[0] - b[0], a[1] - b[1]];
const linspace = (a, b, count) => Array.from({ length: count }, (_, i) => a + ((b - a) * i) / Math.max(count - 1, 1));

function checkMotion(flows, strength) {
  if (!(strength >= 0 && strength <= STRONGEST)) {
    throw new Error(`The strength ${strength} is not from 0 to ${STRONGEST}.`);
  }
  if (!flows.every((flow) => flow.data.every(Number.isFinite))) {
    throw new Error("The flow is not finite. The weights may be damaged.");
  }
}

/** Return the first pixel [x, y] of the face's bounding box in a photograph, and the one after the last. */
function reach(similarity, { width, height }) {
  const rim = linspace(0, 2 * Math.PI, 64).map((turn) =>
    similarity.toPhotograph([Math.cos(turn) * RADII[0] + MIDDLE[0], Math.sin(turn) * RADII[1] + MIDDLE[1]]),
  );
  const end = (axis, length, rounding, step, extreme) =>
    Math.min(Math.max(rounding(extreme(...rim.map((point) => point[axis]))) + step, 0), length);
  const first = [end(0, width, Math.floor, -1, Math.min), end(1, height, Math.floor, -1, Math.min)];
  return [first, [end(0, width, Math.ceil, 1, Math.max), end(1, height, Math.ceil, 1, Math.max)]];
}

/** Ask a displacement at nodes of a rectangle, and visit each of its pixels with the one that lies between, bicubic. */
function betweenNodes(displacement, first, last, visit) {
  const [width, height] = difference(last, first), columns = Math.min(NODES, width), rows = Math.min(NODES, height);
  const xs = linspace(first[0] + 0.5, last[0] - 0.5, columns), ys = linspace(first[1] + 0.5, last[1] - 0.5, rows);
  const nodes = ys.map((y) => xs.map((x) => displacement(x, y)));
  const across = linspace(0, columns - 1, width).map((place) => taps(place, columns));
  const lineX = new Float64Array(columns), lineY = new Float64Array(columns);
  linspace(0, rows - 1, height).forEach((place, row) => {
    const down = taps(place, rows);
    for (let column = 0; column < columns; column++) {
      lineX[column] = lineY[column] = 0;
      for (let i = 0; i < 4; i++) {
        lineX[column] += down.weights[i] * nodes[down.cells[i]][column][0];
        lineY[column] += down.weights[i] * nodes[down.cells[i]][column][1];
      }
    }
    for (let column = 0; column < width; column++) {
      const { cells, weights } = across[column];
      let dx = 0, dy = 0;
      for (let i = 0; i < 4; i++) {
        dx += weights[i] * lineX[cells[i]];
        dy += weights[i] * lineY[cells[i]];
      }
      visit(first[0] + column, first[1] + row, dx, dy);
    }
  });
}

/** Interpolate an image at a point, bilinear, into a pixel; beyond it the border pixels go on. */
function sampleInto(target, to, { width, height, data }, pointX, pointY) {
  const x = Math.min(Math.max(pointX - 0.5, 0), width - 1), y = Math.min(Math.max(pointY - 0.5, 0), height - 1);
  const column = Math.floor(x), row = Math.floor(y), dx = x - column, dy = y - row;
  const a = 4 * (row * width + column), right = column + 1 < width ? 4 : 0, below = row + 1 < height ? 4 * width : 0;
  for (let channel = 0; channel < 3; channel++) {
    const upper = data[a + channel] + (data[a + right + channel] - data[a + channel]) * dx;
    const lower = data[a + below + channel] + (data[a + below + right + channel] - data[a + below + channel]) * dx;
    target[to + channel] = Math.floor(upper + (lower - upper) * dy + 0.5);
  }
}

/** The same by cubic convolution, which keeps a face as sharp as what is beside it. */
function sampleCubicInto(target, to, { width, height, data }, pointX, pointY) {
  const across = taps(pointX - 0.5, width), down = taps(pointY - 0.5, height);
  for (let channel = 0; channel < 3; channel++) {
    let total = 0.5;
    for (let i = 0; i < 4; i++) {
      const row = down.cells[i] * width;
      let line = 0;
      for (let j = 0; j < 4; j++) line += data[4 * (row + across.cells[j]) + channel] * across.weights[j];
      total += line * down.weights[i];
    }
    target[to + channel] = Math.floor(Math.max(total, 0)); // the array clamps the rest
  }
}
