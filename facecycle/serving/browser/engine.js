// What the page asks about photographs, answered in the browser alone, by a worker beside the page.

// A worker from a blob obeys the page's own content security policy. One from a file would obey none.
const script = `import ${JSON.stringify(new URL("./worker.js", import.meta.url).href)};`;
const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
const waiting = new Map();
const numbers = new WeakMap(); // the worker knows a photograph again by its number
let count = 0;

worker.addEventListener("message", ({ data: { id, value, message } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (message === undefined) resolve(value);
  else reject(new Error(message));
});
const broken = new Promise((_, reject) => {
  worker.addEventListener("error", () => reject(new Error("The networks cannot be loaded. Reload the page.")));
});
broken.catch(() => {}); // whoever asks is told

function ask(name, ...parameters) {
  const answer = new Promise((resolve, reject) => {
    waiting.set(++count, { resolve, reject });
    worker.postMessage({ id: count, name, parameters });
  });
  return Promise.race([answer, broken]);
}

function numbered(blob) {
  if (!numbers.has(blob)) numbers.set(blob, ++count);
  return { number: numbers.get(blob), blob };
}

/** Load the networks. Return their terms, where they come from, and the names of their panels. */
export const open = () => ask("open");

/** Find the faces of a photograph, largest first, in pixels of the upright photograph. */
export const find = (blob) => ask("find", numbered(blob));

/** Make the pictures of a face, counted from 0, as files by the names of panels. */
export const translate = (blob, { face, strength, driver = null }) =>
  ask("translate", numbered(blob), { face, strength, driver: driver && numbered(driver) });
