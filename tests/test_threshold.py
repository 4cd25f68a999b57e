"Counts, thresholds, range metrics and intervals against brute force, scikit-learn and published numbers."

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    fbeta_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

from timemoe_lab.config import tiny
from timemoe_lab.detect.score import Scores
from timemoe_lab.detect.threshold import (
    conformal_thresholds,
    statistic,
    window_samples,
    away_from_edges,
    best_f_beta,
    conformal_threshold,
    confusion,
    cost_threshold,
    curve,
    interval,
    joined,
    measure,
    resample,
    resampled_metrics,
    sweep,
    to_windows,
    vus,
)
from timemoe_lab.records import Thresholds

VUS = json.loads((Path(__file__).parent / "fixtures/vus.json").read_text(encoding="utf-8"))
NAN = math.nan


def drawn(n, *, seed=0, decimals=None, prevalence=0.3, dtype=float):
    rng = np.random.default_rng(seed)
    label = rng.random(n) < prevalence
    score = rng.random(n) + 0.4 * label
    return (score if decimals is None else score.round(decimals)).astype(dtype), label


def intervals(scores, labels, threshold, *, level=0.95, **how):
    "The interval of each metric over recordings."
    found = resampled_metrics(scores, labels, threshold, **how)
    return {name: interval(value, level=level) for name, value in found.items()}


# Curves and areas


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("decimals", [None, 3, 1])
def test_the_curve_is_scikit_learns_to_the_last_bit(decimals, dtype):
    score, label = drawn(20_011, decimals=decimals, dtype=dtype)
    for ours, theirs in zip(curve(score, label), precision_recall_curve(label, score), strict=True):
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


def test_zeros_of_both_signs_and_tiny_differences_are_told_apart_as_scikit_learn_does():
    score = np.array([0.0, -0.0, 5e-324, 1.0, np.nextafter(1.0, 2), -1.0])
    label = np.array([1, 0, 1, 0, 1, 0], bool)
    for ours, theirs in zip(curve(score, label), precision_recall_curve(label, score), strict=True):
        assert np.array_equal(ours, theirs)
    assert len(sweep(score, label).threshold) == 5


@pytest.mark.parametrize("decimals", [None, 2, 0])
def test_areas_are_scikit_learns(decimals):
    score, label = drawn(5003, decimals=decimals, seed=1)
    got = measure(score, label, 0.7)
    assert got["roc_auc"] == pytest.approx(roc_auc_score(label, score), rel=1e-12)
    assert got["pr_auc"] == pytest.approx(average_precision_score(label, score), rel=1e-12)


# Answers that are defined


@pytest.mark.parametrize("n", [1, 9])
def test_scores_of_healthy_samples_alone(n):
    score, label = np.arange(float(n)), np.zeros(n, bool)
    got = measure(score, label, 0.0)
    assert [got[k] for k in ("roc_auc", "pr_auc", "recall", "f1", "f0.5", "balanced_f1")] == [None] * 6
    assert (got["precision"], got["fpr"], got["fp"]) == (0.0, 1.0, n)
    precision, recall, threshold = curve(score, label)
    assert precision.tolist() == [0.0] * n + [1.0] and np.isnan(recall[:-1]).all() and recall[-1] == 0
    assert np.isnan(sweep(score, label).f(1.0)).all() and math.isnan(best_f_beta(score, label, beta=1.0))
    assert cost_threshold(score, label) > score.max()  # no alarm costs nothing
    assert np.isnan(vus(score, label, window=3)).all()
    found = intervals([score], [label], 0.0)
    assert found["recall"] is None and found["fpr"][0] < 0.3 and found["fpr"][1] > 0.99  # of one recording


