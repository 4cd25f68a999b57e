// @ts-check
/** @file What the panel of channels counts. */
import { sum } from "./numbers.js";

/** @typedef {ArrayLike<number>} Row */

/**
 * The places [start, end) of the values that begin inside a window in s; all n of them without a window.
 * @param {number[]} window
 * @param {number} step s
 * @param {number} n
 * @returns {[number, number]}
 */
export function placesIn(window, step, n) {
  if (!window?.length) return [0, n];
  const [start, end] = window.map((s) => Math.min(n, Math.max(0, Math.ceil(s / step - 1e-9))));
  return [start, Math.max(start, end)];
}

/**
 * The mean of what is finite in values[start, end); NaN where nothing is.
 * @param {Row} values
 * @param {number} start
 * @param {number} end
 */
export function meanOf(values, start, end) {
  let total = 0;
  let n = 0;
  for (let i = start; i < end; i++)
    if (Number.isFinite(values[i])) {
      total += values[i];
      n++;
    }
  return n ? total / n : NaN;
}

/**
 * What each channel adds to the score of places [start, end): as `contribution` in Python.
 * @param {{ score: Row[], l1: Row[], l2: Row[] }} rows by channel
 * @param {number[]} weights of l1 and l2
 * @param {[number, number]} places
 */
export function contributions({ score, l1, l2 }, weights, [start, end]) {
  const each = (/** @type {Row[]} */ rows) => rows.map((row) => meanOf(row, start, end));
  const mean = each(score);
  const forecast = each(l1).map((v) => weights[0] * v);
  const latent = each(l2).map((v) => weights[1] * v);
  const total = sum(mean.filter(Number.isFinite));
  const height = (/** @type {number} */ i) => (Number.isFinite(mean[i]) ? mean[i] : -Infinity);
  return {
    mean,
    share: mean.map((v) => v / total),
    l1: forecast.map((v, i) => v / (v + latent[i])),
    order: mean.map((_, i) => i).sort((a, b) => height(b) - height(a) || a - b),
  };
}

/**
 * The marks of a spectrum that stand above every healthy recording's: places in `value`.
 * @param {(number | null)[]} value
 * @param {(number | null)[]} [high] of the healthy ones
 */
export function aboveUsual(value, high) {
  const isAbove = (/** @type {number} */ i) => (value[i] ?? -Infinity) > (high?.[i] ?? Infinity);
  return Array.from(value.keys()).filter(isAbove);
}

/**
 * The rows of a flat array with a shape [rows, n].
 * @template {import("./model.js").Shaped} Values
 * @param {Values | null} values
 */
export function rowsOf(values) {
  if (!values) return null;
  const n = values.shape[values.shape.length - 1];
  return Array.from({ length: values.length / n }, (_, i) => values.subarray(i * n, (i + 1) * n));
}
