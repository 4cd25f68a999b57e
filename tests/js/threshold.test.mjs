// What the threshold panel counts, against counting by hand.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bestFBeta,
  confusion,
  confusionIn,
  delays,
  episodeCount,
  episodeEdges,
  episodes,
  faultRecords,
  nextChange,
  perDay,
  precisionAt,
  ratios,
  single,
  sortKinds,
  step32,
} from "../../timemoe_lab/static/threshold_counts.js";

// A generator with a seed, so that a failure can be seen again.
function random(seed) {
  return () => (seed = (1664525 * seed + 1013904223) >>> 0) / 2 ** 32;
}

// Scores in tenths (many ties), labels with bits 1 (faulty) and 2 (left out), some NaN and an infinity.
function series(n, seed) {
  const draw = random(seed);
  const score = Float32Array.from({ length: n }, () => (draw() < 0.05 ? NaN : Math.floor(60 * draw()) / 10));
  const label = Uint8Array.from(
    { length: n },
    (_, i) => (Math.floor(i / 9) % 3 === 1 ? 1 : 0) + (draw() < 0.1 ? 2 : 0),
  );
  score[3] = Infinity;
  return [score, label];
}

function byHand(score, label, threshold, start = 0, end = score.length) {
  const found = { tp: 0, fp: 0, fn: 0, tn: 0 };
  for (let i = start; i < end; i++) {
    if (label[i] >= 2 || !Number.isFinite(score[i])) continue;
    found[score[i] >= threshold === label[i] > 0 ? (label[i] ? "tp" : "tn") : label[i] ? "fn" : "fp"]++;
  }
  return found;
}

test("counts are those of every sample compared with the threshold", () => {
  const [score, label] = series(400, 1);
  const kinds = sortKinds(score, label);
  for (const threshold of [-1, 0, 0.1, Math.fround(0.1), 1.25, 3, Math.fround(5.9), 7]) {
    assert.deepEqual(confusion(kinds, single(threshold)), byHand(score, label, threshold));
    assert.deepEqual(confusionIn(score, label, single(threshold), 50, 170), byHand(score, label, threshold, 50, 170));
  }
  const unscored = [...score].filter((s, i) => label[i] < 2 && !Number.isFinite(s)).length;
  assert.equal(kinds.unscored, unscored);
  assert.equal(kinds.leftOut, [...label].filter((l) => l >= 2).length);
});

test("without labels every sample counts as healthy", () => {
  const kinds = sortKinds(Float32Array.of(2, 1, NaN), null);
  assert.deepEqual([[...kinds.positive], [...kinds.negative], kinds.unscored], [[], [1, 2], 1]);
});

test("a threshold of double precision decides the same in single precision", () => {
  for (const value of [0.1, 0.3, -0.1, 1 / 3, 1e-30, 16777217]) {
    const [near, at] = [Math.fround(value), single(value)];
    for (const score of [step32(near, false), near, step32(near, true)]) assert.equal(score >= value, score >= at);
    assert.equal(Math.fround(at), at);
  }
});

test("the next number of single precision has nothing between", () => {
  for (const value of [1, -1, 0.1, 1e-20, 3e8]) {
    const near = Math.fround(value);
    const above = step32(near, true);
    assert.ok(above > near && [near, above].includes(Math.fround((near + above) / 2)));
    assert.equal(step32(above, false), near);
  }
  assert.equal(Math.fround(step32(0, true)), 2 ** -149);
});

test("ratios that have no meaning are NaN, never 0", () => {
  assert.deepEqual(ratios({ tp: 3, fp: 1, fn: 2, tn: 4 }, 1), { precision: 0.75, recall: 0.6, fpr: 0.2, fbeta: 6 / 9 });
  const healthy = ratios({ tp: 0, fp: 1, fn: 0, tn: 4 }, 1);
  assert.ok([healthy.precision, healthy.recall, healthy.fbeta].every(Number.isNaN));
  assert.ok(Number.isNaN(ratios({ tp: 0, fp: 0, fn: 3, tn: 4 }, 1).precision));
  assert.equal(ratios({ tp: 0, fp: 0, fn: 3, tn: 4 }, 1).fbeta, 0);
});

test("precision at the base rate of the samples is their precision", () => {
  const counts = { tp: 30, fp: 20, fn: 10, tn: 140 };
  assert.ok(Math.abs(precisionAt(ratios(counts, 1), 40 / 200) - 0.6) < 1e-12);
  assert.ok(Math.abs(precisionAt(ratios(counts, 1), 0.01) - 0.0075 / (0.0075 + 0.125 * 0.99)) < 1e-12);
});

