// @ts-check
/**
 * @file The physics of the window: what it is of, its three pictures and their tables, and asking the kernel for it.
 */
import { spectrumView } from "./channels_spectrum.js";
import { drawLocus, drawNegative } from "./channels_vector.js";
import { h, tableView } from "./elements.js";
import { ask } from "./model.js";
import { number, percent, round, seconds } from "./numbers.js";
import { sheet } from "./plot.js";

/** @typedef {import("./channels_scene.js").Scene} Scene */

const LOCUS = "Park's vector, d against q, over the ring of healthy recordings; its table is below";
const NEGATIVE = "Negative sequence over time, over the band of healthy recordings; its table is below";

/**
 * @param {Scene} scene
 * @param {(isSettled: boolean) => void} refresh
 */
export function physicsView(scene, refresh) {
  const basis = h("div", { class: "tm-soft", role: "status" });
  const spectrum = spectrumView(scene);
  const parts = [h("div", {}), h("div", {})];
  const locus = sheet(parts[0], { height: 190, label: LOCUS, draw: (...on) => drawLocus(scene, ...on) });
  const negative = sheet(parts[1], { height: 190, label: NEGATIVE, draw: (...on) => drawNegative(scene, ...on) });
  scene.sheets.push(spectrum.sheet, locus, negative);
  const asking = askPhysics(scene, basis, refresh);
  return {
    nodes: [
      h("div", { class: "tm-channels-basis" }, basis),
      spectrum.node,
      h("div", { class: "tm-channels-pair" }, parts),
      legendOfRanges(),
      spectrum.table,
      ...tables(scene),
    ],
    ask: asking.ask,
    show() {
      basis.textContent = basisOf(scene);
      spectrum.show();
    },
    close: asking.close,
  };
}

/**
 * Asks the kernel once for the physics of each window.
 * @param {Scene} scene
 * @param {HTMLElement} basis where an error is told
 * @param {(isSettled: boolean) => void} refresh
 */
function askPhysics(scene, basis, refresh) {
  const { state, facts } = scene;
  /** @type {number[] | null} */
  let asked = null;
  let isShown = true;
  async function askNow() {
    const wanted = scene.window.now();
    const isHere = state.get("recording") === facts.name || !facts.names?.includes(state.get("recording"));
    if (!isHere || String(wanted) === String(asked ?? scene.physics.window) || !scene.alive()) return;
    asked = wanted;
    try {
      /** @type {import("./channels_scene.js").Physics} */
      const answer = await ask(state.model, { recording: facts.name, window: wanted });
      if (isShown && asked === wanted) scene.physics = answer;
    } catch (error) {
      if (isShown) basis.textContent = error instanceof Error ? error.message : String(error);
      return;
    }
    if (isShown) refresh(false); // another recording may have come in the meantime
  }
  return { ask: askNow, close: () => (isShown = false) };
}

/**
 * What the physics is of, as a sentence.
 * @param {Scene} scene
 */
function basisOf({ physics, window, alive }) {
  const [start, end] = physics.window;
  const of = end === undefined ? "of the whole recording" : `of the window ${seconds(start)} to ${seconds(end)}`;
  const wanted = window.now();
  const late = !window.isDrawn() && String(wanted) !== String(physics.window) && wanted.length > 0;
  const why = alive() ? " (the window is being looked at)" : " (no kernel: not of the window)";
  return `Physics ${of}${late ? why : ""}: ${supplyText(physics)}. Healthy range: ${physics.words}.`;
}

/** @param {import("./channels_scene.js").Physics} physics */
function supplyText({ supply_hz: supply, slip }) {
  if (supply === null) return "no supply line found in three currents, or too short a window: no lines are marked";
  const known = `supply ${number(supply)} Hz`;
  if (slip === null) return `${known}; slip unknown: only the unmodulated harmonics are marked`;
  return `${known}; slip ${percent(round(slip))} from the currents: (k ± n(1−s)/p) f marked, dashed`;
}

function legendOfRanges() {
  const own = h("i", { class: "tm-channels-own" });
  const usual = h("i", { class: "tm-channels-usual" });
  const label = h("i", { class: "tm-channels-label" });
  const texts = [" this recording ", " healthy, lowest to highest ", " fault (label)"];
  return h("div", { class: "tm-channels-key" }, own, texts[0], usual, texts[1], label, texts[2]);
}

/** @param {Scene} scene */
function tables(scene) {
  return [
    tableView("negative sequence over time", ["Time in s", "Share"], () => {
      const { time, value } = scene.physics.negative;
      return time.map((t, k) => [number(t), percent(value[k])]);
    }),
    tableView("Park's vector: mean length by direction", ["Degrees", "Length", "Healthy low", "Healthy high"], () => {
      const { value, low, high } = scene.physics.ring;
      const numbers = (/** @type {number} */ k) => [value[k], low?.[k], high?.[k]].map((v) => number(v));
      return value.map((_, k) => [(360 / value.length) * k, ...numbers(k)]);
    }),
  ];
}
