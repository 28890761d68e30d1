// The public API, asked with the key that the tab keeps.

export const KEY = "billing-key";

export class Failed extends Error {
  constructor(status, error) {
    super(error.message);
    Object.assign(this, { status, code: error.code, requestId: error.requestId, field: error.field });
  }
}

async function ask(path, options, headers = {}) {
  const key = sessionStorage.getItem(KEY) ?? "";
  // The browser would not even send it.
  if (!/^[ -~]*$/.test(key)) throw new Failed(401, { code: "unauthenticated", message: "No API key has such characters. Copy it again." });
  let answer, body;
  try {
    answer = await fetch(`/v1/billing/${path}`, {
      ...options, headers: { "X-API-Key": key, ...headers }, cache: "no-store",
    });
    body = await answer.json();
  } catch {
    throw new Failed(0, { code: "unreachable", message: "The server cannot be reached. Try again in a moment." });
  }
  if (!answer.ok) throw new Failed(answer.status, body.error);
  return body;
}

export function api(path, query = {}) {
  const text = new URLSearchParams(query).toString();
  return ask(`${path}${text && "?"}${text}`, {});
}

// A write's key is kept until it is answered: what is sent again is the same request.
const keys = new Map();

export async function send(method, path, fields) {
  const body = JSON.stringify(fields);
  const name = `${method} ${path} ${body}`;
  if (!keys.has(name)) keys.set(name, [...crypto.getRandomValues(new Uint32Array(4))].join("-"));
  const headers = { "Content-Type": "application/json", "Idempotency-Key": keys.get(name) };
  const answer = await ask(path, { method, body }, headers);
  keys.delete(name);
  return answer;
}
