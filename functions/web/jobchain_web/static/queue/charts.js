/** Two small charts of the listed jobs that are final: their number, and their duration. */

import { h } from "./dom.js";
import { age, clock, count, duration, isFinal, stamp } from "./format.js";
import { zone } from "./times.js";

const DAY = 86_400; // seconds
const SIZES = [1, 5, 15, 60, 300, 900, 3600, 21_600, DAY]; // seconds per bar
/** Between two labels: of numbers, and of seconds. */
const NUMBERS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];
const SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600, 7200, 14_400, 43_200, DAY, 7 * DAY];
const MOST_BARS = 40;

const times = (jobs) => jobs.filter((job) => job.status === "completed").map(age).sort((one, other) => one - other);
const middle = (sorted) => sorted[Math.floor((sorted.length - 1) / 2)] ?? null;

/** A time in seconds, as short as all times from `first` to `last` allow. */
const when = (at, first, last) => (last - first < DAY ? clock : stamp)(at * 1000);

/** Milliseconds as a label of an axis: "90 s" would be too long as "1 min 30 s". */
function short(milliseconds) {
  const seconds = milliseconds / 1000;
  const [unit, name] = seconds < 120 ? [1, "s"] : seconds < 7200 ? [60, "min"] : [3600, "h"];
  return `${+(seconds / unit).toFixed(1)} ${name}`;
}

/** The data of the charts; null for fewer than two final jobs. */
export function measure(listed) {
  const jobs = listed.filter((job) => isFinal(job) && job.finished_at);
  if (jobs.length < 2) return null;
  const ends = jobs.map((job) => Date.parse(job.finished_at) / 1000);
  const [first, last] = [Math.min(...ends), Math.max(...ends)];
  const size = SIZES.find((one) => (last - first) / one < MOST_BARS) ?? (last - first) / MOST_BARS;
  const start = Math.floor(first / size) * size;
  const groups = Array.from({ length: Math.floor((last - start) / size) + 1 }, () => []);
  jobs.forEach((job, index) => groups[Math.floor((ends[index] - start) / size)].push(job));
  const took = times(jobs);
  const starts = groups.map((_, index) => start + index * size);
  const failed = groups.map((group) => group.filter((job) => job.status === "failed").length);
  return {
    size,
    number: jobs.length,
    first,
    last,
    took: took.length ? `median ${duration(middle(took))}, slowest ${duration(took.at(-1))}` : "none completed",
    throughput: [starts, groups.map((group) => group.length), failed],
    latency: [starts, groups.map((group) => middle(times(group))), groups.map((group) => times(group).at(-1) ?? null)],
  };
}

/** The figures with their captions; `draw` adds the charts. */
export function figures(found) {
  const figure = (id, title, text) =>
    h.figure(h.figcaption(h.strong(title), " ", h.span({ class: "muted" }, text)),
      h.div({ class: "chart", id, keep: true, key: id, role: "img", label: `${title}: ${text}` }));
  if (!found) return null;
  const { number, first, last, size } = found;
  const ended = `${count(number)} jobs of this list, ${when(first, first, last)} to ${when(last, first, last)}, ${duration(size * 1000).replace(/\.0| 0 (s|min)$/, "")} per bar`;
  return h.div({ class: "charts", key: "charts" },
    figure("throughput", "Jobs ended", ended), figure("latency", "From creation to completion", found.took));
}

/** Draws `found`, unless it is drawn already in this size and these colours. */
export function draw(found) {
  if (!found) return;
  const paths = uPlot.paths.bars({ size: [0.8, 24], align: 1 });
  const bar = (label, fill) => ({ label, fill, width: 0, paths, points: { show: false } });
  const line = (label, stroke) => ({ label, stroke, width: 2, spanGaps: true });
  chart("throughput", found, { told: count, short: count, steps: NUMBERS }, (colour) => [bar("Ended", colour("--bar")), bar("Failed", colour("--failed"))]);
  chart("latency", found, { told: duration, short, steps: SECONDS.map((one) => one * 1000) }, (colour) => [line("Median", colour("--accent")), line("Slowest", colour("--bar"))]);
}

/** The legend has values only while the cursor is over the chart. */
const live = ({ root, cursor }) => root.querySelector(".u-legend").classList.toggle("u-live", cursor.idx != null);

function chart(id, found, format, series) {
  const host = document.getElementById(id);
  // The canvas needs computed colours.
  const colour = (name) => {
    host.style.color = name && `var(${name})`;
    return getComputedStyle(host).color;
  };
  const look = `${host.clientWidth} ${colour("")} ${zone()}`;
  if (host.drawn === found && host.look === look) return;
  host.plot?.destroy();
  const axis = { stroke: colour("--muted"), ticks: { show: false }, font: "11px system-ui" };
  const told = (text) => (_, value) => (value == null ? "–" : text(value));
  const [times] = found[id];
  const time = (at) => when(at, times[0], times.at(-1));
  const options = {
    width: host.clientWidth,
    height: 150,
    cursor: { drag: { x: false } },
    scales: { x: { range: (_, low, high) => [low, high + found.size] }, y: { range: (_, low, high) => [0, (high || 1) * 1.15] } },
    axes: [
      { ...axis, grid: { show: false }, size: 30, space: 90, incrs: [...SIZES, 2 * DAY, 7 * DAY, 28 * DAY, 91 * DAY], values: (_, ticks) => ticks.map(time) },
      { ...axis, grid: { stroke: colour("--line") }, size: 56, incrs: format.steps, values: (_, ticks) => ticks.map(format.short) },
    ],
    hooks: { ready: [live], setCursor: [live] },
    series: [{ label: "From", value: told(time) }, ...series(colour).map((one) => ({ ...one, value: told(format.told) }))],
  };
  Object.assign(host, { plot: new uPlot(options, found[id], host), look, drawn: found });
  colour("");
}
