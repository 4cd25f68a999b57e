// What the live panel says in words, and where it finds a step.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, clock, deadOf, isPositive, requestText, verdict } from "../../timemoe_lab/static/live_words.js";
import { extent, nearest, roomy } from "../../timemoe_lab/static/numbers.js";

test("a duration reads as a clock", () => {
  assert.deepEqual([0, 9.4, 61, 3599.6, 7509, null, NaN].map(clock), [
    "0:00",
    "0:09",
    "1:01",
    "1:00:00",
    "2:05:09",
    "–",
    "–",
  ]);
});

test("an age is rounded more the older it is", () => {
  assert.deepEqual([-1, 12.4, 119, 180, 7199, 7200, 90000].map(ago), [
    "0 s ago",
    "12 s ago",
    "119 s ago",
    "3 min ago",
    "120 min ago",
    "2 h ago",
    "25 h ago",
  ]);
});

test("extents leave out what isn't finite", () => {
  assert.deepEqual(extent([NaN, 3, Infinity], [-1, null]), [-1, 3]); // null is no number
  assert.equal(extent([NaN], []), null);
});

test("a logarithmic axis needs values above 0", () => {
  assert.ok(isPositive([NaN, 0.1], [2]));
  assert.ok(!isPositive([0, 1]) && !isPositive([NaN]) && !isPositive());
});

test("there is room around curves, also around a constant one", () => {
  assert.deepEqual(roomy([0, 10]), [-0.5, 10.5]);
  assert.deepEqual(roomy([5, 5]), [4.5, 5.5]);
  assert.deepEqual(roomy([0, 0]), [-1, 1]);
  const [low, high] = roomy([1, 100], true);
  assert.ok(Math.abs(low - 100 ** -0.05) < 1e-12 && Math.abs(high - 100 ** 1.05) < 1e-9);
  assert.ok(roomy([2, 2], true)[0] > 0 && roomy([2, 2], true)[1] > 2);
});

test("the nearest step is that of a search through all", () => {
  const steps = [1, 5, 10, 11, 40];
  for (let value = -3; value < 50; value += 0.5) {
    const best = Math.min(...steps.map((s) => Math.abs(s - value)));
    assert.equal(Math.abs(steps[nearest(steps, value)] - value), best);
  }
  assert.equal(nearest([], 3), -1);
});

test("dead experts come with their layer", () => {
  const layers = [
    { layer: 0, dead: [] },
    { layer: 3, dead: [1, 7] },
  ];
  assert.deepEqual(deadOf(layers), [
    [3, 1],
    [3, 7],
  ]);
});

test("F1 is told by its distance to the goal", () => {
  assert.equal(verdict(0.95, 0.95), "goal 0.95 met");
  assert.equal(verdict(0.9, 0.95), "0.05 below the goal 0.95");
  assert.equal(verdict(null, 0.95), "no F1");
});

test("a request is told with its values and its author", () => {
  assert.equal(requestText({ action: "go_on", values: {}, author: "me" }), "go on (me)");
  const values = { delta: 0.5, lr: 0.0001 };
  assert.equal(requestText({ action: "change", values, author: "me" }), "change: delta = 0.5, lr = 1.000e-4 (me)");
});
