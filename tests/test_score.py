"The parts of a score: what they see, what they are fitted on, and that they can be taken apart."

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

from timemoe_lab.config import ScoreConfig, tiny
from timemoe_lab.data.prepare import Frame, Normalised, Scale, normalise
from timemoe_lab.data.recording import Recording
from timemoe_lab.detect.conditions import Seen
from timemoe_lab.detect.reading import gather, learn_space, read_series
from timemoe_lab.detect.score import (
    Made,
    distances,
    fit_profile,
    load_profile,
    pack_profile,
    pooling_of,
    sample_score,
    score_recording,
    to_samples,
)
from timemoe_lab.files import InputError, UsageError
from timemoe_lab.model.timemoe import TimeMoE, read_windows

reading_room = import_module("timemoe_lab.detect.reading")

FS, N = 1000.0, 2000
CHANNELS = ("CH1", "CH2", "CH3")
FRAME = Frame(FS, CHANNELS, ("A",) * 3, (), Scale((0.0,) * 3, (0.7,) * 3))
CONFIG = replace(tiny(), data=replace(tiny().data, scope="window"))


def motor(seed, *, amplitude=1.0, hz=50.0, drop=1.0, channels=CHANNELS):
    "Three noisy currents whose unbalance scatters a little; phase 2 is `drop` times as large."
    g = np.random.default_rng(seed)
    t, phase = np.arange(N) / FS, g.random() * 2 * np.pi
    x = amplitude * np.stack([np.sin(2 * np.pi * hz * t + phase - k * 2 * np.pi / 3) for k in range(3)])
    x *= 1 + 0.002 * g.normal(size=(3, 1))
    x[1] *= drop
    signal = (x + 0.02 * g.normal(size=x.shape)).astype(np.float32)
    return Recording(f"{int(drop != 1)}_{seed}.csv", signal, FS, channels, ("A",) * 3, int(drop != 1))


@pytest.fixture(scope="module")
def model():
    return TimeMoE(tiny().model, seed=0).eval()


@pytest.fixture(scope="module")
def space(model):
    seen = [normalise(motor(i), frame=FRAME, config=CONFIG.data) for i in range(3)]
    return learn_space(model, seen, config=CONFIG.data)


@pytest.fixture(scope="module")
def evidence(model, space):
    return [gather(model, motor(i), frame=FRAME, config=CONFIG, space=space) for i in range(12)]


def fit(trained, kept, space, **score):
    seen = Seen(np.array([e.signature.condition[:2] for e in [*trained, *kept] if e.signature]).reshape(-1, 2))
    return fit_profile(trained, kept, space=space, seen=seen, fs=FS, config=replace(CONFIG.score, **score))


def apart(evidence, profile, without=None):
    "The distances of a recording from the parts of a profile, or from those of `without`."
    how = pooling_of(profile, evidence, fs=FS, config=CONFIG.score)
    return distances(evidence, (without or profile).normals, how=how)


def test_a_recording_left_out_is_one_that_was_never_there(evidence, space):
    fitted = fit(evidence[:8], evidence[8:], space)
    assert len(fitted.outside) == 12 and "left out" in fitted.split
    without = fit(evidence[:3] + evidence[4:8], evidence[8:], space).profile
    parts = {"gradient", "virtual", "physics", "joint", "statistics", "level"}
    assert without.normals.keys() == fitted.profile.normals.keys() > parts
    for part, found in apart(evidence[3], fitted.profile, without).items():
        if part not in ("memory", "statistics"):  # a bank of fewer recordings keeps other windows of each
            assert np.allclose(found, fitted.outside[3].distance[part], rtol=1e-3, equal_nan=True), part
    assert (fitted.outside[3].distance["memory"] > 1.5 * apart(evidence[3], fitted.profile)["memory"]).mean() > 0.9


