// @ts-check
/** @file How far the run is: its state, its steps, how old what is shown is, and the numbers of the last step. */
import { h, put } from "./elements.js";
import { emptyState } from "./frame.js";
import { ago, clock, SIGNALS, WORDS } from "./live_words.js";
import { isAlive } from "./model.js";
import { count, number, percent } from "./numbers.js";

/** @typedef {import("./live.js").Scene} Scene */

/** @param {Scene} scene */
export function progressView(scene) {
  const { state, facts, panel } = scene;
  const word = h("span", { class: "tm-live-state" });
  const bar = h("progress", { "aria-label": "Steps done" });
  const far = h("span", {});
  const age = h("span", { class: "tm-soft" });
  const problem = h("div", { class: "tm-warning", role: "note", hidden: true });
  const empty = h("div", { hidden: true });
  const all = h("div", {});
  let heardAt = performance.now();

  function showAge() {
    const seconds = (performance.now() - heardAt) / 1000;
    const time = scene.now.time?.replace("T", " ").replace("+00:00", " UTC");
    const last = time ? `last event ${time}` : "";
    const isOld = seconds > facts.every_s + 3;
    panel.root.dataset.age = String(Math.floor(seconds));
    const told = isOld ? `updated ${ago(seconds)}` : "up to date";
    const busy = isOld && isAlive(state.model) ? ": the kernel is busy" : "";
    put(age, state.model.standIn ? last : told + busy);
    age.title = last;
  }
  function show() {
    const { now } = scene;
    problem.hidden = !now.problem;
    problem.textContent = now.problem ?? "";
    const isEmpty = !scene.curves.step.length;
    all.hidden = isEmpty || !now.state;
    if (!now.state) return;
    empty.hidden = !isEmpty;
    const begun = "A process has begun; its first step isn't logged yet.";
    const none = now.live ? emptyState(begun) : emptyState("No step has been logged. Go on with", facts.resume);
    empty.replaceChildren(isEmpty ? none : "");
    word.textContent = WORDS[now.state] ?? now.state;
    word.dataset.word = now.state;
    bar.max = 1;
    bar.value = shareDone(scene);
    far.textContent = partsOf(scene).join(" · ");
    showAge();
  }
  return {
    nodes: [h("div", { class: "tm-row tm-live-row" }, word, bar, far, age), problem, empty, all],
    all,
    show,
    showAge,
    heard() {
      heardAt = performance.now();
      showAge();
    },
  };
}

/** @param {Scene} scene */
const shareDone = ({ now }) => (now.steps ? Math.min(1, now.step / now.steps) : 0);

/** @param {Scene} scene */
function partsOf(scene) {
  const { now } = scene;
  const parts = [`step ${count(now.step)} of ${count(now.steps)}`, percent(Number(shareDone(scene).toFixed(3)))];
  if (now.left_s != null) parts.push(`${clock(now.left_s)} left`);
  if (now.device !== "unknown") parts.push(now.device);
  if (now.speed?.tokens_per_s) parts.push(`${count(now.speed.tokens_per_s)} tokens/s`);
  return parts;
}

/** @param {Scene} scene */
export function factsView(scene) {
  const node = h("dl", { class: "tm-live-facts" });
  return {
    node,
    show() {
      const { now, facts } = scene;
      const beat = scene.beat();
      const rows = [
        ["Loss", number(now.loss)],
        ["of it Huber", number(now.huber)],
        ["Learning rate", number(now.lr, 3)],
        ["Huber delta", number(now.knobs.delta)],
        ["Gating balance", facts.dense ? "dense model" : number(now.gating_balance)],
        [SIGNALS[beat?.signal ?? "f1"], number(beat?.value)],
        ["Threshold", number(beat?.threshold)],
        ["Next beat", now.next_beat],
      ];
      node.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    },
  };
}
