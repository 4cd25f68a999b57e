"The block store: what goes in comes out, whatever interrupts it; what is damaged is named; windows are plain slices."

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from timemoe_lab.bench import bench_store
from timemoe_lab.cli import main
from timemoe_lab.config import DataConfig, tiny
from timemoe_lab.data.ingest import Stopped, prepare_folder, write_store
from timemoe_lab.data.readers import read_folder
from timemoe_lab.data.recording import Recording
from timemoe_lab.data.series import SeriesFolder
from timemoe_lab.data.store import BLOCK, SPLIT_CODES, Store, verify_store
from timemoe_lab.files import InputError, UsageError, read_json, write_json
from timemoe_lab.run.folder import RunFolder, frame_of, start_run

ingest_room = import_module("timemoe_lab.data.ingest")
readers_room = import_module("timemoe_lab.data.readers")
store_room = import_module("timemoe_lab.data.store")

FIXTURE = Path(__file__).parent / "fixtures" / "binary_dataset"
CURRENTS = ("CH1", "CH2", "CH3")
GAPS = {2: [(20, 90)]}  # samples that are missing from a file of `folder`


def write_file(path, n=600, channels=("CH1", "CH2"), seed=0, fs=1000.0, gap=(), change=None):
    "A CSV of random numbers, its channels always in the same order of drawing."
    generator = np.random.default_rng(seed)
    x = {c: generator.normal(size=n).round(3).astype(np.float32) for c in sorted(channels)}
    for start, end in gap:
        x[channels[0]][start:end] = np.nan
    if change:
        change(x)
    columns = {"TIME": np.arange(n) / fs} | {c: x[c] for c in channels}
    pa.csv.write_csv(pa.table(columns), path)
    return np.stack([x[c] for c in sorted(channels)])


@pytest.fixture
def folder(tmp_path):
    "Five healthy recordings and one fault; two of them longer than a block, one with a gap, one with shuffled columns."
    raw = tmp_path / "raw"
    raw.mkdir()
    for i, n in enumerate((700, BLOCK + 9, 600, 650, BLOCK)):
        write_file(raw / f"0_{i}.csv", n, seed=i, gap=GAPS.get(i, ()), channels=("CH2", "CH1")[:: -1 if i - 3 else 1])
    write_file(raw / "1_5.csv", seed=5)
    return raw


def staging(out):
    return out.with_name(f".{out.name}.partial")


def same_bytes(a, b):
    names = [sorted(p.name for p in Path(x).iterdir()) for x in (a, b)]
    return names[0] == names[1] and all((Path(a) / n).read_bytes() == (Path(b) / n).read_bytes() for n in names[0])


def living_helpers():
    "The processes that this one has started and that live; joblib's tracker, which stays, is none."
    living = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    return {p for p in living if "resource_tracker" not in " ".join(p.cmdline())}


def living_readers():
    "Threads that read."
    return [t for t in threading.enumerate() if t.name.startswith("prepare")]


# What goes in comes out

sample = st.one_of(st.floats(-1e3, 1e3, width=32), st.just(float("nan")))


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from([2, 5, 700, BLOCK - 1, BLOCK, BLOCK + 1]), min_size=2, max_size=4),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, BLOCK), st.integers(1, 300)), max_size=3),
    st.data(),
)
def test_what_is_written_is_read_back_and_windows_are_slices(tmp_path_factory, lengths, n_channels, gaps, data):
    generator = np.random.default_rng(len(lengths))
    names = tuple(f"CH{c + 1}" for c in range(n_channels))
    signals = [generator.normal(size=(n_channels, n)).astype(np.float32) for n in lengths]
    for i, x in enumerate(signals):
        for start, size in gaps:
            x[start % n_channels, start : start + size] = np.nan
        x[:, :1] = 1.0 + i  # something to score; no two recordings are the same
    like = {"channels": names, "units": ("A",) * n_channels, "roles": ("other",) * n_channels}  # noise is no motor
    recordings = [Recording(f"0_{i}.csv", x, 50.0, class_id=0, **like) for i, x in enumerate(signals)]
    path = tmp_path_factory.mktemp("store") / "s"
    store = write_store(path, recordings, where="here")
    for i, (x, recording) in enumerate(zip(signals, recordings)):
        assert np.array_equal(store.signal(i), x, equal_nan=True)
        assert store.recording(i).fingerprint == recording.fingerprint == store.entries[i].fingerprint
        assert store.entries[i].n_missing == np.isnan(x).sum()
    length = data.draw(st.integers(1, min(lengths)))
    asked = [
        (r, data.draw(st.integers(0, n_channels - 1)), data.draw(st.integers(0, lengths[r] - length)))
        for r in data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=5))
    ]
    got = store.windows(*map(np.array, zip(*asked)), length)
    want = np.stack([signals[r][c, s : s + length] for r, c, s in asked])
    assert np.array_equal(got, want, equal_nan=True) and got.dtype == np.float32
    assert np.array_equal(store.window(*asked[0], length), want[0], equal_nan=True)
    assert verify_store(path) == []


