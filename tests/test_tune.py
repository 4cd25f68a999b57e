"The tuner: a fair comparison, workers that may die, storage that may go, and a gain that has to exceed the spread."

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from conftest import rewrite

from timemoe_lab.agent.tune import (
    gain_over_seeds,
    longest_context,
    search_space,
    study_facts,
    study_metric,
    trial_config,
    tune,
)
from timemoe_lab.config import Rule, adjust, config_from_dict, knobs, tiny
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.motor import campaign, write_campaign
from timemoe_lab.data.readers import read_folder
from timemoe_lab.data.store import Store
from timemoe_lab.files import InputError, UsageError
from timemoe_lab.records import Beat
from timemoe_lab.run.folder import RunFolder

tune_room = import_module("timemoe_lab.agent.tune")


def write_motors(folder, classes, seconds=0.3):
    jobs = campaign(classes=classes, freqs=(60,), loads=(100,), reps=4, healthy_reps=8)
    write_campaign(folder / "raw", jobs, seconds=seconds, seed=3)
    return write_store(folder / "store", read_folder(folder / "raw"), where="raw")


@pytest.fixture(scope="module")
def motors(tmp_path_factory):
    "A store of short recordings, eight healthy ones and four with a fault throughout."
    return write_motors(tmp_path_factory.mktemp("motors"), (0, 6))


@pytest.fixture(scope="module")
def config():
    "A model that trains eight steps in a blink, with a beat after every second one."
    c = tiny()
    data, model = replace(c.data, context=64, stride=64), replace(c.model, max_positions=96, n_layers=1)
    recipe = replace(c.train, steps=8, warmup=2, aux_warmup=4, batch=4, checkpoint_every=2)
    return replace(c, data=data, model=model, train=recipe, agent=replace(c.agent, every_steps=2))


def planted(quality, before=lambda run, step: None):
    "A heartbeat that measures nothing: the metric is `quality(knobs of the run, step, seed)`."

    def heartbeat(run, store, *, figures=None):
        def beat(model, progress):
            before(run, progress.step)
            value = quality(knobs(run.config), progress.step, run.config.train.seed)
            columns = {"average_precision": value, "f1": value / 2, "f0.5": value / 4, "threshold": 1.0, "delta": 1.0}
            return Beat(columns | {"loss": progress.loss, "held_out": 1.0})

        return beat

    return heartbeat


def by_delta(knob, step, seed):
    "Best at a delta of 3; more steps are better."
    return round(math.exp(-abs(math.log(knob["delta"] / 3))) * step / 8, 6)


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(tune_room, "heartbeat", planted(by_delta))


def rows_of(out):
    return study_facts(out)["history"]


def params_of(out):
    return [row["params"] for row in rows_of(out)]


# What is searched, and by what it is judged


def test_the_specifications_knobs_are_searched_and_those_without_effect_rest(config):
    spec = replace(config, score=replace(config.score, mode="spec"))
    asked = {"delta", "delta_decay", "top_k", "context", "stride", "head_tilt", "aux_weight", "alpha", "beta"}
    assert set(search_space(spec, longest=500)[0]) == asked
    space, rests = search_space(config, longest=500)
    assert set(space) == asked - {"alpha", "beta"} == asked - set(rests)


@pytest.mark.parametrize(
    "part, change, resting",
    [
        ("model", {"n_experts": 0}, {"top_k", "aux_weight"}),
        ("agent", {"policy": (Rule("low", "f1", "below", 0.9, knob="delta", by=0.9),)}, {"delta_decay"}),
        ("agent", {"every_steps": 8}, {"delta_decay"}),
    ],
)
def test_a_knob_that_changes_nothing_rests(part, change, resting, config):
    changed = replace(config, **{part: replace(getattr(config, part), **change)})
    assert resting == set(search_space(changed, longest=500)[1]) - {"alpha", "beta"}


def test_a_single_head_has_no_tilt(config):
    one = replace(config, model=replace(config.model, horizons=(8,)), train=replace(config.train, head_weights=(1.0,)))
    assert "head_tilt" in search_space(one, longest=500)[1]


