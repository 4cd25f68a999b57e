// @ts-check
/** @file Numbers in words, and what all panels count. */

/** @typedef {ArrayLike<number>} Row */

/** @param {number} n */
export const count = (n) => Math.round(n).toLocaleString("en");

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * @param {number} value
 * @param {number} [digits] after the point
 */
export const round = (value, digits = 4) => Number(value.toFixed(digits));

/**
 * A number in four digits; a dash where it is undefined.
 * @param {number | null | undefined} value
 * @param {number} [digits]
 */
export function number(value, digits = 4) {
  if (value == null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-3)) return value.toExponential(digits - 1);
  const text = Number(value.toPrecision(digits));
  return size >= 1e4 ? text.toLocaleString("en") : String(text);
}

/**
 * A share in words; no share but 0 reads 0 %, and none but 1 reads 100 %.
 * @param {number | null | undefined} share
 */
export function percent(share) {
  if (share == null || Number.isNaN(share)) return "–";
  const value = 100 * share;
  const rest = Math.min(value, 100 - value);
  const digits = rest > 0 ? Math.min(6, Math.max(1, 1 - Math.floor(Math.log10(rest)))) : 0;
  const text = value.toFixed(digits);
  return `${text.includes(".") ? text.replace(/\.?0+$/, "") : text} %`;
}

/** @param {number | null | undefined} value in s */
export function seconds(value) {
  if (value == null || Number.isNaN(value)) return "–";
  if (Math.abs(value) >= 86400) return `${number(value / 86400, 3)} d`;
  if (Math.abs(value) >= 3600) return `${number(value / 3600, 3)} h`;
  return Math.abs(value) >= 1 || value === 0 ? `${number(value, 4)} s` : `${number(1000 * value, 3)} ms`;
}

/**
 * How a score stands to a threshold, as the end of a sentence; nothing without a threshold.
 * @param {number} score
 * @param {number | null} threshold
 */
export function marginText(score, threshold) {
  if (threshold == null) return "";
  return `, ${number(Math.abs(score - threshold), 3)} ${score >= threshold ? "above" : "below"} the threshold`;
}

/**
 * How many of the rising values lie below `value`: its place among them.
 * @param {Row} rising
 * @param {number} value
 */
export function lowerBound(rising, value, low = 0, high = rising.length) {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rising[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The place of the value of a rising list that is nearest to `value`; -1 in an empty one.
 * @param {Row} rising
 * @param {number} value
 */
export function nearest(rising, value) {
  const i = Math.min(lowerBound(rising, value), rising.length - 1);
  return i > 0 && value - rising[i - 1] < rising[i] - value ? i - 1 : i;
}

/**
 * The lowest and highest value of each of n even bins of y[start, end): [low..., high...], NaN where a bin has none.
 * @param {Row} y
 * @param {number} n
 */
export function envelope(y, n, start = 0, end = y.length) {
  const found = new Float32Array(2 * n).fill(NaN);
  for (let bin = 0; bin < n; bin++) {
    const from = start + Math.floor(((end - start) * bin) / n);
    const to = Math.max(from + 1, start + Math.floor(((end - start) * (bin + 1)) / n));
    let low = Infinity;
    let high = -Infinity;
    for (let i = from; i < to && i < end; i++) {
      if (y[i] < low) low = y[i];
      if (y[i] > high) high = y[i];
    }
    if (low <= high) [found[bin], found[n + bin]] = [low, high];
  }
  return found;
}

/**
 * The lowest and highest finite value of some rows, null without one.
 * @param {Row[]} rows
 * @returns {[number, number] | null}
 */
export function extent(...rows) {
  let low = Infinity;
  let high = -Infinity;
  for (const row of rows)
    for (let i = 0; i < row.length; i++) {
      if (!Number.isFinite(row[i])) continue;
      if (row[i] < low) low = row[i];
      if (row[i] > high) high = row[i];
    }
  return low <= high ? [low, high] : null;
}

/**
 * Room around an extent: a share of it on either side, or of the value where there is but one.
 * @param {[number, number]} extent
 * @param {boolean} [isLog]
 * @returns {[number, number]}
 */
export function roomy([low, high], isLog = false, share = 0.05, alone = 0.1) {
  if (isLog) {
    const factor = high > low ? (high / low) ** share : 1 + alone;
    return [low / factor, high * factor];
  }
  const pad = share * (high - low) || alone * Math.abs(high) || 1;
  return [low - pad, high + pad];
}

/**
 * The sum of some numbers.
 * @param {Row} values
 */
export function sum(values) {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

/**
 * Rows of a long table: every n-th of them and the last, about 40.
 * @param {number} n
 */
export function someOf(n) {
  const every = Math.max(1, Math.floor(n / 40));
  return Array.from({ length: n }, (_, i) => i).filter((i) => i % every === 0 || i === n - 1);
}

/**
 * Numbers as JSON, null where one isn't finite.
 * @param {Row} values
 */
export const jsonOf = (values) => JSON.stringify(Array.from(values, (v) => (Number.isFinite(v) ? v : null)));