def test_a_folder_is_read_back_with_its_channels_in_one_order(folder, tmp_path):
    store = prepare_folder(folder, tmp_path / "store")
    assert store.channels == ("CH1", "CH2") and [e.name for e in store.entries] == sorted(
        p.name for p in folder.iterdir()
    )
    for i, n in enumerate((700, BLOCK + 9, 600, 650, BLOCK, 600)):
        want = write_file(tmp_path / "again.csv", n, seed=i, gap=GAPS.get(i, ()))
        assert np.array_equal(store.signal(i), want, equal_nan=True)
    assert [bool(e.notes) for e in store.entries] == [
        False,
        False,
        False,
        True,
        False,
        False,
    ]  # the shuffled one says so
    assert [e.n_missing for e in store.entries] == [0, 0, 70, 0, 0, 0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.csv", "raw", "store"]


def test_the_table_holds_what_the_entries_say(folder, tmp_path):
    store = prepare_folder(folder, tmp_path / "store", mask=("CH2",))
    for row in store.series:
        entry = store.entries[row["recording"]]
        assert (row["n_samples"], row["class_id"], row["fs"]) == (entry.n_samples, entry.class_id, 1000)
        assert SPLIT_CODES[row["split"]] == entry.split and np.isnan(row["supply_hz"])
        assert (row["mean"], row["std"]) == (store.scale.mean[row["channel"]], store.scale.std[row["channel"]])
        blocks = np.fromfile(store.path / "blocks-000.bin", "<f4").reshape(-1, BLOCK)[row["block"] :][: row["n_blocks"]]
        want = store.signal(row["recording"])[row["channel"]]
        assert np.array_equal(blocks.ravel()[: len(want)], want, equal_nan=True)
        assert np.isnan(blocks.ravel()[len(want) :]).all()
    trained = [np.concatenate([store.signal(i)[c] for i in store.members("train")]) for c in (0, 1)]
    assert np.allclose(store.scale.mean, [np.nanmean(x) for x in trained], rtol=0, atol=1e-6)
    assert np.allclose(store.scale.std, [np.nanstd(x) for x in trained], rtol=1e-6)


@pytest.mark.parametrize("workers", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_bytes_are_the_same_whatever_the_number_of_readers(folder, tmp_path, workers):
    told = []
    others = living_helpers()  # another file's test may have left a server of its own
    (folder / "0_bad.csv").write_text("no numbers")
    prepare_folder(folder, tmp_path / "one", skip_bad=True)
    prepare_folder(folder, tmp_path / "many", skip_bad=True, workers=workers, progress=told.append)
    assert same_bytes(tmp_path / "one", tmp_path / "many")
    assert told == sorted(p.name for p in folder.iterdir())
    assert not living_readers() and living_helpers() <= others


@pytest.mark.slow
@settings(max_examples=4)
@given(st.lists(st.tuples(st.integers(2, 3000), st.integers(0, 2000)), min_size=2, max_size=5))
def test_bytes_are_the_same_for_any_folder_and_number_of_processes(tmp_path_factory, files):
    place = tmp_path_factory.mktemp("any")
    (place / "raw").mkdir()
    for i, (n, start) in enumerate(files):
        write_file(place / "raw" / f"0_{i}.csv", n, seed=i, gap=[(start, start + 50)])
    for workers in (1, 2):
        prepare_folder(place / "raw", place / f"{workers}", workers=workers)
    assert same_bytes(place / "1", place / "2")


def test_recordings_in_memory_and_files_give_the_same_store(folder, tmp_path):
    store = write_store(tmp_path / "memory", read_folder(folder), where=str(folder))
    files = prepare_folder(folder, tmp_path / "files")
    assert store.fingerprint == files.fingerprint
    assert (store.path / "blocks-000.bin").read_bytes() == (files.path / "blocks-000.bin").read_bytes()


def test_a_reader_imports_no_torch():
    code = "import sys, timemoe_lab.data.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT).returncode == 0


ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


# Recordings that can't be used

BAD = {
    "unreadable": (lambda p: p.write_bytes(b""), "empty"),
    "cut off": (lambda p: p.write_bytes(p.read_bytes()[:-14]), "cut off"),
    "another rate": (lambda p: write_file(p, seed=50, fs=500.0), "500 Hz"),
    "another channel": (lambda p: write_file(p, seed=50, channels=("CH1", "CH9")), "CH2"),
    "too short": (lambda p: write_file(p, n=100, seed=50), "100 samples"),
    "a twin": (lambda p: shutil.copy(p.with_name("0_0.csv"), p), "the same samples as 0_0.csv"),
    "a twin with shuffled columns": (
        lambda p: write_file(p, 700, seed=0, channels=("CH2", "CH1")),
        "the same samples as 0_0.csv",
    ),
    "nothing but missing samples": (
        lambda p: write_file(p, seed=50, change=lambda x: [v.fill(np.nan) for v in x.values()]),
        "nothing to score",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_recording_stops_the_run_or_is_left_out(folder, tmp_path, fault):
    make, words = BAD[fault]
    bad = folder / "0_z 모터.csv"
    write_file(bad, seed=50)
    make(bad)
    options = {"fits": DataConfig(context=256)}
    with pytest.raises(InputError, match=words) as raised:
        prepare_folder(folder, tmp_path / "store", **options)
    assert bad.name in str(raised.value) and "--skip-bad" in str(raised.value) and "\n" not in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]
    store = prepare_folder(folder, tmp_path / "store", skip_bad=True, **options)
    assert [s.file for s in store.skipped] == [bad.name] and words in store.skipped[0].problem
    bad.unlink()
    without = prepare_folder(folder, tmp_path / "without", **options)
    assert without.fingerprint == store.fingerprint and without.skipped == ()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_first_bad_file_by_name_is_told(folder, tmp_path, workers):
    for name in ("0_y.csv", "0_x.csv"):
        (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match="0_x.csv"):
        prepare_folder(folder, tmp_path / "store", workers=workers)
    both = prepare_folder(folder, tmp_path / "store", skip_bad=True).skipped
    assert [s.file for s in both] == ["0_x.csv", "0_y.csv"]


def test_the_rate_of_most_recordings_counts_not_of_the_first(folder, tmp_path):
    write_file(folder / "0_.csv", seed=60, fs=250.0)
    store = prepare_folder(folder, tmp_path / "store", skip_bad=True)
    assert store.fs == 1000 and [s.file for s in store.skipped] == ["0_.csv"]


def test_a_folder_of_bad_files_only_says_so(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "0_a.csv").write_bytes(b"")
    with pytest.raises(InputError, match="0_a.csv.*empty"):
        prepare_folder(tmp_path / "raw", tmp_path / "store", skip_bad=True)
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_an_unknown_mask_is_misuse_even_when_bad_files_are_skipped(folder, tmp_path):
    with pytest.raises(UsageError, match="CH9.*CH1, CH2"):
        prepare_folder(folder, tmp_path / "store", mask=("CH9",), skip_bad=True)


def test_a_file_that_may_not_be_read_is_named(folder, tmp_path, monkeypatch):
    def refuse(path, *arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(ingest_room, "labelled", refuse)
    with pytest.raises(InputError, match=r"0_0\.csv: can't be read \(Permission denied\)"):
        prepare_folder(folder, tmp_path / "store")


def test_labels_and_a_healthy_head_give_two_recordings(folder, tmp_path):
    (folder / "labels.csv").write_text("file,class_id,fault_start,fault_end\n1_5.csv,1,400,500\n")
    store = prepare_folder(folder, tmp_path / "store", healthy_head=300)
    found = {e.name: e for e in store.entries}
    assert found["1_5_0-300.csv"].class_id == 0 and found["1_5_300-600.csv"].faults == ((100, 200),)
    assert found["0_0.csv"].n_samples == 700 and len(found) == 7 and store.healthy_head == 300
    whole = prepare_folder(folder, tmp_path / "whole")
    at = {e.name: i for i, e in enumerate(store.entries)}
    assert np.array_equal(store.signal(at["1_5_0-300.csv"]), whole.signal(5)[:, :300])
    with pytest.raises(InputError, match="1_5.csv.*fault.*400"):
        prepare_folder(folder, tmp_path / "late", healthy_head=450)
    late = prepare_folder(folder, tmp_path / "late", healthy_head=450, skip_bad=True)
    assert [s.file for s in late.skipped] == ["1_5.csv"]


def test_the_oddest_healthy_recording_is_named(folder, tmp_path):
    write_file(folder / "0_odd.csv", seed=70, change=lambda x: [v.__imul__(20) for v in x.values()])
    store = prepare_folder(folder, tmp_path / "store")
    assert store.oddest.name == "0_odd.csv" and store.oddest.ratio > 3


def three_phases(n=4000, order=(0, 1, 2), seed=0, fs=1000.0):
    time_s = np.arange(n) / fs
    generator = np.random.default_rng(seed)
    x = [np.sin(2 * np.pi * (50 * time_s - k / 3)) for k in order]
    return (np.stack(x) + 0.01 * generator.normal(size=(3, n))).astype(np.float32)


def phase_recordings(backwards=()):
    signals = [three_phases(order=(0, 2, 1) if i in backwards else (0, 1, 2), seed=i) for i in range(5)]
    return [Recording(f"0_{i}.csv", x, 1000.0, CURRENTS, ("A",) * 3, 0) for i, x in enumerate(signals)]


def test_phases_that_run_backwards_are_marked_and_virtual_channels_have_a_scale(tmp_path):
    store = write_store(tmp_path / "plain", phase_recordings(backwards=(2,)), where="here")
    assert [e.reversed for e in store.entries] == [False, False, True, False, False]
    swapped = write_store(
        tmp_path / "swapped", phase_recordings(backwards=(0, 1, 2, 3, 4)), where="h", swap_phases=True
    )
    right = write_store(tmp_path / "right", phase_recordings(), where="h")
    assert np.array_equal(swapped.signal(0), three_phases(order=(0, 2, 1), seed=0))  # as it was read
    assert np.allclose(swapped.virtual_scale.mean, right.virtual_scale.mean, atol=1e-3)
    assert swapped.virtual_scale.mean[0] == pytest.approx(1, abs=0.01)  # Park's modulus of three unit currents
    frame = swapped.frame(DataConfig(virtual=True))
    assert len(frame.series) == len(frame.scale.mean) == 6 and frame.swap_phases
    assert swapped.frame(DataConfig()).series == CURRENTS and swapped.frame(DataConfig()).scale == swapped.scale
    with pytest.raises(UsageError, match="CH2 is masked"):
        write_store(tmp_path / "m", phase_recordings(), where="h", mask=("CH2",)).frame(DataConfig(virtual=True))
    two = [replace(r, signal=r.signal[:2], channels=CURRENTS[:2], units=("A", "A")) for r in phase_recordings()]
    with pytest.raises(UsageError, match="no three phase currents"):
        write_store(tmp_path / "two", two, where="h").frame(DataConfig(virtual=True))


NAMES = ("cDAQ1Mod1_ai0", "cDAQ1Mod1_ai1", "cDAQ1Mod1_ai2")


def test_roles_make_phases_of_channels_whatever_they_are_called(tmp_path):
    roles = ("current 2", "current 3", "current 1")
    order = [1, 2, 0]
    named = phase_recordings(backwards=(2,))
    told = [replace(r, signal=r.signal[order], channels=NAMES, roles=roles) for r in named]
    by_name = write_store(tmp_path / "named", named, where="h")
    store = write_store(tmp_path / "told", told, where="h")
    assert store.roles == roles and store.recording(0).roles == roles
    assert [e.reversed for e in store.entries] == [False, False, True, False, False]
    assert np.allclose(store.virtual_scale.mean, by_name.virtual_scale.mean)
    frame = store.frame(DataConfig(virtual=True))
    assert frame.phases == (2, 0, 1) and frame.series == (*NAMES, "PARK", "INEG", "IZERO")
    assert "roles" not in read_json(by_name.path / "index.json") and by_name.roles == ()
    other = [replace(r, roles=()) for r in told]
    untold = write_store(tmp_path / "untold", other, where="h")
    assert untold.fingerprint != store.fingerprint and untold.entries[0].reversed is None
    with pytest.raises(UsageError, match="no three phase currents"):
        untold.frame(DataConfig(virtual=True))


def test_a_run_keeps_the_roles_of_its_store(tmp_path):
    roles = ("current 1", "current 2", "current 3")
    store = write_store(
        tmp_path / "s", [replace(r, channels=NAMES, roles=roles) for r in phase_recordings()], where="h"
    )
    run = start_run(tmp_path / "run", store, tiny())
    assert frame_of(RunFolder(run.path)).phases == (0, 1, 2) == frame_of(run).phases
    assert run.config.data.scope == "window"  # as with three currents that are known by name
    facts = read_json(run.path / "config.json")
    del facts["roles"]  # a run of an earlier version
    write_json(run.path / "config.json", facts)
    assert frame_of(RunFolder(run.path)).roles == ()


def shaft_folder(folder, pole_pairs, n=6):
    "Files of three currents at 50 Hz with the lines of a shaft at 3 % slip; four of them healthy."
    folder.mkdir()
    time_s = np.arange(4000) / 2000
    shaft = 2 * np.pi * 50 / pole_pairs * 0.97 * time_s
    for i in range(n):
        rows = [np.cos(2 * np.pi * (50 * time_s - k / 3)) * (1 + 0.01 * np.cos(shaft)) for k in range(3)]
        rows = np.array(rows) + 0.005 * np.random.default_rng(i).normal(size=(3, 4000))
        np.savetxt(
            folder / f"{int(i > 3)}_{i}.csv",
            np.column_stack([time_s, rows.T]),
            fmt="%.6f",
            delimiter=",",
            header="time,Ia,Ib,Ic",
            comments="",
        )
    return folder


@pytest.mark.parametrize("pole_pairs", [2, 3])
def test_pole_pairs_are_estimated_or_told_and_reach_the_run(tmp_path, pole_pairs, capsys):
    raw = shaft_folder(tmp_path / "raw", pole_pairs)
    assert main(["prepare", str(raw), "--out", str(tmp_path / "estimated")]) == 0
    assert f"pole_pairs: {pole_pairs}, estimated from rotor lines of 4 recordings" in capsys.readouterr().out
    assert main(["prepare", str(raw), "--out", str(tmp_path / "told"), "--pole-pairs", "5"]) == 0
    assert "pole_pairs: 5, given" in capsys.readouterr().out
    estimated, told = (Store(tmp_path / name) for name in ("estimated", "told"))
    assert (estimated.pole_pairs, told.pole_pairs) == (pole_pairs, 5)
    assert estimated.frame(DataConfig()).pole_pairs == pole_pairs and told.frame(DataConfig()).pole_pairs == 5
    assert told.frame(DataConfig(pole_pairs=4)).pole_pairs == 4  # train --pole-pairs
    config = replace(tiny(), data=replace(tiny().data, pole_pairs=4))
    runs = [start_run(tmp_path / "a", told, tiny()), start_run(tmp_path / "b", told, config)]
    assert [frame_of(RunFolder(run.path)).pole_pairs for run in runs] == [5, 4]
    facts = read_json(runs[0].path / "config.json")
    del facts["pole_pairs"], facts["config"]["data"]["pole_pairs"]  # a run of an earlier version
    write_json(runs[0].path / "config.json", facts)
    assert frame_of(RunFolder(runs[0].path)).pole_pairs == 2


def renamed(folder, heading):
    "The files of a folder with another heading."
    for path in folder.iterdir():
        path.write_text(heading + path.read_text()[len("time,Ia,Ib,Ic") :])
    return folder


def test_phases_are_found_by_their_waveform_once_for_a_folder(tmp_path, capsys, monkeypatch):
    named = shaft_folder(tmp_path / "named", 3)
    raw = renamed(shaft_folder(tmp_path / "raw", 3), "time,ai0,ai1,ai2")
    assert main(["prepare", str(named), "--out", str(tmp_path / "a")]) == 0
    assert "phases: Ia, Ib, Ic, by their names" in capsys.readouterr().out
    assert main(["prepare", str(raw), "--out", str(tmp_path / "b")]) == 0
    said = capsys.readouterr().out
    assert "phases: ai0, ai1, ai2, by their waveform (50.0 Hz, 0, -120, 120 degrees)" in said
    assert "pole_pairs: 3, estimated" in said
    by_name, store = Store(tmp_path / "a"), Store(tmp_path / "b")
    assert store.roles == ("current 1", "current 2", "current 3") and by_name.roles == ()
    assert store.virtual_scale == by_name.virtual_scale and store.scale == by_name.scale
    assert [e.reversed for e in store.entries] == [False] * 6 and store.phases == (0, 1, 2)
    assert {"roles", "roles_from"} & set(read_json(by_name.path / "index.json")) == set()
    again = count_reads(monkeypatch)
    prepare_folder(named, tmp_path / "c")
    assert len(again) == 6  # names need no second look
    prepare_folder(raw, tmp_path / "d")
    assert same_bytes(tmp_path / "b", tmp_path / "d")


def test_a_folder_without_phases_is_told_what_it_loses(tmp_path, capsys):
    raw = renamed(shaft_folder(tmp_path / "raw", 3), "time,x,speed (rpm),z")
    assert main(["prepare", str(raw), "--out", str(tmp_path / "store")]) == 0
    said = capsys.readouterr().out
    assert "phases: no three phase currents found among x, speed, z: physics, Park's vector and phase order" in said
    assert "pole_pairs" not in said and Store(tmp_path / "store").phases is None


def test_pole_pairs_that_nobody_knows_are_assumed_and_said(tmp_path, capsys):
    raw = shaft_folder(tmp_path / "raw", 7)  # more than are looked for
    assert main(["prepare", str(raw), "--out", str(tmp_path / "store")]) == 0
    assert "pole_pairs: 2, assumed; give --pole-pairs" in capsys.readouterr().out
    store = Store(tmp_path / "store")
    assert store.pole_pairs is None and store.frame(DataConfig()).pole_pairs == 2
    assert "pole_pairs" not in read_json(store.path / "index.json")
    with pytest.raises(UsageError, match="pole_pairs=0: expected 1 to 100"):
        DataConfig(pole_pairs=0)
    with pytest.raises(SystemExit):
        main(["prepare", str(raw), "--out", str(tmp_path / "other"), "--pole-pairs", "0"])


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        (("current 1",), "1 for 3 channels"),
        (("current 1", "current", "other"), "'current', expected one of current 1"),
        (("flux", "other", "flux"), "two channels are flux"),
    ],
)
def test_roles_that_make_no_sense_are_refused(roles, problem):
    with pytest.raises(ValueError, match=problem):
        replace(phase_recordings()[0], roles=roles)
    assert replace(phase_recordings()[0], roles=("other", "other", "")).roles


def test_roles_go_with_their_channels_and_the_first_recordings_hold_for_all(tmp_path):
    roles = ("current 1", "current 2", "current 3")
    first, *others = [replace(r, channels=NAMES, roles=roles) for r in phase_recordings()]
    odd = replace(others[0], signal=others[0].signal[::-1], channels=NAMES[::-1], roles=roles[::-1])
    alike = [replace(r, roles=(*roles[:2], "")) for r in others[1:2]]
    store = write_store(tmp_path / "s", [first, odd, *others[1:]], where="h")
    assert store.channels == NAMES and store.roles == roles
    assert {r.roles for r in map(store.recording, range(5))} == {roles}
    with pytest.raises(InputError, match="h/0_2.csv: its phase currents are not known, those of 0_0.csv cDAQ1Mod1_ai0"):
        write_store(tmp_path / "t", [first, odd, *alike], where="h")
    assert not (tmp_path / "t").exists()


def test_moments_of_a_long_recording_are_those_of_its_pieces(tmp_path, monkeypatch):
    whole = write_store(tmp_path / "whole", phase_recordings((1,)), where="here", swap_phases=True)
    monkeypatch.setattr(ingest_room, "SPAN", 1500)
    cut = write_store(tmp_path / "cut", phase_recordings((1,)), where="here", swap_phases=True)
    assert np.allclose(cut.scale.std, whole.scale.std, rtol=1e-9)
    assert np.allclose(cut.virtual_scale.mean, whole.virtual_scale.mean, rtol=0.02, atol=2e-3)


# Interruptions

DRIVER = """
import os, signal, sys
from pathlib import Path
from importlib import import_module

store = import_module("timemoe_lab.data.ingest")

raw, out, point, count = sys.argv[1:]
left = [int(count)]


def die_at(place, name, before=lambda *a: None, after=False):
    real = getattr(place, name)

    def call(*arguments, **options):
        left[0] -= 1
        result = None
        if left[0] == 0 and not after:
            before(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **options)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(place, name, call)


def half(file, x):
    file.write(b"half of it")
    file.flush()


def move(self, target):
    if self.name == "store":
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace(self, target)
        if left[0] == -1 or point == "after the rename":
            os.kill(os.getpid(), signal.SIGKILL)
    os.replace(self, target) if self.exists() else None
    return target


{
    "in an NPY file": lambda: die_at(store.np, "save", half),
    "before a record": lambda: die_at(store, "_save_parts"),
    "in the merge": lambda: die_at(store, "_load"),
    "before the index": lambda: die_at(store, "_write_index"),
    "after the index": lambda: die_at(store, "_write_index", after=True),
    "before the rename": lambda: setattr(Path, "replace", move),
    "after the rename": lambda: setattr(Path, "replace", move),
}[point]()
store.prepare_folder(raw, out)
"""
POINTS = [
    ("in an NPY file", 1, 6),
    ("in an NPY file", 3, 4),
    ("before a record", 4, 3),
    ("in the merge", 1, 0),
    ("in the merge", 4, 0),
    ("before the index", 1, 0),
    ("after the index", 1, 0),
    ("before the rename", 1, 0),
]


def count_reads(monkeypatch):
    "A list that grows with each file that is read."
    read, real = [], readers_room.labelled
    monkeypatch.setattr(ingest_room, "labelled", lambda path, *a, **o: read.append(path.name) or real(path, *a, **o))
    return read


def kill(raw, out, point, count):
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, raw, out, point, str(count)], env=ENVIRONMENT, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize(("point", "count", "n_reads"), POINTS)
def test_a_killed_prepare_goes_on_to_the_same_bytes(folder, tmp_path, monkeypatch, point, count, n_reads):
    prepare_folder(folder, tmp_path / "whole")
    kill(folder, tmp_path / "store", point, count)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".store.partial", "raw", "whole"]
    read = count_reads(monkeypatch)
    prepare_folder(folder, tmp_path / "store")
    assert len(read) == n_reads and same_bytes(tmp_path / "store", tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw", "store", "whole"]


def test_a_prepare_that_was_killed_after_its_end_leaves_a_whole_store(folder, tmp_path):
    kill(folder, tmp_path / "store", "after the rename", 99)
    assert verify_store(tmp_path / "store") == []
    with pytest.raises(UsageError, match="isn't empty"):
        prepare_folder(folder, tmp_path / "store")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw", "store"]  # what was left is swept up


@pytest.mark.parametrize("torn", ["NPY emptied", "NPY flipped", "NPY gone", "record flipped", "record gone"])
def test_a_torn_part_is_read_again(folder, tmp_path, monkeypatch, torn):
    prepare_folder(folder, tmp_path / "whole")
    kill(folder, tmp_path / "store", "in the merge", 3)
    parts = staging(tmp_path / "store")
    victim = sorted(parts.glob("*.parts" if "record" in torn else "*.npy"))[2]
    if "gone" in torn:
        victim.unlink()
    else:
        said = victim.read_bytes()
        victim.write_bytes(b"" if "emptied" in torn else said[:-99] + bytes([said[-99] ^ 1]) + said[-98:])
    read = count_reads(monkeypatch)
    prepare_folder(folder, tmp_path / "store")
    assert len(read) == 1 and same_bytes(tmp_path / "store", tmp_path / "whole")


def change_in_silence(path):
    "Other numbers in a file that looks as it did."
    before = path.stat()
    path.write_text(path.read_text().replace(",0.", ",1."))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


CHANGES = {
    "a file": lambda raw: write_file(raw / "0_2.csv", 610, seed=99),
    "a file of the same size": lambda raw: (raw / "0_2.csv").write_text(
        (raw / "0_2.csv").read_text().replace(",0.", ",1.")
    ),
    "a file of the same size and time": lambda raw: change_in_silence(raw / "0_2.csv"),
    "its label": lambda raw: (raw / "labels.csv").write_text("file,class_id\n0_2.csv,3\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_while_it_was_interrupted_is_read_again(folder, tmp_path, monkeypatch, change):
    kill(folder, tmp_path / "store", "in the merge", 3)
    CHANGES[change](folder)
    prepare_folder(folder, tmp_path / "whole")
    read = count_reads(monkeypatch)
    prepare_folder(folder, tmp_path / "store")
    assert read == ["0_2.csv"] and same_bytes(tmp_path / "store", tmp_path / "whole")


def test_what_was_only_touched_or_copied_is_not_read_again(folder, tmp_path, monkeypatch):
    prepare_folder(folder, tmp_path / "whole")
    kill(folder, tmp_path / "store", "in the merge", 3)
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    read = count_reads(monkeypatch)

    shutil.copytree(staging(tmp_path / "store"), staging(tmp_path / "copied"))
    prepare_folder(folder, tmp_path / "store")
    copied = shutil.copytree(folder, tmp_path / "copy")
    prepare_folder(copied, tmp_path / "copied")
    assert read == [] and same_bytes(tmp_path / "store", tmp_path / "whole")


def test_some_files_of_a_folder_make_a_store_of_their_own(folder, tmp_path):
    some = sorted(p.name for p in folder.iterdir())[:4]
    assert [e.name for e in prepare_folder(folder, tmp_path / "some", files=some).entries] == some


def test_options_that_change_what_was_read_read_it_again(folder, tmp_path, monkeypatch):
    kill(folder, tmp_path / "store", "in the merge", 3)
    shutil.copytree(staging(tmp_path / "store"), staging(tmp_path / "other"))
    read = count_reads(monkeypatch)
    prepare_folder(folder, tmp_path / "other", mask=("CH1",), seed=7)
    assert read == []
    prepare_folder(folder, tmp_path / "store", swap_phases=True)
    assert len(read) == 6


def test_a_full_disk_keeps_what_was_read_and_bad_data_does_not(folder, tmp_path, monkeypatch):
    prepare_folder(folder, tmp_path / "whole")
    saved, real = [], np.save

    def full(file, x):
        saved.append(file)
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, x)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(OSError, match="No space"):
            prepare_folder(folder, tmp_path / "store")
    assert staging(tmp_path / "store").is_dir() and not (tmp_path / "store").exists()
    read = count_reads(monkeypatch)
    prepare_folder(folder, tmp_path / "store")
    assert len(read) == 4 and same_bytes(tmp_path / "store", tmp_path / "whole")


def test_recordings_in_memory_leave_nothing_when_interrupted(tmp_path):
    def interrupted():
        yield from phase_recordings()[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "store", interrupted(), where="here")
    assert not list(tmp_path.iterdir())


HOLDER = """
import sys, time
from timemoe_lab.data.ingest import prepare_folder
prepare_folder(*sys.argv[1:3], progress=lambda name: (print(name, flush=True), time.sleep(60)))
"""


def test_a_second_prepare_is_kept_away_until_the_first_has_ended(folder, tmp_path):
    out = tmp_path / "store"
    first = subprocess.Popen([sys.executable, "-c", HOLDER, folder, out], env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert first.stdout.readline()
    with pytest.raises(UsageError, match=rf"another prepare \(process {first.pid}\)"):
        prepare_folder(folder, out)
    assert staging(out).is_dir() and first.poll() is None
    first.kill()
    first.communicate()
    assert len(prepare_folder(folder, out).entries) == 6  # its lock is stale


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    "A folder that two read for about a second, and its store."
    raw = tmp_path_factory.mktemp("many") / "raw"
    raw.mkdir()
    for i in range(16):
        write_file(raw / f"0_{i:02d}.csv", 60_000, seed=i, channels=("CH1", "CH2", "CH3", "CH4"))
    return raw, prepare_folder(raw, raw.with_name("whole")).path


WORKERS = """
import signal, sys
from timemoe_lab.data.ingest import prepare_folder
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and hand that on
if sys.argv[3] == "as Ctrl-C":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    prepare_folder(*sys.argv[1:3], workers=2)
except KeyboardInterrupt:
    sys.exit(3)
"""


@pytest.mark.parametrize(
    ("how", "handler", "status"),
    [
        (signal.SIGKILL, "", -signal.SIGKILL),
        (signal.SIGINT, "", 3),
        (signal.SIGTERM, "as Ctrl-C", 3),
        pytest.param(signal.SIGTERM, "", -signal.SIGTERM, marks=pytest.mark.slow),
    ],
    ids=["killed", "Ctrl-C", "terminated as Ctrl-C", "terminated"],
)
def test_readers_end_with_their_process_and_the_rest_is_read_later(many, tmp_path, monkeypatch, how, handler, status):
    out, (raw, whole) = tmp_path / "store", many
    process = subprocess.Popen(
        [sys.executable, "-c", WORKERS, raw, out, handler],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    while len(list(staging(out).glob("*.parts"))) < 3:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    helpers = psutil.Process(process.pid).children(recursive=True)
    start = time.monotonic()
    os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)  # Ctrl-C reaches the whole group
    gone, alive = psutil.wait_procs(helpers, timeout=10)
    said = process.communicate(timeout=10)[1]
    assert process.returncode == status and not alive and time.monotonic() - start < 10
    assert "Traceback" not in said and "Error" not in said, said
    n_staged = len(list(staging(out).glob("*.parts")))
    read = count_reads(monkeypatch)
    prepare_folder(raw, out, workers=1)  # where reads are counted
    assert len(read) == 16 - n_staged and same_bytes(out, whole)


def test_who_reads_ends_with_an_error_and_the_rest_is_read_later(many, tmp_path):
    def full(name):
        if name == "0_02.csv":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        prepare_folder(many[0], tmp_path / "store", workers=2, progress=full)
    assert living_readers() == [] and 3 <= len(list(staging(tmp_path / "store").glob("*.parts"))) < 16
    assert same_bytes(prepare_folder(many[0], tmp_path / "store", workers=1).path, many[1])


@pytest.mark.skipif(sys.platform != "linux", reason="threads read there")
def test_a_reader_that_the_system_kills_is_one_line_and_the_rest_is_read_later(many, tmp_path, monkeypatch):
    real = readers_room.labelled
    others = living_helpers()

    def killed(path, *arguments, **options):
        if path.name == "0_06.csv":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ingest_room, "labelled", killed)
        with pytest.raises(Stopped, match=r"was killed, most likely .* memory .* --workers 1: it goes on") as told:
            prepare_folder(many[0], tmp_path / "store", workers=2, skip_bad=True)
    assert "\n" not in str(told.value) and living_helpers() <= others
    n_staged = len(list(staging(tmp_path / "store").glob("*.parts")))
    assert n_staged >= 5 and not (tmp_path / "store").exists()
    read = count_reads(monkeypatch)
    assert same_bytes(prepare_folder(many[0], tmp_path / "store", workers=1).path, many[1])
    assert len(read) == 16 - n_staged


def test_a_file_too_large_for_memory_is_one_line(folder, tmp_path, monkeypatch):
    def too_large(*arguments, **options):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(ingest_room, "labelled", too_large)
        with pytest.raises(Stopped, match="0_0.csv.*memory"):
            prepare_folder(folder, tmp_path / "store", skip_bad=True)
    assert len(prepare_folder(folder, tmp_path / "store").entries) == 6


def test_an_out_that_holds_something_is_refused(folder, tmp_path):
    out = tmp_path / "precious"
    out.mkdir()
    assert len(prepare_folder(folder, out).entries) == 6  # an empty one is filled
    shutil.rmtree(out)
    out.mkdir()
    (out / "notes.txt").write_text("keep me")
    with pytest.raises(UsageError, match="isn't empty"):
        prepare_folder(folder, out)
    assert [p.name for p in out.iterdir()] == ["notes.txt"] and not staging(out).exists()


def test_workers_below_one_are_misuse(folder, tmp_path):
    with pytest.raises(UsageError, match="--workers 0"):
        prepare_folder(folder, tmp_path / "store", workers=0)


# Damage


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    "A small store."
    generator = np.random.default_rng(0)
    signals = [generator.normal(size=(2, n)).astype(np.float32) for n in (300, BLOCK + 5, 400)]
    recordings = [Recording(f"0_{i}.csv", x, 10.0, ("a", "b"), ("", ""), 0) for i, x in enumerate(signals)]
    return write_store(tmp_path_factory.mktemp("intact") / "store", recordings, where="here").path


@pytest.fixture
def damaged(intact, tmp_path):
    "A copy to damage."
    return Path(shutil.copytree(intact, tmp_path / "store"))


def flip(path, at, bit=0):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))


