"A card measured beside the plan: what is measured and what isn't, its files, and a plan that takes them up."

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import short_windows

from timemoe_lab.agent import gpucheck
from timemoe_lab.agent.gpucheck import Wish, check_gpu, cuda_tests, fitting, measure_step, measured
from timemoe_lab.cli import main
from timemoe_lab.config import preset
from timemoe_lab.model.card import Agreement, Card, Check, Figure, find_card, predicted, read_check, write_check
from timemoe_lab.model.plan import GB, Job, plan
from timemoe_lab.model.timemoe import TimeMoE

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
CARD = Card("NVIDIA GeForce RTX 3090", "8.6", 23.6, "2.13.0", "12.8", {"math": "runs on cuda"}, {})
STEP = Job(context=2048, batch=8, precision="bf16", recompute=True, accumulation=16)
FIGURE = Figure("base", "step", STEP, seconds=5.0, peak_gb=2.75, least_s=2.0, planned_gb=2.69)


def check_of(*figures, **other):
    values = {"agreements": (), "troubles": (), "notes": ()} | other
    return Check(CARD, "done", 300.0, figures, **values)


@pytest.fixture
def light(monkeypatch):
    "The check without its longest parts."
    monkeypatch.setattr(gpucheck, "agreements", lambda wish: iter((Agreement("losses", 0.0, 1e-4),)))
    monkeypatch.setattr(gpucheck, "measure_beat", lambda name, wish: iter((f"{name}: no beat in this test",)))


def quick(progress=lambda part: None, **how):
    return check_gpu(CPU, presets=("tiny",), **{"quick": True} | how, progress=progress)


# What is measured


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "The files of a quick check on a CPU."
    out = tmp_path_factory.mktemp("card") / "new"
    assert main(["gpucheck", "--device", "cpu", "--quick", "--out", str(out)]) == 0
    return out


def test_a_quick_check_measures_every_part_on_a_cpu(folder):
    said = json.loads((folder / "gpucheck.json").read_text())
    figures = said["figures"]
    assert [(f["work"], f["job"]["recompute"], f["job"]["precision"]) for f in figures[:4]] == [
        ("step", False, "fp32"),
        ("step", True, "fp32"),
        ("pass", False, "fp32"),
        ("pass", False, "bf16"),
    ]
    assert figures[4]["work"] == "beat" and len(figures) == 5
    assert 0 < min(f["seconds"] for f in figures) and sum(f["seconds"] for f in figures) < said["took_s"]
    assert {f["least_s"] for f in figures} == {f["peak_gb"] for f in figures} == {None}  # nothing is predicted of a CPU
    weights = TimeMoE(preset("tiny").model).n_parameters * 4 / GB
    assert figures[0]["planned_gb"] > 4 * weights  # and gradients and two moments
    assert [a["apart"] for a in said["agreements"][:2]] == [0, 0] and said["troubles"] == []
    assert said["card"]["name"] == "cpu" and said["card"]["torch"] == torch.__version__ and said["ended"] == "done"


def test_its_page_says_the_same_in_words(folder):
    page = (folder / "gpucheck.md").read_text()
    found = read_check(folder / "gpucheck.json")
    assert page.startswith("# cpu\n") and f"{found.figures[0].seconds:.4g}" in page
    assert "tiny, a step, recompute off" in page and page.endswith("## What differs\n\n- Nothing.\n")


def test_the_fastest_counts_and_memory_from_before_does_not(monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 13.0, 20.0, 24.0])
    monkeypatch.setattr(gpucheck, "time", SimpleNamespace(perf_counter=lambda: next(clock), monotonic=lambda: 0.0))
    for name, value in {"synchronize": None, "reset_peak_memory_stats": None, "max_memory_allocated": 7 * GB}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(gpucheck, "ask_smi", lambda device, names: {"clocks.sm": "1695 MHz"})
    wish = Wish(torch.device("cuda"), CARD, ("base",), quick=False, until=100.0)
    assert measured(lambda: None, wish, before=2.0) == (3.0, 5.0, "1695 MHz")


def test_a_step_trains_with_what_fits_and_says_so(monkeypatch):
    deep = short_windows(replace(preset("tiny"), model=replace(preset("tiny").model, n_layers=12)), 64)
    monkeypatch.setattr(Wish, "config", lambda wish, name: replace(deep, train=replace(deep.train, batch=64)))
    wish = Wish(CPU, find_card(CPU), ("tiny",), quick=True, until=float("inf"))
    asked = wish.job(wish.config("tiny"), recompute=False)
    monkeypatch.setattr(Wish, "room", plan(deep.model, asked).most - 1)
    said, figure = measure_step("tiny", wish, recompute=False)
    assert said == "tiny: 64 windows in a pass don't fit into this memory; measured with 32"
    assert (figure.job.batch, figure.job.accumulation) == (32, 2)
    assert figure.windows_per_s == pytest.approx(64 / figure.seconds)
    assert fitting(deep, figure.job, room=deep.model.d_model) is None


# What goes wrong


def test_a_part_that_fails_is_told_and_the_next_one_goes_on(light, monkeypatch):
    def fail(name, wish, *, recompute):
        raise RuntimeError("CUDA error: an illegal memory access\nwas encountered")

    monkeypatch.setattr(gpucheck, "measure_step", fail)
    found = quick()
    line = "tiny, a step, recompute off: RuntimeError CUDA error: an illegal memory access was encountered"
    assert found.troubles[0] == line and found.differs[0] == line
    assert [f.work for f in found.figures] == ["pass", "pass"] and found.ended == "done"


