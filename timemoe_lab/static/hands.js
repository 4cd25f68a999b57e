// @ts-check
/** @file Hands: a pointer that is dragged, keys, and the note that follows both. */
import { h } from "./elements.js";

/** @typedef {{ clientX: number, clientY: number }} Place */
/** @typedef {(x: number, y: number, event: PointerEvent) => void} Move pixels of the node */
/** @typedef {Record<string, (event: KeyboardEvent) => unknown>} KeyTable by name: "Shift+ArrowLeft", "m" */
/** @typedef {ReturnType<typeof tooltip>} Tip */

/**
 * Follows a pointer that is pressed on `node`.
 * @param {HTMLElement} node
 * @param {{ start?: Move, move?: Move, end?: Move }} calls
 */
export function drag(node, { start = () => {}, move = () => {}, end = () => {} }) {
  /** @type {(event: PointerEvent) => Parameters<Move>} */
  const at = (event) => {
    const box = node.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top, event];
  };
  let active = false;
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start(...at(event));
    active = true;
    node.setPointerCapture(event.pointerId);
    node.focus({ preventScroll: true });
    event.preventDefault();
  });
  node.addEventListener("pointermove", (event) => active && move(...at(event)));
  const stop = (/** @type {PointerEvent} */ event) => {
    if (!active) return;
    active = false;
    end(...at(event));
  };
  node.addEventListener("pointerup", stop);
  node.addEventListener("pointercancel", stop);
}

/**
 * Callbacks by key; JupyterLab and the page don't see them.
 * @param {HTMLElement} node
 * @param {KeyTable} table
 */
export function keys(node, table) {
  node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const found = (event.shiftKey && table[`Shift+${name}`]) || table[name];
    if (!found) return;
    event.preventDefault();
    event.stopPropagation();
    found(event);
  });
}

/**
 * The arrow keys to the left and right as steps of 1, with Shift of 10.
 * @param {(n: number) => void} step
 * @returns {KeyTable}
 */
export const stepKeys = (step, back = "ArrowLeft", forth = "ArrowRight") => ({
  [back]: () => step(-1),
  [forth]: () => step(1),
  [`Shift+${back}`]: () => step(-10),
  [`Shift+${forth}`]: () => step(10),
});

/**
 * A box that follows the pointer over a panel; `pin` keeps it where it is until it is called with false.
 * @param {HTMLElement} root
 */
export function tooltip(root) {
  const box = h("div", { class: "tm-tip", role: "tooltip", hidden: true });
  root.append(box);
  let pinned = false;
  return {
    isPinned: () => pinned,
    hide() {
      if (!pinned) box.hidden = true;
    },
    /** @param {boolean} value */
    pin(value) {
      pinned = value;
      box.classList.toggle("tm-pinned", pinned);
      if (!pinned) box.hidden = true;
    },
    /**
     * @param {Place} event
     * @param {string[]} lines
     */
    show(event, lines) {
      if (pinned) return;
      const outer = root.getBoundingClientRect();
      box.replaceChildren(...lines.map((text) => h("div", {}, text)));
      box.hidden = false;
      const left = Math.min(event.clientX - outer.left + 14, outer.width - box.offsetWidth - 4);
      box.style.left = `${Math.max(4, left)}px`;
      box.style.top = `${event.clientY - outer.top + 16}px`;
    },
  };
}
