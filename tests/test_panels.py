"What the panels of channels and routing are given, against plain computations."

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from timemoe_lab.data.phases import ring
from timemoe_lab.data.prepare import normalise
from timemoe_lab.data.recording import Recording
from timemoe_lab.data.signature import (
    BINS,
    ORDERS,
    lines,
    look,
    negative_sequence,
    read_signature,
    spectrum,
    vector_of,
)
from timemoe_lab.files import InputError
from timemoe_lab.run.folder import RunFolder, frame_of
from timemoe_lab.view.channels import (
    Bench,
    ChannelPanel,
    Scene,
    contribution,
    envelope_of,
    nearest,
    payload,
    physics,
    read_scene,
)
from timemoe_lab.view.figures import thin
from timemoe_lab.view.panel import pick
from timemoe_lab.view.routing import (
    MIXED,
    N_BINS,
    RoutingPanel,
    Track,
    by_condition,
    label_bins,
    load_of,
    read_history,
    read_routing,
)

FS = 5000.0


@pytest.fixture(scope="module")
def motor():
    "Three currents at 50.03 Hz with 5 % negative sequence, a sideband, and a coil; 2.4 s."

    def make(name="0_a.csv", *, negative=0.05, side=0.02, supply=50.03, shift=0.0, load=100.0, scale=1.0):
        t = np.arange(int(2.4 * FS)) / FS
        rng = np.random.default_rng(len(name))
        turn = np.exp(2j * np.pi * (supply * t + shift))
        vector = scale * (4 * turn + 4 * negative * turn.conj() + side * np.exp(2j * np.pi * 25.9 * t))
        three = [np.real(vector * np.exp(-2j * np.pi / 3 * k)) for k in range(3)]
        signal = np.array([*three, 0.3 * np.sin(2 * np.pi * supply * t)]) + rng.normal(0, 1e-3, (4, len(t)))
        channels, units = ("CH1", "CH2", "CH3", "CH4"), ("A", "A", "A", "V")
        return Recording(name, signal.astype(np.float32), FS, channels, units, 0, supply, load)

    return make


def test_contributions_are_those_of_brute_force():
    rng = np.random.default_rng(1)
    score, l1, l2 = rng.gamma(2.0, 1.0, (3, 5, 400))
    score[2], score[0, 50:150] = np.nan, np.nan
    found = contribution(score, l1=l1, l2=l2, weights=(0.7, 0.2), part=(100, 300))
    means = []
    for row in score:
        known = [v for v in row[100:300].tolist() if v == v]
        means.append(sum(known) / len(known) if known else None)
    total = sum(m for m in means if m is not None)
    for i, m in enumerate(means):
        assert np.isnan(found.share[i]) if m is None else np.isclose(found.share[i], m / total)
        one = 0.7 * sum(l1[i, 100:300]) / 200
        two = 0.2 * sum(l2[i, 100:300]) / 200
        assert np.isclose(found.l1[i], one / (one + two))
    ranked = sorted((i for i in range(5) if means[i] is not None), key=lambda i: -means[i])
    assert found.order.tolist() == [*ranked, 2]


def test_sidebands_follow_the_formula_and_stay_away_without_a_slip():
    below = {round(line.hz, 6) for line in lines(60.0, slip=0.1, pole_pairs=1)}  # (1 - 3 * 0.9) f is mirrored
    assert round(1.7 * 60, 6) in below and min(below) >= 0
    supply = 47.0
    slip = 0.031
    pairs = 3
    found = {(line.is_side, round(line.hz, 6)) for line in lines(supply, slip=slip, pole_pairs=pairs)}
    wanted = {(False, round(k * supply, 6)) for k in (1, 2, 3, 5, 7)}
    for k in (1, 3):
        for n in (1, 2, 3):
            wanted |= {(True, round(abs(k + s * n * (1 - slip) / pairs) * supply, 6)) for s in (-1, 1)}
    assert found == wanted
    assert not any(line.is_side for line in lines(supply, slip=None, pole_pairs=2))