def test_enough_calibration_recordings_stay_out_of_the_profile(evidence, space):
    "At a risk of 1 / 4 three of them are enough, and a fourth training recording changes what they are measured by."
    fitted = fit(evidence[:8], evidence[8:], space, risk=0.25)
    assert fitted.split == "calibration" and len(fitted.outside) == 4
    alone = fit(evidence[:8], evidence[9:], space, risk=0.25)
    bare = [
        replace(p, levels={}, tails={}, weight={}, seen=alone.profile.seen) for p in (alone.profile, fitted.profile)
    ]
    assert pack_profile(bare[0]) == pack_profile(bare[1])
    normal = fitted.profile.normals["latent"]
    n_windows = sum(e.parts["latent"].shape[1] for e in evidence[:8])
    assert normal.product[0, 0, 0] == n_windows


def test_a_parts_level_is_what_one_window_in_a_hundred_exceeds(evidence, space):
    "Of recordings left out; of a recording as a whole the conformal risk says how many."
    fitted = fit(evidence[:8], evidence[8:], space)
    for part, share in (
        ("latent", CONFIG.score.level),
        ("virtual", CONFIG.score.level),
        ("physics", 1 - CONFIG.score.risk),
    ):
        each = np.concatenate([np.nanmean(left.distance[part], axis=0) for left in fitted.outside])
        assert fitted.profile.levels[part] == pytest.approx(np.nanquantile(each, share)), part
    assert fitted.profile.normals["physics"].room == 11  # one recording fewer: the terms of each profile without one


def test_a_synthetic_fault_is_measured_without_the_recording_that_it_was_put_in(evidence, space):
    "One that changes nothing is as far from the others as its recording; beside its recording it would be at 0."
    made = lambda bases: [Made(bases[0], ("none",), ((0, N),))]
    seen = Seen(np.array([e.signature.condition[:2] for e in evidence]))
    fitted = fit_profile(evidence[:8], evidence[8:], space=space, seen=seen, fs=FS, config=CONFIG.score, made=made)
    assert 0.1 < fitted.told["memory"] < 0.9


def test_what_samples_reach_is_measured_as_a_recordings_score_is(evidence, space):
    fitted = fit(evidence[:8], evidence[8:], space)
    how = pooling_of(fitted.profile, evidence[0], fs=FS, config=CONFIG.score)
    weight = fitted.profile.weight
    said = [sample_score(e.evidence, e.distance, fitted.profile, weight=weight, how=how)[0] for e in fitted.outside]
    reached = [np.nanquantile(score, CONFIG.score.recording_quantile) for score in said]
    assert fitted.profile.tails["points"].knot[[0, -1]] == pytest.approx([min(reached), max(reached)])


def test_what_recordings_have_in_common_counts_more_the_more_there_are(evidence, space):
    weights = [
        fit(evidence[: n - 2], evidence[n - 2 : n], space).profile.weight.get("physics", 0) for n in (3, 4, 7, 10, 12)
    ]
    assert weights[0] == 0 < weights[1] < weights[2] < weights[3] == weights[4] == 1


def test_a_profile_survives_its_file(evidence, space, tmp_path):
    profile = fit(evidence[:8], evidence[8:], space).profile
    (tmp_path / "p").write_bytes(pack_profile(profile))
    again = load_profile(tmp_path / "p")
    assert pack_profile(again) == pack_profile(profile)
    assert again.levels == profile.levels and again.normals.keys() == profile.normals.keys() > {"physics"}
    assert again.weight == profile.weight and again.tails.keys() == profile.tails.keys()
    for part, found in apart(evidence[2], again).items():
        assert np.array_equal(found, apart(evidence[2], profile)[part], equal_nan=True), part
    with pytest.raises(InputError, match="no such file"):
        load_profile(tmp_path / "gone")