@pytest.mark.parametrize("name", ["index.json", "index.npy", "crc.npy"])
def test_every_byte_of_the_index_is_watched(damaged, name):
    generator = np.random.default_rng(0)
    for at in range((damaged / name).stat().st_size):
        bit = int(generator.integers(8))
        flip(damaged / name, at, bit)
        problems = verify_store(damaged)
        assert problems and problems[0].file == name and "\n" not in str(problems[0]), at
        if name != "crc.npy":
            with pytest.raises(InputError, match=name):
                Store(damaged)
        flip(damaged / name, at, bit)
    assert verify_store(damaged) == []


@settings(max_examples=30)
@given(st.integers(0, 8 * BLOCK * 4 - 1), st.integers(0, 7))
def test_a_flipped_bit_is_found_in_its_block(intact, tmp_path_factory, at, bit):
    path = tmp_path_factory.mktemp("flip") / "store"
    shutil.copytree(intact, path)
    flip(path / "blocks-000.bin", at, bit)
    (problem,) = Store(path).verify()
    block = at // (BLOCK * 4)
    owners = [("0_0.csv", "a"), ("0_0.csv", "b"), *[("0_1.csv", "a")] * 2, *[("0_1.csv", "b")] * 2]
    owners += [("0_2.csv", "a"), ("0_2.csv", "b")]
    assert (problem.file, problem.block) == ("blocks-000.bin", block)
    assert (problem.recording, problem.channel) == owners[block]
    shutil.rmtree(path)


