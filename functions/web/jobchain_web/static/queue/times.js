/** Times: one zone for all pages, and the server's clock in place of this machine's. */

import { recall, remember } from "./memory.js";

let isUtc = recall("localStorage", "zone") === "utc";
/** What the server's clock is ahead, in milliseconds: at least, and at most. */
let [least, most] = [-Infinity, Infinity];

/** Notes the `Date` of an answer, which is cut to seconds, to a request that was sent at `sent`. */
export function hear(date, sent) {
  const told = Date.parse(date);
  if (!told) return;
  const [low, high] = [told - Date.now(), told + 1_000 - sent];
  [least, most] = [Math.max(least, low), Math.min(most, high)];
  // One of the clocks was set.
  if (least > most) [least, most] = [low, high];
}

/** The server's time, as far as it is known to differ; milliseconds since 1970. */
export const now = () => Date.now() + (least > 0 ? least : Math.min(0, most));

export const zone = () => (isUtc ? "UTC" : "local");

export function changeZone() {
  isUtc = !isUtc;
  remember("localStorage", "zone", isUtc && "utc");
}

/** A function that formats moments in the chosen zone. */
export function formatter(options) {
  const [local, utc] = [undefined, "UTC"].map((timeZone) => new Intl.DateTimeFormat("en-GB", { ...options, timeZone }));
  return (moment) => (isUtc ? utc : local).format(moment);
}
