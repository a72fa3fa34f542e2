// The frame: painted on a canvas, with rings, circled peaks and values over it.

import { NAMES } from "./colours.js";
import { Picture } from "./picture.js";
import { number } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const VALUES_FROM = 26; // CSS pixels of a detector pixel from which its counts are written
const NAMES_FROM = 8; // and from which reflections have their indices beside them
const CLOSEST = 80;
const MOST_CIRCLES = 4000;
const byId = (id) => document.getElementById(id);

export class Viewer {
  /** `layout` says where pixels are and may be null; `pixels` and `mask` are arrays or null. */
  constructor() {
    this.canvas = byId("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.overlay = byId("overlay");
    this.stage = byId("stage");
    this.layout = this.pixels = this.mask = this.picture = null;
    this.peaks = { column: [], row: [], doubtful: [] };
    this.predicted = [];
    this.view = null;
    this.colours = NAMES[0];
    this.fixed = false; // whether contrast stays from frame to frame
    for (const name of NAMES) byId("colours").append(new Option(name));
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.stage);
  }

  setDetector(layout, pixels, mask) {
    Object.assign(this, { layout, pixels, mask });
    if (this.counts) this.rebuild();
    else if (layout) this.stage.style.aspectRatio = this.aspect(...layout.picture);
  }

  aspect(rows, columns) { return String(Math.min(1.6, Math.max(0.8, columns / rows))); }

  /** Shows a frame: its counts as they came, and its peaks. */
  show(counts, peaks, words) {
    this.counts = counts;
    this.peaks = peaks;
    byId("no-frame").hidden = true;
    this.rebuild();
    this.canvas.setAttribute("aria-label", words);
  }

  /** Says why there is no picture; peaks are shown all the same. */
  showNone(why, peaks, words) {
    this.counts = this.picture = null;
    this.peaks = peaks;
    byId("no-frame").textContent = why;
    byId("no-frame").hidden = false;
    this.canvas.setAttribute("aria-label", words);
    this.resize();
  }

  rebuild() {
    const before = this.picture;
    const mask = byId("show-mask").checked ? this.mask : null;
    this.picture = new Picture(this.counts, this.layout, this.pixels, mask);
    const same = before && before.rows === this.picture.rows && before.columns === this.picture.columns;
    this.stage.style.aspectRatio = this.aspect(this.picture.rows, this.picture.columns);
    if (!this.fixed) this.autoContrast();
    if (!same || !this.view) this.fit();
    else this.draw();
  }

  autoContrast() {
    if (!this.picture) return;
    [this.low, this.high] = this.picture.limits();
    byId("low").value = Number(this.low.toPrecision(2));
    byId("high").value = Number(this.high.toPrecision(3));
  }

  size() {
    if (this.picture) return [this.picture.rows, this.picture.columns];
    return this.layout ? this.layout.picture : [1, 1];
  }

  fit() {
    const [rows, columns] = this.size();
    const { clientWidth: width, clientHeight: height } = this.stage;
    this.whole = true;
    this.view = { x: columns / 2, y: rows / 2, scale: Math.min(width / columns, height / rows) };
    this.draw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const dots = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = Math.max(1, Math.round(width * dots));
    this.canvas.height = Math.max(1, Math.round(height * dots));
    this.overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (!this.view || this.whole) this.fit();
    else this.draw();
  }

