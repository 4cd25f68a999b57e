// @ts-check
/** @file What the panel of routing counts. */
import { clamp, sum } from "./numbers.js";

/** @typedef {import("./model.js").Shaped} Shaped */

/**
 * The bins [start, end) whose middle lies in a window in s; all n without a window, and one at least.
 * @param {number[]} window
 * @param {number} length s
 * @param {number} n
 * @returns {[number, number]}
 */
export function binsIn(window, length, n) {
  if (!window?.length) return [0, n];
  const [start, end] = window.map((s) => clamp(Math.ceil((s / length) * n - 0.5), 0, n));
  return end > start ? [start, end] : [Math.min(n - 1, start), Math.min(n - 1, start) + 1];
}

/**
 * The choices of some series and bins, summed: (layer * expert).
 * @param {Shaped} counts (series, layer, expert, bin)
 * @param {number} series -1: all
 * @param {[number, number]} bins
 */
export function pool(counts, series, [start, end]) {
  const [n, layers, experts, bins] = counts.shape;
  const found = new Float64Array(layers * experts);
  for (let s = 0; s < n; s++)
    if (series < 0 || s === series)
      for (let k = 0; k < found.length; k++) {
        const at = (s * found.length + k) * bins;
        for (let bin = start; bin < end; bin++) found[k] += counts[at + bin];
      }
  return found;
}

/**
 * The load that counts (layer * expert) make, as `load_of` in Python; `dead` is a list of [layer, expert].
 * @param {Float64Array} counts
 * @param {number} experts
 * @param {number} topK
 * @param {number} deadShare of the tokens
 */
export function loadOf(counts, experts, topK, deadShare) {
  const layers = counts.length / experts;
  const share = new Float64Array(counts.length).fill(NaN);
  const entropy = [];
  const balance = [];
  /** @type {[number, number][]} */
  const dead = [];
  for (let layer = 0; layer < layers; layer++) {
    const each = sharesOf(counts.subarray(layer * experts, (layer + 1) * experts));
    each.forEach((v, expert) => {
      share[layer * experts + expert] = v;
      if (v < deadShare / topK) dead.push([layer, expert]);
    });
    entropy.push(-sum(each.map((v) => (v === 0 ? 0 : v * Math.log(v)))) / Math.log(Math.max(experts, 2)));
    balance.push(experts * Math.sqrt(sum(each.map((v) => (v - 1 / experts) ** 2)) / experts));
  }
  return { share, entropy, balance, dead };
}

/** @param {ArrayLike<number>} counts */
export function sharesOf(counts) {
  const total = sum(counts);
  return Array.from(counts, (value) => value / total);
}

/**
 * The share of each expert of a layer in each bin: (expert * bin), NaN in a bin without choices.
 * @param {Shaped} counts (series, layer, expert, bin)
 * @param {number} series -1: all
 * @param {number} layer
 */
export function overTime(counts, series, layer) {
  const [n, layers, experts, bins] = counts.shape;
  const found = new Float64Array(experts * bins);
  const total = new Float64Array(bins);
  for (let s = 0; s < n; s++)
    if (series < 0 || s === series)
      for (let expert = 0; expert < experts; expert++)
        for (let bin = 0; bin < bins; bin++) {
          const value = counts[((s * layers + layer) * experts + expert) * bins + bin];
          found[expert * bins + bin] += value;
          total[bin] += value;
        }
  return found.map((value, k) => value / total[k % bins]);
}

/** @param {number[]} values */
export const mean = (values) => sum(values) / values.length;
