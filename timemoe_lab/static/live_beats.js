// @ts-check
/**
 * @file The beats: F1 and threshold over them, the table whose buttons take a beat's threshold, and what was decided.
 */
import { button, focusable, h, replaceKeepingFocus, table } from "./elements.js";
import { boxes, picture, plot, stepsOf } from "./live_curves.js";
import { requestText, SIGNALS, verdict } from "./live_words.js";
import { count, number } from "./numbers.js";

/** @typedef {import("./live.js").Scene} Scene */
/** @typedef {import("./live.js").Beat} Beat */

/** @param {Scene} scene */
export function beatsPicture(scene) {
  const { state, facts } = scene;
  const parent = h("div", {});
  const head = h("span", { class: "tm-soft" });
  const view = picture(scene, parent, {
    height: 250,
    label: "F1 and threshold over beats",
    draw(context, width, height) {
      const { tone, now } = scene;
      const [above, below] = boxes(width, height, 2);
      const signal = scene.beat()?.signal ?? "f1";
      const x = stepsOf(scene, width);
      const steps = now.beats.map((one) => one.step);
      const measured = now.beats.map((one) => (one.signal === signal ? (one.value ?? NaN) : NaN));
      const goal = signal === "held_out" ? null : facts.goal;
      const curve = { name: SIGNALS[signal], steps, values: measured, colour: tone.fbeta, dots: true };
      plot(context, scene, above, x, [curve], { goal });
      const own = now.beats.map((one) => one.threshold ?? NaN);
      const curves = [{ name: "threshold", steps, values: own, colour: tone.threshold, dots: true }];
      const chosen = state.get("threshold");
      if (chosen != null && chosen !== scene.beat()?.threshold) {
        const ends = { steps: [x.low, x.high], values: [chosen, chosen] };
        curves.push({ name: `chosen ${number(chosen)}`, ...ends, colour: tone.link, dots: false });
      }
      plot(context, scene, below, x, curves, { xLabel: "step" });
    },
  });
  return {
    nodes: [h("div", { class: "tm-row" }, h("strong", {}, "Over the beats"), head), parent],
    choose: view.redraw,
    show() {
      const beat = scene.beat();
      head.textContent = !beat ? "none yet" : beat.signal === "held_out" ? "" : verdict(beat.value, facts.goal);
      const last = `at the last of ${scene.now.beats.length} beats`;
      const told =
        beat && `${SIGNALS[beat.signal]} ${number(beat.value)} and threshold ${number(beat.threshold)} ${last}`;
      view.canvas.setAttribute("aria-label", told ?? "F1 and threshold: no beat yet");
    },
  };
}

/** @param {Scene} scene */
export function beatsView(scene) {
  const { state, panel } = scene;
  const box = h("div", { class: "tm-live-scroll tm-live-beats", role: "region" });
  const note = h("p", { class: "tm-soft" });
  focusable(box, "Beats and epochs");
  let drawn = "";
  /** @type {{ node: HTMLButtonElement, beat: Beat }[]} */
  let takers = []; // the buttons that take a threshold

  function mark() {
    const chosen = state.get("threshold");
    takers.forEach(({ node, beat }) => node.setAttribute("aria-pressed", String(beat.threshold === chosen)));
  }
  /** @type {(beat: Beat, text: string) => HTMLButtonElement} */
  function taker(beat, text) {
    const take = () => {
      state.set({ threshold: beat.threshold });
      panel.say(`Threshold ${number(beat.threshold)}`);
    };
    const label = `Beat at step ${beat.step}: take its threshold ${number(beat.threshold)}`;
    const node = button(text, take, { "data-beat": beat.step, "aria-label": label });
    takers.push({ node, beat });
    return node;
  }
  function show() {
    const { columns, rows } = scene.now.table;
    const text = JSON.stringify(scene.now.table);
    if (text === drawn) return;
    drawn = text;
    takers = [];
    note.textContent = noteOf(scene);
    const made = beatRows(scene, taker);
    const whole = rows.length ? table(null, columns, made, { "aria-label": "Beats and epochs" }) : "";
    replaceKeepingFocus(box, [whole], ({ dataset }) => dataset.beat && `[data-beat="${dataset.beat}"]`);
  }
  return { node: h("div", {}, note, box), show, choose: mark };
}

/** @param {Scene} scene */
function noteOf({ now }) {
  const { rows, left_out: leftOut, every } = now.table;
  if (!rows.length) return "No beat and no epoch yet.";
  const more = leftOut ? ` ${count(leftOut)} earlier rows are left out.` : "";
  const some = every > 1 ? ` One epoch of ${every} is shown.` : "";
  return `Beats and epochs, the newest first; a beat's button takes its threshold.${more}${some}`;
}

/**
 * The rows of beats and epochs, the newest first.
 * @param {Scene} scene
 * @param {(beat: Beat, text: string) => HTMLElement} taker
 */
function beatRows({ now }, taker) {
  const { rows } = now.table;
  const newest = rows.findLastIndex((row) => row.is_beat);
  let place = now.beats.length - rows.filter((row) => row.is_beat).length; // of the next row's beat
  const made = rows.map(({ cells, is_beat: isBeat }, i) => {
    const first = isBeat ? taker(now.beats[place++], cells[0]) : cells[0];
    const last = `${cells[cells.length - 1]}${i === newest ? ", newest" : ""}`;
    const contents = [first, ...cells.slice(1, -1), last].map((content) => h("td", {}, content));
    const attributes = { class: i === newest ? "tm-live-newest" : null, "data-kind": isBeat ? "beat" : "epoch" };
    return h("tr", attributes, contents);
  });
  return made.reverse();
}

/** @param {Scene} scene */
export function newsView(scene) {
  const node = h("div", { class: "tm-live-news" });
  return {
    node,
    show() {
      const { now } = scene;
      const parts = [
        { name: "Asked, without an answer yet", lines: now.pending.map(requestText) },
        { name: "Warnings", lines: now.warnings },
        { name: "Decisions", lines: now.decisions },
      ].filter(({ lines }) => lines.length);
      const items = (/** @type {string[]} */ lines) => lines.toReversed().map((text) => h("li", {}, text));
      node.replaceChildren(...parts.flatMap(({ name, lines }) => [h("h4", {}, name), h("ul", {}, items(lines))]));
    },
  };
}
