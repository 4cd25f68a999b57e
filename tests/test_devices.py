"Precision and devices: bf16 on a CPU, and the same numbers on a GPU where there is one."

import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from timemoe_lab.agent.heartbeat import beat
from timemoe_lab.bench import BenchHow, bench_model
from timemoe_lab.cli import main
from timemoe_lab.config import tiny
from timemoe_lab.data.prepare import Normalised
from timemoe_lab.detect.reading import gather
from timemoe_lab.files import UsageError
from timemoe_lab.model.device import numerics, pick_device
from timemoe_lab.model.published import from_published
from timemoe_lab.model.timemoe import ATTENTION, TimeMoE
from timemoe_lab.run.folder import frame_of, start_run
from timemoe_lab.train.loop import Ahead, train
from timemoe_lab.train.step import WindowOrder, check_machine, make_optimizer, train_step

device_room = import_module("timemoe_lab.model.device")
loop_room = import_module("timemoe_lab.train.loop")

FIXTURES = Path(__file__).parent / "fixtures"


def test_a_step_in_bf16_is_close_to_one_in_fp32():
    windows = np.random.default_rng(0).normal(size=(4, 257)).astype(np.float32)
    losses = []
    for precision in ("fp32", "bf16"):
        config = replace(tiny().train, precision=precision)
        model = TimeMoE(tiny().model, seed=0)
        batch = [(windows, np.ones_like(windows, bool))]
        how = {"step": 1, "delta": 1.0, "config": config, "log": True}
        losses.append(train_step(model, make_optimizer(model, config), batch, **how).huber)
        assert all(p.dtype == torch.float32 for p in model.parameters())  # the weights stay in float32
    assert losses[1] == pytest.approx(losses[0], rel=0.02) and losses[1] != losses[0]


def test_a_gpu_without_bf16_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    for given in ({"precision": "bf16"}, {"optimizer": "adamw_bf16"}):
        config = replace(tiny(), train=replace(tiny().train, **given))
        check_machine(config, torch.device("cpu"))
        with pytest.raises(UsageError, match="cuda:0 computes no bfloat16; use precision fp32"):
            check_machine(config, torch.device("cuda:0"))


@pytest.mark.parametrize(("device", "precision"), [("cpu", "auto"), ("cuda", "fp32")])
def test_flash_attn_where_it_can_only_fail_is_refused_beforehand(device, precision):
    config = replace(tiny(), train=replace(tiny().train, attention="flash_attn", precision=precision))
    with pytest.raises(UsageError, match="attention='flash_attn': works in bf16 on a GPU.*use 'sdpa'"):
        check_machine(config, torch.device(device))


@pytest.mark.parametrize("built", ["13.0", None])
def test_a_gpu_that_pytorch_cannot_use_stops_a_command_that_did_not_ask_for_the_cpu(
    tmp_path, monkeypatch, capsys, built
):
    def too_old():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nPlease update it")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device_room.unusable_gpu, "__defaults__", ((str(tmp_path),),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", too_old)
    monkeypatch.setattr(torch.version, "cuda", built)
    why = "is too old" if built else "is built without CUDA"
    with pytest.raises(UsageError, match=f"--device auto: an NVIDIA GPU is here, but .*{why}.*--device cpu"):
        pick_device("auto")
    assert pick_device("cpu").type == "cpu"
    assert main(["demo", "--out", str(tmp_path / "out")]) == 2 and not (tmp_path / "out").exists()
    said = capsys.readouterr().err.strip()
    assert why in said and len(said.splitlines()) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert pick_device("auto").type == "cpu"


def test_memory_that_cannot_be_pinned_is_said_once_and_training_goes_on(monkeypatch, capsys):
    def refused(tensor):
        raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(torch.Tensor, "pin_memory", refused)
    series = Normalised(np.random.default_rng(0).normal(size=(1, 900)).astype(np.float32), np.ones((1, 900), bool), 1)
    order = WindowOrder([series], window=64, stride=32, seed=0)
    with Ahead(order, (0, 0), 4, pin=True) as batches:
        taken = [batches.take() for _ in range(3)]
    assert np.array_equal(np.concatenate([b.windows for b in taken]), order.take((0, 0), 12).windows)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "no pinned memory for batches (CUDA error: out of memory Compile with TORCH_USE_CUDA_DSA): "
        "copies to the GPU take longer"
    ]


