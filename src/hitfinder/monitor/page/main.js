// The page: what is shown, and what happens when something changes.

import { showBest, showDetails, showNumbers, showState, showVerdict } from "./cards.js";
import { makeCharts } from "./charts.js";
import { NoteBook } from "./notes.js";
import { ask, askArray, listen } from "./server.js";
import { Viewer } from "./viewer.js";
import { showWarnings } from "./warnings.js";
import { counted, element, isNumber, number, percent } from "./words.js";

const WHOLE = ["sum", "maximum"]; // pictures of all frames, by their boxes
const byId = (id) => document.getElementById(id);
const page = { about: null, summary: null, frame: null, threshold: null, state: "", heard: true, boot: null };
const viewer = new Viewer();
const charts = makeCharts((frame) => open(frame), () => page.about);
const book = new NoteBook(() => page.frame, (frame) => open(frame), complain);

function complain(text) { byId("trouble").textContent = text; byId("trouble").hidden = !text; }

function limits(more = {}) {
  const asked = new URLSearchParams(more);
  if (page.threshold !== null) asked.set("threshold", page.threshold);
  const text = asked.toString();
  return text ? `?${text}` : "";
}

function remember() {
  const kept = new URLSearchParams();
  if (page.frame !== null) kept.set("frame", page.frame);
  if (page.threshold !== null) kept.set("threshold", page.threshold);
  history.replaceState(null, "", `#${kept}`);
}

// --- the run ---

let detectorOf = null;

/** Forgets the run that was shown: another one has begun. */
function forget() {
  page.frame = page.profile = null;
  for (const kind of WHOLE) byId(kind).checked = false;
  detectorOf = null;
}

function wait(folder) {
  document.title = "waiting – hitfinder";
  byId("title").textContent = folder.split("/").pop();
  byId("subtitle").textContent = folder;
  showRun(false);
  complain("");
}

function showRun(there) {
  byId("waiting").hidden = there;
  for (const part of ["main", "footer"]) document.querySelector(part).hidden = !there;
}

/** Reads what the run is; returns whether there is one. */
async function readAbout() {
  const about = page.about = await ask("/api/about");
  if (about.waiting) { wait(about.folder); return false; }
  showRun(true);
  const title = titleOf(about);
  document.title = `${title} – hitfinder`;
  byId("title").textContent = title;
  const { geometry } = about;
  byId("subtitle").textContent = `${geometry.detector}, ${geometry.shape[0]} × ${geometry.shape[1]} pixels (ss × fs) · ${number(geometry.photon_energy_ev, 5)} eV · camera length ${number(1e3 * geometry.camera_length_m, 5)} mm · ${about.started ?? ""}`;
  complain(about.frames_problem ? `Frames cannot be shown: ${about.frames_problem}` : "");
  showDetails(about);
  await readDetector(about.layout);
  return true;
}

/** Names what was measured: the stream and its series, or the files. */
function titleOf({ inputs, n_inputs: n, live }) {
  const last = (path) => path.split("/").pop();
  if (live.source) return `${last(live.source)}${isNumber(live.series) ? `, series ${live.series}` : ""}`;
  return last(inputs[0] ?? "run") + (n > 1 ? ` and ${n - 1} more` : "");
}

async function readDetector(layout) {
  const told = JSON.stringify(layout);
  if (told === detectorOf) return;
  detectorOf = told;
  if (!layout) { viewer.setDetector(null, null, null); return; }
  const [mask, pixels] = await Promise.all([askArray("/api/mask"), layout.as_stored ? null : askArray("/api/pixels")]);
  viewer.setDetector(layout, pixels && pixels.data, mask.data);
}

async function readSummary() {
  const told = page.summary = await ask(`/api/summary${limits()}`);
  page.state = told.state;
  told.profile = page.profile;
  showState(page.state, page.heard);
  showVerdict(told);
  showWarnings(page.about);
  showNumbers(told, page.about);
  showBest(told, page.frame, open);
  showThreshold(told);
  for (const chart of charts) chart.show(told);
}

