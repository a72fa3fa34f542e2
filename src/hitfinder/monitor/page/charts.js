// The charts: what changed along the run, and how frames are spread.

import { isNumber, number, percent } from "./words.js";

const HEIGHT = 190;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** One chart in a figure; `build` returns { data, options, words } of what is to be shown, or null. */
class Chart {
  constructor(id, build, height = HEIGHT) {
    this.figure = document.getElementById(id);
    this.room = this.figure.querySelector(":scope > div");
    this.words = this.figure.querySelector("figcaption p");
    Object.assign(this, { build, height });
    new ResizeObserver(() => this.fit()).observe(this.figure);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.again());
  }

  show(told) { this.told = told; this.again(); }

  again() {
    if (!this.told) return;
    const made = this.build(this.told);
    this.plot?.destroy();
    this.plot = null;
    this.figure.classList.toggle("empty", !made);
    // A canvas says nothing to who cannot see it: the caption does.
    this.room.setAttribute("aria-hidden", Boolean(made));
    if (!made) { this.room.textContent = this.told.state === "complete" ? "nothing to show" : "nothing yet"; this.words.textContent = ""; return; }
    this.room.textContent = "";
    this.words.textContent = made.words;
    const options = {
      width: this.width(), height: this.height, cursor: { y: false, drag: { x: true, y: false } },
      legend: { show: false }, ...made.options,
    };
    const lines = { stroke: css("--line"), width: 1 };
    options.axes = made.options.axes.map((axis) => ({
      stroke: css("--soft"), font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 18, gap: 3,
      ...axis, grid: { ...lines, ...axis.grid }, ticks: { ...lines, size: 4, ...axis.grid },
    }));
    this.plot = new uPlot(options, made.data, this.room);
  }

  width() { return Math.max(180, this.room.clientWidth); }
  fit() { if (this.plot && this.plot.width !== this.width()) this.plot.setSize({ width: this.width(), height: this.height }); }
}

const frames = { label: "frame", size: 38, values: (u, ticks) => ticks.map((t) => (Number.isInteger(t) ? number(t) : "")) };
const wholes = { size: 46, values: (u, ticks) => ticks.map((t) => (Number.isInteger(t) ? number(t) : "")) };
const plainScales = { x: { time: false } };
const points = (colour, size) => ({ show: true, size, fill: colour, stroke: colour, width: 0 });

function hitRate({ history }) {
  if (!history.frame.length) return null;
  const share = (values) => values.map((v) => (v === null ? null : 100 * v));
  const accent = css("--accent");
  const last = history.slow[history.slow.length - 1];
  return {
    words: `each ${history.bin === 1 ? "frame" : `${number(history.bin)} frames`} (thin), and over ${number(12 * history.bin)} (thick, 68 % band); ${percent(last)} at the end`,
    data: [history.frame, share(history.slow_low), share(history.slow_high), share(history.fast), share(history.slow)],
    options: {
      scales: { ...plainScales, y: { range: (u, low, high) => [0, Math.max(1, Math.min(100, high * 1.08))] } },
      axes: [frames, { size: 46, values: (u, ticks) => ticks.map((t) => `${number(t)} %`) }],
      bands: [{ series: [2, 1], fill: css("--band") }],
      series: [{}, { stroke: "transparent", points: { show: false } }, { stroke: "transparent", points: { show: false } },
        { stroke: css("--none"), width: 1, points: { show: false } }, { stroke: accent, width: 3, points: { show: false } }],
    },
  };
}

