// @ts-check
/** @file The table of channels by what each adds to the score of the window. */
import { button, h, replaceKeepingFocus, table } from "./elements.js";
import { number, percent, round } from "./numbers.js";

/** @typedef {import("./channels_scene.js").Scene} Scene */

const RANK_COLUMNS = ["Channel", "Score", "Share", "", "L1 | L2", "L1"];

/** @param {Scene} scene */
export function rankingView(scene) {
  const node = h("div", { class: "tm-channels-ranks" });
  const note = "L1 | L2: forecast error against distance of hidden states, as the specification weighs them.";
  return {
    node,
    show() {
      if (scene.window.isDrawn() || !scene.ranking) return;
      const inside = scene.window.now().length ? "in the window" : "all of the recording";
      const rows = scene.ranking.order.map((i, rank) => rowOf(scene, i, rank));
      const made = table(`What each channel adds to the score, ${inside}`, RANK_COLUMNS, rows);
      replaceKeepingFocus(node, [made, h("div", { class: "tm-soft" }, note)], (focused) => {
        const channel = focused.closest("tr")?.dataset.channel;
        return channel && `tr[data-channel="${CSS.escape(channel)}"] button`;
      });
    },
  };
}

/**
 * @param {Scene} scene
 * @param {number} i channel
 * @param {number} rank from 0
 */
function rowOf(scene, i, rank) {
  const { facts, ranking } = scene;
  const name = facts.channels[i];
  const isChosen = i === scene.chosen();
  const pressed = { "aria-pressed": String(isChosen) };
  const choose = button(`${rank + 1}. ${name}`, () => scene.select(i), pressed);
  const chooser = h("td", {}, choose);
  const attributes = { "data-channel": name, "aria-current": isChosen ? "true" : null };
  if (!ranking || facts.masked[i])
    return h("tr", attributes, chooser, h("td", { colspan: 4, class: "tm-channels-masked" }, "masked: takes no part"));
  const l1 = ranking.l1[i];
  const parts = [bar(l1, "tm-channels-l1"), bar(1 - l1, "tm-channels-l2")];
  return h(
    "tr",
    attributes,
    chooser,
    h("td", {}, number(ranking.mean[i], 3)),
    h("td", {}, scene.shareOf(i)),
    h("td", { class: "tm-channels-cell" }, bar(ranking.share[i], "tm-channels-share")),
    h("td", { class: "tm-channels-cell", title: `L1 ${percent(round(l1, 3))}` }, parts),
    h("td", {}, percent(round(l1, 2))),
  );
}

/**
 * @param {number} share
 * @param {string} kind
 */
const bar = (share, kind) =>
  h("span", { class: `tm-channels-bar ${kind}`, style: `width:${Math.max(0, 100 * (share || 0))}%` });
