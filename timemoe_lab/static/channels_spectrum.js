// @ts-check
/** @file The spectrum of the chosen channel, with the lines that a fault would raise, over the healthy range. */
import { LEFT, RIGHT } from "./channels_scene.js";
import { h, tableView } from "./elements.js";
import { keys } from "./hands.js";
import { clamp, number } from "./numbers.js";
import { axes, clip, inked, linear, log, print, sheet, trace, triangle, upright } from "./plot.js";

/** @typedef {import("./channels_scene.js").Scene} Scene */
/** @typedef {import("./channels_scene.js").Gappy} Gappy */
/** @typedef {import("./plot.js").Box} Box */
/** @typedef {import("./plot.js").Canvas} Canvas */
/** @typedef {import("./plot.js").Context} Context */
/** @typedef {import("./plot.js").Scale} Scale */

const LINE_COLUMNS = ["Line", "Hz", "Amplitude", "Healthy low", "Healthy high", "Above"];

/** @param {Scene} scene */
export function spectrumView(scene) {
  const node = h("div", {});
  let mark = -1; // the one under the keys or the pointer
  const sorted = () => scene.physics.marks.map((_, k) => k).sort((a, b) => hzOf(a) - hzOf(b));
  const hzOf = (/** @type {number} */ k) => scene.physics.marks[k].hz;
  const draw = (/** @type {Canvas} */ ...on) => drawSpectrum(scene, mark, ...on);
  const view = sheet(node, { height: 210, focus: true, label: "Spectrum", draw });
  const { canvas } = view;

  /** @param {number} place among the marks by frequency */
  function setMark(place) {
    const order = sorted();
    if (!order.length) return;
    mark = order[clamp(place, 0, order.length - 1)];
    scene.panel.say(markText(scene, mark));
    scene.panel.root.dataset.mark = scene.physics.marks[mark].name;
    view.redraw();
  }
  const step = (/** @type {number} */ n) => {
    const order = sorted();
    if (mark < 0) setMark(n > 0 ? 0 : order.length - 1);
    else setMark(order.indexOf(mark) + n);
  };
  keys(canvas, {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    Home: () => setMark(0),
    End: () => setMark(scene.physics.marks.length - 1),
  });
  canvas.addEventListener("pointermove", (event) => {
    const { value } = scene.physics.spectrum;
    const hz = linear([0, value[0].length * binHz(scene)], [LEFT, canvas.clientWidth - RIGHT]).invert(event.offsetX);
    const gaps = sorted().map((k) => Math.abs(hzOf(k) - hz));
    setMark(gaps.indexOf(Math.min(...gaps)));
  });
  return {
    node,
    table: tableView("lines of the spectrum", LINE_COLUMNS, () => sorted().map((k) => lineRow(scene, k))),
    sheet: view,
    show() {
      const i = scene.chosen();
      const above = `lines above the healthy range: ${scene.above(i).length}`;
      const label = `Spectrum of ${scene.labelOf(i)}; ${above}; arrow keys step through the lines`;
      canvas.setAttribute("aria-label", label);
    },
  };
}

/** @param {Scene} scene */
const binHz = ({ physics, facts }) => physics.base_hz / facts.bins;

/**
 * @param {Scene} scene
 * @param {number} k mark
 */
function markText(scene, k) {
  const { name, hz } = scene.physics.marks[k];
  const i = scene.chosen();
  const { value, low, high } = scene.physics.line;
  const usual = high?.[i]?.[k] == null ? "" : ` (healthy ${number(low?.[i][k], 3)} to ${number(high[i][k], 3)})`;
  return `${name} = ${number(hz)} Hz: ${number(value[i][k], 3)}${usual}`;
}

/**
 * @param {Scene} scene
 * @param {number} k mark
 */
