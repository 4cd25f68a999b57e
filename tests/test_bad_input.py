"What goes wrong with files and options: one line that names the culprit, the right exit status, nothing half-written."

import csv
import errno
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from timemoe_lab.cli import main
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.motor import campaign, simulate, write_parquet
from timemoe_lab.data.readers import read, read_folder
from timemoe_lab.data.signature import unfit
from timemoe_lab.data.store import Store
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.files import InputError
from timemoe_lab.run.folder import RunFolder

ROWS = 3000


def _csv(path, *, n=ROWS, header="TIME,CH1,CH2", seed=0, change=lambda lines: lines, fs=1000):
    "Noise, as a CSV file."
    x = np.random.default_rng(seed).normal(size=(n, header.count(",")))
    path.write_text("\n".join(change(_lines(x, header, fs))) + "\n")


def _lines(x, header, fs):
    "A table (time, channel) as lines of text."
    return [header] + [",".join([f"{i / fs:.6f}", *(f"{v:.4f}" for v in row)]) for i, row in enumerate(x)]


@pytest.fixture
def folder(tmp_path):
    "Four healthy recordings and two faulty ones; tests add one that is broken."
    raw = tmp_path / "raw"
    raw.mkdir()
    for i in range(4):
        _csv(raw / f"0_{i}.csv", seed=i)
    for i in range(2):
        _csv(raw / f"1_{i}.csv", seed=9 + i)
    return raw


def _replace(row, text):
    return lambda lines: [*lines[:row], text, *lines[row + 1 :]]


