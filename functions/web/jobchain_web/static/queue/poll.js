/** One polling loop: one poll at a time, and fewer polls while nothing changes. */

import { Problem } from "./api.js";

// Milliseconds between two polls.
const BUSY = { first: 1_000, most: 5_000, growth: 1.02 };
const IDLE = { first: 3_000, most: 15_000, growth: 1.1 };
const FAILING = { first: 1_000, most: 30_000, growth: 2 };
const HIDDEN = 30_000;

const pause = ({ first, most, growth }, times) => Math.min(first * growth ** times, most);

/** @typedef {{busy: boolean, changed: boolean, retryAfter: number}} Seen `busy`: a job is unfinished; in `retryAfter` ms it has probably ended */

export class Poller {
  #controller = new AbortController();
  #wake = () => {};
  #quiet = 0;
  #lookedAt = 0;
  #notBefore = 0;

  /** @param {(problem: ?Problem, next: number) => void} report called after each poll; `next` is the time of the next one */
  constructor(report) {
    this.report = report;
    const back = () => document.hidden || this.poke();
    const active = () => Date.now() - this.#lookedAt > IDLE.first && back();
    document.addEventListener("visibilitychange", back);
    for (const [event, react] of Object.entries({ online: back, pointerdown: active, keydown: active })) addEventListener(event, react);
  }

  /** Polls from now on, and aborts the loop before. @param {(signal: AbortSignal) => Promise<Seen>} look */
  start(look) {
    this.#controller.abort();
    this.#wake();
    this.#controller = new AbortController();
    this.#quiet = 0;
    this.#run(look, this.#controller.signal);
  }

  /** Polls at once, unless the API has refused the last poll and asked to wait. */
  poke() {
    this.#quiet = 0;
    this.#wake();
  }

  async #run(look, signal) {
    for (let failures = 0; ; ) {
      let problem = null;
      this.#lookedAt = Date.now();
      const seen = await look(signal).catch((error) => (problem = error));
      if (signal.aborted) return;
      if (problem && !(problem instanceof Problem)) throw problem;
      failures = problem ? failures + 1 : 0;
      this.#quiet = seen.changed ? 0 : this.#quiet + 1;
      // Of a refusal it is a limit; of a job that is read it says when the job has probably ended.
      this.#notBefore = problem ? Date.now() + problem.retryAfter : 0;
      const asked = problem ? problem.retryAfter : Math.min(seen.retryAfter, IDLE.most);
      const pace = problem ? pause(FAILING, failures - 1) : pause(seen.busy ? BUSY : IDLE, this.#quiet);
      const wait = Math.max(pace, asked, document.hidden ? HIDDEN : 0);
      this.report(problem, Date.now() + wait);
      if (problem && !problem.passes) return;
      await this.#sleep(wait, signal);
      if (signal.aborted) return;
    }
  }

  #sleep(wait, signal) {
    return new Promise((resolve) => {
      let timer = setTimeout(resolve, wait);
      this.#wake = () => {
        clearTimeout(timer);
        timer = setTimeout(resolve, signal.aborted ? 0 : this.#notBefore - Date.now());
      };
    });
  }
}
