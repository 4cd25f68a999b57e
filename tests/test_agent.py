"The heartbeat: when it comes, what it decides, what others may ask of a training, and every decision derived again."

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from importlib import import_module

import numpy as np
import pytest
from conftest import rewrite, short_windows, told_parts
from sklearn.metrics import average_precision_score, f1_score

from timemoe_lab.agent.heartbeat import decisions_at, heartbeat, read_beat
from timemoe_lab.agent.policy import replay
from timemoe_lab.agent.reproduce import reproduce
from timemoe_lab.agent.state import beat_table, best_settings
from timemoe_lab.cli import main
from timemoe_lab.config import AgentConfig, Rule, adjust, config_from_dict, tiny
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.motor import campaign, simulate, with_fault
from timemoe_lab.data.recording import Recording
from timemoe_lab.files import InputError, UsageError, write_json
from timemoe_lab.records import Beat
from timemoe_lab.detect.reading import gather
from timemoe_lab.run.folder import RunFolder, digest_of, frame_of, start_run, step_of
from timemoe_lab.train.loop import train

heartbeat_room = import_module("timemoe_lab.agent.heartbeat")
loop_room = import_module("timemoe_lab.train.loop")


def recipe(steps=12, **agent_changes):
    "The tiny preset, a few short steps of it."
    config, agent_changes = told_parts(short_windows(tiny())), {"every_steps": 4} | agent_changes
    config = replace(config, data=replace(config.data, stride=256))  # an epoch ends within a day
    how = {"steps": steps, "warmup": 2, "aux_warmup": 3, "log_every": 1, "checkpoint_every": 100, "batch": 4}
    return replace(config, train=replace(config.train, **how), agent=replace(config.agent, **agent_changes))


def answers(run, *, f1=lambda step: 0.9, **more):
    "A heartbeat that measures nothing, and decides by the run's policy."

    def answer(model, progress):
        columns = {"f1": f1(progress.step), "signal": "f1", "held_out": 0.3, "threshold": 1.0}
        columns |= {"aux_weight": 0.02, "lr": 5e-3, "head_tilt": 0.0} | progress.changes
        columns |= {"delta": progress.delta} | more
        return Beat(columns, decisions_at(run, progress.step, columns))

    return answer


class Hours:
    "A clock that a test turns, in hours."

    def __init__(self, at=0.0):
        self.at = at

    def __call__(self):
        return 3600 * self.at


def decided(run, **wanted):
    "Decisions with these values."
    return [e for e in run.events("decision") if all(e.values.get(k) == v for k, v in wanted.items())]


def weights_of(run, which="last"):
    return (run.checkpoint(which) / "model.safetensors").read_bytes()


# When it beats


@pytest.fixture(scope="module")
def hard_store(tmp_path_factory):
    "Healthy motors, LI2, and HI1, the fault that hardly anything sees."
    jobs = campaign(classes=(0, 1, 5), freqs=(60,), loads=(100,), reps=3, healthy_reps=6, switched_s=(0.3, 0.7))
    folder = tmp_path_factory.mktemp("hard")
    return write_store(folder / "store", simulate(jobs, fs=1000, seconds=1.0, seed=2), where="simulated")


@pytest.fixture(scope="module")
def day(hard_store, tmp_path_factory):
    "A run of 24 h by a clock that every step moves by an hour, with the real heartbeat."
    run = start_run(tmp_path_factory.mktemp("day") / "run", hard_store, recipe(steps=24, every_steps=None))
    clock = Hours()

    def listen(event):
        clock.at += 1.0 * (event.event == "step")

    assert train(run, hard_store, heartbeat=heartbeat(run, hard_store), on_log=listen, now=clock)
    return run


def test_a_day_has_eight_beats_three_hours_apart(day):
    assert [e.step for e in day.events("beat")] == [3, 6, 9, 12, 15, 18, 21, 24]
    assert [round(e.values["trained_s"] / 3600, 6) for e in day.events("beat")] == [3.0 * i for i in range(1, 9)]
    rows = [line.split(" | ") for line in beat_table(day).splitlines()]
    assert [c.strip() for c in rows[0][:5]] == ["Step", "Loss", "Gating Balance", "F1", "Threshold"]
    assert sum(row[-1].strip() == "beat" for row in rows) == 8
    assert len([p for p in day.checkpoints() if "_f1-" in p.name and "_thr-" in p.name]) == 8