def test_all_problems_are_told_not_only_the_first(damaged):
    for block in (1, 3, 7):
        flip(damaged / "blocks-000.bin", block * BLOCK * 4 + 17)
    with open(damaged / "blocks-000.bin", "ab") as file:
        file.write(b"more")
    (damaged / "stray.txt").write_text("?")
    flip(damaged / "index.npy", 200)
    told = verify_store(damaged)
    assert [(p.file, p.block) for p in told] == [
        ("index.npy", None),
        ("blocks-000.bin", None),
        ("blocks-000.bin", 1),
        ("blocks-000.bin", 3),
        ("blocks-000.bin", 7),
        ("stray.txt", None),
    ]
    assert "4 bytes too many" in told[1].what


def test_a_truncated_or_missing_block_file_is_named(damaged):
    blocks = damaged / "blocks-000.bin"
    os.truncate(blocks, 5 * BLOCK * 4 + 100)
    (problem,) = verify_store(damaged)
    assert (problem.block, problem.recording, problem.channel) == (5, "0_1.csv", "b") and "cut off" in problem.what
    with pytest.raises(InputError, match="blocks-000.bin"):
        Store(damaged)
    blocks.unlink()
    (problem,) = verify_store(damaged)
    assert str(problem).startswith("blocks-000.bin: missing") and "3 recordings from 0_0.csv to 0_2.csv" in str(problem)
    with pytest.raises(InputError, match="blocks-000.bin: missing"):
        Store(damaged)


