"A run as ONNX: the same scores as the Python path, thresholds beside them, and a consumer that has nothing of the lab."

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx isn't installed: pip install 'timemoe-lab[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime isn't installed")

import timemoe_lab.plant.portable as room  # noqa: E402
from conftest import rewrite  # noqa: E402
from timemoe_lab.cli import main  # noqa: E402
from timemoe_lab.config import tiny  # noqa: E402
from timemoe_lab.data.prepare import Frame, Scale  # noqa: E402
from timemoe_lab.data.readers import read_folder  # noqa: E402
from timemoe_lab.data.recording import Recording  # noqa: E402
from timemoe_lab.detect.reading import Space  # noqa: E402
from timemoe_lab.detect.scorer import Scorer, open_scorer  # noqa: E402
from timemoe_lab.files import InputError, UsageError, read_json  # noqa: E402
from timemoe_lab.model.timemoe import TimeMoE  # noqa: E402
from timemoe_lab.plant.portable import CLOSE, FLIPPED, OUTPUTS, difference, export_onnx, graph_of, made_signals  # noqa: E402

EXAMPLE = Path(__file__).parents[1] / "examples/score_onnx.py"


@pytest.fixture(scope="module")
def exported(master, once):
    "A run as one file."
    return once("exported", lambda folder: export_onnx(master, folder / "motor.onnx")) / "motor.onnx"


def about(path):
    found = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["timemoe_lab"]
    return json.loads(found)


def test_it_scores_recordings_as_python_does(exported, master, raw):
    scorer = open_scorer(master)
    session = onnxruntime.InferenceSession(exported)
    told = about(exported)
    for recording in [r for r in read_folder(raw)][::7]:
        for n in (recording.n_samples, recording.n_samples - 1234):
            cut = replace(recording, signal=np.ascontiguousarray(recording.signal[:, :n]))
            rows = scorer.rows(cut)["spec"]
            said = dict(zip(OUTPUTS, session.run(OUTPUTS, {"signal": cut.signal})))
            for name, value in said.items():
                whole = np.repeat(value, told["factor"], axis=-1)[..., :n]
                near = np.isclose(
                    whole, getattr(rows, name), rtol=1e-4, atol=1e-4
                )  # but where rounding chose an expert
                assert near.mean() > 1 - FLIPPED, (recording.name, n, name)
            quantile = np.quantile(said["score"], told["recording_quantile"])
            assert quantile == pytest.approx(rows.recording_score, abs=1e-3)


def test_the_file_says_what_it_is(exported, master):
    told = about(exported)
    point = read_json(master / "operating_point.json")
    assert told["threshold"] == point["rows"]["spec"]["point"] and told["comparison"] == ">="
    assert told["recording_threshold"] == point["rows"]["spec"]["recording"] and told["channels"][0] == "CH1"
    assert "memory" in told["left_out"] and told["mode_of_the_run"] == "lab"
    assert told["run_sha256"] == room.digest_of_run(open_scorer(master)) and len(told["run_sha256"]) == 64


def scorer_like(config, *, channels=("a", "b", "c"), mask=(), fs=1000.0, run=None):
    "A scorer of a model with random weights: what a graph is made of."
    model = TimeMoE(config.model, seed=3).eval()
    rng = np.random.default_rng(0)
    n, d = len(channels), config.model.d_model
    space = Space(rng.normal(size=(n, d)), np.ones(n), rng.normal(size=d), np.eye(d))
    scale = Scale(tuple(rng.normal(size=n).tolist()), tuple((1 + rng.random(n)).tolist()))
    frame = Frame(fs, channels, ("",) * n, mask, scale)
    found = Scorer(type("Run", (), {"config": config, "path": Path("run")})(), model, None, frame, None)
    profile = type("Profile", (), {"space": space, "seen": type("Seen", (), {"condition": np.zeros((0, 2))})()})()
    return replace(found, profile=profile)


def kind(data=None, model=None, score=None, horizons=(1, 8, 32)):
    "A configuration of a small window with these fields changed."
    config = tiny()
    model = replace(
        config.model, horizons=horizons, **{"n_experts": 0} | (model or {})
    )  # no expert, no choice by rounding
    train = replace(config.train, head_weights=(1.0, 0.5, 2.0)[: len(horizons)])
    data = replace(config.data, **{"context": 64, "scope": "train", "max_fs": None} | (data or {}))
    return replace(config, model=model, train=train, data=data, score=replace(config.score, **(score or {})))


KINDS = {
    "dense": (kind(), {}),
    "two of eight experts": (kind(model={"n_experts": 8}), {}),
    "three of four experts": (kind(model={"n_experts": 4, "top_k": 3}), {}),
    "grouped queries": (kind(model={"n_kv_heads": 2}), {}),
    "masked": (kind(), {"mask": ("b",)}),
    "decimated by 3": (kind(data={"max_fs": 334.0}), {}),
    "window scope": (kind(data={"scope": "window"}), {}),
    "all positions": (kind(score={"positions": "all"}), {}),
    "huber and cosine": (kind(score={"error": "huber", "distance": "cosine", "profile": "global", "beta": 3.0}), {}),
    "one horizon": (kind(horizons=(1,)), {}),
    "one channel": (kind(), {"channels": ("a",)}),
    "odd window": (kind(data={"context": 61}), {}),
}


@pytest.mark.parametrize("config, how", KINDS.values(), ids=KINDS)
def test_every_kind_of_run_is_the_same_in_both(config, how, tmp_path):
    scorer = scorer_like(config, **how)
    (tmp_path / "g.onnx").write_bytes(graph_of(scorer).SerializeToString())
    size = config.data.shortest(1000.0)
    lengths = [size, size + 1, 2 * size, 3 * size + 17]
    rng = np.random.default_rng(1)
    names = scorer.frame.channels
    found = [
        Recording(f"{n}", rng.normal(size=(len(names), n)).astype(np.float32), 1000.0, names, ("",) * len(names))
        for n in lengths
    ]
    off, flipped = difference(tmp_path / "g.onnx", scorer, [*found, *made_signals(scorer)])
    assert off < CLOSE and flipped <= (FLIPPED if config.model.n_experts else 0)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"scope": "recording"}, "a scale for each recording"),
        ({"virtual": True}, "virtual channels"),
    ],
)
def test_what_the_graph_would_not_do_is_refused(change, words):
    scorer = scorer_like(kind(data={"scope": change.get("scope", "train")}))
    frame = type("Odd", (), vars(scorer.frame) | {"virtual": change.get("virtual", ()), "swap_phases": False})()
    with pytest.raises(InputError, match=words):
        graph_of(replace(scorer, frame=frame))