def test_bounds_are_what_model_and_recordings_can_hold(config, motors):
    assert longest_context(motors, config) == 300  # 0.3 s at 1 kHz
    ends = lambda space, name: (space[name].low, space[name].high)
    space, _ = search_space(config, longest=500)
    assert ends(space, "context") == (64, 96) and ends(space, "stride") == (8, 96) and ends(space, "top_k") == (1, 8)
    assert ends(search_space(config, longest=70)[0], "context") == (64, 70)
    few = replace(config, model=replace(config.model, n_experts=4))
    assert ends(search_space(few, longest=500)[0], "top_k") == (1, 4)
    with pytest.raises(UsageError, match="^context=80: .* 64 to 70$"):
        search_space(adjust(config, {"context": 80}), longest=70)


def test_the_shortest_recording_that_is_used_is_the_longest_window(config):
    lengths = {"train": 4001, "calibration": 3000, "validation": 2000, "test": 100}  # at 10 kHz, read at 1 kHz
    entries = [SimpleNamespace(split=split, n_samples=n) for split, n in lengths.items()]
    assert longest_context(SimpleNamespace(entries=entries, fs=10_000.0), config) == 200


def test_weights_that_no_tilt_makes_stay_until_the_tilt_is_turned(config):
    odd = replace(config, train=replace(config.train, head_weights=(1.0, 0.5, 0.5, 1.0)))
    assert trial_config(odd, knobs(odd) | {"top_k": 3}).train.head_weights == (1.0, 0.5, 0.5, 1.0)
    turned = trial_config(odd, {"head_tilt": 1.0}).train.head_weights
    assert turned == pytest.approx((0.5, 2 ** (-1 / 3), 2 ** (1 / 3), 2.0))


def test_labelled_validation_is_judged_by_the_area_and_none_by_synthetic_faults(motors, tmp_path):
    assert study_metric(motors) == "average_precision"
    assert study_metric(write_motors(tmp_path / "long", (0,), seconds=1.0)) == "synthetic_f1"
    with pytest.raises(InputError, match="nothing to judge trials by") as caught:  # too short to read a frequency off
        study_metric(write_motors(tmp_path / "short", (0,)))
    assert "\n" not in str(caught.value)


# Better than chance


def test_gain_spread_and_interval_are_those_of_a_hand_computation():
    g = gain_over_seeds([0.90, 0.92, 0.94], [0.86, 0.88, 0.90])
    assert math.isclose(g.gain, 0.04) and math.isclose(g.spread, 0.02 * math.sqrt(2))
    assert math.isclose(g.half_width, 2.776445 * 0.02 * math.sqrt(2 / 3), rel_tol=1e-6)  # t of 4 degrees of freedom
    assert g.spread < g.gain and not g.better  # three seeds are too few for it
    assert gain_over_seeds([0.96, 0.98, 1.00], [0.86, 0.88, 0.90]).better


def test_with_many_seeds_the_spread_is_what_counts():
    base = [-1.0, 1.0] * 4  # variance 8 / 7; t of 14 degrees of freedom is 2.144787
    g = gain_over_seeds([x + 1.3 for x in base], base)
    assert math.isclose(g.half_width, 2.144787 * math.sqrt(2 * 8 / 7 / 8), rel_tol=1e-6)
    assert math.isclose(g.needed, math.sqrt(16 / 7)) and g.half_width < g.gain < g.needed and not g.better
    assert gain_over_seeds([x + 1.6 for x in base], base).better


def test_variances_may_differ():
    g = gain_over_seeds([1.0, 1.0, 1.0], [0.0, 0.3, 0.6])  # one side without a spread: 2 degrees of freedom
    assert math.isclose(g.half_width, 4.302653 * 0.3 / math.sqrt(3), rel_tol=1e-6)


def test_equal_scores_are_no_gain():
    assert not gain_over_seeds([1.0, 1.0], [1.0, 1.0]).better and gain_over_seeds([1.0, 1.0], [0.9, 0.9]).better


# A study


