// Images at other sizes and squares cut out of them, computed as Pillow does, in whole numbers where it does.
//
// An image is { width, height, data }: rows of RGBA, a byte each, as a canvas has them. Alpha is 255 everywhere.

const BITS = 22, LARGEST = 4096;

/** Round to the nearest whole number, and a half to the even one, as Python and numpy do. */
export function rounded(number) {
  const near = Math.round(number);
  return near - number === 0.5 && near % 2 ? near - 1 : near;
}

export function blank(width, height) {
  return { width, height, data: new Uint8ClampedArray(4 * width * height).fill(255) };
}

/**
 * Resize an image, antialiased; a large one is reduced by a whole factor first (`reducing_gap` in Pillow).
 *
 * Columns come before rows, as in Pillow where both sides change by the same factor.
 */
export function resize(image, width, height, gap = 0) {
  const x = gap ? Math.max(1, Math.trunc(image.width / width / gap)) : 1;
  const y = gap ? Math.max(1, Math.trunc(image.height / height / gap)) : 1;
  const small = x > 1 || y > 1 ? reduced(image, x, y) : image;
  return resizeBox(small, [0, 0, image.width / x, image.height / y], width, height);
}

/** Resize a box of an image, [left, top, right, bottom], antialiased. */
export function resizeBox(image, box, width, height) {
  const [left, top, right, bottom] = box.map(Math.fround); // as Pillow keeps them
  const across = filters(image.width, left, right, width), down = filters(image.height, top, bottom, height);
  return filteredDown(filteredAcross(image, across), down);
}

/** Return the pixels of an image from `first` to before `last`, each [x, y], as far as it goes. */
export function cutOut({ width, height, data }, [left, top], [right, bottom]) {
  const cut = blank(Math.min(right, width) - left, Math.min(bottom, height) - top);
  for (let row = 0; row < cut.height; row++) {
    const from = 4 * ((top + row) * width + left);
    cut.data.set(data.subarray(from, from + 4 * cut.width), 4 * row * cut.width);
  }
  return cut;
}

/** Shrink a square image to a side, antialiased. */
export function shrunk(square, side) {
  return square.width === side ? square : resize(square, side, side);
}

/** Return the side, in pixels, at which a crop is sampled: the photograph's resolution, or the crop's own. */
export function finestSide(similarity, size) {
  return Math.max(size, Math.min(Math.ceil(similarity.side), LARGEST));
}

/** Cut an aligned square out of a photograph, whose border pixels go on beyond it. */
export function crop(image, similarity, size) {
  const finest = finestSide(similarity, size), square = blank(finest, finest);
  const { width, height, data } = image, [left, top] = similarity.toPhotograph([0, 0]);
  const across = similarity.across / finest, down = similarity.down / finest;
  for (let row = 0, to = 0; row < finest; row++) {
    for (let column = 0; column < finest; column++, to += 4) {
      const x = left + (column + 0.5) * across - (row + 0.5) * down - 0.5;
      const y = top + (column + 0.5) * down + (row + 0.5) * across - 0.5;
      const x0 = Math.floor(x), y0 = Math.floor(y), dx = x - x0, dy = y - y0;
      const a = clamped(x0, width), b = clamped(x0 + 1, width);
      const upper = clamped(y0, height) * width, lower = clamped(y0 + 1, height) * width;
      for (let channel = 0; channel < 3; channel++) {
        const first = mix(data[4 * (upper + a) + channel], data[4 * (upper + b) + channel], dx);
        const second = mix(data[4 * (lower + a) + channel], data[4 * (lower + b) + channel], dx);
        square.data[to + channel] = Math.trunc(mix(first, second, dy)); // Pillow does not round here
      }
    }
  }
  return shrunk(square, size);
}

const clamped = (place, length) => Math.min(Math.max(place, 0), length - 1);
const mix = (a, b, share) => a + (b - a) * share;

/** Return an image whose pixels are the means of rectangles of x times y pixels; the last ones may be smaller. */
export function reduced(image, x, y) {
  const small = blank(Math.ceil(image.width / x), Math.ceil(image.height / y));
  for (let row = 0, to = 0; row < small.height; row++) {
    const bottom = Math.min((row + 1) * y, image.height);
    for (let column = 0; column < small.width; column++, to += 4) {
      const right = Math.min((column + 1) * x, image.width);
      const count = (right - column * x) * (bottom - row * y), half = Math.floor(count / 2);
      let red = half, green = half, blue = half;
      for (let line = row * y; line < bottom; line++) {
        const end = 4 * (line * image.width + right);
        for (let from = 4 * (line * image.width + column * x); from < end; from += 4) {
          red += image.data[from];
          green += image.data[from + 1];
          blue += image.data[from + 2];
        }
      }
      small.data[to] = Math.floor(red / count);
      small.data[to + 1] = Math.floor(green / count);
      small.data[to + 2] = Math.floor(blue / count);
    }
  }
  return small;
}

/** Return the triangles that make `wanted` pixels of what lies between two places of a line of `length` pixels. */
function filters(length, begin, end, wanted) {
  const scale = Math.fround(end - begin) / wanted, support = Math.max(scale, 1);
  const made = [];
  for (let place = 0; place < wanted; place++) {
    const centre = begin + (place + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const last = Math.min(Math.trunc(centre + support + 0.5), length);
    const weights = [];
    for (let i = first; i < last; i++) weights.push(Math.max(1 - Math.abs((i - centre + 0.5) / support), 0));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    made.push({ first, weights: Int32Array.from(weights, (weight) => Math.trunc(0.5 + (weight / total) * 2 ** BITS)) });
  }
  return made;
}

function filteredAcross(image, filtersOfColumns) {
  const made = blank(filtersOfColumns.length, image.height);
  for (let row = 0, to = 0; row < image.height; row++) {
    for (const { first, weights } of filtersOfColumns) {
      filterInto(made.data, to, image.data, 4 * (row * image.width + first), 4, weights);
      to += 4;
    }
  }
  return made;
}

function filteredDown(image, filtersOfRows) {
  const made = blank(image.width, filtersOfRows.length);
  let to = 0;
  for (const { first, weights } of filtersOfRows) {
    for (let column = 0; column < image.width; column++, to += 4) {
      filterInto(made.data, to, image.data, 4 * (first * image.width + column), 4 * image.width, weights);
    }
  }
  return made;
}

function filterInto(target, to, source, from, step, weights) {
  let red = 1 << (BITS - 1), green = red, blue = red;
  for (let i = 0; i < weights.length; i++, from += step) {
    red += source[from] * weights[i];
    green += source[from + 1] * weights[i];
    blue += source[from + 2] * weights[i];
  }
  target[to] = red >> BITS; // the array clamps to a byte
  target[to + 1] = green >> BITS;
  target[to + 2] = blue >> BITS;
}
