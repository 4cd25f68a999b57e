"""What `plan` counts, held against autograd's own account, PyTorch's allocator, and the process's memory.

The file is also the program that measures a process: `python test_plan.py JSON` prints the bytes of each case."""

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from timemoe_lab.cli import main
from timemoe_lab.config import preset
from timemoe_lab.files import UsageError
from timemoe_lab.model.moe import load_balancing_loss
from timemoe_lab.model.plan import GB, Job, advice, plan, scoring_batch, ways
from timemoe_lab.model.timemoe import TimeMoE
from timemoe_lab.train.step import forecast_loss, make_optimizer

SMALL = preset("small").model


def build(config, job, device="cpu"):
    "A model with that job's precision."
    model = TimeMoE(config, seed=0).use(recompute=job.recompute)
    return model.to(device, torch.bfloat16 if job.is_pure else torch.float32)


def read(model, job, windows):
    "The forward pass of a job."
    cast = torch.autocast(windows.device.type, torch.bfloat16) if job.is_cast else contextlib.nullcontext()
    with cast:
        return model(windows[:, :-1], routing=job.train)


def run_pass(model, job, windows):
    "A pass as training and scoring do it."
    if not job.train:
        with torch.inference_mode():
            return read(model, job, windows)
    out, valid = read(model, job, windows), torch.ones_like(windows, dtype=torch.bool)[:, 1:]
    loss = forecast_loss(out.forecast, windows[:, 1:], valid=valid, delta=1.0, weights=(1.0,) * 4)
    if out.router_logits:
        loss = loss + 0.02 * load_balancing_loss(out.router_logits, top_k=model.config.top_k, valid=valid)
    loss.backward()


def windows_of(job, device="cpu"):
    return torch.randn(job.batch, job.context + 1, generator=torch.Generator().manual_seed(0)).to(device)


# What is kept, by autograd's own account