def test_a_spectrum_has_the_height_of_a_sine_whatever_its_length():
    for seconds in (1.0, 2.4, 7.0):
        t = np.arange(int(seconds * FS)) / FS
        x = 2.5 * np.sin(2 * np.pi * 51.3 * t) + 100
        found = spectrum(np.stack([x, np.full(len(t), np.nan)]), fs=FS, base_hz=51.3)
        assert np.isclose(found.at([51.3])[0, 0], 2.5, rtol=0.01) and np.isnan(found.amplitude[1]).all()
        pooled = found.pooled(51.3)
        assert pooled.shape == (2, ORDERS * BINS) and np.isclose(pooled[0, BINS], 2.5, rtol=0.01)
        assert np.nanargmax(pooled[0]) in (BINS - 1, BINS) and pooled[0, : BINS // 2].max() < 0.01


def test_a_spectrum_above_half_the_rate_is_unknown():
    low = spectrum(np.random.default_rng(0).normal(size=(1, 500)), fs=300.0, base_hz=50.0)
    assert np.isnan(low.at([151.0])).all() and np.isnan(low.pooled(50.0)[0, 3 * BINS + 1 :]).all()
    assert np.isfinite(low.pooled(50.0)[0, : 3 * BINS - 1]).all()


def test_missing_samples_hardly_change_a_line(motor):
    whole = motor()
    signal = whole.signal.copy()
    signal[:, 3000:3040] = np.nan
    a = physics(whole, pole_pairs=2)
    b = physics(replace(whole, signal=signal), pole_pairs=2)
    assert np.allclose(a.line[:, 0], b.line[:, 0], rtol=0.02)


def test_negative_sequence_is_the_one_put_in(motor):
    for share in (0.0, 0.05, 0.2):
        r = motor(negative=share, side=0.0)
        t, found = negative_sequence(look(r), 50.03)
        assert np.allclose(found[2:-2], share, atol=2e-3) and (np.diff(t) > 0).all() and t[-1] < 2.4
    a, b, c = motor().signal[:3]
    swapped = replace(motor(), signal=np.stack([a, c, b, b]))
    assert np.allclose(negative_sequence(look(swapped), 50.03)[1][2:-2], 0.05, atol=2e-3)


def test_a_ring_is_an_ellipse_of_both_sequences(motor):
    found = ring(vector_of(look(motor(negative=0.1, side=0.0))))
    assert np.isclose(np.nanmax(found), 4.4, rtol=0.01) and np.isclose(np.nanmin(found), 3.6, rtol=0.01)
    vector = vector_of(look(motor()))
    assert np.isnan(vector[:10]).all() and np.isnan(vector[-10:]).all() and np.isfinite(vector[10:-10]).all()
    few = ring(np.array([1, 1j, np.nan]))
    assert few[0] == few[18] == 1 and np.isnan(few).sum() == 70


def test_spans_without_samples_have_no_negative_sequence(motor):
    sight = look(motor())
    weight = sight.weight.copy()
    weight[: len(weight) // 2] = 0
    t, found = negative_sequence(replace(sight, weight=weight), 50.03)
    assert np.isnan(found[t < 1.0]).all() and np.isfinite(found[t > 1.5]).all()


def test_an_envelope_is_the_lowest_and_highest_of_numpy(motor):
    parts = [physics(motor("b.csv"[:i], negative=0.01 * i, scale=1 + 0.02 * i), pole_pairs=2) for i in (1, 2, 5)]
    usual = envelope_of(parts)
    for name in ("spectrum", "line", "ring"):
        values = np.stack([getattr(p, name) for p in parts])
        with np.errstate(all="ignore"):
            assert np.array_equal(getattr(usual, name)[0], np.nanmin(values, axis=0), equal_nan=True)
            assert np.array_equal(getattr(usual, name)[1], np.nanmax(values, axis=0), equal_nan=True)
    spans = np.concatenate([p.negative[1] for p in parts])
    assert usual.n == 3 and usual.negative.tolist() == [spans.min(), spans.max()]


def test_an_envelope_rests_on_the_same_condition_and_says_on_how_many(motor):
    here = motor("x.csv")
    others = [
        motor(f"h{i}.csv", supply=s, load=p)
        for i, (s, p) in enumerate([(50.03, 100), (60, 100), (50.03, 50), (50.1, 99)])
    ]
    usual, words = Bench(Scene((here,), tuple([*others, here]))).healthy(here, here.n_samples)
    assert usual.n == 2 and "2 healthy recordings" in words and "nearest" not in words
    usual, words = Bench(Scene((here,), tuple(others[1:3]))).healthy(here, here.n_samples)
    assert usual.n == 2 and "nearest" in words
    assert Bench(Scene((here,), (here,))).healthy(here, 100)[0] is None


def test_conditions_that_nobody_told_are_measured(motor):
    untold = lambda r: replace(r, supply_hz=None, load_pct=None)
    here = untold(motor("x.csv"))
    others = [
        untold(motor(f"h{i}.csv", supply=s, scale=c)) for i, (s, c) in enumerate([(50.03, 1.01), (50.03, 2), (60, 1)])
    ]
    usual, words = Bench(Scene((here,), tuple(others))).healthy(here, here.n_samples)
    assert usual.n == 1 and "measured" in words


def test_nearest_prefers_the_small_gap_and_takes_no_more_than_asked():
    others = [(50, 100)] * 20 + [(50, 90)]
    assert nearest((50, 100), others)[0] == list(range(12))
    assert nearest((50, 70), others, least=1) == ([20], False)
    assert nearest((0, 0), [(0, 0)]) == ([0], True)  # nothing is known of either


def test_a_slip_that_does_not_stand_out_is_not_guessed(motor):
    found = physics(motor(side=0.0), pole_pairs=2)
    assert found.supply_hz is not None and found.slip is None and not any(line.is_side for line in found.marks)
    assert np.isfinite(found.line[:, :5]).all() and np.isnan(found.line[:, 5:]).all()


def test_a_masked_current_leaves_no_vector(motor):
    found = physics(motor(), mask=("CH2",), pole_pairs=2)
    assert found.supply_hz is None and found.sight is None and np.isnan(found.ring).all()
    assert np.isnan(found.line[1]).all() and np.isnan(found.spectrum[1]).all() and np.isfinite(found.spectrum[0]).all()


def test_thinning_keeps_every_extreme():
    x = np.random.default_rng(0).normal(size=(2, 10_007))
    x[1, 500:900] = np.nan
    few = thin(x, 1000)
    assert few.shape[1] <= 1000 and np.array_equal(
        few.reshape(2, -1, 2).min(axis=2) <= few.reshape(2, -1, 2).max(axis=2),
        ~np.isnan(few.reshape(2, -1, 2)).any(axis=2),
    )
    assert np.nanmax(few, axis=1).tolist() == np.nanmax(x, axis=1).tolist() and np.isnan(few[1]).any()
    width = -(-10_007 // 500)
    for k in (0, 7, 499 * 10_007 // 10_007 // 2):
        part = x[0, k * width : (k + 1) * width]
        assert few[0, 2 * k : 2 * k + 2].tolist() == [part.min(), part.max()]


def test_a_picked_store_shows_every_class_and_no_training(store):
    picked = pick(store, 4)
    known = {e.name: e for e in store.entries}
    assert len(picked) == 4 and {known[r.name].split for r in picked} <= {"validation", "calibration"}
    wanted = {e.class_id for e in store.entries if e.split in ("validation", "calibration")}
    assert {r.class_id for r in picked} == wanted


def test_a_panel_of_a_run_sends_the_scores_of_the_row_in_force(trained):
    panel = ChannelPanel(trained, key="test channels")
    scene = read_scene(trained)
    here = next(r for r in scene.recordings if r.name == panel.recording)
    scores = scene.score(here)
    sent = np.frombuffer(panel.arrays["channel_score"]["data"], "<f4").reshape(panel.arrays["channel_score"]["shape"])
    factor = round(panel.facts["steps"]["score"] * here.fs)
    assert np.array_equal(sent, scores.channel_score[:, ::factor], equal_nan=True)
    assert panel.threshold == scene.scorer.point.threshold and here.label.any()
    signature = read_signature(here, pole_pairs=2)
    assert np.isclose(panel.facts["physics"]["supply_hz"], signature.condition[0])
    assert panel.facts["physics"]["slip"] == pytest.approx(signature.condition[2] if signature.slip_known else None)
    with pytest.raises(InputError, match="not among the recordings"):
        panel.answer({"recording": "nobody.csv", "window": []})
    panel.close()


def test_a_run_without_a_beat_says_the_command(trained, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(trained.path, copy)
    (copy / "operating_point.json").unlink()
    scene = read_scene(RunFolder(copy))
    facts, arrays = payload(scene, scene.recordings[0])
    assert "timemoe-lab resume" in facts["absent"] and set(arrays) == {"signal"}
    panel = RoutingPanel(RunFolder(copy), recordings=scene.recordings[:1], key="test routing")
    assert panel.threshold is None and "score0" not in panel.arrays
    shutil.rmtree(copy / "checkpoints")
    (copy / "checkpoints").mkdir()
    assert "timemoe-lab resume" in RoutingPanel(RunFolder(copy), key="test routing").facts["absent"]


def test_choices_are_those_of_every_window_by_hand(trained, store):
    whole = store.recording(store.members("validation")[0])
    recording = replace(whole, signal=whole.signal[:, :9030], faults=())
    (track,) = read_routing(trained, [recording])
    model = trained.model()
    data = trained.config.data
    size = data.context
    seen = normalise(recording, frame=frame_of(trained), config=data)
    n = seen.x.shape[1]
    found = np.zeros_like(track.count)
    starts = sorted({0, *range((n - size) % (size // 2), n - size + 1, size // 2)})
    owner = [max([0, *(s for s in starts if token - s >= size // 2)]) for token in range(n)]
    for start in starts:  # a token is read in the last window that has half of its length before it
        mine = [token for token in range(start, start + size) if owner[token] == start]
        x = seen.x[:, start : start + size]
        if data.scope == "window":
            x = (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + 1e-6)
        with torch.inference_mode():
            logits = model(torch.from_numpy(x.astype(np.float32)), routing=True).router_logits
        for layer, each in enumerate(logits):
            best = each.numpy().argsort(axis=2)[:, :, -2:]
            for s in range(len(x)):
                for token in mine:
                    found[s, layer, best[s, token - start], token * N_BINS // n] += 1
    assert found.sum() == 2 * 2 * found.shape[0] * n == track.count.sum()
    assert np.abs(found - track.count).sum() <= 0.001 * found.sum()  # a near tie may fall either way


def test_a_bin_is_of_the_kind_that_all_its_samples_are():
    label = np.random.default_rng(3).random(1000).cumsum() % 60 > 30
    found = label_bins(label, 37)
    for b in range(37):
        samples = [bool(label[i]) for i in range(1000) if i * 37 // 1000 == b]
        assert found[b] == (0 if not any(samples) else 1 if all(samples) else MIXED)
    assert label_bins(np.array([True, False]), 4).tolist() == [1, MIXED, 0, MIXED]


def test_classes_hold_the_bins_that_are_of_one_kind():
    rng = np.random.default_rng(4)
    tracks = []
    wanted = {}
    for i in range(12):
        count = rng.integers(0, 9, (2, 3, 4, 50))
        label = rng.integers(0, 3, 50)
        kind = (0, 3, None)[i % 3]
        at = f"{i % 2} Hz"
        label[label == 1] = 0 if kind == 0 else 1
        tracks.append(Track(f"{i}", count, 1.0, ("a", "b"), ("", ""), label, "", kind, at))
        for b in np.flatnonzero(label < 2):
            name = "healthy" if label[b] == 0 else "class unknown" if kind is None else f"class {kind}"
            wanted[f"{name}, {at}"] = wanted.get(f"{name}, {at}", 0) + count[..., b].sum(axis=0)
    found = by_condition(tracks)
    assert set(found.names) == set(wanted) and len(found.names) == 6
    assert all(np.array_equal(c, wanted[name]) for name, c in zip(found.names, found.count))


def test_load_is_nan_where_nothing_was_chosen_and_dead_counts_tokens():
    load = load_of(np.array([[198.9, 0.9, 0.2, 0], [0, 0, 0, 0]]), top_k=2)  # 100 tokens
    assert load.dead.tolist() == [[False, True, True, True], [False] * 4] and np.isnan(load.balance[1])
    assert load_of(np.array([[198.5, 1.5]]), top_k=2).dead.tolist() == [[False, False]]
    assert np.isclose(load_of(np.array([[3, 1]]), top_k=1).balance[0], 0.5)  # (0.25 / 0.5)


def test_history_is_that_of_the_events(trained):
    found = read_history(trained)
    events = trained.events("step")
    assert found["step"].tolist() == [e.step for e in events]
    assert np.allclose(found["expert_load"], [e.values["expert_load"] for e in events])
    assert np.allclose(found["entropy"], [e.values["entropy"] for e in events])
