// The numbers in large type, the best frames, and the details.

import { NONE, element, isNumber, number, percent } from "./words.js";

function tile(value, label, { unit = "", kind = "" } = {}) {
  const big = element("b", {}, value);
  if (unit && value !== NONE) big.append(element("small", {}, unit));
  return element("div", { class: `tile ${kind}` }, big, element("span", {}, label));
}

export function showNumbers(told, about) {
  const rate = isNumber(told.rate) ? number(100 * told.rate, 3) : NONE;
  const band = isNumber(told.rate_low) ? `68 %: ${number(100 * told.rate_low, 2)} – ${number(100 * told.rate_high, 2)} %` : "";
  const big = tile(rate, "", { unit: "%", kind: "big" });
  big.querySelector("span").append("hit rate", element("br"), band, element("br"), `last ${number(told.recent_frames)} frames: ${percent(told.recent_rate)}`);
  const left = told.pending ? `, ${number(told.pending)} to come` : "";
  const tiles = [
    big,
    tile(number(told.hits), `hits${told.doubtful_hits ? `, ${number(told.doubtful_hits)} in doubt` : ""}`),
    tile(number(told.peaks_per_hit), "peaks in the median hit"),
    tile(number(told.resolution_a, 2), "resolution of the median hit", { unit: "Å" }),
    tile(number(told.resolution_best_a, 2), "which one hit in ten surpasses", { unit: "Å" }),
    tile(number(told.background_per_pixel, 2), "background photons a pixel"),
  ];
  if ("indexed" in told) tiles.push(tile(number(told.indexed), `frames indexed${isNumber(told.index_rate) ? `, ${percent(told.index_rate)} of the hits` : ""}`));
  tiles.push(tile(number(told.processed), `frames processed of ${number(told.frames)}${left}`));
  const speed = about.timings.frames_per_second;
  if (isNumber(speed)) tiles.push(tile(number(speed), "frames a second"));
  if (told.doubted_frames) tiles.push(tile(number(told.doubted_frames), "no hits: their score rests on one bright pixel, track or place"));
  if (told.failed) tiles.push(tile(number(told.failed), `without a result: ${failures(told.by_status)}`, { kind: "warn" }));
  tiles.push(...ledger(about.live));
  tiles.push(...estimates(about));
  document.getElementById("numbers").replaceChildren(...tiles);
}

function ledger({ ledger: told, delays_s: delays }) {
  const tiles = [];
  if (told) {
    const rest = ["passed_over", "damaged", "waiting", "failed"].filter((name) => told[name]).map((name) => `${number(told[name])} ${name.replace("_", " ")}`);
    tiles.push(tile(number(told.received), `received${isNumber(told.expected) ? ` of ${number(told.expected)}` : ""}${rest.length ? `; ${rest.join(", ")}` : ""}`, { kind: told.damaged || told.failed ? "warn" : "" }));
  }
  if (isNumber(delays?.median)) tiles.push(tile(number(delays.median, 2), `from frame to result, median${isNumber(delays.p99) ? `; 99 % under ${number(delays.p99, 2)} s` : ""}`, { unit: "s" }));
  return tiles;
}

function failures(byStatus) {
  const bad = Object.entries(byStatus).filter(([name]) => name !== "ok" && name !== "pending");
  return bad.map(([name, n]) => `${number(n)} ${name}`).join(", ");
}

function estimates(about) {
  const told = about.estimated;
  if (!told || told.flag !== "ok") return [];
  const drifts = told.drift?.drifts ? "; it drifts" : "";
  const one = (value, sigma, used, unit, what) => tile(number(value, 4), `${what} ± ${number(sigma, 1)} ${unit}, by the water (${number(used, 5)} used${drifts})`, { unit, kind: drifts ? "warn" : "" });
  const { geometry } = about;
  return [
    one(told.photon_energy_ev, told.photon_energy_sigma_ev, geometry.photon_energy_ev, "eV", "photon energy"),
    one(1e3 * told.camera_length_m, 1e3 * told.camera_length_sigma_m, 1e3 * geometry.camera_length_m, "mm", "camera length"),
  ];
}

export function showBest(told, now, open) {
  const items = told.best.map((best) => {
    const reach = isNumber(best.resolution_a) ? `, ${number(best.resolution_a, 2)} Å` : "";
    const button = element("button", { class: best.frame === now ? "now" : "", onclick: () => open(best.frame) },
      `${number(best.frame)}`, element("small", {}, `score ${number(best.score)}, ${number(best.n_peaks)} peaks${reach}`));
    return element("li", {}, button);
  });
  document.getElementById("best").replaceChildren(...items);
}

export function showVerdict(told) {
  const line = document.getElementById("verdict");
  line.hidden = !told.verdict;
  if (!told.verdict) return;
  const { word, reasons } = told.verdict;
  line.className = `verdict ${word}`;
  line.replaceChildren(`${word}: ${reasons[0]}`);
  if (reasons.length > 1) line.append(element("span", {}, reasons.slice(1).join("; ")));
}

export function showState(state, heard) {
  const badge = document.getElementById("state");
  const words = { complete: "complete", running: "running", interrupted: "interrupted", waiting: "waiting" };
  badge.textContent = heard ? words[state] ?? state : "server not reached";
  badge.className = `badge ${!heard ? "warn" : { complete: "good", running: "live", waiting: "live" }[state] ?? "warn"}`;
}

export function showDetails(about) {
  const { geometry, origin, settings } = about;
  const pairs = [
    ["folder", about.folder],
    ["input", about.inputs.join(", ") + (about.n_inputs > about.inputs.length ? `, and ${about.n_inputs - about.inputs.length} more` : "")],
    ["detector", `${geometry.detector}, ${geometry.shape[1]} × ${geometry.shape[0]} pixels`],
    ["photon energy", `${number(geometry.photon_energy_ev, 6)} eV (${origin.photon_energy_ev ?? "?"})`],
    ["camera length", `${number(1e3 * geometry.camera_length_m, 6)} mm (${origin.camera_length_m ?? "?"})`],
    ["masked pixels", `${number(geometry.masked_pixels)}, and ${number(geometry.static_pixels)} that do not move`],
    ...Object.entries(settings).filter(([name]) => name.startsWith("finder.")).map(([name, value]) => [name.replace("finder.", "").replaceAll("_", " "), typeof value === "number" ? number(value, 4) : String(value)]),
    ["speed", isNumber(about.timings.frames_per_second) ? `${number(about.timings.frames_per_second)} frames a second${about.timings.workers ? `, workers: ${about.timings.workers}` : ""}` : NONE],
    ["hitfinder", about.versions.hitfinder ?? "?"],
  ];
  const list = pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  document.querySelector("#details dl").replaceChildren(...list);
}
