"Folders as scopes, copies and people leave them, through the commands: what is said, what is left out, what goes on."

import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from timemoe_lab.cli import main
from timemoe_lab.data.readers import find_recordings, read, read_file, read_folder
from timemoe_lab.data.store import Store
from timemoe_lab.files import InputError, read_json, write_json

N = 1200


def _signal(seed, order=(0, 1, 2), level=1.0):
    "Three currents of 50 Hz at 1 kHz with noise, 1.2 s."
    angle = 2 * np.pi * 50 * np.arange(N) / 1000
    rows = np.array([np.cos(angle - 2 * np.pi * k / 3) for k in order])
    return (level * rows + 0.02 * np.random.default_rng(seed).normal(size=rows.shape)).round(4)


def _csv(path, signal, *, fs=1000, columns=("TIME", "CH1", "CH2", "CH3"), comma=",", point=".", encoding="utf-8"):
    known = dict(zip(("TIME", "CH1", "CH2", "CH3"), [np.arange(N) / fs, *signal]))
    rows = [comma.join(columns)] + [
        comma.join(repr(float(known[c][i])).replace(".", point) for c in columns) for i in range(N)
    ]
    path.write_text("\n".join(rows) + "\n", encoding=encoding)


@pytest.fixture
def folder(tmp_path):
    "Six healthy recordings and two faulty ones."
    raw = tmp_path / "raw data 전동기"
    raw.mkdir()
    for i in range(6):
        _csv(raw / f"0_{i}.csv", _signal(i))
    for i in range(2):
        _csv(raw / f"1_{i}.csv", _signal(10 + i, level=0.9))
    return raw


def _prepare(raw, out, capsys, *options):
    "Status, result and stderr of prepare."
    status = main(["prepare", str(raw), "--out", str(out), "--json", *options])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else None, told.err


def test_every_dialect_of_text_is_one_folder(folder, tmp_path, capsys):
    _csv(folder / "0 with a space.csv", _signal(20), encoding="utf-8-sig")
    _csv(folder / "0_전동기.csv", _signal(21), comma=";", point=",")
    _csv(folder / "0_tabs.tsv", _signal(22), comma="\t", encoding="utf-16")
    _csv(folder / "0_shuffled.csv", _signal(23), columns=("CH3", "TIME", "CH1", "CH2"))
    _csv(tmp_path / "plain.csv", _signal(25))
    (folder / "0_packed.csv.gz").write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    np.savez(folder / "0_array.npz", signal=_signal(24), fs=1000.0)
    (folder / "labels.csv").write_text("file,class_id\n0 with a space.csv,0\n", encoding="utf-8")
    status, result, _ = _prepare(folder, tmp_path / "store", capsys)
    assert status == 0 and result["recordings"] == 14 and result["channels"] == ["CH1", "CH2", "CH3"]
    assert result["notes"] == {"0_shuffled.csv": "columns put in order (were CH3, CH1, CH2)"}
    store = Store(tmp_path / "store")
    names = [e.name for e in store.entries]
    assert np.array_equal(store.signal(names.index("0_전동기.csv")), _signal(21).astype(np.float32))
    assert np.array_equal(store.signal(names.index("0_shuffled.csv")), _signal(23).astype(np.float32))