function lineRow(scene, k) {
  const i = scene.chosen();
  const { line, marks } = scene.physics;
  const numbers = [line.value[i][k], line.low?.[i][k], line.high?.[i][k]].map((v) => number(v, 3));
  return [marks[k].name, number(marks[k].hz), ...numbers, scene.above(i).includes(k) ? "above" : ""];
}

/**
 * @param {Scene} scene
 * @param {number} mark
 * @param {Canvas} on
 */
function drawSpectrum(scene, mark, ...[context, width, height]) {
  const { facts, physics, tone } = scene;
  const i = scene.chosen();
  const { value, low, high } = physics.spectrum;
  const box = { left: LEFT, right: width - RIGHT, top: 42, bottom: height - 32 };
  const known = [value[i], low?.[i] ?? [], high?.[i] ?? []].flatMap((row) => row.filter((v) => v !== null && v > 0));
  const heights = /** @type {number[]} */ (known);
  const title = `${facts.channels[i]}: amplitude${facts.units[i] ? ` in ${facts.units[i]}` : ""}`;
  const why = facts.masked[i] ? "masked: takes no part" : "nothing to draw";
  if (!heights.length) return nothing(context, tone.ink, width, height, title, why);
  const x = linear([0, value[i].length * binHz(scene)], [box.left, box.right]);
  const y = log([Math.min(...heights), Math.max(...heights) * 1.5], [box.bottom, box.top]);
  print(context, tone.ink, "left", "bottom", title, 2, 28);
  axes(context, tone, box, { x, y, xLabel: "frequency in Hz", xTicks: x.ticks(5) });
  const at = (/** @type {number} */ k) => x((k + 0.5) * binHz(scene));
  clip(context, box, () => {
    if (low && high) fillBand(context, high[i], low[i], at, y, tone.normal);
    trace(context, value[i], at, y, { strokeStyle: tone.anomaly });
  });
  drawMarks(context, scene, box, x, mark);
}

/**
 * @param {Context} context
 * @param {Scene} scene
 * @param {Box} box
 * @param {Scale} x
 * @param {number} mark
 */
function drawMarks(context, scene, box, x, mark) {
  const { physics, tone } = scene;
  const above = new Set(scene.above(scene.chosen()));
  physics.marks.forEach(({ hz, side }, k) => {
    if (hz > x.high) return;
    const px = Math.round(x(hz)) + 0.5;
    const colour = k === mark ? tone.link : side ? tone.fbeta : tone.soft;
    const dash = side ? [2, 3] : [];
    upright(context, px, box, { strokeStyle: colour, globalAlpha: k === mark ? 1 : 0.6, dash });
    context.strokeStyle = context.fillStyle = colour;
    triangle(context, px, box.top - 1, box.top - 8, above.has(k));
  });
  if (mark < 0) return;
  print(context, tone.ink, "right", "bottom", markText(scene, mark), box.right, 14, box.right - 4);
}

/**
 * The healthy range, where it is known.
 * @param {Context} context
 * @param {Gappy} high
 * @param {Gappy} low
 * @param {(k: number) => number} x
 * @param {Scale} y
 * @param {string} fillStyle
 */
function fillBand(context, high, low, x, y, fillStyle) {
  const known = high.map((_, k) => k).filter((k) => high[k] != null && low[k] != null);
  inked(context, { fillStyle, globalAlpha: 0.35 }, () => {
    context.beginPath();
    known.forEach((k) => context.lineTo(x(k), y(high[k] ?? NaN)));
    known.reverse().forEach((k) => context.lineTo(x(k), y(low[k] ?? NaN)));
    context.fill();
  });
}

/**
 * A picture of which there is nothing to draw says why.
 * @param {Context} context
 * @param {string} colour
 * @param {number} width
 * @param {number} height
 * @param {string} title
 * @param {string} why
 */
export function nothing(context, colour, width, height, title, why) {
  print(context, colour, "left", "bottom", title, 2, 16);
  print(context, colour, "center", "bottom", why, width / 2, height / 2);
}
