// @ts-check
/** @file The frame around a panel: title, help, theme, kernel, and its life from the first drawing to the end. */
import { isDark } from "./colours.js";
import { button, h } from "./elements.js";
import { stateOf, watchKernel } from "./model.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {[string, string][]} Help keys, and what they do */

/**
 * @typedef {object} Panel
 * @property {HTMLElement} root
 * @property {HTMLElement} body
 * @property {HTMLElement} heading
 * @property {(text: string) => void} say to who listens to the page
 * @property {(callback: () => void) => void} onTheme
 * @property {(callback: () => void) => void} onClose
 * @property {() => void} close
 */

/**
 * What a module of anywidget does: a panel from its model to its end. Returns what ends it.
 * @template Facts
 * @param {{ model: Model, el: HTMLElement }} place
 * @param {{ name: string, title: string, help: Help }} about
 * @param {(state: import("./model.js").State<Facts>, panel: Panel) => void} draw
 */
export function open({ model, el }, { name, title, help }, draw) {
  /** @type {import("./model.js").State<Facts>} */
  const state = stateOf(model);
  const panel = frame(model, el, title, help);
  panel.root.dataset.panel = name;
  panel.onClose(state.close);
  draw(state, panel);
  return panel.close;
}

/**
 * @param {Model} model
 * @param {HTMLElement} el
 * @param {string} title
 * @param {Help} help
 * @returns {Panel}
 */
export function frame(model, el, title, help) {
  const status = h("span", { class: "tm-status", role: "status" });
  const live = h("span", { class: "tm-hidden", "aria-live": "polite" });
  const { box, toggle } = helpBox(title, help);
  const helpButton = button("?", toggle, { "aria-label": "Help", title: "Help (?)" });
  const heading = h("span", { class: "tm-title" }, title);
  const top = h("div", { class: "tm-top" }, heading, h("span", { class: "tm-space" }), status, helpButton);
  const body = h("div", { class: "tm-body" });
  const root = h("section", { class: "tm-panel", role: "group", "aria-label": title }, top, body, box, live);
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && box.open) box.close();
    else if (event.key === "?") toggle();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  el.append(root);
  /** @type {(() => void)[]} */
  const themed = [];
  const closing = [followTheme(root, el, () => themed.forEach((callback) => callback()))];
  closing.push(
    watchKernel(model, (alive) => {
      root.dataset.kernel = alive ? "alive" : "gone";
      status.textContent = alive ? "" : "display only: no kernel";
    }),
  );
  const alive = panelsHere();
  alive.add(root);
  return {
    root,
    body,
    heading,
    say: (text) => (live.textContent = text),
    onTheme: (callback) => themed.push(callback),
    onClose: (callback) => closing.push(callback),
    close() {
      closing.splice(0).forEach((callback) => callback());
      alive.delete(root);
      root.remove();
    },
  };
}

/** All panels of the page: each module has a copy of this file, so the set belongs to the page. */
function panelsHere() {
  const page = /** @type {{ timemoePanels?: Set<HTMLElement> }} */ (globalThis);
  return (page.timemoePanels ??= new Set());
}

/**
 * @param {string} title
 * @param {Help} help
 */
function helpBox(title, help) {
  const close = button("Close", () => box.close());
  const lines = help.map(([keys, what]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, what)]);
  const attributes = { class: "tm-help", "aria-label": `Help: ${title}` };
  const box = h("dialog", attributes, h("h4", {}, "Keys"), h("dl", {}, lines), close);
  /** @type {Element | null} */
  let back = null;
  box.addEventListener("close", () => back instanceof HTMLElement && back.isConnected && back.focus());
  function toggle() {
    if (box.open) return box.close();
    back = document.activeElement;
    box.show();
    close.focus();
  }
  return { box, toggle };
}

/**
 * Keeps data-theme true and calls back when it changes; returns what ends that.
 * @param {HTMLElement} root
 * @param {HTMLElement} el
 * @param {() => void} callback
 */
function followTheme(root, el, callback) {
  root.dataset.theme = isDark(el) ? "dark" : "light";
  let isHere = root.isConnected; // JupyterLab may draw before it attaches; a colour is known only after that
  const look = () => {
    const theme = isDark(el) ? "dark" : "light";
    if (theme === root.dataset.theme && isHere === root.isConnected) return;
    root.dataset.theme = theme;
    isHere = root.isConnected;
    callback();
  };
  const watching = new MutationObserver(() => requestAnimationFrame(look));
  const attributeFilter = ["data-jp-theme-light", "data-jp-theme-name", "class", "style"];
  watching.observe(document.body, { attributes: true, attributeFilter });
  const preference = matchMedia("(prefers-color-scheme: dark)");
  preference.addEventListener("change", look);
  const arriving = new ResizeObserver(look);
  arriving.observe(root);
  const settled = setInterval(look, 1000); // a theme's sheet may arrive after its name
  return () => {
    watching.disconnect();
    preference.removeEventListener("change", look);
    arriving.disconnect();
    clearInterval(settled);
  };
}

/**
 * What is shown instead of a panel that has nothing to show: one sentence and, where there is one, the command.
 * @param {string} text
 * @param {string | null} [command]
 */
export function emptyState(text, command) {
  return h("p", { class: "tm-empty", role: "note" }, `${text} `, command ? h("code", {}, command) : null);
}

/**
 * The same of a sentence with its `command` in backquotes.
 * @param {string} text
 */
export function told(text) {
  const [before, command, after = ""] = text.split("`");
  return emptyState(before, command ? command + after : null);
}
