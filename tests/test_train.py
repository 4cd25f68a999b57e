"The loop of training: losses of parts, optimizers, processes, memory that runs out, steps that fail, the log."

import json
import math
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import clockless, short_windows, told_parts
from safetensors.torch import load_file

from timemoe_lab.agent.heartbeat import beat, read_beat
from timemoe_lab.agent.state import beat_table
from timemoe_lab.cli import main
from timemoe_lab.config import base, tiny
from timemoe_lab.data.prepare import Normalised, normalise
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.files import Bar, InputError, UsageError, read_json
from timemoe_lab.model.device import numerics
from timemoe_lab.model.moe import load_balancing_loss
from timemoe_lab.model.timemoe import ATTENTION, TimeMoE, read_windows
from timemoe_lab.records import Beat, Decision, Event
from timemoe_lab.run.folder import RunFolder, start_run, step_of
from timemoe_lab.train.loop import Ahead, train, training_data, warnings_at
from timemoe_lab.train.step import (
    BF16AdamW,
    Step,
    WindowOrder,
    aux_weight,
    check_machine,
    forecast_loss,
    learning_rate,
    make_optimizer,
    n_targets,
    round_to_bf16,
    split_batch,
    train_step,
)

loop_room = import_module("timemoe_lab.train.loop")
step_room = import_module("timemoe_lab.train.step")
reading_room = import_module("timemoe_lab.detect.reading")
timemoe_room = import_module("timemoe_lab.model.timemoe")

N_TENSORS = len(list(TimeMoE(tiny().model).parameters()))


def recipe(**changes):
    "The tiny preset, a few steps of it."
    config = short_windows(tiny())
    known = {"steps": 6, "warmup": 2, "aux_warmup": 3, "log_every": 1, "checkpoint_every": 100}
    return replace(config, train=replace(config.train, **(known | changes)))


def weights_of(run, which="last"):
    return (run.checkpoint(which) / "model.safetensors").read_bytes()


def finished(out, store, config, **how):
    run = start_run(out, store, config)
    assert train(run, store, **how)
    return run


def gappy(n=8, seed=0):
    "Windows of which the later ones have ever fewer valid samples."
    generator = np.random.default_rng(seed)
    windows = generator.normal(size=(n, 257)).astype(np.float32)
    valid = np.arange(257)[None] < np.linspace(257, 20, n)[:, None]
    return windows, valid & (generator.random((n, 257)) > 0.1)


# The loss of a batch in parts


@pytest.mark.parametrize("size", [1, 3, 8])
def test_parts_of_a_batch_add_up_to_its_loss_whatever_is_missing(size):
    generator = torch.Generator().manual_seed(0)
    ahead = {h: torch.randn(8, 40, h, generator=generator) for h in (1, 8)}
    target = torch.randn(8, 40, generator=generator)
    valid = torch.rand(8, 40, generator=generator) < torch.linspace(0.9, 0.1, 8)[:, None]
    by_hand = []
    for h in (1, 8):
        errors = [
            float(ahead[h][b, t, k] - target[b, t + k])
            for b in range(8) for t in range(40) for k in range(h) if t + k < 40 and valid[b, t + k]
        ]  # fmt: skip
        by_hand.append((sum(0.5 * e * e if abs(e) <= 0.7 else 0.7 * (abs(e) - 0.35) for e in errors), len(errors)))
    over = n_targets(valid, (1, 8))
    assert over == [n for _, n in by_hand]
    parts = [slice(i, i + size) for i in range(0, 8, size)]
    how = {"delta": 0.7, "weights": (1.0, 3.0), "over": over}
    losses = [
        forecast_loss({h: a[p] for h, a in ahead.items()}, target[p], valid=valid[p], **how).item() for p in parts
    ]
    (one, n), (eight, m) = by_hand
    assert sum(losses) == pytest.approx((one / n + 3 * eight / m) / 4, rel=1e-5)


def skewed():
    "A model whose routers are far from even, so that the balance matters."
    model = TimeMoE(tiny().model, seed=0)
    with torch.no_grad():
        for block in model.blocks:
            block.moe.router.weight *= 30
    return model


