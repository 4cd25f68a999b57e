"""What touches tensors, on a GPU that isn't there: a process that forks for each path, so that importing costs once.

Each line of its input is a job as JSON: a path, and perhaps a fault to put into a function of the lab before. Each line
of its output is what the path found, or the error that it ended with.
"""

import importlib
import inspect
import json
import os
import shutil
import sys
import tempfile
import time
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pretend import PretendGPU, ready

from timemoe_lab.agent import gpucheck
from timemoe_lab.agent.heartbeat import beat
from timemoe_lab.config import tiny
from timemoe_lab.data.prepare import Normalised
from timemoe_lab.data.store import Store
from timemoe_lab.detect.reading import learn_space, read_series
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.model.timemoe import TimeMoE, forecast
from timemoe_lab.run.folder import start_run
from timemoe_lab.train.loop import checksums, train
from timemoe_lab.train.step import make_optimizer, split_batch, train_step

CONFIG = tiny()
SMALL = replace(CONFIG.model, n_layers=2, d_model=16, d_ff=32, d_expert=8, n_heads=2, n_kv_heads=1)
RECIPES = {
    "fp32": {"precision": "fp32"},
    "bf16, recompute": {"precision": "auto", "recompute": True},
    "grouped_mm": {"precision": "fp32", "experts": "grouped_mm"},
    "adamw_bf16": {"optimizer": "adamw_bf16"},
}


def seen(gpu):
    "What was seen, by its kind."
    kinds = ("wait", "to host", "to device", "to device, pinned", "number")
    return {kind: gpu.count(kind) for kind in kinds} | {"lines": gpu.lines("wait", "to host", "to device")}


def windows(n=4, time=65):
    "Some windows with a gap, and a value that is repaired."
    generator = np.random.default_rng(0)
    x, valid = generator.normal(size=(n, time)).astype(np.float32), np.ones((n, time), bool)
    valid[0, 10:20] = False
    x[1, 5] = np.nan
    return x, valid


def stepped(device, recipe, *, log, gpu=None):
    "The losses of two steps of two passes; what is seen of the second one alone stays in the record."
    dtype = torch.bfloat16 if recipe.optimizer == "adamw_bf16" else torch.float32
    model = TimeMoE(SMALL, seed=0).to(device, dtype).use(experts=recipe.experts, recompute=recipe.recompute)
    optimizer = make_optimizer(model, recipe)
    x, valid = windows()
    if not log:
        x = np.nan_to_num(x)  # a repaired value has the step logged
    losses = []
    for step in (1, 2):
        if gpu:
            gpu.seen.clear()
        how = {"step": step, "delta": 1.0, "config": recipe, "log": log, "scope": "window"}
        losses.append(train_step(model, optimizer, split_batch(x, valid, 2), **how).huber)
    if gpu:
        gpu.kept = seen(gpu)
    return losses, checksums(model)


def step(job):
    "Steps by every recipe, beside the CPU's."
    found = {}
    for name in job.get("recipes", RECIPES):
        recipe = replace(CONFIG.train, **({"recompute": False} | RECIPES[name]))
        with PretendGPU() as gpu:
            losses, sums = stepped("cuda:0", recipe, log=job.get("log", False), gpu=gpu)
        cpu, expected = stepped("cpu", recipe, log=job.get("log", False))
        found[name] = {"losses": losses, "cpu": cpu, "same weights": sums == expected} | gpu.kept
    return found


def read(job):
    "A space, readings, a forecast and a padded batch, beside the CPU's."
    x, valid = windows(2, 300)
    x = np.nan_to_num(x)
    series = [Normalised(x, valid, 1)] * 2
    data = replace(CONFIG.data, context=64, scope="window")
    found = {}
    for device in ("cpu", "cuda:0"):
        with PretendGPU() as gpu:
            model = TimeMoE(SMALL, seed=0).to(device).eval()
            gpu.seen.clear()
            space = learn_space(model, series, config=data)
            how = {"context": 64, "hop": 8, "valid": valid, "counted": valid, "space": space, "scope": "window"}
            reading = read_series(model, x, **how, distance="cosine", kind="huber")
            found[device] = {k: np.nan_to_num(v).ravel() for k, v in vars(reading).items() if k != "burn_in"}
            found["seen"] = seen(gpu)
            some = torch.from_numpy(x[:, :40]).to(device)
            keep = torch.from_numpy(valid[:, :40]).to(device)
            found[device]["forecast"] = forecast(model, some, 20).cpu().numpy().ravel()
            padded = model.use(attention="eager")(some, keep=keep, routing=True)
            found[device]["padded"] = padded.hidden.detach().cpu().numpy().ravel()
            found[device]["routing"] = padded.routing.expert.cpu().numpy().ravel()
    pairs = {name: (value, found["cuda:0"][name]) for name, value in found["cpu"].items()}
    apart = {name: float(np.abs(a.astype(float) - b).max(initial=0)) for name, (a, b) in pairs.items()}
    return {"apart": apart} | found["seen"]


