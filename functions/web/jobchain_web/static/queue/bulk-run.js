/** One change of many jobs: a few requests at a time, each until it has an answer. */

import { Problem, call, get } from "./api.js";
import { count, isFinal } from "./format.js";

const AT_ONCE = 4;
const MOST_TRIES = 6;
const LONGEST = 30_000; // ms between two tries

const isUnfit = ({ status }) => status === "failed" || status === "cancelled";

/**
 * What can be done with many jobs. `fits` tells to which jobs it can be done, and `isDone`, of a job as it is now or of
 * null for one that is not there, whether it was done: asked if an answer was lost.
 */
export const ACTIONS = [
  { name: "Retry", doing: "Retrying", done: "retried", of: "failed or cancelled: completed steps are kept", does: "Their completed steps are kept, and new calls of the model cost money. The filters:",
    method: "POST", path: "/retry", fits: isUnfit, isDone: (job) => job && !isUnfit(job) },
  { name: "Continue now", doing: "Continuing", done: "continued", of: "waiting for a time of their own, such as the next try", does: "They do not wait any longer. The filters:",
    method: "POST", path: "/retry", fits: (job) => Boolean(job.waiting_for?.retryable), isDone: (job) => job && !job.waiting_for?.retryable },
  { name: "Cancel", doing: "Cancelling", done: "cancelled", of: "pending or processing: a job that runs ends before its next step", does: "A job that runs ends before its next step. The filters:", isDanger: true,
    method: "POST", path: "/cancel", fits: (job) => !isFinal(job), isDone: (job) => job?.status === "cancelled" },
  { name: "Delete", doing: "Deleting", done: "deleted", of: "completed, failed or cancelled: with all that they stored", does: "The jobs and all that they stored are deleted permanently. The filters:", isDanger: true,
    method: "DELETE", path: "", fits: isFinal, isDone: (job) => job === null },
];

export class Run {
  done = 0;
  failed = [];
  isRunning = false;
  /** Jobs that are cancelled before their next step, and run until then. */
  #later = 0;
  #problem = null;
  #isStopped = false;

  /** @param {(typeof ACTIONS)[number]} action @param {object[]} jobs @param {() => void} tell called when something has changed */
  constructor(action, jobs, filters, tell) {
    Object.assign(this, { action, filters, tell, total: jobs.length });
    this.left = [...jobs];
  }

  stop() {
    this.#isStopped = true;
  }

  async start() {
    this.isRunning = true;
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, () => this.#work()));
    } finally {
      this.isRunning = false;
    }
  }

  /** What was done, in one line. */
  get sum() {
    const notTried = this.total - this.done - this.failed.length;
    return [`${count(this.done)} ${this.action.done}`, this.failed.length && `${count(this.failed.length)} could not`, notTried && `${count(notTried)} not tried`].filter(Boolean).join(", ");
  }

  get detail() {
    const why = this.#problem ? `It ended early: ${this.#problem.message}` : this.#isStopped && this.left.length ? "It was stopped." : "";
    const later = this.#later ? `${count(this.#later)} of them ran, and end before their next step.` : "";
    return [why, later].filter(Boolean).join(" ");
  }

  async #work() {
    while (this.left.length && !this.#isStopped && !this.#problem) {
      const job = this.left.shift();
      const why = await this.#change(job);
      if (why === null) this.left.unshift(job);
      else if (why) this.failed.push({ job, why });
      else this.done += 1;
      this.tell();
    }
  }

  /** Why it could not be done, "" if it was, null if it was not tried. */
  async #change(job) {
    const { method, path, isDone } = this.action;
    const at = `jobs/${encodeURIComponent(job.event_id)}`;
    let isLost = false;
    for (let tries = 1; ; tries += 1) {
      try {
        const answer = await call(method, at + path);
        if (path === "/cancel" && !isFinal(answer)) this.#later += 1;
        return "";
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        if (problem.status === 401 || problem.status === 403) {
          this.#problem = problem;
          return null;
        }
        // After an answer that was lost, the next one may refuse what is done already.
        if (!problem.passes && isLost && isDone(await this.#read(at))) return "";
        if (!problem.passes || tries === MOST_TRIES) return problem.message.replaceAll(job.event_id, "").replace("job  ", "the job ");
        isLost ||= problem.status !== 429;
        if (this.#isStopped && !isLost) return null;
        await new Promise((resolve) => setTimeout(resolve, Math.max(problem.retryAfter, Math.min(LONGEST, 500 * 2 ** tries))));
      }
    }
  }

  /** The job as it is now; null if it is not there, undefined if that can't be known. */
  async #read(path) {
    return get(path).then(({ data }) => data, ({ status }) => (status === 404 ? null : undefined));
  }
}