@pytest.mark.parametrize("name", ["index.npy", "crc.npy"])
def test_a_missing_table_is_named(damaged, name):
    (damaged / name).unlink()
    assert [p.file for p in verify_store(damaged)] == [name]


def test_a_store_of_an_earlier_version_is_to_be_made_again(damaged):
    index = json.loads((damaged / "index.json").read_text())
    for key in ("layout", "crc", "own_crc"):
        del index[key]
    (damaged / "index.json").write_text(json.dumps(index, indent=1))
    with pytest.raises(InputError, match="earlier version.*timemoe-lab prepare RAW --out"):
        Store(damaged)


def test_verify_of_something_else_is_misuse(tmp_path):
    with pytest.raises(UsageError, match="not a store"):
        verify_store(tmp_path)


def test_progress_of_verify_names_each_recording(intact):
    told = []
    assert verify_store(intact, progress=told.append) == [] and told == ["0_0.csv", "0_1.csv", "0_2.csv"]


def test_a_store_of_several_files_is_read_and_verified(tmp_path, monkeypatch):
    monkeypatch.setattr(store_room, "FILE_BLOCKS", 4)
    generator = np.random.default_rng(0)
    signals = [generator.normal(size=(2, n)).astype(np.float32) for n in (9, 3 * BLOCK, 700, 20)]
    recordings = [Recording(f"0_{i}.csv", x, 10.0, ("a", "b"), ("", ""), 0) for i, x in enumerate(signals)]
    store = write_store(tmp_path / "store", recordings, where="here")
    assert sorted(p.name for p in store.path.glob("*.bin")) == [f"blocks-{i:03d}.bin" for i in range(3)]
    assert all(np.array_equal(store.signal(i), x) for i, x in enumerate(signals)) and store.verify() == []
    got = store.windows(np.array([3, 1, 0]), np.array([1, 0, 1]), np.array([2, BLOCK - 3, 0]), 9)
    assert np.array_equal(got, [signals[3][1, 2:11], signals[1][0, BLOCK - 3 : BLOCK + 6], signals[0][1]])
    flip(store.path / "blocks-001.bin", 4 * BLOCK * 4)
    (problem,) = store.verify()
    assert (problem.file, problem.block, problem.recording, problem.channel) == ("blocks-001.bin", 4, "0_1.csv", "b")


