// What the page asks for, computed by the program that serves it. Nothing else here talks to anybody.

let most = Infinity; // bytes of both photographs together

async function ask(path, body) {
  for (;;) {
    const answer = await fetch(path, body === undefined ? {} : {
      method: "POST", body, headers: { "Content-Type": "application/octet-stream" },
    }).catch(() => { throw new Error("The program that serves this page does not answer. Is it still running?"); });
    if (answer.status === 429) { // others wait too
      await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer.headers.get("Retry-After") ?? 1)));
    } else if (answer.ok) {
      return answer;
    } else {
      const said = await answer.json().catch(() => ({}));
      throw new Error(said.message ?? `The program that serves this page answers with ${answer.status}.`);
    }
  }
}

function fits(...blobs) {
  if (blobs.reduce((sum, blob) => sum + blob.size, 0) > most) {
    throw new Error(`The file is too large: ${Math.floor(most / 2 ** 20)} MiB are the most.`);
  }
}

export async function open() {
  const about = await (await ask("api/about")).json();
  most = about.bytes;
  return about;
}

export async function find(blob) {
  fits(blob);
  return (await ask("api/find", blob)).json();
}

export async function translate(blob, { face, strength, driver }) {
  const blobs = driver ? [blob, driver] : [blob];
  fits(...blobs);
  const query = new URLSearchParams({ face, strength, photograph: blob.size });
  const answer = await ask(`api/translate?${query}`, new Blob(blobs));
  // One body holds all pictures, one after the other, and a header says what they are.
  const made = {}, body = await answer.blob();
  let start = 0;
  for (const { name, type, size } of JSON.parse(answer.headers.get("Pictures"))) {
    made[name] = body.slice(start, start += size, type);
  }
  return made;
}
