"`literal()` follows the specification to the letter: a test for each statement that it covers (SPEC 2 to 23)."

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_run
from sklearn.metrics import fbeta_score

from timemoe_lab.agent.policy import decide
from timemoe_lab.config import SPACE, DataConfig, literal, tiny
from timemoe_lab.data.prepare import Normalised, normalise
from timemoe_lab.data.readers import read_folder
from timemoe_lab.detect.evaluate import evaluate
from timemoe_lab.detect.reading import gather, learn_space, read_series
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.model.timemoe import TimeMoE
from timemoe_lab.records import Event
from timemoe_lab.run.folder import find_store
from timemoe_lab.train.step import aux_weight, learning_rate

HEADS = (1.0, 2.0, 0.5, 0.25)  # weights that differ, so that leaving them out shows


@pytest.fixture(scope="module")
def config():
    "The preset on the small model, at the small model's rate, with a few steps and weights that can be told apart."
    small, letter = tiny(), literal()
    data = replace(letter.data, context=256, stride=128, max_fs=1000.0)
    recipe = replace(small.train, steps=4, warmup=2, aux_warmup=2, checkpoint_every=4, head_weights=HEADS)
    score = replace(letter.score, alpha=2.0, beta=0.3)
    agent = replace(letter.agent, every_steps=2)
    return replace(letter, model=small.model, data=data, train=recipe, score=score, agent=agent)


@pytest.fixture(scope="module")
def run(store, config, tmp_path_factory):
    "A run of it on recordings with a flux coil, of which some are labelled for validation."
    return make_run(tmp_path_factory.mktemp("literal") / "run", store, config)


@pytest.fixture(scope="module")
def scorer(run):
    return open_scorer(run.path)


def test_ch4_is_masked_to_0_though_the_store_has_it(run, scorer, raw):
    "SPEC 2."
    assert "CH4" not in find_store(run).mask and scorer.frame.mask == ("CH4",)
    recording = next(r for r in read_folder(raw) if r.class_id == 5)
    seen = normalise(recording, frame=scorer.frame, config=run.config.data)
    assert (seen.x[3] == 0).all() and not seen.valid[3].any() and seen.valid[:3].all()
    other = replace(recording, signal=recording.signal * np.array([[1], [1], [1], [-50]], np.float32))
    first, second = (scorer.rows(r) for r in (recording, other))
    for row in ("spec", "L1", "L2"):
        assert np.array_equal(first[row].score, second[row].score)
    assert literal().data.mask == ("CH4",) and DataConfig().mask == ()


def test_missing_samples_are_0_and_the_scale_is_that_of_training_recordings():
    "SPEC 3."
    assert (literal().data.nan, literal().data.scope) == ("zero", "train")


