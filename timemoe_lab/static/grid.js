// @ts-check
/** @file Tables of cells: the load of experts by layer as buttons, and how a share is coloured. */
import { cividis, css, diverging, inkOn } from "./colours.js";
import { h, table } from "./elements.js";
import { keys } from "./hands.js";
import { clamp } from "./numbers.js";

/** @typedef {ReturnType<typeof scaleOf>} ShareScale */

/**
 * How shares of E experts are coloured: by themselves up to the largest, or by their deviation from 1/E.
 * @param {ArrayLike<number>} shares
 * @param {number} even 1/E
 */
export function scaleOf(shares, even, palette = "share") {
  return { palette, even, most: Math.max(2 * even, ...Array.from(shares).filter(Number.isFinite)) };
}

/**
 * The colour of a share: by itself up to `most`, or by its deviation from 1/E, which is 0 at 0 and full at 2/E.
 * @param {number} share
 * @param {ShareScale} scale
 */
export function colourOf(share, { palette, even, most }) {
  if (!Number.isFinite(share)) return null;
  return palette === "deviation" ? diverging((share - even) / even) : cividis(share / most);
}

/**
 * Colours a cell by its share, with ink that can be read on it.
 * @param {HTMLElement} node
 * @param {number} share
 * @param {ShareScale} scale
 */
export function paint(node, share, scale) {
  const colour = colourOf(share, scale);
  node.style.background = colour ? css(colour) : "none";
  node.style.color = colour ? inkOn(colour) : "inherit";
}

/**
 * @param {number} layer
 * @param {number} expert
 */
export const expertName = (layer, expert) => `layer ${layer}, expert ${expert}`;

/** @param {number} n */
export const expertHeads = (n) => Array.from({ length: n }, (_, expert) => `E${expert}`);

/**
 * @typedef {object} Load one layer of the table
 * @property {ArrayLike<number>} shares by expert
 * @property {number[]} dead experts
 * @property {string[]} [more] texts of the columns after the experts
 */

/**
 * A table of buttons, one for each expert of each layer; one takes the focus, and arrow keys move it.
 * @param {object} how
 * @param {number[]} how.layers
 * @param {number} how.nExperts
 * @param {string[]} [how.columns] after the experts
 * @param {(layer: number, expert: number) => void} how.choose
 * @param {import("./hands.js").KeyTable} [how.more] keys
 */
export function expertGrid({ layers, nExperts, columns = [], choose, more = {} }) {
  const caption = h("caption", {});
  const buttons = layers.map((layer, row) =>
    Array.from({ length: nExperts }, (_, expert) => {
      const onclick = () => (stopAt([row, expert]), choose(layer, expert));
      return h("button", { type: "button", tabindex: -1, onclick });
    }),
  );
  const beside = layers.map(() => columns.map(() => h("td", { role: "gridcell" })));
  const rows = buttons.map((row, i) => {
    const cells = row.map((one) => h("td", { role: "gridcell" }, one));
    return h("tr", {}, h("th", { scope: "row" }, String(layers[i])), cells, beside[i]);
  });
  const node = table(caption, ["Layer", ...expertHeads(nExperts), ...columns], rows, { role: "grid" });

  /** @param {[number, number]} here row and expert */
  function stopAt([row, expert]) {
    buttons.forEach((cells, i) => cells.forEach((one, k) => (one.tabIndex = i === row && k === expert ? 0 : -1)));
    return buttons[row][expert];
  }
  buttons.forEach((cells, row) =>
    cells.forEach((one, expert) => {
      /** @type {(down: number, right: number) => () => void} */
      const go = (down, right) => () =>
        stopAt([clamp(row + down, 0, layers.length - 1), clamp(expert + right, 0, nExperts - 1)]).focus();
      keys(one, {
        ArrowLeft: go(0, -1),
        ArrowRight: go(0, 1),
        ArrowUp: go(-1, 0),
        ArrowDown: go(1, 0),
        Home: go(0, -Infinity),
        End: go(0, Infinity),
        ...more,
      });
    }),
  );

  let stop = ""; // the chosen cell that took the stop

  /**
   * @param {Load[]} loads by layer
   * @param {ShareScale} scale
   * @param {[number, number]} chosen row and expert, -1 for none
   * @param {(share: number) => string} tell a share in words
   */
  function show(loads, scale, chosen, tell) {
    loads.forEach(({ shares, dead, more: texts = [] }, row) => {
      buttons[row].forEach((one, expert) => {
        const share = shares[expert];
        const isDead = dead.includes(expert);
        const isChosen = row === chosen[0] && expert === chosen[1];
        paint(one, share, scale);
        one.textContent = Number.isFinite(share) ? `${isDead ? "† " : ""}${(100 * share).toFixed(1)}` : "–";
        one.classList.toggle("tm-dead", isDead);
        one.classList.toggle("tm-chosen", isChosen);
        one.parentElement?.setAttribute("aria-selected", String(isChosen));
        const name = `${expertName(layers[row], expert)}: ${tell(share)} of the choices${isDead ? ", dead" : ""}`;
        one.setAttribute("aria-label", name);
      });
      beside[row].forEach((cell, i) => (cell.textContent = texts[i]));
      rows[row].classList.toggle("tm-layer", row === chosen[0]);
    });
    if (String(chosen) !== stop) stopAt([Math.max(0, chosen[0]), Math.max(0, chosen[1])]);
    stop = String(chosen);
  }
  return { node, caption, buttons, show };
}
