// @ts-check
/** @file The threshold panel: one draggable threshold over a million scored samples. */
import { h, tableView } from "./elements.js";
import { emptyState, open } from "./frame.js";
import { readArray } from "./model.js";
import { count } from "./numbers.js";
import { controlsView } from "./threshold_controls.js";
import { bestFBeta, episodeEdges, faultRecords, ratio, single, sortKinds } from "./threshold_counts.js";
import { curvesView } from "./threshold_curves.js";
import { numbersView, tableRows } from "./threshold_numbers.js";
import { timelineView } from "./threshold_timeline.js";

/** @typedef {import("./frame.js").Panel} Panel */
/** @typedef {import("./model.js").State<Facts>} State */
/** @typedef {ReturnType<typeof prepare>} Data */
/** @typedef {{ threshold: number, beta: number, base: number, span: [number, number] | null }} Now */

/**
 * @typedef {object} Hands what sets a threshold
 * @property {(value: number) => void} to
 * @property {() => void} best
 * @property {() => void} export
 */

/**
 * @typedef {object} Facts
 * @property {{ text: string, command: string }} [empty]
 * @property {string} split whose scores
 * @property {string} run
 * @property {string} [data]
 * @property {string} about
 * @property {string} [command]
 * @property {number} fs Hz
 * @property {string} path
 * @property {boolean} can_export
 * @property {boolean} can_undo
 * @property {string} [why_not]
 * @property {string[]} [warnings]
 * @property {string[]} recordings
 * @property {string[]} channels
 * @property {{ name: string, split: string, threshold: number }[]} [points]
 */

/** @type {import("./frame.js").Help} */
const HELP = [
  ["← →", "move the threshold one step"],
  ["Shift + ← →", "ten steps"],
  ["PgUp, PgDn", "5 % of the axis"],
  ["[ ]", "the next score that changes the matrix"],
  ["M", "the best F-beta"],
  ["E", "export operating_point.json"],
  ["drag", "the line; or, on the timeline, a window"],
  ["on the timeline", "← → move the window, Shift + ← → its end, Esc clears it, Enter pins the note"],
  ["?", "this help"],
];
const COLUMNS = ["threshold", "TP", "FP", "FN", "TN", "precision", "recall", "F-beta"];

/** @param {{ model: import("./model.js").Model, el: HTMLElement }} place */
function render(place) {
  return open(place, { name: "threshold", title: "Threshold", help: HELP }, fill);
}

/**
 * @param {State} state
 * @param {Panel} panel
 */
function fill(state, panel) {
  const facts = state.facts();
  panel.root.classList.add("tm-threshold");
  panel.heading.replaceChildren(...topLine(facts));
  const score = readArray(state.model, "score");
  if (facts.empty || !score) panel.body.append(emptyState(facts.empty?.text ?? "No scores.", facts.empty?.command));
  else draw(state, panel, score);
  panel.root.dataset.ready = "true";
}

/** @param {Facts} facts */
function topLine(facts) {
  const test = facts.split === "test";
  const told = [facts.run, facts.data, facts.about]
    .filter(Boolean)
    .map((text) => h("span", { class: "tm-soft" }, ` · ${text}`));
  const split = h(
    "span",
    { class: test ? "tm-amber" : "tm-soft", "data-split": facts.split },
    test ? "scores of the TEST split" : `scores of: ${facts.split}`,
  );
  return ["Threshold", ...told, h("span", { class: "tm-soft" }, " · "), split];
}

/**
 * Everything that the numbers follow from; what can be is prepared once.
 * @param {State} state
 * @param {import("./model.js").Shaped} score
 */
