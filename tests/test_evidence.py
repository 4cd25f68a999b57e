"Between a reading and a score, one rule at a time: spans, conditions, synthetic faults, memory, tails, votes."

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from timemoe_lab.config import TrainConfig, tiny
from timemoe_lab.data.motor import with_fault
from timemoe_lab.data.prepare import Counts
from timemoe_lab.data.recording import Recording
from timemoe_lab.detect.conditions import Seen, in_step, load_gain
from timemoe_lab.detect.faults import KINDS, put_faults
from timemoe_lab.detect.memory import Bank, all_series, cycle_of, keep_every
from timemoe_lab.detect.reading import Evidence, Space, read_series, sequence_part, window_parts
from timemoe_lab.detect.score import (
    Left,
    Levels,
    Made,
    Pooling,
    Profile,
    Scores,
    _areas_of,
    _weights,
    cell_evidence,
    fit_basis,
    sums_of,
    whole_score,
)
from timemoe_lab.detect.scorer import joined_blocks
from timemoe_lab.detect.tails import fit_tail, joined_evidence
from timemoe_lab.model.timemoe import TimeMoE
from timemoe_lab.run.folder import scope_for
from timemoe_lab.train.step import make_optimizer

NAN = math.nan


def currents(n, *, amplitude=1.0, phase=0.3, hz=50.0, fs=1000.0, unbalance=0.02):
    "Three phases (3, n) of a supply with a constant negative sequence."
    turn = np.exp(1j * (2 * np.pi * hz / fs * np.arange(n) + phase))
    back = np.exp(-2j * np.pi * np.arange(3) / 3)[:, None]
    return amplitude * (back * turn + unbalance * back.conj() * turn * np.exp(-1j)).real


# Windows of a reading


@pytest.fixture(scope="module")
def reading():
    "Tokens of 600 samples, of which a stretch does not count; the first 216 have less than half a window behind them."
    x = np.random.default_rng(0).normal(size=(1, 600)).astype(np.float32)
    counted = np.ones((1, 600), bool)
    counted[0, 300:380] = False
    space = Space(np.zeros((1, 32)), np.ones(1), np.zeros(32), np.eye(32)[:4])
    model = TimeMoE(tiny().model, seed=0).eval()
    return read_series(model, x, context=256, hop=8, counted=counted, space=space), counted


