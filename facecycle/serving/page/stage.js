// The photograph: before and after with a line between them that is dragged, and a button on each face.

const element = (id) => document.getElementById(id);
const stage = element("stage"), split = element("split");
const CLICK = 4; // pixels that a click may move by; more of them drag the line

// Shows a picture of an <img>, and forgets the one before it.
export function show(image, blob) {
  const old = image.src;
  if (blob) image.src = URL.createObjectURL(blob);
  else image.removeAttribute("src");
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

// Shows a photograph with nothing made of it yet.
export function showPhotograph(blob, { width, height }) {
  show(element("before"), blob);
  show(element("after"), null);
  stage.classList.remove("made");
  stage.style.setProperty("--width", width);
  stage.style.setProperty("--height", height);
}

// Shows what was made of it.
export function showMade(blob) {
  show(element("after"), blob);
  stage.classList.add("made");
}

// Draws a button on each face and calls `pick` with the index of one that is chosen.
export function showFaces({ width, height, faces }, pick) {
  element("faces").replaceChildren(...faces.map(({ box: [x, y, w, h] }, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "face";
    button.ariaLabel = `Face ${index + 1} of ${faces.length}`;
    button.style.left = `${100 * x / width}%`;
    button.style.top = `${100 * y / height}%`;
    button.style.width = `${100 * w / width}%`;
    button.style.height = `${100 * h / height}%`;
    // A click by the keyboard has no detail, and follows no drag.
    button.addEventListener("click", (event) => (dragged && event.detail > 0) || pick(index));
    return button;
  }));
}

// Puts the line through the middle of a face.
export function divideAt([x, , w], width) {
  split.value = Math.round(100 * (x + w / 2) / width);
  moveLine();
}

// Marks the face that is chosen.
export function markFace(chosen) {
  [...element("faces").children].forEach((button, index) => { button.ariaPressed = String(index === chosen); });
}

export function busy(is) {
  stage.classList.toggle("computing", is);
  stage.ariaBusy = String(is);
}

const moveLine = () => stage.style.setProperty("--split", `${split.value}%`);
split.addEventListener("input", moveLine);
moveLine();

let start = null, dragged = false;
stage.addEventListener("pointerdown", (event) => {
  if (event.button === 0) [start, dragged] = [event.clientX, false];
});
stage.addEventListener("pointermove", (event) => {
  if (start === null || !stage.classList.contains("made")) return;
  if (!dragged && Math.abs(event.clientX - start) < CLICK) return;
  if (!dragged) stage.setPointerCapture(event.pointerId);
  dragged = true;
  const { left, width } = stage.getBoundingClientRect();
  split.value = Math.round(100 * (event.clientX - left) / width);
  moveLine();
});
for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { start = null; });
