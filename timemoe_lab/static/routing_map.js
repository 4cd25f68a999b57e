// @ts-check
/** @file The map of layers and experts with its scale of colours, what it comes to, and one layer by class. */
import { css } from "./colours.js";
import { h, table, tableView } from "./elements.js";
import { colourOf, expertGrid, expertHeads, expertName, paint } from "./grid.js";
import { count, number, percent, round, sum } from "./numbers.js";
import { mean, sharesOf } from "./routing_numbers.js";

/** @typedef {import("./routing_scene.js").Scene} Scene */

const LAYER_COLUMNS = ["Layer", "Entropy", "Balance", "Least", "Most"];

/**
 * @param {Scene} scene
 * @param {import("./hands.js").Tip} tip
 * @param {(layer: number, expert: number) => void} drill
 */
export function mapView(scene, tip, drill) {
  const { nLayers, nExperts } = scene;
  const layers = Array.from({ length: nLayers }, (_, layer) => layer);
  const sharesOfLayer = (/** @type {number} */ l) => scene.load.share.subarray(l * nExperts, (l + 1) * nExperts);
  const grid = expertGrid({ layers, nExperts, choose: drill, more: { d: scene.turnPalette } });
  grid.buttons.forEach((row, layer) =>
    row.forEach((button, expert) => {
      button.addEventListener("pointermove", (event) => {
        const share = percent(sharesOfLayer(layer)[expert]);
        const lines = [`${expertName(layer, expert)}: ${share} of the choices`, `1/E is ${percent(scene.even)}`];
        tip.show(event, lines);
      });
      button.addEventListener("pointerleave", tip.hide);
    }),
  );
  const legend = scaleView(scene);
  const sums = h("div", { class: "tm-routing-sums" });
  const rows = () =>
    layers.map((l) => {
      const row = sharesOfLayer(l);
      const ends = [Math.min(...row), Math.max(...row)].map((share) => percent(round(share)));
      return [l, number(scene.load.entropy[l]), number(scene.load.balance[l]), ...ends];
    });
  return {
    node: [
      h("div", { class: "tm-routing-map tm-map" }, grid.node, legend.nodes),
      sums,
      tableView("entropy and balance by layer", LAYER_COLUMNS, rows),
    ],
    show() {
      const { load } = scene;
      const loads = layers.map((l) => ({
        shares: sharesOfLayer(l),
        dead: load.dead.filter(([layer]) => layer === l).map(([, expert]) => expert),
      }));
      const scale = scene.scale(load.share);
      grid.show(loads, scale, [scene.layer(), scene.expert()], (share) => percent(round(share)));
      grid.caption.textContent = `Share of each layer's choices in %: ${countedText(scene)}`;
      legend.show(scale);
      sums.replaceChildren(...sumsOf(scene));
    },
  };
}

/**
 * What is counted, in words.
 * @param {Scene} scene
 */
function countedText({ facts, scope, series, track }) {
  const { name, series: channels } = track();
  const here = `${name}${scope() === "window" ? ", in window" : ", all of it"}`;
  const of = scope() === "all" ? `all ${facts.tracks.length} recordings` : here;
  return series() < 0 ? of : `${of}, ${channels[series()]}`;
}

/**
 * Entropy, balance and dead experts.
 * @param {Scene} scene
 */
function sumsOf({ load, facts }) {
  const dead = load.dead.map(([layer, expert]) => `layer ${layer} expert ${expert}`).join(", ");
  const least = percent(facts.dead_share);
  const means = `Entropy ${number(mean(load.entropy))} (1 is even), balance ${number(mean(load.balance))} (0 is even)`;
  return [
    h("div", {}, `${means}, means over layers.`),
    dead
      ? h("div", { class: "tm-warning" }, `† Dead, under ${least} of the tokens: ${dead}.`)
      : h("div", {}, `No dead expert: each takes at least ${least} of the tokens.`),
  ];
}

/**
 * The scale of colours with 1/E marked.
 * @param {Scene} scene
 */
function scaleView({ even }) {
  const mark = h("span", { class: "tm-routing-even" });
  const bar = h("div", { class: "tm-routing-bar", role: "img" }, mark);
  const ends = h("div", { class: "tm-routing-ends tm-soft" });
  return {
    nodes: [bar, ends],
    /** @param {import("./grid.js").ShareScale} scale */
    show(scale) {
      const isDeviation = scale.palette === "deviation";
      const most = isDeviation ? 2 * even : scale.most;
      const stops = Array.from({ length: 12 }, (_, k) => css(colourOf((most * k) / 11, scale) ?? []));
      bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
      bar.setAttribute("aria-label", `Colours from 0 to ${percent(round(most))}; 1/E is ${percent(even)}`);
      mark.style.left = `${(100 * even) / most}%`;
      /** @type {(text: string, share: number) => HTMLElement} */
      const end = (text, share) => h("span", { style: `left:${100 * share}%` }, text);
      ends.replaceChildren(
        end("0", 0),
        end(`1/E = ${percent(round(even))}`, even / most),
        end(`${percent(round(most))}${isDeviation ? " and more" : ""}`, 1),
      );
    },
  };
}

/**
 * The chosen layer's load by class and condition.
 * @param {Scene} scene
 */
export function classesView(scene) {
  const { facts, grouped, nLayers, nExperts } = scene;
  const node = h("div", { class: "tm-routing-map tm-map" });
  const columns = ["Class, condition", ...expertHeads(nExperts), "Tokens"];
  return {
    node,
    show() {
      const layer = scene.layer();
      const chosen = scene.expert();
      const choices = facts.groups.map((_, g) => {
        const from = (g * nLayers + layer) * nExperts;
        return grouped.subarray(from, from + nExperts);
      });
      const scale = scene.scale(choices.flatMap(sharesOf));
      const rows = choices.map((own, g) => {
        const cells = sharesOf(own).map((share, e) => {
          const cell = h("td", { class: e === chosen ? "tm-chosen" : null }, (100 * share).toFixed(1));
          paint(cell, share, scale);
          return cell;
        });
        const tokens = h("td", {}, count(sum(own) / facts.top_k));
        return h("tr", {}, h("th", { scope: "row" }, facts.groups[g]), cells, tokens);
      });
      const caption = `Layer ${layer} by class and condition: % of the choices in all recordings`;
      node.replaceChildren(table(caption, columns, rows, { "data-classes": layer }));
    },
  };
}
