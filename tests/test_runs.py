"Runs that are killed, resumed, shared, detached, short of disk, and made again."

import errno
import json
import os
import platform
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import clockless, short_windows, told_parts
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from timemoe_lab.agent.heartbeat import beat
from timemoe_lab.agent.reproduce import agreement, compare_runs, reproduce
from timemoe_lab.cli import main
from timemoe_lab.config import tiny
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.motor import campaign, simulate
from timemoe_lab.data.readers import read_folder
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.files import InputError, UsageError, is_locked, locked, pack_json, read_json, write_json
from timemoe_lab.records import Beat, OperatingPoint, Thresholds
from timemoe_lab.run.checkpoint import Progress, save_checkpoint, settle, take_up
from timemoe_lab.run.folder import RunFolder, RunLog, start_run, step_of
from timemoe_lab.train.loop import detach_training, train, training_data

checkpoint_room = import_module("timemoe_lab.run.checkpoint")
folder_room = import_module("timemoe_lab.run.folder")

HERE = Path(__file__).parent


# A small run, and a process that kills


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    "Ten short recordings."
    jobs = campaign(classes=(0, 6), freqs=(60,), loads=(100,), reps=2, healthy_reps=8, switched_s=(0.3, 0.6))
    return write_store(tmp_path_factory.mktemp("small") / "store", simulate(jobs, seconds=0.9, seed=1), where="made up")


def recipe(**changes):
    "Sixteen steps with beats at 7, 14 and 16 and other checkpoints at 4, 8 and 12, of which two stay."
    config = told_parts(short_windows(tiny()))
    config = replace(config, data=replace(config.data, stride=160))  # as many to an epoch as of 256 tokens
    small = {"steps": 16, "batch": 4, "warmup": 4, "aux_warmup": 8, "log_every": 2, "checkpoint_every": 4, "lr": 2e-3}
    small["keep"] = 2
    return replace(config, train=replace(config.train, **small | changes), agent=replace(config.agent, every_steps=7))


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    "Runs a command of the lab in a process that may be killed; see killing.py."
    folder = tmp_path_factory.mktemp("killer")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, HERE / "killing.py", folder], **pipes)

    def do(*words, **how):
        job = {"command": [str(w) for w in words]} | how
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield do
    process.stdin.close()
    process.wait(20)


@pytest.fixture(scope="module")
def whole(small_store, killer, tmp_path_factory):
    "A run that nobody disturbed, and the number of points where it could have been."
    run = start_run(tmp_path_factory.mktemp("whole") / "run", small_store, recipe())
    done = killer("resume", run.path)
    assert done["status"] == 0, done["err"]
    return run, int(done["report"])


def contents(run):
    "Every byte that a run promises: its checkpoints and what stands above them."
    kept = [p for p in run.path.rglob("*") if p.is_file() and p.name not in ("events.jsonl", ".lock")]
    return {str(p.relative_to(run.path)): p.read_bytes() for p in kept}


def assert_same(run, whole):
    assert clockless(run) == clockless(whole)
    ours = contents(run)
    theirs = contents(whole)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


def kill_and_go_on(run, killer, kills):
    "Kills `resume` again and again, then lets it come to its end; where it was hit."
    hit = []
    for how in kills:
        done = killer("resume", run.path, **how)
        if done["status"] == 0:
            break
        assert done["status"] == -signal.SIGKILL, done
        hit.append(done["report"] or "anywhere")
        for path in run.checkpoints():  # whole or not there
            assert {"model.safetensors", "optimizer.safetensors", "rng.safetensors", "rng.json", "state.json"} <= {
                p.name for p in path.iterdir()
            }
            assert load_file(path / "model.safetensors") and read_json(path / "state.json")["step"] > 0
    done = killer("resume", run.path)
    assert done["status"] == 0, done["err"]
    return hit


# Kills