def trained(out, store, config, device):
    "A run trained on a device."
    run = start_run(out, store, config)
    assert train(run, store, device=device, heartbeat=lambda m, p: beat(run, store, m, p))
    return run


def run(job):
    "A run with beats, stopped and gone on with, and a recording scored, beside the CPU's."
    store = Store(job["store"])
    out = Path(tempfile.mkdtemp(dir=job["out"]))
    recipe = {"steps": 3, "warmup": 2, "aux_warmup": 2, "checkpoint_every": 1, "log_every": 1, "batch": 2}
    recipe |= {"accumulation": 1, "precision": "fp32"} | job.get("recipe", {})
    config = replace(CONFIG, model=replace(SMALL, n_layers=1), train=replace(CONFIG.train, **recipe))
    config = replace(config, data=replace(config.data, context=64, stride=32))
    config = replace(config, score=replace(config.score, parts=("memory", "statistics", "virtual")))
    weights = lambda r: (r.checkpoint("last") / "model.safetensors").read_bytes()
    steps = lambda r: [[e.values[k] for k in ("huber", "grad_norm")] for e in r.events("step")]
    cpu = trained(out / "cpu", store, config, "cpu")
    with PretendGPU() as gpu:
        ours = trained(out / "gpu", store, config, "cuda:0")
        told = seen(gpu)
        expected = weights(ours)
        for path in ours.checkpoints()[1:]:
            shutil.rmtree(path)  # as if it had been killed after its first step
        assert train(ours, store, device="cuda:0", heartbeat=lambda m, p: beat(ours, store, m, p))
        recording = store.recording(0)
        scores = [open_scorer(ours.path, device=d).rows(recording)["lab"].score for d in ("cpu", "cuda:0")]
    return {
        "steps": [steps(cpu), steps(ours)],
        "thresholds": [r.events("beat")[-1].values["threshold"] for r in (cpu, ours)],
        "trouble": [e.values["what"] for e in ours.events("beat_failed", "skip", "batch")],
        "goes on to the same bytes": weights(ours) == expected,
        "scores apart": float(np.nanmax(np.abs(scores[0] - scores[1]))),
    } | told


def check(job):
    "What a check of the card measures, but for its beat, which a run has."
    gpucheck.measure_beat = lambda name, wish: iter(())
    with PretendGPU():
        found = gpucheck.check_gpu(torch.device("cuda:0"), presets=("tiny",), quick=True)
    return {
        "troubles": found.troubles,
        "apart": [a.apart for a in found.agreements],
        "jobs": [[f.work, f.job.precision, f.least_s is None] for f in found.figures],
        "card": [found.card.name, found.card.capability, found.card.memory_gb],
    }


def spoil(module, name, old, new):
    "Puts a fault into a function of the lab, in place, so that whoever imported it has it, too."
    module = importlib.import_module(f"timemoe_lab.{module}")
    text = Path(module.__file__).read_text()
    assert text.count(old) == 1, f"{name}: {text.count(old)} times {old!r}"
    codes = [compile(text.replace(old, new), module.__file__, "exec")]
    for code in codes:
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    (code,) = [c for c in codes if c.co_qualname == name]
    function = module
    for part in name.split("."):
        function = getattr(function, part)
    inspect.unwrap(function).__code__ = code


def main():
    ready()
    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        begin, end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(begin)
            began = time.process_time()
            try:
                if "fault" in job:
                    spoil(*job["fault"])
                found = {"path": job["path"]} | {"found": globals()[job["path"]](job)}
            except Exception as error:
                found = {"error": f"{type(error).__name__}: {error}"}
            with open(end, "w") as pipe:
                json.dump(found | {"cpu_s": round(time.process_time() - began, 2)}, pipe)
            os._exit(0)
        os.close(end)
        with open(begin) as pipe:
            print(pipe.read() or json.dumps({"error": "the process died"}), flush=True)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
