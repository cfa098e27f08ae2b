/** The chart of daily usage: bars of days, stacked by group. */

import { bound, count, dollars, words } from "./format.js";

const MOST = 6; // groups with a colour of their own
/** Each has a contrast of 3:1 to the panel in both colour schemes; neighbours differ in lightness, too. */
const COLOURS = ["light-dark(#1f5f91, #7db9e8)", "light-dark(#b85c00, #f0a04b)", "light-dark(#17683a, #6ccf97)", "light-dark(#8e44ad, #cf9be6)", "light-dark(#00838f, #4dd0e1)", "light-dark(#a03050, #f48fa8)"];
const OTHERS = "light-dark(#6b7683, #98a4b1)";

const money = (value) => `$${value >= 1 || value === 0 ? value.toFixed(2) : value.toPrecision(2)}`;
const big = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** What the chart can show, each with how an amount is written. */
export const MEASURES = {
  cost: { title: "Cost", of: (one) => one.cost_usd ?? 0, told: money },
  tokens: { title: "Tokens", of: (one) => one.usage.input_tokens + one.usage.output_tokens, told: (value) => big.format(value) },
  jobs: { title: "Jobs ended", of: (one) => one.completed + one.failed + one.cancelled, told: (value) => count(value) },
};

const WITHOUT = { chain: "recorded without the chain", key: "no API key", model: "no call of a model" };

/** The sum of several days or groups; the cost is null only if there is a call of unknown price. */
function sum(parts) {
  const all = { created: 0, completed: 0, failed: 0, cancelled: 0, calls: 0, retries: 0, cost_usd: 0, usage: {}, estimated: {} };
  const add = (to, from) => Object.entries(from).forEach(([name, value]) => (to[name] = value === null || to[name] === null ? null : (to[name] ?? 0) + value));
  for (const { usage, estimated, groups: _, date: __, ...numbers } of parts) {
    add(all, numbers);
    add(all.usage, usage);
    add(all.estimated, estimated);
  }
  return { ...all, usage: { input_tokens: 0, output_tokens: 0, cached_tokens: 0, ...all.usage } };
}

/** The sums of the days and of their groups; the groups that cost most come first. */
export function groupsOf(days) {
  const found = { __proto__: null };
  for (const one of days) for (const [name, group] of Object.entries(one.groups ?? {})) (found[name] ??= []).push(group);
  const sums = { __proto__: null };
  for (const name of Object.keys(found)) sums[name] = sum(found[name]);
  const names = Object.keys(sums).sort((one, other) => (sums[other].cost_usd ?? Infinity) - (sums[one].cost_usd ?? Infinity)
    || MEASURES.tokens.of(sums[other]) - MEASURES.tokens.of(sums[one]) || MEASURES.jobs.of(sums[other]) - MEASURES.jobs.of(sums[one]));
  return { sums, names, total: sum(days) };
}

export const colourOf = (names, name) => (names.indexOf(name) < MOST ? COLOURS[names.indexOf(name)] : OTHERS);

export const nameOf = (by, name) => (name === "" ? WITHOUT[by] : by === "chain" ? words(name) : name);

/** What the chart tells, in words. */
export function summary({ days, groups: { total } }, show) {
  const { of, told } = MEASURES[show];
  const most = days.reduce((one, other) => (of(other) > of(one) ? other : one), days[0]);
  const unknown = show === "cost" && total.cost_usd === null ? " without the calls of unknown price" : "";
  const all = days.reduce((sum, one) => sum + of(one), 0);
  const highest = all > 0 ? `, the most on ${most.date}: ${told(of(most))}` : "";
  return `${show === "jobs" ? "" : bound(total)}${told(all)}${unknown} from ${days[0].date} to ${days.at(-1).date}${highest}`;
}

/** The data of the chart: the days, and for each part of a bar its name, colour, values, and where it ends. */
function partsOf({ days, by, groups: { names } }, show) {
  const { of } = MEASURES[show];
  if (!by) return [{ name: MEASURES[show].title, colour: COLOURS[0], values: days.map(of) }];
  const value = (one, name) => (Object.hasOwn(one.groups, name) ? of(one.groups[name]) : 0);
  const parts = names.slice(0, MOST).map((name) => ({ name: nameOf(by, name), colour: colourOf(names, name), values: days.map((one) => value(one, name)) }));
  const rest = names.slice(MOST);
  if (rest.length) parts.push({ name: `${rest.length} others`, colour: OTHERS, values: days.map((one) => rest.reduce((sum, name) => sum + value(one, name), 0)) });
  return parts;
}

/** Draws the chart into `host`, unless it is drawn already in this size and these colours. */
export function draw(host, data, show) {
  const colour = (text) => {
    host.style.color = text;
    return getComputedStyle(host).color;
  };
  const look = `${host.clientWidth} ${colour("var(--muted)")}`;
  if (host.drawn === data && host.look === look) return;
  host.plot?.destroy();
  const { told } = MEASURES[show];
  const parts = partsOf(data, show);
  const ends = data.days.map(() => 0);
  const stacked = parts.map(({ values }) => values.map((value, index) => (ends[index] += value)));
  const bars = uPlot.paths.bars({ size: [0.7, 48] });
  // The whole bar is drawn first, and the parts that end lower over it.
  const order = parts.map((_, index) => index).reverse();
  const series = order.map((index) => {
    const { name, values } = parts[index];
    const fill = colour(parts[index].colour);
    return { label: name, fill, stroke: fill, width: 0, paths: bars, points: { show: false }, value: (_, __, ___, at) => (at == null ? "–" : told(values[at])) };
  });
  const axis = { stroke: colour("var(--muted)"), ticks: { show: false }, font: "11px system-ui" };
  const date = (at) => (Number.isInteger(at) ? data.days[at]?.date ?? "" : "");
  const live = ({ root, cursor }) => root.querySelector(".u-legend").classList.toggle("u-live", cursor.idx != null);
  const options = {
    width: host.clientWidth,
    height: 260,
    cursor: { drag: { x: false } },
    scales: { x: { time: false, range: () => [-0.6, data.days.length - 0.4] }, y: { range: (_, __, high) => [0, (high || 1) * 1.1] } },
    axes: [
      { ...axis, grid: { show: false }, size: 30, space: 80, incrs: [1, 2, 5, 7, 14, 30], values: (_, ticks) => ticks.map((at) => date(at).slice(5)) },
      { ...axis, grid: { stroke: colour("var(--line)") }, size: 60, values: (_, ticks) => ticks.map(told) },
    ],
    hooks: { ready: [live], setCursor: [live] },
    series: [{ label: "Day", value: (_, at) => (at == null ? "–" : date(at)) }, ...series],
  };
  const plot = new uPlot(options, [data.days.map((_, index) => index), ...order.map((index) => stacked[index])], host);
  Object.assign(host, { plot, look, drawn: data });
  host.style.color = "";
}