def test_three_kills_leave_no_trace(small_store, whole, killer, tmp_path):
    run = start_run(tmp_path / "run", small_store, recipe())
    n = whole[1]
    hit = kill_and_go_on(run, killer, [{"at": 3}, {"at": n // 4}, {"at": n // 5}])
    assert len(hit) == 3 and "checkpoint" in hit
    assert_same(run, whole[0])


def test_a_run_killed_before_its_first_checkpoint_starts_again(small_store, whole, killer, tmp_path):
    run = start_run(tmp_path / "run", small_store, recipe())
    before = [p.name for p in run.path.iterdir()]
    for at in (1, 2, 9, 14, 20):  # the fifth is in the middle of the first checkpoint
        done = killer("resume", run.path, at=at)
        assert done["status"] == -signal.SIGKILL and run.checkpoints() == []
    assert done["report"] == "checkpoint" and set(before) == {".lock", "config.json"}
    assert kill_and_go_on(run, killer, []) == []
    assert_same(run, whole[0])


@pytest.mark.slow
def test_twenty_five_kills_at_random_moments_leave_no_trace(small_store, whole, killer, tmp_path):
    generator = random.Random(0)
    hit = []
    n_runs = 0
    while len(hit) < 25:
        run = start_run(tmp_path / f"run{n_runs}", small_store, recipe())
        n_runs += 1
        kills = [{"at": generator.randint(1, whole[1] // 2)} for _ in range(6)]
        kills += [{"after_s": generator.uniform(0.02, 0.4)} for _ in range(6)]
        hit += kill_and_go_on(run, killer, generator.sample(kills, 12))
        assert_same(run, whole[0])
    assert hit.count("checkpoint") >= 5 and hit.count("anywhere") >= 5


@pytest.mark.slow
def test_a_kill_anywhere_in_a_beat_and_in_checkpoints_leaves_no_trace(small_store, whole, killer, tmp_path):
    first = start_run(tmp_path / "first", small_store, recipe())
    at = 1
    while not first.checkpoints():  # up to the first whole checkpoint
        assert killer("resume", first.path, at=at)["status"] == -signal.SIGKILL
        at += 8
    hit = []
    for at in range(1, 400, 3):  # three is no divisor of the points of a file, so each kind is hit
        run = RunFolder(shutil.copytree(first.path, tmp_path / f"run{at}"))
        done = killer("resume", run.path, at=at)
        hit.append(done["report"])
        assert kill_and_go_on(run, killer, []) == []
        assert_same(run, whole[0])
        shutil.rmtree(run.path)
        if hit.count("checkpoint") > 25:
            break
    assert hit.count("checkpoint") > 25 and hit.count("elsewhere") > 5 and hit.count("beat") > 0


@pytest.mark.parametrize(("number", "share"), [(signal.SIGTERM, 0.3), (signal.SIGINT, 0.55)])
def test_a_signal_ends_with_a_checkpoint_and_the_command_to_go_on(small_store, whole, killer, tmp_path, number, share):
    run = start_run(tmp_path / "run", small_store, recipe())
    done = killer("resume", run.path, at=int(share * whole[1]), signal=number)
    assert done["status"] == 0 and f"timemoe-lab resume {run.path}" in done["out"] and "Traceback" not in done["err"]
    step = read_json(run.checkpoint("last") / "state.json")["step"]
    assert f"stopped_at_step: {step}" in done["out"] and 0 < step < 16
    assert run.events()[-1].step <= step and not run.events("end")
    assert kill_and_go_on(run, killer, []) == [] and clockless(run) == clockless(whole[0])
    for name in ("model", "optimizer", "rng"):
        ours, theirs = (r.checkpoint("last") / f"{name}.safetensors" for r in (run, whole[0]))
        assert ours.read_bytes() == theirs.read_bytes()


# What a checkpoint holds


def test_random_generators_go_on_and_the_caller_keeps_his_own(small_store, tmp_path):
    def draw(model, progress):
        drawn = [random.random(), np.random.random(), torch.rand(1).item()]
        return Beat({"delta": progress.delta, "drawn": drawn})

    random.seed(5)
    runs = [start_run(tmp_path / name, small_store, recipe(steps=14)) for name in ("whole", "cut")]
    assert train(runs[0], small_store, heartbeat=draw)
    (runs[1].path / "checkpoints").mkdir()
    first = runs[0].checkpoint("7")
    shutil.copytree(first, runs[1].path / "checkpoints" / first.name)
    assert train(runs[1], small_store, heartbeat=draw)
    drawn = [r.events("beat")[-1].values["drawn"] for r in runs]
    assert drawn[0] == drawn[1] and drawn[0] != runs[0].events("beat")[0].values["drawn"]
    after = random.random()
    assert after == random.Random(5).random()


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(small_store, tmp_path, monkeypatch):
    run = start_run(tmp_path / "run", small_store, recipe())
    done = []
    flush = os.fsync
    rename = os.replace

    def fsync(handle):
        done.append(("flushed", os.readlink(f"/proc/self/fd/{handle}")))
        flush(handle)

    def replace_(old, new):
        done.append(("named", str(new)))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace_)
    model = run.untrained()
    path = save_checkpoint(run, model, torch.optim.SGD(model.parameters()), Progress(step=1, loss=1.0))
    at = done.index(("named", str(path)))
    before = {Path(name).name for what, name in done[:at] if what == "flushed"}
    assert before >= {p.name for p in path.iterdir()} | {path.name, "events.jsonl"}
    assert ("flushed", str(path.parent)) in done[at:]


class EightBit(torch.optim.SGD):
    "An optimizer with moments of every kind: 8-bit codes, their scales, and a plain number."

    def fill(self, model):
        for i, p in enumerate(model.parameters()):
            codes = torch.arange(p.numel(), dtype=torch.int64).add(i).remainder(256).to(torch.uint8).view_as(p)
            self.state[p] = {"step": 7 + i, "state1": codes, "absmax1": torch.rand(3), "half": torch.ones(2).bfloat16()}


def test_moments_of_any_type_come_back_as_they_were(small_store, tmp_path):
    run = start_run(tmp_path / "run", small_store, recipe())
    model = run.untrained().to(torch.bfloat16)
    optimizer = EightBit(model.parameters(), lr=0.1)
    optimizer.fill(model)
    progress = Progress(step=3, position=(1, 2), delta=0.5, loss=0.25, beat={"f1": 0.5, "mask": ["CH4"]})
    save_checkpoint(run, model, optimizer, progress)
    fresh = run.untrained().to(torch.bfloat16)
    with torch.no_grad():
        for p in fresh.parameters():
            p.zero_()
    again = EightBit(fresh.parameters(), lr=0.1)
    assert take_up(run, fresh, again) == progress
    for (name, p), q in zip(model.named_parameters(), fresh.parameters()):
        assert q.dtype == torch.bfloat16 and torch.equal(p, q), name
        for key, value in optimizer.state[p].items():
            found = again.state[q][key]
            assert type(found) is type(value)
            assert torch.equal(found, value) and found.dtype == value.dtype if key != "step" else found == value
    assert not list(run.path.rglob("*.pkl")) and not list(run.path.rglob("*.pt"))


# Best, last, --checkpoint


def best_by_hand(run):
    "The step of the best beat, from the log alone."

    def rank(e):
        return (-1 if e.values["f1"] is None else e.values["f1"], -e.values["held_out"], e.step)

    return max(run.events("beat"), key=rank)


def test_best_is_the_beat_with_the_highest_f1_and_last_the_newest(trained):
    wanted = best_by_hand(trained)
    told = json.loads((trained.path / "checkpoints" / "best.json").read_text())
    assert told["checkpoint"].startswith(f"step-{wanted.step:06d}_") and told["schema"] == 1
    assert (told["metric"], told["value"]) == ("f1", wanted.values["f1"])
    last = json.loads((trained.path / "checkpoints" / "last.json").read_text())
    assert last["checkpoint"] == sorted(p.name for p in (trained.path / "checkpoints").glob("step-*"))[-1]
    point = OperatingPoint.read(trained.path / "operating_point.json")
    assert point.threshold == wanted.values["threshold"] and point.checkpoint == f"step-{wanted.step:06d}"
    assert "_f1-" in trained.checkpoint("best").name and "_thr-" in trained.checkpoint("best").name


def pointed(step, **by_hand):
    "The operating point of a beat, as its checkpoint holds it."
    at = Thresholds(float(step), 2.0, 3.0)
    counts = {"tp": 0, "fp": 0, "fn": 0, "tn": 9}
    point = OperatingPoint(at.point, "a test", "calibration", counts, rows={"lab": at}, mode="lab")
    known = {"checkpoint": f"step-{step:06d}", "profile_sha256": f"of step {step}"}
    return replace(point, window_threshold=at.window, recording_threshold=at.recording, **known | by_hand)


def beaten(run, step, columns):
    "A checkpoint that a beat left."
    model = run.untrained()
    point = pack_json(pointed(step).to_json())
    files = {"profile.safetensors": b"p%d" % step, "operating_point.json": point}
    progress = Progress(step=step, loss=1.0, beat=columns)
    save_checkpoint(run, model, torch.optim.SGD(model.parameters()), progress, beat=columns, files=files)


@pytest.mark.parametrize(
    ("beats", "best", "metric"),
    [
        ([(0.5, 1.0), (0.9, 2.0), (0.8, 0.1)], 2, "f1"),
        ([(0.9, 1.0), (0.9, 0.5), (0.9, 0.7)], 2, "f1"),  # equal F1: the forecasts decide
        ([(None, 1.0), (None, 0.5), (None, 0.7)], 2, "held_out"),
        ([(None, None), (None, None)], 2, "step"),
        ([], 3, "step"),
    ],
)
def test_which_checkpoint_is_the_best(small_store, tmp_path, beats, best, metric):
    run = start_run(tmp_path / "run", small_store, recipe())
    model = run.untrained()
    optimizer = torch.optim.SGD(model.parameters())
    for step, (f1, held_out) in enumerate(beats, 1):
        beaten(run, step, {"f1": f1, "held_out": held_out, "delta": 1.0})
    if not beats:
        for step in (1, 2, 3):
            save_checkpoint(run, model, optimizer, Progress(step=step, loss=1.0))
    told = read_json(run.path / "checkpoints" / "best.json")
    assert told["checkpoint"].startswith(f"step-{best:06d}") and told["metric"] == metric
    if beats:
        assert (run.path / "profile.safetensors").read_bytes() == b"p%d" % best
        assert OperatingPoint.read(run.path / "operating_point.json") == pointed(best)


def test_a_threshold_set_by_hand_stays_as_long_as_its_checkpoint_is_the_best(small_store, tmp_path):
    run = start_run(tmp_path / "run", small_store, recipe())
    top = run.path / "operating_point.json"
    beaten(run, 1, {"f1": 0.8, "held_out": 1.0})
    moved = pointed(1, author="an engineer", threshold=0.5, beta=1.0, before={"threshold": 1.0})
    write_json(top, moved.to_json())
    settle(run)
    assert OperatingPoint.read(top) == moved
    beaten(run, 2, {"f1": 0.7, "held_out": 1.0})
    assert OperatingPoint.read(top) == moved
    beaten(run, 3, {"f1": 0.9, "held_out": 1.0})
    assert OperatingPoint.read(top) == pointed(3)
    other = pointed(3, threshold=0.5, metric="made by the author of a test")  # nobody set it by hand
    write_json(top, other.to_json())
    settle(run)
    assert OperatingPoint.read(top) == pointed(3)


@pytest.mark.parametrize("which", ["30", "60", "best", "last"])
def test_a_score_takes_weights_profile_and_threshold_of_one_checkpoint(trained, raw, tmp_path, capsys, which):
    step = {"best": best_by_hand(trained).step, "last": 60}.get(which) or int(which)
    scorer = open_scorer(trained.path, checkpoint=which)
    assert scorer.point.threshold == next(e.values["threshold"] for e in trained.events("beat") if e.step == step)
    weights = load_file(next(trained.path.glob(f"checkpoints/step-{step:06d}_*/model.safetensors")))
    assert all(torch.equal(p, weights[n]) for n, p in scorer.model.state_dict().items())
    one = tmp_path / "raw"
    one.mkdir()
    shutil.copy(next(raw.glob("6_*.csv")), one)
    out = tmp_path / "scores"
    assert main(["score", str(trained.path), str(one), "--out", str(out), "--checkpoint", which]) == 0
    recording = next(iter(read_folder(one)))
    wanted = scorer.rows(recording)["lab"].score
    assert np.array_equal(np.load(out / f"{Path(recording.name).stem}.npz")["score"], wanted.astype(np.float32))
    assert read_json(out / "facts.json")["checkpoint"] == f"step-{step:06d}"


def test_an_evaluation_takes_the_checkpoint_that_is_asked_for(trained, raw, tmp_path):
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    other = next(e for e in run.events("beat") if e.step != best_by_hand(run).step)
    assert main(["evaluate", str(run.path), str(raw), "--rows", "lab,random", "--checkpoint", str(other.step)]) == 0
    told = read_json(run.path / "evaluation.json")
    assert told["checkpoint"] == f"step-{other.step:06d}"
    assert told["operating_points"][0]["threshold"] == other.values["threshold"]


def said(capsys):
    "The one line of an error."
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("timemoe-lab: ")]
    assert len(lines) == 1 and "Traceback" not in lines[0]
    return lines[0]


def test_a_checkpoint_that_is_not_there_or_cannot_score_is_named(trained, raw, tmp_path, capsys):
    score = ["score", str(trained.path), str(raw), "--out", str(tmp_path / "out"), "--checkpoint"]
    assert main([*score, "31"]) == 2
    line = said(capsys)
    assert "--checkpoint 31" in line and "20, 30, 40, 60" in line
    assert main([*score, "20"]) == 2
    line = said(capsys)
    assert "step-000020" in line and "30, 60" in line and "no profile" in line
    assert main([*score, "newest"]) == 2
    assert "--checkpoint newest" in said(capsys)
    assert not (tmp_path / "out").exists()


def test_a_profile_of_another_checkpoint_is_refused(trained, raw, tmp_path, capsys):
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    other = next(p for p in run.checkpoints() if p.name != run.checkpoint("best").name and "_thr-" in p.name)
    shutil.copy(other / "profile.safetensors", run.path)
    assert main(["score", str(run.path), str(raw), "--out", str(tmp_path / "out")]) == 1
    assert "of two checkpoints" in said(capsys)
    settle(run)
    assert contents(run) == contents(trained)


def test_going_on_from_an_earlier_checkpoint_puts_the_later_ones_aside(small_store, whole, killer, tmp_path):
    run = RunFolder(shutil.copytree(whole[0].path, tmp_path / "run"))
    before = contents(run)
    done = killer("resume", run.path, "--checkpoint", "8")
    assert done["status"] == 0 and "after-000008-" in done["err"]
    (aside,) = run.path.glob("checkpoints/after-000008-*")
    steps = [p.name[:11] for p in sorted(aside.glob("step-*"))]
    assert steps == ["step-000012", "step-000014", "step-000016"]
    assert [json.loads(line)["event"] for line in open(aside / "events.jsonl")][-1] == "end"
    shutil.rmtree(aside)
    assert contents(run) == before and clockless(run) == clockless(whole[0])


def test_old_checkpoints_go_when_asked_and_beats_stay(small_store, tmp_path):
    def found(model, progress):
        columns = {"f1": {7: 0.5, 14: 0.9, 21: 0.8, 28: 0.7}[progress.step], "held_out": 1.0, "loss": 1.0}
        files = {"profile.safetensors": b"", "operating_point.json": pack_json(pointed(progress.step).to_json())}
        return Beat(columns, files=files)

    def kept(**changes):
        run = start_run(tmp_path / str(changes), small_store, recipe(steps=28, **changes))
        assert train(run, small_store, heartbeat=found)
        assert not list((run.path / "checkpoints").glob(".*"))
        return run, [step_of(p) for p in run.checkpoints()]

    run, steps = kept(keep=None)
    assert steps == [4, 7, 8, 12, 14, 16, 20, 21, 24, 28]
    n = len(training_data(run, small_store)[0].epoch(0))  # windows in an epoch; a step reads four
    ends = {step for step in (4, 8, 12, 16, 20, 24) if 4 * step // n > 4 * (step - 1) // n}
    assert ends and kept(keep=2)[1] == sorted({7, 14, 20, 21, 24, 28} | ends)
    run, steps = kept(keep=1, keep_beats=1)
    assert steps == sorted({24 if 24 not in ends else 20, 28, 14})
    assert step_of(run.checkpoint("best")) == 14
    assert OperatingPoint.read(run.path / "operating_point.json").checkpoint == "step-000014"


# A full disk


def no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_reported_and_training_goes_on(small_store, whole, tmp_path, monkeypatch, capsys):
    run = start_run(tmp_path / "run", small_store, recipe())
    real = checkpoint_room.save_file

    def write(tensors, path):
        real(tensors, path)
        if any(f"step-{step:06d}" in str(path) for step in (7, 8)) and path.name == "optimizer.safetensors":
            path.write_bytes(path.read_bytes()[:1000])
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint_room, "save_file", write)
    assert train(run, small_store, heartbeat=lambda m, p: beat(run, small_store, m, p))
    assert [step_of(p) for p in run.checkpoints()] == [4, 12, 14, 16]
    assert [e.step for e in run.events("disk_full")] == [7, 8]
    assert capsys.readouterr().err.count("No space left on device") == 2
    assert not list(run.path.rglob(".*-*"))  # nothing torn
    ends = [(r.checkpoint("last") / "model.safetensors").read_bytes() for r in (run, whole[0])]
    assert ends[0] == ends[1]


def test_a_disk_that_stays_full_keeps_the_last_good_checkpoint_and_fails(small_store, tmp_path, monkeypatch, capsys):
    run = start_run(tmp_path / "run", small_store, recipe())
    real = checkpoint_room.save_file
    saved = []

    def full_later(tensors, path):
        saved.append(tensors)
        return real(tensors, path) if len(saved) <= 3 else no_room()  # the first checkpoint is three files

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_room, "save_file", full_later)
        assert main(["resume", str(run.path)]) == 1
    assert "No space left on device" in (line := said(capsys)) and f"timemoe-lab resume {run.path}" in line
    assert [step_of(p) for p in run.checkpoints()] == [4] and not run.events("end")
    assert main(["resume", str(run.path)]) == 0 and run.events("end")


def test_a_file_of_tensors_is_held_once_and_told_of_as_the_system_does(tmp_path):
    tensors = {"b": torch.ones(16, 2**20), "a": torch.ones(3, dtype=torch.bfloat16)}
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(OSError, match="File too large") as told:
            checkpoint_room._write_file(tmp_path / "small", tensors)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert told.value.errno == errno.EFBIG and told.value.filename == str(tmp_path / "small")
    Path("/proc/self/clear_refs").write_text("5")  # the most memory so far is that of now
    status = lambda name: int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # kB
    held = status("VmRSS")
    checkpoint_room._write_file(tmp_path / "whole", tensors)
    assert status("VmHWM") - held < 16 * 1024  # of 64 MB
    assert (tmp_path / "whole").read_bytes() == save(tensors)


class Cramped:
    "A file that takes a part of what is written while `room` is zero."

    room = 0

    def __init__(self, *arguments, **how):
        self.file = open(*arguments, **how)
        self.name = self.file.name

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        return self.file.write(data if Cramped.room else data[:5])


def test_events_wait_for_room_and_none_is_torn(tmp_path, monkeypatch, capsys):
    log = RunLog(tmp_path)
    log.log("step", 1)
    monkeypatch.setattr(folder_room, "open", Cramped, raising=False)
    log.log("step", 2)
    log.log("step", 3)
    assert [e.step for e in log.events()] == [1] and (tmp_path / "events.jsonl").read_text().count("\n") == 1
    assert capsys.readouterr().err.count("No space left on device") == 2
    monkeypatch.setattr(Cramped, "room", 1)
    log.log("step", 4)
    assert [e.step for e in log.events()] == [1, 2, 3, 4]


# One process at a time


def test_two_processes_cannot_train_into_one_run(small_store, killer, tmp_path):
    run = start_run(tmp_path / "run", small_store, recipe())
    with run.lock():
        done = killer("resume", run.path)
        assert done["status"] == 2 and run.checkpoints() == []
        (line,) = [line for line in done["err"].splitlines() if line.startswith("timemoe-lab: ")]
        assert str(os.getpid()) in line and platform.node() in line and str(run.path) in line
        with pytest.raises(UsageError, match=str(os.getpid())), run.lock():  # nor two threads of one process
            pass
    assert killer("resume", run.path)["status"] == 0


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    lock = tmp_path / ".lock"
    dead = subprocess.Popen(["true"])
    dead.wait()
    lock.write_text(json.dumps({"pid": dead.pid, "host": platform.node(), "since": "long ago"}))
    assert not is_locked(lock)
    with locked(lock):
        assert is_locked(lock) and json.loads(lock.read_text())["pid"] == os.getpid()
    assert not is_locked(lock)


def test_a_worker_that_outlives_its_killed_process_is_waited_for(tmp_path):
    script = (
        "import os, sys, time, signal; from pathlib import Path; from timemoe_lab.files import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    if os.fork() == 0: time.sleep(2); os._exit(0)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / ".lock"])
    assert is_locked(tmp_path / ".lock")
    began = time.monotonic()
    with locked(tmp_path / ".lock"):
        assert time.monotonic() - began > 0.5


# A run that outlives its notebook


KERNEL = """
import sys
from timemoe_lab.data.store import Store
from timemoe_lab.run.folder import RunFolder
from timemoe_lab.train.loop import detach_training
print(detach_training(RunFolder(sys.argv[1]), Store(sys.argv[2]).path), flush=True)
sys.stdin.read()
"""


def test_a_detached_run_survives_the_kernel_and_is_followed_live(small_store, tmp_path):
    config = replace(recipe(steps=150, checkpoint_every=1000), agent=replace(recipe().agent, every_steps=None))
    run = start_run(tmp_path / "run", small_store, config)
    kernel = subprocess.Popen(
        [sys.executable, "-c", KERNEL, run.path, small_store.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pid = int(kernel.stdout.readline())  # it came back at once, and training has begun
    assert json.loads((run.path / ".lock").read_text())["pid"] == pid
    os.killpg(kernel.pid, signal.SIGKILL)  # the kernel, its process group, its session
    kernel.wait()
    assert is_locked(run.path / ".lock") and os.getsid(pid) == pid
    followed = []
    live = 0
    for event in run.follow(0.1):
        followed.append(event)
        live += is_locked(run.path / ".lock")
    assert followed == run.events() and followed[-1].event == "end" and live > 2
    assert "150/150" in (run.path / "train.log").read_text()
    assert open_scorer(run.path).point.threshold > 0  # with the command's heartbeat


def test_a_detached_run_that_cannot_start_says_why(small_store, tmp_path):
    run = start_run(tmp_path / "run", small_store, recipe())
    with pytest.raises(InputError, match="nowhere"):
        detach_training(run, tmp_path / "nowhere")


def test_following_ends_when_the_process_dies_and_waits_for_whole_lines(tmp_path):
    script = (
        "import os, sys, time, signal; from timemoe_lab.files import locked; from timemoe_lab.run import RunLog\n"
        "log = RunLog(sys.argv[1])\n"
        "with locked(log.path / '.lock'):\n"
        "    log.log('step', 1); print(flush=True); time.sleep(1.5)\n"
        "    file = open(log.path / 'events.jsonl', 'a')\n"
        '    file.write(\'{"event": "step", "time": 0, \'); file.flush(); time.sleep(0.5)\n'
        '    file.write(\'"step": 2}\\n{"event": "st\'); file.flush(); time.sleep(0.5)\n'
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE)
    process.stdout.readline()
    following = RunLog(tmp_path).follow(0.05)
    assert next(following).step == 1 and process.poll() is None
    assert [e.step for e in following] == [2]  # and no half line; then the end
    assert process.wait(5) == -signal.SIGKILL


def test_an_event_written_just_before_the_end_is_followed(tmp_path, monkeypatch):
    log = RunLog(tmp_path)
    looks = iter([True, False])

    def is_locked(path):
        log.log("step", 1)  # whoever trains is quicker than whoever follows
        return next(looks)

    monkeypatch.setattr(folder_room, "is_locked", is_locked)
    assert len(list(RunLog(tmp_path).follow(0.01))) == 2


# The same again


def test_a_run_is_reproduced_bit_for_bit(small_store, whole, killer, tmp_path):
    done = killer("reproduce", whole[0].path, "--out", tmp_path / "again")
    assert done["status"] == 0 and "identical: True" in done["out"] and "100.0000%" in done["out"]
    assert "the same versions, data, code and device" in done["err"]
    again = RunFolder(tmp_path / "again")
    assert clockless(again) == clockless(whole[0])
    ends = [(r.checkpoint("last") / "model.safetensors").read_bytes() for r in (again, whole[0])]
    assert ends[0] == ends[1]


def test_what_differs_is_said_before_it_starts(small_store, whole, killer, tmp_path):
    run = RunFolder(shutil.copytree(whole[0].path, tmp_path / "run"))
    facts = read_json(run.path / "config.json")
    facts["versions"]["numpy"] = "0.1"
    facts |= {"data_fingerprint": "other", "git_revision": "abc"}
    write_json(run.path / "config.json", facts)
    state = read_json(run.checkpoint("last") / "state.json")
    write_json(run.checkpoint("last") / "state.json", state | {"device": "NVIDIA GeForce RTX 3090"})
    done = killer("reproduce", run.path, "--out", tmp_path / "again", "--json")
    assert done["status"] == 0
    lines = done["err"].splitlines()
    starts = next(i for i, line in enumerate(lines) if line.startswith("train:"))
    before = [line for line in lines[:starts] if line.startswith("differs: ")]
    for words in (("numpy", "0.1 then"), ("data", "other then"), ("git revision", "abc"), ("device", "RTX 3090")):
        assert any(all(w in line for w in words) for line in before), (words, before)
    printed = json.loads(done["out"])
    assert printed["agreement"] == 1 and len(printed["differs"]) == 4


def test_less_than_the_promise_fails(small_store, whole, killer, tmp_path):
    run = RunFolder(shutil.copytree(whole[0].path, tmp_path / "run"))
    facts = read_json(run.path / "config.json")
    facts["config"]["train"]["lr"] = 2e-5  # not how it was trained
    write_json(run.path / "config.json", facts)
    done = killer("reproduce", run.path, "--out", tmp_path / "again", "--json")
    printed = json.loads(done["out"])
    rows = {r["name"]: r for r in printed["metrics"]}
    a, b = (r.events("beat")[-1].values["loss"] for r in (whole[0], RunFolder(tmp_path / "again")))
    assert rows["loss"]["agreement"] == pytest.approx(1 - abs(a - b) / max(a, b))
    assert done["status"] == 1 and printed["agreement"] < 0.95 and not printed["identical"]
    assert printed["largest_difference"] > 1e-4


def test_beats_by_the_clock_and_an_early_end_are_reproduced_by_step(small_store, tmp_path):
    config = replace(recipe(steps=30), agent=replace(recipe().agent, every_steps=None, every_h=1.0))
    run = start_run(tmp_path / "run", small_store, config)
    hours = iter(np.arange(0, 100, 0.09))
    slow_clock = lambda: 3600 * float(next(hours))
    heartbeat = lambda m, p: beat(run, small_store, m, p)
    assert train(run, small_store, heartbeat=heartbeat, minutes=120, now=slow_clock)
    beats = [e.step for e in run.events("beat")]
    end = run.events("end")[0].step
    assert len(beats) >= 2 and end < 30
    result = reproduce(run, small_store, tmp_path / "again")
    again = RunFolder(tmp_path / "again")
    assert result.identical and [e.step for e in again.events("beat")] == beats
    assert again.events("end")[0].step == end


def test_a_store_that_is_gone_is_one_line_and_may_be_named(small_store, whole, killer, tmp_path):
    run = RunFolder(shutil.copytree(whole[0].path, tmp_path / "run"))
    facts = read_json(run.path / "config.json")
    write_json(run.path / "config.json", facts | {"store": str(tmp_path / "gone")})
    for command in (["reproduce", run.path, "--out", tmp_path / "again"], ["resume", run.path]):
        done = killer(*command)
        (line,) = [line for line in done["err"].splitlines() if line.startswith("timemoe-lab: ")]
        assert done["status"] == 1 and "gone" in line and "--store" in line
    assert not (tmp_path / "again").exists()
    assert killer("resume", run.path, "--store", small_store.path)["status"] == 0


def test_agreement_is_of_the_worst_number(whole, tmp_path):
    same = compare_runs(whole[0], whole[0])
    assert same.identical and same.agreement == 1
    other = RunFolder(shutil.copytree(whole[0].path, tmp_path / "run"))
    lowered = lambda e: replace(e, values=e.values | {"threshold": 0.9 * e.values["threshold"]})
    events = [lowered(e) if e.event == "beat" else e for e in other.events()]
    (other.path / "events.jsonl").write_text("".join(json.dumps(e.to_json()) + "\n" for e in events))
    assert compare_runs(whole[0], other).agreement == pytest.approx(0.9)
    assert [m.name for m in same.metrics] == ["loss", "f1", "threshold", "held_out"]
    assert agreement(2.0, 1.9) == pytest.approx(0.95) and agreement(0.0, 0.1) == 0


# A change detector


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_change_detector_the_golden_loss_curve(tmp_path, threads):
    """Fifty losses of `tiny` on data/sample. What changes them changes what training computes; if that is meant, write
    the new curve with: python tests/test_runs.py"""
    golden = json.loads((HERE / "fixtures" / "golden_loss.json").read_text())
    assert golden_curve(tmp_path, threads) == pytest.approx(golden, rel=1e-5)


def golden_curve(folder, threads):
    config = tiny()
    how = {"steps": 50, "lr": 1e-3, "lr_min": 1e-4, "log_every": 1, "threads": threads, "precision": "fp32"}
    config = replace(config, train=replace(config.train, **how))
    store = write_store(folder / "store", read_folder(HERE.parent / "data" / "sample"), where="data/sample")
    run = start_run(folder / "run", store, config)
    assert train(run, store)
    return [e.values["loss"] for e in run.events("step")]


# doctor


def test_doctor_names_what_is_here_and_what_is_missing(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["torch"] == torch.__version__ and found["versions"]["python"] == platform.python_version()
    assert found["free_disk_gb"] == pytest.approx(shutil.disk_usage(".").free / 1e9, abs=2)
    assert 0 < found["free_memory_gb"] < 10_000 and found["devices"][0] == "cpu"
    assert len(found["devices"]) == 1 + torch.cuda.device_count()
    assert found["attention"]["math"].startswith("runs on")
    for name in ("flash_attn", "bitsandbytes", "triton"):
        try:
            __import__(name)
        except ImportError:
            assert "pip install" in found["missing"][name] and name not in found["installed"]
        else:
            assert name in found["installed"] and name not in found["missing"]


if __name__ == "__main__":
    import tempfile

    curve = golden_curve(Path(tempfile.mkdtemp()), 1)
    (HERE / "fixtures" / "golden_loss.json").write_text(json.dumps(curve, indent=0) + "\n")