function scores(open) {
  return ({ points: told, threshold }) => {
    if (!told.frame.length) return null;
    const of = (kind) => told.score.map((score, k) => (told.hit[k] === kind ? score : null));
    const [good, none] = [css("--good"), css("--none")];
    return {
      words: "green: hits; click a frame to see it",
      data: [told.frame, of(0), of(1)],
      options: {
        scales: { ...plainScales, y: { distr: 4, asinh: 1, range: (u, low, high) => [Math.min(0, low), 1.3 * Math.max(high, 2 * threshold)] } },
        axes: [frames, { size: 46, values: (u, ticks) => ticks.map(power), grid: POWERS }],
        cursor: { drag: { x: true, y: false }, points: { show: false } },
        series: [{}, { paths: () => null, points: points(none, 4) }, { paths: () => null, points: points(good, 5) }],
        hooks: { draw: [(u) => line(u, "y", threshold)], ready: [(u) => clicked(u, told, open)] },
      },
    };
  };
}

/** Writes 1, 10, 100, 1000 and powers beyond; other ticks of a logarithmic axis have no label. */
function power(tick) {
  const exponent = Math.round(Math.log10(tick));
  if (!(tick >= 1) || Math.abs(tick / 10 ** exponent - 1) > 1e-6) return "";
  return exponent < 4 ? number(tick) : `10${String(exponent).replace(/[0-9]/g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])}`;
}

/** Lines of a grid at powers of ten alone. */
const POWERS = { filter: (u, ticks) => ticks.map((tick) => (power(tick) ? tick : null)) };

/** Draws a line across a chart at a value of its x or y scale. */
function line(u, scale, value) {
  const { left, top, width, height } = u.bbox;
  const at = Math.round(u.valToPos(value, scale, true)) + 0.5;
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.strokeStyle = css("--warn");
  u.ctx.lineWidth = 2 * devicePixelRatio;
  u.ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
  if (scale === "y") { u.ctx.moveTo(left, at); u.ctx.lineTo(left + width, at); }
  else { u.ctx.moveTo(at, top); u.ctx.lineTo(at, top + height); }
  u.ctx.stroke();
  u.ctx.restore();
}

function clicked(u, told, open) {
  u.over.addEventListener("click", (event) => {
    const [x, y] = [event.offsetX, event.offsetY];
    let [best, nearest] = [-1, 18];
    told.frame.forEach((frame, k) => {
      const far = Math.hypot(u.valToPos(frame, "x") - x, u.valToPos(told.score[k], "y") - y);
      if (far < nearest) [best, nearest] = [k, far];
    });
    if (best >= 0) open(told.frame[best]);
  });
}

/** Bars between edges; `stack` are counts of series from front to back. */
function bars(edges, stack, colours, axis, extra = {}) {
  const width = edges[1] - edges[0];
  const middle = edges.slice(0, -1).map((edge) => edge + width / 2);
  const room = { size: [0.92, Infinity], align: 0 };
  return {
    data: [middle, ...stack],
    options: {
      scales: { x: { time: false, range: () => [edges[0], edges[edges.length - 1]] }, y: { range: (u, low, high) => [0, Math.max(1, high * 1.06)] } },
      axes: [axis, wholes],
      series: [{}, ...stack.map((_, k) => ({ paths: uPlot.paths.bars(room), fill: colours[k], stroke: colours[k], width: 0, points: { show: false } }))],
      ...extra,
    },
  };
}

function scoreHistogram({ scores: told, threshold, hits, processed }) {
  if (!told.edges.length) return null;
  const all = told.others.map((n, k) => n + told.hits[k]);
  const extra = { hooks: { draw: [(u) => line(u, "x", threshold)] } };
  const made = bars(told.edges, [all, told.hits], [css("--none"), css("--good")], { label: "score (last bar: and beyond)", size: 38 }, extra);
  return { words: `${number(hits)} hits of ${number(processed)} frames (green); line: threshold ${number(threshold)}`, ...made };
}

function peaks({ peak_histogram: told, peaks_per_hit: median }) {
  if (!told.edges.length) return null;
  return { words: `median ${number(median)}`, ...bars(told.edges, [told.hits], [css("--accent")], { label: "peaks", size: 38 }) };
}

