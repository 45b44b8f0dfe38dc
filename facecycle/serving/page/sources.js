// Where photographs come from: a file that is chosen, dropped or pasted, and the camera.

const element = (id) => document.getElementById(id);

// Asks for a file; says nothing where none is chosen.
export function choose(take) {
  const input = element("file");
  input.value = "";
  input.onchange = () => input.files.length && take(input.files[0]);
  input.click();
}

// Takes what is dropped on an element, and marks it while something is held above it.
export function droppable(target, take) {
  const mark = (event, over) => {
    event.preventDefault();
    target.classList.toggle("over", over);
  };
  target.addEventListener("dragover", (event) => mark(event, true));
  target.addEventListener("dragleave", (event) => mark(event, target.contains(event.relatedTarget)));
  target.addEventListener("drop", (event) => {
    mark(event, false);
    event.stopPropagation(); // what lies around this target takes drops too
    for (const each of document.querySelectorAll(".over")) each.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

// Takes a picture that is pasted anywhere, by the keyboard or the menu.
export function pasted(take) {
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take(event.clipboardData.files[0]);
  });
}

// Reads a picture from the clipboard, which the browser may ask about; throws an Error for people.
export async function fromClipboard() {
  let items;
  try {
    items = await navigator.clipboard.read();
  } catch {
    throw new Error("The browser does not let this page read the clipboard. Press Ctrl+V instead.");
  }
  for (const item of items) {
    const type = item.types.find((each) => each.startsWith("image/"));
    if (type) return item.getType(type);
  }
  throw new Error("The clipboard holds no picture.");
}

export const hasClipboard = Boolean(navigator.clipboard?.read);
export const hasCamera = Boolean(navigator.mediaDevices?.getUserMedia); // browsers offer it to this machine and to https alone

// Shows the camera and resolves to the photograph that is taken, or to null; throws an Error for people.
export async function fromCamera() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1920 } } });
  } catch {
    throw new Error("The camera cannot be used. Is there one, and may this page use it?");
  }
  const dialog = element("camera-dialog"), video = element("camera-video");
  video.srcObject = stream;
  dialog.returnValue = "";
  dialog.showModal();
  element("camera-take").onclick = () => video.videoWidth && dialog.close("taken");
  element("camera-cancel").onclick = () => dialog.close("");
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const photograph = dialog.returnValue === "taken" ? await frameOf(video) : null;
  stream.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  return photograph;
}

function frameOf(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