def test_a_study_of_real_beats(motors, config, tmp_path, monkeypatch):
    read = Store.recording
    opened = lambda self, i: [i in self.members("test") and pytest.fail("the test split was read"), read(self, i)][1]
    monkeypatch.setattr(Store, "recording", opened)
    config = replace(config, agent=replace(config.agent, every_steps=4))
    told = tune(motors, tmp_path / "study", config=config, trials=1, n_seeds=2)
    run = RunFolder(tmp_path / "study/trials/0000")
    assert run.config == replace(config, data=replace(config.data, scope="window")) and told["complete"] == 1
    best = json.loads((run.checkpoint("best") / "state.json").read_text())["beat"]
    (row,) = rows_of(tmp_path / "study")
    assert row["value"] == best["average_precision"] and [s for s, _ in row["beats"]] == [4, 8]


@pytest.fixture(scope="module")
def study(motors, config, tmp_path_factory):
    "Ten trials without a stop: the folder, and what tune returned."
    out = tmp_path_factory.mktemp("tuned") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune_room, "heartbeat", planted(by_delta))
        return out, tune(motors, out, config=config, trials=10, n_seeds=2)


@pytest.mark.usefixtures("fast")
class TestStudy:
    def test_the_default_is_the_first_trial_and_the_best_has_the_highest_value(self, study, config):
        out, told = study
        rows = rows_of(out)
        stood = knobs(config)
        assert rows[0]["params"] == {k: stood[k] for k in rows[0]["params"]}
        done = {r["trial"]: by_delta(r["params"], 8, 0) for r in rows if r["state"] == "complete"}
        assert {r["trial"]: r["value"] for r in rows if r["state"] == "complete"} == done
        assert told["trial"] == max(done, key=done.get) > 0 and told["value"] == max(done.values())

    def test_a_trial_that_lags_behind_is_pruned_with_its_checkpoint(self, study):
        rows = rows_of(study[0])
        pruned = [r for r in rows if r["state"] == "pruned"]
        assert pruned and min(r["trial"] for r in pruned) >= 4
        for row in pruned:
            step, value = row["beats"][-1]
            before = [dict(r["beats"])[step] for r in rows if r["state"] == "complete" and r["trial"] < row["trial"]]
            run = RunFolder(study[0] / "trials" / f"{row['trial']:04d}")
            assert value < np.median(before) and step < 8
            assert run.checkpoints()[-1].name.startswith(f"step-{step:06d}") and run.events("end")
        finished = [r for r in rows if r["state"] == "complete" and r["trial"] >= 4]
        assert all(r["beats"][-1][0] == 8 for r in finished)

    def test_the_best_set_is_a_configuration_with_its_evidence(self, study):
        out, told = study
        best = json.loads((out / "best.json").read_text())
        assert best["schema"] == 1 and best["kind"] == "timemoe_lab config"
        run = RunFolder(out / "trials" / f"{told['trial']:04d}").config
        found = config_from_dict(best["config"])
        assert replace(found, data=replace(found.data, scope="window")) == run
        assert best["evidence"]["verdict"] == told["verdict"] == "better"

    def test_the_comparison_uses_seeds_that_the_search_has_not_seen(self, study):
        out, told = study
        runs = [RunFolder(p) for p in sorted((out / "seeds").glob("*-?"))]
        assert [r.config.train.seed for r in runs] == [1, 2, 1, 2]
        assert {r.path.name for r in runs} == {"0000-1", "0000-2", f"{told['trial']:04d}-1", f"{told['trial']:04d}-2"}

    def test_the_report_s_facts_add_up(self, study):
        out, _ = study
        facts = study_facts(out)
        complete = [r for r in facts["history"] if r["state"] == "complete"]
        assert [r["best"] for r in complete] == list(np.maximum.accumulate([r["value"] for r in complete]))
        part = facts["slices"]["delta"]
        assert part["x"] == [r["params"]["delta"] for r in facts["history"]] and part["log"]
        assert json.loads(json.dumps(facts)) is not None

    def test_the_same_command_only_reports(self, study, motors, config):
        before = {p: p.stat().st_mtime for p in study[0].rglob("events.jsonl")}
        told = tune(motors, study[0], config=config, trials=5, n_seeds=2)
        assert told == study[1] and before == {p: p.stat().st_mtime for p in study[0].rglob("events.jsonl")}

    def test_a_stopped_study_is_the_same_as_one_in_one_go(self, study, motors, config, tmp_path):
        for n in (1, 3):
            tune(motors, tmp_path / "study", config=config, trials=n, n_seeds=2)
        assert params_of(tmp_path / "study") == params_of(study[0])[:3]
        assert len({json.dumps(p) for p in params_of(study[0])}) == 10  # no start repeats another's draws

    @pytest.mark.parametrize(
        "change, line",
        [
            ({"config": "seed"}, "train.seed=0, not 5"),
            ({"n_seeds": 4}, "--seeds 2, not 4"),
            ({"storage": "sqlite:///elsewhere.db"}, "--storage journal.log, not sqlite:///elsewhere.db"),
        ],
    )
    def test_another_question_is_refused(self, study, motors, config, change, line, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        if "config" in change:
            change = {"config": replace(config, train=replace(config.train, seed=5))}
        with pytest.raises(InputError, match=line) as caught:
            tune(motors, study[0], **({"config": config, "trials": 10, "n_seeds": 2} | change))
        assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())

    def test_another_data_set_is_refused(self, study, config, tmp_path):
        with pytest.raises(InputError, match="a study of other recordings"):
            tune(write_motors(tmp_path, (0, 5)), study[0], config=config, trials=10, n_seeds=2)

    def test_a_journal_that_is_gone_is_not_begun_anew(self, study, motors, config):
        journal = study[0] / "journal.log"
        journal.rename(study[0] / "away")
        try:
            with pytest.raises(InputError, match="journal.log: no such file; bring it back"):
                tune(motors, study[0], config=config, trials=10, n_seeds=2)
        finally:
            (study[0] / "away").rename(journal)


