// The numbers in large type, the best frames, and the details.

import { liveTiles, speedTile } from "./live.js";
import { estimateTiles, iceTile, saturationTile } from "./warnings.js";
import { NONE, counted, element, hundredfold, isNumber, number, percent, tile } from "./words.js";

export function showNumbers(told, about) {
  const rate = isNumber(told.rate) ? number(hundredfold(told.rate), 3) : NONE;
  const band = isNumber(told.rate_low) ? `68 %: ${number(hundredfold(told.rate_low), 2)} – ${number(hundredfold(told.rate_high), 2)} %` : "";
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
  const isLive = Boolean(about.live.ledger);
  if ("indexed" in told) tiles.push(tile(number(told.indexed), `frames indexed${isNumber(told.index_rate) ? `, ${percent(told.index_rate)} of the hits` : ""}`));
  tiles.push(tile(number(told.processed), `frames processed of ${number(told.frames)}${left}`));
  tiles.push(...speedTile(about));
  if (told.doubted_frames) tiles.push(tile(number(told.doubted_frames), "no hits: their score rests on one bright pixel, track or place"));
  if (told.failed && !isLive) tiles.push(tile(number(told.failed), `without a result: ${failures(told.by_status)}`, { kind: "warn" }));
  tiles.push(...liveTiles(about.live, "indexed" in told), ...estimateTiles(about), ...saturationTile(told), ...iceTile(told.profile));
  document.getElementById("numbers").replaceChildren(...tiles);
}

function failures(byStatus) {
  const bad = Object.entries(byStatus).filter(([name]) => name !== "ok" && name !== "pending");
  return bad.map(([name, n]) => `${number(n)} ${name}`).join(", ");
}

export function showBest(told, now, open) {
  const items = told.best.map((best) => {
    const reach = isNumber(best.resolution_a) ? `, ${number(best.resolution_a, 2)}\u00a0Å` : "";
    const button = element("button", { class: best.frame === now ? "now" : "", onclick: () => open(best.frame) },
      `${number(best.frame)}`, element("small", {}, `score ${number(best.score)}, ${counted(best.n_peaks, "peak")}${reach}`));
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
  const { geometry, live, origin, settings, timings, versions } = about;
  const from = (name) => (origin[name] ? ` (${origin[name]})` : "");
  const still = live.state === "running" ? live.static_pixels : geometry.static_pixels;
  const pairs = [
    ["folder", about.folder],
    ["input", about.inputs.join(", ") + (about.n_inputs > about.inputs.length ? `, and ${about.n_inputs - about.inputs.length} more` : "")],
    ["detector", `${geometry.detector}, ${geometry.shape[0]} × ${geometry.shape[1]} pixels (ss × fs)`],
    ["photon energy", `${number(geometry.photon_energy_ev, 6)} eV${from("photon_energy_ev")}`],
    ["camera length", `${number(1e3 * geometry.camera_length_m, 6)} mm${from("camera_length_m")}`],
    ["masked pixels", `${number(geometry.masked_pixels)}, and ${number(still)} that do not move`],
    ...Object.entries(settings).filter(([name]) => name.startsWith("finder.")).map(([name, value]) => [name.replace("finder.", "").replaceAll("_", " "), typeof value === "number" ? number(value, 4) : String(value)]),
  ];
  if (isNumber(timings.frames_per_second)) pairs.push(["speed", `${number(timings.frames_per_second)} frames a second${timings.workers ? `, workers: ${timings.workers}` : ""}`]);
  if (versions.hitfinder) pairs.push(["hitfinder", versions.hitfinder]);
  const list = pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  document.querySelector("#details dl").replaceChildren(...list);
}
