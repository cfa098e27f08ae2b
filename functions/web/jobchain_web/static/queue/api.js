/** The HTTP API: conditional requests, problems, and the API key, which is kept in this tab only. */

import { recall, remember } from "./memory.js";
import { hear } from "./times.js";

const TIMEOUT = 30_000; // ms; the gateway gives up sooner

/** The last answer of each path: an unchanged one is not sent again. */
const known = new Map();
let apiKey = recall("sessionStorage", "key") ?? "";

/** Why a call failed: `status` is 0 without an answer, `retryAfter` is in milliseconds. */
export class Problem extends Error {
  constructor(status, { title = "Something went wrong", detail = title } = {}, retryAfter = 0) {
    super(status ? detail : "The API does not answer.");
    Object.assign(this, { status, title, retryAfter, passes: status === 0 || status === 429 || status >= 500 });
  }
}

export const hasKey = () => apiKey !== "";

/** Stores the API key; an empty one removes it. */
export function useKey(key) {
  apiKey = key;
  known.clear();
  remember("sessionStorage", "key", key);
}

/**
 * Reads `path`; an unchanged answer is not sent again.
 * @returns {Promise<{data: any, changed: boolean, retryAfter: number}>} `retryAfter` in milliseconds
 */
export async function get(path, signal) {
  const last = known.get(path);
  const response = await send(path, { headers: last && { "If-None-Match": last.etag }, signal });
  const retryAfter = waitOf(response);
  if (response.status === 304) return { data: last.data, changed: false, retryAfter };
  const data = await read(response);
  if (known.size > 50) known.clear();
  if (response.headers.has("ETag")) known.set(path, { etag: response.headers.get("ETag"), data });
  return { data, changed: true, retryAfter };
}

/** Sends a change; returns the answer's body. */
export async function call(method, path, body, headers) {
  const type = body && { "Content-Type": "application/json" };
  body &&= JSON.stringify(body).replace(/\ufffd/g, "\\ufffd");
  return read(await send(path, { method, headers: { ...headers, ...type }, body }));
}

/** Reads a file of the page. */
export const getText = async (path) => (await send(path, {})).text().catch(lost);

async function send(path, { headers, signal, ...rest }) {
  const own = apiKey ? { ...headers, Authorization: `Bearer ${apiKey}` } : { ...headers };
  const limits = [AbortSignal.timeout(TIMEOUT), ...(signal ? [signal] : [])];
  const options = { ...rest, headers: own, signal: AbortSignal.any(limits) };
  const sent = Date.now();
  const response = await fetch(path, options).catch(() => lost());
  hear(response.headers.get("Date"), sent);
  if (response.ok || response.status === 304) return response;
  throw new Problem(response.status, await response.json().catch(() => ({})), waitOf(response));
}

function lost() {
  throw new Problem(0);
}

const read = (response) => (response.status === 204 ? null : response.json().catch(lost));

const waitOf = (response) => (Number(response.headers.get("Retry-After")) || 0) * 1000;