@pytest.mark.parametrize("n", [1, 9])
def test_scores_of_faulty_samples_alone(n):
    score, label = np.arange(float(n)), np.ones(n, bool)
    got = measure(score, label, 0.0)
    assert [got[k] for k in ("roc_auc", "pr_auc", "fpr", "balanced_f1")] == [None] * 4
    assert (got["precision"], got["recall"], got["f1"], got["f0.5"]) == (1.0, 1.0, 1.0, 1.0)
    assert np.array_equal(curve(score, label)[1], precision_recall_curve(label, score)[1])
    assert best_f_beta(score, label, beta=0.5) == cost_threshold(score, label) == 0.0
    found = intervals([score], [label], 0.0)
    assert found["recall"][0] < 0.3 and found["recall"][1] > 0.99  # of one recording
    assert found["pr_auc"] is None and found["roc_auc"] is None
    assert np.isnan(vus(score, label, window=3)).all()


def test_constant_scores():
    score, label = np.full(10, 7.0), np.arange(10) < 2
    assert [part.tolist() for part in curve(score, label)] == [[0.2, 1.0], [1.0, 0.0], [7.0]]
    assert sweep(score, label).areas() == (0.5, 0.2)
    assert best_f_beta(score, label, beta=0.5) == 7.0
    assert cost_threshold(score, np.arange(10) < 6) > 7.0  # 4 false alarms cost 8, 6 misses cost 6
    assert cost_threshold(score, np.arange(10) < 7) == 7.0  # 3 false alarms cost 6, 7 misses cost 7
    assert vus(score, label, window=0) == pytest.approx((0.5, 0.2))


@pytest.mark.parametrize("score", [np.zeros(0), np.full(4, NAN)])
def test_nothing_but_nan_has_no_answer(score):
    label = np.arange(len(score)) < 2
    got = measure(score, label, 0.5)
    assert got.pop("threshold") == 0.5 and got.pop("n_unscored") == len(score)
    assert set(got.values()) == {None, 0}
    assert math.isnan(best_f_beta(score, label, beta=0.5)) and math.isnan(cost_threshold(score, label))
    assert np.isnan(vus(score, label, window=2)).all() and len(curve(score, label)[2]) == 0
    assert set(intervals([score], [label], 0.5).values()) == {None}


def test_samples_without_a_score_change_nothing_but_their_number():
    score, label = drawn(500, decimals=2)
    rng = np.random.default_rng(5)
    at = np.sort(rng.integers(0, 500, 60))
    more, truth = np.insert(score, at, NAN), np.insert(label, at, rng.random(60) < 0.5)
    assert measure(more, truth, 0.8) == measure(score, label, 0.8) | {"n_unscored": 60}
    assert best_f_beta(more, truth, beta=0.5) == best_f_beta(score, label, beta=0.5)
    assert cost_threshold(more, truth) == cost_threshold(score, label)
    assert all(np.array_equal(a, b) for a, b in zip(curve(more, truth), curve(score, label)))
    assert intervals([more, more], [truth, truth], 0.8, n=20) == intervals([score] * 2, [label] * 2, 0.8, n=20)


# Thresholds


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 0.9, 1.2])
def test_the_balanced_f1_weights_both_kinds_equally(threshold):
    score, label = drawn(700, prevalence=0.85)
    weight = np.where(label, 1 / label.sum(), 1 / (~label).sum())
    theirs = f1_score(label, score >= threshold, sample_weight=weight)
    assert confusion(score, label, threshold).balanced_f1 == pytest.approx(theirs)
    assert measure(score, label, threshold)["balanced_f1"] == pytest.approx(theirs)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_f_beta_is_scikit_learns_at_every_threshold(beta):
    score, label = drawn(300, decimals=1)
    counts = sweep(score, label)
    theirs = [fbeta_score(label, score >= t, beta=beta) for t in counts.threshold]
    assert counts.f(beta) == pytest.approx(theirs)
    assert measure(score, label, 0.5, beta=beta)[f"f{beta:g}"] == confusion(score, label, 0.5).f(beta)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.3, 0.35, 0.7, 1.4, 9.0, math.inf, NAN])
