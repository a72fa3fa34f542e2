// What a live run says of itself: where its frames are, how late it is, what can be indexed.

import { counted, hundredfold, isNumber, number, percent, tile } from "./words.js";

const LOST = ["passed_over", "not_received", "damaged", "failed"];

/** Frames a second: of late while a live run is at work, over all of it otherwise. */
export function speedTile(about) {
  const { rates, state } = about.live;
  if (rates && state === "running") return [tile(number(rates.processed_per_second), `frames a second; ${number(rates.received_per_second)} come`)];
  const speed = about.timings.frames_per_second;
  return isNumber(speed) ? [tile(number(speed), "frames a second")] : [];
}

export function liveTiles(live, isIndexed) {
  return [...ledger(live), ...delay(live), ...(isIndexed ? [] : indexRate(live)), ...offered(live), ...published(live)];
}

function ledger({ ledger: told, state }) {
  if (!told) return [];
  // Until a series ends, what has not come may still come.
  const lost = LOST.filter((name) => told[name] && (name !== "not_received" || state !== "running"));
  const rest = [...lost, "waiting"].filter((name) => told[name]).map((name) => `${number(told[name])} ${name.replace("_", " ")}`);
  const of = isNumber(told.expected) ? ` of ${number(told.expected)}` : "";
  return [tile(number(told.received), `received${of}${rest.length ? `; ${rest.join(", ")}` : ""}`, { kind: lost.length ? "warn" : "" })];
}

function delay({ delays_s: told }) {
  if (!isNumber(told?.median)) return [];
  const most = isNumber(told.p99) ? `; 99 % under ${number(told.p99, 2)} s` : "";
  return [tile(number(told.median, 2), `from frame to result, median${most}`, { unit: "s" })];
}

function indexRate({ index_rate: told }) {
  if (!told) return [];
  const band = isNumber(told.rate_low) ? ` (68 %: ${number(hundredfold(told.rate_low), 2)} – ${number(hundredfold(told.rate_high), 2)} %)` : "";
  const skipped = told.skipped ? `, ${number(told.skipped)} skipped` : "";
  const words = `of ${number(told.searched)} hits indexed${band}${skipped}; of the last 100 ${percent(told.rate_of_last_100)}`;
  return [tile(isNumber(told.rate) ? number(hundredfold(told.rate), 3) : "–", words, { unit: "%" })];
}

/** Hits that others ask for, and what became of those that nobody has taken. */
function offered({ offered: told }) {
  if (!told) return [];
  const rest = parts(told, { waiting: "waiting", passed_over: "passed over", failed: "failed" });
  return [tile(number(told.fetched), `of ${number(told.hits)} hits fetched${rest}`, { kind: told.failed ? "warn" : "" })];
}

function published({ published: told, state }) {
  if (!told) return [];
  const rest = parts(told, {
    without_subscriber: "without a subscriber", missed_by_some: "missed by some", waiting: "waiting", passed_over: "passed over", failed: "failed",
  });
  const to = state === "running" ? ` to ${counted(told.subscribers, "subscriber")}` : "";
  return [tile(number(told.sent), `of ${number(told.hits)} hits sent${to}${rest}`, { kind: told.failed ? "warn" : "" })];
}

function parts(told, words) {
  return Object.entries(words).filter(([name]) => told[name]).map(([name, word]) => `; ${number(told[name])} ${word}`).join("");
}