def test_delta_decays_by_two_percent_at_each_beat_below_the_goal(day):
    low, expected = [e.values["f1"] < 0.95 for e in day.events("beat")], 1.0
    assert any(low)
    for event, below in zip(day.events("beat"), low):
        assert event.values["delta"] == pytest.approx(expected, rel=1e-12)
        expected *= 0.98 if below else 1.0
    assert len(decided(day, knob="delta", author="agent")) == sum(low)
    steps = {e.step: e.values["delta"] for e in day.events("step")}
    assert steps[4] == day.events("beat")[1].values["delta"] and steps[3] == 1.0  # from the step after the beat on


def test_every_decision_of_a_day_is_derived_again(day, capsys):
    rows = replay(day.events(), day.config.agent.rules)
    assert rows and all(row.same for row in rows) and len(rows) == len(decided(day, author="agent"))
    assert main(["agent", str(day.path), "--replay", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decisions"] == len(rows)


def test_a_forged_decision_fails_the_replay(day, tmp_path, capsys):
    run = RunFolder(shutil.copytree(day.path, tmp_path / "run"))
    forged = [e.to_json() for e in run.events()]
    last = max(i for i, e in enumerate(forged) if e.get("knob") == "delta")
    forged[last]["new"] = 0.5
    (run.path / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in forged))
    assert main(["agent", str(run.path), "--replay"]) == 1
    said = capsys.readouterr().out
    assert f"step {forged[last]['step']}: goal" in said and "-> 0.5" in said


def test_a_beats_numbers_are_those_of_its_scores(day):
    for event, path in zip(day.events("beat"), day.checkpoints()):
        found = [f for f in read_beat(path) if f.split == "validation"]
        margin = round(0.05 * 1000)
        keep = [np.ones(len(f.label), bool) for f in found]
        for f, kept in zip(found, keep):
            for edge in np.flatnonzero(np.diff(f.label.astype(int))) + 1:
                kept[max(0, edge - margin) : edge + margin] = False
            kept &= np.isfinite(f.score)
        score, label = (np.concatenate([getattr(f, n)[k] for f, k in zip(found, keep)]) for n in ("score", "label"))
        assert label.any() and not label.all()
        assert 0 < event.values["f1"] < 1
        assert event.values["f1"] == pytest.approx(f1_score(label, score >= event.values["threshold"]))
        assert event.values["average_precision"] == pytest.approx(average_precision_score(label, score))
        assert {f.split for f in read_beat(path)} == {"calibration", "validation"}


def test_the_best_set_is_the_best_beats(day):
    found, rows = best_settings(day), day.events("beat")
    best = max(rows, key=lambda e: (e.values["f1"], -e.values["held_out"], e.step))
    assert found.evidence["step"] == best.step and found.settings["delta"] == best.values["delta"]
    assert f"step {best.step}, the best of 8 beats" in found.text and day.checkpoint("best").name == found.checkpoint


def test_held_out_is_the_error_on_recordings_that_calibrate(day, hard_store):
    beat = day.events("beat")[-1]
    (path,) = (p for p in day.checkpoints() if p.name.startswith(f"step-{beat.step:06d}"))
    model, how = day.model(path), {"frame": frame_of(day), "config": day.config}
    error = lambda split: np.nanmean(
        [gather(model, hard_store.recording(i), **how).l1 for i in hard_store.members(split)]
    )
    assert beat.values["held_out"] == pytest.approx(error("calibration"), rel=1e-3)
    assert abs(error("train") / error("calibration") - 1) > 2e-3


def test_that_labels_steer_is_said_where_they_do(day):
    assert beat_table(day).count("Labels steer") == 1


def test_a_beat_that_takes_longer_than_its_interval_does_not_pile_up(store, tmp_path):
    run, clock = start_run(tmp_path / "run", store, recipe(every_steps=None)), Hours()

    def slow(model, progress):
        clock.at += 5.0
        return answers(run)(model, progress)

    def listen(event):
        clock.at += 1.0 * (event.event == "step")

    assert train(run, store, heartbeat=slow, on_log=listen, now=clock)
    assert [e.step for e in run.events("beat")] == [3, 6, 9, 12]  # three hours of training each, 20 h of beats


def test_hours_before_a_stop_count_after_it(store, tmp_path):
    run, clock = start_run(tmp_path / "run", store, recipe(every_steps=None)), Hours()

    def listen(event):
        clock.at += 1.0 * (event.event == "step")
        if event.event == "step" and event.step == 4:
            run.ask("stop", author="a test")

    assert not train(run, store, heartbeat=answers(run), on_log=listen, now=clock)
    assert step_of(run.checkpoint("last")) == 5 and [e.step for e in run.events("beat")] == [3]
    clock.at = 1000.0  # nothing was trained meanwhile
    assert train(run, store, heartbeat=answers(run), on_log=listen, now=clock)
    assert [e.step for e in run.events("beat")] == [3, 7, 10, 12]  # the hour after the last logged step is lost


# A beat that fails


def test_a_heartbeat_that_fails_leaves_training_running_and_says_so(store, tmp_path, capsys):
    run = start_run(tmp_path / "run", store, recipe())

    def failing(model, progress):
        if progress.step == 4:
            raise RuntimeError("the disk is on fire")
        return answers(run)(model, progress)

    assert train(run, store, heartbeat=failing)
    assert [e.step for e in run.events("beat")] == [8, 12] and step_of(run.checkpoints()[0]) == 4
    (failed,) = run.events("beat_failed")
    assert failed.step == 4 and "the disk is on fire" in failed.values["what"] and "failing" in failed.values["trace"]
    assert "the disk is on fire" in capsys.readouterr().err and "the disk is on fire" in beat_table(run)
    assert model_is_training_again(run)


def model_is_training_again(run):
    "Whether the steps after the failed beat moved the weights."
    return len({weights_of(run, str(step_of(p))) for p in run.checkpoints()}) == 3


def test_the_agent_makes_up_for_the_last_beat_when_it_failed(store, short_config, tmp_path, capsys, monkeypatch):
    config = replace(short_config, train=replace(short_config.train, steps=20, aux_warmup=5))
    run = start_run(tmp_path / "run", store, config)
    with monkeypatch.context() as patch:
        patch.setattr(heartbeat_room, "calibrate", lambda *_, **__: (_ for _ in ()).throw(InputError("a.csv: gone")))
        with pytest.raises(InputError, match=r"last heartbeat failed: a\.csv: gone; .*timemoe-lab agent"):
            train(run, store, heartbeat=heartbeat(run, store))
    (before,) = run.checkpoints()
    weights = weights_of(run)
    assert main(["agent", str(run.path), "--store", str(store.path)]) == 0
    (after,) = run.checkpoints()
    assert "_thr-" in after.name and "_thr-" not in before.name and weights_of(run) == weights
    assert (run.path / "operating_point.json").is_file() and "best set" in capsys.readouterr().out


# What it decides


def test_restored_weights_are_those_of_the_best_beat(store, tmp_path):
    rule = Rule("fell", "quality", "fell", 0.1, beats=1, action="restore")
    run = start_run(tmp_path / "run", store, recipe(steps=8, policy=(rule,), every_steps=2))
    f1 = {2: 0.9, 4: 0.5, 6: 0.9, 8: 0.9}
    assert train(run, store, heartbeat=answers(run, f1=f1.get))
    (decision,) = decided(run, name="fell")
    assert decision.step == 4 and decision.values["restore"] == 2
    plain = start_run(tmp_path / "plain", store, recipe(steps=8, policy=(rule,), every_steps=2))
    assert train(plain, store, heartbeat=answers(plain))
    assert weights_of(run, "4") == weights_of(plain, "4")  # what was measured is what is kept
    assert weights_of(run, "6") != weights_of(plain, "6")
    # by hand: the weights and moments of step 2, and the windows of steps 5 and 6
    by_hand = RunFolder(shutil.copytree(plain.path, tmp_path / "hand"))
    for path in by_hand.checkpoints():
        if step_of(path) > 4:
            shutil.rmtree(path)
    here, names = by_hand.checkpoint("4"), ("model.safetensors", "optimizer.safetensors", "rng.safetensors")
    for name in names:
        shutil.copy(by_hand.checkpoint("2") / name, here)
    rewrite(here / "state.json", lambda state: state["files"].update({n: digest_of(here / n) for n in names}))
    assert train(by_hand, store, heartbeat=answers(by_hand))
    assert weights_of(run, "6") == weights_of(by_hand, "6")
    again = RunFolder(shutil.copytree(run.path, tmp_path / "again"))
    for path in again.checkpoints():
        if step_of(path) > 4:
            shutil.rmtree(path)
    assert train(again, store, heartbeat=answers(again, f1=f1.get))  # a kill just after the decision
    assert weights_of(again, "8") == weights_of(run, "8")
    assert all(row.same for row in replay(run.events(), (rule,)))


def test_a_rule_ends_the_training_and_the_end_is_repeated(store, tmp_path):
    rule = Rule("enough", "quality", "no_gain", 0.0, beats=1, action="stop")
    run = start_run(tmp_path / "run", store, recipe(steps=20, policy=(rule,)))
    assert train(run, store, heartbeat=answers(run))
    assert run.events("end")[0].step == 8 and decided(run, name="enough")[0].step == 8
    again = start_run(tmp_path / "again", store, recipe(steps=20, policy=(rule,)))
    assert train(again, store, heartbeat=answers(again), like=run)
    assert again.events("end")[0].step == 8 and weights_of(again) == weights_of(run)


def test_a_turned_knob_trains_as_if_it_had_been_so(store, tmp_path):
    rule = Rule("slower", "f1", "below", 0.95, knob="lr", by=0.5, low=2.5e-3)
    run = start_run(tmp_path / "run", store, recipe(steps=8, policy=(rule,)))
    assert train(run, store, heartbeat=answers(run))
    logged = {e.step: e.values["lr"] for e in run.events("step")}
    steps, peak = 8, 2.5e-3
    low = tiny().train.lr_min * peak / tiny().train.lr
    for step in (5, 6, 7, 8):
        assert logged[step] == pytest.approx(low + (peak - low) * 0.5 * (1 + np.cos(np.pi * (step - 2) / (steps - 2))))
    assert len(decided(run, knob="lr")) == 1  # the rule's own bound


def test_a_policy_file_is_followed_from_then_on(store, tmp_path, capsys):
    config = recipe(steps=8, every_steps=4)
    run = start_run(tmp_path / "run", store, config)
    write_json(
        tmp_path / "policy.json",
        {"rules": [{"name": "half", "signal": "held_out", "when": "above", "level": 0, "knob": "delta", "by": 0.5}]},
    )
    words = ["agent", str(run.path), "--store", str(store.path), "--policy", str(tmp_path / "policy.json")]
    assert main(words) == 0
    assert [d.values["new"] for d in decided(run, name="half")] == [0.5, 0.25] and not decided(run, name="goal")
    assert all(row.same for row in replay(run.events(), config.agent.rules))
    capsys.readouterr()
    assert main(words) == 2 and "has done its 8 steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    "rules, said",
    [
        (
            [{"name": "a", "signal": "f1", "when": "under", "level": 1}],
            "rule 'a': when 'under', expected one of",
        ),
        ([{"name": "a", "signal": "f2", "when": "below", "level": 1}], "signal 'f2'"),
        ([{"name": "a", "signal": "f1", "when": "below", "level": 1, "knob": "top_k", "by": 2}], "knob 'top_k'"),
        ([{"name": "a", "signal": "f1", "when": "below", "level": 1, "bye": 2}], "unknown name bye"),
        ([{"signal": "f1"}], "missing"),
        (["delta *= 2"], "expected an object"),
        ([], "expected a list of one or more"),
        (
            2 * [{"name": "a", "signal": "f1", "when": "below", "level": 1, "action": "stop"}],
            "two rules are called 'a'",
        ),
    ],
)
def test_a_policy_file_that_says_nothing_known_is_one_line(rules, said, day, tmp_path, capsys):
    write_json(tmp_path / "policy.json", {"rules": rules})
    assert main(["agent", str(day.path), "--policy", str(tmp_path / "policy.json")]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and "policy.json" in line


def test_two_agents_on_one_run_are_refused(day, hard_store, capsys):
    with day.lock():
        assert main(["agent", str(day.path), "--store", str(hard_store.path)]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("timemoe-lab: ")]
    assert "trains into it" in line and str(day.path) in line


# What others ask


def test_a_change_that_was_asked_for_comes_at_the_next_beat(store, tmp_path):
    run = start_run(tmp_path / "run", store, recipe())

    def listen(event):
        if event.event == "step" and event.step == 5:
            run.ask("change", author="operator: test", values={"delta": 0.7, "aux_weight": 0.05})

    assert train(run, store, heartbeat=answers(run, f1=lambda step: 0.99), on_log=listen)
    found = decided(run, author="operator: test", outcome="applied")
    assert [(d.step, d.values["knob"], d.values["old"], d.values["new"]) for d in found] == [
        (8, "delta", 1.0, 0.7),
        (8, "aux_weight", 0.02, 0.05),
    ]
    assert [e.values["delta"] for e in run.events("step")] == [1.0] * 8 + [0.7] * 4
    assert {e.step: e.values["aux_weight"] for e in run.events("step")}[9] == 0.05 and run.requests() == []
    assert all(row.same for row in replay(run.events(), run.config.agent.rules))


def test_a_request_outlives_a_kill_and_is_answered_once(store, tmp_path, monkeypatch):
    run, save = start_run(tmp_path / "run", store, recipe()), loop_room.save_checkpoint
    run.ask("change", author="a person", values={"delta": 0.7})

    def power_cut(*words, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop_room, "save_checkpoint", power_cut)
    with pytest.raises(KeyboardInterrupt):
        train(run, store, heartbeat=answers(run, f1=lambda step: 0.99))
    assert len(run.requests()) == 1
    monkeypatch.setattr(loop_room, "save_checkpoint", save)
    assert train(run, store, heartbeat=answers(run, f1=lambda step: 0.99))
    assert len(decided(run, author="a person")) == 1 and run.requests() == []
    assert run.events("beat")[-1].values["delta"] == 0.7


def test_a_pause_holds_the_steps_and_ends_when_asked(store, tmp_path):
    run, seen = start_run(tmp_path / "run", store, recipe()), []

    def later():
        seen.extend(e.step for e in run.events("step"))
        run.ask("checkpoint", author="a person")
        run.ask("go_on", author="a person")

    def listen(event):
        if event.event == "step" and event.step == 3:
            run.ask("pause", author="a person")
            threading.Timer(1.5, later).start()

    assert train(run, store, heartbeat=answers(run), on_log=listen)
    assert seen == [1, 2, 3] and [e.step for e in run.events("step")] == list(range(1, 13))
    assert [d.values["rule"] for d in decided(run, author="a person")] == [
        f"asked for: {a}" for a in ("pause", "checkpoint", "go_on")
    ]
    assert 3 in [step_of(p) for p in run.checkpoints()]
    plain = start_run(tmp_path / "plain", store, recipe())
    assert train(plain, store, heartbeat=answers(plain)) and weights_of(plain) == weights_of(run)


def test_a_stop_that_was_asked_for_leaves_a_state_to_go_on_from(store, tmp_path):
    run = start_run(tmp_path / "run", store, recipe())

    def listen(event):
        if event.event == "step" and event.step == 5:
            run.ask("stop", author="a person")

    assert not train(run, store, heartbeat=answers(run), on_log=listen)
    assert step_of(run.checkpoint("last")) in (5, 6)
    assert train(run, store, heartbeat=answers(run))
    plain = start_run(tmp_path / "plain", store, recipe())
    assert train(plain, store, heartbeat=answers(plain)) and weights_of(plain) == weights_of(run)


@pytest.mark.parametrize(
    "action, values, said",
    [
        ("change", {"delta": 99}, "delta=99: expected a number from 0.01 to 10"),
        ("change", {"delta": float("nan")}, "delta=nan"),
        ("change", {"delta": True}, "delta=True"),
        ("change", {"top_k": 3}, "top_k: can't be changed while a run trains"),
        ("change", {"seed": 3}, "seed: no such knob"),
        ("change", {}, "expected values with a change"),
        ("stop", {"delta": 0.5}, "expected values with a change"),
        ("run this", None, "expected one of change, pause"),
    ],
)
def test_what_may_not_be_asked_for_is_refused_at_once(action, values, said, day):
    with pytest.raises(UsageError, match=said.replace(".", r"\.")):
        day.ask(action, author="a test", values=values)
    assert day.requests() == []


def test_what_is_asked_for_too_late_is_refused_in_the_log(store, tmp_path):
    run = start_run(tmp_path / "run", store, recipe())

    def listen(event):
        if event.event == "decision" and event.step == 12 and not run.requests():
            run.ask("pause", author="a person")

    assert train(run, store, heartbeat=answers(run), on_log=listen)
    (refused,) = decided(run, author="a person")
    assert refused.values["outcome"] == "refused: the training has ended" and run.requests() == []


def test_a_run_that_people_changed_is_reproduced(hard_store, tmp_path):
    run = start_run(tmp_path / "run", hard_store, recipe())

    def listen(event):
        if event.event == "step" and event.step == 3:
            run.ask("change", author="operator: test", values={"head_tilt": 1.5})

    assert train(run, hard_store, heartbeat=heartbeat(run, hard_store), on_log=listen)
    result = reproduce(run, hard_store, tmp_path / "again")
    again = RunFolder(tmp_path / "again")
    assert result.identical and decided(again, knob="head_tilt")[0].values["author"] == "operator: test"


def test_lines_of_several_processes_do_not_mix(tmp_path, store):
    run = start_run(tmp_path / "run", store, recipe())
    writers = [
        threading.Thread(target=lambda i=i: [RunFolder(run.path).log("data", i, x="y" * 3000) for _ in range(50)])
        for i in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(e.step for e in run.events()) == sorted([0, 1, 2, 3] * 50)


# Without labels


def healthy_only(channels, tmp_path, hz=60.0):
    "A store of healthy recordings under these channel names."
    jobs = campaign(classes=(0,), freqs=(hz,), loads=(100,), reps=1, healthy_reps=5)
    found = [replace(r, channels=channels) for r in simulate(jobs, fs=1000, seconds=1.5, seed=1)]
    return write_store(tmp_path / "store", found, where="simulated")


def test_without_labels_the_rules_follow_synthetic_faults_and_the_table_says_so(tmp_path):
    store = healthy_only(("CH1", "CH2", "CH3", "CH4"), tmp_path)
    run = start_run(tmp_path / "run", store, recipe(steps=30, every_steps=None))
    assert train(run, store, heartbeat=heartbeat(run, store))
    (row,) = run.events("beat")
    assert row.values["f1"] is None and row.values["signal"] == "synthetic_f1" and 0 < row.values["synthetic_f1"] <= 1
    assert "F1 on simulated faults in healthy recordings" in beat_table(run) and "Labels" not in beat_table(run)
    assert bool(decided(run, knob="delta")) == (row.values["synthetic_f1"] < 0.95)
    assert "synthetic f1" in best_settings(run).text


def test_without_labels_and_currents_the_held_out_error_is_followed(tmp_path):
    store = healthy_only(("a", "b", "c", "d"), tmp_path)
    run = start_run(tmp_path / "run", store, recipe(steps=6, every_steps=None))
    assert train(run, store, heartbeat=heartbeat(run, store))
    (row,) = run.events("beat")
    assert row.values["signal"] == "held_out" and row.values["synthetic_f1"] is None and not decided(run, knob="delta")
    assert "held-out error" in beat_table(run) and "held out" in best_settings(run).text


def test_a_synthetic_fault_is_an_asymmetry_of_a_faults_size_in_the_middle(tmp_path):
    (healthy, *_), (real, *_) = (
        list(
            simulate(
                campaign(classes=(c,), freqs=(50,), loads=(100,), reps=1, healthy_reps=1), fs=2000, seconds=3, seed=4
            )
        )
        for c in (0, 5)
    )
    made = with_fault(healthy, 5)
    turn = np.exp(2j * np.pi * 50 * np.arange(2000) / 2000)
    a = np.exp(2j * np.pi / 3)

    def negative(r, start):
        "Share of the negative sequence, by Fortescue's transform of one second."
        phasors = [(r.signal[i, start : start + 2000] * turn.conj()).mean() for i in range(3)]
        positive, negative = (abs(phasors[0] + w * phasors[1] + w**2 * phasors[2]) for w in (a, a**2))
        return negative / positive

    ((start, end),) = made.faults
    assert (start, end) == (2000, 4000) and np.array_equal(made.signal[:, :2000], healthy.signal[:, :2000])
    grown = negative(made, 2000) - negative(healthy, 2000)
    assert 0.5 < grown / (negative(real, 2000) - negative(healthy, 2000)) < 2
    quiet = Recording("0.csv", np.zeros((3, 3000), np.float32), 1000.0, ("CH1", "CH2", "CH3"), ("A",) * 3)
    assert with_fault(quiet, 5) is None


# Settings in and out


def test_train_takes_a_config_file(store, tmp_path, capsys):
    config = adjust(recipe(steps=4), {"delta": 0.5, "head_tilt": 1.0})
    write_json(tmp_path / "best.json", {"kind": "timemoe_lab config", "config": config.to_dict()})
    words = ["train", str(store.path), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "best.json")]
    assert main(words) == 0
    made = RunFolder(tmp_path / "run").config
    assert (made.train, made.agent, made.model) == (config.train, config.agent, config.model)
    write_json(tmp_path / "bad.json", {"config": {"train": {"detla": 1}}})
    capsys.readouterr()
    assert main([*words[:2], "--out", str(tmp_path / "run2"), "--config", str(tmp_path / "bad.json")]) == 1
    assert "unknown name detla" in capsys.readouterr().err and not (tmp_path / "run2").exists()


def test_a_policy_is_part_of_a_config_file(tmp_path):
    config = replace(tiny(), agent=AgentConfig(policy=AgentConfig().rules[:2]))
    assert config_from_dict(json.loads(json.dumps(asdict(config)))) == config


def test_more_columns_on_request(day, capsys):
    assert main(["agent", str(day.path), "--columns", "delta,l1_f1,dead_experts", "--store", day.facts["store"]]) == 0
    said = capsys.readouterr().out
    assert (
        all(h in said for h in ("Huber delta", "L1-only F1", "Dead experts", "best set: delta"))
        and "Spread" not in said
    )
    assert main(["agent", str(day.path), "--columns", "all", "--store", day.facts["store"]]) == 0
    assert "Spread" in capsys.readouterr().out
    assert main(["agent", str(day.path), "--columns", "luck"]) == 2
    assert "--columns luck: expected all, or some of" in capsys.readouterr().err


def test_an_epoch_has_a_row_with_the_mean_of_its_losses(day):
    rows = day.events("epoch")
    steps = [e for e in day.events("step") if e.values["epoch"] == 0]
    assert rows[0].values["loss"] == pytest.approx(np.mean([e.values["huber"] for e in steps]))
    assert rows[0].step >= steps[-1].step
    assert [r.values["epoch"] for r in rows] == list(range(len(rows))) and "epoch 1" in beat_table(day)


def test_figures_that_cannot_be_drawn_cost_no_beat(store, short_config, tmp_path, capsys):
    config = replace(short_config, train=replace(short_config.train, steps=10, aux_warmup=5))
    run = start_run(tmp_path / "run", store, config)
    broken = lambda run, columns, found: 1 / 0
    assert train(run, store, heartbeat=heartbeat(run, store, figures=broken))
    assert len(run.events("beat")) == 1 and "no figures: ZeroDivisionError" in capsys.readouterr().err


# A real process, killed


def test_a_killed_agent_goes_on_at_the_right_beat(store, short_config, tmp_path):
    recipe_ = replace(short_config.train, steps=15, aux_warmup=5, checkpoint_every=3, log_every=1)
    config = replace(short_config, train=recipe_, agent=replace(short_config.agent, every_steps=5))
    plain, run = (start_run(tmp_path / name, store, config) for name in ("plain", "run"))
    words = ["-c", "import sys; from timemoe_lab.cli import main; sys.exit(main())", "agent", str(run.path)]
    told = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *words, "--device", "cpu"], **told)
    try:
        for _ in range(1200):
            if any(e.step > 5 for e in run.events("step", "beat")) or process.poll() is not None:
                break
            time.sleep(0.05)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL  # in the middle, not at its end
    assert main(words[2:] + ["--device", "cpu"]) == 0
    assert train(plain, store, heartbeat=heartbeat(plain, store))
    assert [e.step for e in run.events("beat")] == [5, 10, 15]
    assert weights_of(run) == weights_of(plain) and [p.name for p in run.checkpoints()] == [
        p.name for p in plain.checkpoints()
    ]
    assert [d.values["new"] for d in decided(run)] == [d.values["new"] for d in decided(plain)]