test("the best threshold is the highest of all with the largest F-beta", () => {
  for (let seed = 1; seed < 30; seed++) {
    const [score, label] = series(120, seed);
    const kinds = sortKinds(score, label);
    for (const beta of [0.5, 1, 2]) {
      const f = (t) => ratios(byHand(score, label, t), beta).fbeta;
      const distinct = [...new Set([...kinds.positive, ...kinds.negative])].sort((a, b) => a - b);
      const most = Math.max(...distinct.map(f));
      assert.equal(bestFBeta(kinds, beta), distinct.filter((t) => f(t) === most).at(-1));
    }
  }
  assert.ok(Number.isNaN(bestFBeta(sortKinds(Float32Array.of(1, 2), Uint8Array.of(0, 0)), 1)));
});

test("[ and ] go to where the matrix changes, and to no place between", () => {
  const [score, label] = series(90, 5);
  const kinds = sortKinds(score, label);
  const distinct = [...new Set([...kinds.positive, ...kinds.negative])].sort((a, b) => a - b);
  const same = (a, b) => JSON.stringify(confusion(kinds, a)) === JSON.stringify(confusion(kinds, b));
  let at = distinct[0];
  for (let i = 1; i < distinct.length; i++) {
    assert.equal((at = nextChange(kinds, at, true)), distinct[i]);
    assert.equal(nextChange(kinds, at, false), distinct[i - 1]);
  }
  const none = nextChange(kinds, at, true);
  assert.deepEqual([confusion(kinds, none).tp, confusion(kinds, none).fp], [0, 0]);
  assert.equal(nextChange(kinds, none, true), Infinity);
  const between = single((distinct[3] + distinct[4]) / 2);
  assert.ok(!same(between, nextChange(kinds, between, true)));
  assert.equal(nextChange(kinds, between, true), distinct[5]);
  assert.equal(nextChange(kinds, between, false), distinct[3]);
});

test("episodes of false alarm end with a healthy sample below, a fault, or the recording", () => {
  const [score, label] = series(400, 9);
  const starts = [0, 130, 131, 400];
  const edges = episodeEdges(score, label, starts);
  for (let tenth = -1; tenth < 65; tenth++) {
    const threshold = single(tenth / 10);
    let [n, healthy] = [0, 0];
    for (let r = 0; r < 3; r++) {
      let on = false;
      for (let i = starts[r]; i < starts[r + 1]; i++) {
        if (label[i] >= 2 || !Number.isFinite(score[i])) continue;
        if (label[i] === 0) healthy++;
        const alarm = label[i] === 0 && score[i] >= threshold;
        if (alarm && !on) n++;
        on = alarm;
      }
    }
    assert.equal(episodes(edges, threshold), n);
    assert.equal(edges.healthy, healthy);
    assert.deepEqual(episodeCount(score, label, starts, threshold), { n, healthy });
  }
});

test("a fault is found at its first sample that reaches the threshold", () => {
  const score = Float32Array.of(9, 1, 5, 3, 8, 0, NaN, 2, 7, 9);
  const label = Uint8Array.of(0, 1, 1, 3, 1, 0, 1, 1, 1, 1);
  const faults = faultRecords(score, label, [0, 9, 10]); // the third fault begins with a recording of its own
  assert.deepEqual(
    faults.map((f) => [f.start, f.end]),
    [
      [1, 5],
      [6, 9],
      [9, 10],
    ],
  );
  assert.deepEqual(delays(faults, 5), { found: 3, median: 1 }); // after 1, 2 and 0 samples
  assert.deepEqual(delays(faults, 7.5), { found: 2, median: 1.5 }); // after 3 and 0
  assert.equal(delays(faults, 10).found, 0);
  assert.ok(Number.isNaN(delays(faults, 10).median));
});

test("the interval of a rate is that of a Poisson count", () => {
  const known = [ // alarms, s, and the ends that scipy's chi-square gives
    [0, 16, 0, 16177],
    [1, 36, 60.7627, 13371.9],
    [5, 86400, 1.62349, 11.6683],
    [100, 1000000, 7.02985, 10.5086],
    [3000, 100000, 2500.07, 2686.45],
  ];
  for (const [n, time, low, high] of known) {
    const [from, to] = perDay(n, time);
    assert.ok(Math.abs(from - low) <= 1e-3 * low && Math.abs(to - high) <= 1e-3 * high, `${n}: ${from} to ${to}`);
  }
});