def test_the_sweep_counts_at_any_threshold_as_the_confusion_does(threshold, dtype):
    score, label = drawn(400, decimals=1, dtype=dtype)
    score[::17] = NAN
    assert sweep(score, label).at(threshold) == confusion(score, label, threshold)
    assert vars(confusion(score, label, threshold)).items() <= measure(score, label, threshold).items()


def test_of_equal_f_the_highest_threshold_is_taken():
    tied = [(1.0, True), (2.0, False), (3.0, False), (4.0, True)]  # F1 is 2/3 at 1 and at 4
    assert best_f_beta(*(np.array(x) for x in zip(*tied)), beta=1.0) == 4.0


def test_without_an_alarm_f1_is_0():
    got = measure(np.arange(4.0), np.arange(4) < 2, 9.0)
    assert (got["f1"], got["f0.5"], got["balanced_f1"], got["precision"]) == (0.0, 0.0, 0.0, None)


cases = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30)


@given(cases, st.sampled_from([(2, 1), (1, 1), (0, 1), (1, 0)]))
def test_the_cost_threshold_is_the_cheapest_and_the_highest_of_the_cheapest(case, prices):
    score, label = np.array([s for s, _ in case], np.float32), np.array([y for _, y in case])

    def cost(t):
        return sum(prices[0] * (s >= t and not y) + prices[1] * (s < t and y) for s, y in case)

    got = cost_threshold(score, label, false_alarm=prices[0], miss=prices[1])
    candidates = [*sorted(set(score.tolist())), math.inf]
    least = min(map(cost, candidates))
    highest = max(t for t in candidates if cost(t) == least)
    assert cost(got) == least and (got == highest or (highest == math.inf and got > score.max() and got < math.inf))
    assert highest < math.inf or not (score >= got).any()  # above it in single precision too


@pytest.mark.parametrize("n", [1, 3, 19, 20, 84, 99])
@pytest.mark.parametrize("risk", [0.01, 0.05, 0.1, 0.29, 0.5])
def test_of_n_plus_1_recordings_no_more_alarm_than_promised(n, risk):
    values = np.random.default_rng(n).normal(size=n + 1)  # each in turn is the one that comes next
    found = [(values[i], *conformal_threshold(np.delete(values, i), risk=risk)) for i in range(n + 1)]
    promised = {p for _, _, p in found}
    alarmed = sum(value >= threshold for value, threshold, _ in found)
    assert promised == {alarmed / (n + 1)}
    exact = Fraction(str(risk))
    rank = math.ceil((n + 1) * (1 - exact))  # of the smallest statistics, the one that an alarm must exceed
    supported = rank <= n
    assert promised == {(n + 1 - rank) / (n + 1) if supported else 1 / (n + 1)}
    assert supported == (exact >= Fraction(1, n + 1)) and (not supported or promised.pop() <= risk + 1e-12)


def test_the_promise_holds_for_ties_and_for_constant_statistics():
    for values in (np.repeat([0.0, 1.0, 2.0], 7), np.full(21, 0.1), np.full(21, 0.1, np.float32)):
        turns = [(values[i], conformal_threshold(np.delete(values, i), risk=0.1)) for i in range(21)]
        assert sum(value >= threshold for value, (threshold, _) in turns) <= 0.1 * 21


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, 1.0, -3.3, 0.0, 12345.678])
def test_a_score_that_equals_the_healthy_one_is_no_alarm_in_either_precision(value, dtype):
    healthy = np.array([value - 1, value], dtype)
    threshold, promised = conformal_threshold(healthy, risk=0.01)
    assert not (healthy >= threshold).any() and promised == 1 / 3
    assert threshold == pytest.approx(healthy[1], rel=1e-6, abs=1e-30) and np.float32(threshold) == threshold


def test_recordings_without_a_statistic_do_not_count():
    assert conformal_threshold([NAN, 1.0, NAN, 2.0], risk=0.5) == conformal_threshold([2.0, 1.0], risk=0.5)


