// @ts-check
/** @file Pictures over the steps of the training, which share one crosshair; the first two are its curves. */
import { button, h, tableView } from "./elements.js";
import { keys, stepKeys } from "./hands.js";
import { isPositive, SIGNALS } from "./live_words.js";
import { clamp, count, extent, nearest, number, roomy, someOf } from "./numbers.js";
import { axes, clip, legend, level, linear, log, placeOver, sheet, trace, upright } from "./plot.js";

/** @typedef {import("./live.js").Scene} Scene */
/** @typedef {import("./plot.js").Box} Box */
/** @typedef {import("./plot.js").Context} Context */
/** @typedef {import("./plot.js").Scale} Scale */
/** @typedef {ArrayLike<number>} Row */
/** @typedef {{ name: string, steps: Row, values: Row, colour: string, dots?: boolean }} Curve */

const LEFT = 62; // pixels beside a picture
const RIGHT = 12;
const DASHES = [[], [6, 3], [2, 2]]; // of a box's curves
const GOAL = [8, 3, 2, 3];

/** @param {Scene} scene */
export function curvesView(scene) {
  const { facts, panel } = scene;
  let isLog = true; // where the values allow it
  panel.root.dataset.log = "true";
  const turn = () => {
    isLog = !isLog;
    panel.root.dataset.log = String(isLog);
    scaling.setAttribute("aria-pressed", String(isLog));
    loss.redraw();
  };
  const scaling = button("Logarithmic", turn, { "aria-pressed": "true" });
  const [losses, others] = [h("div", {}), h("div", {})];
  const loss = picture(scene, losses, {
    height: 210,
    label: "Loss over steps",
    press: { l: turn },
    draw(context, width, height) {
      const [box] = boxes(width, height, 1);
      const curves = [
        curveOf(scene, "total", "loss", scene.tone.anomaly),
        curveOf(scene, "Huber", "huber", scene.tone.normal),
      ];
      plot(context, scene, box, stepsOf(scene, width), curves, { isLog, xLabel: "step" });
    },
  });
  const knobs = picture(scene, others, {
    height: facts.dense ? 190 : 270,
    label: "Learning rate, Huber delta and gating balance over steps",
    draw: (...on) => drawKnobs(scene, ...on),
  });
  const columns = ["Step", "Loss", "Huber", "Learning rate", "Delta", "Balance"];
  const title = h("strong", {}, "Loss");
  return {
    nodes: [
      h("div", { class: "tm-row" }, title, h("span", { class: "tm-space" }), scaling),
      losses,
      h("div", { class: "tm-row" }, h("strong", {}, "Learning rate, Huber delta and gating balance")),
      others,
      tableView("curves", columns, () => rowsOfCurves(scene)),
    ],
    show() {
      const { now } = scene;
      const at = `at step ${count(now.step)}`;
      const balance = facts.dense ? "" : `, balance ${number(now.gating_balance)}`;
      const rate = `Learning rate ${number(now.lr, 3)}, delta ${number(now.knobs.delta)}`;
      loss.canvas.setAttribute("aria-label", `Loss ${number(now.loss)} ${at}; its table is below`);
      knobs.canvas.setAttribute("aria-label", `${rate}${balance} ${at}`);
    },
  };
}

/**
 * @param {Scene} scene
 * @param {string} name
 * @param {keyof Scene["curves"]} key
 * @param {string} colour
 * @returns {Curve}
 */
const curveOf = ({ curves }, name, key, colour) => ({ name, steps: curves.step, values: curves[key], colour });

/** @param {Scene} scene */
function rowsOfCurves({ curves }) {
  const { step, loss, huber, lr, delta, gating_balance: balance } = curves;
  const values = (/** @type {number} */ i) => [loss, huber, lr, delta, balance].map((row) => number(row[i]));
  return someOf(step.length)
    .reverse()
    .map((i) => [count(step[i]), ...values(i)]);
}

/**
 * Each in a box of its own.
 * @param {Scene} scene
 * @param {import("./plot.js").Canvas} on
 */
function drawKnobs(scene, ...[context, width, height]) {
  const { tone, facts } = scene;
  const curves = [
    curveOf(scene, "learning rate", "lr", tone.precision),
    curveOf(scene, "Huber delta", "delta", tone.fbeta),
  ];
  if (!facts.dense) curves.push(curveOf(scene, "gating balance (0 is even)", "gating_balance", tone.normal));
  const x = stepsOf(scene, width);
  boxes(width, height, curves.length).forEach((box, k) => {
    const how = { xLabel: k === curves.length - 1 ? "step" : undefined, low: k === 2 ? 0 : null };
    plot(context, scene, box, x, [curves[k]], how);
  });
}

/**
 * A picture over steps with the crosshair, the note and the keys that all of them have.
 * @param {Scene} scene
 * @param {HTMLElement} parent
 * @param {object} how
 * @param {number} how.height
 * @param {string} how.label
 * @param {(...on: import("./plot.js").Canvas) => void} how.draw
 * @param {import("./hands.js").KeyTable} [how.press] further keys
 */