/** What of all frames is asked for in place of one: "sum", "maximum" or "". */
function wholeAsked() { return WHOLE.find((kind) => byId(kind).checked) ?? ""; }

async function showWhole() {
  try {
    const kind = wholeAsked();
    if (!kind) return page.frame === null ? undefined : await open(page.frame);
    const turn = ++asked;
    const counts = await askArray(`/api/whole/${kind}`);
    if (turn !== asked) return;
    // Its pixels are of some of the detector's a side.
    counts.coarse = Math.max(...page.about.layout.picture) / Math.max(...counts.shape);
    counts.coarse = Math.ceil(counts.coarse - 1e-9);
    counts.unit = { sum: "photons a pixel, summed", maximum: "photons at most in a pixel" }[kind];
    viewer.predicted = [];
    const words = `${{ sum: "Sum", maximum: "Maximum" }[kind]} of ${number(page.summary.processed)} frames`;
    const more = { sum: " · counts per pixel", maximum: " · the most counts of each pixel in any frame" }[kind];
    byId("about-frame").replaceChildren(element("b", {}, words), more);
    viewer.show(counts, { column: [], row: [], doubtful: [] }, words);
  } catch (error) {
    for (const kind of WHOLE) byId(kind).checked = false;
    complain(error.message);
  }
}

function showThreshold(told) {
  if (document.activeElement !== byId("least")) byId("least").value = Number(told.threshold.toFixed(3));
  byId("slide").max = Math.max(10, 2 * page.about.threshold, Number(told.threshold));
  byId("slide").value = told.threshold;
  byId("blank").textContent = isNumber(told.false_hits) ? `${percent(told.false_hits, 2)} of blank frames reach it` : "";
  byId("reset").hidden = byId("again").hidden = told.as_run;
  byId("again").replaceChildren("Only shown so on this page; peaks are as the run kept them. To have the run so: ",
    element("code", {}, `hitfinder rehit ${page.about.folder} --hit-threshold ${Number(told.threshold.toFixed(3))}`));
}

async function changed(told) {
  try {
    if (page.boot !== null && page.boot !== told.boot) detectorOf = null;
    const calm = told.state === "running" && page.status === "ok" && page.boot === told.boot;
    const fresh = page.boot !== told.boot || page.revision !== told.revision || page.run !== told.run;
    if (page.run !== undefined && page.run !== told.run) forget();
    Object.assign(page, { boot: told.boot, revision: told.revision, run: told.run });
    page.state = told.state;
    showState(page.state, page.heard);
    if (told.run) await book.read();
    if (!fresh || !(await readAbout())) return;
    page.profile = await ask("/api/profile");
    await readSummary();
    if (wholeAsked()) return await showWhole();
    if (page.frame === null) await first();
    else if (!calm) await open(page.frame); // while a run is at work, what is done does not change
  } catch (error) { complain(error.message); }
}

function heard(there) { page.heard = there; showState(page.state, there); }

async function first() {
  const kept = new URLSearchParams(location.hash.slice(1));
  if (kept.has("frame")) await open(Number(kept.get("frame")));
  else await go("best");
}

// --- the frame ---

let asked = 0;

async function open(frame) {
  const turn = ++asked;
  byId("stage").classList.add("busy");
  try {
    const told = await ask(`/api/frame/${frame}${limits()}`);
    if (turn !== asked) return;
    page.frame = told.number;
    page.status = told.status;
    for (const kind of WHOLE) byId(kind).checked = false;
    byId("number").value = told.number;
    remember();
    viewer.predicted = told.crystals.map((crystal) => crystal.predicted).filter(Boolean);
    byId("for-predicted").hidden = !viewer.predicted.length;
    const words = describe(told);
    byId("about-frame").replaceChildren(...words);
    const spoken = byId("about-frame").textContent;
    showBest(page.summary, page.frame, open);
    try {
      const counts = await askArray(`/api/frame/${frame}/counts`);
      if (turn === asked) viewer.show(counts, told.peaks, spoken);
    } catch (error) {
      if (turn === asked) viewer.showNone(error.message, told.peaks, spoken);
    }
    viewer.shown = told.number;
  } catch (error) { complain(error.message); }
  finally { if (turn === asked) byId("stage").classList.remove("busy"); }
}

