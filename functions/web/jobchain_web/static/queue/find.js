/** Finds a job by the beginning of its id, as lists show it. */

import { get } from "./api.js";
import { count } from "./format.js";

const MOST_PAGES = 20;

/** Opens the newest job whose id begins so; `otherwise` is called if there is none among the newest 2,000. */
export async function find(page, start, otherwise) {
  if (start.length === 36) return page.go(`#/jobs/${start}`);
  let seen = 0;
  for (let cursor = "", pages = 0; cursor !== null && pages < MOST_PAGES; pages += 1) {
    const { data } = await get(`jobs?${new URLSearchParams({ limit: 100, ...(cursor && { cursor }) })}`);
    const found = data.jobs.find((job) => job.event_id.startsWith(start));
    if (found) return page.go(`#/jobs/${found.event_id}`);
    seen += data.jobs.length;
    page.say(`No id begins so among the newest ${count(seen)} jobs`);
    cursor = data.next_cursor;
  }
  otherwise();
}
