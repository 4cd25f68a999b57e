// @ts-check
/** @file What the threshold panel counts: by binary search over all samples, by counting in a window. */
import { lowerBound } from "./numbers.js";

/** @typedef {ArrayLike<number>} Row */
/** @typedef {{ positive: Float32Array, negative: Float32Array }} Kinds rising scores of faulty and healthy samples */
/** @typedef {{ tp: number, fp: number, fn: number, tn: number }} Counts */
/** @typedef {import("./threshold.js").Data} Data */
/** @typedef {import("./threshold.js").Now} Now */
/** @typedef {ReturnType<typeof measured>} Measured */
/** @typedef {{ start: number, end: number, reached: number[], after: number[] }} Fault */

export const FAULTY = 1; // bits of a label
export const LEFT_OUT = 2; // too near to the edge of a fault to be evaluated

/**
 * The next number of single precision above or below.
 * @param {number} value
 * @param {boolean} up
 */
export function step32(value, up) {
  const single = new Float32Array([value]);
  const bits = new Int32Array(single.buffer);
  if (single[0] === 0) return (up ? 1 : -1) * 2 ** -149;
  bits[0] += up === single[0] > 0 ? 1 : -1;
  return single[0];
}

/**
 * The smallest number of single precision that is not below `value`: float32 scores reach both or neither.
 * @param {number} value
 */
export function single(value) {
  const near = Math.fround(value);
  return near < value ? step32(near, true) : near;
}

/**
 * The scores that take part, by kind and rising; `label` null: all count as healthy.
 * @param {Row} score
 * @param {Row | null} label
 * @returns {Kinds & { unscored: number, leftOut: number }}
 */
export function sortKinds(score, label) {
  const [positive, negative] = [new Float32Array(score.length), new Float32Array(score.length)];
  let [p, n, unscored, leftOut] = [0, 0, 0, 0];
  for (let i = 0; i < score.length; i++) {
    const kind = label ? label[i] : 0;
    if (kind & LEFT_OUT) leftOut++;
    else if (!Number.isFinite(score[i])) unscored++;
    else if (kind & FAULTY) positive[p++] = score[i];
    else negative[n++] = score[i];
  }
  return { positive: positive.slice(0, p).sort(), negative: negative.slice(0, n).sort(), unscored, leftOut };
}

/**
 * TP, FP, FN, TN at a threshold, from the sorted kinds.
 * @param {Kinds} kinds
 * @param {number} threshold
 * @returns {Counts}
 */
export function confusion({ positive, negative }, threshold) {
  const [fn, tn] = [lowerBound(positive, threshold), lowerBound(negative, threshold)];
  return { tp: positive.length - fn, fp: negative.length - tn, fn, tn };
}

/**
 * The same for the samples [start, end) of the series, by counting.
 * @param {Row} score
 * @param {Row | null} label
 * @param {number} threshold
 * @param {number} start
 * @param {number} end
 * @returns {Counts}
 */
export function confusionIn(score, label, threshold, start, end) {
  let [tp, fp, fn, tn] = [0, 0, 0, 0];
  for (let i = start; i < end; i++) {
    const [s, kind] = [score[i], label ? label[i] : 0];
    if (kind & LEFT_OUT || !(s > -Infinity && s < Infinity)) continue;
    if (kind & FAULTY) s >= threshold ? tp++ : fn++;
    else s >= threshold ? fp++ : tn++;
  }
  return { tp, fp, fn, tn };
}

/**
 * @param {number} part
 * @param {number} whole
 */
export const ratio = (part, whole) => (whole ? part / whole : NaN);

/**
 * Precision, recall, FPR and F-beta; what has no meaning without both kinds is NaN, never 0.
 * @param {Counts} counts
 * @param {number} beta
 */
export function ratios({ tp, fp, fn, tn }, beta) {
  const weight = beta ** 2;
  const hit = (1 + weight) * tp;
  return {
    precision: tp + fn ? ratio(tp, tp + fp) : NaN,
    recall: ratio(tp, tp + fn),
    fpr: ratio(fp, fp + tn),
    fbeta: tp + fn ? hit / (hit + weight * fn + fp) : NaN,
  };
}

