// The page: which photograph, face, strength and driver are chosen, and what of it is shown. It talks to engine.js alone.

import * as engine from "./engine.js";
import * as sources from "./sources.js";
import * as stage from "./stage.js";

const element = (id) => document.getElementById(id);
const PAUSE = 120; // milliseconds without a change of the strength before it counts

let opened; // the promise of what the weights say of themselves
let panels = []; // the pictures of a face, in the order they are shown in: { name, title, about, driven }
let photograph = null; // { blob, name, width, height, faces }
let wanted = null; // { photograph, face, strength, driver }, replaced and never changed, so that old answers are known
let computing = false;

// --- what is said ---------------------------------------------------------------------------------

function say(text) {
  element("alert").textContent = "";
  element("status").textContent = text;
}

function complain(error) {
  element("status").textContent = "";
  element("alert").textContent = error.message;
}

// Runs what may fail, and says why it did.
async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    complain(error);
    return undefined;
  }
}

// --- a photograph comes ---------------------------------------------------------------------------

async function take(blob) {
  const mine = photograph = { blob, name: (blob.name ?? "photograph").replace(/\.[^.]*$/, "") };
  wanted = null;
  document.body.classList.add("finding");
  say("Looking for faces");
  try {
    await opened;
    Object.assign(mine, await engine.find(blob));
    if (photograph === mine) begin();
  } catch (error) {
    if (photograph === mine) {
      startAgain();
      complain(error);
    }
  } finally {
    if (photograph === mine || photograph === null) document.body.classList.remove("finding");
  }
}

function begin() {
  document.body.dataset.view = "work";
  stage.showPhotograph(photograph.blob, photograph);
  stage.showFaces(photograph, chooseFace);
  showPanels({});
  element("strength").value = 100;
  showStrength();
  showDriver(null);
  wanted = { photograph, strength: 1, driver: null };
  chooseFace(0);
  element("work").focus({ preventScroll: true });
}

function startAgain() {
  photograph = wanted = null;
  document.body.dataset.view = "start";
  document.body.classList.remove("finding");
  stage.busy(false);
  say("");
}

function chooseFace(face) {
  const { faces } = photograph;
  stage.markFace(face);
  stage.divideAt(faces[face].box, photograph.width);
  element("chosen").textContent = faces.length === 1 ? "One face" : `Face ${face + 1} of ${faces.length}`;
  element("chosen-help").hidden = faces.length === 1;
  element("doubts").textContent = faces[face].doubts.length ? `Expect little: ${faces[face].doubts.join(", ")}.` : "";
  say(`${element("chosen").textContent} is chosen.`);
  change({ face });
}

// --- what is asked for, and what comes ------------------------------------------------------------

function change(part) {
  wanted = { ...wanted, ...part };
  if (!computing) compute();
}

// Asks for what is wanted until nothing newer is, and shows no answer that is out of date.
async function compute() {
  computing = true;
  let now = null;
  while (wanted !== null && wanted !== now) {
    now = wanted;
    stage.busy(true);
    try {
      const made = await engine.translate(now.photograph.blob, now);
      if (wanted === now) showPictures(made);
    } catch (error) {
      if (wanted === now) complain(error);
    }
  }
  stage.busy(false);
  computing = false;
}

function showPictures(made) {
  if (made.pasted) stage.showMade(made.pasted);
  showPanels(made);
  offer(element("download"), made.pasted, "pasted");
  const needed = Object.keys(made).length === 0;
  element("needed").hidden = !needed;
  say(needed ? element("needed").textContent : "The pictures are ready.");
}

function showPanels(made) {
  const box = element("panels");
  for (const image of box.querySelectorAll("img")) stage.show(image, null);
  for (const link of box.querySelectorAll("a")) offer(link, null);
  if (!made.pasted) offer(element("download"), null);
  element("needed").hidden = true;
  box.replaceChildren(...panels.filter(({ name }) => made[name]).map(({ name, title, about }) => {
    const figure = element("panel").content.cloneNode(true);
    stage.show(figure.querySelector("img"), made[name]);
    figure.querySelector("img").alt = about ? `${title}: the face ${about}` : title;
    figure.querySelector("b").textContent = title;
    figure.querySelector("small").textContent = about;
    figure.querySelector("a").ariaLabel = `Download ${title.toLowerCase()}`;
    offer(figure.querySelector("a"), made[name], name);
    return figure;
  }));
}

// Makes a link that saves a picture, or takes the picture away from it.
function offer(link, blob, name) {
  if (link.href) URL.revokeObjectURL(link.href);
  link.ariaDisabled = String(!blob);
  if (!blob) return link.removeAttribute("href");
  link.href = URL.createObjectURL(blob);
  link.download = `${photograph.name}-${name}.${blob.type === "image/jpeg" ? "jpg" : "png"}`;
  return undefined;
}

// --- strength and driver --------------------------------------------------------------------------

function showStrength() {
  element("strength-shown").textContent = `${element("strength").value} %`;
}

let pause;
element("strength").addEventListener("input", () => {
  showStrength();
  clearTimeout(pause);
  pause = setTimeout(() => wanted && change({ strength: element("strength").value / 100 }), PAUSE);
});

function showDriver(blob) {
  stage.show(element("driver-shown"), blob);
  element("driver-shown").hidden = element("driver-remove").hidden = !blob;
  element("driver-choose").textContent = blob ? "Change" : "Choose a photograph";
}

async function takeDriver(blob) {
  const mine = photograph;
  say("Looking for a face in the second photograph");
  await attempt(async () => {
    try {
      await engine.find(blob);
    } catch (error) {
      throw new Error(`The second photograph: ${error.message}`);
    }
    if (photograph !== mine) return;
    showDriver(blob);
    change({ driver: blob });
  });
}

// --- buttons --------------------------------------------------------------------------------------

const accept = (blob) => take(blob);
element("choose").addEventListener("click", () => sources.choose(accept));
element("again").addEventListener("click", () => {
  startAgain();
  element("choose").focus();
});
element("paste").hidden = !sources.hasClipboard;
element("paste").addEventListener("click", () => attempt(async () => take(await sources.fromClipboard())));
element("camera").hidden = !sources.hasCamera;
element("camera").addEventListener("click", () => attempt(async () => {
  const blob = await sources.fromCamera();
  if (blob) await take(blob);
}));
element("driver-choose").addEventListener("click", () => sources.choose(takeDriver));
element("driver-remove").addEventListener("click", () => {
  showDriver(null);
  change({ driver: null });
  element("driver-choose").focus();
});
element("controls").addEventListener("submit", (event) => event.preventDefault());
sources.droppable(element("driver"), takeDriver);
sources.droppable(document.body, accept);
sources.pasted(accept);

opened = engine.open().then((about) => {
  panels = about.panels;
  return about;
});
attempt(async () => {
  const { origin, terms, moves } = await opened;
  const given = { moves, still: !moves, driven: panels.some(({ driven }) => driven) };
  for (const part of document.querySelectorAll("[data-if]")) part.hidden = !given[part.dataset.if];
  element("origin").textContent = terms && origin.includes(terms) ? "" : origin;
  element("terms").textContent = terms || "no terms stated";
});