def test_each_part_can_be_read_alone_and_taken_out(model, evidence, space):
    fault, how = motor(50, drop=0.9), {"frame": FRAME}
    profile = fit(evidence[:8], evidence[8:], space).profile
    rows = score_recording(model, profile, fault, config=CONFIG, **how)
    assert list(rows)[:4] == ["lab", "spec", "L1", "L2"] and rows.keys() > profile.normals.keys()
    for part in ("gradient", "virtual", "joint"):
        config = replace(CONFIG, score=replace(CONFIG.score, parts=(part,)))
        alone = score_recording(model, profile, fault, config=config, **how)
        order = np.argsort(rows[part].score)
        assert (np.diff(alone["lab"].score[order]) >= -1e-6).all(), part  # the same order: evidence of that part alone
    said = [profile.tails[p].evidence(rows[p].score * profile.levels[p]) for p in ("memory", "statistics", "virtual")]
    local = np.average(said, axis=0, weights=[profile.weight[p] for p in ("memory", "statistics", "virtual")])
    assert np.corrcoef(local, rows["lab"].score)[0, 1] > 0.9
    points = profile.tails["points"].evidence(np.quantile(rows["lab"].score.astype(float), 0.9))
    whole = profile.tails["physics"].evidence(rows["physics"].recording_score * profile.levels["physics"])
    assert rows["lab"].recording_score == pytest.approx(max(points, whole), rel=1e-3)
    healthy = score_recording(model, profile, motor(51), config=CONFIG, **how)
    assert rows["virtual"].recording_score > 3 * healthy["virtual"].recording_score
    assert rows["physics"].recording_score > 3 * healthy["physics"].recording_score


def test_only_known_parts_can_be_joined():
    for parts in (("gradient", "magic"), ("physics",), ("physics", "level")):
        with pytest.raises(UsageError, match="parts="):
            ScoreConfig(parts=parts)


def test_the_operating_condition_is_taken_out(model, space):
    "Healthy motors at several currents and frequencies: what is normal at one of them is not at another."
    grid = [(a, hz) for a in (1.0, 1.5, 2.0, 3.0) for hz in (30.0, 40.0, 50.0, 60.0)] * 3
    seen = [
        gather(model, motor(i, amplitude=a, hz=hz), frame=FRAME, config=CONFIG, space=space)
        for i, (a, hz) in enumerate(grid)
    ]
    profile = fit(seen[:40], seen[40:], space).profile
    assert profile.normals["gradient"].basis.degree == 3
    further = gather(model, motor(99, amplitude=2.0, hz=40.0), frame=FRAME, config=CONFIG, space=space)
    strange = further.signature.condition * np.array([1.5] + [1.0] * (len(further.signature.condition) - 1))
    strange = replace(further, signature=replace(further.signature, condition=strange))  # the same, said to be at 60 Hz
    right, wrong = (np.nanmedian(apart(e, profile)["gradient"].mean(axis=0)) for e in (further, strange))
    levels = [apart(e, profile)["gradient"].mean(axis=0) for e in seen]
    assert right < np.nanquantile(np.concatenate(levels), 0.99) < wrong


def test_channels_that_are_no_motor_are_joined(model):
    names = ("Pressure", "Flow", "Temperature")
    frame = replace(FRAME, channels=names)
    recordings = [motor(i, channels=names) for i in range(4)]
    config = replace(CONFIG, data=replace(CONFIG.data, scope="train"))
    space = learn_space(model, [normalise(r, frame=frame, config=config.data) for r in recordings], config=config.data)
    seen = [gather(model, r, frame=frame, config=config, space=space) for r in recordings]
    assert not {"virtual", "physics"} & fit(seen[:3], seen[3:], space).profile.normals.keys()
    profile = fit(seen[:3], seen[3:], space).profile
    rows = score_recording(model, profile, recordings[0], frame=frame, config=config)
    assert profile.weight == {"memory": 1.0, "statistics": 1.0, "joint": 1.0}
    assert np.isfinite(rows["lab"].score).all() and np.isfinite(rows["lab"].recording_score)


def test_numbers_do_not_depend_on_the_batch_or_on_other_channels(model, space):
    x = np.random.default_rng(3).normal(size=(3, 900)).astype(np.float32)
    many, few = (read_series(model, x, context=256, space=space, batch=b) for b in (64, 3))
    alone = read_series(model, x[1:2], context=256, space=replace(space, centre=space.centre[1:2]))
    for name in ("error", "residual", "l2", "hidden", "gate", "gradient"):
        assert np.allclose(getattr(many, name), getattr(few, name), atol=2e-4), name
        assert np.allclose(getattr(many, name)[1:2], getattr(alone, name), atol=2e-4), name