def test_what_differs_is_not_written(master, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(room, "_loss", lambda g, off, kind: g("Abs", off))
    assert main(["export", str(master), "--out", str(tmp_path / "a.onnx")]) == 1
    said = capsys.readouterr().err
    assert "is off by" in said and said.count("\n") == 1 and not list(tmp_path.iterdir())


def test_nothing_is_written_over(master, tmp_path):
    (tmp_path / "a.onnx").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        export_onnx(master, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_text() == "mine"


def test_a_run_is_taken_for_what_it_is(master, tmp_path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "a.onnx")]) == 2
    assert "not a run" in capsys.readouterr().err
    copy = shutil.copytree(master, tmp_path / "run")
    rewrite(copy / "operating_point.json", lambda point: point["rows"].pop("spec"))
    assert main(["export", str(copy), "--out", str(tmp_path / "a.onnx")]) == 1
    assert "no row spec" in capsys.readouterr().err and not (tmp_path / "a.onnx").exists()


def test_two_gigabytes_are_asked_for_a_folder(master, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "MOST", 1000)
    with pytest.raises(InputError, match="give a folder's name"):
        export_onnx(master, tmp_path / "a.onnx")
    export_onnx(master, tmp_path / "a")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["model.onnx", "weights.bin"]


def run_example(*argv, folder):
    "The example in a process that can't find the lab; what it says."
    script = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    script = f"import sys; sys.modules['timemoe_lab'] = sys.modules['torch'] = None; {script}"
    run = [sys.executable, "-I", "-c", script, str(EXAMPLE), *map(str, argv)]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=60)


def test_the_example_needs_nothing_of_the_lab(exported, master, raw, tmp_path):
    assert len(EXAMPLE.read_text().splitlines()) <= 40
    path = sorted(raw.glob("6_*.csv"))[0]
    said = run_example(exported, path, folder=tmp_path)
    assert said.returncode == 0, said.stderr
    (recording,) = [r for r in read_folder(raw) if r.name == path.name]
    expected = open_scorer(master).rows(recording)["spec"].recording_score
    assert float(re.search(r"recording_score: (\S+)", said.stdout)[1]) == pytest.approx(expected, abs=1e-3)
    alarm = expected >= about(exported)["recording_threshold"]
    assert re.search(r"alarm: (\d)", said.stdout)[1] == str(int(alarm))


@pytest.mark.parametrize(
    "text, words", [("time,a\n1,2\n", "no line names"), ("CH1,CH2,CH3,CH4\n1,2,3,4\n", "at least")]
)
def test_the_example_tells_what_it_cannot_score(exported, tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    said = run_example(exported, "a.csv", folder=tmp_path)
    assert said.returncode == 1 and words in said.stderr and said.stderr.count("\n") == 1