@pytest.mark.parametrize("statistics, risk", [([], 0.1), ([NAN], 0.1), ([1, math.inf], 0.1), ([1.0], 0), ([1.0], 1)])
def test_a_promise_from_nothing_is_refused(statistics, risk):
    with pytest.raises(ValueError, match="statistics, risk"):
        conformal_threshold(statistics, risk=risk)


# Samples, windows, episodes

series = st.lists(st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.booleans()), min_size=1, max_size=25)


@given(st.lists(st.booleans(), min_size=1, max_size=25), st.integers(0, 4))
def test_samples_near_an_edge_are_left_out(label, margin):
    n = len(label)
    near = [any(label[e - 1] != label[e] and e - margin <= t < e + margin for e in range(1, n)) for t in range(n)]
    assert away_from_edges(np.array(label), margin).tolist() == [not x for x in near]


@given(series, st.integers(1, 5))
def test_windows_are_of_one_kind_and_have_the_mean_score(case, width):
    want = []
    for k in range(len(case) // width):
        part = case[k * width : (k + 1) * width]
        known = [s for s, _ in part if not math.isnan(s)]
        if known and len({y for _, y in part}) == 1:
            want.append((sum(known) / len(known), part[0][1]))
    score, label = to_windows(*(np.array(x) for x in zip(*case)), width)
    assert list(zip(score, label)) == [(pytest.approx(s), y) for s, y in want]


# Volume under the surface


def brute_vus(score, label, window, n_thresholds):
    "The definition, threshold by threshold and sample by sample; a NaN takes no part though its time passes."
    known = [t for t in range(len(score)) if not math.isnan(score[t])]
    n_faulty = sum(label[t] for t in known)
    faults, t = [], 0
    while t < len(label):
        end = t
        while end < len(label) and label[end]:
            end += 1
        faults += [(t, end - 1)] * (end > t)
        t = max(end, t + 1)
    falling = sorted((score[t] for t in known), reverse=True)
    thresholds = [falling[int(i * (len(falling) - 1) / (n_thresholds - 1))] for i in range(n_thresholds)]
    volume = []
    for width in range(window + 1):
        half, weight = width // 2, [float(y) for y in label]
        for first, last in faults:
            for t in range(max(0, first - half), min(len(label), last + half + 1)):
                away = first - t if t < first else t - last
                weight[t] += math.sqrt(1 - away / width) if away > 0 else 0
        weight = [min(1.0, w) for w in weight]
        groups = []
        for first, last in faults:  # faults whose surroundings touch are one
            if groups and first - half <= groups[-1][1] + half:
                groups[-1][1] = last
            else:
                groups.append([first, last])
        around = [[t for t in known if first - half <= t <= last + half] for first, last in groups]
        points = [(0.0, 0.0, 1.0)]
        for value in thresholds:
            alarms = [t for t in known if score[t] >= value]
            near = sum(weight[t] for t in alarms if not label[t])
            hit = sum(label[t] for t in alarms) + near
            found = [any(score[t] >= value for t in part) for part in around if part]
            positive = n_faulty + near / 2
            recall = min(1.0, hit / positive) * sum(found) / len(found)
            points.append(((len(alarms) - hit) / (len(known) - positive), recall, hit / len(alarms)))
        ap = sum((b[1] - a[1]) * b[2] for a, b in zip(points, points[1:]))
        points.append((1.0, 1.0, 0.0))
        roc = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(points, points[1:]))
        volume.append((roc, ap))
    return np.mean(volume, axis=0)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=40),
    st.integers(0, 9),
    st.sampled_from([5, 17]),
)
def test_vus_is_its_definition(case, window, n_thresholds):
    score = np.array([NAN if s == 12 else s for s, _ in case], float)  # runs, gaps, edges and ties of every kind
    label = np.array([y for _, y in case])
    got = vus(score, label, window=window, n_thresholds=n_thresholds)
    if len(set(label[np.isfinite(score)])) < 2:
        assert np.isnan(got).all()
    else:
        assert got == pytest.approx(brute_vus(score.tolist(), label.tolist(), window, n_thresholds), abs=1e-12)