function reach({ resolution_histogram: told, resolution_a: median, resolution_best_a: best }) {
  if (!told.edges.length) return null;
  const axis = { label: "resolution", size: 38, values: (u, ticks) => ticks.map((t) => (t > 0 ? `${number(1 / t, 2)} Å` : "∞")) };
  return { words: `median ${number(median, 2)} Å, one in ten ${number(best, 2)} Å`, ...bars(told.edges, [told.hits], [css("--accent")], axis) };
}

/** A line along the run; `name` is its column in the history. */
function along(name, words, unit, options = {}) {
  return ({ history }) => {
    const values = history[name];
    if (!values || !values.some(isNumber)) return null;
    return {
      words,
      data: [history.frame, values],
      options: {
        scales: { ...plainScales, y: options.scale ?? {} },
        axes: [frames, { size: 62, values: (u, ticks) => ticks.map((t) => `${number(t, 3)}${unit}`) }],
        series: [{}, { stroke: css("--accent"), width: 1.8, spanGaps: true, points: { show: values.length < 60, size: 4 } }],
      },
    };
  };
}

function profile({ profile: told }) {
  if (!told || !told.mean.some(isNumber)) return null;
  const room = told.mean.filter((v) => v > 0);
  const far = Math.max(...room) > 30 * Math.min(...room);
  return {
    words: "mean background of all frames, photons a pixel",
    data: [told.q, told.mean.map((v) => (far && !(v > 0) ? null : v))],
    options: {
      scales: { ...plainScales, y: far ? { distr: 3 } : {} },
      axes: [{ label: "resolution", size: 38, values: (u, ticks) => ticks.map((t) => (t > 0 ? `${number(2 * Math.PI / t, 2)} Å` : "")) },
        { size: 62, values: (u, ticks) => ticks.map((t) => (t === null ? "" : number(t, 2))) }],
      series: [{}, { stroke: css("--accent"), width: 1.8, points: { show: false } }],
    },
  };
}

/** Estimates along the run with their 68 % band, and the value that was used. */
function estimate(name, unit, scale, about) {
  return ({ history }) => {
    const [values, sigmas] = [history[name], history[`${name}_sigma`]];
    if (!values || !values.some(isNumber)) return null;
    const used = scale * about().geometry[`${name}_${name === "photon_energy" ? "ev" : "m"}`];
    const moved = (sign) => values.map((v, k) => (v === null || sigmas[k] === null ? null : scale * (v + sign * sigmas[k])));
    return {
      words: `with 68 % band; line: ${number(used, 5)} ${unit}, which was used`,
      data: [history.frame, moved(-1), moved(1), values.map((v) => (v === null ? null : scale * v))],
      options: {
        scales: { ...plainScales, y: { range: (u, low, high) => around(Math.min(low, used), Math.max(high, used)) } },
        axes: [frames, { size: 62, values: (u, ticks) => ticks.map((t) => number(t, 5)), label: unit }],
        bands: [{ series: [2, 1], fill: css("--band") }],
        series: [{}, { stroke: "transparent", points: { show: false } }, { stroke: "transparent", points: { show: false } },
          { stroke: css("--accent"), width: 1.6, spanGaps: true, points: { show: false } }],
        hooks: { draw: [(u) => line(u, "y", used)] },
      },
    };
  };
}

function around(low, high) {
  const room = 0.06 * (high - low) || Math.abs(high) * 0.01 || 1;
  return [low - room, high + room];
}

/** All charts; `open` shows a frame, `about` gives what is known of the run. */
export function makeCharts(open, about) {
  const upright = { dir: -1, range: (u, low, high) => around(low, high) };
  return [
    new Chart("hit-rate", hitRate),
    new Chart("scores", scores(open)),
    new Chart("score-histogram", scoreHistogram),
    new Chart("peaks", peaks),
    new Chart("reach", reach),
    new Chart("resolution", along("resolution", "median of the hits; better is higher", " Å", { scale: upright })),
    new Chart("background", along("background", "photons per pixel", "")),
    new Chart("profile", profile),
    new Chart("energy", estimate("photon_energy", "eV", 1, about)),
    new Chart("length", estimate("camera_length", "mm", 1000, about)),
  ];
}