def kept_by_autograd(config, job):
    "Bytes of every tensor that the backward pass or the loss will read, weights apart; each storage once."
    model, found = build(config, job), {}

    def note(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = read(model, job, windows_of(job))
    for tensor in (*out.router_logits, *out.forecast.values(), out.hidden):
        note(tensor)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    states = config.n_layers * torch.get_rng_state().nbytes if job.recompute else 0
    return states + sum(storage.nbytes() for at, storage in found.items() if at not in weights)


KINDS = {
    "tiny": preset("tiny").model,
    "small": SMALL,
    "dense": replace(SMALL, n_experts=0),
    "three of five experts": replace(SMALL, n_experts=5, top_k=3),
    "wide experts": replace(SMALL, d_expert=320),
    "two heads": replace(SMALL, n_heads=2, n_kv_heads=2),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "pure-bf16"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_what_autograd_keeps(kind, recompute, precision):
    job = Job(context=256, batch=3, precision=precision, recompute=recompute)
    assert plan(KINDS[kind], job).kept == pytest.approx(kept_by_autograd(KINDS[kind], job), rel=0.02)


# The peak, by the events of PyTorch's allocator


def peak_of_allocator(run, tmp_path):
    "The most bytes that `run` had in hand at once."
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    profiler.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    events = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"])
    return max(accumulate(e["args"]["Bytes"] for e in events))


def activations(config, job):
    "The plan's peak over what is there before the pass."
    found = plan(config, job)
    before = found.weights + found.moments + found.gradients * (job.accumulation > 1)
    return found.peak - before


JOBS = {
    "train": {},
    "recompute": {"recompute": True},
    "recompute, one pass": {"recompute": True, "accumulation": 1},
    "recompute, bf16": {"recompute": True, "precision": "bf16"},
    "train, pure bf16": {"precision": "pure-bf16"},
    "score": {"train": False},
    "score, pure bf16": {"train": False, "precision": "pure-bf16"},
    "score, bf16": {"train": False, "precision": "bf16"},
}


@pytest.mark.parametrize("how", JOBS.values(), ids=JOBS)
def test_the_peak_is_that_of_the_allocator(how, tmp_path):
    job = replace(Job(context=512, batch=4, precision="fp32", accumulation=2), **how)
    model, windows = build(SMALL, job), windows_of(job)
    if job.train and job.accumulation > 1:
        run_pass(model, job, windows[:, :65])  # leaves the gradients of a first pass
    measured = peak_of_allocator(lambda: run_pass(model, job, windows), tmp_path)
    assert activations(SMALL, job) == pytest.approx(measured, rel=0.04)


def test_the_peak_may_be_in_the_loss(tmp_path):
    job = Job(context=256, batch=16, precision="pure-bf16")
    model, windows = build(KINDS["tiny"], job), windows_of(job)
    measured = peak_of_allocator(lambda: run_pass(model, job, windows), tmp_path)
    assert plan(KINDS["tiny"], job).when == "loss"
    assert activations(KINDS["tiny"], job) == pytest.approx(measured, rel=0.04)


def test_the_peak_may_be_in_the_update(tmp_path):
    wide = replace(SMALL, d_expert=960)
    job = Job(context=64, batch=1, optimizer="adamw_bf16", recompute=True)
    model = build(wide, job)
    optimizer = make_optimizer(model, replace(preset("small").train, optimizer="adamw_bf16"))
    for _ in range(2):
        run_pass(model, job, windows_of(job))
        update = peak_of_allocator(optimizer.step, tmp_path)  # of the second: the moments are there
    found = plan(wide, job)
    assert found.when == "update" and found.passing == pytest.approx(update, rel=0.04)


# The growth of a process


def status(key):
    "Bytes of an entry of /proc/self/status."
    return int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


def growth(name, how):
    "Bytes that a process grows by at its peak: weights, two passes, and gradients where there are any."
    config, job = preset(name).model, Job(**how)
    tiny = replace(job, context=64, batch=2)
    run_pass(build(KINDS["tiny"], job), tiny, windows_of(tiny))  # what is set up once: threads, kernels, imports
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    model, windows = build(config, job), windows_of(job)
    for _ in range(2):
        run_pass(model, job, windows)
    return status("VmHWM") - before


def off(*cases, **environment):
    "How far the plan of each (preset, job) is off what a process grows by; the cases follow each other in one."
    command = [sys.executable, __file__, json.dumps(cases)]
    run = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    planned = [plan(preset(name).model, Job(**how)) for name, how in cases]
    planned = [found.peak - found.moments for found in planned]
    print([f"planned {p / 1e6:.0f} MB, measured {m / 1e6:.0f} MB" for p, m in zip(planned, json.loads(run.stdout))])
    return [p / m - 1 for p, m in zip(planned, json.loads(run.stdout))]


RETURNS = {"MALLOC_MMAP_THRESHOLD_": "131072"}  # freed blocks go back to the system, see the notebook
FP32 = {"precision": "fp32", "accumulation": 2}
WAYS = {"score": {"train": False}, "train": {}, "recompute": {"recompute": True}}  # from little to much


def test_a_process_of_small_grows_as_planned():
    cases = [("small", {"context": 512, "batch": 12, **FP32, **way}) for way in WAYS.values()]
    assert max(map(abs, off(*cases, **RETURNS))) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name, context, batch", [("small", 1024, 16), ("base", 512, 4), ("base", 2048, 1)])
def test_processes_grow_as_planned(name, context, batch, way):
    case = (name, {"context": context, "batch": batch, **FP32, **WAYS[way]})
    assert abs(off(case, **RETURNS)[0]) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name, context, batch", [("small", 512, 12), ("base", 2048, 1)])
def test_what_glibc_keeps_of_freed_blocks_comes_on_top(name, context, batch):
    assert -0.4 < off((name, {"context": context, "batch": batch, **FP32}))[0] < 0.02


@pytest.mark.cuda
@pytest.mark.parametrize("experts", ["loop", "auto"])
@pytest.mark.parametrize("how", [{}, {"recompute": True}, {"train": False}, {"precision": "pure-bf16"}], ids=str)
def test_a_gpu_holds_what_is_planned(how, experts):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    config, job = preset("base").model, replace(Job(context=2048, batch=8, accumulation=2), **how)
    warm = replace(job, context=64, batch=1)
    run_pass(build(KINDS["tiny"], job, "cuda"), warm, windows_of(warm, "cuda"))
    before = torch.cuda.memory_allocated()
    model, windows = build(config, job, "cuda").use(recompute=job.recompute, experts=experts), windows_of(job, "cuda")
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        run_pass(model, job, windows)
    found = plan(config, job)
    measured = torch.cuda.max_memory_allocated() - before
    assert found.peak - found.moments == pytest.approx(measured, rel=0.15)


# Moments, operations


@pytest.mark.parametrize("optimizer, each", [("adamw", 8), ("adamw_bf16", 4)])
def test_moments_are_what_the_optimizer_holds_after_a_step(optimizer, each):
    config, job = preset("tiny"), Job(context=64, batch=2, precision="bf16", optimizer=optimizer)
    model = build(config.model, job)
    state = make_optimizer(model, replace(config.train, optimizer=optimizer))
    run_pass(model, replace(job, precision="pure-bf16" if job.is_pure else "fp32"), windows_of(job))
    state.step()
    held = [v for values in state.state.values() for v in values.values() if isinstance(v, torch.Tensor)]
    found = plan(config.model, job)
    assert found.moments == each * model.n_parameters
    assert found.moments == pytest.approx(sum(v.nbytes for v in held), rel=0.002)
    assert found.gradients == sum(p.grad.nbytes for p in model.parameters()) == found.weights


@pytest.mark.parametrize("again, tolerance", [(0, 0.01), (1, 0.05)])  # recomputing stops at the last tensor it needs
def test_operations_are_those_that_pytorch_counts_and_attention_s(again, tolerance):
    job = Job(context=256, batch=2, precision="fp32", recompute=bool(again), accumulation=3)
    model, windows = build(SMALL, job), windows_of(job)
    with FlopCounterMode(display=False) as counter:  # it knows no attention kernel of a CPU
        run_pass(model, job, windows)
    assert {str(op) for op in counter.get_flop_counts()["Global"]} == {"aten.mm", "aten.addmm"}
    pairs = sum(t + 1 for t in range(256)) * 2 * SMALL.n_layers  # of a query and a key up to it
    attention = (2 + 5 + 2 * again) * 2 * pairs * SMALL.d_model  # products forward, backward, and once more
    assert plan(SMALL, job).flops == pytest.approx(3 * (counter.get_total_flops() + attention), rel=tolerance)


def test_bytes_that_move_are_weights_gradients_and_what_is_kept():
    two, three = (plan(SMALL, Job(context=64, batch=1, precision="fp32", accumulation=n)) for n in (2, 3))
    a_pass = 2 * two.weights + 2 * two.gradients + 2 * two.kept  # each read or written, forward and backward
    assert three.traffic - two.traffic == pytest.approx(a_pass, rel=0.03)
    update = two.traffic - 2 * a_pass + two.gradients  # the first pass had no gradients to read
    assert update == pytest.approx(3 * two.weights + 2 * two.moments, rel=0.3)
    small, large = (plan(SMALL, Job(context=512, batch=n, precision="fp32", train=False)) for n in (4, 8))
    assert 2 * small.traffic - large.traffic == pytest.approx(small.weights)  # weights are read once a pass


# What to do


def test_the_largest_batch_fits_and_one_more_does_not():
    for name, gpu_gb in (("base", 8), ("large", 24), ("ultra", 40)):
        found = ways(preset(name).model, Job(context=2048, batch=4, accumulation=8), room=gpu_gb * GB)
        assert found
        for way in found:
            peak = lambda batch: plan(preset(name).model, replace(way.plan.job, batch=batch)).peak
            assert way.largest == 0 or peak(way.largest) <= gpu_gb * GB
            assert peak(way.largest + 1) > gpu_gb * GB


def test_a_beat_needs_room_beside_a_training_too():
    model = preset("base").model
    job = Job(context=2048, batch=1, recompute=True)
    planned = plan(model, job)
    score = Job(context=2048, batch=scoring_batch(model, 2048), train=False, precision="fp32")
    passing = plan(model, score).peak - plan(model, score).weights
    assert planned.beat == pytest.approx(planned.weights + planned.moments + passing)
    assert planned.beat > planned.peak and planned.most == planned.beat  # a small batch is no help to it
    room = (planned.beat + planned.peak) / 2
    assert "too much" in advice(ways(model, job, room=room), room=room)
    assert "fits" in advice(ways(model, job, room=planned.beat), room=planned.beat)


@pytest.mark.parametrize("name", ["small", "base", "large", "ultra"])
def test_a_pass_of_scoring_takes_a_gigabyte_at_most(name):
    config = preset(name)
    batch = scoring_batch(config.model, config.data.context)
    for windows, fits in ((batch, True), (2 * batch, batch == 64)):  # 64 are enough for any device
        job = Job(context=config.data.context, batch=windows, train=False, precision="fp32")
        planned = plan(config.model, job)
        assert (planned.peak - planned.weights <= GB) == fits


def test_each_way_needs_less_than_those_before_it():
    for job in (Job(context=2048, batch=8), Job(context=2048, batch=8, optimizer="adamw8bit", recompute=True)):
        peaks = [way.plan.peak for way in ways(preset("ultra").model, job, room=24 * GB)]
        assert peaks == sorted(peaks, reverse=True) and len(set(peaks)) == len(peaks)
    only = ways(preset("ultra").model, Job(context=2048, batch=8, optimizer="adamw_bf16", recompute=True), room=GB)
    assert [way.change for way in only] == [""] and "whatever is changed" in advice(only, room=GB)


def test_a_smaller_batch_keeps_the_windows_of_a_step():
    found = ways(preset("base").model, Job(context=2048, batch=128, accumulation=1), room=23.3 * GB)
    batch, passes = map(int, re.search(r"--batch (\d+) --accumulation (\d+)", advice(found, room=23.3 * GB)).groups())
    assert batch == found[0].largest and (passes - 1) * batch < 128 <= passes * batch


def test_ultra_scores_under_8_gb_and_trains_in_24():
    model, train = preset("ultra").model, Job(context=2048, batch=8, accumulation=16, recompute=True)
    score = Job(context=2048, batch=1, train=False, precision="pure-bf16")
    assert plan(model, score).peak < 8 * GB < plan(model, replace(score, precision="fp32")).peak
    assert plan(model, replace(train, optimizer="adamw_bf16")).peak < 23.3 * GB
    eight = plan(model, replace(train, optimizer="adamw8bit", precision="pure-bf16"))
    assert (eight.weights + eight.gradients + eight.moments) / GB == pytest.approx(13.57, abs=0.01)  # TIME_MOE.md
    assert eight.peak / GB == pytest.approx(17.5, rel=0.05)  # TIME_MOE.md, from another rewrite


@pytest.mark.parametrize(
    "bad, told",
    [
        ({"context": 8192}, "context=8192"),
        ({"batch": 0}, "batch=0"),
        ({"accumulation": 0}, "accumulation=0"),
        ({"precision": "fp16"}, "fp32, bf16, pure-bf16"),
        ({"optimizer": "sgd"}, "adamw, adamw8bit, adamw_bf16"),
        ({"optimizer": "adamw_bf16", "precision": "fp32"}, "use bf16"),
    ],
)
def test_a_wrong_job_is_refused(bad, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        plan(SMALL, Job(**({"context": 512, "batch": 4} | bad)))


@pytest.mark.parametrize(
    "options, told",
    [
        (["--preset", "base", "--context", "4097"], "context=4097: expected at most 4096"),
        (["--precision", "fp16"], "precision='fp16': expected one of"),
        (["--optimizer", "adamw_bf16", "--precision", "fp32"], "use bf16"),
    ],
)
def test_the_command_tells_a_misuse_in_a_line(options, told, capsys):
    assert main(["plan", *options]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and told in lines[0]


@pytest.mark.parametrize("options", [["--preset", "huge"], ["--batch", "0"], ["--gpu-gb", "-1"], ["--for", "fun"]])
def test_the_command_refuses_what_is_no_value(options, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["plan", *options])
    assert stopped.value.code == 2 and options[0] in capsys.readouterr().err.splitlines()[-1]


def test_the_command_prints_a_table_and_the_same_as_json(capsys):
    asked = ["plan", "--preset", "ultra", "--context", "2048", "--batch", "8", "--gpu-gb", "24"]
    asked += ["--no-recompute", "--optimizer", "adamw"]
    asked += ["--optimizer", "adamw"]
    assert main(asked) == 0
    text = capsys.readouterr().out
    assert "train: " in text and "--recompute --optimizer adamw_bf16" in text and "score: fits" in text
    assert main([*asked, "--json", "--tflops", "1", "--gb-per-s", "1e9"]) == 0
    found = json.loads(capsys.readouterr().out)
    first = found["ways"][0]
    assert first["seconds"] == pytest.approx(first["tflop"]) and first["weights"] == pytest.approx(4 * 2416545792 / GB)
    assert f"{first['peak']:.2f}" in text and found["train"] in text
    assert main(["plan", "--preset", "ultra", "--for", "score", "--json"]) == 0
    (row, *_) = json.loads(capsys.readouterr().out)["ways"]
    assert row["batch"] == scoring_batch(preset("ultra").model, 2048) == 4  # what beats and scores read in a pass


if __name__ == "__main__":
    torch.set_num_threads(1)
    print([growth(*case) for case in json.loads(sys.argv[1])])
