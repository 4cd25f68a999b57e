// @ts-check
/** @file One recording as the panel of channels shows it: its arrays, what is chosen, the window, the crosshair. */
import { aboveUsual, contributions, placesIn, rowsOf } from "./channels_numbers.js";
import { colours } from "./colours.js";
import { isAlive, readArray } from "./model.js";
import { number, percent, round, seconds } from "./numbers.js";
import { linear } from "./plot.js";
import { shownWindow } from "./window.js";

/** @typedef {ReturnType<typeof sceneOf>} Scene */
/** @typedef {import("./model.js").State<Facts>} State */
/** @typedef {(number | null)[]} Gappy null where there is no number */
/** @typedef {{ value: Gappy[], low?: Gappy[], high?: Gappy[] }} Range by channel, of this recording and healthy ones */

/**
 * @typedef {object} Physics of a window
 * @property {number[]} window s; empty: the whole recording
 * @property {number | null} supply_hz
 * @property {number | null} slip
 * @property {number} base_hz the highest frequency of the spectrum
 * @property {string} words what the healthy range is of
 * @property {number} n healthy recordings
 * @property {{ name: string, hz: number, side: boolean }[]} marks
 * @property {Range} line heights at the marks
 * @property {Range} spectrum
 * @property {{ d: Gappy, q: Gappy, fs: number, start: number }} vector of Park
 * @property {{ value: number[], low?: Gappy, high?: Gappy }} ring mean length by direction
 * @property {{ time: number[], value: Gappy, low: number | null, high: number | null }} negative sequence
 */

/**
 * @typedef {object} Facts
 * @property {string[]} [names] of the recordings
 * @property {string[]} kinds
 * @property {string} name of the one that is shown
 * @property {string} title
 * @property {string} [absent] why there is nothing, or no score
 * @property {string[]} channels
 * @property {string[]} units
 * @property {boolean[]} masked
 * @property {{ signal: number, score: number }} steps s
 * @property {number} seconds
 * @property {number} fs Hz
 * @property {number} samples
 * @property {number[]} missing samples by channel
 * @property {boolean} labelled
 * @property {[number, number][]} faults s
 * @property {[number, number]} weights of l1 and l2
 * @property {number} bins of a spectrum
 * @property {string} current_unit
 * @property {Physics} physics
 */

export const LEFT = 58; // pixels beside a picture
export const RIGHT = 12;

/**
 * @param {State} state
 * @param {import("./frame.js").Panel} panel
 */
export function sceneOf(state, panel) {
  const facts = state.facts();
  const { channels, units, steps } = facts;
  const rows = (/** @type {string} */ name) => rowsOf(readArray(state.model, name)) ?? [];
  const data = { signal: rows("signal"), score: rows("channel_score"), l1: rows("l1"), l2: rows("l2") };
  const total = readArray(state.model, "score") ?? new Float32Array(0);
  const window = shownWindow(state, panel, { recording: () => facts.name, none: "Whole recording" });
  return {
    state,
    panel,
    facts,
    data,
    total,
    window,
    isScored: total.length > 0,
    tone: colours(panel.root),
    physics: facts.physics,
    isZoomed: false,
    cursor: /** @type {number | null} */ (null), // s
    ranking: /** @type {ReturnType<typeof contributions> | null} */ (null),
    sheets: /** @type {import("./plot.js").Sheet[]} */ ([]), // all of them show the crosshair or the window
    redraw() {
      this.sheets.forEach((one) => one.redraw());
    },
    alive: () => isAlive(state.model),
    /** Follows the state: the colours in force and what each channel adds in the window. */
    look() {
      this.tone = colours(panel.root);
      if (!window.now().length) this.isZoomed = false;
      const places = placesIn(window.now(), steps.score, total.length);
      if (this.isScored) this.ranking = contributions(data, facts.weights, places);
    },
    /** @returns {[number, number]} the time in sight, s */
    span() {
      const [start, end] = window.now();
      return this.isZoomed && end !== undefined && !window.isDrawn() ? [start, end] : [0, facts.seconds];
    },
    /** The window in words, or how long the recording is. */
    stretch() {
      const [start, end] = window.now();
      if (end === undefined) return `${seconds(facts.seconds)} at ${number(facts.fs)} Hz`;
      return `window ${seconds(start)} to ${seconds(end)}`;
    },
    /** @param {number} width */
    xOf(width, left = LEFT) {
      return linear(this.span(), [left, width - RIGHT]);
    },
    order() {
      return this.ranking?.order ?? channels.map((_, i) => i);
    },
    chosen() {
      const i = channels.indexOf(state.get("channel"));
      return i < 0 ? (this.ranking?.order[0] ?? 0) : i;
    },
    select: (/** @type {number} */ i) => state.set({ channel: channels[i] }),
    labelOf: (/** @type {number} */ i) => (units[i] ? `${channels[i]} in ${units[i]}` : channels[i]),
    /** @param {number} i the marks above the healthy range, of a channel */
    above(i) {
      return aboveUsual(this.physics.line.value[i], this.physics.line.high?.[i]);
    },
    /** @param {number} i channel */
    shareOf(i) {
      return this.ranking ? percent(round(this.ranking.share[i], 3)) : "";
    },
    scoreHere() {
      return this.cursor === null ? NaN : valueAt(total, this.cursor, steps.score);
    },
  };
}

/**
 * @param {ArrayLike<number>} row
 * @param {number} t s
 * @param {number} step s
 */
export const valueAt = (row, t, step) => row[Math.min(row.length - 1, Math.floor(t / step))];
