// @ts-check
/**
 * @file A run's routing as the panel shows it: its arrays, what is chosen, the window, the crosshair, the load that
 * follows.
 */
import { colours } from "./colours.js";
import { scaleOf } from "./grid.js";
import { readArray } from "./model.js";
import { clamp, extent } from "./numbers.js";
import { binsIn, loadOf, overTime, pool } from "./routing_numbers.js";
import { shownWindow } from "./window.js";

/** @typedef {ReturnType<typeof sceneOf>} Scene */
/** @typedef {import("./model.js").State<Facts>} State */
/** @typedef {import("./model.js").Shaped} Shaped */

/**
 * @typedef {object} Track one recording
 * @property {string} name
 * @property {string} kind
 * @property {number | null} class_id null: without a label
 * @property {string[]} series
 * @property {string[]} units
 * @property {number} seconds
 */

/**
 * @typedef {object} Facts
 * @property {string} [absent] why there is nothing
 * @property {string} title
 * @property {string} [checkpoint]
 * @property {number | null} [step] of the checkpoint
 * @property {Track[]} tracks
 * @property {string[]} groups classes and conditions
 * @property {number} top_k
 * @property {number} dead_share of the tokens
 */

/**
 * @param {State} state
 * @param {import("./frame.js").Panel} panel
 */
export function sceneOf(state, panel) {
  const facts = state.facts();
  const { tracks } = facts;
  const arraysOf = (/** @type {string} */ name) => tracks.map((_, i) => readArray(state.model, `${name}${i}`));
  const counts = /** @type {Shaped[]} */ (arraysOf("count"));
  const labels = /** @type {Shaped[]} */ (arraysOf("label"));
  const [, nLayers, nExperts, nBins] = counts[0].shape;
  const faulty = labels.findIndex((row) => row.includes(1));
  const shown = () => {
    const i = tracks.findIndex((one) => one.name === state.get("recording"));
    return i < 0 ? Math.max(0, faulty) : i;
  };
  const window = shownWindow(state, panel, {
    recording: () => tracks[shown()].name,
    none: "No window",
    also(chosen) {
      if (chosen.length) return { scope: "window" };
      return state.get("scope") === "window" ? { scope: "recording" } : {};
    },
  });
  return {
    state,
    panel,
    facts,
    window,
    counts,
    labels,
    signals: arraysOf("signal"),
    scores: arraysOf("score"),
    grouped: readArray(state.model, "groups") ?? new Float64Array(0),
    nLayers,
    nExperts,
    nBins,
    even: 1 / nExperts,
    tone: colours(panel.root),
    cursor: /** @type {number | null} */ (null), // bin
    load: loadOf(new Float64Array(nLayers * nExperts), nExperts, facts.top_k, facts.dead_share),
    timed: new Float64Array(0), // shares over time of the layer: (expert * bin)
    shown,
    track: () => tracks[shown()],
    layer: () => clamp(state.get("layer"), 0, nLayers - 1),
    expert: () => (state.get("expert") < nExperts ? state.get("expert") : -1),
    series: () => tracks[shown()].series.indexOf(state.get("channel")),
    scope: () => (state.get("scope") === "window" && !window.now().length ? "recording" : state.get("scope")),
    scale: (/** @type {ArrayLike<number>} */ shares) => scaleOf(shares, 1 / nExperts, state.get("palette")),
    /** How long a bin is, in s. */
    step: () => tracks[shown()].seconds / nBins,
    /** The shares of all experts in a bin. */
    sharesAt(/** @type {number} */ bin) {
      return Array.from({ length: nExperts }, (_, expert) => this.timed[expert * nBins + bin]);
    },
    /** Follows the state: the colours in force, the load of what is counted, the layer over time. */
    look() {
      this.tone = colours(panel.root);
      const here = shown();
      const bins = this.scope() === "window" ? binsIn(window.now(), this.track().seconds, nBins) : [0, nBins];
      const sums = new Float64Array(nLayers * nExperts);
      counts.forEach((one, i) => {
        if (this.scope() !== "all" && i !== here) return;
        pool(one, this.series(), [bins[0], bins[1]]).forEach((value, k) => (sums[k] += value));
      });
      this.load = loadOf(sums, nExperts, facts.top_k, facts.dead_share);
      this.timed = overTime(counts[here], this.series(), this.layer());
    },
    turnPalette: () => state.set({ palette: state.get("palette") === "deviation" ? "share" : "deviation" }),
    /** @param {number} n recordings further */
    next(n) {
      const found = tracks[shown() + n];
      if (found) state.set({ recording: found.name, window: [] });
    },
  };
}

/**
 * The highest score in a bin.
 * @param {Scene} scene
 * @param {number} bin
 */
export function scoreAt({ scores, shown, nBins }, bin) {
  const row = scores[shown()];
  if (!row) return NaN;
  const [a, b] = [bin, bin + 1].map((k) => Math.floor((k * row.length) / nBins));
  return extent(row.subarray(a, Math.max(b, a + 1)))?.[1] ?? NaN;
}
