// @ts-check
/** @file The numbers at the threshold: confusion matrices and measures, of all samples and of a window. */
import { h, put, table } from "./elements.js";
import { count, number, percent, seconds } from "./numbers.js";
import { confusion, measuredAll, measuredIn, perDay, ratio, ratios } from "./threshold_counts.js";

/** @typedef {import("./threshold.js").Data} Data */
/** @typedef {import("./threshold.js").Now} Now */
/** @typedef {import("./threshold_counts.js").Measured} Measured */

const ROWS = ["precision", "recall", "fbeta", "plant", "alarmsPerDay", "delay"];
const ROWS_BARE = ["quantile", "alarmsPerDay"]; // without labels

/**
 * @param {Now} now
 * @param {boolean} labelled
 * @returns {Record<string, string>}
 */
const rowNames = ({ beta, base }, labelled) => ({
  precision: "Precision",
  recall: "Recall",
  fbeta: `F-beta, β ${number(beta, 3)}`,
  plant: `Precision at ${percent(Number(base.toPrecision(3)))} faulty`,
  alarmsPerDay: labelled ? "Stretches of false alarm" : "Stretches of alarm",
  delay: "Detection delay, median",
  quantile: "Quantile of the threshold",
});

/**
 * Counted alarms with the time that they were counted in and the rate that this can show; never a rate by itself.
 * @param {Measured} found
 */
function rateInWords({ nAlarms, healthySeconds }) {
  if (!(healthySeconds > 0)) return "–";
  const [low, high] = perDay(nAlarms, healthySeconds);
  return `${count(nAlarms)} in ${seconds(healthySeconds)}: ${number(low, 3)} to ${number(high, 3)} a day`;
}

/**
 * @param {Measured | null} found
 * @returns {Record<string, string>}
 */
function inWords(found) {
  if (!found) return {};
  return {
    precision: number(found.precision),
    recall: number(found.recall),
    fbeta: number(found.fbeta),
    plant: number(found.plant),
    alarmsPerDay: rateInWords(found),
    delay: found.nFaults ? `${seconds(found.delay)} (${found.found} of ${found.nFaults})` : "–",
    quantile: number(found.quantile, 6),
  };
}

/**
 * @param {import("./frame.js").Panel} panel
 * @param {Data} data
 */
export function numbersView(panel, data) {
  const labelled = data.label !== null;
  const places = [matrixView("All samples", labelled), matrixView("In window: drag over the timeline", labelled)];
  const rows = labelled ? ROWS : ROWS_BARE;
  const cells = rows.map(() => [h("th", { scope: "row" }), h("td"), h("td")]);
  const caption = h("caption", { class: "tm-hidden" }, "Numbers at the threshold");
  const body = cells.map((row) => h("tr", {}, row));
  const list = table(caption, ["", "all", "in window"], body, { class: "tm-list" });
  const node = h("div", { class: "tm-numbers" }, places[0].node, places[1].node, list);

  /** @param {Now} at */
  function show(at) {
    const all = measuredAll(data, at);
    const inside = at.span ? measuredIn(data, at, at.span) : null;
    places[0].fill(all, "All samples");
    places[1].fill(inside, inside ? "In window" : "In window: drag over the timeline");
    const texts = [rowNames(at, labelled), inWords(all), inWords(inside)];
    rows.forEach((key, i) => cells[i].forEach((cell, k) => put(cell, texts[k][key] ?? "")));
    write(panel.root.dataset, data, at, all, inside);
  }
  return { node, show };
}

/**
 * @param {DOMStringMap} dataset for tests and whoever reads the page
 * @param {Data} data
 * @param {Now} at
 * @param {Measured} all
 * @param {Measured | null} inside
 */
function write(dataset, data, at, all, inside) {
  const told = {
    ...all,
    threshold: at.threshold,
    beta: at.beta,
    baseRate: at.base,
    unscored: data.unscored,
    window: at.span ? at.span.join() : "",
    windowTp: inside?.tp ?? "",
    windowFp: inside?.fp ?? "",
    windowFn: inside?.fn ?? "",
    windowTn: inside?.tn ?? "",
    windowPrecision: inside?.precision ?? "",
    windowAlarmsPerDay: inside?.alarmsPerDay ?? "",
  };
  for (const [key, value] of Object.entries(told)) dataset[key] = Number.isNaN(value) ? "undefined" : String(value);
}

/**
 * @param {string} title
 * @param {boolean} labelled
 */
function matrixView(title, labelled) {
  const cells = { tp: h("td"), fn: h("td"), fp: h("td"), tn: h("td") };
  /** @type {(text: string, ...tds: HTMLElement[]) => HTMLTableRowElement} */
  const row = (text, ...tds) => h("tr", {}, h("th", { scope: "row" }, text), tds);
  const rows = [row(labelled ? "healthy" : "samples", cells.fp, cells.tn)];
  if (labelled) rows.unshift(row("faulty", cells.tp, cells.fn));
  const caption = h("caption", {}, title);
  const node = table(caption, ["", "alarm", "no alarm"], rows, { class: "tm-matrix" });

  /**
   * @param {Measured | null} found
   * @param {string} title
   */
  function fill(found, title) {
    put(caption, title);
    for (const key of /** @type {const} */ (["tp", "fn", "fp", "tn"])) {
      const kind = labelled ? `${key.toUpperCase()} ` : "";
      const faulty = key === "tp" || key === "fn";
      const whole = found && (faulty ? found.tp + found.fn : found.fp + found.tn);
      put(cells[key], found ? `${kind}${count(found[key])} (${percent(ratio(found[key], whole ?? 0))})` : kind);
    }
  }
  return { node, fill };
}

/**
 * Thresholds at even steps of rank, as a table shows them.
 * @param {Data} data
 * @param {number} beta
 */
export function tableRows(data, beta) {
  /** @type {(rising: Float32Array) => number[]} */
  const some = (rising) => Array.from(rising).filter((_, i) => i % Math.ceil(rising.length / 20) === 0);
  const all = Float32Array.from([...some(data.positive), ...some(data.negative)]).sort();
  return [...new Set(all)].map((threshold) => {
    const { tp, fp, fn, tn } = confusion(data, threshold);
    const { precision, recall, fbeta } = ratios({ tp, fp, fn, tn }, beta);
    return [number(threshold), ...[tp, fp, fn, tn].map(count), ...[precision, recall, fbeta].map((v) => number(v))];
  });
}