BAD = {
    "0_empty.csv": (lambda p: p.write_bytes(b""), "empty"),
    "0_rate.csv": (lambda p: _csv(p, _signal(30), fs=2000), "2000 Hz, not 1000 Hz"),
    "0_word.csv": (lambda p: p.write_text("TIME,CH1,CH2,CH3\n0,1,2,3\n0.001,1,x,3\n"), "row 3: CH2 is 'x'"),
    "0_cut.csv": (lambda p: p.write_text("TIME,CH1,CH2,CH3\n0,1,2,3\n0.001,1"), "row 3"),
    "0_lacks.csv": (lambda p: _csv(p, _signal(31), columns=("TIME", "CH1", "CH2")), "lacks CH3"),
    "0_twin.csv": (lambda p: shutil.copy(p.with_name("0_1.csv"), p), "the same samples as 0_1.csv"),
    "0_short.csv": (lambda p: p.write_text("TIME,CH1,CH2,CH3\n0,1,2,3\n0.001,1,2,4\n"), "2 samples"),
    "0_noise.mat": (lambda p: p.write_bytes(np.random.default_rng(0).bytes(500)), "MAT"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_file_is_named_and_can_be_left_out(folder, tmp_path, capsys, name):
    make, word = BAD[name]
    make(folder / name)
    status, result, said = _prepare(folder, tmp_path / "store", capsys)
    last = said.strip().splitlines()[-1]
    assert status == 1 and result is None and name in last and word in last and "--skip-bad" in last
    assert sorted(os.listdir(tmp_path)) == [folder.name]
    status, result, said = _prepare(folder, tmp_path / "store", capsys, "--skip-bad")
    assert status == 0 and result["recordings"] == 8
    assert list(result["skipped"]) == [name] and word in result["skipped"][name]


def test_many_bad_files_are_all_listed_and_the_rest_is_as_without_them(folder, tmp_path, capsys):
    _prepare(folder, tmp_path / "clean", capsys)
    for name, (make, _) in BAD.items():
        make(folder / name)
    status, result, _ = _prepare(folder, tmp_path / "store", capsys, "--skip-bad")
    assert status == 0 and set(result["skipped"]) == set(BAD)
    assert Store(tmp_path / "store").fingerprint == Store(tmp_path / "clean").fingerprint


def test_reversed_phases_are_said_and_swapped_on_demand(folder, tmp_path, capsys):
    _csv(folder / "0_6.csv", _signal(40, order=(0, 2, 1)))
    status, result, _ = _prepare(folder, tmp_path / "told", capsys)
    assert status == 0 and result["reversed_phases"] == ["0_6.csv"] and "--swap-phases" in result["hint"]
    status, result, _ = _prepare(folder, tmp_path / "swapped", capsys, "--swap-phases")
    assert status == 0 and result["phases_swapped_back"] == ["0_6.csv"]


def test_the_healthy_recording_least_like_the_others_is_named(folder, tmp_path, capsys):
    _csv(folder / "0_odd.csv", _signal(50) * [[1.0], [0.8], [1.0]])
    _, result, _ = _prepare(folder, tmp_path / "store", capsys)
    assert result["least_like_the_other_healthy"].startswith("0_odd.csv (")


def test_healthy_heads_stand_in_for_healthy_recordings(folder, tmp_path, capsys):
    for i in range(6):
        (folder / f"0_{i}.csv").unlink()
    rows = "".join(f"1_{i}.csv,1,{600 + i},900\n" for i in range(2))
    (folder / "labels.csv").write_text("file,class_id,fault_start,fault_end\n" + rows)
    status, _, said = _prepare(folder, tmp_path / "store", capsys)
    assert status == 1 and "--healthy-head" in said
    status, result, _ = _prepare(folder, tmp_path / "store", capsys, "--healthy-head", "500")
    store = Store(tmp_path / "store")
    assert status == 0 and [e.name for e in store.entries] == [
        "1_0_0-500.csv", "1_0_500-1200.csv", "1_1_0-500.csv", "1_1_500-1200.csv"
    ]  # fmt: skip
    assert store.entries[3].faults == ((101, 400),) and store.entries[2].class_id == 0


def test_verify_names_the_recording_of_a_flipped_byte(folder, tmp_path, capsys):
    _prepare(folder, tmp_path / "store", capsys)
    assert main(["verify", str(tmp_path / "store")]) == 0
    path = tmp_path / "store" / "blocks-000.bin"
    bytes_ = bytearray(path.read_bytes())
    bytes_[4 * 65_536 * 4 + 40] ^= 1  # the fifth block: second recording, second channel
    path.write_bytes(bytes_)
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "store"), "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert all(word in problem for word in ("blocks-000.bin", "block 4", "0_1.csv", "CH2"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_one_line(folder, tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    status, _, said = _prepare(folder, tmp_path / "locked" / "store", capsys)
    assert status == 1 and "ermission" in said and "Traceback" not in said


def test_a_raw_folder_that_can_only_be_read_is_read(folder, tmp_path, capsys):
    folder.chmod(0o500)
    try:
        assert _prepare(folder, tmp_path / "store", capsys)[0] == 0
    finally:
        folder.chmod(0o700)


def test_simulated_recordings_are_the_same_in_both_formats(tmp_path, capsys):
    what = [
        "--classes",
        "0,6",
        "--freqs",
        "60",
        "--loads",
        "50",
        "--reps",
        "1",
        "--healthy-reps",
        "1",
        "--seconds",
        "0.3",
    ]
    for form in ("csv", "parquet"):
        assert main(["simulate", str(tmp_path / form), *what, "--format", form, "--voltages", "--phases", "B"]) == 0
    for name in ("0_0000c60c50", "6_0001c60c50"):
        text, table = (read(tmp_path / form / f"{name}.{form}") for form in ("csv", "parquet"))
        assert text.fingerprint == table.fingerprint and text.channels[-3:] == ("V1", "V2", "V3")
        assert text.units == table.units and table.load_pct == 50


def test_bench_prints_its_ratios(tmp_path, capsys):
    path = tmp_path / "0_x.csv"
    _csv(path, _signal(0))
    assert main(["bench", "ingest", "--data", str(path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["ingest"]
    assert np.isclose(result["read_ratio"], result["pandas_ms"] / result["read_ms"], rtol=1e-3)


@pytest.mark.parametrize("command", ["score", "evaluate"])
def test_score_and_evaluate_go_on_without_a_bad_file(trained, raw, tmp_path, capsys, command):
    shutil.copytree(raw, tmp_path / "raw")
    (tmp_path / "raw" / "0_bad.csv").write_text("TIME,CH1\n0,1\n")
    shutil.copytree(trained.path, tmp_path / "run")
    where = [command, str(tmp_path / "run"), str(tmp_path / "raw"), "--json"]
    out = lambda name: ["--out", str(tmp_path / name)] if command == "score" else ["--rows", "lab"]
    assert main([*where, *out("a")]) == 1
    assert "0_bad.csv" in capsys.readouterr().err.splitlines()[-1]
    assert main([*where, *out("b"), "--skip-bad"]) == 0
    assert list(json.loads(capsys.readouterr().out)["skipped"]) == ["0_bad.csv"]


def test_reversed_phases_are_said_when_scoring(trained, raw, tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    path = next(raw.glob("0_*.csv"))
    shutil.copy(path, tmp_path / "raw")
    swapped = path.read_text().replace("CH2,CH3", "CH3,CH2")
    (tmp_path / "raw" / "swapped.csv").write_text(swapped)
    assert main(["score", str(trained.path), str(tmp_path / "raw"), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reversed_phases"] == ["swapped.csv"]


def test_what_a_healthy_head_trained_on_is_not_evaluated(tmp_path, capsys):
    raw, run = tmp_path / "raw", tmp_path / "run"
    raw.mkdir()
    rows = ["file,class_id,fault_start,fault_end"]
    for i in range(5):
        _csv(raw / f"1_{i}.csv", _signal(60 + i))
        rows.append(f"1_{i}.csv,1,{700 + i},900")
    (raw / "labels.csv").write_text("\n".join(rows))
    assert main(["prepare", str(raw), "--out", str(tmp_path / "store"), "--healthy-head", "600"]) == 0
    assert main(["train", str(tmp_path / "store"), "--out", str(run), "--steps", "3"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), str(raw), "--rows", "lab", "--json"]) == 0
    capsys.readouterr()
    store = Store(tmp_path / "store")
    seen = {path.stem for path in (run / "scores").glob("*.npz")}
    assert seen == {e.name.removesuffix(".csv") for e in store.entries if e.split == "test"}


def test_names_of_any_bytes_are_read_shown_escaped_and_found_again(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    names = [b"0_\xc1\xa4\xbb\xf3.csv", b"0_\x1b[31mred.csv", b"=1+1_0.csv", b"0_\xff.parquet", b"0_\xfe.csv.gz"]
    wave = np.random.default_rng(0).normal(size=(5, 300)).round(3)
    for name, x in zip(names, wave):
        path = Path(os.fsdecode(os.path.join(os.fsencode(raw), name)))
        if path.suffix == ".parquet":
            with open(path, "wb") as file:
                pa.parquet.write_table(pa.table({"time": np.arange(300) / 1000, "a": x}), file)
        else:
            text = ("time,a\n" + "".join(f"{i / 1000:.3f},{v}\n" for i, v in enumerate(x))).encode()
            path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    found = {r.name: r for r in read_folder(raw)}
    shown = {r"0_\xc1\xa4\xbb\xf3.csv", r"0_\x1b[31mred.csv", r"\x3d1+1_0.csv", r"0_\xff.parquet", r"0_\xfe.csv.gz"}
    assert set(found) == shown
    again = {r.name: r for r in find_recordings(raw, shown, fs=None, healthy_head=None)}
    assert all(np.array_equal(again[n].signal, found[n].signal) for n in shown)
    write_json(tmp_path / "a.json", {"name": os.fsdecode(names[0])})
    assert read_json(tmp_path / "a.json")["name"] == os.fsdecode(names[0])  # a path in a file of JSON comes back
    with pytest.raises(InputError) as error:
        read_file(raw / os.fsdecode(b"0_\xfd\x1b.csv"))
    assert r"0_\xfd\x1b.csv: no such file" in str(error.value)