def test_windows_before_there_is_enough_to_look_back_on_say_what_the_first_one_after_says(reading):
    parts = window_parts(*reading, hop=8, width=5)
    for name, part in parts.items():
        assert (part[:, : 216 // 8] == part[:, 216 // 8, None]).all(), name
        assert (part[:, 216 // 8 + 1] != part[:, 216 // 8]).any(), name


def test_a_window_needs_half_of_its_samples(reading):
    "Of 40 samples 80 that do not count begin at 300: the window at 280 has 20 of them, the one at 288 has 12."
    parts = window_parts(*reading, hop=8, width=5)
    known = np.isfinite(parts["latent"][0]).all(axis=1)
    assert known[35] and not known[36] and not known[44] and known[45]  # 45 * 8 + 20 = 380


def test_overlapping_windows_are_not_so_many_observations():
    feature = np.random.default_rng(0).normal(size=(1, 40, 2))
    found = sums_of(feature, np.full(2, NAN), basis=fit_basis(np.full((3, 2), NAN)), width=8)
    assert found.n.tolist() == [5] and found.product[0, 0, 0] == 40


# The sequences of three currents


def test_sequences_are_known_across_a_gap_and_only_where_half_is():
    x = currents(3000, unbalance=0.2)
    valid = np.ones(3000, bool)
    valid[1010:1030] = False  # a period
    valid[2000:2300] = False
    hop, width = 10, 6
    whole = sequence_part(x, np.ones(3000, bool), 0.05, hop=hop, width=width)[0]
    found = sequence_part(np.where(valid, x, 50.0), valid, 0.05, hop=hop, width=width)[0]
    want = 0.2 * np.exp(1j)
    assert np.allclose(whole[10:-10, 0] + 1j * whole[10:-10, 1], want, atol=5e-3)
    assert np.allclose(found[94:108], whole[94:108], atol=0.03)
    known = np.isfinite(found[:, 0])
    assert known[197] and not known[198] and not known[226] and known[227]  # 30 of 60 samples


def test_sequences_are_means_over_three_periods():
    "A sideband a third of the supply away is gone after three periods, and is not after one."
    x = currents(3000, unbalance=0.0)
    t = np.arange(3000) / 1000
    side = [0.05 * np.cos(2 * np.pi * (50 * 4 / 3) * t + k * 2 * np.pi / 3) for k in range(3)]
    part = sequence_part(x + side, np.ones(3000, bool), 0.05, hop=10, width=1)[0, 20:-20]
    assert np.abs(part[:, 0] + 1j * part[:, 1]).max() < 2e-3


# Conditions


def test_beyond_the_conditions_seen_a_basis_is_that_of_the_edge():
    grid = np.array([(hz, a) for hz in (30.0, 60.0) for a in (1.0, 2.0)] * 4)
    basis = fit_basis(grid)
    assert basis.degree > 0
    for outside, edge in (((90.0, 5.0), (60.0, 2.0)), ((10.0, 0.1), (30.0, 1.0))):
        assert np.allclose(basis.terms(np.array(outside)), basis.terms(np.array(edge)))
    assert not np.allclose(basis.terms(np.array([30.0, 2.0])), basis.terms(np.array([60.0, 2.0])))


SEEN = Seen(np.array([[50.0, 1.0], [50.1, 1.02], [50.0, 2.0], [60.0, 3.0]]))


@pytest.mark.parametrize(
    "condition, said",
    [
        ((50.2, 1.01), ""),
        ((50.0, 2.4), ""),
        ((50.0, 1.4), "between the loads"),
        ((55.0, 1.0), "55 Hz"),
        ((61.0, 3), ""),
    ],
)
def test_what_is_outside_of_the_conditions_seen(condition, said):
    found = SEEN.says(np.array(condition))
    assert said in found and bool(found) == bool(said)


def test_a_recording_in_step_has_the_supply_that_was_seen():
    at = lambda hz, n: np.sin(2 * np.pi * hz * np.arange(n) / 1000)[None].astype(np.float32)
    off = Recording("a", at(50.5, 4000), 1000.0, ("a",), ("A",), 0)
    found, stretch = in_step(off, np.array([50.5, 1.0]), Seen(np.array([[50.0, 1.0]])))
    assert stretch == pytest.approx(1.01) and found.n_samples == pytest.approx(4040, abs=1)
    assert np.allclose(found.signal[:, 100:3900], at(50.0, found.n_samples)[:, 100:3900], atol=2e-3)


def test_the_loads_share_of_an_amplitude_stays_between_the_loads_seen():
    near = np.array([[50.0, 1.0], [50.0, 2.0]])
    gain = lambda amplitude, way=1: load_gain(currents(2000, amplitude=amplitude)[::way], 0.05, near=near)[500:1500]
    for amplitude, want in ((0.5, 0.5), (1.5, 0.75), (3.0, 1.0)):
        assert np.allclose(gain(amplitude), want, rtol=0.03) and np.allclose(gain(amplitude, -1), want, rtol=0.03)
    assert (load_gain(currents(2000), 0.05, near=near[:1]) == 1).all()


def test_auto_reads_windows_where_three_currents_are_and_none_is_masked():
    names = ("CH1", "CH2", "CH3", "CH4")
    assert scope_for(names, ()) == scope_for(names, ("CH4",)) == "window"
    assert scope_for(names, ("CH2",)) == scope_for(("Pressure", "Flow", "Heat"), ()) == "train"


# Synthetic faults


def test_a_synthetic_fault_has_the_size_and_the_phase_of_the_recording_it_is_put_in():
    "Three times the current, a third of a period later: the change is three times as large and as much later."

    def change(amplitude, phase):
        "The negative sequence that the fault adds, turned by the positive one (Fortescue)."
        healthy = Recording("0_a.csv", currents(3000, amplitude=amplitude, phase=phase), 1000.0, ("CH1", "CH2", "CH3"),
                            ("A",) * 3, 0)  # fmt: skip
        made = with_fault(healthy, 5)
        ((a, b),) = made.faults
        turn = np.exp(2j * np.pi * 0.05 * np.arange(a, b))
        w = np.exp(2j * np.pi * np.arange(3) / 3)[:, None]
        added = made.signal[:, a:b] - healthy.signal[:, a:b]
        positive = (w * healthy.signal[:, a:b] * turn.conj()).mean()
        return (w.conj() * added * turn.conj()).mean().conj() * positive / abs(positive)

    one, other = change(1.0, 0.3), change(3.0, 0.3 - 2 * np.pi / 3)
    assert abs(one) > 0.005 and other / 3 == pytest.approx(one, rel=0.2)


def test_faults_are_put_where_they_are_said_to_be_and_never_into_a_masked_channel():
    draw = np.random.default_rng(0)
    healthy = [
        Recording(f"0_{i}", draw.normal(size=(3, 5000)), 1000.0, ("a", "b", "c"), ("",) * 3, 0) for i in range(3)
    ]
    of_all = {"flip", "speed", "damp"}
    kinds = set()
    for made in put_faults(healthy, mask=("b",), copies=1):
        base = next(r for r in healthy if r.name == made.base)
        changed = made.recording.signal != base.signal
        assert not changed[1].any() and not changed[:, ~made.recording.label].any()
        for kind, (a, b) in zip(made.kinds, made.recording.faults):
            assert changed[:, a:b].any(axis=1).sum() == (2 if kind in of_all else 1), kind
        kinds |= set(made.kinds)
    assert kinds == KINDS.keys()  # no short: there are no three currents


# Memory


def test_a_bank_without_a_recording_does_not_hold_it_and_measures_the_mean_of_the_nearest():
    row = np.array([[0.0, 0], [1, 0], [3, 0], [10, 0]], np.float32)
    bank = Bank(row, np.array([0, 0, 1, 1]), nearest=2)
    assert bank.distance(row[:1])[0, 0] == pytest.approx((0 + math.sqrt(1 / 2)) / 2)
    rest = bank - Bank(row[:2], np.array([0, 0]))
    assert rest.distance(row[:1])[0, 0] == pytest.approx((math.sqrt(9 / 2) + math.sqrt(100 / 2)) / 2)
    assert np.isnan(bank.distance(np.array([[NAN, 0]], np.float32))).all()


def test_a_standard_bank_divides_by_what_its_features_scatter_by():
    row = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32) * [1, 1000]
    bank = Bank(row.astype(np.float32), np.zeros(500, int), standard=True)
    found = bank.distance((row[:1] + [5, 0]).astype(np.float32))[0, 0]
    alike = bank.distance((row[:1] + [0, 5000]).astype(np.float32))[0, 0]
    assert 1 < found < 4 and 1 < alike < 4


def test_a_bank_is_as_small_as_it_is_told_to_be():
    for n_series, mb in ((1, 20.0), (3, 20.0), (3, 0.05)):
        step = keep_every(100_000, n_series=n_series, n_features=200, most_mb=mb)
        assert 100_000 / step * 200 * 4 <= mb * 1e6 and 100_000 / step <= (9000 if n_series == 1 else 2500)
    assert keep_every(10, n_series=1, n_features=10, most_mb=20.0) == 1


def test_the_period_is_the_shortest_of_those_that_repeat_it():
    t = np.arange(4000)
    wave = np.sin(2 * np.pi * t / 40) + 0.02 * np.sin(2 * np.pi * t / 80)  # twice the period repeats a little better
    assert cycle_of([wave[None]]) == 40
    assert cycle_of([np.random.default_rng(0).normal(size=(1, 4000))]) is None


def test_series_join_as_one_vector():
    assert np.allclose(all_series(np.array([[3.0, NAN], [5.0, 2.0]])), [math.sqrt(17), 2.0])


# Tails


def test_evidence_is_the_share_of_healthy_scores_that_reach_as_far():
    "Of exponential scores one in ten reaches log 10, one in a thousand 3 log 10, one in a million 6 log 10."
    healthy = np.random.default_rng(0).exponential(size=100_000)
    tail = fit_tail(healthy)
    for power in (0.3, 1, 3, 6):
        assert tail.evidence(np.array(power * math.log(10))) == pytest.approx(power, rel=0.05)
    assert tail.evidence(np.array([healthy.min(), -1.0])).tolist() == [0, 0] and np.isnan(tail.evidence(np.array(NAN)))


def test_few_healthy_scores_are_never_more_than_one_in_so_many():
    "Of three, one and the new one: at the largest of them a share of 1 / 4, and constant ones tell of any change."
    tail = fit_tail(np.array([1.0, 2.0, 3.0]), share=0.5)
    assert tail.evidence(np.array(2.0)) == pytest.approx(-math.log10((1 + 1.5) / 4))
    constant = fit_tail(np.ones(5))
    assert constant.evidence(np.array(1.0)) == 0 and constant.evidence(np.array(1.001)) > 3


def test_what_a_part_does_not_know_is_not_counted():
    said = {"a": np.array([1.0, NAN, NAN]), "b": np.array([4.0, 4.0, NAN]), "c": np.array([9.0, 9.0, 9.0])}
    assert np.allclose(joined_evidence(said, {"a": 2.0, "b": 1.0}), [2.0, 4.0, NAN], equal_nan=True)


# Votes, and where evidence goes


def profile(**parts):
    "A profile whose tails are those of exponential scores, times 1 for each part that isn't told otherwise."
    scores = np.random.default_rng(0).exponential(size=20_000)
    tails = {part: fit_tail(scale * scores) for part, scale in parts.items()}
    return Profile(None, {}, tails=tails)


def test_each_best_part_has_a_vote_and_the_level_none():
    known = profile(memory=1, statistics=1, virtual=1, gradient=1, latent=1, physics=1, level=1)
    areas = {"gradient": 0.7, "latent": 0.8, "virtual": 0.9, "memory": 0.6, "level": 1.0}
    found = _weights(known, areas, 10)
    assert found == {"memory": 1, "statistics": 1, "virtual": 2, "physics": 1, "latent": 1}
    assert _weights(known, areas | {"gradient": 0.95}, 10)["gradient"] == 2  # best of the model's, and of all
    assert [_weights(known, {}, n)["physics"] for n in (3, 5, 9)] == pytest.approx([0, 2 / 7, 6 / 7])
    assert _weights(profile(memory=1, statistics=1, joint=1), {}, 9).keys() == {"memory", "statistics", "joint"}


HOW = Pooling(hop=1, width=1, wave=1)


def said(local, whole, spread):
    "What `memory` (cell,) and the whole recording say of its cells, where healthy evidence varies by `spread`."
    known = profile(memory=1, physics=1)
    known = replace(known, tails=known.tails | {"spread": fit_tail(np.linspace(0.5, 1, 5) * spread)})
    distance = {"memory": np.array([local]) * math.log(10), "physics": np.array([[whole * math.log(10)]])}
    weight = {"memory": 1.0, "physics": 1.0}
    return cell_evidence(distance, known, weight=weight, how=HOW, n=len(local))["physics"]


def test_a_recordings_evidence_is_of_all_its_samples_unless_its_windows_differ_as_none_healthy_do():
    local = np.array([0.2] * 50 + [2.2] * 50)
    assert np.allclose(said(local, 2.0, spread=1.5), 2.0, rtol=0.05)  # half a step more than healthy: 2 < 1.5 * 1.5
    apart = said(local, 2.0, spread=1.0)
    assert np.allclose(apart[:50], 0, atol=0.02) and np.allclose(apart[50:], 2.0, rtol=0.05)
    assert np.allclose(said(local, 40.0, spread=1.5), 3.0)  # however sure, no sample takes more


def test_a_recordings_score_is_the_larger_of_what_samples_and_the_whole_say():
    known = profile(points=1, physics=1)
    at = lambda points, whole, votes: whole_score(
        points * math.log(10), {"physics": np.array([[whole * math.log(10)]])}, known, {"physics": votes}
    )
    assert at(1.0, 2.0, 1.0) == pytest.approx(2.0, rel=0.03) and at(2.0, 1.0, 1.0) == pytest.approx(2.0, rel=0.03)
    assert at(1.0, 6.0, 2 / 7) == pytest.approx(6 * 2 / 7, rel=0.05)  # few healthy recordings: faded
    assert at(1.0, 6.0, 2.0) == pytest.approx(6.0, rel=0.05) and at(1.0, 6.0, 0.0) == pytest.approx(1.0, rel=0.03)
    assert at(1.0, NAN, 1.0) == pytest.approx(1.0, rel=0.03)


def test_a_current_below_all_healthy_ones_is_as_odd_as_one_above():
    levels = Levels(np.array([[50.0, 1.0], [50.0, 2.0], [60.0, 9.0]]), np.arange(3))
    found = [levels.distance(np.array([50.0, i]))[0, 0] for i in (2.5, 0.8, 1.3, 2.0)]
    assert found == pytest.approx([1, 1, 0, 0])


def of_cells(cells):
    "A recording of so many cells, measured."
    nothing = np.zeros((1, len(cells)))
    evidence = Evidence("a", ("a",), {}, None, nothing, nothing, nothing == 0, 1, len(cells), Counts(), nothing)
    return Left(evidence, {"memory": np.array([cells])})


def test_the_area_of_synthetic_faults_counts_pairs_and_a_tie_by_half():
    healthy = [of_cells([1.0, 2.0]), of_cells([3.0, 4.0])]
    faulty = of_cells([9.0, 2.0, 5.0, 0.0])
    made = Made(faulty.evidence, ("x", "y"), ((1, 3), (3, 4)))  # x: 2 and 5, y: 0
    pairs = [(1.5 + 4) / 8, 0.0]
    assert _areas_of([(made, faulty)], healthy, HOW) == {"memory": pytest.approx(np.mean(pairs))}


def test_the_score_of_blocks_is_that_of_the_loudest():
    block = lambda v: Scores(np.full(2, v), *[np.full((1, 2), v)] * 3, v, ("a",))
    found = joined_blocks([block(1.0), block(3.0), block(2.0)])
    assert found.recording_score == 3 and found.score.tolist() == [1, 1, 3, 3, 2, 2]


# Training


def test_norms_do_not_decay_and_matrices_do():
    model = TimeMoE(tiny().model, seed=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, replace(TrainConfig(), weight_decay=0.5, lr=0.1))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        share = 1.0 if p.dim() == 1 else 0.95
        assert torch.allclose(p, share * before[name]), name
    assert any(p.dim() == 1 and p.abs().sum() > 0 for p in model.parameters())
