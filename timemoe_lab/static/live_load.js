// @ts-check
/** @file The load of the experts over the last steps, as a table of cells. */
import { h } from "./elements.js";
import { expertGrid, expertName, scaleOf } from "./grid.js";
import { deadOf } from "./live_words.js";
import { count, number, percent } from "./numbers.js";

/** @typedef {import("./live.js").Scene} Scene */

/** @param {Scene} scene */
export function loadView(scene) {
  const { state, panel, facts } = scene;
  if (facts.dense) return { nodes: [h("p", { class: "tm-empty" }, "A dense model: it has no experts.")], show() {} };
  const map = h("div", { class: "tm-live-map tm-map tm-live-scroll" });
  const dead = h("p", {});
  /** @type {ReturnType<typeof expertGrid> | null} */
  let grid = null;
  let shape = ""; // of the grid that stands

  /** @type {(layer: number, expert: number) => void} */
  function choose(layer, expert) {
    state.set({ layer, expert });
    const found = scene.now.routing.layers.find((one) => one.layer === layer);
    const lost = found?.dead.includes(expert) ? ", dead" : "";
    panel.say(`${expertName(layer, expert)}: ${percent(found?.load[expert])}${lost}`);
  }
  function show() {
    const { layers, even, steps, note } = scene.now.routing;
    if (!layers.length) return map.replaceChildren(h("p", { class: "tm-soft" }, note));
    const ids = layers.map((one) => one.layer);
    const nExperts = layers[0].load.length;
    if (!grid || shape !== `${ids} ${nExperts}`)
      grid = expertGrid({ layers: ids, nExperts, columns: ["Balance"], choose });
    shape = `${ids} ${nExperts}`;
    if (!map.contains(grid.node)) map.replaceChildren(grid.node);
    const shares = layers.flatMap((one) => one.load);
    const scale = scaleOf(shares, even);
    const loads = layers.map((one) => ({ shares: one.load, dead: one.dead, more: [number(one.balance, 3)] }));
    grid.show(loads, scale, [ids.indexOf(state.get("layer")), state.get("expert")], percent);
    const [first, last] = [count(steps[0]), count(steps[steps.length - 1])];
    const span = steps.length > 1 ? `mean of steps ${first} to ${last}` : `step ${steps[0]}`;
    grid.caption.textContent = `% of a layer's choices, ${span}; even is ${percent(even)}. † is dead.`;
    dead.textContent = `${note[0].toUpperCase()}${note.slice(1)}.`;
    dead.className = deadOf(layers).length ? "tm-warning" : "tm-soft";
  }
  const head = h("div", { class: "tm-row" }, h("strong", {}, "Load of the experts"));
  return { nodes: [head, map, dead], show, choose: show };
}