# Windows


@pytest.mark.parametrize(
    ("recording", "channel", "start", "length"),
    [
        (0, 0, 295, 6),
        (0, 0, -1, 6),
        (3, 0, 0, 6),
        (-1, 0, 0, 6),
        (0, 2, 0, 6),
        (0, -1, 0, 6),
        (0, 0, 0, 301),
    ],
)
def test_a_window_outside_its_recording_is_refused(intact, recording, channel, start, length):
    store = Store(intact)
    place = f"recording {recording}, channel {channel}, samples {start} to {start + length}"
    with pytest.raises(ValueError, match=f"window 0: {place}"):
        store.window(recording, channel, start, length)
    with pytest.raises(ValueError, match=f"window 1: {place}"):
        store.windows([1, recording], [0, channel], [0, start], length)
    with pytest.raises(ValueError, match="window 0"):
        store.window(0, 0, 0, 0)


def test_a_batch_fills_the_array_that_it_is_given(intact):
    store = Store(intact)
    out = np.zeros((2, 5), np.float32)
    assert store.windows([0, 2], 1, 3, 5, out=out) is out
    assert np.array_equal(out, [store.signal(0)[1, 3:8], store.signal(2)[1, 3:8]])
    with pytest.raises(ValueError, match=r"out of shape \(2, 5\): expected \(1, 5\)"):
        store.windows([0], [1], [3], 5, out=out)


def test_a_window_is_a_view_that_cannot_be_written(intact):
    window = Store(intact).window(1, 1, BLOCK - 2, 5)
    assert not window.flags.owndata and not window.flags.writeable


# Time-300B folders


@pytest.fixture(scope="module")
def expected():
    return load_file(FIXTURE / "expected.safetensors")


def test_sequences_are_those_of_the_published_reader(expected):
    folder = SeriesFolder(FIXTURE)
    assert len(folder) == 5 and len(list(folder)) == 5
    for i, x in enumerate(folder):
        assert x.dtype == np.float32 and np.array_equal(x, expected[f"seq/None/{i}"])
        exact = x.astype(np.float64)
        assert np.allclose(expected[f"seq/max/{i}"], exact / np.abs(exact).max(), rtol=1e-6)
        assert np.allclose(expected[f"seq/zero/{i}"], (exact - exact.mean()) / (exact.std() or 1), atol=1e-5)


@pytest.mark.parametrize("stride", [None, 16])
def test_published_windows_can_be_made_from_ours(expected, stride):
    context = 64
    index = []
    windows = []
    masks = []
    for i, x in enumerate(SeriesFolder(FIXTURE)):
        if len(x) < 2:
            continue
        z = (x - x.mean()) / x.std()
        starts = [0, *range(stride or context, len(x) - context, stride or context)]
        for start in starts:
            piece = z[start : start + context + 1]
            index.append((i, start))
            windows.append(np.pad(piece, (0, context + 1 - len(piece))))
            masks.append(np.arange(context) < len(piece) - 1)
    prefix = f"win/stride{stride}/"
    assert np.array_equal(index, expected[prefix + "index"])
    assert np.allclose(np.stack(windows)[:, :-1], expected[prefix + "input_ids"], atol=2e-6)
    assert np.allclose(np.stack(windows)[:, 1:], expected[prefix + "labels"], atol=2e-6)
    assert np.array_equal(masks, expected[prefix + "loss_masks"].astype(bool))


