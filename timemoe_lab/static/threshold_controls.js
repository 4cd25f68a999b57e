// @ts-check
/** @file What is set beside the pictures: beta, the base rate, operating points to jump to, and the export. */
import { button, h } from "./elements.js";
import { ask, isAlive, watchKernel } from "./model.js";
import { clamp, number, percent } from "./numbers.js";
import { single } from "./threshold_counts.js";

/** @typedef {import("./threshold.js").Data} Data */
/** @typedef {import("./threshold.js").Now} Now */
/** @typedef {import("./threshold.js").Hands} Hands */
/** @typedef {import("./threshold.js").State} State */
/** @typedef {import("./frame.js").Panel} Panel */

const BASE = [-5, Math.log10(0.5)]; // of the base-rate slider, in powers of ten

/**
 * @param {State} state
 * @param {Panel} panel
 * @param {Data} data
 * @param {() => Now} now
 * @param {Hands} hands
 */
export function controlsView(state, panel, data, now, hands) {
  const short = (/** @type {number} */ value) => Number(value.toPrecision(3));
  const beta = slider("β", -3, 3, (v) => state.set({ beta: short(2 ** v) }));
  const base = slider("base rate", BASE[0], BASE[1], (v) => state.set({ base_rate: short(10 ** v) }));
  const title = "The share of faulty samples in these scores";
  const asHere = button("as scored", () => state.set({ base_rate: null }), { title });
  const exporting = exportView(state, panel, now);
  const node = h(
    "div",
    { class: "tm-controls" },
    data.label && beta.node,
    data.label && h("div", { class: "tm-row" }, base.node, asHere),
    exporting.node,
  );
  const points = pointsView(state.facts(), data, hands);

  /** @param {Now} at */
  function show(at) {
    beta.show(Math.log2(at.beta), number(at.beta, 3), `beta ${number(at.beta, 3)}`);
    const place = Math.log10(clamp(at.base, 1e-5, 0.5));
    base.show(place, percent(at.base), `${percent(at.base)} of the samples faulty`);
    asHere.setAttribute("aria-pressed", String(state.get("base_rate") == null));
    points.show(at);
  }
  return { node, points: points.node, show, send: exporting.send };
}

/**
 * @param {string} name
 * @param {number} min
 * @param {number} max
 * @param {(value: number) => void} move
 */
function slider(name, min, max, move) {
  const oninput = () => move(Number(input.value));
  const input = h("input", { type: "range", min, max, step: 0.01, "aria-label": name, oninput });
  const shown = h("output", {});
  return {
    node: h("label", { class: "tm-slider" }, h("span", {}, name), input, shown),
    /**
     * @param {number} value
     * @param {string} text
     * @param {string} spoken
     */
    show(value, text, spoken) {
      input.value = String(value);
      input.setAttribute("aria-valuetext", spoken);
      shown.textContent = text;
    },
  };
}

/**
 * @param {State} state
 * @param {Panel} panel
 * @param {() => Now} now
 */
function exportView(state, panel, now) {
  const facts = state.facts();
  const message = h("span", { class: "tm-message", role: "status" });
  const exported = button("Export (E)", send);
  const can = () => facts.can_export && isAlive(state.model);
  const title = () => {
    if (!facts.can_export) return facts.why_not ?? "";
    return can() ? `Writes ${facts.path}` : "Export needs a kernel";
  };
  const undo = button("Undo", () => said({ kind: "undo" }, ({ threshold }) => `back to ${number(threshold)}`));
  undo.hidden = true;
  /** @type {number | null} */
  let asked = null; // the threshold that the next press confirms
  /**
   * @param {object} wanted
   * @param {(done: { threshold: any, path: string, author: string }) => string} text
   */
  async function said(wanted, text) {
    exported.disabled = undo.disabled = true;
    message.textContent = "asked the kernel …";
    let done = false;
    try {
      message.textContent = text(await ask(state.model, wanted));
      done = true;
    } catch (error) {
      message.textContent = error instanceof Error ? error.message : String(error);
    }
    exported.disabled = undo.disabled = !can();
    return done;
  }
  async function send() {
    if (exported.disabled) return;
    const { threshold, beta } = now();
    if (asked !== threshold) {
      const seen = facts.split === "test" ? " Chosen on the test recordings: every later report says so." : "";
      await said({ kind: "in force" }, (old) => {
        const there = old.threshold === null ? "nothing" : `${number(old.threshold)} (${old.author})`;
        return `${number(threshold)} replaces ${there}. Press Export again to confirm.${seen}`;
      });
      asked = threshold;
      return;
    }
    asked = null;
    const wanted = { kind: "export", threshold, beta, base_rate: state.get("base_rate") };
    const done = await said(wanted, (to) => `threshold ${number(to.threshold)} written to ${to.path}`);
    if (done) panel.root.dataset.exported = String(threshold);
    undo.hidden = !done || !facts.can_undo;
  }
  panel.onClose(
    watchKernel(state.model, () => {
      exported.disabled = undo.disabled = !can();
      exported.title = title();
    }),
  );
  return { node: h("div", { class: "tm-row" }, exported, undo, message), send };
}

/**
 * @param {import("./threshold.js").Facts} facts
 * @param {Data} data
 * @param {Hands} hands
 */
function pointsView(facts, data, hands) {
  const best = data.label && data.positive.length ? button("", hands.best) : null;
  const known = (facts.points ?? []).filter((point) => Number.isFinite(point.threshold));
  const buttons = known.map(({ name, split, threshold }) => {
    const attributes = { "data-point": name, title: `chosen on ${split}` };
    return button(`${name} ${number(threshold)}`, () => hands.to(threshold), attributes);
  });
  const oracle = "An oracle is chosen on the test recordings themselves: a bound, not a result.";
  const node = h(
    "div",
    { class: "tm-row tm-points", role: "group", "aria-label": "Operating points" },
    h("span", { class: "tm-soft" }, "Jump to"),
    buttons,
    best,
    facts.split === "test" && data.label ? h("span", { class: "tm-soft" }, oracle) : null,
  );
  return {
    node,
    /** @param {Now} at */
    show({ threshold, beta }) {
      known.forEach((p, i) => buttons[i].setAttribute("aria-pressed", String(single(p.threshold) === threshold)));
      if (best) best.textContent = `${facts.split === "test" ? "oracle" : "best"} F${number(beta, 3)} (M)`;
    },
  };
}