def test_an_interrupted_check_keeps_what_was_measured(light, monkeypatch, tmp_path, capsys):
    def stop(name, wish, *, precision):
        raise KeyboardInterrupt

    monkeypatch.setattr(gpucheck, "measure_pass", stop)
    assert main(["gpucheck", "--device", "cpu", "--quick", "--out", str(tmp_path)]) == 1
    found = read_check(tmp_path / "gpucheck.json")
    assert [f.work for f in found.figures] == ["step", "step"] and found.ended.startswith("interrupted")
    assert "interrupted" in capsys.readouterr().out and "interrupted" in (tmp_path / "gpucheck.md").read_text()


def test_what_there_is_no_time_for_is_left_out_and_said(light):
    found = quick(minutes=1e-9)
    assert found.figures == () and found.troubles == ()
    assert "tiny, a step, recompute off: left out, the time is over" in found.notes


def test_tests_of_a_card_run_in_a_process_of_their_own(tmp_path):
    marked = "import pytest\n@pytest.mark.cuda\ndef test_card():\n    "
    (tmp_path / "tests").mkdir()
    path = tmp_path / "tests/test_card.py"
    path.write_text(f"{marked}pass\ndef test_other():\n    assert False\n")
    said, wrong = cuda_tests(path.parent, seconds=60)
    assert not wrong and "1 passed, 1 deselected" in said
    path.write_text(f"{marked}while True: pass\n")
    assert cuda_tests(path.parent, seconds=1) == ("the cuda tests: not done after 1 s, and stopped", True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
@pytest.mark.parametrize(
    "words, status, said",
    [
        ([], 1, "no NVIDIA GPU is here to be checked; try the command itself with: --device cpu --quick"),
        (["--device", "cpu"], 2, "--device cpu: takes hours; try the command itself with --quick"),
        (["--device", "cuda"], 2, "--device cuda: 0 CUDA devices here"),
    ],
    ids=["auto", "cpu", "cuda"],
)
def test_without_a_card_it_ends_in_a_line(words, status, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("timemoe_lab.model.device.unusable_gpu", lambda: "")
    assert main(["gpucheck", *words, "--out", str(tmp_path / "new")]) == status
    assert said in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_files_that_are_there_are_not_written_over(tmp_path, capsys):
    (tmp_path / "gpucheck.md").write_text("mine")
    assert main(["gpucheck", "--device", "cpu", "--quick", "--out", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["gpucheck.md"]


# What differs


@pytest.mark.parametrize(
    "change, word",
    [
        ({}, None),
        ({"peak_gb": 2.69 * 1.069}, None),
        ({"peak_gb": 2.69 * 1.071}, "7% more than the 2.69 planned"),
        ({"peak_gb": 2.69 * 0.9}, "10% less"),
        ({"peak_gb": 0.05, "planned_gb": 0.01}, None),  # workspaces
        ({"seconds": 1.9}, "under the least time"),
        ({"seconds": 13.0}, "6.5 times the least"),
        ({"seconds": 0.5, "least_s": 0.001}, None),  # launches
    ],
    ids=str,
)
def test_what_differs_is_named(change, word):
    said = replace(FIGURE, **change).differs
    assert (said == []) if word is None else (len(said) == 1 and word in said[0])


# A plan that takes it up


def plan_rows(capsys, *words):
    assert main(["plan", "--preset", "base", "--json", *map(str, words)]) == 0
    return json.loads(capsys.readouterr().out)


def test_plan_takes_measured_figures_and_says_which(tmp_path, capsys):
    path = write_check(check_of(FIGURE), tmp_path)
    found = plan_rows(capsys, "--for", "train", "--recompute", "--measured", path)
    measured_row, *others = found["ways"]
    assert (measured_row["seconds"], measured_row["peak"], measured_row["figures"]) == (5.0, 2.75, "measured")
    assert found["gpu_gb"] == 23.6 and found["measured_on"] == CARD.name
    before = plan_rows(capsys, "--for", "train", "--recompute")["ways"][1:]
    for row, was in zip(others, before, strict=True):
        assert row["seconds"] == pytest.approx(2.5 * was["seconds"]) and row["peak"] == was["peak"]
        assert row["figures"] == "predicted, 2.5 times the least"
    (scored, *_) = plan_rows(capsys, "--for", "score", "--measured", path)["ways"]
    assert scored["figures"] == "predicted"  # no scoring was measured


def test_the_table_of_a_plan_names_measured_and_predicted(tmp_path, capsys):
    path = write_check(check_of(FIGURE), tmp_path)
    assert main(["plan", "--preset", "base", "--recompute", "--measured", str(path)]) == 0
    said = capsys.readouterr().out
    heading, first = said.splitlines()[:2]
    assert heading.endswith("Figures") and "at least" not in heading and first.split("|")[-1].strip() == "measured"
    assert main(["plan", "--preset", "base"]) == 0
    assert "Seconds at least" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize("change", ["damaged", "other", "gone"])
def test_a_file_that_is_no_check_is_refused(change, tmp_path, capsys):
    path = write_check(check_of(FIGURE), tmp_path)
    if change == "damaged":
        path.write_text(path.read_text().replace("5.0", "0.5"))
    elif change == "other":
        path.write_text('{"schema": 1, "kind": "timemoe_lab run"}')
    else:
        path.unlink()
    assert main(["plan", "--measured", str(path)]) == 1
    words = {"damaged": "checksum", "other": "not a file of gpucheck", "gone": "no such file"}
    assert words[change] in capsys.readouterr().err


def test_the_page_of_the_card_has_the_predictions_of_the_plan():
    page = (ROOT / "docs/benchmarks/rtx3090.md").read_text()
    assert f"```text\n{predicted(['base', 'large', 'ultra'])}\n```" in page