def write_corpus(path, sequences, dtype="float32", cuts=(), scales=None, numbers=None):
    "A Time-300B folder; its files are cut at these elements and numbered so that names don't sort as numbers do."
    path.mkdir()
    flat = np.concatenate([np.asarray(s, dtype) for s in sequences])
    files = {}
    edges = [0, *cuts, len(flat)]
    for number, (a, b) in zip(numbers or range(1, 99), zip(edges, edges[1:])):
        name = f"data-{number}-of-{len(edges) - 1}.bin"
        flat[a:b].tofile(path / name)
        files[name] = b - a
    ends = np.cumsum([0, *map(len, sequences)]).tolist()
    place = [{"offset": a, "length": b - a} | (scales or {}) for a, b in zip(ends, ends[1:])]
    meta = {"num_sequences": len(sequences), "dtype": dtype, "files": files, "scales": place}
    (path / "meta.json").write_text(json.dumps(meta))
    return meta


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(-100, 100), max_size=30), min_size=1, max_size=6),
    st.lists(st.integers(0, 150), max_size=11),
    st.sampled_from(["int8", "int16", "int64", "float32", "float64", "float16"]),
    st.booleans(),
)
def test_sequences_of_any_type_straddle_files(tmp_path_factory, sequences, cuts, dtype, scaled):
    total = sum(map(len, sequences))
    cuts = sorted(min(c, total) for c in cuts)
    path = tmp_path_factory.mktemp("corpus") / "c"
    write_corpus(path, sequences, dtype, cuts, {"mean": 1.5, "std": 0.25} if scaled else None)
    for got, want in zip(SeriesFolder(path), sequences, strict=True):
        assert np.allclose(got, np.array(want) * 0.25 + 1.5 if scaled else want)


def test_a_sequence_in_one_file_is_mapped(tmp_path):
    write_corpus(tmp_path / "c", [range(9), range(5)])
    assert not SeriesFolder(tmp_path / "c")[1].flags.owndata


BROKEN = {
    "no meta.json": (lambda p: (p / "meta.json").unlink(), "meta.json: no such file"),
    "bad JSON": (lambda p: (p / "meta.json").write_text("{"), "meta.json: not JSON"),
    "a file is gone": (lambda p: (p / "data-2-of-2.bin").unlink(), "data-2-of-2.bin: no such file"),
    "a file was cut off": (lambda p: os.truncate(p / "data-2-of-2.bin", 10), "10 bytes, expected 6 elements"),
    "no dtype": (lambda p: edit(p, lambda m: m.pop("dtype")), "lacks dtype"),
    "no scales": (lambda p: edit(p, lambda m: m.pop("scales")), "lacks scales"),
    "an unknown dtype": (lambda p: edit(p, lambda m: m.update(dtype="bfloat16")), "dtype 'bfloat16'"),
    "an object dtype": (lambda p: edit(p, lambda m: m.update(dtype="object")), "dtype 'object'"),
    "a scale short": (lambda p: edit(p, lambda m: m["scales"].pop()), "num_sequences 2, but 1 scales"),
    "no length": (lambda p: edit(p, lambda m: m["scales"][1].pop("length")), "sequence 1.*offset and length"),
    "past the end": (lambda p: edit(p, lambda m: m["scales"][1].update(length=7)), "sequence 1: offset 9, length 7"),
    "a mean of text": (lambda p: edit(p, lambda m: m["scales"][0].update(mean="x", std=1)), "sequence 0.*numbers mean"),
    "a file of another name": (lambda p: edit(p, lambda m: m["files"].update({"../x.bin": 3})), "files: '../x.bin'"),
    "no files": (lambda p: edit(p, lambda m: m["files"].clear()), "files: none"),
    "a list": (lambda p: (p / "meta.json").write_text("[]"), "lacks num_sequences"),
}  # fmt: skip


def edit(folder, change):
    meta = json.loads((folder / "meta.json").read_text())
    change(meta)
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_time_300b_folder_is_one_line(tmp_path, fault):
    write_corpus(tmp_path / "c", [range(9), range(5)], cuts=(8,))
    make, words = BROKEN[fault]
    make(tmp_path / "c")
    with pytest.raises(InputError, match=words) as raised:
        SeriesFolder(tmp_path / "c")
    assert "\n" not in str(raised.value)


def test_a_time_300b_folder_becomes_a_store(tmp_path):
    generator = np.random.default_rng(0)
    sequences = [generator.normal(size=n) for n in (400, 3, 500, 300, 700)]
    write_corpus(tmp_path / "c", sequences, "float64", cuts=(410, 900), scales={"mean": 5.0, "std": 2.0})
    with pytest.raises(InputError, match="sequence-000001: 3 samples"):
        prepare_folder(tmp_path / "c", tmp_path / "store", fits=DataConfig(context=256))
    store = prepare_folder(tmp_path / "c", tmp_path / "store", fits=DataConfig(context=256), skip_bad=True, workers=4)
    assert [s.file for s in store.skipped] == ["sequence-000001"] and store.fs == 1 and len(store.channels) == 1
    for i, x in enumerate(sequences[:1] + sequences[2:]):
        assert np.allclose(store.signal(i)[0], x * 2 + 5, rtol=1e-6) and store.entries[i].class_id == 0
    assert prepare_folder(tmp_path / "c", tmp_path / "fast", fs=50.0).fs == 50


# Measurements

STAND_IN = {
    "time_moe_dataset.py": """
import numpy as np
from timemoe_lab.data.series import SeriesFolder

class TimeMoEDataset:
    def __init__(self, folder):
        self.folder = SeriesFolder(folder)
""",
    "time_moe_window_dataset.py": """
import sys
import numpy as np

class TimeMoEWindowDataset:
    def __init__(self, dataset, context_length, stride):
        self.folder, self.context = dataset.folder, context_length
        print("a bar", file=sys.stderr)
        self.sub_seq_indexes = [
            (i, s) for i, x in enumerate(self.folder) for s in range(0, len(x) - context_length, stride)
        ]

    def __len__(self):
        return len(self.sub_seq_indexes)

    def __getitem__(self, i):
        series, start = self.sub_seq_indexes[i]
        x = np.array(self.folder[series])[start : start + self.context + 1]
        return {"input_ids": x[:-1], "labels": x[1:]}
""",
}


def stand_in(path, **changes):
    "A package with the interface of the published loader."
    package = path / "time_moe" / "datasets"
    package.mkdir(parents=True)
    for name, text in (STAND_IN | changes).items():
        (package / name).write_text(text)
    return path


def test_the_bench_gives_its_ratios(tmp_path, capfd):
    clone = stand_in(tmp_path / "clone")
    small = {"n_recordings": 20, "n_samples": 5000, "repeats": 5, "n_prepared": (2, 4)}
    told = []
    result = bench_store(folder=tmp_path, published=clone, progress=told.append, **small)
    assert {"store_us", "memmap_us", "memmap_ratio", "large_ratio", "published_ratio", "prepare_growth_mb"} <= set(
        result
    )
    assert all(isinstance(v, float) and np.isfinite(v) for v in result.values()) and told
    assert 0 < result["memmap_ratio"] < 10 and 50 < result["prepare_2_mb"] < 2000
    assert capfd.readouterr() == ("", "") and [p.name for p in tmp_path.iterdir()] == ["clone"]