export function picture(scene, parent, { height, label, draw, press = {} }) {
  const { tip, panel } = scene;
  const made = sheet(parent, { height, label, focus: true, draw });
  const { canvas } = made;
  scene.sheets.push(made);
  panel.onClose(made.close);
  /** @type {(step: number | null) => void} */
  const point = (step) => {
    if (step === scene.cursor) return;
    scene.cursor = step;
    panel.root.dataset.cursor = String(step ?? "");
    scene.redraw();
  };
  const letGo = () => {
    tip.hide();
    point(null);
  };
  /** @type {(n: number) => void} */
  const go = (n) => {
    const steps = scene.curves.step;
    if (!steps.length) return;
    const at = scene.cursor === null ? steps.length - (n < 0 ? 0 : 1) : nearest(steps, scene.cursor);
    const step = steps[clamp(at + n, 0, steps.length - 1)];
    point(step);
    panel.say(linesAt(scene, step).join("; "));
    tip.show(placeOver(canvas, stepsOf(scene, canvas.clientWidth)(step), 20), linesAt(scene, step));
  };
  canvas.addEventListener("pointermove", (event) => {
    const steps = scene.curves.step;
    if (!steps.length) return;
    const step = steps[nearest(steps, stepsOf(scene, canvas.clientWidth).invert(event.offsetX))];
    point(step);
    tip.show(event, linesAt(scene, step));
  });
  canvas.addEventListener("pointerleave", letGo);
  canvas.addEventListener("blur", letGo);
  keys(canvas, {
    ...stepKeys(go),
    Home: () => go(-Infinity),
    End: () => go(Infinity),
    Escape: letGo,
    ...press,
  });
  return made;
}

/**
 * What a note says of a step.
 * @param {Scene} scene
 * @param {number} step
 */
function linesAt({ curves, facts, now }, step) {
  const i = nearest(curves.step, step);
  const found = [`step ${count(step)}`, `loss ${number(curves.loss[i])}, of it Huber ${number(curves.huber[i])}`];
  found.push(`learning rate ${number(curves.lr[i], 3)}, delta ${number(curves.delta[i])}`);
  if (!facts.dense) found.push(`balance ${number(curves.gating_balance[i])}`);
  const beat = now.beats.findLast((one) => one.step <= step);
  if (beat) found.push(`beat at ${count(beat.step)}: ${SIGNALS[beat.signal]} ${number(beat.value)}`);
  return found;
}

/**
 * @param {Scene} scene
 * @param {number} width
 */
export function stepsOf({ curves: { step } }, width) {
  const first = step[0] ?? 0;
  return linear([first, Math.max(step[step.length - 1] ?? 1, first + 1)], [LEFT, width - RIGHT]);
}

/**
 * n boxes under each other.
 * @param {number} width
 * @param {number} height
 * @param {number} n
 * @returns {Box[]}
 */
export function boxes(width, height, n) {
  const tall = (height - 14 - 20 * n) / n;
  return Array.from({ length: n }, (_, k) => {
    const top = 20 + k * (tall + 18);
    return { left: LEFT, right: width - RIGHT, top, bottom: top + tall - (k === n - 1 ? 14 : 0) };
  });
}

/**
 * Curves in one box, with a legend above it and the crosshair; without `xLabel` its x-axis has no ticks either.
 * @param {Context} context
 * @param {Scene} scene
 * @param {Box} box
 * @param {Scale} x
 * @param {Curve[]} curves
 * @param {{ isLog?: boolean, xLabel?: string, goal?: number | null, low?: number | null }} how
 */
export function plot(context, scene, box, x, curves, { isLog = false, xLabel, goal = null, low = null }) {
  const { tone, cursor } = scene;
  const values = curves.map((one) => one.values);
  const range = extent(...values, goal === null ? [] : [goal]);
  const xTicks = xLabel ? undefined : [];
  if (!range) return axes(context, tone, box, { x, xLabel, xTicks, yLabel: `${curves[0].name}: not known yet` });
  if (low !== null) range[0] = Math.min(range[0], low);
  const bent = isLog && isPositive(...values);
  const y = (bent ? log : linear)(roomy(range, bent), [box.bottom, box.top]);
  axes(context, tone, box, { x, y, xLabel, xTicks, yTicks: y.ticks(box.bottom - box.top > 90 ? 5 : 3) });
  const around = { left: box.left - 5, right: box.right + 5, top: box.top - 5, bottom: box.bottom + 5 };
  clip(context, around, () => {
    curves.forEach((curve, k) => drawCurve(context, curve, x, y, DASHES[k]));
    if (goal !== null) level(context, y(goal), box, { strokeStyle: tone.ink, dash: GOAL });
    if (cursor !== null) upright(context, x(cursor), box, { strokeStyle: tone.soft });
  });
  const named = curves.map(({ name, colour }, k) => ({ name, colour, dash: DASHES[k] }));
  if (goal !== null) named.push({ name: `goal ${number(goal)}`, colour: tone.ink, dash: GOAL });
  let at = box.left;
  for (const one of named) at = legend(context, tone, at, box.top - 9, one) + 17;
}

/**
 * @param {Context} context
 * @param {Curve} curve
 * @param {Scale} x
 * @param {Scale} y
 * @param {number[]} dash
 */
function drawCurve(context, { steps, values, colour, dots }, x, y, dash) {
  trace(context, values, (i) => x(steps[i]), y, { strokeStyle: colour, lineWidth: 1.6, dash });
  if (!dots && values.length >= 3) return;
  context.fillStyle = colour;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    context.beginPath();
    context.arc(x(steps[i]), y(values[i]), i === values.length - 1 ? 4 : 2.5, 0, 7);
    context.fill();
  }
}
