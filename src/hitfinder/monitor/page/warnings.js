// What may be wrong with a run: photon energy and camera length, saturated peaks, ice.

import { element, isNumber, number, tile } from "./words.js";

const MANY = 0.1; // of the hits, as the verdict has it
const QUIET_S = 10; // after which, and how exactly, it is said that nothing comes

const BEAM = [
  { name: "photon energy", unit: "eV", key: "photon_energy", live: "energy", in_json: "ev", scale: 1 },
  { name: "camera length", unit: "mm", key: "camera_length", live: "camera_length", in_json: "m", scale: 1000 },
];

/** Estimates by the water with their bands, beside the values that were set. */
export function estimateTiles(about) {
  return BEAM.flatMap((beam) => {
    const told = finished(about, beam) ?? latest(about.live, beam);
    if (!told) return [];
    const words = `${beam.name} ± ${number(told.sigma, 1)} ${beam.unit}, by the water${told.when} (${number(told.set, 5)} set${told.drifts ? "; it drifts" : ""})`;
    return [tile(number(told.value, 4), words, { unit: beam.unit, kind: told.drifts ? "warn" : "" })];
  });
}

function finished({ estimated: told, geometry }, { key, in_json, scale }) {
  if (!told || told.flag !== "ok") return null;
  return {
    value: scale * told[`${key}_${in_json}`], sigma: scale * told[`${key}_sigma_${in_json}`],
    set: scale * geometry[`${key}_${in_json}`], drifts: told.drift?.drifts, when: "",
  };
}

function latest(live, { live: key, in_json, scale }) {
  const told = live[key], now = told?.recent;
  if (!now || now.flag !== "ok" || !isNumber(now[in_json])) return null;
  return {
    value: scale * now[in_json], sigma: scale * now[`sigma_${in_json}`], set: scale * told[`set_${in_json}`],
    drifts: live.drift?.drifts, when: ` of the last ${number(now.frames)} frames`,
  };
}

/** Hits with a peak that is cut off; nothing where nobody knows from which counts. */
export function saturationTile(told) {
  if (!isNumber(told.saturation)) return [];
  const kind = told.saturated_hits > MANY * told.hits ? "warn" : "";
  return [tile(number(told.saturated_hits), `hits with a saturated peak (${number(told.saturation)} counts)`, { kind })];
}

export function iceTile(profile) {
  if (!profile?.ice) return [];
  if (!profile.ice.length) return [tile("none", "rings of ice in the background")];
  const brightest = profile.ice.reduce((one, other) => (other.excess > one.excess ? other : one));
  const where = profile.ice.map((ring) => number(ring.resolution_a, 3)).join(", ");
  return [tile(`+${number(100 * brightest.excess, 2)}`, `ice: rings above the background at ${where} Å`, { unit: "%", kind: "warn" })];
}

/** What a live run warns of, in its own words, and that nothing comes. */
export function showWarnings({ live }) {
  const words = [...quiet(live), ...(live.drift?.words ?? []), ...(live.drift?.against_set ?? [])];
  const box = document.getElementById("warnings");
  box.hidden = !words.length;
  box.replaceChildren(...words.map((text) => element("li", {}, text)));
}

let last = { received: -1, at: 0 };

function quiet({ ledger, state }) {
  const now = Math.floor(Date.now() / 1000);
  if (state !== "running" || ledger?.received !== last.received) last = { received: ledger?.received, at: now };
  const seconds = now - last.at;
  return seconds < QUIET_S ? [] : [`no frame has come for ${number(seconds - seconds % QUIET_S, 6)} s`];
}