def test_a_published_clone_that_cannot_be_imported_is_one_line(tmp_path):
    small = {"n_recordings": 20, "n_samples": 300, "repeats": 1, "n_prepared": (0, 0)}
    with pytest.raises(UsageError, match="No module named 'time_moe'"):
        bench_store(folder=tmp_path, published=tmp_path / "nowhere", **small)
    clone = stand_in(tmp_path / "clone", **{"time_moe_dataset.py": "import a_package_that_is_not_there"})
    with pytest.raises(UsageError, match="a_package_that_is_not_there"):
        bench_store(folder=tmp_path, published=clone, **small)


@pytest.mark.slow
def test_memory_of_prepare_does_not_grow_with_the_number_of_recordings(tmp_path):
    result = bench_store(folder=tmp_path, n_recordings=20, n_prepared=(10, 100), repeats=5)
    assert abs(result["prepare_growth_mb"]) < 50


@pytest.mark.slow
def test_a_batch_is_as_fast_as_a_bare_copy_and_no_slower_from_a_large_store(tmp_path):
    result = bench_store(folder=tmp_path, n_prepared=(0, 0))
    assert result["memmap_ratio"] < 1.3 and result["large_ratio"] < 1.3


HUGE = """
import re, sys
from timemoe_lab.data.ingest import prepare_folder
prepare_folder(*sys.argv[1:3], workers=1)
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
def test_a_file_of_500_mb_goes_through_under_1_gb(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for i in range(2):
        write_file(raw / f"0_{i}.csv", 1000, seed=i, fs=10_000.0, channels=("CH1", "CH2", "CH3", "CH4"))
    generator = np.random.default_rng(0)
    million = 1_000_000
    with open(raw / "0_huge.csv", "wb") as file:
        for start in range(0, 13 * million, million):
            columns = {"TIME": ((start + np.arange(million)) / 10_000).round(4)}
            columns |= {f"CH{c}": generator.standard_normal(million).round(5) for c in (1, 2, 3, 4)}
            pa.csv.write_csv(pa.table(columns), file, pa.csv.WriteOptions(include_header=not start))
    assert (raw / "0_huge.csv").stat().st_size > 5e8
    call = [sys.executable, "-c", HUGE, raw, tmp_path / "store"]
    done = subprocess.run(call, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout) < 2**20, done.stdout + done.stderr  # kB
    assert Store(tmp_path / "store").entries[2].n_samples == 13 * million


@settings(max_examples=15)
@given(st.lists(st.sampled_from([5, 700, BLOCK - 1, BLOCK, BLOCK + 1]), min_size=2, max_size=4), st.integers(1, 3))
def test_a_store_gives_back_what_was_written(tmp_path_factory, lengths, n_channels):
    generator = np.random.default_rng(sum(lengths))
    names = tuple(f"CH{c + 1}" for c in range(n_channels))
    like = {"channels": names, "units": ("A",) * n_channels, "roles": ("other",) * n_channels}  # noise is no motor
    recordings = [
        Recording(f"0_{i}.csv", generator.normal(size=(n_channels, n)).astype(np.float32), 50.0, class_id=0, **like)
        for i, n in enumerate(lengths)
    ]
    path = tmp_path_factory.mktemp("store") / "s"
    write_store(path, recordings, where="here")
    store = Store(path)
    for i, recording in enumerate(recordings):
        assert np.array_equal(store.signal(i), recording.signal)
        assert store.recording(i).fingerprint == recording.fingerprint
    assert store.series["n_samples"].sum() == sum(lengths) * n_channels


def test_a_store_is_the_same_bytes_for_the_same_input(raw, tmp_path):
    for name in ("a", "b"):
        write_store(tmp_path / name, read_folder(raw), where="raw")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_store_that_lost_bytes_or_is_none_says_so(raw, tmp_path):
    store = write_store(tmp_path / "store", read_folder(raw), where="raw")
    blocks = store.path / "blocks-000.bin"
    blocks.write_bytes(blocks.read_bytes()[: 4 * BLOCK * 4])
    with pytest.raises(InputError, match="blocks-000.bin"):
        Store(store.path).signal(5)
    with pytest.raises(UsageError, match="not a store"):
        Store(tmp_path)


@pytest.mark.parametrize("read", ["signal", "window", "windows"])
def test_a_flipped_bit_is_found_when_its_block_is_read(tmp_path, read):
    generator = np.random.default_rng(0)
    made = (
        Recording(f"0_{i}.csv", generator.normal(size=(2, 70_000)).astype(np.float32), 1e3, ("a", "b"), ("", ""), 0)
        for i in range(3)
    )
    path = write_store(tmp_path / "store", made, where="made up").path
    with open(path / "blocks-000.bin", "r+b") as file:
        file.seek(4 * (5 * 65_536 + 7))  # the second block of recording 1, channel 0 is the file's block 5
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    store = Store(path)
    ways = {
        "signal": lambda i: store.signal(i),
        "window": lambda i: store.window(i, 0, 65_000, 700),
        "windows": lambda i: store.windows([i], [0], [65_000], 700),
    }
    assert store.windows([1], [0], [10], 600).shape == (1, 600)  # its first block is whole
    ways[read](0)
    with pytest.raises(InputError, match="blocks-000.bin: block [0-9]+ is damaged.*prepare the store again"):
        ways[read](1)


# What was read is not read again


@pytest.fixture
def reuse(monkeypatch, tmp_path):
    "A cache of its own; the names of the files that are parsed."
    monkeypatch.setenv("TIMEMOE_LAB_REUSE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ingest_room._records.cache_clear()
    parsed = []
    real = ingest_room.labelled
    monkeypatch.setattr(
        ingest_room, "labelled", lambda path, *a, **k: [parsed.append(path.name), real(path, *a, **k)][1]
    )
    yield parsed
    ingest_room._records.cache_clear()


@pytest.fixture
def four(raw, tmp_path):
    "A raw folder of four recordings."
    (tmp_path / "four").mkdir()
    for path in [*sorted(raw.glob("0_*.csv"))[:3], *sorted(raw.glob("6_*.csv"))[:1]]:
        shutil.copy(path, tmp_path / "four")
    return tmp_path / "four"


def content(store):
    return {p.name: p.read_bytes() for p in store.path.iterdir() if p.name != "index.json"}


def test_another_out_takes_the_samples_from_the_store_that_is_there(reuse, four, tmp_path):
    first = prepare_folder(four, tmp_path / "one", workers=1)
    assert len(set(reuse)) == 4
    reuse.clear()
    before = []
    again = prepare_folder(four, tmp_path / "two", workers=1, before=before.append)
    masked = prepare_folder(four, tmp_path / "three", workers=1, mask=("CH4",), seed=3)
    assert reuse == [] and {Path(name).name for name in before} == {p.name for p in four.glob("*.csv")}
    assert content(again) == content(first) and verify_store(masked.path) == []
    prepare_folder(four, tmp_path / "four-again", workers=1, reuse=False)
    assert len(set(reuse)) == 4


@pytest.mark.parametrize("what", ["file", "block", "gone", "record"])
def test_what_is_not_as_it_was_is_read_from_the_file(what, reuse, four, tmp_path):
    first = prepare_folder(four, tmp_path / "one", workers=1)
    reuse.clear()
    name = sorted(p.name for p in four.glob("0_*.csv"))[0]
    if what == "file":
        text = (four / name).read_text()
        (four / name).write_text(text[: text.rindex("\n", 0, -1) + 1])
    if what == "block":
        with open(first.path / "blocks-000.bin", "r+b") as file:
            file.seek(100)
            file.write(b"\xff")
    if what == "gone":
        (first.path / "blocks-000.bin").rename(tmp_path / "moved.bin")
    if what == "record":
        for path in (tmp_path / "cache").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:-9])
    made = prepare_folder(four, tmp_path / "two", workers=1)
    assert len(set(reuse)) == {"file": 1, "block": 1, "gone": 4, "record": 4}[what]
    assert content(made) == content(prepare_folder(four, tmp_path / "anew", workers=1, reuse=False))
