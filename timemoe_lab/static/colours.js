// @ts-check
/** @file Colours: those of the theme, maps from numbers to colours, and the pattern of a label. */

/** @typedef {number[]} RGB three of 0 to 255 */
/** @typedef {Record<string, string>} Tone the colours in force, by the names of panel.css */

/** @param {Element} node */
export function isDark(node) {
  for (let at = /** @type {Element | null} */ (node); at; at = at.parentElement) {
    const [r, g, b, a = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    if (r !== undefined && a > 0.5) return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

const NAMES = ["ink", "soft", "page", "card", "line", "grid", "normal", "anomaly", "fbeta", "precision", "recall"];
const MORE = ["threshold", "warn", "link"];

/**
 * @param {Element} root
 * @returns {Tone}
 */
export function colours(root) {
  const style = getComputedStyle(root);
  return Object.fromEntries([...NAMES, ...MORE].map((name) => [name, style.getPropertyValue(`--tm-${name}`).trim()]));
}

const CIVIDIS = "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838";
const BLUE_RED = "2166ac 67a9cf d1e5f0 f7f7f7 fddbc7 ef8a62 b2182b";

/**
 * The colour of a share 0 to 1 on a list of equidistant colours.
 * @param {string} list
 * @param {number} share
 * @returns {RGB}
 */
function mix(list, share) {
  const all = list.split(" ").map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const at = Math.min(1, Math.max(0, share)) * (all.length - 1);
  const i = Math.min(all.length - 2, Math.floor(at));
  return all[i].map((low, k) => Math.round(low + (all[i + 1][k] - low) * (at - i)));
}

/** @param {RGB} colour */
export const css = ([r, g, b]) => `rgb(${r},${g},${b})`;
/** @param {number} share 0 to 1 */
export const cividis = (share) => mix(CIVIDIS, share);
/** @param {number} value -1 to 1, 0 is white */
export const diverging = (value) => mix(BLUE_RED, (value + 1) / 2);

/**
 * Black or white, whichever is easier to read on a colour.
 * @param {RGB} colour
 */
export function inkOn(colour) {
  const light = colour.map((v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] > 0.179 ? "#000" : "#fff";
}

/**
 * A pattern of slanting lines: what is hatched is a label.
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 */
export function hatching(context, colour) {
  const tile = document.createElement("canvas");
  const size = 6 * devicePixelRatio;
  tile.width = tile.height = size;
  const ink = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  ink.strokeStyle = colour;
  ink.lineWidth = devicePixelRatio;
  ink.beginPath();
  for (const shift of [-size, 0, size]) {
    ink.moveTo(shift, size);
    ink.lineTo(shift + size, 0);
  }
  ink.stroke();
  const pattern = /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
  pattern.setTransform(new DOMMatrix().scale(1 / devicePixelRatio));
  return pattern;
}