/**
 * Precision where a share `prevalence` of the samples is faulty.
 * @param {{ recall: number, fpr: number }} at
 * @param {number} prevalence
 */
export function precisionAt({ recall, fpr }, prevalence) {
  return ratio(recall * prevalence, recall * prevalence + fpr * (1 - prevalence));
}

/**
 * The threshold with the largest F-beta, the highest of equals, which is a faulty sample's score; NaN without one.
 * @param {Kinds} kinds
 * @param {number} beta
 */
export function bestFBeta({ positive, negative }, beta) {
  const weight = beta ** 2;
  let [best, at, below] = [-1, NaN, 0];
  for (let i = 0; i < positive.length; i++) {
    if (i && positive[i] === positive[i - 1]) continue;
    while (below < negative.length && negative[below] < positive[i]) below++;
    const tp = positive.length - i;
    const hit = (1 + weight) * tp;
    const f = hit / (hit + weight * i + (negative.length - below));
    if (f >= best) [best, at] = [f, positive[i]];
  }
  return at;
}

/**
 * The nearest threshold, up or down, at which the confusion is another.
 * @param {Kinds} kinds
 * @param {number} threshold
 * @param {boolean} up
 */
export function nextChange({ positive, negative }, threshold, up) {
  const kinds = [positive, negative];
  if (!up) return Math.max(...kinds.map((k) => k[lowerBound(k, threshold) - 1] ?? -Infinity));
  const least = (/** @type {number} */ from) => Math.min(...kinds.map((k) => k[lowerBound(k, from)] ?? Infinity));
  const here = least(threshold);
  if (here === Infinity) return Infinity;
  const next = least(step32(here, true));
  return next === Infinity ? step32(here, true) : next;
}

/**
 * Scores at which a stretch of false alarm begins and ends, so that episodes(t) is a difference of two ranks.
 * @param {Row} score
 * @param {Row | null} label
 * @param {Row} starts of the recordings, and the end
 */
export function episodeEdges(score, label, starts) {
  const [begins, ends] = [new Float32Array(score.length), new Float32Array(score.length)];
  let [n, healthy] = [0, 0];
  for (let r = 0; r + 1 < starts.length; r++) {
    let before = -Infinity;
    for (let i = starts[r]; i < starts[r + 1]; i++) {
      const kind = label ? label[i] : 0;
      if (kind & LEFT_OUT || !Number.isFinite(score[i])) continue;
      if (kind & FAULTY) before = -Infinity;
      else {
        healthy++;
        if (score[i] > before) [begins[n], ends[n++]] = [score[i], before];
        before = score[i];
      }
    }
  }
  return { begins: begins.slice(0, n).sort(), ends: ends.slice(0, n).sort(), healthy };
}

/**
 * Stretches of healthy time that are alarmed without a break.
 * @param {{ begins: Row, ends: Row }} edges
 * @param {number} threshold
 */
export const episodes = ({ begins, ends }, threshold) => lowerBound(ends, threshold) - lowerBound(begins, threshold);

/**
 * Episodes of false alarm between cuts of the series, by counting.
 * @param {Row} score
 * @param {Row | null} label
 * @param {Row} cuts
 * @param {number} threshold
 */
export function episodeCount(score, label, cuts, threshold) {
  let [n, healthy] = [0, 0];
  for (let r = 0; r + 1 < cuts.length; r++) {
    let before = false;
    for (let i = cuts[r]; i < cuts[r + 1]; i++) {
      const [s, kind] = [score[i], label ? label[i] : 0];
      if (kind & LEFT_OUT || !(s > -Infinity && s < Infinity)) continue;
      const alarm = !(kind & FAULTY) && s >= threshold;
      if (!(kind & FAULTY)) healthy++;
      if (alarm && !before) n++;
      before = alarm;
    }
  }
  return { n, healthy };
}

/**
 * Each fault as the rising scores it reaches and the samples since its beginning at which it does.
 * @param {Row} score
 * @param {Row} label
 * @param {Row} starts
 */
