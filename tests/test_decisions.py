"Routing, score, threshold and agent against brute force, and against what must not change them."

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score, precision_recall_curve

from timemoe_lab.config import Config, DataConfig, ModelConfig, TrainConfig, config_from_dict, tiny
from timemoe_lab.data.readers import read_folder
from timemoe_lab.detect.reading import read_series
from timemoe_lab.detect.score import Scores, to_samples
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.detect.threshold import best_f_beta, confusion, measure, sweep, thresholds_of
from timemoe_lab.files import UsageError, format_table
from timemoe_lab.model.moe import MoE, load_balancing_loss, route
from timemoe_lab.model.timemoe import TimeMoE
from timemoe_lab.train.loop import Clock


def _moe(generator, n_experts=6, top_k=3):
    moe = MoE(8, d_ff=10, d_expert=5, n_experts=n_experts, top_k=top_k)
    for p in moe.parameters():
        torch.nn.init.normal_(p, std=0.4, generator=generator)
    return moe


def test_the_order_of_experts_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    moe, x = _moe(generator), torch.randn(3, 20, 8, generator=generator)
    y, logits = moe(x)
    order = torch.randperm(6, generator=generator)
    with torch.no_grad():
        for p in (moe.router.weight, moe.experts.gate_up, moe.experts.down):
            p.copy_(p[order].clone())
    again, shuffled = moe(x)
    assert torch.allclose(again, y, atol=1e-6) and torch.allclose(shuffled, logits[..., order], atol=1e-6)


def test_gate_weights_are_a_share_of_all_experts_and_survive_large_logits():
    logits = torch.tensor([[1000.0, 999.0, 998.0, -1000.0]])
    weight, index = route(logits, 2)
    e = [1.0, math.exp(-1), math.exp(-2)]
    assert index.tolist() == [[0, 1]]
    assert weight[0].tolist() == pytest.approx([e[0] / sum(e), e[1] / sum(e)], rel=1e-6)


@pytest.mark.parametrize("top_k", [1, 2, 3, 4])
def test_the_balance_loss_matches_a_count_by_hand(top_k):
    generator = torch.Generator().manual_seed(top_k)
    logits = [torch.randn(2, 7, 5, generator=generator) for _ in range(3)]
    valid = torch.rand(2, 7, generator=generator) > 0.3
    per_layer = []
    for layer in logits:
        share, p_sum, n = [0.0] * 5, [0.0] * 5, 0
        for b, t in itertools.product(range(2), range(7)):
            if valid[b, t]:
                p = torch.softmax(layer[b, t].double(), 0).tolist()
                for e in sorted(range(5), key=lambda e: -p[e])[:top_k]:
                    share[e] += 1
                p_sum = [a + q for a, q in zip(p_sum, p)]
                n += 1
        per_layer.append((share, p_sum, n))
    alone = np.mean([5 * sum(f / n * p / n for f, p in zip(share, p_sum)) for share, p_sum, n in per_layer])
    share, p_sum = (np.sum([layer[i] for layer in per_layer], axis=0) for i in (0, 1))
    n = sum(layer[2] for layer in per_layer)
    assert load_balancing_loss(logits, top_k=top_k, valid=valid).item() == pytest.approx(alone, rel=1e-5)
    pooled = load_balancing_loss(logits, top_k=top_k, valid=valid, pooled=True).item()
    assert pooled == pytest.approx(5 * (share / n * p_sum / n).sum(), rel=1e-5)


@pytest.mark.parametrize(("n", "batch"), [(256, 64), (300, 2), (700, 1), (100, 64)])
def test_aligned_errors_gather_every_forecast_of_a_sample(n, batch):
    model = TimeMoE(tiny().model, seed=1).eval()
    x = np.random.default_rng(n).normal(size=n).astype(np.float32)
    reading = read_series(model, x[None], context=256, batch=batch)
    size, stride = min(256, n), max(1, min(256, n) // 2)
    starts = sorted({0, *range((n - size) % stride, n - size + 1, stride)})
    ahead = {}
    with torch.inference_mode():
        for k, start in enumerate(starts):  # a token belongs to the last window that has it in its second half
            out = model(torch.from_numpy(x[start : start + size])[None])
            for t in range(size):
                if k == 0 or t >= size - stride:
                    ahead[start + t] = {h: f[0, t].numpy() for h, f in out.forecast.items()}
    for row, h in enumerate((1, 8, 32, 64)):
        want = [np.mean([(ahead[t - i][h][i - 1] - x[t]) ** 2 for i in range(1, min(h, t) + 1)]) for t in range(1, n)]
        assert np.allclose(reading.error[0, row, 1:], want, rtol=2e-3, atol=1e-5)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 5))