def one_step(windows, valid, size, **changes):
    "What a step on a fresh model measures, and its gradients."
    config = recipe(**changes).train
    model = skewed()
    how = {"step": 3, "delta": 1.0, "config": replace(config, clip=1e9), "log": True}
    done = train_step(model, make_optimizer(model, config), split_batch(windows, valid, size), **how)
    return done, {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("size", [1, 3, 4])
def test_passes_change_neither_the_loss_nor_the_gradient(size):
    whole, expected = one_step(*gappy(), 8, aux_weight=0.0)
    cut, found = one_step(*gappy(), size, aux_weight=0.0)
    assert cut.huber == pytest.approx(whole.huber, rel=1e-6) and cut.loss == cut.huber
    assert cut.grad_norm == pytest.approx(whole.grad_norm, rel=1e-5)
    for name, grad in expected.items():
        assert torch.allclose(found[name], grad, atol=1e-6 + 1e-4 * grad.abs().max().item()), name


def test_each_pass_is_balanced_by_itself_and_counts_by_its_tokens():
    windows, valid = gappy()
    cut, _ = one_step(windows, valid, 2, aux_weight=0.5)
    model = skewed()
    parts = []
    n_tokens = []
    for i in range(0, 8, 2):
        w = torch.from_numpy(windows[i : i + 2, :-1])
        v = torch.from_numpy(valid[i : i + 2, :-1])
        parts.append(load_balancing_loss(model(w, routing=True).router_logits, top_k=2, valid=v).item())
        n_tokens.append(v.sum().item())
    assert len(set(n_tokens)) == 4
    assert cut.aux == pytest.approx(np.average(parts, weights=n_tokens), rel=1e-5)
    assert cut.loss == pytest.approx(cut.huber + 0.5 * cut.aux, rel=1e-6)
    assert abs(cut.aux - np.mean(parts)) > 1e-4  # a mean of means would be another number


def halvings(run):
    return [(e.step, e.values["batch"], e.values["accumulation"]) for e in run.events("batch")]


# Several processes


def launched(n, *arguments, cwd):
    "The command in n processes that torchrun starts."
    lab = Path(sys.executable).with_name("timemoe-lab")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n), lab]
    done = subprocess.run([*map(str, command), *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def lossy(run):
    steps = run.events("step")
    return np.array([[e.values[k] for k in ("loss", "huber", "aux", "grad_norm")] for e in steps])


@pytest.mark.parametrize("n", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_several_processes_train_as_one_does(store, tmp_path, n):
    done = launched(n, "train", store.path, "--out", tmp_path / "two", "--steps", 12, "--json", cwd=tmp_path)
    two = RunFolder(tmp_path / "two")
    half = replace(two.config, train=replace(two.config.train, batch=16 // n, accumulation=n))
    one = start_run(tmp_path / "one", store, half)  # the same passes, one after the other
    assert train(one, store, heartbeat=lambda m, p: beat(one, store, m, p))
    assert np.allclose(lossy(two), lossy(one), rtol=1e-5)
    states = [load_file(r.checkpoint("last") / "model.safetensors") for r in (one, two)]
    assert all(torch.allclose(states[0][k], states[1][k], rtol=1e-4, atol=1e-6) for k in states[0])
    assert [e.step for e in two.events("step")] == [1, 10, 12]  # one process writes
    assert len(done.stdout.strip().splitlines()) == 1 and json.loads(done.stdout)["run"] == str(tmp_path / "two")


@pytest.mark.slow
def test_a_run_of_two_processes_is_taken_up_by_three_and_by_one(store, tmp_path):
    whole = finished(tmp_path / "whole", store, recipe(batch=4, accumulation=4, steps=9, checkpoint_every=3))
    run = start_run(tmp_path / "run", store, whole.config)
    for n, keep in ((2, 3), (3, 6), (1, 9)):
        launched(n, "resume", run.path, cwd=tmp_path)
        for path in [p for p in run.checkpoints() if step_of(p) > keep]:
            shutil.rmtree(path)  # as if it had been killed before
    assert [e.step for e in run.events("step")] == list(range(1, 10)) and len(run.events("end")) == 1
    assert np.allclose(lossy(run), lossy(whole), rtol=1e-4)


SPREAD = """
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
import torch
from timemoe_lab.config import tiny
from timemoe_lab.data.store import Store
from timemoe_lab.files import InputError
from timemoe_lab.records import Beat, Decision
from timemoe_lab.run.folder import RunFolder, start_run
from timemoe_lab.train.loop import train
from timemoe_lab.train.step import Team
from importlib import import_module

step_room = import_module("timemoe_lab.train.step")
reading_room = import_module("timemoe_lab.detect.reading")
timemoe_room = import_module("timemoe_lab.model.timemoe")
store, out, kind = Store(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
config = tiny()
recipe = {"steps": 4, "batch": 4, "accumulation": 6, "log_every": 1, "warmup": 1, "checkpoint_every": 2}
config = replace(config, train=replace(config.train, **recipe))
team = Team.join("cpu")
made = team.tell(start_run(out, store, config).path if team.main else None)
real, calls = step_room.read_windows, []
def spoilt(model, x, valid, **how):
    calls.append(len(x))
    if kind == "killed" and team.rank == 1 and len(calls) == 5:  # in its third step
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "memory" and team.rank == 1 and len(x) > 2:
        raise torch.OutOfMemoryError("out of memory, for a test")
    out = real(model, x, valid, **how)
    if kind == "nan" and team.rank == 1 and 2 < len(calls) <= 4:  # its second step
        out = replace(out, forecast={h: a * float("nan") for h, a in out.forecast.items()})
    return out
step_room.read_windows = spoilt
seen = []
def heartbeat(model, progress):
    seen.append(progress.step)
    change = Decision("for a test", "agent", knob="delta", old=progress.delta, new=0.5)
    return Beat({}, (change,))
try:
    assert train(RunFolder(made), store, heartbeat=heartbeat)
except InputError as error:
    Path(f"said{team.rank}").write_text(str(error))
    sys.exit(1)
Path(f"beats{team.rank}").write_text(str(seen))
team.leave()
"""


def spread(store, folder, kind):
    "A training of three processes with trouble in one of them, which has ended."
    (folder / "spread.py").write_text(SPREAD)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3"]
    arguments = ["spread.py", str(store.path), "run", kind]
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_a_killed_process_ends_the_others_with_a_line_and_the_run_goes_on_with_another_number(store, tmp_path):
    done = spread(store, tmp_path, "killed")
    assert done.returncode == 1 and "SIGKILL" in done.stderr and not list(tmp_path.glob("beats*"))
    for rank in (0, 2):
        said = (tmp_path / f"said{rank}").read_text()
        assert f"process {rank} of 3: another process is gone" in said and "\n" not in said
    run = RunFolder(tmp_path / "run")
    assert train(run, store)  # one process takes it up
    whole = finished(tmp_path / "whole", store, run.config)
    assert [e.step for e in run.events("step")] == [1, 2, 3, 4]
    assert np.allclose(lossy(run), lossy(whole), rtol=1e-5)


@pytest.mark.parametrize("kind", ["memory", pytest.param("nan", marks=pytest.mark.slow)])
def test_trouble_in_one_process_is_everyones(store, tmp_path, kind):
    done = spread(store, tmp_path, kind)
    assert done.returncode == 0, done.stderr[-3000:]
    run = RunFolder(tmp_path / "run")
    assert [(tmp_path / f"beats{i}").read_text() for i in range(3)] == ["[4]", "[]", "[]"]  # the first one beats
    if kind == "memory":
        assert halvings(run) == [(1, 2, 12)]
        assert [e.step for e in run.events("step")] == [1, 2, 3, 4]
        assert read_json(run.checkpoint("last") / "state.json")["batch"] == 2
    else:
        (skip,) = run.events("skip")
        assert skip.step == 2 and len(skip.values["windows"]) == 8  # of the two passes of that process
        assert [e.step for e in run.events("step")] == [1, 3, 4]


# Memory that runs out


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 274877906944 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_and_the_data_stay_the_same(store, tmp_path, monkeypatch, capsys, error):
    expected = finished(tmp_path / "small", store, recipe(batch=4, accumulation=4, checkpoint_every=3))

    def cramped(model, x, valid, **how):
        if len(x) > 4:
            raise error
        return read_windows(model, x, valid, **how)

    monkeypatch.setattr(step_room, "read_windows", cramped)
    run = finished(tmp_path / "run", store, recipe(batch=16, accumulation=1, checkpoint_every=3))
    assert halvings(run) == [(1, 8, 2), (1, 4, 4)]
    assert "4 passes of 4" in capsys.readouterr().err
    assert weights_of(run) == weights_of(expected)
    others = lambda r: [e for e in clockless(r) if e["event"] != "batch"]
    assert others(run) == others(expected)
    shutil.rmtree(run.checkpoint("last"))  # as if it had been killed before it
    assert train(run, store) and weights_of(run) == weights_of(expected)
    assert len(run.events("batch")) == 2  # a run that goes on doesn't try again


def test_one_window_that_does_not_fit_is_an_error(store, tmp_path, monkeypatch):
    def full(*given, **how):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(step_room, "read_windows", full)
    run = start_run(tmp_path / "run", store, recipe())
    with pytest.raises(InputError, match="one window doesn't fit into memory .*smaller preset"):
        train(run, store)


def test_another_error_of_the_engine_is_not_taken_for_a_lack_of_memory(store, tmp_path, monkeypatch):
    def broken(*given, **how):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(step_room, "read_windows", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        train(start_run(tmp_path / "run", store, recipe()), store)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_bf16"])
def test_memory_that_runs_out_inside_an_update_changes_no_weight_twice(store, tmp_path, monkeypatch, optimizer):
    real = {kind: kind.step for kind in (torch.optim.AdamW, BF16AdamW)}
    calls = []

    def half(self, *given):
        calls.append(0)
        if len(calls) == 3:  # after 7 of the parameters
            groups = self.param_groups
            self.param_groups = groups[:7]
            real[type(self)](self)
            self.param_groups = groups
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return real[type(self)](self, *given)

    for kind in real:
        monkeypatch.setattr(kind, "step", half)
    config = recipe(optimizer=optimizer, checkpoint_every=2)
    run = start_run(tmp_path / "run", store, config)
    said = "step 3: memory ran out inside the update.*the last checkpoint is whole"
    with pytest.raises(InputError, match=said) as told:
        train(run, store)
    assert "\n" not in str(told.value) and len(calls) == 3 and not halvings(run)  # the step was not tried again
    assert [step_of(p) for p in run.checkpoints()] == [2]
    assert train(run, store)  # as it says
    for kind, step in real.items():
        monkeypatch.setattr(kind, "step", step)
    assert weights_of(run) == weights_of(finished(tmp_path / "whole", store, config))


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_bf16", "adamw8bit"])
def test_an_update_allocates_no_moment(monkeypatch, optimizer):
    monkeypatch.setattr(step_room, "_adamw8bit", lambda: Fake8bit)
    config = replace(tiny().train, optimizer=optimizer)
    model = TimeMoE(tiny().model, seed=0).to(torch.bfloat16 if optimizer == "adamw_bf16" else torch.float32)
    made = make_optimizer(model, config)
    held = {p: {k: v.data_ptr() for k, v in made.state[p].items() if torch.is_tensor(v)} for p in model.parameters()}
    assert all(len(tensors) >= 2 for tensors in held.values())
    windows = np.random.default_rng(0).normal(size=(2, 65)).astype(np.float32)
    batch = [(windows, np.ones_like(windows, bool))]
    train_step(model, made, batch, step=1, delta=1.0, config=config, log=False)
    after = {p: {k: v.data_ptr() for k, v in made.state[p].items() if torch.is_tensor(v)} for p in model.parameters()}
    assert after == held


# Steps that fail


def spoil(monkeypatch, steps, size):
    "Makes the forecasts of these steps infinite, in windows of one pass."
    n_calls = []

    def spoilt(model, optimizer, passes, **how):
        n_calls.append(how["step"])
        if how["step"] in steps:
            windows, valid = passes[-1]
            passes = [*passes[:-1], (windows * np.float32(1e30), valid)]
        return train_step(model, optimizer, passes, **how)

    monkeypatch.setattr(loop_room, "train_step", spoilt)
    return n_calls


def test_a_step_without_a_finite_loss_changes_nothing_and_names_its_windows(store, tmp_path, monkeypatch, capsys):
    config = recipe(batch=4, accumulation=3, checkpoint_every=1, keep=None)
    spoil(monkeypatch, {3}, 4)
    run = finished(tmp_path / "run", store, config)
    for name in ("model", "optimizer"):
        states = [load_file(run.checkpoint(step) / f"{name}.safetensors") for step in ("2", "3", "4")]
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
        assert not all(torch.equal(states[1][k], states[2][k]) for k in states[0])
    (skip,) = run.events("skip")
    assert skip.step == 3 and [e.step for e in run.events("step")] == [1, 2, 4, 5, 6]
    assert read_json(run.checkpoint("3") / "state.json")["skipped"] == 1
    assert read_json(run.checkpoint("4") / "state.json")["skipped"] == 0
    order, _ = training_data(run, store)
    position = order.take((0, 0), 24).position
    windows = order.take(position, 12).windows[8:]  # the last pass of the third step
    recordings = {r.name: r for r in map(store.recording, store.members("train"))}
    assert len(skip.values["windows"]) == 4
    for (name, channel, first), window in zip(skip.values["windows"], windows):
        seen = normalise(recordings[name], frame=store.frame(config.data), config=config.data)
        at = first // seen.factor
        assert first % seen.factor == 0  # the first sample, at the raw rate
        assert np.array_equal(seen.x[store.channels.index(channel), at : at + 64], window[:64])
    err = capsys.readouterr().err
    told = "{} {} from sample {}".format(*skip.values["windows"][0])
    assert "step 3: the loss is" in err and told in err and told in beat_table(run)


def test_three_such_steps_in_a_row_end_the_training_with_the_last_good_state(store, tmp_path, monkeypatch):
    config = recipe(batch=4, accumulation=2, steps=9)
    whole = finished(tmp_path / "whole", store, config)
    with monkeypatch.context() as patch:
        done = spoil(patch, {2, 3, 5, 6, 7, 8, 9}, 4)  # two in a row, a good one, and three
        run = start_run(tmp_path / "run", store, config)
        with pytest.raises(InputError, match="3 steps in a row were left out.*from sample") as error:
            train(run, store)
        assert done == [1, 2, 3, 4, 5, 6, 7] and "\n" not in str(error.value)
        assert [step_of(p) for p in run.checkpoints()] == [4]
        with pytest.raises(InputError, match="3 steps in a row"):  # it goes on from there and fails again
            train(run, store)
        assert done[7:] == [5, 6, 7] and [e.step for e in run.events("skip")] == [2, 3, 5, 6, 7]
    assert train(run, store)  # mended
    assert [e.step for e in run.events("step")] == [1, 4, 5, 6, 7, 8, 9]
    positions = [read_json(r.checkpoint("last") / "state.json")["position"] for r in (run, whole)]
    assert positions[0] == positions[1]  # what was left out is not read again


@pytest.mark.parametrize("what", ["loss", "norm of the gradient"])
def test_a_loss_or_gradient_of_exactly_0_is_an_error(what):
    windows, valid = gappy()
    model = TimeMoE(tiny().model, seed=0)
    config = recipe(aux_weight=0.0).train
    if what == "loss":
        windows = np.zeros_like(windows)
    with torch.no_grad():
        model.heads.weight.zero_()  # the forecast is 0
        model.norm.weight.zero_()  # and no weight can change that
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(InputError, match=f"step 1: the {what} is exactly 0"):
        train_step(model, make_optimizer(model, config), [(windows, valid)], step=1, delta=1.0, config=config, log=True)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_but_a_finite_one_counts(value):
    fine = Step(1.0, 0.5, 2.0, 0.1, 0, {})
    assert fine.trouble == ""
    assert replace(fine, loss=value).trouble == f"the loss is {value}"
    assert replace(fine, grad_norm=value).trouble == f"the norm of the gradient is {value}"


def test_a_gradient_that_overflows_is_no_step_even_with_a_finite_loss(monkeypatch):
    windows, valid = gappy()
    model = TimeMoE(tiny().model, seed=0)
    config = recipe().train
    model.heads.weight.register_hook(lambda grad: grad * math.inf)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    how = {"step": 1, "delta": 1.0, "config": config, "log": True}
    done = train_step(model, make_optimizer(model, config), split_batch(windows, valid, 4), **how)
    assert math.isfinite(done.loss) and done.trouble.startswith("the norm of the gradient is") and done.bad == (0, 1)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


# What a training that only seems to work looks like


def test_an_expert_is_idle_under_one_percent_of_the_tokens():
    step = lambda load: Event("step", 1, 0.0, {"expert_load": load})
    steps = [step([[0.006, 0.494, 0.5], [0.004, 0.0, 0.996]])] * 2  # of twice as many choices as tokens
    early = [step([[0.0, 0.5, 0.5]] * 2)] * 2  # the first half of the steps doesn't count
    (said,) = warnings_at({}, early + steps, top_k=2, before={}, now={})
    assert said.startswith("layer 1, expert 0, 1: under 1%")


def test_weights_that_stand_still_are_reported_everywhere(store, tmp_path, monkeypatch, capsys):
    def forgetful(model, config):
        optimizer = make_optimizer(model, config)
        names = [n for n, _ in model.named_parameters()]
        optimizer.param_groups = [g for g, n in zip(optimizer.param_groups, names) if n != "heads.weight"]
        return optimizer

    monkeypatch.setattr(loop_room, "make_optimizer", forgetful)
    out = tmp_path / "run"
    assert main(["train", str(store.path), "--out", str(out), "--steps", "6"]) == 0
    said = capsys.readouterr()
    text = f"1 of {N_TENSORS} parameters have not moved since the last beat, heads.weight among them"
    (event,) = [e for e in RunFolder(out).events("warning") if "moved" in e.values["what"]]
    assert event.step == 6 and text in event.values["what"]
    assert text in said.err and text in said.out and text in beat_table(RunFolder(out))
    assert main(["resume", str(out), "--json"]) == 0
    assert any(text in line for line in json.loads(capsys.readouterr().out)["remarks"])


def test_weights_are_compared_with_those_of_the_last_beat_also_in_a_run_that_goes_on(store, tmp_path, monkeypatch):
    config = recipe(checkpoint_every=3, keep=None)
    config = replace(config, agent=replace(config.agent, every_steps=2))
    answer = lambda model, progress: Beat({"delta": 1.0, "spread": 0.0 if progress.step == 4 else 1.0})
    run = finished(tmp_path / "run", store, config, heartbeat=answer)
    expected = clockless(run)
    assert not [e for e in expected if e["event"] == "warning" and "moved" in e["what"]]
    assert [e.step for e in run.events("warning") if "every score" in e.values["what"]] == [4]
    for path in run.checkpoints()[1:]:
        shutil.rmtree(path)
    monkeypatch.setattr(step_room, "learning_rate", lambda step, config: 0.0)
    assert train(run, store, heartbeat=answer)
    still = [e.step for e in run.events("warning") if f"{N_TENSORS} of {N_TENSORS} parameters" in e.values["what"]]
    assert still == [4, 6]


def test_idle_experts_are_named(store, tmp_path, capsys):
    run = finished(tmp_path / "run", store, recipe())
    late = run.events("step")[3:]  # the later half of the steps
    loads = np.mean([e.values["expert_load"] for e in late], axis=0)
    said = [e.values["what"] for e in run.events("warning")]
    idle = {layer: [e for e in range(8) if load[e] * 2 < 0.01] for layer, load in enumerate(loads)}
    assert any(idle.values())
    for layer, experts in idle.items():
        text = f"layer {layer}, expert {', '.join(map(str, experts))}: under 1%"
        assert any(text in line for line in said) == bool(experts)


# Optimizers


def test_rounding_at_random_is_right_on_average_and_never_further_than_the_next_bf16():
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(200, generator=generator) * 10.0**k for k in range(-20, 21, 5)])
    drawn = torch.stack([round_to_bf16(x, generator).double() for _ in range(4000)])
    below = (x.view(torch.int32) & -65536).view(torch.float32).double()  # towards 0
    step = ((x.view(torch.int32) & -65536) + 65536).view(torch.float32).double() - below
    assert ((drawn == below) | (drawn == below + step)).all()
    share = ((x.double() - below) / step).clamp(0, 1)
    deviation = (share * (1 - share) / 4000).sqrt() * step.abs()
    assert ((drawn.mean(0) - x.double()).abs() <= 5 * deviation + 1e-12 * x.abs()).all()
    exact = torch.tensor([0.0, -0.0, 1.0, -2.5, math.inf, -math.inf])
    assert torch.equal(round_to_bf16(exact, generator).float(), exact)
    assert round_to_bf16(torch.tensor([math.nan]), generator).isnan().all()


def test_the_draws_follow_from_seed_and_update():
    def updated(seed, n):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 4096).to(torch.bfloat16))
        optimizer = BF16AdamW([{"params": [weight]}], lr=1e-3, betas=(0.9, 0.95), seed=seed)
        for i in range(n):
            weight.grad = torch.linspace(-1, 2 + i, 4096).to(torch.bfloat16)
            torch.rand(3)  # somebody else draws
            optimizer.step()
        return weight.detach()

    assert torch.equal(updated(0, 3), updated(0, 3)) and not torch.equal(updated(0, 3), updated(1, 3))


def test_a_bf16_update_is_that_of_adamw_up_to_the_rounding():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(20_000, generator=generator).to(torch.bfloat16)
    grads = [torch.randn(20_000, generator=generator).to(torch.bfloat16) for _ in range(8)]
    ours = torch.nn.Parameter(start.clone())
    exact = torch.nn.Parameter(start.float())
    how = {"lr": 1e-3, "betas": (0.9, 0.95)}
    both = [
        (BF16AdamW([{"params": [ours], "weight_decay": 20}], seed=0, **how), ours),  # 2 % in a step
        (torch.optim.AdamW([{"params": [exact], "weight_decay": 20}], **how), exact),
    ]
    for grad in grads:
        for optimizer, weight in both:
            weight.grad = grad.to(weight.dtype)
            optimizer.step()
    off = ours.detach().float() - exact.detach()
    moved = exact.detach() - start.float()
    assert (off.abs() <= 9 * 2**-8 * exact.detach().abs() + 1e-3).all()
    assert abs(off.mean().item()) < 5 * off.std().item() / 20_000**0.5  # no drift
    pull = torch.nn.functional.cosine_similarity(off + moved, moved, dim=0)
    assert pull > 0.5


def test_a_run_in_pure_bf16_learns_and_goes_on_to_the_same_bytes(store, tmp_path):
    config = recipe(optimizer="adamw_bf16", steps=30, warmup=5, batch=8, checkpoint_every=25)
    run = finished(tmp_path / "run", store, config)
    huber = [e.values["huber"] for e in run.events("step")]
    assert np.mean(huber[-5:]) < 0.5 * huber[0]
    for name in ("model", "optimizer"):
        assert {t.dtype for t in load_file(run.checkpoint("last") / f"{name}.safetensors").values()} == {torch.bfloat16}
    expected = weights_of(run)
    events = clockless(run)
    shutil.rmtree(run.checkpoint("last"))
    assert train(run, store) and weights_of(run) == expected and clockless(run) == events


def only_halves(q, k, v, mask, causal):
    "A kernel that refuses what the flash-attn package refuses, wherever it computes."
    if q.dtype == torch.float32:
        raise ValueError(f"{q.dtype}, expected bf16")
    return ATTENTION["sdpa"](q, k, v, mask, causal)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_beat_scores_as_score_does_whatever_trains(store, tmp_path, monkeypatch, precision):
    monkeypatch.setitem(ATTENTION, "flash_attn", only_halves)
    monkeypatch.setattr(timemoe_room, "find_spec", lambda name: name)
    seen, kernels, grads = set(), set(), []

    def watched(model, x, valid, **how):
        out = read_windows(model, x, valid, **how)
        cast = torch.is_autocast_enabled("cpu")
        seen.add((torch.get_float32_matmul_precision(), torch.get_autocast_dtype("cpu") if cast else torch.float32))
        return out

    def beaten(model, progress):
        grads.extend(p.grad for p in model.parameters())
        kernels.update(block.attention.kernel for block in model.blocks)
        with numerics(config.train, torch.device("cuda")):  # TF32, as a training on a GPU switches it on
            return beat(run, store, model, progress)

    monkeypatch.setattr(reading_room, "read_windows", watched)
    config = told_parts(recipe(steps=2, attention="flash_attn", precision="bf16", batch=4, accumulation=1))
    config = replace(config, score=replace(config.score, precision=precision))
    run = start_run(tmp_path / "run", store, config)
    assert train(run, store, heartbeat=beaten) and not run.events("beat_failed")
    assert seen == {("highest", torch.bfloat16 if precision == "bf16" else torch.float32)}
    assert kernels == {ATTENTION["sdpa"]} and grads.count(None) == len(grads)  # room for the beat
    scorer = open_scorer(run.path)
    kept = [found for found in read_beat(run.checkpoint("last")) if found.split == "validation"]
    for found, i in zip(kept, store.members("validation"), strict=True):
        again = scorer.rows(store.recording(i))[config.score.mode].score
        assert np.array_equal(again.astype(np.float32), found.score, equal_nan=True)


def test_beats_and_scores_of_a_pure_bf16_run_are_computed_alike(store, tmp_path):
    config = recipe(optimizer="adamw_bf16", steps=4)
    run = start_run(tmp_path / "run", store, config)
    assert train(run, store, heartbeat=lambda m, p: beat(run, store, m, p))
    assert next(run.model().parameters()).dtype == torch.bfloat16  # as the beats saw it


class Fake8bit(torch.optim.AdamW):
    "An optimizer whose state looks as that of bitsandbytes does: bytes, a table that all share, a plain count."

    table = torch.linspace(-1, 1, 256)

    def __init__(self, groups, lr, betas):
        super().__init__(groups, lr=lr, betas=betas, foreach=False)

    def check_overrides(self):
        pass

    def init_state(self, group, p, gindex, pindex):
        self.state[p] |= {"state1": torch.zeros_like(p, dtype=torch.uint8), "qmap1": self.table, "step": 0}

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["step"] += 1
                state["state1"] += (p.grad > 0).to(torch.uint8)
                p.data -= group["lr"] * self.table[state["state1"].long()]


def test_moments_in_8_bits_survive_a_stop(store, tmp_path, monkeypatch):
    monkeypatch.setattr(step_room, "_adamw8bit", lambda: Fake8bit)
    run = finished(tmp_path / "run", store, recipe(optimizer="adamw8bit", checkpoint_every=3))
    expected = weights_of(run)
    assert load_file(run.checkpoint("last") / "optimizer.safetensors")["state1:heads.weight"].dtype == torch.uint8
    shutil.rmtree(run.checkpoint("last"))
    assert train(run, store) and weights_of(run) == expected


def test_what_a_machine_lacks_is_said_before_a_run_is_made(store, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    command = ["train", str(store.path), "--out", str(out), "--device", "cpu", "--optimizer"]
    assert main([*command, "adamw8bit"]) == 2
    said = capsys.readouterr().err
    assert "--optimizer adamw8bit: works on a GPU, not on cpu" in said and len(said.strip().splitlines()) == 1
    assert main([*command, "adam9"]) == 2 and "adamw_bf16" in capsys.readouterr().err
    assert not out.exists()
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(UsageError, match="bitsandbytes isn't installed; pip install 'timemoe-lab"):
        check_machine(recipe(optimizer="adamw8bit"), torch.device("cuda"))


# Numerics


def switches():
    return (
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
    )


def test_global_switches_are_set_for_a_block_and_given_back():
    before = switches()
    seen = {}
    for device in ("cpu", "cuda"):
        for tf32 in (True, False):
            with pytest.raises(KeyError):
                config = replace(tiny().train, threads=1, tf32=tf32, deterministic=True)
                with numerics(config, torch.device(device)):
                    seen[device, tf32] = switches()
                    raise KeyError
            assert switches() == before
    assert seen["cuda", True] == (1, "high", True) and seen["cuda", False] == (1, "highest", True)
    assert seen["cpu", True] == (1, before[1], True)


def test_deterministic_changes_no_byte_on_a_cpu(store, tmp_path):
    seen = []
    strict = start_run(tmp_path / "strict", store, recipe(deterministic=True))
    assert train(strict, store, on_log=lambda event: seen.append(torch.are_deterministic_algorithms_enabled()))
    loose = finished(tmp_path / "loose", store, recipe())
    assert all(seen) and seen and not torch.are_deterministic_algorithms_enabled()
    assert weights_of(strict) == weights_of(loose) and clockless(strict) == clockless(loose)


# Data ahead of time, and the log


def ramps():
    series = Normalised(np.arange(2000, dtype=np.float32)[None], np.ones((1, 2000), bool), 1)
    return WindowOrder([series], window=64, stride=16, seed=0)


def test_the_next_batch_is_made_while_a_step_computes(monkeypatch):
    order = ramps()
    made = threading.Semaphore(0)
    go = threading.Semaphore(0)
    take = order.take

    def slow(position, n):
        assert go.acquire(timeout=20)
        try:
            return take(position, n)
        finally:
            made.release()

    monkeypatch.setattr(order, "take", slow)
    go.release()
    with Ahead(order, (0, 0), 8) as batches:
        assert made.acquire(timeout=20)  # before anybody asks
        first = batches.take()
        go.release()
        assert made.acquire(timeout=20)  # the second one, too
        second = batches.take()
        go.release()
    both = take((0, 0), 16)
    assert np.array_equal(np.concatenate([first.windows, second.windows]), both.windows)
    assert np.array_equal(np.concatenate([first.valid, second.valid]), both.valid)
    assert (first.start, first.position, second.start, second.position) == ((0, 0), (0, 8), (0, 8), both.position)


def test_waiting_for_data_is_measured(monkeypatch):
    order = ramps()
    take = order.take
    monkeypatch.setattr(order, "take", lambda *given: (time.sleep(0.2), take(*given))[1])
    with Ahead(order, (0, 0), 8) as batches:
        batches.take(), batches.take()
        assert 0.3 < batches.waited_s < 2
        time.sleep(0.5)
        before = batches.waited_s
        batches.take()  # was ready
        assert batches.waited_s - before < 0.1


def test_an_error_in_the_thread_reaches_the_training(store, tmp_path, monkeypatch):
    def broken(order, position, n):
        raise InputError("the store is gone")

    monkeypatch.setattr(WindowOrder, "take", broken)
    with pytest.raises(InputError, match="the store is gone"):
        train(start_run(tmp_path / "run", store, recipe()), store)


def test_the_log_streams_and_says_all_that_a_step_measures(store, tmp_path, capsys):
    run = start_run(tmp_path / "run", store, recipe())
    seen = []

    def look(event):
        last = json.loads((run.path / "events.jsonl").read_text().splitlines()[-1])
        seen.append(event)
        assert last == json.loads(json.dumps(event.to_json()))

    assert train(run, store, on_log=look)
    steps = [e for e in seen if e.event == "step"]
    assert [e.step for e in steps] == [1, 2, 3, 4, 5, 6]
    for found in (e.values for e in steps):
        assert found["loss"] == pytest.approx(found["huber"] + found["aux_weight"] * found["aux"])
        assert np.shape(found["expert_load"]) == np.shape(found["gate_mean"]) == (2, 8)
        for name in ("lr", "grad_norm", "gating_balance", "entropy", "tokens_per_s", "memory_mb"):
            assert found[name] > 0, name
        assert found["n_dead"] >= 0 and 0 <= found["waiting"] <= 1
    last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train: 6/6")]
    assert len(last) == 1 and all(word in last[0] for word in ("s left", "loss 0.", "lr 0.", "tokens/s"))


class Terminal(list):
    def isatty(self):
        return True

    def write(self, text):
        self.append(text)

    def flush(self):
        pass


def test_a_terminal_gets_a_bar_with_loss_rate_speed_and_time_left(store, tmp_path, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    finished(tmp_path / "run", store, recipe())
    text = "".join(screen)
    assert "\r" in text and "6/6" in text and "loss 0." in text and "lr 0." in text and "tokens/s" in text
    assert "<00:00" in text  # time left
    with Bar("quiet", 2, quiet=True) as bar:
        n = len(screen)
        bar.advance(), bar.advance()
    assert len(screen) == n


# Beats by the hour


class Hours:
    "A clock that jumps 3 h when it is told to."

    def __init__(self):
        self.hours = 0.0

    def __call__(self):
        return 3600 * self.hours


def test_beats_by_the_hour_are_repeated_at_their_steps(store, tmp_path):
    config = recipe(steps=12, checkpoint_every=3, keep=None)
    config = replace(config, agent=replace(config.agent, every_steps=None, every_h=3.0))
    deltas = {4: 0.9, 7: 0.8, 12: 0.7}

    def trained(run, jumps, like=None):
        clock = Hours()

        def listen(event):
            if event.event == "step" and event.step in jumps:
                clock.hours += 3.1

        def answer(model, progress):
            new = deltas.get(progress.step, 0.1)
            return Beat({}, (Decision("a test", "agent", knob="delta", old=progress.delta, new=new),))

        assert train(run, store, heartbeat=answer, on_log=listen, now=clock, like=like)
        return [e.step for e in run.events("beat")]

    whole = start_run(tmp_path / "whole", store, config)
    assert trained(whole, {4, 7}) == [4, 7, 12]
    again = start_run(tmp_path / "again", store, config)
    assert trained(again, {2, 9, 10}, like=whole) == [4, 7, 12]  # this time the clock has no say
    killed = start_run(tmp_path / "killed", store, config)
    assert trained(killed, {4, 7}) == [4, 7, 12]
    for path in killed.checkpoints()[1:]:
        shutil.rmtree(path)  # as if killed in writing the checkpoint of the beat at 4
    assert [step_of(p) for p in killed.checkpoints()] == [3]
    assert trained(killed, set()) == [4, 7, 12]
    assert clockless(whole) == clockless(again) == clockless(killed)
    assert weights_of(whole) == weights_of(again) == weights_of(killed)


def test_a_run_that_a_time_limit_ended_is_repeated_to_the_same_step(store, tmp_path):
    config = recipe(steps=12)
    clock = Hours()
    run = start_run(tmp_path / "run", store, config)

    def listen(event):
        if event.event == "step" and event.step == 5:
            clock.hours += 2.0

    assert train(run, store, minutes=60, now=clock, on_log=listen)
    assert run.events("end")[0].step == 5
    again = finished(tmp_path / "again", store, config, like=run)
    assert clockless(again) == clockless(run) and weights_of(again) == weights_of(run)


# The recipe and the bench


def test_the_recipe_of_base_is_the_specifications():
    t = base().train
    m = base().model
    d = base().data
    assert (t.lr, t.batch, t.accumulation, t.effective_batch, d.context) == (1e-4, 8, 16, 128, 2048)
    assert (t.delta, t.aux_weight, t.clip, m.router_std, t.checkpoint_every) == (1.0, 0.02, 1.0, 0.01, 2000)
    assert t.warmup > 0 and t.aux_warmup > 0 and t.recompute and t.tf32
    assert (t.optimizer, t.precision, t.deterministic) == ("adamw", "auto", False)
    rates = [learning_rate(s, t) for s in (1, t.warmup, (t.warmup + t.steps) // 2, t.steps)]
    assert np.allclose(rates, [1e-4 / t.warmup, 1e-4, (1e-4 + t.lr_min) / 2, t.lr_min])
    assert aux_weight(t.aux_warmup // 4, t) == pytest.approx(0.005)


def test_options_reach_the_recipe_of_a_run(store, tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--steps", "4", "--checkpoint-every", "2", "--keep", "5", "--deterministic"]
    train_ = ["train", str(store.path), "--optimizer"]
    assert main([*train_, "adamw_bf16", "--out", str(out), *options]) == 0
    run = RunFolder(out)
    t = run.config.train
    assert (t.steps, t.checkpoint_every, t.keep, t.deterministic, t.optimizer) == (4, 2, 5, True, "adamw_bf16")
    assert [step_of(p) for p in run.checkpoints()] == [2, 4]
    capsys.readouterr()
    assert main([*train_, "sgd", "--out", str(tmp_path / "other")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "optimizer='sgd'" in line and not (tmp_path / "other").exists()
    with pytest.raises(UsageError, match="precision='fp32'"):
        recipe(optimizer="adamw_bf16", precision="fp32")


def test_bench_train_prints_speed_waiting_and_ratio(capsys):
    assert main(["bench", "train", "--preset", "tiny", "--device", "cpu", "--json"]) == 0
    plain, lab = json.loads(capsys.readouterr().out)["train"]
    assert (plain["loop"], lab["loop"], plain["ratio"]) == ("plain", "lab", 1)
    assert lab["ratio"] == pytest.approx(lab["tokens_per_s"] / plain["tokens_per_s"])
    assert 0 <= lab["waiting"] < 1 and lab["tokens"] == 8 * 256
    assert main(["bench", "train", "--preset", "tiny", "--device", "cpu"]) == 0
    assert "Tokens/s | Waiting for data | Times as fast" in capsys.readouterr().out


# On a GPU


@pytest.mark.cuda
def test_batches_for_a_gpu_are_pinned():
    with Ahead(ramps(), (0, 0), 4, pin=True) as batches:
        batch = batches.take()
    assert torch.from_numpy(batch.windows).is_pinned() and torch.from_numpy(batch.valid[1:]).is_pinned()


@pytest.mark.cuda
@pytest.mark.parametrize("optimizer", ["adamw", "adamw_bf16", "adamw8bit"])
def test_a_deterministic_run_on_a_gpu_gives_the_same_bytes_and_goes_on_to_them(store, tmp_path, optimizer):
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    config = recipe(deterministic=True, optimizer=optimizer, checkpoint_every=3)
    runs = [finished(tmp_path / name, store, config, device="cuda") for name in "ab"]
    expected = weights_of(runs[0])
    assert expected == weights_of(runs[1])
    shutil.rmtree(runs[1].checkpoint("last"))
    assert train(runs[1], store, device="cuda") and weights_of(runs[1]) == expected
