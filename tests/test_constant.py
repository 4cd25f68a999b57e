"Series that are constant while healthy: prepared, trained, calibrated and scored, and any change of them is found."

from dataclasses import replace

import numpy as np
import pytest

from timemoe_lab.agent.heartbeat import beat
from timemoe_lab.config import tiny
from timemoe_lab.data.ingest import prepare_folder, write_store
from timemoe_lab.data.prepare import Scale, fit_scale, moments
from timemoe_lab.data.recording import Recording
from timemoe_lab.detect.scorer import open_scorer, score_recordings
from timemoe_lab.run.folder import start_run
from timemoe_lab.train.loop import train

FS = 100.0


def telemetry(seed, *, kinds, level=5.0, change=0.0, n=2000, name=None, split=None):
    "Channels of one kind each; the first constant one changes between samples 1000 and 1300."
    g = np.random.default_rng([7, seed])
    t = np.arange(n) / FS
    rows = []
    for kind in kinds:
        if kind == "varying":
            rows.append(np.sin(2 * np.pi * 2.3 * t + g.uniform(0, 6)) + 0.1 * g.normal(size=n))
        else:
            rows.append(np.full(n, level) + change * ((t >= 10) & (t < 13)) * ("constant" not in kinds[: len(rows)]))
    channels = tuple(f"CH{i + 1}" for i in range(len(kinds)))
    signal = np.array(rows, np.float32)
    return Recording(name or f"0_{seed}.csv", signal, FS, channels, ("",) * len(kinds), 0, split=split)


def trained(folder, kinds, *, level=5.0, n_healthy=6, mask=()):
    "A run of a few steps on healthy recordings."
    members = [
        telemetry(i, kinds=kinds, level=level, split="calibration" if i == n_healthy - 1 else "train")
        for i in range(n_healthy)
    ]
    store = write_store(folder / "store", members, where="here", mask=mask)
    config = tiny()
    recipe = replace(config.train, steps=4, warmup=1, aux_warmup=2, checkpoint_every=4)
    config = replace(config, train=recipe, agent=replace(config.agent, every_steps=4))
    run = start_run(folder / "run", store, config)
    assert train(run, store, heartbeat=lambda m, p: beat(run, store, m, p))
    return open_scorer(run.path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {
        "alone": trained(tmp_path_factory.mktemp("alone"), ("constant",)),
        "mixed": trained(tmp_path_factory.mktemp("mixed"), ("constant", "varying"), n_healthy=3),
        "zero": trained(tmp_path_factory.mktemp("zero"), ("varying", "constant"), level=0.0),
    }


KINDS = {"alone": ("constant",), "mixed": ("constant", "varying"), "zero": ("varying", "constant")}
LEVEL = {"alone": 5.0, "mixed": 5.0, "zero": 0.0}


@pytest.mark.parametrize("which", KINDS)
@pytest.mark.parametrize("change", [0.2, -3.0, 1e-3])
def test_what_leaves_the_constant_scores_higher_there_than_anywhere_healthy(runs, which, change, tmp_path):
    how = {"kinds": KINDS[which], "level": LEVEL[which]}
    left = telemetry(20, **how, change=change, name="1_left.csv")
    stays = [telemetry(21 + i, **how, n=n) for i, n in enumerate((2000, 1500, 2777))]
    out = tmp_path / "scores"
    found = {r.name: r for r in score_recordings(runs[which], [left, *stays], out)}
    score = {r.name: np.load(out / f"{r.name[:-4]}.npz")["score"] for r in (left, *stays)}
    there = score["1_left.csv"][1050:1250]
    healthy = [score["1_left.csv"][:900], *(score[r.name] for r in stays)]
    assert there.min() > 10 * max(np.nanmax(s) for s in healthy) and np.isfinite(there).all()
    point = runs[which].point
    assert found["1_left.csv"].score >= point.recording_threshold and found["1_left.csv"].alarms
    assert all(np.isfinite(s).all() for s in healthy)
    channel = f"CH{KINDS[which].index('constant') + 1}"
    told = found["1_left.csv"].alarms[0].says
    assert f"{channel}: up to {abs(change):.3g}" in told and f"off, healthy always {LEVEL[which]:.3g}" in told
    if which == "alone":
        assert not any(found[r.name].alarms or found[r.name].score >= point.recording_threshold for r in stays)
        assert all((score[r.name] == 0).all() for r in stays)


def test_a_masked_constant_stays_masked(tmp_path):
    scorer = trained(tmp_path, ("constant", "varying"), mask=("CH1",))
    how = {"kinds": ("constant", "varying"), "name": "1_a.csv"}
    calm, moved = (scorer.rows(telemetry(20, **how, change=change))["lab"] for change in (0.0, 3.0))
    assert np.array_equal(calm.score, moved.score) and np.isnan(moved.channel_score[0]).all()
    assert np.isnan(scorer.profile.usual.rms[:, 0]).all()


@pytest.mark.parametrize("level", [5.0, 0.1, -1e6, 0.0, 3e-9])
def test_the_unit_of_a_constant_is_its_level(level):
    x = np.full((1, 1000), level, np.float32)
    scale = fit_scale([moments(x), moments(x[:, :77])])
    assert scale.std == (0.0,) and (scale.apply(x) == 0).all()
    moved = scale.apply(x + np.float32(0.5 * (level or 1)))
    assert np.allclose(moved, 0.5 * (np.sign(level) or 1), rtol=1e-5)
    assert np.allclose(scale.invert(moved), 1.5 * level or 0.5, rtol=1e-5)
    assert Scale((0.0,), (2.0,)).apply(x) == pytest.approx(x / (2 + 1e-6))  # where it varies, as ever


def test_equal_constants_are_recordings_of_their_own_and_prepare_says_what_it_means(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for i in range(4):
        rows = np.column_stack([np.arange(600) / FS, np.full(600, 5.0)])
        np.savetxt(raw / f"0_{i}.csv", rows, delimiter=",", header="time,CH1", comments="", fmt="%.6g")
    store = prepare_folder(raw, tmp_path / "store")
    assert len({e.fingerprint for e in store.entries}) == 4 and store.scale.std == (0.0,)
    assert "CH1 in every training recording" in store.warnings["constant"]
