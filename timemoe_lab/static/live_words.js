// @ts-check
/** @file What the live panel says in words. */
import { extent, number } from "./numbers.js";

/**
 * A duration as a clock shows it: 2:05:09.
 * @param {number | null} seconds
 */
export function clock(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  const pad = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(s % 60)}` : `${minutes}:${pad(s % 60)}`;
}

/**
 * How long ago something was, as text.
 * @param {number} seconds
 */
export function ago(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s ago`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}

/**
 * Whether all finite values are above 0, and there is one.
 * @param {ArrayLike<number>[]} rows
 */
export const isPositive = (...rows) => (extent(...rows)?.[0] ?? 0) > 0;

/**
 * [layer, expert] of all experts that next to no token goes to.
 * @param {{ layer: number, dead: number[] }[]} layers
 */
export const deadOf = (layers) => layers.flatMap(({ layer, dead }) => dead.map((expert) => [layer, expert]));

/**
 * Where an F1 stands to the goal.
 * @param {number | null} value
 * @param {number} goal
 */
export function verdict(value, goal) {
  if (value == null) return "no F1";
  return value >= goal ? `goal ${number(goal)} met` : `${number(goal - value, 2)} below the goal ${number(goal)}`;
}

/** @type {Record<string, string>} */
export const SIGNALS = { f1: "F1", synthetic_f1: "F1 on simulated faults", held_out: "held-out error" };
/** @type {Record<string, string>} */
export const WORDS = {
  training: "● training",
  paused: "‖ paused",
  stopped: "■ stopped",
  finished: "✓ finished",
  "not started": "○ not started",
};

/**
 * A request as text.
 * @param {import("./live.js").Request} request
 */
export function requestText({ action, values, author }) {
  const what = Object.entries(values ?? {}).map(([name, value]) => `${name} = ${number(value)}`);
  return `${action.replace("_", " ")}${what.length ? `: ${what.join(", ")}` : ""} (${author})`;
}