def test_the_knob_that_matters_is_the_most_important(tmp_path):
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    ends = {name: optuna.distributions.FloatDistribution(0, 1) for name in ("idle", "delta", "tilt")}
    for n in range(40):
        trial = study.ask(ends)
        if n == tune_room.FEW - 1:
            assert tune_room.importance(study, list(ends)) == {}
        study.tell(trial, -((trial.params["delta"] - 0.7) ** 2))
    shares = tune_room.importance(study, list(ends))
    assert next(iter(shares)) == "delta" and shares["delta"] > 0.8 and math.isclose(sum(shares.values()), 1)


def test_a_trial_that_trained_to_its_end_is_not_pruned(motors, config, tmp_path, monkeypatch):
    here = {}
    late = lambda knob, step, seed: 0.9 if step == 8 and here["name"] < "0004" else 0.5
    monkeypatch.setattr(tune_room, "heartbeat", planted(late, lambda run, step: here.update(name=run.path.name)))
    tune(motors, tmp_path / "study", config=config, trials=5, n_seeds=2)
    assert [r["value"] for r in rows_of(tmp_path / "study") if r["state"] == "complete"] == [0.9] * 4 + [0.5]


def test_a_gain_within_the_spread_is_not_called_better(motors, config, tmp_path, monkeypatch):
    noisy = lambda knob, step, seed: by_delta(knob, step, seed) / 10 + {0: 0, 1: 0.4, 2: 0.1}[seed]
    monkeypatch.setattr(tune_room, "heartbeat", planted(noisy))
    told = tune(motors, tmp_path / "study", config=config, trials=3, n_seeds=2)
    assert told["trial"] > 0 and told["verdict"] == "not shown to be better"
    evidence = json.loads((tmp_path / "study" / "best.json").read_text())["evidence"]
    assert evidence["verdict"] == told["verdict"] and evidence["gain"] < evidence["needed"]


def test_the_default_stands_where_nothing_is_higher(motors, config, tmp_path, monkeypatch):
    monkeypatch.setattr(tune_room, "heartbeat", planted(lambda knob, step, seed: 1.0))
    told = tune(motors, tmp_path / "study", config=config, trials=2, n_seeds=2)
    assert told["trial"] == 0 and told["verdict"] == "the default stands" and not (tmp_path / "study/seeds").exists()


