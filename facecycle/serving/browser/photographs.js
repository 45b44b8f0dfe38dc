// Picture files to upright images and back, by the browser's own decoders.

const MOST = 50_000_000;
/** Pixels of a photograph: what the largest phones' have. */

/** Read a picture file as an upright image in sRGB; what is transparent becomes white. */
export async function read(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    throw new Error("This is no picture that the browser can read. Choose a JPEG, PNG or WebP file.");
  }
  const { width, height } = bitmap;
  try {
    if (width * height > MOST) {
      throw new Error(`The picture has ${width} x ${height} pixels, where ${MOST / 1e6} million are the most.`);
    }
    const context = canvas(width, height);
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    return { width, height, data: context.getImageData(0, 0, width, height).data };
  } finally {
    bitmap.close();
  }
}

/** Say whether a file is a JPEG, by how it begins, because a name may lie. */
export async function isJpeg(blob) {
  const [first, second] = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  return first === 0xff && second === 0xd8;
}

/** Write an image as a file: PNG, or JPEG of the best quality, which takes a third of the time and of the room. */
export async function write({ width, height, data }, type = "image/png") {
  const context = canvas(width, height);
  context.putImageData(new ImageData(data, width, height), 0, 0);
  return context.canvas.convertToBlob({ type, quality: 1 });
}

/** Return what draws on a canvas in memory, because a graphics card's may round otherwise. */
function canvas(width, height) {
  return new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
}