def test_a_sample_gets_the_smallest_score_of_the_windows_that_hold_it(scores, hop, width):
    n_cells = len(scores) + width - 1
    n = n_cells * hop
    got = to_samples(np.array(scores), hop=hop, width=width, n=n)
    for sample in range(n):
        held = [s for k, s in enumerate(scores) if k <= sample // hop < k + width]
        assert got[sample] == min(held)


def test_scores_do_not_depend_on_the_channels_of_others(trained, raw):
    scorer = open_scorer(trained.path)
    recording = next(r for r in read_folder(raw) if r.class_id == 6)
    before = scorer.rows(recording)["lab"].channel_score
    signal = recording.signal.copy()
    signal[3] *= 3
    after = scorer.rows(replace(recording, signal=signal))["lab"].channel_score
    assert np.array_equal(before[:3], after[:3]) and not np.array_equal(before[3], after[3])


def test_a_sample_that_is_missing_has_no_score_and_is_counted(trained, raw):
    scorer = open_scorer(trained.path)
    recording = next(iter(read_folder(raw)))
    signal = recording.signal.copy()
    signal[:, 5000:8000] = np.nan  # in every channel, longer than a gap that is interpolated
    scores = scorer.rows(replace(recording, signal=signal))["lab"]
    assert np.isnan(scores.score[5010:7990]).all() and np.isfinite(scores.score[:4900]).all()
    assert 2900 <= scores.n_unscored <= 3100


score_and_label = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 6), min_size=n, max_size=n), st.lists(st.booleans(), min_size=n, max_size=n)
    )
)


@given(score_and_label, st.sampled_from([0.5, 1.0, 2.0]))
def test_the_sweep_finds_the_best_threshold_among_ties(case, beta):
    score, label = np.array(case[0], float), np.array(case[1])
    best = best_f_beta(score, label, beta=beta)
    if not label.any():
        assert math.isnan(best)
        return
    by_hand = {t: fbeta_score(label, score >= t, beta=beta, zero_division=0) for t in set(score)}
    assert by_hand[best] == pytest.approx(max(by_hand.values()))
    precision, recall, threshold = precision_recall_curve(label, score)
    counts = sweep(score, label)
    assert np.array_equal(counts.threshold, threshold)
    assert np.array_equal(counts.tp / (counts.tp + counts.fp), precision[:-1])
    assert np.array_equal(counts.tp / label.sum(), recall[:-1])


@given(score_and_label, st.integers(-1, 7))
def test_confusion_counts_every_sample_once(case, threshold):
    score, label = np.array(case[0], float), np.array(case[1])
    c = confusion(score, label, threshold)
    assert c.tp == sum(s >= threshold and y for s, y in zip(score, label))
    assert c.tp + c.fp + c.fn + c.tn == len(score) and c.tp + c.fn == label.sum()


@pytest.mark.parametrize("label", [np.zeros(9, bool), np.ones(9, bool)])
def test_one_class_alone_leaves_areas_undefined(label):
    got = measure(np.arange(9.0), label, 4.0)
    assert got["roc_auc"] is None and got["pr_auc"] is None and got["tp"] + got["fp"] == 5


def test_thresholds_lie_just_above_the_oddest_healthy_recording():
    generator = np.random.default_rng(0)
    healthy = [(generator.normal(size=1000) + s).astype(np.float32) for s in (0, 2, 1)]
    scores = [Scores(s, s[None], s[None], s[None], float(i), ("CH1",)) for i, s in enumerate(healthy)]
    config = replace(tiny(), score=replace(tiny().score, level=0.99, window_s=0.1))
    found = thresholds_of(scores, fs=1000.0, config=config)
    odd = np.sort(healthy[1])
    assert odd[989] < found.point <= odd[990] and found.recording == np.nextafter(np.float32(2), np.float32(9))
    means = np.sort(healthy[1].reshape(10, 100).mean(axis=1))
    assert means[-2] < found.window <= np.nextafter(means[-1], np.float32(9))


def test_beats_come_by_steps_and_by_hours_and_do_not_pile_up():
    now = [0.0]
    clock = Clock(3.0, 100, None, now=lambda: now[0])
    due = []
    for step in range(1, 251):
        now[0] += 60.0 * (1 if step < 200 else 400)  # later steps take 6.7 h: one beat each, none made up for
        if clock.is_due(step):
            due.append(step)
    assert due == [100, 180, *range(200, 251)]


def test_a_table_shows_a_dash_for_what_is_undefined():
    assert format_table([{"a": None, "b": 2}], {"A": "a:.3f", "B": "b"}).splitlines()[1].split(" | ") == ["–", "2"]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ModelConfig(top_k=9), "top_k"),
        (lambda: ModelConfig(horizons=(8, 1)), "horizons"),
        (lambda: ModelConfig(d_model=36, n_heads=12), "rotary"),
        (lambda: Config(data=DataConfig(context=5000)), "context"),
        (lambda: TrainConfig(steps=0), "steps"),
        (lambda: TrainConfig(head_weights=(0.0,) * 4), "head_weights"),
        (lambda: config_from_dict({"model": {"d_modle": 1}}), "d_modle"),
    ],
)
def test_a_knob_out_of_range_is_named(make, word):
    with pytest.raises(UsageError, match=word):
        make()