@pytest.mark.parametrize("given, line", [({"trials": 0}, "--trials 0: "), ({"n_seeds": 1}, "--seeds 1: ")])
def test_a_number_that_makes_no_sense_is_refused(motors, config, tmp_path, given, line):
    with pytest.raises(UsageError, match=line):
        tune(motors, tmp_path / "study", **({"config": config, "trials": 1} | given))
    assert not (tmp_path / "study").exists()


def test_beats_fall_on_steps_whatever_the_clock_says(motors, config, tmp_path, fast):
    hasty = replace(config, agent=replace(config.agent, every_h=1e-9))
    tune(motors, tmp_path / "study", config=hasty, trials=1, n_seeds=2)
    assert [s for s, _ in rows_of(tmp_path / "study")[0]["beats"]] == [2, 4, 6, 8]


def test_a_folder_of_something_else_is_left_alone(motors, config, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="exists and isn't empty"):
        tune(motors, tmp_path, config=config, trials=1)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


# Faults


def test_a_trial_that_fails_is_named_and_the_study_goes_on(motors, config, tmp_path, monkeypatch):
    def fail(run, step):
        if run.path.name == "0001":
            raise InputError("a bad day")

    monkeypatch.setattr(tune_room, "heartbeat", planted(by_delta, fail))
    told = tune(motors, tmp_path / "study", config=config, trials=2, n_seeds=2)
    rows = rows_of(tmp_path / "study")
    assert told["fail"] == 1 and told["complete"] == 2 and "a bad day" in rows[1]["why"]
    assert [r["state"] for r in rows] == ["complete", "fail", "complete"]


def test_three_failures_in_a_row_stop_the_study(motors, config, tmp_path, monkeypatch):
    def fail(run, store, **how):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(tune_room, "train", fail)
    with pytest.raises(InputError, match=r"3 trials in a row failed, the last: out of memory \(CUDA") as caught:
        tune(motors, tmp_path / "study", config=config, trials=9, n_seeds=2)
    assert "\n" not in str(caught.value) and len(rows_of(tmp_path / "study")) == 3


def test_a_storage_that_goes_away_costs_nothing(motors, config, tmp_path, monkeypatch):
    journal, away, said = tmp_path / "study/journal.log", tmp_path / "away", []

    def leave(run, step):
        if run.path.name == "0001" and step == 4:
            journal.rename(away)

    monkeypatch.setattr(tune_room, "heartbeat", planted(by_delta, leave))
    with pytest.raises(InputError, match="journal.log: No such file.*nothing is lost") as caught:
        tune(motors, tmp_path / "study", config=config, trials=3, n_seeds=2, progress=said.append)
    assert "\n" not in str(caught.value) and any("trial 1, step 4: the storage is away" in line for line in said)
    run = RunFolder(tmp_path / "study/trials/0001")
    before = (run.path / "events.jsonl").read_bytes()
    assert run.events("end")[0].step == 8
    away.rename(journal)
    told = tune(motors, tmp_path / "study", config=config, trials=3, n_seeds=2)
    assert told["complete"] == 3 and (run.path / "events.jsonl").read_bytes() == before
    assert [s for s, _ in rows_of(tmp_path / "study")[1]["beats"]] == [2, 4, 6, 8]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_stopped_trial_goes_on_from_its_checkpoint(number, motors, config, tmp_path, monkeypatch):
    stop = [True]

    def leave(run, step):
        if run.path.name == "0001" and step == 4 and stop:
            os.kill(os.getpid(), number)
            stop.clear()

    monkeypatch.setattr(tune_room, "heartbeat", planted(by_delta, leave))
    told = tune(motors, tmp_path / "study", config=config, trials=2, n_seeds=2)
    assert told["stopped"] and told["running"] == 1 and told["complete"] == 1
    said = []
    told = tune(motors, tmp_path / "study", config=config, trials=2, n_seeds=2, progress=said.append)
    assert "stopped" not in told and told["complete"] == 2 and said[0].startswith("trials/0001: training, taken up at")
    steps = [e.step for e in RunFolder(tmp_path / "study/trials/0001").events("beat")]
    assert steps == [2, 4, 6, 8] and len(rows_of(tmp_path / "study")) == 2


