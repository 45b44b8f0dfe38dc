// Similarities: where the square of an aligned crop lies in its photograph, how a face says so, and what makes a face
// doubtful. The same as facecycle/faces/similarity.py and detection.py, whose docstrings say why.

import { rounded } from "./resizing.js";

export const ALIGNED = [[0.299, 0.281], [0.701, 0.281], [0.326, 0.682], [0.674, 0.682]];
export const USED = [0, 1, 3, 4];
const BELOW = 0.05, SIDE = 0.87;
const SMALL = 64, TURNED = 0.13, NOSE = 0.5, CUT_OFF = 0.1, UNCERTAIN = 0.85;

/** A square of a photograph: its centre (x, y) and side in pixels, and its turn clockwise (roll) in degrees. */
export class Similarity {
  constructor(x, y, side, roll = 0) {
    Object.assign(this, { x, y, side, roll });
    const angle = (roll * Math.PI) / 180;
    this.across = side * Math.cos(angle); // of a complex number, which turns and scales
    this.down = side * Math.sin(angle);
  }

  /** Map a point of the crop, whose corners are (0, 0) and (1, 1), to pixels of the photograph. */
  toPhotograph([u, v]) {
    const x = u - 0.5, y = v - 0.5;
    return [x * this.across - y * this.down + this.x, x * this.down + y * this.across + this.y];
  }

  /** Map a point in pixels of the photograph to the crop. */
  toCrop([x, y]) {
    const dx = x - this.x, dy = y - this.y, square = this.side * this.side;
    return [(dx * this.across + dy * this.down) / square + 0.5, (dy * this.across - dx * this.down) / square + 0.5];
  }
}

/** Return the similarity that maps points of a crop to those of a photograph with least squared error. */
export function fit(crop, photograph, weights = crop.map(() => 1)) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const mean = (points, axis) => points.reduce((sum, point, i) => sum + weights[i] * point[axis], 0) / total;
  const source = [mean(crop, 0), mean(crop, 1)], target = [mean(photograph, 0), mean(photograph, 1)];
  let spread = 0, real = 0, imaginary = 0;
  crop.forEach((point, i) => {
    const a = point[0] - source[0], b = point[1] - source[1];
    const c = photograph[i][0] - target[0], d = photograph[i][1] - target[1];
    spread += weights[i] * (a * a + b * b);
    real += weights[i] * (a * c + b * d);
    imaginary += weights[i] * (a * d - b * c);
  });
  real /= spread;
  imaginary /= spread;
  const side = Math.hypot(real, imaginary);
  if (!(side > 0 && Number.isFinite(side))) throw new Error("the points fit no similarity");
  const dx = 0.5 - source[0], dy = 0.5 - source[1];
  const x = target[0] + real * dx - imaginary * dy, y = target[1] + real * dy + imaginary * dx;
  return new Similarity(x, y, side, (Math.atan2(imaginary, real) * 180) / Math.PI);
}

/** Return where the aligned crop of a face { box, landmarks } lies: by its eyes and mouth, or else by its box. */
export function align({ box: [left, top, width, height], landmarks }) {
  if (landmarks) return fit(ALIGNED, USED.map((i) => landmarks[i]));
  const side = SIDE * height;
  return new Similarity(left + width / 2, top + height / 2 + BELOW * side, side);
}

/** Say in words what makes a face doubtful in a photograph: small, turned far, cut off, uncertain. */
export function doubtsOf(face, { width, height }) {
  const similarity = align(face), found = [];
  if (similarity.side < SMALL) {
    found.push(`the face is small: ${rounded(similarity.side)} pixels, where ${SMALL} are read`);
  }
  if (face.landmarks && Math.abs(similarity.toCrop(face.landmarks[2])[0] - NOSE) > TURNED) {
    found.push("the face is turned far to the side");
  }
  const beyond = shareBeyond(similarity, width, height);
  if (beyond > CUT_OFF) {
    found.push(`the face is cut off: ${rounded(100 * beyond)}% of its crop lies beyond the border`);
  }
  if (face.score < UNCERTAIN) found.push(`it may be no face: its score is ${face.score.toFixed(2)}`);
  return found;
}

function shareBeyond(similarity, width, height) {
  const size = 32;
  let within = 0;
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const [x, y] = similarity.toPhotograph([(column + 0.5) / size, (row + 0.5) / size]);
      within += x >= 0 && y >= 0 && x <= width && y <= height;
    }
  }
  return 1 - within / (size * size);
}