export function faultRecords(score, label, starts) {
  /** @type {Fault[]} */
  const faults = [];
  for (let r = 0; r + 1 < starts.length; r++) {
    /** @type {Fault | null} */
    let fault = null;
    for (let i = starts[r]; i < starts[r + 1]; i++) {
      if (!(label[i] & FAULTY)) fault = null;
      else {
        if (!fault) faults.push((fault = { start: i, end: i, reached: [], after: [] }));
        fault.end = i + 1;
        if (score[i] > (fault.reached.at(-1) ?? -Infinity)) {
          fault.reached.push(score[i]);
          fault.after.push(i - fault.start);
        }
      }
    }
  }
  return faults;
}

/**
 * How many faults are found, and the median delay of those in samples.
 * @param {Fault[]} faults
 * @param {number} threshold
 */
export function delays(faults, threshold) {
  const after = faults
    .map((f) => f.after[lowerBound(f.reached, threshold)])
    .filter((d) => d !== undefined)
    .sort((a, b) => a - b);
  const middle = after.length / 2;
  const median = after.length ? (after[Math.ceil(middle) - 1] + after[Math.floor(middle)]) / 2 : NaN;
  return { found: after.length, median };
}

/**
 * Half the quantile of chi-square by its cube root (Wilson and Hilferty), close where counts are many.
 * @param {number} shape
 * @param {number} z
 */
const manyCounts = (shape, z) => shape * (1 - 1 / (9 * shape) + z / (3 * Math.sqrt(shape))) ** 3;

/**
 * The mean of a Poisson count at which at most n are seen with a probability.
 * @param {number} n
 * @param {number} share
 */
function poissonMean(n, share) {
  let [low, high] = [0, 2 * n + 20];
  for (let step = 0; step < 60; step++) {
    const mean = (low + high) / 2;
    let [term, sum] = [Math.exp(-mean), 0];
    for (let i = 0; i <= n; i++) {
      sum += term;
      term *= mean / (i + 1);
    }
    if (sum > share) low = mean;
    else high = mean;
  }
  return (low + high) / 2;
}

/**
 * The 95 % interval of a rate a day, exact up to a hundred alarms; without an alarm one-sided.
 * @param {number} n alarms
 * @param {number} time s that they could have been in
 * @returns {[number, number]}
 */
export function perDay(n, time) {
  const day = 86400 / time;
  if (n > 100) return [manyCounts(n, -1.959964) * day, manyCounts(n + 1, 1.959964) * day];
  if (n === 0) return [0, poissonMean(0, 0.05) * day];
  return [poissonMean(n - 1, 0.975) * day, poissonMean(n, 0.025) * day];
}

/**
 * What follows from counts, for all samples or for those of a window.
 * @param {Data} data
 * @param {Now} now
 * @param {Counts} counts
 * @param {{ n: number, healthy: number }} alarms episodes, and the healthy samples that they could be in
 * @param {Fault[]} faults
 */
function measured(data, { threshold, beta, base }, counts, { n, healthy }, faults) {
  const at = ratios(counts, beta);
  const { found, median } = delays(faults, threshold);
  return {
    ...counts,
    ...at,
    plant: precisionAt(at, base),
    alarmsPerDay: ratio(n, healthy / data.fs / 86400),
    nAlarms: n,
    healthySeconds: healthy / data.fs,
    delay: median / data.fs,
    found,
    nFaults: faults.length,
    quantile: ratio(counts.tn, counts.tn + counts.fp),
  };
}

/**
 * @param {Data} data
 * @param {Now} at
 */
export function measuredAll(data, at) {
  const out = { n: episodes(data.edges, at.threshold), healthy: data.edges.healthy };
  return measured(data, at, confusion(data, at.threshold), out, data.faults);
}

/**
 * @param {Data} data
 * @param {Now} at
 * @param {[number, number]} span samples
 */
export function measuredIn(data, at, [start, end]) {
  const counts = confusionIn(data.score, data.label, at.threshold, start, end);
  const cuts = [start, ...Array.from(data.starts).filter((s) => s > start && s < end), end];
  const out = episodeCount(data.score, data.label, cuts, at.threshold);
  const begun = data.faults.filter((fault) => fault.start >= start && fault.start < end);
  return measured(data, at, counts, out, begun);
}
