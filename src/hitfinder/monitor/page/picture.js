// A picture of counts: levels for every zoom, contrast, and how it is painted.

import { LEVELS, WITHOUT, palette } from "./colours.js";

const UNREAD = -1;
const TABLE = 4096;

/** Counts in their places: the frame as it is stored, or put together by a map of its pixels. */
export class Picture {
  constructor(counts, layout, pixels, mask) {
    const [rows, columns] = layout ? layout.picture : counts.shape;
    const coarse = counts.coarse; // a picture of everything, whose pixels are of `coarse` a side
    this.rows = rows;
    this.columns = columns;
    this.counts = counts;
    this.pixels = pixels;
    this.whole = counts.kind !== "float32";
    const top = { uint8: 255, uint16: 65535, uint32: 4294967295 }[counts.kind];
    const shown = new Float32Array(rows * columns);
    const stored = counts.data;
    for (let k = 0; k < shown.length; k++) {
      const at = pixels ? pixels[k] : k;
      let value = NaN;
      if (coarse) value = stored[Math.floor(Math.floor(k / columns) / coarse) * counts.shape[1] + Math.floor((k % columns) / coarse)];
      else if (at >= 0) value = stored[at];
      shown[k] = value === top || !(value >= 0) || (mask && at >= 0 && mask[at]) ? UNREAD : value;
    }
    this.levels = [{ rows, columns, data: shown }];
    while (Math.min(this.last.rows, this.last.columns) > 64) this.levels.push(halved(this.last));
  }

  get last() { return this.levels[this.levels.length - 1]; }

  /** The stored pixel at a place of the picture, -1 for none. */
  stored(column, row) {
    const [c, r] = [Math.floor(column), Math.floor(row)];
    if (c < 0 || r < 0 || c >= this.columns || r >= this.rows) return -1;
    const at = r * this.columns + c;
    return this.pixels ? this.pixels[at] : at;
  }

  /** What is shown at a place: the counts, or -1 where there is no reading or it is masked. */
  value(column, row) {
    const [c, r] = [Math.floor(column), Math.floor(row)];
    if (c < 0 || r < 0 || c >= this.columns || r >= this.rows) return UNREAD;
    return this.levels[0].data[r * this.columns + c];
  }

  /** Ends of the scale that suit the counts: a single photon stands out, the brightest are cut. */
  limits() {
    const { data } = this.levels[0];
    const step = Math.max(1, Math.floor(data.length / 400000));
    const positive = [];
    for (let k = 0; k < data.length; k += step) if (data[k] > 0) positive.push(data[k]);
    if (!positive.length) return [0.5, 1];
    positive.sort((a, b) => a - b);
    const at = (share) => positive[Math.min(positive.length - 1, Math.floor(share * positive.length))];
    const high = Math.max(at(0.995), this.whole ? 4 : 0);
    const low = Math.max(at(0.01) / 4, high * 1e-4);
    return [low, Math.max(high, 2 * low)];
  }

  /** Paints the part around (x, y), which is the middle; `scale` is canvas pixels a picture pixel. */
  paint(context, view, look) {
    const { width, height } = context.canvas;
    const image = context.createImageData(width, height);
    const out = new Uint32Array(image.data.buffer);
    const depth = Math.min(this.levels.length - 1, Math.max(0, Math.ceil(Math.log2(1 / view.scale) - 1e-6)));
    const { rows, columns, data } = this.levels[depth];
    const colour = colourer(look, this.whole);
    const step = 1 / view.scale / 2 ** depth;
    const left = view.x / 2 ** depth - (width / 2 - 0.5) * step;
    const top = view.y / 2 ** depth - (height / 2 - 0.5) * step;
    const outside = look.outside;
    const across = new Int32Array(width);
    for (let i = 0; i < width; i++) {
      const c = Math.floor(left + i * step);
      across[i] = c < 0 || c >= columns ? -1 : c;
    }
    for (let j = 0; j < height; j++) {
      const r = Math.floor(top + j * step);
      const line = j * width;
      if (r < 0 || r >= rows) { out.fill(outside, line, line + width); continue; }
      const from = r * columns;
      for (let i = 0; i < width; i++) out[line + i] = across[i] < 0 ? outside : colour(data[from + across[i]]);
    }
    context.putImageData(image, 0, 0);
  }
}

/** Returns a level of half the size; each pixel is the brightest of four. */
function halved({ rows, columns, data }) {
  const [r2, c2] = [(rows + 1) >> 1, (columns + 1) >> 1];
  const out = new Float32Array(r2 * c2).fill(UNREAD);
  for (let r = 0; r < rows; r++) {
    const [from, to] = [r * columns, (r >> 1) * c2];
    for (let c = 0; c < columns; c++) {
      const value = data[from + c];
      const at = to + (c >> 1);
      if (value > out[at]) out[at] = value;
    }
  }
  return { rows: r2, columns: c2, data: out };
}

/** Returns a function from counts to colours. */
function colourer({ low, high, log, colours }, whole) {
  const scale = palette(colours);
  const [base, span] = log ? [Math.log(low), Math.log(high) - Math.log(low)] : [low, high - low];
  const exact = (value) => {
    if (value < 0) return WITHOUT;
    const t = ((log ? Math.log(Math.max(value, 1e-30)) : value) - base) / span;
    return scale[Math.max(0, Math.min(LEVELS - 1, Math.round(t * (LEVELS - 1))))];
  };
  if (!whole) return exact;
  const table = new Uint32Array(TABLE);
  for (let k = 0; k < TABLE; k++) table[k] = exact(k);
  return (value) => (value >= 0 && value < TABLE ? table[value] : exact(value));
}