FAULTS = {
    "cut off mid-row": (lambda p: p.write_bytes(p.read_bytes()[:-12]), 1, ["row 3001", "cut off"]),
    "ragged row": (lambda p: _csv(p, change=_replace(7, "0.006,1.0,2.0,3.0")), 1, ["row 8", "4 fields", "expected 3"]),
    "text in a number column": (
        lambda p: _csv(p, change=_replace(20, "0.019,oops,2.0")),
        1,
        ["row 21", "CH1", "'oops'"],
    ),
    "zero bytes": (lambda p: p.write_bytes(b""), 1, ["empty"]),
    "binary noise": (lambda p: p.write_bytes(np.random.default_rng(0).bytes(5000)), 1, ["not text"]),
    "a channel is missing": (lambda p: _csv(p, header="TIME,CH1"), 1, ["lacks CH2"]),
    "another sampling rate": (lambda p: _csv(p, fs=2000), 1, ["2000 Hz", "1000 Hz"]),
    "too few rows for a window": (lambda p: _csv(p, n=100), 1, ["100 samples", "at least 256"]),
    "no channel": (lambda p: _csv(p, header="TIME"), 1, ["channel"]),
    "time stands still": (lambda p: p.write_text("TIME,CH1,CH2\n" + "0,1,2\n" * 400), 1, ["time column"]),
    "nothing but missing samples": (
        lambda p: p.write_text("TIME,CH1,CH2\n" + "".join(f"{i / 1000},,nan\n" for i in range(400))),
        1,
        ["nothing to score"],
    ),
    "two columns of one name": (lambda p: _csv(p, header="TIME,CH1,CH1"), 1, ["one name"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_recording_is_named_in_one_line(folder, tmp_path, capsys, fault):
    make, status, words = FAULTS[fault]
    bad = folder / "0_z bad 모터.csv"
    _csv(bad, seed=77)
    make(bad)
    assert main(["prepare", str(folder), "--out", str(tmp_path / "store")]) == status
    _one_line(capsys, [bad.name, *words])
    assert not (tmp_path / "store").exists() and sorted(p.name for p in tmp_path.iterdir()) == ["raw"]


def _one_line(capsys, words):
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("timemoe-lab: ")]
    assert len(said) == 1, said
    for word in words:
        assert word in said[0]
    assert "Traceback" not in said[0]


FAULTS |= {
    "text in the first row": (lambda p: _csv(p, change=_replace(1, "0.0,oops,2.0")), 1, ["row 2", "CH1", "'oops'"]),
    "a healthy motor with a fault": (
        lambda p: _csv(
            p,
            header="TIME,CH1,CH2,anomaly",
            change=lambda rows: [rows[0], *(f"{i / 1000},{i % 7},{i % 5},1" for i in range(ROWS))],
        ),
        1,
        ["class 0", "[0, 3000)"],
    ),
}


LABELS = {
    "a file that isn't there": ("file,class_id\n9_gone.csv,1\n", ["row 2", "9_gone.csv"]),
    "an interval past the end": (
        "file,class_id,fault_start,fault_end\n1_0.csv,1,100,9999\n",
        ["row 2", "9999", "3000"],
    ),
    "an interval backwards": ("file,class_id,fault_start,fault_end\n1_0.csv,1,200,100\n", ["row 2", "[200, 100)"]),
    "text for a class": ("file,class_id\n1_0.csv,broken\n", ["row 2", "'broken'"]),
    "an unknown split": ("file,class_id,split\n1_0.csv,1,holdout\n", ["row 2", "'holdout'"]),
    "a fault that trains": ("file,class_id,split\n1_0.csv,1,train\n", ["row 2", "healthy"]),
    "a class out of range": ("file,class_id\n1_0.csv,300\n", ["row 2", "300", "0 (healthy) to 99"]),
    "no class column": ("file,kind\n1_0.csv,1\n", ["row 1", "class_id"]),
    "two classes for one file": ("file,class_id\n1_0.csv,1\n1_0.csv,2\n", ["row 3", "row 2"]),
}


@pytest.mark.parametrize("fault", LABELS)
def test_broken_labels_are_named_in_one_line(folder, tmp_path, capsys, fault):
    text, words = LABELS[fault]
    (folder / "labels.csv").write_text(text)
    assert main(["prepare", str(folder), "--out", str(tmp_path / "store")]) == 1
    _one_line(capsys, ["labels.csv", *words])
    assert not (tmp_path / "store").exists()


def test_a_folder_without_recordings_or_without_healthy_ones(folder, tmp_path, capsys):
    out = str(tmp_path / "store")
    assert main(["prepare", str(tmp_path / "nowhere"), "--out", out]) == 2
    _one_line(capsys, ["nowhere", "no such folder"])
    (tmp_path / "empty").mkdir()
    assert main(["prepare", str(tmp_path / "empty"), "--out", out]) == 1
    _one_line(capsys, ["empty", "no recordings"])
    for path in folder.glob("0_*.csv"):
        path.unlink()
    assert main(["prepare", str(folder), "--out", out]) == 1
    _one_line(capsys, ["no healthy recording"])
    assert not (tmp_path / "store").exists()


def test_the_same_recording_twice_is_refused(folder, tmp_path, capsys):
    shutil.copy(folder / "0_0.csv", folder / "1_copy.csv")
    assert main(["prepare", str(folder), "--out", str(tmp_path / "store")]) == 1
    _one_line(capsys, ["1_copy.csv", "0_0.csv"])


@pytest.mark.parametrize("command", ["prepare", "train", "simulate", "score", "demo"])
def test_an_out_that_holds_something_else_is_left_alone(folder, trained, store, tmp_path, capsys, command):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "notes.txt").write_text("keep me")
    arguments = {
        "prepare": ["prepare", folder, "--out", out],
        "train": ["train", store.path, "--out", out],
        "simulate": ["simulate", out],
        "score": ["score", trained.path, folder, "--out", out],
        "demo": ["demo", "--data", folder, "--out", out],
    }
    assert main([str(a) for a in arguments[command]]) == 2
    _one_line(capsys, ["precious", "isn't empty"])
    assert [p.name for p in out.iterdir()] == ["notes.txt"] and (out / "notes.txt").read_text() == "keep me"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "STORE", "--out", "x", "--steps", "0"],
        ["train", "STORE", "--out", "x", "--steps", "5", "--minutes", "1"],
        ["train", "STORE", "--out", "x", "--preset", "huge"],
        ["prepare", "RAW"],
        ["simulate", "x", "--classes", "0-9"],
        ["simulate", "x", "--freqs", "fast"],
        ["simulate", "x", "--seed", "-1"],
        ["train", "STORE", "--out", "x", "--seed", "99999999999999999999"],
        ["nonsense"],
    ],
)
def test_misuse_ends_with_status_two(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2 and not list(tmp_path.iterdir())


def test_options_that_argparse_cannot_check(folder, store, tmp_path, capsys):
    assert main(["prepare", str(folder), "--out", str(tmp_path / "s"), "--mask", "CH9"]) == 2
    _one_line(capsys, ["CH9", "CH1, CH2"])
    assert main(["train", str(store.path), "--out", str(tmp_path / "r"), "--device", "tpu"]) == 2
    _one_line(capsys, ["tpu"])
    assert main(["train", str(folder), "--out", str(tmp_path / "r")]) == 2
    _one_line(capsys, ["not a store"])
    assert main(["evaluate", str(folder), str(folder)]) == 2
    _one_line(capsys, ["not a run"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw"]


def test_a_full_disk_leaves_no_store_and_the_work_so_far(folder, tmp_path, capsys, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "store"))

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        assert main(["prepare", str(folder), "--out", str(tmp_path / "store")]) == 1
    _one_line(capsys, ["No space left on device"])
    assert not (tmp_path / "store").exists()
    assert main(["prepare", str(folder), "--out", str(tmp_path / "store")]) == 0  # somebody made room
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw", "store"]


def test_a_training_recording_too_short_for_the_preset_is_named(folder, tmp_path, capsys):
    for path in folder.glob("*.csv"):
        _csv(path, seed=int(path.stem.replace("_", "")), n=1500)
    assert main(["prepare", str(folder), "--out", str(tmp_path / "other"), "--preset", "base"]) == 1
    _one_line(capsys, ["0_0.csv", "1500", "2048"])
    assert main(["prepare", str(folder), "--out", str(tmp_path / "store")]) == 0
    assert main(["train", str(tmp_path / "store"), "--out", str(tmp_path / "run"), "--preset", "base"]) == 1
    _one_line(capsys, ["1500 samples", "2048"])
    assert not (tmp_path / "run").exists()


def test_score_looks_at_no_label(trained, raw, tmp_path, capsys):
    mislabelled = tmp_path / "raw"
    shutil.copytree(raw, mislabelled)
    (mislabelled / "labels.csv").write_text("file,class_id\nnot-here.csv,what\n")
    for folder, out in ((raw, "a"), (mislabelled, "b")):
        assert main(["score", str(trained.path), str(folder), "--out", str(tmp_path / out)]) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize(("rows", "words"), [(100, ["100 samples"]), (3000, ["nothing to score"])])
def test_a_recording_that_cannot_be_scored_fails(trained, raw, tmp_path, capsys, rows, words):
    one = tmp_path / "one"
    one.mkdir()
    lines = next(raw.glob("6_*.csv")).read_text().splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("TIME"))
    body = [
        line.split(",")[0] + ",,,," if rows > 100 and i % 300 else line
        for i, line in enumerate(lines[head + 1 :][:rows])
    ]
    (one / "6_x.csv").write_text("\n".join([*lines[: head + 1], *body]) + "\n")
    assert main(["score", str(trained.path), str(one), "--out", str(tmp_path / "scores")]) == 1
    _one_line(capsys, ["6_x.csv", *words])
    assert not (tmp_path / "scores").exists()


DAMAGE = {
    "model": lambda run: RunFolder(run).checkpoint("best") / "model.safetensors",
    "profile": lambda run: run / "profile.safetensors",
    "config": lambda run: run / "config.json",
    "operating point": lambda run: run / "operating_point.json",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_named(trained, raw, tmp_path, capsys, damage):
    run = tmp_path / "run"
    shutil.copytree(trained.path, run)
    file = DAMAGE[damage](run)
    file.write_bytes(file.read_bytes()[:-40])
    assert main(["score", str(run), str(raw), "--out", str(tmp_path / "scores")]) == 1
    _one_line(capsys, [file.name])


def test_missing_cells_and_flat_channels_are_counted(folder, tmp_path, capsys):
    _csv(folder / "0_gaps.csv", seed=5, change=_replace(50, "0.049,,inf"))
    _csv(
        folder / "1_flat.csv",
        seed=6,
        change=lambda lines: [lines[0]] + [line.rsplit(",", 1)[0] + ",0.5" for line in lines[1:]],
    )
    assert main(["prepare", str(folder), "--out", str(tmp_path / "store")]) == 0
    out = capsys.readouterr().out
    assert "missing_samples: 0_gaps.csv 2" in out and "flat_channels: 1_flat.csv CH2" in out
    entry = {e.name: e for e in Store(tmp_path / "store").entries}
    assert entry["0_gaps.csv"].n_missing == 2 and entry["1_flat.csv"].flat == ("CH2",)


def test_score_refuses_recordings_of_another_kind(trained, folder, tmp_path, capsys):
    assert main(["score", str(trained.path), str(folder), "--out", str(tmp_path / "scores")]) == 1
    _one_line(capsys, ["0_0.csv", "lacks CH3, CH4"])
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [("1.5,2.5\n3.5,4.5\n", "no time column"), ("# note\nVolt;Amp\n1,5;2,5\n1,5;2,6\n", "no time column")],
)
def test_a_file_without_a_time_column_or_with_decimal_commas_says_so(tmp_path, text, words):
    path = tmp_path / "0_x.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read(path)


def test_no_pickle_is_read(tmp_path):
    store = tmp_path / "store"
    jobs = campaign(classes=(0,), freqs=(60,), loads=(0,), reps=1, healthy_reps=2)
    write_store(store, simulate(jobs, seconds=0.3), where="simulated")
    np.save(store / "index.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="index.npy: damaged"):
        Store(store)


def _motor(path, *, seconds=0.6, seed=0, amplitude=1.0, change=lambda x: x, fs=2000):
    "Three currents at 50 Hz, as a CSV file."
    generator = np.random.default_rng(seed)
    turn = 2 * np.pi * 50 * np.arange(round(fs * seconds)) / fs
    x = amplitude * np.stack([np.sin(turn - 2 * np.pi * k / 3) for k in range(3)])
    x = change(x + 0.01 * generator.normal(size=x.shape))
    path.write_text("\n".join(_lines(x.T, "TIME,CH1,CH2,CH3", fs)) + "\n")


@pytest.fixture
def motors(tmp_path):
    "Five healthy motors and a faulty one; tests add one that is odd."
    raw = tmp_path / "raw"
    raw.mkdir()
    for i in range(5):
        _motor(raw / f"0_{i}.csv", seed=i)
    _motor(raw / "1_0.csv", seed=9)
    return raw


ODD = {
    "too short": ({"seconds": 0.45}, "0.45 s"),
    "motor off": ({"amplitude": 0, "change": lambda x: 0 * x}, "stood still"),
    "noise only": ({"amplitude": 0}, "no supply frequency"),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_healthy_recording_without_a_signature_is_refused_and_left_out_as_advised(motors, tmp_path, capsys, odd):
    how, word = ODD[odd]
    _motor(motors / "0_odd.csv", seed=7, **how)
    store = tmp_path / "store"
    assert main(["prepare", str(motors), "--out", str(store)]) == 1
    _one_line(capsys, ["0_odd.csv", word, "--skip-bad"])
    assert not store.exists()
    assert main(["prepare", str(motors), "--out", str(store), "--skip-bad"]) == 0
    assert [s.file for s in Store(store).skipped] == ["0_odd.csv"] and "0_odd.csv" in capsys.readouterr().out
    assert main(["prepare", str(motors), "--out", str(tmp_path / "two"), "--mask", "CH3"]) == 0  # nothing has one then


@pytest.mark.parametrize("odd", ODD)
def test_a_faulty_recording_without_a_signature_is_kept_and_noted(motors, tmp_path, capsys, odd):
    how, word = ODD[odd]
    _motor(motors / "1_odd.csv", seed=7, **how)
    assert main(["prepare", str(motors), "--out", str(tmp_path / "store")]) == 0
    (entry,) = [e for e in Store(tmp_path / "store").entries if e.name == "1_odd.csv"]
    assert any(word in note and "without physics" in note for note in entry.notes)
    assert "1_odd.csv" in capsys.readouterr().out


def test_a_folder_of_short_recordings_is_prepared_and_what_it_lacks_is_said_once(motors, tmp_path, capsys):
    for i, path in enumerate(sorted(motors.iterdir())):
        _motor(path, seconds=0.3, seed=i)
    assert main(["prepare", str(motors), "--out", str(tmp_path / "store")]) == 0
    out = capsys.readouterr().out
    assert "5 of 5 healthy recordings have no signature" in out and out.count("signature") == 2 and "notes" not in out
    for name in ("0_2", "0_3", "0_4"):
        (motors / f"{name}.csv").unlink()
    assert main(["prepare", str(motors), "--out", str(tmp_path / "two")]) == 0
    assert "too few windows" in capsys.readouterr().out  # what the heartbeat would have found out


def test_clipped_and_held_samples_and_levels_are_said_and_healthy_recordings_are_named(motors, tmp_path, capsys):
    def hold(x):
        x[1, 500:740] = x[1, 500]
        return x

    _motor(motors / "0_cut.csv", seed=20, change=lambda x: np.clip(x, -9, 0.8))
    _motor(motors / "0_stuck.csv", seed=21, change=hold)
    _motor(motors / "1_scale.csv", seed=22, amplitude=10)
    assert main(["prepare", str(motors), "--out", str(tmp_path / "store")]) == 0
    out = capsys.readouterr().out
    notes = {e.name: e.notes for e in Store(tmp_path / "store").entries}
    assert notes["0_cut.csv"][0].startswith("CH1 clipped at 0.8 in 2")
    assert notes["0_stuck.csv"] == ("CH2 held its value for 0.12 s at 0.25 s",)
    assert notes["1_scale.csv"] == ("CH1, CH2, CH3 at 10 times the level of the healthy recordings",)
    assert notes["0_0.csv"] == notes["1_0.csv"] == ()
    assert "0_cut.csv, 0_stuck.csv" in Store(tmp_path / "store").warnings["clipped or held"] and "0_cut.csv" in out


def test_a_folder_with_sensors_gone_wrong_is_scored_and_each_is_named(trained, raw, tmp_path, capsys):
    good = read(next(raw.glob("0_*.csv")))
    folder = tmp_path / "sensors"
    folder.mkdir()
    generator = np.random.default_rng(0)
    wrong = {name: good.signal.copy() for name in ("a_whole", "b_dead", "c_off", "d_large", "e_short", "f_noise")}
    wrong["b_dead"][2] = 0
    wrong["c_off"][:] = 0
    wrong["d_large"][:3] *= 3
    wrong["e_short"] = wrong["e_short"][:, : round(0.45 * good.fs)]
    wrong["f_noise"][2] = 0.01 * generator.normal(size=good.n_samples)
    for name, x in wrong.items():
        write_parquet(replace(good, signal=x), folder / f"{name}.parquet")
    assert main(["score", str(trained.path), str(folder), "--out", str(tmp_path / "scores")]) == 0
    with open(tmp_path / "scores" / "recordings.csv", newline="") as file:
        rows = {row["file"].removesuffix(".parquet"): row for row in csv.DictReader(file)}
    said = ["", "CH3 flat", "stood still", "at 3 times", "0.45 s", "CH3 at 0.0"]
    assert sorted(rows) == sorted(wrong) and rows["a_whole"]["notes"] == ""
    for name, word in zip(wrong, said):
        assert word in rows[name]["notes"] and np.isfinite(float(rows[name]["recording_score"]))
    assert rows["b_dead"]["alarm"] == rows["f_noise"]["alarm"] == "1"
    assert "stood still" in capsys.readouterr().out


def test_gaps_in_a_healthy_recording_are_no_alarm(trained, raw):
    scorer = open_scorer(trained.path)
    whole = next(r for r in read_folder(raw) if r.class_id == 0)
    threshold = scorer.point.rows["lab"].recording
    before = scorer.rows(whole)["lab"].recording_score
    gaps = whole.signal.copy()
    for start in range(400, whole.n_samples - 1000, 1000):
        gaps[:, start : start + 20] = np.nan
    lone = whole.signal.copy()
    lone[np.random.default_rng(0).random(lone.shape) < 0.05] = np.nan
    for signal in (gaps, lone):
        torn = replace(whole, signal=signal)
        scores = scorer.rows(torn)["lab"]
        assert scores.recording_score < max(threshold, before + 0.05)
        assert not unfit(torn)
    assert np.isnan(scorer.rows(replace(whole, signal=gaps))["lab"].score[405:415]).all()  # and a gap has no score