def vus_case(case):
    "A case of the fixture: runs of faults, and uniform scores that are raised in them."
    label = np.zeros(case["n"], bool)
    for start, end in case["runs"]:
        label[start:end] = True
    score = np.random.default_rng(case["seed"]).random(case["n"]) + case["raise"] * label
    return score if case["decimals"] is None else score.round(case["decimals"]), label


@pytest.mark.parametrize("case", VUS["cases"], ids=lambda case: case["name"])
def test_vus_is_that_of_the_published_package(case):
    score, label = vus_case(case)
    assert vus(score, label, window=case["window"]) == pytest.approx((case["vus_roc"], case["vus_pr"]), abs=1e-9)


def test_vus_depends_on_the_order_of_scores_alone():
    score, label = drawn(400, decimals=1)
    assert vus(np.exp(5 * score), label, window=9) == vus(score, label, window=9)
    assert vus(score[::-1], label[::-1], window=9) == pytest.approx(vus(score, label, window=9))
    assert vus(score, label.astype(int), window=9) == vus(score, label, window=9)


def test_vus_of_random_scores_stays_at_the_prevalence():
    rng = np.random.default_rng(0)
    label = np.arange(50_000) % 10_000 < 1000
    roc, pr = vus(rng.random(50_000), label, window=100)
    assert pr == pytest.approx(0.1, abs=0.02) and roc == pytest.approx(0.5, abs=0.03)


def test_no_tolerance_reaches_from_one_recording_into_another():
    label = [np.arange(60) >= 50, np.zeros(60, bool)]
    score = [np.zeros(60), np.where(np.arange(60) < 5, 1.0, 0.5)]  # alarms right behind the fault, of another motor
    apart = vus(*joined(score, label, gap=20), window=20)
    swapped = vus(*joined(score[::-1], label[::-1], gap=20), window=20)
    assert apart == pytest.approx(swapped) and apart[1] < vus(*joined(score, label, gap=0), window=20)[1]
    one, truth = joined(score, label, gap=20)
    assert np.flatnonzero(np.isnan(one)).tolist() == [*range(60, 80), *range(140, 160)] and not truth[60:].any()
    assert [len(part) for part in joined([], [], gap=3)] == [0, 0]


# Of healthy recordings


def test_each_level_has_its_own_threshold():
    "The windows' is that of means over windows: a spike that one sample in fifty has is a tenth of it."
    config = tiny()
    width = window_samples(1000.0, config)
    score = np.zeros(20 * width)
    score[::50] = 5.0
    found = statistic(Scores(score, *[score[None]] * 3, 7.0, ("a",)), 1000.0, config)
    assert (found.point, found.recording) == (5.0, 7.0) and found.window == pytest.approx(5 / 50, rel=0.3)
    limits = conformal_thresholds([Thresholds(i, 10.0 + i, 20.0 + i) for i in range(5)], risk=0.05)
    assert (limits.point, limits.window, limits.recording) == pytest.approx((4, 14, 24))


# Intervals