function describe(told) {
  const kind = told.status !== "ok" ? told.status : told.hit ? "hit" : "no hit";
  const parts = [element("b", {}, `Frame ${number(told.number)} `), element("span", { class: told.hit ? "hit" : "" }, kind)];
  const rest = [];
  if (isNumber(told.score)) rest.push(`score ${number(told.score)}`);
  if (told.doubt) rest.push(`in doubt: rests on one ${told.doubt.replace("-", " ").replace("one ", "")}`);
  const doubtful = told.peaks.doubtful.filter(Boolean).length;
  rest.push(`${counted(told.n_peaks, "peak")}${doubtful ? `, ${number(doubtful)} doubtful (dotted)` : ""}`);
  if (isNumber(told.resolution_a)) rest.push(`to ${number(told.resolution_a, 2)} Å`);
  if (isNumber(told.background_per_pixel)) rest.push(`background ${number(told.background_per_pixel, 2)}`);
  const indexed = told.crystals.filter((crystal) => crystal.indexed);
  if (indexed.length) rest.push(`indexed: ${indexed.map((c) => `${number(c.n_indexed, 2)} of ${number(c.n_peaks)} peaks`).join(", ")}`);
  const where = `${told.file.split("/").pop()} ${told.event}`.trim();
  parts.push(` · ${rest.join(" · ")} · ${where}`);
  return parts;
}

async function go(goal) {
  try {
    const told = await ask(`/api/go/${goal}${limits({ frame: page.frame ?? -1 })}`);
    if (told.frame !== null) await open(told.frame);
  } catch (error) { complain(error.message); }
}

// --- what the reader does ---

async function setThreshold(value) {
  const same = value === null || !Number.isFinite(value) || Math.abs(value - page.about.threshold) < 5e-4;
  page.threshold = same ? null : value;
  remember();
  try {
    await readSummary();
    if (page.frame !== null) byId("about-frame").replaceChildren(...describe(await ask(`/api/frame/${page.frame}${limits()}`)));
  } catch (error) { complain(error.message); }
}

let sliding = null;
byId("slide").addEventListener("input", (event) => {
  byId("least").value = event.target.value;
  clearTimeout(sliding);
  sliding = setTimeout(() => setThreshold(event.target.valueAsNumber), 120);
});
byId("least").addEventListener("change", (event) => setThreshold(event.target.valueAsNumber));
byId("threshold").addEventListener("submit", (event) => { event.preventDefault(); setThreshold(byId("least").valueAsNumber); });
for (const kind of WHOLE) {
  byId(kind).addEventListener("change", () => {
    for (const other of WHOLE) if (other !== kind) byId(other).checked = false;
    showWhole();
  });
}
byId("reset").addEventListener("click", () => setThreshold(null));
byId("number").addEventListener("change", (event) => { if (event.target.value !== "") open(Math.max(0, Math.floor(event.target.valueAsNumber))); });
byId("walk").addEventListener("click", (event) => { if (event.target.dataset.go) go(event.target.dataset.go); });

const GOALS = { n: "next-hit", p: "previous-hit", b: "best", k: "better", j: "worse", r: "random", h: "random-hit", l: "latest" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && event.target.type !== "checkbox") return;
  if (event.key === "s") byId("sum").click();
  else if (event.key === "x") byId("maximum").click();
  else if (GOALS[event.key]) go(GOALS[event.key]);
  else if (!viewer.key(event.key)) return;
  event.preventDefault();
});

const kept = new URLSearchParams(location.hash.slice(1)).get("threshold");
if (kept !== null && Number.isFinite(Number(kept))) page.threshold = Number(kept);
listen(changed, heard);