function prepare(state, score) {
  const { fs, points = [] } = state.facts();
  const label = readArray(state.model, "label");
  const starts = readArray(state.model, "starts") ?? [0, score.length];
  const kinds = sortKinds(score, label);
  const all = [kinds.positive, kinds.negative].filter((k) => k.length);
  const low = Math.min(...all.map((k) => k[0]));
  const high = Math.max(...all.map((k) => k[k.length - 1]));
  const n = kinds.positive.length + kinds.negative.length;
  return {
    score,
    label,
    starts,
    ...kinds,
    low,
    high,
    n,
    prevalence: ratio(kinds.positive.length, n),
    edges: episodeEdges(score, label, starts),
    faults: label ? faultRecords(score, label, starts) : [],
    top: readArray(state.model, "top"),
    fs,
    marks: points.map((point) => point.threshold).filter((value) => value >= low && value <= high),
    logarithmic: low > 0 && high >= 3 * low,
  };
}

/**
 * @param {State} state
 * @param {Panel} panel
 * @param {import("./model.js").Shaped} score
 */
function draw(state, panel, score) {
  const data = prepare(state, score);
  if (!data.n) return panel.body.append(emptyState("No sample has a score.", state.facts().command));
  panel.body.append(...notes(state.facts(), data));
  const now = () => ({
    threshold: single(state.get("threshold") ?? data.high),
    beta: state.get("beta"),
    base: state.get("base_rate") ?? data.prevalence,
    span: spanOf(state, data),
  });
  /** @type {Hands} */
  const hands = {
    to: (value) => Number.isFinite(value) && state.set({ threshold: single(value) }),
    best: () => data.label && hands.to(bestFBeta(data, state.get("beta"))),
    export: () => controls.send(),
  };
  const curves = curvesView(panel, data, now, hands);
  const side = numbersView(panel, data);
  const strip = timelineView(panel, state, data, now);
  const controls = controlsView(state, panel, data, now, hands);
  panel.body.append(
    h("div", { class: "tm-split" }, curves.node, h("div", { class: "tm-side" }, side.node, controls.node)),
    controls.points,
    strip.node,
    data.label ? tableView("curves", COLUMNS, () => tableRows(data, now().beta)) : "",
  );
  const views = [side, controls, curves, strip];
  const follow = () => {
    const at = now();
    views.forEach((view) => view.show(at));
  };
  const afresh = () => (curves.stale(), follow());
  state.on(["threshold", "window", "recording"], follow);
  state.on(["beta", "base_rate"], afresh);
  panel.onTheme(() => (strip.stale(), afresh()));
  follow();
}

/**
 * @param {Facts} facts
 * @param {Data} data
 */
function notes(facts, data) {
  const told = [...(facts.warnings ?? [])];
  if (data.low === data.high) told.push("The score is constant: no threshold tells anything apart.");
  if (data.label && !data.positive.length)
    told.push("Only healthy samples: precision, recall and F-beta are undefined.");
  if (data.label && !data.negative.length) told.push("Only faulty samples: there is no false alarm to count.");
  const quiet = [];
  if (!data.label)
    quiet.push("No labels: precision and recall can't be had; what is left is the quantile and stretches of alarm.");
  if (data.unscored) quiet.push(`${count(data.unscored)} samples have no score (NaN) and take no part.`);
  if (data.leftOut) quiet.push(`${count(data.leftOut)} samples near the edge of a fault are left out.`);
  return [
    ...told.map((text) => h("p", { class: "tm-warning", role: "note" }, text)),
    quiet.length ? h("p", { class: "tm-soft tm-note" }, quiet.join(" ")) : "",
  ];
}

/**
 * The brushed samples [start, end) of the whole series; null when none are.
 * @param {State} state
 * @param {Data} data
 * @returns {[number, number] | null}
 */
function spanOf(state, data) {
  const [window, name] = [state.get("window"), state.get("recording")];
  const i = name ? state.facts().recordings.indexOf(name) : -1;
  const [first, last] = i < 0 ? [0, data.score.length] : [data.starts[i], data.starts[i + 1]];
  if (!window?.length || (name && i < 0)) return null; // a window of another panel's recording
  const [start, end] = window.map((t) => Math.min(last, Math.max(first, first + Math.round(t * data.fs))));
  return end > start ? [start, end] : null;
}

export default { render };