def recordings(n=12, length=300, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    labels = [np.arange(length) >= (length if i % 3 == 0 else 100 + 10 * i) for i in range(n)]
    scores = [rng.normal(size=length) + rng.normal() / 2 + 1.5 * y for y in labels]
    return [s if decimals is None else s.round(decimals) for s in scores], labels


def weighed(scores, labels, drawn, i):
    "Samples, labels and weights of one draw, the loud and the quiet unseen recording of each kind (rising) among them."
    faulty = np.array([y.any() for y in labels])
    score, label, weight = [], [], []
    for s, y, w in zip(scores, labels, drawn.weight[i]):
        score, label, weight = [*score, s], [*label, y], [*weight, np.full(len(s), w)]
    for k, kind in enumerate(np.unique(faulty)):
        like = [np.concatenate([y[~np.isnan(s)] for s, y, f in zip(scores, labels, faulty) if f == kind])]
        like, n = like[0], (faulty == kind).sum()  # their samples, as many as a recording of the kind has
        for level, mass in ((1e3, drawn.loud[i, k]), (-1e3, drawn.quiet[i, k])):
            score, label = [*score, np.full(len(like), level)], [*label, like]
            weight.append(np.full(len(like), mass / n))
    score, label, weight = map(np.concatenate, (score, label, weight))
    known = ~np.isnan(score)
    return score[known], label[known], weight[known]


@pytest.mark.parametrize("decimals, closeness", [(1, 1e-6), (None, 2e-3)])
def test_each_draw_is_measured_as_scikit_learn_measures_weighed_samples(decimals, closeness):
    scores, labels = recordings(decimals=decimals)
    scores[4][:20] = NAN
    got = resampled_metrics(scores, labels, 1.0, n=15, seed=3, row="lab")
    draws = resample(np.array([y.any() for y in labels]), n=15, seed=3, row="lab")
    for i in range(15):
        score, label, weight = weighed(scores, labels, draws, i)
        how = {"sample_weight": weight}
        alarm = score >= 1.0
        recall = recall_score(label, alarm, **how)
        fpr = 1 - recall_score(~label, ~alarm, **how)
        want = {"recall": recall, "fpr": fpr, "precision": precision_score(label, alarm, **how)}
        want |= {"f1": fbeta_score(label, alarm, beta=1, **how), "f0.5": fbeta_score(label, alarm, beta=0.5, **how)}
        want["balanced_f1"] = 2 * recall / (1 + recall + fpr)
        want["roc_auc"] = roc_auc_score(label, score, **how)
        want["pr_auc"] = average_precision_score(label, score, **how)
        for name, value in got.items():
            assert value[i] == pytest.approx(want[name], abs=closeness if "auc" in name else 1e-9), name
    assert set(got) == set(want)


def test_rare_faults_do_not_blur_the_areas():
    rng = np.random.default_rng(0)
    labels = [np.arange(40_000) < (10 if i < 3 else 0) for i in range(6)]
    scores = [rng.normal(size=40_000) + 4 * y for y in labels]
    got = resampled_metrics(scores, labels, 3.0, n=5, n_edges=400)
    draws = resample(np.arange(6) < 3, n=5)
    for i in range(5):
        score, label, weight = weighed(scores, labels, draws, i)
        assert got["pr_auc"][i] == pytest.approx(average_precision_score(label, score, sample_weight=weight), abs=0.03)
        assert got["roc_auc"][i] == pytest.approx(roc_auc_score(label, score, sample_weight=weight), abs=1e-3)


def test_single_precision_scores_meet_a_threshold_as_they_do_elsewhere():
    scores = [np.full(4, 0.7, np.float32), np.zeros(4, np.float32)]
    labels = [np.ones(4, bool), np.zeros(4, bool)]
    assert confusion(scores[0], labels[0], 0.7).recall == 1.0
    assert sweep(scores[0], labels[0]).at(0.7).recall == measure(scores[0], labels[0], 0.7)["recall"] == 1.0
    assert intervals(scores, labels, 0.7, n=9)["recall"][0] > 0


def test_the_weights_of_each_kind_add_up_to_its_number():
    kind = np.array([0, 1, 1, 0, 1, 2])
    draws = resample(kind, n=4000, seed=1, row="a")
    for k in range(3):
        total = draws.weight[:, kind == k].sum(axis=1) + draws.loud[:, k] + draws.quiet[:, k]
        assert np.allclose(total, (kind == k).sum())
    assert np.array_equal(draws.weight, resample(kind, n=4000, seed=1, row="b").weight)
    assert not np.array_equal(draws.loud, resample(kind, n=4000, seed=1, row="b").loud)
    assert np.array_equal(draws.loud, resample(kind, n=4000, seed=1, row="a").loud)
    assert not np.array_equal(draws.weight, resample(kind, n=4000, seed=2, row="a").weight)


@pytest.mark.parametrize("k, n", [(0, 4), (3, 4), (36, 36), (7, 20)])
def test_a_share_of_recordings_has_the_neutral_posterior(k, n):
    "Beta(k + 1/3, n - k + 1/3), from scipy."
    found = resampled_metrics([np.array([1.0 * (i < k)]) for i in range(n)], [np.ones(1, bool)] * n, 0.5, n=20_000)
    want = stats.beta(k + 1 / 3, n - k + 1 / 3).ppf([0.025, 0.25, 0.5, 0.75, 0.975])
    assert np.quantile(found["recall"], [0.025, 0.25, 0.5, 0.75, 0.975]) == pytest.approx(want, abs=0.02)


def test_the_interval_is_the_middle_of_the_draws_and_holds_what_was_measured():
    scores, labels = recordings()
    got, found = intervals(scores, labels, 1.0), resampled_metrics(scores, labels, 1.0)
    for name, (low, high) in got.items():
        assert (low, high) == pytest.approx(np.percentile(found[name], [2.5, 97.5]))
    narrow = intervals(scores, labels, 1.0, level=0.5)
    assert all(got[k][0] < narrow[k][0] <= narrow[k][1] < got[k][1] for k in got)
    assert intervals(scores, labels, 1.0, beta=2)["f2"] and interval(np.array([NAN, 1.0, 3.0]), level=0.5) == (1.5, 2.5)
    assert interval(np.array([1.0, 3.0]), level=0.5, measured=4.0) == (1.5, 4.0)
    assert interval(np.array([1.0, 3.0]), level=0.5, measured=0.0) == (0.0, 2.5)


@pytest.mark.parametrize("n_healthy, n_faulty", [(4, 36), (8, 36), (20, 60)])
def test_an_interval_holds_the_truth_as_often_as_it_says_for_few_recordings_too(n_healthy, n_faulty):
    "Normal scores, a threshold above ten healthy ones: balanced F1 and ROC-AUC, 95 % of 150 test sets give or take 4."
    rng = np.random.default_rng(n_healthy)
    label = np.repeat([False, True], [n_healthy, n_faulty])
    held = np.zeros(2)
    for trial in range(150):
        threshold = rng.normal(size=10).max()
        score = rng.normal(size=len(label)) + 3 * label
        recall, fpr = stats.norm.sf(threshold - 3), stats.norm.sf(threshold)
        truth = 2 * recall / (1 + recall + fpr), stats.norm.cdf(3 / 2**0.5)
        found = resampled_metrics(list(score[:, None]), list(label[:, None]), threshold, n=300, seed=trial)
        here = measure(score, label, threshold)
        for i, name in enumerate(("balanced_f1", "roc_auc")):
            low, high = interval(found[name], measured=here[name])
            held[i] += low <= truth[i] <= high
    assert (held / 150 >= 0.9).all(), held / 150


def test_rows_of_a_table_are_drawn_together():
    scores, labels = recordings()
    better = [s + 0.2 * y for s, y in zip(scores, labels)]
    a, b = (resampled_metrics(s, labels, 1.0, seed=5)["roc_auc"] for s in (scores, better))
    assert (b > a).all() and interval(a)[1] > interval(b)[0]  # better beyond doubt, though the intervals overlap


@pytest.mark.slow
def test_an_interval_over_forty_recordings_holds_the_truth_nine_times_in_ten():
    rng, held = np.random.default_rng(0), 0
    for trial in range(300):
        share = rng.beta(2, 3, size=40)  # recordings differ; their mean recall is .4
        scores = [(rng.random(50) < p).astype(float) for p in share]
        low, high = intervals(scores, [np.ones(50, bool)] * 40, 1.0, n=400, seed=trial)["recall"]
        held += low <= 0.4 <= high
    assert 0.90 <= held / 300 <= 0.98
