// Talking to the server: answers as JSON or arrays, and events.

const KINDS = {
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int32: Int32Array, float32: Float32Array,
};

async function checked(path, options) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  if (answer.ok) return answer;
  let text = await answer.text();
  try { text = JSON.parse(text).error ?? text; } catch { /* it is plain text */ }
  throw new Error(text.trim() || `the server answers ${answer.status}`);
}

export async function ask(path, options) {
  return (await checked(path, options)).json();
}

export async function askArray(path, options) {
  const answer = await checked(path, options);
  const kind = answer.headers.get("x-dtype");
  const shape = answer.headers.get("x-shape").split(",").map(Number);
  return { kind, shape, data: new KINDS[kind](await answer.arrayBuffer()) };
}

export function send(path, method, told) {
  const body = told === undefined ? "{}" : JSON.stringify(told);
  return ask(path, { method, body, headers: { "content-type": "application/json" } });
}

/** Calls `changed` with what each event tells, and `heard` with whether the server is there. */
export function listen(changed, heard) {
  const source = new EventSource("/api/events");
  source.onopen = () => heard(true);
  source.onmessage = (event) => { heard(true); changed(JSON.parse(event.data)); };
  source.onerror = () => {
    heard(false);
    // A browser gives up for good when the answer is no stream of events, as of a proxy.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(changed, heard), 2000);
  };
}
