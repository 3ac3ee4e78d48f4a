// The public API of the gateway: lists by GET, changes by a stream of server-sent ticks, polling where there is none.

const BY_PAGE = { "x-wattgate-page": "1" }; // with every act: no other site's page can have it sent

export class Unauthorized extends Error {}

let clockOffsetMs = 0;

/** Milliseconds now by the gateway's clock, as far as its answers told it. */
export const now = () => Date.now() + clockOffsetMs;

/** From now on a session, kept by a cookie that no script can read. */
export async function signIn(token) {
  const headers = { ...BY_PAGE, "content-type": "application/json" };
  const response = await open("/api/v1/session", { method: "POST", headers, body: JSON.stringify({ token: token.trim() }) });
  if (!response.ok) throw new Error((await response.json()).detail || response.statusText);
}

export const signOut = () => fetch("/api/v1/session", { method: "DELETE", headers: BY_PAGE });

async function open(path, options = {}) {
  const response = await fetch(path, { cache: "no-store", ...options });
  if (response.status === 401) throw new Unauthorized("a token is needed");
  const offset = Date.parse(response.headers.get("date")) - Date.now();
  clockOffsetMs = Math.abs(offset) > 2000 ? offset : 0; // the header counts whole seconds
  return response;
}

/** A JSON answer; an answer other than 2xx is an Error with the problem's own sentence. */
export async function get(path) {
  const response = await open(path, { signal: AbortSignal.timeout(10000) });
  const body = await response.json();
  if (!response.ok && path !== "/healthz") throw new Error(body.detail || response.statusText);
  return body;
}

/** Has the browser keep a file: a link alone would go without the token. */
export async function download(path, name) {
  const response = await open(path, { signal: AbortSignal.timeout(60000) });
  if (!response.ok) throw new Error((await response.json()).detail || response.statusText);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** All elements of a list that is paged by `after`; at most `pages` pages. */
export async function all(path, id, pages = 20) {
  const found = [];
  for (let page = 0; page < pages; page += 1) {
    const after = found.length ? `&after=${encodeURIComponent(found[found.length - 1][id])}` : "";
    const part = await get(`${path}?limit=1000${after}`);
    found.push(...part);
    if (part.length < 1000) break;
  }
  return found;
}

/** Calls onChange with the ids of each tick until the stream ends; rejects when it cannot be had. */
export async function watch(onChange, signal) {
  const response = await open("/api/v1/stream", { signal });
  if (!response.ok) throw new Error("no stream");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (data) onChange(JSON.parse(data.slice(6)));
    }
  }
}
