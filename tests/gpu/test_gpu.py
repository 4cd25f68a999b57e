"""Training, beats, going on and scoring on a pretended GPU: no tensor is on the wrong device, numbers are the CPU's,
and the host waits and copies no more than it has to. Faults that only a GPU would show are put in, and seen.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.motor import campaign, write_campaign
from timemoe_lab.data.readers import read_folder

pytestmark = [
    pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch has CUDA of its own"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here, which compiles the pretended GPU's guard"),
]


@pytest.fixture(scope="module")
def pretended():
    "Sends a job to the process that pretends, and returns what it found or the error that it ended with."
    command = [sys.executable, str(Path(__file__).with_name("paths.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(path, **job):
            process.stdin.write(json.dumps({"path": path} | job) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


def seen(found):
    return {kind: found[kind] for kind in ("wait", "to host", "to device")}


def test_a_step_computes_as_on_a_cpu_and_waits_for_what_it_has_to(pretended):
    told = pretended("step")
    assert "error" not in told, told
    found = told["found"]
    for name in ("fp32", "grouped_mm"):
        assert found[name]["losses"] == found[name]["cpu"] and found[name]["same weights"]
    for name in ("bf16, recompute", "adamw_bf16"):  # autocast, which a CPU's "auto" doesn't ask for
        assert found[name]["losses"] == pytest.approx(found[name]["cpu"], rel=2e-3)
        assert found[name]["losses"] != found[name]["cpu"]
    # Two passes of two layers. Waits: a value that isn't finite, in each pass; the norm. To the host: the losses, and
    # the experts' counts of each layer, read again where a block is computed again. To the device: two arrays a pass.
    assert seen(found["fp32"]) == {"wait": 3, "to host": 1 + 4, "to device": 4}, found["fp32"]["lines"]
    assert seen(found["bf16, recompute"]) == {"wait": 3, "to host": 1 + 8, "to device": 4}
    # grouped products are a loop on an RTX 3090, each of which waits: two forward, four backward in each layer and pass
    assert seen(found["grouped_mm"]) == {"wait": 3 + 24, "to host": 1, "to device": 4}, found["grouped_mm"]["lines"]


def test_readings_a_forecast_and_a_padded_batch_are_those_of_a_cpu(pretended):
    told = pretended("read")
    assert "error" not in told, told
    assert set(told["found"]["apart"].values()) == {0.0}, told["found"]["apart"]
    # The space takes a pass for each of four series, the reading one for two. Each waits for a value that isn't finite;
    # no mask is counted on the GPU.
    assert told["found"]["wait"] == 5, told["found"]["lines"]


@pytest.fixture(scope="module")
def short_store(once):
    "Five healthy recordings of half a second."

    def make(folder):
        jobs = campaign(classes=(0,), freqs=(60,), loads=(100,), reps=0, healthy_reps=5)
        write_campaign(folder / "raw", jobs, seconds=0.5, seed=3)
        write_store(folder / "store", read_folder(folder / "raw"), where=str(folder / "raw"))

    return once("short-for-gpu", make) / "store"


def test_a_run_with_a_beat_goes_on_and_scores_as_on_a_cpu(pretended, short_store, tmp_path):
    told = pretended("run", store=str(short_store), out=str(tmp_path))
    assert "error" not in told, told
    found = told["found"]
    cpu, gpu = found["steps"]
    assert cpu == gpu and len(cpu) == 3 and found["trouble"] == []
    assert found["thresholds"][0] == found["thresholds"][1] and found["scores apart"] == 0
    assert found["goes on to the same bytes"]
    assert found["to device, pinned"] == 2 * 3  # every batch, by a copy that doesn't wait


def test_a_check_of_the_card_measures_on_it(pretended):
    told = pretended("check")
    assert "error" not in told, told
    found = told["found"]
    assert found["troubles"] == [] and found["card"] == ["a pretended RTX 3090", "8.6", 24.0]
    assert found["apart"][:2] == [0, 0] and 0 < found["apart"][2] < 0.05
    steps = [["step", "bf16", False]] * 2  # whose least time is known
    assert found["jobs"] == [*steps, ["pass", "fp32", False], ["pass", "bf16", False]]


FAULTS = {  # path; module, function, what stands there, what is put there; how the error begins
    "the rotation's positions on the CPU": (
        "step",
        ("model.timemoe", "rotary", "start + n, device=device", "start + n"),
        "mul: ",
    ),
    "the experts' numbers on the CPU": (
        "step",
        ("model.moe", "Experts.forward", "arange(len(gate_up), device=x_td.device)", "arange(len(gate_up))"),
        "searchsorted: ",
    ),
    "the way back on the CPU": (
        "step",
        ("model.moe", "Experts.forward", "arange(len(order), device=order.device)", "arange(len(order))"),
        "scatter_: ",
    ),
    "a generator of the CPU": (
        "step",
        ("train.step", "BF16AdamW.step", "torch.Generator(p.device)", "torch.Generator()"),
        "randint: a generator of the CPU",
    ),
    "moments on the CPU": (
        "step",
        (
            "train.step",
            "make_optimizer",
            'count, "exp_avg": torch.zeros_like(p)',
            'count, "exp_avg": torch.zeros(p.shape)',
        ),
        "_fused_adamw_: ",
    ),
    "NumPy of what is on the GPU": (
        "read",
        ("detect.reading", "_moments", ".double().cpu().numpy()", ".double().numpy()"),
        "can't convert cuda:0",
    ),
    "a mask that stays on the CPU": (
        "read",
        ("model.timemoe", "_visible", "eye(n, dtype=torch.bool, device=x.device)", "eye(n, dtype=torch.bool)"),
        "bitwise_or: ",
    ),
    "a mean that stays on the CPU": (
        "read",
        ("detect.reading", "_Sums.__init__", "from_numpy(space.mean).to(y)", "from_numpy(space.mean).float()"),
        "sub: ",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_only_a_gpu_shows_is_seen(pretended, name):
    path, fault, error = FAULTS[name]
    recipes = ["adamw_bf16"] if "generator" in name else ["fp32"]
    told = pretended(path, fault=fault, recipes=recipes)
    assert told.get("error", "").startswith(f"WrongDevice: {error}"), told


def test_a_host_that_waits_once_more_is_seen(pretended):
    fault = ["train.step", "_backward", "measured[:, i] =", "huber.item(); measured[:, i] ="]
    told = pretended("step", fault=fault, recipes=["fp32"])
    assert told["found"]["fp32"]["wait"] == 3 + 2