def test_training_is_the_recipe_of_the_specification():
    "SPEC 8 to 13: the model, Huber delta 1, a linear warm-up to 1e-4, 8 x 16 windows, AdamW, balance from 0 to .02."
    model, recipe = literal().model, literal().train
    assert (model.norm_eps, model.n_experts, model.top_k, model.router_std) == (1e-5, 8, 2, 0.01)
    assert model.horizons == (1, 8, 32, 64) and 2048 <= literal().data.context <= 4096
    assert (recipe.delta, recipe.lr, recipe.batch, recipe.accumulation, recipe.optimizer) == (1.0, 1e-4, 8, 16, "adamw")
    rates = [learning_rate(step, recipe) for step in range(1, recipe.warmup + 1)]
    assert np.allclose(rates, np.linspace(0, 1e-4, recipe.warmup + 1)[1:])
    shares = [aux_weight(step, recipe) for step in (0, recipe.aux_warmup // 2, recipe.aux_warmup, 10_000)]
    assert shares == pytest.approx([0, 0.01, 0.02, 0.02])


@pytest.fixture(scope="module")
def model():
    return TimeMoE(tiny().model, seed=0).eval()


@pytest.fixture(scope="module")
def series():
    return np.random.default_rng(0).normal(size=(2, 700)).astype(np.float32)


def test_l1_is_the_weighted_sum_over_all_resolutions_of_the_mean_squared_errors(run, scorer, raw):
    "SPEC 17: of each head's forecasts of a sample, with the head's weight."
    recording = next(r for r in read_folder(raw) if r.class_id == 5)
    how = {"frame": scorer.frame, "config": run.config}
    evidence = gather(scorer.model, recording, space=scorer.profile.space, **how)
    seen = normalise(recording, frame=scorer.frame, config=run.config.data)
    start = len(seen.x[0]) - 256  # the last window, of which every position is read
    with torch.inference_mode():
        ahead = scorer.model(torch.from_numpy(seen.x[1, start:])[None]).forecast
    t = 200  # a sample that all its forecasts in the window are of
    want = 0.0
    for weight, (h, forecast) in zip(HEADS, ahead.items()):
        errors = [(float(forecast[0, t - i, i - 1]) - seen.x[1, start + t]) ** 2 for i in range(1, h + 1)]
        want += weight * np.mean(errors)
    assert evidence.l1[1, start + t] == pytest.approx(want, rel=1e-3)


def test_the_mean_vector_is_of_all_positions_of_the_windows(model, series):
    "SPEC 18: of the windows that are sampled, from the first position on."
    space = learn_space(
        model, [Normalised(series, np.ones(series.shape, bool), 1)], config=tiny().data, positions="all"
    )
    starts = np.unique(np.linspace(0, 700 - 256, (700 - 256) // 32 + 1).astype(int))
    with torch.inference_mode():
        hidden = np.stack([model(torch.from_numpy(series[:, a : a + 256])).hidden.numpy() for a in starts])
    assert np.allclose(space.centre, hidden.mean(axis=(0, 2)), atol=1e-5)
    later = hidden[:, :, 128:].mean(axis=(0, 2))
    assert not np.allclose(space.centre, later, atol=1e-4)
    late = learn_space(model, [Normalised(series, np.ones(series.shape, bool), 1)], config=tiny().data)
    assert np.allclose(late.centre, later, atol=1e-5)  # the lab's own: what has half a window to look back on


def test_l2_is_the_euclidean_distance_at_every_position_of_a_window(model, series):
    "SPEC 18: to the channel's own mean vector."
    space = learn_space(
        model, [Normalised(series, np.ones(series.shape, bool), 1)], config=tiny().data, positions="all"
    )
    reading = read_series(model, series, context=256, space=space, positions="all")
    with torch.inference_mode():
        hidden = model(torch.from_numpy(series[:, 188:444])).hidden.numpy()
    want = np.linalg.norm(hidden - space.centre[:, None], axis=2)
    assert np.allclose(reading.l2[:, 188:444], want, rtol=1e-4)
    late = read_series(model, series, context=256, space=space)
    assert not np.allclose(late.l2[:, 188:316], want[:, :128], rtol=1e-2)


def test_one_mean_vector_for_all_channels_is_a_setting(run, scorer, raw):
    'SPEC 18: profile="global".'
    recording = next(r for r in read_folder(raw) if r.class_id == 5)
    shared = replace(run.config, score=replace(run.config.score, profile="global"))
    space = scorer.profile.space
    how = {"frame": scorer.frame, "space": space}
    own, one = (gather(scorer.model, recording, config=c, **how) for c in (run.config, shared))
    same = replace(space, centre=np.tile(space.mean, (4, 1)))
    by_hand = gather(scorer.model, recording, config=run.config, frame=scorer.frame, space=same)
    assert np.array_equal(one.l2, by_hand.l2, equal_nan=True) and not np.array_equal(one.l2[:3], own.l2[:3])
    assert np.allclose(space.mean, np.average(space.centre[:3], axis=0, weights=space.n[:3]))
    assert literal().score.profile == "channel"


def test_the_score_is_alpha_l1_plus_beta_l2_over_the_channels(run, scorer, raw):
    "SPEC 19, with weights that aren't the usual ones."
    recording = next(r for r in read_folder(raw) if r.class_id == 5)
    found = scorer.rows(recording)["spec"]
    want = np.mean(2.0 * found.l1[:3] + 0.3 * found.l2[:3], axis=0)
    assert np.allclose(found.score, want, rtol=1e-5)
    assert (literal().score.mode, literal().score.alpha, literal().score.beta) == ("spec", 1.0, 0.1)
    assert (literal().score.error, literal().score.distance) == ("mse", "euclidean")


def test_how_far_a_window_is_routed_otherwise_can_be_read(scorer, raw):
    "SPEC 20."
    assert np.isfinite(scorer.rows(next(iter(read_folder(raw))))["routing"].recording_score)


def test_the_threshold_in_force_is_the_best_f_beta_on_labelled_recordings(run, scorer):
    "SPEC 21c: beta .5, on validation recordings, by trying every score."
    store = find_store(run)
    score, label = [], []
    for i in store.members("validation"):
        recording = store.recording(i)
        keep = np.ones(recording.n_samples, bool)
        for edge in np.flatnonzero(np.diff(recording.label.astype(int))) + 1:
            keep[edge - 500 : edge + 500] = False
        score.append(scorer.rows(recording)["spec"].score[keep])
        label.append(recording.label[keep])
    score, label = np.concatenate(score), np.concatenate(label)
    tried = np.unique(score)[:: max(1, len(np.unique(score)) // 300)]
    best = max(fbeta_score(label, score >= t, beta=0.5) for t in tried)
    point = scorer.point
    assert (point.split, point.metric) == ("validation", "best F0.5 of labelled samples")
    assert fbeta_score(label, score >= point.threshold, beta=0.5) >= best - 1e-9
    assert point.rows["spec"].point == point.threshold == point.validation["threshold"]
    assert point.validation["at_calibration"]["threshold"] != point.threshold  # that of healthy recordings
    beat = run.events("beat")[-1].values
    assert beat["threshold"] == point.threshold and beat["f0.5" if "f0.5" in beat else "best_f0.5"] is not None


def test_without_labels_healthy_recordings_set_the_threshold(trained):
    assert trained.config.score.choose == "healthy" and open_scorer(trained.path).point.split != "validation"


def test_an_evaluation_measures_the_threshold_in_force_and_names_its_split(run, raw):
    result = evaluate(open_scorer(run.path), read_folder(raw), where=raw, rows=("spec", "random"))
    first = result.operating_points[0]
    assert (first.name, first.split) == ("validation F0.5", "validation")
    assert [p.name for p in result.operating_points] == ["validation F0.5", "validation cost", "oracle F0.5"]
    assert result.row.point["threshold"] == first.threshold


def test_delta_falls_by_2_percent_at_each_beat_below_the_goal_and_nothing_else_happens():
    "SPEC 21d: down to any size, whatever the other signals do."
    beats, acted, delta = [], {}, 1.0
    for i in range(400):
        bad = {"f1": 0.2, "least_load": 0.0, "signal": "f1", "delta": delta, "lr": 1e-4, "aux_weight": 0.02}
        beats.append(Event("beat", i, 0.0, bad))
        (made,) = decide(beats, acted, literal().agent.rules)
        assert made.knob == "delta" and made.new == pytest.approx(0.98 * delta) and not made.stop
        delta, acted = made.new, {made.name: i}
    assert delta == pytest.approx(0.98**400) and delta < SPACE["delta"].low
    beats.append(Event("beat", 400, 0.0, {"f1": 0.95, "delta": delta, "signal": "f1"}))
    assert decide(beats, acted, literal().agent.rules) == ()


def test_a_run_decays_delta_at_its_beats(run):
    "SPEC 21d, in a training."
    moved = [e.values["delta"] for e in run.events("beat")]
    below = [e.values["f1"] < 0.95 for e in run.events("beat")]
    assert moved[1] == pytest.approx(0.98 if below[0] else 1.0)
    assert {e.values["knob"] for e in run.events("decision")} <= {"delta"}


def test_the_heartbeat_comes_every_three_hours_and_what_may_be_turned_is_known():
    "SPEC 21 and 23."
    assert (literal().agent.every_h, literal().agent.f1_goal, literal().score.f_beta) == (3.0, 0.950, 0.5)
    assert {"delta", "top_k", "context", "stride", "head_tilt"} <= set(SPACE)