def test_a_pass_that_does_not_fit_is_halved_and_counts_once(model, space, monkeypatch, capsys):
    x = np.random.default_rng(3).normal(size=(3, 1200)).astype(np.float32)
    seen = [Normalised(x, np.ones_like(x, bool), 1)]
    how = {"context": 256, "space": space}
    expected = read_series(model, x, **how, batch=4), learn_space(model, seen, config=CONFIG.data, batch=4)
    whole = read_series(model, x, **how), learn_space(model, seen, config=CONFIG.data)
    passes = []

    def cramped(model, x, valid, **given):
        passes.append(len(x))
        if len(x) > 4 and len(passes) > 1:  # not at once: a part is added up already
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return read_windows(model, x, valid, **given)

    monkeypatch.setattr(reading_room, "read_windows", cramped)
    found = read_series(model, x, **how, batch=16), learn_space(model, seen, config=CONFIG.data)
    monkeypatch.setattr(model, "fits", None)
    assert passes[:2] == [16, 11] and max(passes[4:]) == 4  # halved to 8 and to 4, and then remembered
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{2 * n} windows don't fit into memory; from here on a pass of scoring has {n}" for n in (8, 4)]
    for name in ("error", "residual", "l2", "n", "hidden", "gate", "gradient"):
        assert np.array_equal(getattr(found[0], name), getattr(expected[0], name)), name
        assert np.allclose(getattr(found[0], name), getattr(whole[0], name), atol=2e-4), name
    for name in ("centre", "n", "mean"):
        assert np.array_equal(getattr(found[1], name), getattr(expected[1], name)), name
        assert np.allclose(getattr(found[1], name), getattr(whole[1], name), atol=1e-6), name
    projections = [s.axes.T @ s.axes for s in (found[1], whole[1])]  # axes but for their signs
    assert np.allclose(*projections, atol=1e-4)


def test_one_window_that_does_not_fit_is_told_in_a_line(model, monkeypatch):
    def full(*given, **how):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")

    monkeypatch.setattr(reading_room, "read_windows", full)
    with pytest.raises(InputError, match="one window doesn't fit into memory to be scored .*--device cpu") as told:
        read_series(model, np.zeros((1, 600), np.float32), context=256)
    monkeypatch.setattr(model, "fits", None)
    assert "\n" not in str(told.value)


def test_a_gradient_is_the_gradient(model, space):
    "Of half the squared error of one lead, with respect to the rows of the head that forecasts it, in the axes."
    x = torch.from_numpy(np.random.default_rng(5).normal(size=(1, 200)).astype(np.float32))
    out = model(x)
    off = (out.forecast[8][0, :, 3] - torch.cat([x[0, 4:], torch.zeros(4)]))[:-4]  # lead 4: the head of 8, 4th output
    weight = torch.zeros(32, requires_grad=True)
    loss = (
        0.5
        * ((off.detach() + (out.hidden[0, :-4].detach() - torch.from_numpy(space.mean).float()) @ weight) ** 2).sum()
    )
    loss.backward()
    want = space.axes @ weight.grad.numpy()
    got = read_series(model, x.numpy(), context=200, hop=200, space=replace(space, centre=space.centre[:1]))
    assert np.allclose(got.gradient[0, 0].reshape(4, -1)[1], want, atol=1e-3)


def test_a_motor_without_a_supply_adds_nothing_and_stops_nothing(model, evidence, space):
    still = replace(
        motor(1), signal=0.02 * np.random.default_rng(1).normal(size=(3, N)).astype(np.float32), name="0_off.csv"
    )
    off = gather(model, still, frame=FRAME, config=CONFIG, space=space)
    with_it = fit([*evidence[:3], off], evidence[3:5], space).profile
    profile = fit(evidence[:3], evidence[3:5], space).profile
    assert np.array_equal(with_it.normals["virtual"].product, profile.normals["virtual"].product)
    assert (with_it.normals["gradient"].n > profile.normals["gradient"].n).all()
    rows = score_recording(model, profile, still, frame=FRAME, config=CONFIG)
    assert np.isfinite(rows["lab"].score).any() and np.isfinite(rows["lab"].recording_score)
    assert np.isnan(rows["virtual"].recording_score)


def test_an_alarm_does_not_begin_before_its_fault():
    windows = np.array([1.0] * 10 + [5.0] * 10)
    found = to_samples(windows, hop=4, width=3, n=4 * 22)
    assert (found[: 4 * 12] == 1).all() and (found[4 * 12 :] == 5).all()
