// @ts-check
/** @file Elements of a page: what a panel shows beside its canvases. */

/** @typedef {string | Node | null | undefined | false} Content null, undefined and false add nothing */
/** @typedef {Content | Content[] | Content[][]} Child */
/** @typedef {string | number | boolean | null | undefined | ((event: Event) => void)} Attribute */

/**
 * An element with attributes and children; a function as an attribute listens (onclick and so on).
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} attributes
 * @param {(Child | Child[])[]} children
 */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(key, value === true ? "" : String(value));
  }
  if (["button", "input", "select", "summary"].includes(tag)) focusable(node);
  const given = /** @type {Content[]} */ (children.flat(Infinity));
  for (const child of given) if (child != null && child !== false) node.append(child);
  return node;
}

/**
 * Lets a node take the focus; JupyterLab then leaves its keys alone (the attribute counts on the node itself only).
 * @param {HTMLElement} node
 * @param {string} [label]
 */
export function focusable(node, label) {
  node.dataset.lmSuppressShortcuts = "true";
  if (label) node.setAttribute("aria-label", label);
  if (node.tabIndex < 0 && node.getAttribute("tabindex") == null) node.tabIndex = 0;
  return node;
}

/**
 * @param {string} text
 * @param {(event: Event) => void} onclick
 * @param {Record<string, Attribute>} [more]
 */
export const button = (text, onclick, more = {}) => h("button", { type: "button", ...more, onclick }, text);

/**
 * A choice among [value, text]; `choose` gets the value.
 * @param {string} label
 * @param {[string, string][]} options
 * @param {(value: string) => void} choose
 */
export function select(label, options, choose) {
  const made = options.map(([value, text]) => h("option", { value }, text));
  const node = h("select", { "aria-label": label, onchange: () => choose(node.value) }, made);
  return node;
}

/**
 * A table with a row of headings.
 * @param {string | HTMLElement | null} caption text or a caption of one's own
 * @param {string[]} columns
 * @param {(HTMLTableRowElement | (string | number | HTMLElement)[])[]} rows whole ones, or the contents of their cells
 * @param {Record<string, Attribute>} [attributes]
 */
export function table(caption, columns, rows, attributes = {}) {
  const cell = (/** @type {string | number | HTMLElement} */ content) =>
    content instanceof HTMLTableCellElement
      ? content
      : h("td", {}, content instanceof HTMLElement ? content : String(content));
  const heads = columns.map((text) => h("th", { scope: "col" }, text));
  const body = rows.map((row) => (row instanceof HTMLTableRowElement ? row : h("tr", {}, row.map(cell))));
  const above = typeof caption === "string" ? h("caption", {}, caption) : caption;
  return h("table", attributes, above, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, body));
}

/**
 * A picture's numbers as a table, behind a line that opens it; it is made when it is opened.
 * @param {string} caption
 * @param {string[]} columns
 * @param {() => (string | number)[][]} makeRows
 */
export function tableView(caption, columns, makeRows) {
  const details = h("details", { class: "tm-table" }, h("summary", {}, `Table: ${caption}`));
  details.addEventListener("toggle", () => {
    details.querySelector("table")?.remove();
    if (details.open) details.append(table(caption, columns, makeRows()));
  });
  return details;
}

/**
 * Sets a text where it changes; elsewhere the browser is spared a layout.
 * @param {HTMLElement} node
 * @param {string} text
 */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Replaces children; the element that had the focus has it again, found by `selector` in what is new.
 * @param {HTMLElement} node
 * @param {(string | Node)[]} children
 * @param {(focused: HTMLElement) => string | undefined} selectorOf of the focused element inside the node
 */
export function replaceKeepingFocus(node, children, selectorOf) {
  const focused = document.activeElement;
  const selector = focused instanceof HTMLElement && node.contains(focused) ? selectorOf(focused) : undefined;
  node.replaceChildren(...children);
  if (selector) /** @type {HTMLElement | null} */ (node.querySelector(selector))?.focus();
}