def test_a_pruned_trial_that_nobody_told_is_told_without_training(motors, config, tmp_path, monkeypatch):
    tell, lost = tune_room._tell, []

    def lose(worker, trial, state, facts):
        if state.name == "PRUNED" and not lost:
            lost.append(trial.number)
            raise OSError(5, "Input/output error", "disk")
        return tell(worker, trial, state, facts)

    worse = lambda knob, step, seed: step * (1 if knob["delta"] == 1 or knob["top_k"] > 2 else -1)
    monkeypatch.setattr(tune_room, "heartbeat", planted(worse))
    monkeypatch.setattr(tune_room, "_tell", lose)
    with pytest.raises(InputError, match="disk: Input/output error; nothing is lost"):
        tune(motors, tmp_path / "study", config=config, trials=10, n_seeds=2)
    run = RunFolder(tmp_path / "study/trials" / f"{lost[0]:04d}")
    before = (run.path / "events.jsonl").read_bytes()
    tune(motors, tmp_path / "study", config=config, trials=1, n_seeds=2)
    assert rows_of(tmp_path / "study")[lost[0]]["state"] == "pruned"
    assert (run.path / "events.jsonl").read_bytes() == before and run.events("beat")[-1].values["pruned"]


def test_a_line_that_a_kill_cut_short_is_taken_off(motors, config, tmp_path, fast):
    journal = tmp_path / "study/journal.log"
    tune(motors, tmp_path / "study", config=config, trials=1, n_seeds=2)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 6, "worker')
    assert tune(motors, tmp_path / "study", config=config, trials=2, n_seeds=2)["complete"] == 2
    assert journal.read_bytes().startswith(whole) and all(json.loads(line) for line in journal.open())


def test_a_damaged_journal_is_named(motors, config, tmp_path, fast):
    journal = tmp_path / "study/journal.log"
    tune(motors, tmp_path / "study", config=config, trials=1, n_seeds=2)
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([lines[0], "?", *lines[1:]]) + "\n")
    with pytest.raises(InputError, match="journal.log: a line is not JSON"):
        tune(motors, tmp_path / "study", config=config, trials=1, n_seeds=2)


# Workers

WORKER = """
import os, pathlib, sys, time
sys.path.insert(0, sys.argv[1])
import test_tune
from importlib import import_module

tune_room = import_module("timemoe_lab.agent.tune")
from timemoe_lab.config import config_from_dict
from timemoe_lab.files import read_json
from timemoe_lab.data.store import Store

def before(run, step):
    (run.path / f"beat-{step}-{os.getpid()}").touch()
    while step == 6 and pathlib.Path(sys.argv[3], f"hold-{os.getpid()}").exists():
        time.sleep(0.02)

tune_room.heartbeat = test_tune.planted(test_tune.by_delta, before)
config = config_from_dict(read_json(sys.argv[3] + "/asked.json")["config"])
out = pathlib.Path(sys.argv[3]) / "study"
tune_room.tune(Store(sys.argv[2]), out, config=config, trials=int(sys.argv[4]), n_seeds=2,
            progress=lambda line: print(line, flush=True))
"""


