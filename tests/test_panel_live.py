"The live panel in Python: what it reads, how it follows, and when it stops."

import asyncio
import json
import os
import shutil
import threading
import time
from importlib import import_module

import numpy as np
import pytest

from timemoe_lab.agent.state import beat_table
from timemoe_lab.records import Event
from timemoe_lab.run.folder import RunFolder
from timemoe_lab.view.live import LivePanel, Tail, snapshot_of, thin_steps

live_room = import_module("timemoe_lab.view.live")

NAME = "timemoe-lab live"


@pytest.fixture
def run(trained, tmp_path):
    "A copy of a trained run, to be written into."
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    wait_for(lambda: not followers(), "the end of all followers")


def followers():
    return [t for t in threading.enumerate() if t.name.startswith(NAME)]


def wait_for(found, what, seconds=20.0):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, what
        time.sleep(0.01)


async def until(found, what, seconds=20.0):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.01)


def lines_of(run):
    "The events, read without the package."
    return [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]


def as_json(events):
    return [e.to_json() for e in events]


def step_with(step, loss):
    return Event("step", step, 0.0, {"loss": loss})


def steps_of(run, kind="step"):
    return [e for e in lines_of(run) if e["event"] == kind]


def add_step(run, step, **values):
    run.log("step", step, **{k: v for k, v in steps_of(run)[-1].items() if k not in SAME} | {"epoch": 99} | values)


SAME = ("schema", "event", "step", "time")


def bare(run):
    "The run without an event."
    for name in ("events.jsonl", "operating_point.json"):
        (run.path / name).unlink()
    shutil.rmtree(run.path / "checkpoints")
    return run


# Reading


def test_every_event_is_read_once_however_the_lines_arrive(run):
    whole = (run.path / "events.jsonl").read_bytes()
    tail = Tail(run.path)
    part = run.path / "events.jsonl"
    cuts = [0, 1, 17, *np.random.default_rng(0).integers(0, len(whole), 12), len(whole)]
    part.write_bytes(b"")
    for start, end in zip(sorted(cuts), sorted(cuts)[1:]):
        with open(part, "ab") as file:
            file.write(whole[start:end])
        n = whole[:end].count(b"\n")
        assert as_json(tail.events()) == [json.loads(line) for line in whole.splitlines()[:n]]
    assert as_json(tail.events("beat")) == steps_of(run, "beat")


def test_a_log_that_was_written_anew_is_read_from_its_beginning(run):
    tail = Tail(run.path)
    lines = (run.path / "events.jsonl").read_text().splitlines()
    tail.events()
    other = [*lines[:3], *[json.dumps(json.loads(line) | {"again": 1}) for line in lines[3:]]]  # no shorter
    (run.path / "new").write_text("\n".join(other) + "\n")
    os.replace(run.path / "new", run.path / "events.jsonl")
    assert as_json(tail.events()) == [json.loads(line) for line in other]
    (run.path / "events.jsonl").write_text(lines[0] + "\n")  # shorter
    assert as_json(tail.events()) == [json.loads(lines[0])]
    (run.path / "events.jsonl").unlink()
    assert tail.events() == []


def test_what_a_tail_says_is_what_the_run_says(run):
    tail = Tail(run.path)
    assert beat_table(tail) == beat_table(run)
    mine, _ = snapshot_of(tail)
    other, _ = snapshot_of(run)
    assert mine == other and json.dumps(mine, allow_nan=False)


# Thinning


