// @ts-check
/** @file Park's vector over the ring of healthy recordings, and the negative sequence over time. */
import { RIGHT } from "./channels_scene.js";
import { nothing } from "./channels_spectrum.js";
import { backdrop, cross } from "./channels_time.js";
import { axes, clip, fillBox, inked, linear, trace } from "./plot.js";

/** @typedef {import("./channels_scene.js").Scene} Scene */
/** @typedef {import("./channels_scene.js").Gappy} Gappy */
/** @typedef {import("./plot.js").Context} Context */
/** @typedef {import("./plot.js").Scale} Scale */

const NARROW = 38; // pixels to the left
const NO_CURRENTS = "no three currents with a supply in them";

/**
 * @param {Scene} scene
 * @param {import("./plot.js").Canvas} on
 */
export function drawLocus(scene, ...[context, width, height]) {
  const { facts, physics, tone } = scene;
  const { d, q, fs, start } = physics.vector;
  const { low, high } = physics.ring;
  if (!d.length) return nothing(context, tone.ink, width, height, "Park's vector", NO_CURRENTS);
  const size = Math.max(...[...d, ...q, ...(high ?? [])].map((v) => Math.abs(v ?? 0))) * 1.06;
  const half = Math.min(width - NARROW - RIGHT, height - 54) / 2;
  const middle = [NARROW + (width - NARROW - RIGHT) / 2, 22 + half];
  const box = { left: middle[0] - half, right: middle[0] + half, top: middle[1] - half, bottom: middle[1] + half };
  const x = linear([-size, size], [box.left, box.right]);
  const y = linear([-size, size], [box.bottom, box.top]);
  const yLabel = `Park's vector, q${facts.current_unit ? ` in ${facts.current_unit}` : ""}`;
  axes(context, tone, box, { x, y, xLabel: "d", yLabel, xTicks: x.ticks(3), yTicks: y.ticks(3) });
  const [from, to] = scene.window.now();
  const inside = d.map((value, k) => {
    const t = start + k / fs;
    return to === undefined || (t >= from && t < to) ? value : null;
  });
  const atX = (/** @type {number} */ k) => x(d[k] ?? NaN);
  const atY = (/** @type {number} */ _, /** @type {number} */ k) => y(q[k] ?? NaN);
  clip(context, box, () => {
    trace(context, inside, atX, atY, { strokeStyle: tone.anomaly, lineWidth: 0.6 });
    if (low && high) annulus(context, high, low, x, y, tone.normal);
  });
}

/**
 * @param {Scene} scene
 * @param {import("./plot.js").Canvas} on
 */
export function drawNegative(scene, ...[context, width, height]) {
  const { physics, tone } = scene;
  const { time, value, low, high } = physics.negative;
  const title = "|I−| / |I+|";
  if (!time.length) return nothing(context, tone.ink, width, height, title, NO_CURRENTS);
  const box = { left: NARROW, right: width - RIGHT, top: 22, bottom: height - 32 };
  const x = scene.xOf(width, NARROW);
  const peak = Math.max(...value.map((v) => v ?? 0), high ?? 0) * 1.1 || 1;
  const y = linear([0, 100 * peak], [box.bottom, box.top]);
  backdrop(context, scene, x, box);
  axes(context, tone, box, { x, y, xLabel: "time in s", yLabel: `${title} in %` });
  clip(context, box, () => {
    const usual = { ...box, top: y(100 * (high ?? 0)), bottom: y(100 * (low ?? 0)) };
    usual.bottom = Math.max(usual.top + 2, usual.bottom);
    if (high != null) fillBox(context, usual, { fillStyle: tone.normal, globalAlpha: 0.3 });
    const share = value.map((v) => (v === null ? null : 100 * v));
    trace(context, share, (k) => x(time[k]), y, { strokeStyle: tone.anomaly, lineWidth: 1.8 });
  });
  cross(context, scene, x, box);
}

/**
 * The ring between two lengths by direction.
 * @param {Context} context
 * @param {Gappy} high
 * @param {Gappy} low
 * @param {Scale} x
 * @param {Scale} y
 * @param {string} colour
 */
function annulus(context, high, low, x, y, colour) {
  context.fillStyle = context.strokeStyle = colour;
  context.lineWidth = 1.2;
  context.beginPath();
  for (const values of [high, low]) {
    let isOpen = false;
    values.forEach((v, k) => {
      if (v == null) return;
      const angle = ((k + 0.5) * 2 * Math.PI) / values.length;
      context[isOpen ? "lineTo" : "moveTo"](x(v * Math.cos(angle)), y(v * Math.sin(angle)));
      isOpen = true;
    });
    context.closePath();
  }
  inked(context, { globalAlpha: 0.45 }, () => context.fill("evenodd"));
  context.stroke();
}
