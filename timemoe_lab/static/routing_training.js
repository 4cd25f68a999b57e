// @ts-check
/** @file Entropy, balance and the chosen expert's load over the training. */
import { h, tableView } from "./elements.js";
import { expertName } from "./grid.js";
import { readArray } from "./model.js";
import { count, number, someOf } from "./numbers.js";
import { axes, legend, linear, print, sheet, trace, upright } from "./plot.js";
import { LEFT, RIGHT } from "./routing_time.js";

/** @typedef {import("./routing_scene.js").Scene} Scene */
/** @typedef {ReturnType<typeof historyOf>} History */

/** @param {Scene} scene */
function historyOf({ state }) {
  const row = (/** @type {string} */ name) => readArray(state.model, name) ?? new Float64Array(0);
  return {
    step: row("step"),
    entropy: row("entropy"),
    balance: row("gating_balance"),
    dead: row("n_dead"),
    load: row("expert_load"), // (step * layer * expert)
  };
}

/** @param {Scene} scene */
export function trainingView(scene) {
  const history = historyOf(scene);
  const n = history.step.length;
  const none = "No step of a training has been logged with its routing.";
  if (!n) return { node: h("div", {}, h("div", { class: "tm-empty" }, none)), show() {} };
  const node = h("div", {});
  const draw = (/** @type {import("./plot.js").Canvas} */ ...on) => drawTraining(scene, history, ...on);
  const view = sheet(node, { height: 190, label: "Entropy and balance over the training", draw });
  scene.panel.onClose(view.close);
  const columns = ["Step", "Entropy", "Balance", "Dead"];
  const rows = () =>
    someOf(n).map((k) => [
      count(history.step[k]),
      number(history.entropy[k]),
      number(history.balance[k]),
      history.dead[k],
    ]);
  node.append(tableView("entropy, balance and dead experts over the training", columns, rows));
  const last = `Entropy ${number(history.entropy[n - 1])} and balance ${number(history.balance[n - 1])}`;
  view.canvas.setAttribute("aria-label", `${last} at the last step; their table is below`);
  return { node, show: view.redraw };
}

/**
 * @param {Scene} scene
 * @param {History} history
 * @param {import("./plot.js").Canvas} on
 */
function drawTraining(scene, { step, entropy, balance, load }, ...[context, width, height]) {
  const { tone, nLayers, nExperts } = scene;
  const [layer, expert] = [scene.layer(), scene.expert()];
  const box = { left: LEFT, right: width - RIGHT, top: 36, bottom: height - 32 };
  const x = linear([step[0], step[step.length - 1]], [box.left, box.right]);
  const y = linear([0, Math.max(1.05, ...balance)], [box.bottom, box.top]);
  const curves = [
    { name: "entropy (1 is even)", values: Array.from(entropy), colour: tone.normal, dash: [] },
    { name: "balance (0 is even)", values: Array.from(balance), colour: tone.anomaly, dash: [6, 3] },
  ];
  if (expert >= 0 && load.length) {
    const values = Array.from(step, (_, k) => load[(k * nLayers + layer) * nExperts + expert]);
    curves.push({ name: `load of ${expertName(layer, expert)}`, values, colour: tone.fbeta, dash: [2, 2] });
  }
  axes(context, tone, box, { x, y, xLabel: "step of the training, one batch each" });
  const at = scene.facts.step;
  if (at != null) {
    const across = x(at) > (box.left + box.right) / 2 ? "right" : "left";
    upright(context, x(at), box, { strokeStyle: tone.ink });
    print(context, tone.ink, across, "top", " checkpoint ", x(at), box.top + 4);
  }
  let left = 2;
  for (const curve of curves) {
    const { values, colour: strokeStyle, dash } = curve;
    trace(context, values, (k) => x(step[k]), y, { strokeStyle, lineWidth: 1.8, dash });
    left = legend(context, tone, left, 12, curve) + 20;
    if (left > width - 120) left = 2;
  }
}