@pytest.mark.parametrize("n", [0, 1, 6, 100, 101, 799, 5000])
def test_a_thinned_curve_keeps_ends_and_spikes(n):
    rng = np.random.default_rng(n)
    loss = rng.random(n)
    loss[n // 3 :: 977] = 50.0 + np.arange(n)[n // 3 :: 977]
    steps = [step_with(i, float(v)) for i, v in enumerate(loss)]
    kept = thin_steps(steps, 100)
    at = [e.step for e in kept]
    assert len(kept) == n if n <= 100 else 25 < len(kept) <= 100
    assert at == sorted(set(at)) and kept == [steps[i] for i in at]
    assert kept[:1] == steps[:1] and kept[-1:] == steps[-1:]
    assert set(np.flatnonzero(loss > 50)) <= set(at)
    assert not n or loss.argmin() in at


def test_points_that_are_drawn_stay_while_the_training_goes_on():
    rng = np.random.default_rng(1)
    steps = [step_with(i, float(v)) for i, v in enumerate(rng.random(400))]
    before, after = ({e.step for e in thin_steps(steps[:n], 100)} for n in (340, 350))
    assert len(before - after) <= 2  # the last one, and one of the last stretch


def test_a_step_without_a_loss_is_kept():
    steps = [step_with(i, None if i == 333 else 1.0 - i / 1e6) for i in range(1000)]
    assert 333 in [e.step for e in thin_steps(steps, 50)]


# What it shows


def test_the_panel_shows_what_the_log_says(run):
    panel = LivePanel(run)
    steps = steps_of(run)
    beats = steps_of(run, "beat")
    now = panel.now
    array = lambda name: np.frombuffer(panel.arrays[name]["data"], "<f4")
    assert (now["step"], now["steps"], now["state"]) == (steps[-1]["step"], run.config.train.steps, "finished")
    assert (now["loss"], now["huber"], now["lr"]) == tuple(steps[-1][k] for k in ("loss", "huber", "lr"))
    for name in ("loss", "huber", "lr", "delta", "gating_balance"):
        assert array(name).tolist() == [np.float32(e[name]) for e in steps]
    assert np.frombuffer(panel.arrays["step"]["data"], "<i4").tolist() == [e["step"] for e in steps]
    assert [(b["step"], b["threshold"], b["f1"]) for b in now["beats"]] == [
        (e["step"], e["threshold"], e["f1"]) for e in beats
    ]
    load = np.mean([e["expert_load"] for e in steps[-5:]], axis=0)
    assert np.allclose([layer["load"] for layer in now["routing"]["layers"]], load, atol=1e-4)
    dead = [[i, e] for i, layer in enumerate(now["routing"]["layers"]) for e in layer["dead"]]
    assert dead == np.argwhere(load * run.config.model.top_k < 0.01).tolist()
    cells = [row["cells"] for row in now["table"]["rows"] if row["is_beat"]]
    assert [c[:5] for c in cells] == [
        [str(e["step"]), f"{e['loss']:.4f}", f"{e['gating_balance']:.4f}", f"{e['f1']:.3f}", f"{e['threshold']:.4g}"]
        for e in beats
    ]
    panel.close()


def test_a_long_table_keeps_its_last_rows(run):
    beat = steps_of(run, "beat")[-1]
    for i in range(150):
        run.log("beat", 1000 + i, **{k: v for k, v in beat.items() if k not in SAME})
    panel = LivePanel(run)
    table = panel.now["table"]
    assert len(table["rows"]) == 100 and table["rows"][-1]["cells"][0] == "1149"
    assert table["left_out"] == len(beat_table(run).splitlines()) - 3 - 100  # heading, labels, a warning
    panel.close()


def test_a_run_without_a_step_and_no_run_at_all(run):
    panel = LivePanel(bare(run))
    assert panel.now["state"] == "not started" and panel.now["beats"] == [] and panel.threshold is None
    assert f"timemoe-lab resume {run.path}" in panel.html()
    panel.close()
    nothing = LivePanel()
    assert nothing.now == {} and "timemoe-lab train" in nothing.facts["absent"] and nothing._thread is None
    nothing.close()


def test_requests_that_wait_are_shown(run):
    run.ask("change", author="me", values={"delta": 0.5})
    panel = LivePanel(run)
    assert [(r["action"], r["values"], r["author"]) for r in panel.now["pending"]] == [("change", {"delta": 0.5}, "me")]
    panel.close()


def test_a_broken_line_of_the_log_is_left_out_and_counted(run):
    panel = LivePanel(run)
    step = panel.now["step"]
    whole = (run.path / "events.jsonl").read_bytes()
    (run.path / "events.jsonl").write_bytes(whole + b"{half\n")
    assert "problem" not in panel.look() and panel.now["step"] == step
    assert "events.jsonl that can't be read, left out: 1" in beat_table(RunFolder(run.path))
    (run.path / "events.jsonl").write_bytes(whole)
    assert "problem" not in panel.look()
    panel.close()


def test_the_threshold_follows_the_newest_beat_until_one_is_chosen(run):
    panel = LivePanel(run)
    beat = steps_of(run, "beat")[-1]
    assert panel.threshold == beat["threshold"]
    more = {k: v for k, v in beat.items() if k not in SAME}
    run.log("beat", 70, **more | {"threshold": 7.0})
    panel.look()
    assert panel.threshold == 7.0
    panel.threshold = 3.0
    run.log("beat", 80, **more | {"threshold": 8.0})
    panel.look()
    assert panel.threshold == 3.0 and panel.now["beats"][-1]["threshold"] == 8.0
    panel.close()


def test_a_saved_panel_is_the_same_each_time(run):
    panel = LivePanel(run)
    first = panel.html()
    panel.look()
    assert panel.html() == first
    panel.close()


# Following


def test_it_is_set_from_the_loop_and_not_while_the_loop_is_busy(run):
    async def watch():
        panel = LivePanel(run, every_s=0.02)
        threads = []
        panel.observe(lambda _: threads.append(threading.current_thread()), "now")
        add_step(run, 61, loss=0.25)
        await until(lambda: panel.now["step"] == 61, "step 61")
        add_step(run, 62)
        time.sleep(0.4)  # a cell that computes
        assert panel.now["step"] == 61
        looks = panel._looks
        await until(lambda: panel.now["step"] == 62, "step 62")
        assert panel._looks <= looks + 2  # nothing had piled up
        assert set(threads) == {threading.main_thread()}
        panel.close()

    asyncio.run(watch())


def test_a_run_that_stands_still_is_not_read_again(run, monkeypatch):
    async def watch():
        panel = LivePanel(run, every_s=0.02)
        read = []
        monkeypatch.setattr(live_room, "snapshot_of", lambda run: read.append(1) or snapshot_of(run))
        looks = panel._looks
        await until(lambda: panel._looks > looks + 5, "looks")
        assert not read
        add_step(run, 61)
        await until(lambda: panel.now["step"] == 61, "step 61")
        assert len(read) == 1
        panel.close()

    asyncio.run(watch())


def test_a_training_that_begins_and_ends_is_seen(run):
    async def watch():
        panel = LivePanel(run, every_s=0.02)
        assert panel.now["state"] == "finished"
        with run.lock():
            await until(lambda: panel.now["state"] == "training", "training")
            run.ask("pause", author="me")
            await until(lambda: panel.now["pending"], "request")
            run.log("decision", 60, rule="asked for: pause", old=None, new=None, author="me", outcome="applied")
            await until(lambda: panel.now["state"] == "paused", "paused")
        await until(lambda: panel.now["state"] == "stopped", "stopped")
        panel.close()

    asyncio.run(watch())


def test_ten_panels_of_a_key_leave_one_thread(run):
    panels = [LivePanel(run, every_s=0.02, key="live") for _ in range(10)]
    wait_for(lambda: len(followers()) == 1, "one follower")
    assert [p.comm is not None for p in panels] == [False] * 9 + [True]
    panels[-1].close()
    wait_for(lambda: not followers(), "none")
    panels[-1].answer({"kind": "watching"})  # a last word from the browser
    wait_for(lambda: not followers(), "none again")


def test_nobody_looks_so_nobody_follows_until_somebody_does(run, monkeypatch):
    monkeypatch.setattr(live_room, "PATIENCE_S", 0.3)
    panel = LivePanel(run, every_s=0.05)
    assert followers()
    wait_for(lambda: not followers(), "the end of patience")
    add_step(run, 61)
    panel.answer({"kind": "watching"})
    wait_for(lambda: panel.now["step"] == 61, "step 61")
    panel.close()


def test_a_loop_that_is_closed_ends_the_thread(run):
    async def place():
        return LivePanel(run, every_s=0.02)

    panel = asyncio.run(place())
    wait_for(lambda: not followers(), "the end of the follower")
    panel.close()