  /** Zooms by a factor; the place under (x, y), in CSS pixels of the stage, stays where it is. */
  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const [rows, columns] = this.size();
    const least = 0.8 * Math.min(this.stage.clientWidth / columns, this.stage.clientHeight / rows);
    const [column, row] = this.place(x, y);
    const scale = Math.min(CLOSEST, Math.max(least, this.view.scale * factor));
    this.view.scale = scale;
    this.view.x = column - (x - this.stage.clientWidth / 2) / scale;
    this.view.y = row - (y - this.stage.clientHeight / 2) / scale;
    this.move(0, 0);
  }

  /** Moves what is shown by CSS pixels. */
  move(dx, dy) {
    const [rows, columns] = this.size();
    this.whole = false;
    this.view.x = Math.min(columns, Math.max(0, this.view.x + dx / this.view.scale));
    this.view.y = Math.min(rows, Math.max(0, this.view.y + dy / this.view.scale));
    this.draw();
  }

  /** Picture coordinates of a point of the stage. */
  place(x, y) {
    const { scale } = this.view;
    return [
      this.view.x + (x - this.stage.clientWidth / 2) / scale,
      this.view.y + (y - this.stage.clientHeight / 2) / scale,
    ];
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  paint() {
    const { canvas, context, view } = this;
    if (!view) return;
    const dots = canvas.width / this.stage.clientWidth;
    if (this.picture) {
      const log = byId("log").checked;
      const look = { low: this.low, high: this.high, log, colours: this.colours, outside: 0xff1c0a0a };
      this.picture.paint(context, { ...view, scale: view.scale * dots }, look);
      if (view.scale >= VALUES_FROM && !this.counts.coarse) this.writeValues(dots);
    } else {
      context.fillStyle = "#0a0a1c";
      context.fillRect(0, 0, canvas.width, canvas.height);
    }
    this.drawOverlay();
  }

  writeValues(dots) {
    const { context, view, picture } = this;
    const [left, top] = this.place(0, 0).map(Math.floor);
    const [right, bottom] = this.place(this.stage.clientWidth, this.stage.clientHeight).map(Math.ceil);
    context.font = `${Math.round(dots * Math.min(15, view.scale * 0.42))}px ui-monospace, monospace`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 2.5 * dots;
    context.strokeStyle = "#0a0a1c";
    context.fillStyle = "#ffffff";
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        const value = picture.value(column, row);
        if (value < 0) continue;
        const text = picture.whole ? String(value) : number(value, 2);
        const x = dots * ((column + 0.5 - view.x) * view.scale + this.stage.clientWidth / 2);
        const y = dots * ((row + 0.5 - view.y) * view.scale + this.stage.clientHeight / 2);
        context.strokeText(text, x, y);
        context.fillText(text, x, y);
      }
    }
  }

  drawOverlay() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const { x, y, scale } = this.view;
    const at = (column, row) => [(column - x) * scale + width / 2, (row - y) * scale + height / 2];
    const drawn = [];
    if (byId("show-rings").checked && this.layout) {
      for (const ring of this.layout.rings) drawn.push(...this.ring(ring, at, width, height));
    }
    if (byId("show-predicted").checked) {
      const half = Math.max(3.5, 2 * scale);
      for (const { column, row, h, k, l } of this.predicted) {
        for (let n = 0; n < column.length; n++) {
          const [cx, cy] = at(column[n], row[n]);
          if (cx < 0 || cy < 0 || cx > width || cy > height) continue;
          const box = shape("rect", { x: cx - half, y: cy - half, width: 2 * half, height: 2 * half, class: "predicted" });
          drawn.push(box);
          if (scale < NAMES_FROM) continue;
          const name = shape("text", { x: cx, y: cy - half - 4, class: "ring-label" });
          name.textContent = `${h[n]} ${k[n]} ${l[n]}`;
          drawn.push(name);
        }
      }
    }
    if (byId("show-peaks").checked) {
      const { column, row, doubtful } = this.peaks;
      const radius = Math.max(7, 4 * scale);
      for (let k = 0; k < Math.min(column.length, MOST_CIRCLES); k++) {
        if (column[k] === null) continue;
        const [cx, cy] = at(column[k], row[k]);
        if (cx < -radius || cy < -radius || cx > width + radius || cy > height + radius) continue;
        drawn.push(shape("circle", { cx, cy, r: radius, class: doubtful[k] ? "peak doubtful" : "peak" }));
      }
    }
    this.overlay.replaceChildren(...drawn);
  }

  ring(ring, at, width, height) {
    const { scale } = this.view;
    const [cx, cy] = at(ring.column, ring.row);
    const r = ring.radius * scale;
    const drawn = [shape("circle", { cx, cy, r, class: "ring" })];
    // The label is where the ring is in sight, tried around it.
    for (const angle of [-45, -135, 45, 135, -90, 90, 0, 180]) {
      const [dx, dy] = [Math.cos(angle * Math.PI / 180), Math.sin(angle * Math.PI / 180)];
      const [lx, ly] = [cx + r * dx, cy + r * dy];
      if (lx < 22 || ly < 12 || lx > width - 22 || ly > height - 12) continue;
      const label = shape("text", { x: lx, y: ly + 4, class: "ring-label" });
      label.textContent = `${number(ring.resolution_a, 2)} Å`;
      drawn.push(label);
      break;
    }
    return drawn;
  }

  /** Tells fs, ss, counts and resolution at a point of the stage. */
  tell(x, y) {
    const out = byId("pointer");
    if (!this.view || !this.picture) { out.textContent = "\u00a0"; return; }
    const [column, row] = this.place(x, y);
    const stored = this.picture.stored(column, row);
    if (stored < 0) { out.textContent = "\u00a0"; return; }
    const columns = this.layout ? this.layout.shape[1] : this.picture.columns;
    const exact = !this.pixels;
    const fs = exact ? column.toFixed(1) : (stored % columns) + 0.5;
    const ss = exact ? row.toFixed(1) : Math.floor(stored / columns) + 0.5;
    const value = this.picture.value(column, row);
    const unit = this.counts.unit ?? `photon${value === 1 ? "" : "s"}`;
    const counts = value < 0 ? "no reading" : `${number(value, 4)} ${unit}`;
    const reach = this.resolution(column, row);
    out.textContent = `fs ${fs}  ss ${ss}  ${counts}${reach ? `  ${number(reach, 3)} Å` : ""}`;
  }

  resolution(column, row) {
    const { layout } = this;
    if (!layout) return null;
    const r = layout.pixel_m * Math.hypot(column - layout.beam[0], row - layout.beam[1]);
    const sine = Math.sin(0.5 * Math.atan2(r, layout.camera_length_m));
    return sine > 0 ? layout.wavelength_a / (2 * sine) : null;
  }

  listen() {
    const { canvas, stage } = this;
    const held = new Map();
    const inStage = (event) => {
      const box = stage.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...inStage(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, inStage(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = inStage(event);
      this.tell(x, y);
      const from = held.get(event.pointerId);
      if (!from) return;
      if (held.size === 2) {
        const other = [...held].find(([id]) => id !== event.pointerId)[1];
        const [before, after] = [from, [x, y]].map((p) => Math.hypot(p[0] - other[0], p[1] - other[1]));
        if (before > 0) this.zoom(after / before, (x + other[0]) / 2, (y + other[1]) / 2);
      } else this.move(from[0] - x, from[1] - y);
      held.set(event.pointerId, [x, y]);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => held.delete(event.pointerId));
    }
    canvas.addEventListener("dblclick", (event) => this.zoom(3, ...inStage(event)));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60] }[event.key];
      if (step) { event.preventDefault(); this.move(...step); }
    });
    byId("zoom").addEventListener("click", (event) => this.key({ in: "+", out: "-", fit: "0" }[event.target.dataset.zoom]));
    byId("colours").addEventListener("change", (event) => { this.colours = event.target.value; this.draw(); });
    for (const id of ["low", "high"]) byId(id).addEventListener("change", () => this.contrast());
    for (const id of ["log", "show-peaks", "show-predicted", "show-rings"]) byId(id).addEventListener("change", () => this.draw());
    byId("show-mask").addEventListener("change", () => this.counts && this.rebuild());
    byId("auto").addEventListener("click", () => this.key("a"));
  }

  contrast() {
    const [low, high] = [byId("low").valueAsNumber, byId("high").valueAsNumber];
    if (!(high > 0)) return;
    this.high = high;
    this.low = low > 0 && low < high ? low : high * 1e-4;
    this.fixed = true;
    this.draw();
  }

  /** Does what a key stands for; returns whether there is something. */
  key(key) {
    const toggled = { c: "show-peaks", i: "show-predicted", o: "show-rings", m: "show-mask" }[key];
    if (toggled) byId(toggled).click();
    else if (!this.view) return false;
    else if (key === "+" || key === "=") this.zoom(1.5);
    else if (key === "-") this.zoom(1 / 1.5);
    else if (key === "0") this.fit();
    else if (key === "a") { this.fixed = false; this.autoContrast(); this.draw(); }
    else return false;
    return true;
  }
}

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
