// Colour maps of counts, as anchors between dark and bright.

const MAPS = {
  counts: [[0, 10, 10, 28], [0.2, 48, 22, 92], [0.4, 122, 32, 112], [0.6, 203, 66, 82], [0.8, 247, 140, 52],
    [0.93, 252, 214, 110], [1, 255, 252, 232]],
  viridis: [[0, 68, 1, 84], [0.25, 59, 82, 139], [0.5, 33, 145, 140], [0.75, 94, 201, 98], [1, 253, 231, 37]],
  grey: [[0, 0, 0, 0], [1, 255, 255, 255]],
  "grey, inverted": [[0, 255, 255, 255], [1, 0, 0, 0]],
};

export const NAMES = Object.keys(MAPS);
export const LEVELS = 256;

/** Colour of pixels without a reading, and of masked ones. */
export const WITHOUT = packed(125, 130, 138);

function packed(red, green, blue) { return (255 << 24 | blue << 16 | green << 8 | red) >>> 0; }

/** Returns the colours of a map, dark to bright, as the canvas has them. */
export function palette(name) {
  const anchors = MAPS[name] ?? MAPS.counts;
  const colours = new Uint32Array(LEVELS);
  for (let k = 0, a = 0; k < LEVELS; k++) {
    const at = k / (LEVELS - 1);
    while (a < anchors.length - 2 && at > anchors[a + 1][0]) a++;
    const [low, high] = [anchors[a], anchors[a + 1]];
    const t = (at - low[0]) / (high[0] - low[0]);
    const mixed = [1, 2, 3].map((c) => Math.round(low[c] + t * (high[c] - low[c])));
    colours[k] = packed(...mixed);
  }
  return colours;
}
