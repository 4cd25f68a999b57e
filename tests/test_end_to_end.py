"The main job on simulated motors: the loss falls, planted faults are found, and the same seed gives the same bytes."

import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from conftest import clockless, make_run
from sklearn.metrics import average_precision_score, f1_score, fbeta_score, roc_auc_score

from timemoe_lab.cli import main
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.readers import read_folder
from timemoe_lab.detect.evaluate import evaluate
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.files import read_json
from timemoe_lab.records import OperatingPoint

heartbeat_room = import_module("timemoe_lab.agent.heartbeat")


def test_the_loss_falls_and_routing_is_recorded(trained):
    steps = trained.events("step")
    assert np.mean([e.values["huber"] for e in steps[-2:]]) < 0.5 * steps[0].values["huber"]
    for event in steps:
        assert np.allclose(np.sum(event.values["expert_load"], axis=1), 1, atol=1e-3)
        assert event.values["gating_balance"] > 0 and len(event.values["gate_mean"]) == 2


def test_planted_faults_are_found_and_the_coin_is_not(evaluated):
    rows = {r.name: r.point for r in evaluated.rows}
    assert rows["lab"]["roc_auc"] > 0.95
    assert abs(rows["random"]["roc_auc"] - 0.5) < 0.02
    assert rows["lab"]["f1"] > rows["random"]["f1"] + 0.5


def test_metrics_equal_those_of_scikit_learn_on_the_saved_scores(judged, raw, evaluated):
    threshold = OperatingPoint.read(judged.path / "operating_point.json").threshold
    scores, labels = [], []
    for recording in read_folder(raw):
        path = judged.path / "scores" / f"{Path(recording.name).stem}.npz"
        if path.exists():
            label = recording.label
            keep = np.ones(len(label), bool)
            for edge in np.flatnonzero(np.diff(label.astype(int))) + 1:
                keep[edge - 500 : edge + 500] = False  # 50 ms at 10 kHz
            scores.append(np.load(path)["score"][keep])
            labels.append(label[keep])
    score, label = np.concatenate(scores), np.concatenate(labels)
    point = evaluated.row.point
    alarm = score >= threshold
    assert point["roc_auc"] == pytest.approx(roc_auc_score(label, score), abs=1e-9)
    assert point["pr_auc"] == pytest.approx(average_precision_score(label, score), abs=1e-9)
    assert point["f1"] == pytest.approx(f1_score(label, alarm), abs=1e-9)
    assert point["f0.5"] == pytest.approx(fbeta_score(label, alarm, beta=0.5), abs=1e-9)
    assert point["fpr"] == pytest.approx((alarm & ~label).sum() / (~label).sum(), abs=1e-9)


def test_the_same_seed_gives_the_same_bytes(trained, store, short_config, tmp_path):
    again = make_run(tmp_path / "again", store, short_config)
    for name in ("profile.safetensors", "operating_point.json"):
        assert (again.path / name).read_bytes() == (trained.path / name).read_bytes()
    assert [p.name for p in again.checkpoints()] == [p.name for p in trained.checkpoints()]
    for ours, theirs in zip(again.checkpoints(), trained.checkpoints()):
        assert (ours / "model.safetensors").read_bytes() == (theirs / "model.safetensors").read_bytes()
    assert clockless(again) == clockless(trained)


def test_faulty_recordings_leave_profile_and_threshold_alone(raw, store, short_config, tmp_path, monkeypatch):
    agent = replace(short_config.agent, every_steps=6, delta_decay=1.0)  # beats, but no F1 lowers delta
    config = replace(short_config, train=replace(short_config.train, steps=12, aux_warmup=4), agent=agent)
    monkeypatch.setattr(heartbeat_room, "N_SYNTHETIC", 1)  # where nothing is faulty, beats simulate it
    healthy = [r for r in read_folder(raw) if r.class_id == 0]
    alone = write_store(tmp_path / "store", healthy, where=str(raw))
    assert alone.scale == store.scale  # with nothing faulty, the same recordings train
    runs = [make_run(tmp_path / name, s, config) for name, s in (("alone", alone), ("with faults", store))]
    for step in ("6", "12"):  # labels may choose between checkpoints; what is in one they leave alone
        made = [r.checkpoint(step) for r in runs]
        assert len({(p / "profile.safetensors").read_bytes() for p in made}) == 1
        assert len({OperatingPoint.read(p / "operating_point.json").threshold for p in made}) == 1


def test_recordings_that_were_seen_are_recognised_under_other_names(trained, raw, tmp_path):
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for i, path in enumerate(sorted(raw.glob("*.csv"))):
        if path.name != "labels.csv":
            (renamed / f"{path.name[0]}_new{i}.csv").write_bytes(path.read_bytes())
    run = shutil.copytree(trained.path, tmp_path / "run")
    result = evaluate(open_scorer(run), read_folder(renamed), where=renamed, rows=("lab",))
    n_test = sum(r["split"] == "test" for r in trained.facts["recordings"])
    assert len(result.splits["test"]) == n_test


def test_demo_ends_with_its_table_and_a_report(raw, tmp_path, capsys):
    assert main(["demo", "--data", str(raw), "--out", str(tmp_path / "run"), "--steps", "10"]) == 0
    out = capsys.readouterr().out
    lines = out.strip().splitlines()
    assert lines[-1] == f"report: {tmp_path / 'run' / 'report.html'}"
    heading = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert ["Step", "Loss", "Gating Balance", "F1", "Threshold"] in [row[:5] for row in heading]
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    told = lines[: lines.index("")]
    assert "recordings with a fault raised an alarm" in lines[0] and max(map(len, told)) <= 80
    assert any(line.startswith("all tables: timemoe-lab evaluate ") for line in lines)
    for row in ("lab", "spec", "log-PSD + Mahalanobis", "random"):
        assert any(line.strip().startswith(row) for line in lines)


def test_a_healthy_folder_ends_with_a_calibrated_run(raw, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(heartbeat_room, "N_SYNTHETIC", 1)
    healthy = tmp_path / "healthy"
    healthy.mkdir()
    for path in raw.glob("0_*.csv"):
        (healthy / path.name).write_bytes(path.read_bytes())
    assert main(["prepare", str(healthy), "--out", str(tmp_path / "store"), "--mask", "CH4"]) == 0
    assert main(["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), "--steps", "20", "--json"]) == 0
    point = read_json(tmp_path / "run" / "operating_point.json")
    assert point["comparison"] == ">=" and point["threshold"] > 0 and point["validation"] is None
    assert main(["score", str(tmp_path / "run"), str(raw), "--out", str(tmp_path / "scores")]) == 0
    for recording in read_folder(raw):
        saved = np.load(tmp_path / "scores" / f"{Path(recording.name).stem}.npz")
        assert np.isfinite(saved["score"]).all() and saved["score"].shape == (recording.n_samples,)
        assert np.isnan(saved["channel_score"][3]).all()  # the masked channel
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), str(raw), "--rows", "lab,random", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["rows"][0]["name"] == "lab" and 0 <= printed["rows"][0]["point"]["roc_auc"] <= 1