@pytest.mark.parametrize("strict", [True, False])
def test_deterministic_reaches_the_flash_attn_package(monkeypatch, strict):
    asked = []

    class OnGPU(torch.Tensor):
        is_cuda = True

    def flash_attn_func(q, k, v, causal, deterministic):
        asked.append((causal, deterministic))
        return q

    package = ModuleType("flash_attn")
    package.flash_attn_func = flash_attn_func
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    q = torch.zeros(1, 2, 3, 8, dtype=torch.bfloat16).as_subclass(OnGPU)
    with numerics(replace(tiny().train, deterministic=strict), torch.device("cpu")):
        ATTENTION["flash_attn"](q, q, q, None, True)
    assert asked == [(True, strict)]


def test_a_tenfold_drop_of_a_gpu_s_speed_is_a_warning(store, short_config, tmp_path, monkeypatch, capsys):
    run = start_run(
        tmp_path / "run", store, replace(short_config, train=replace(short_config.train, steps=5, log_every=1))
    )
    busy = iter([1.0, 0.01, 0.01, 0.5, 0.5])
    real = loop_room.Training.speed

    def timed(training):
        training.busy_s = next(busy)
        training.batches.waited_s = training._waited_s  # none of it for data
        training.team = replace(training.team, device=torch.device(device))
        return real(training)

    monkeypatch.setattr(loop_room.Training, "speed", timed)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 0)
    device = "cuda"
    assert train(run, store)
    (warning,) = [e for e in run.events("warning") if "tokens/s" in e.values["what"]]
    assert (
        warning.step == 4
        and "under WSL" in warning.values["what"]
        and warning.values["what"] in capsys.readouterr().err
    )


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["tiny_moe_4heads", "tiny_moe_h1_gqa", "tiny_dense_h1"])
def test_a_gpu_gives_the_published_numbers(name):
    expected = load_file(FIXTURES / name / "expected.safetensors")
    case = "aux_on" if "gqa" in name else "plain"
    out = from_published(FIXTURES / name).cuda()(expected[f"{case}/input_ids"].cuda(), routing=True)
    assert torch.allclose(out.hidden.cpu(), expected[f"{case}/final_hidden"], atol=2e-4, rtol=0)
    for h, ahead in out.forecast.items():
        assert torch.allclose(ahead.cpu(), expected[f"{case}/pred.h{h}"], atol=2e-4, rtol=0)


@pytest.mark.cuda
@pytest.mark.parametrize("attention", ["sdpa", "eager", "flash_attn"])
@pytest.mark.parametrize("experts", ["auto", "loop", "grouped_mm"])
def test_every_way_of_computing_agrees_on_a_gpu_in_bf16(attention, experts):
    if attention == "flash_attn" and find_spec("flash_attn") is None:
        pytest.skip("flash-attn isn't installed")
    x = torch.randn(2, 256, generator=torch.Generator().manual_seed(0))
    truth, model = TimeMoE(tiny().model, seed=0), TimeMoE(tiny().model, seed=0).to("cuda", torch.bfloat16)
    found, grads = [], []
    for each, series in ((truth, x), (model.use(attention=attention, experts=experts), x.cuda())):
        out = each(series)
        sum(v.float().square().mean() for v in out.forecast.values()).backward()
        found.append(out.hidden.float().cpu())
        grads.append(torch.cat([p.grad.flatten().float().cpu() for p in each.parameters()]))
    # 2^-8 of rounding in each of some 20 products; a near tie of two experts may fall to the other one
    assert (found[0] - found[1]).norm() < 0.1 * found[0].norm() and (grads[0] - grads[1]).norm() < 0.2 * grads[0].norm()


@pytest.mark.cuda
def test_the_benchmark_runs_on_a_gpu():
    rows = bench_model(tiny().model, BenchHow("cuda", repeats=1, batch=2), work=(("forward+backward", 256, "bf16"),))
    assert [r.model for r in rows] == ["plain", "fast", "recompute"]
    assert all(r.growth_mb > 0 and r.seconds > 0 for r in rows)


@pytest.mark.cuda
def test_training_and_scoring_on_a_gpu(store, short_config, tmp_path):
    config = replace(short_config, train=replace(short_config.train, precision="fp32"))
    run = start_run(tmp_path / "run", store, config)
    assert train(run, store, device="cuda", heartbeat=lambda m, p: beat(run, store, m, p))
    steps = run.events("step")
    assert steps[-1].values["huber"] < 0.5 * steps[0].values["huber"]
    recording, frame = store.recording(0), frame_of(run)
    found = [gather(run.model().to(d), recording, frame=frame, config=config).l1 for d in ("cpu", "cuda")]
    assert np.allclose(found[0], found[1], rtol=1e-2, atol=1e-4, equal_nan=True)


@pytest.mark.cuda
def test_bf16_is_the_default_on_a_gpu(store, short_config, tmp_path):
    run = start_run(tmp_path / "run", store, short_config)
    assert train(run, store, device="cuda")
    assert all(np.isfinite(e.values["loss"]) for e in run.events("step"))