def start_worker(motors, folder, trials):
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent), motors.path, folder, trials]
    log = open(folder / f"worker-{time.time_ns()}.log", "w")
    quiet = {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([str(c) for c in command], stdout=log, stderr=log, env=os.environ | quiet)


def wait_for(what, seconds=120):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_killed_worker_s_trial_is_taken_up_by_the_other(motors, config, tmp_path):
    (tmp_path / "asked.json").write_text(json.dumps({"schema": 1, "config": config.to_dict()}))
    study = tmp_path / "study"
    victim, other = both = [start_worker(motors, tmp_path, 5) for _ in range(2)]
    (tmp_path / f"hold-{victim.pid}").touch()  # at the third beat of its first trial
    try:
        held = lambda: list(study.glob(f"trials/*/beat-6-{victim.pid}"))
        wait_for(lambda: held() and list(study.glob(f"trials/*/beat-*-{other.pid}")))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        hurt = int(held()[0].parent.name)
        assert other.wait(timeout=180) == 0, "\n".join(p.read_text() for p in tmp_path.glob("*.log"))
    finally:
        for worker in both:
            worker.kill()
            worker.wait()
    rows = rows_of(study)
    assert [r["trial"] for r in rows] == [0, 1, 2, 3, 4]
    assert {r["state"] for r in rows} <= {"complete", "pruned"}
    taken = RunFolder(study / "trials" / f"{hurt:04d}")
    begun = [step for step in (2, 4, 6) if (taken.path / f"beat-{step}-{other.pid}").exists()]
    assert begun == [6]  # from the checkpoint of the beat before
    assert json.loads((study / "best.json").read_text())["evidence"]["verdict"] != "not compared yet"


# Databases


def test_a_database_keeps_a_study_too(motors, config, tmp_path, fast):
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    for n in (1, 2):
        told = tune(motors, tmp_path / "study", config=config, trials=n, n_seeds=2, storage=url)
    assert told["complete"] == 2 and not (tmp_path / "study/journal.log").exists()
    assert len(study_facts(tmp_path / "study", storage=url)["history"]) == 2
    with pytest.raises(UsageError, match="--storage"):
        study_facts(tmp_path / "study")


def test_a_lost_database_is_filled_again_from_the_runs_that_fit(motors, config, tmp_path, fast):
    url, study = f"sqlite:///{tmp_path / 'trials.db'}", tmp_path / "study"
    tune(motors, study, config=config, trials=2, n_seeds=2, storage=url)
    (tmp_path / "trials.db").unlink()
    before = (study / "trials/0000/events.jsonl").read_bytes()
    rewrite(study / "trials/0001/config.json", lambda facts: facts["config"]["data"].update(stride=1))
    tune(motors, study, config=config, trials=2, n_seeds=2, storage=url)
    rows = study_facts(study, storage=url)["history"]
    assert [r["state"] for r in rows] == ["complete", "fail", "complete"] and "other settings" in rows[1]["why"]
    assert (study / "trials/0000/events.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_trial_of_a_machine_that_died_is_begun_anew(motors, config, tmp_path, fast, monkeypatch):
    monkeypatch.setattr(tune_room, "PULSE_S", 1)
    monkeypatch.setattr(tune_room, "GRACE_S", 1)
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    tune(motors, tmp_path / "here/study", config=config, trials=1, n_seeds=2, storage=url)
    with tune_room.reachable("the database"):
        there = optuna.load_study(study_name="study", storage=tune_room.open_storage(tmp_path, url))
        trial = there.ask()
        delta = trial.suggest_float("delta", 0.01, 10.0, log=True)
        there._storage.record_heartbeat(trial._trial_id)
    time.sleep(2.2)
    told = tune(motors, tmp_path / "here/study", config=config, trials=2, n_seeds=2, storage=url)
    rows = study_facts(tmp_path / "here/study", storage=url)["history"]
    assert told["complete"] == 2 and [r["state"] for r in rows] == ["complete", "fail", "complete"]
    assert rows[2]["params"]["delta"] == delta


def test_another_machine_joins_a_study_and_another_study_of_its_name_is_refused(motors, config, tmp_path, fast):
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    tune(motors, tmp_path / "a/study", config=config, trials=1, n_seeds=2, storage=url)
    assert tune(motors, tmp_path / "b/study", config=config, trials=2, n_seeds=2, storage=url)["complete"] == 2
    other = replace(config, train=replace(config.train, seed=5))
    with pytest.raises(InputError, match="the study study in sqlite.*train.seed=0, not 5"):
        tune(motors, tmp_path / "c/study", config=other, trials=1, n_seeds=2, storage=url)


@pytest.mark.parametrize(
    "url, line",
    [
        ("no address", "not the address of a database"),
        ("sqlite:////no/such/folder/x.db", "unable to open database file; nothing is lost"),
        ("postgresql+psycopg2://me:secret@nowhere.invalid/lab", "me:\\*\\*\\*@nowhere.invalid.*driver"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(url, line, motors, config, tmp_path):
    with pytest.raises(InputError, match=line) as caught:
        tune(motors, tmp_path / "study", config=config, trials=1, storage=url)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)
