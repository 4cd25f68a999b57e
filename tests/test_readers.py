"Readers of every format: what is written is read back, and a file that can't be read is one line that says where."

import csv
import gzip
import math
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from timemoe_lab.data.motor import write_scope_csv
from timemoe_lab.data.readers import (
    cut_head,
    find_layout,
    find_recordings,
    list_files,
    read,
    read_file,
    read_folder,
    read_labels,
    sampling_rate,
)
from timemoe_lab.data.recording import Recording, common_kind, conform
from timemoe_lab.files import InputError

readers_room = import_module("timemoe_lab.data.readers")

sizes = st.floats(-1e3, 1e3, width=32).filter(lambda v: v == 0 or abs(v) > 1e-9)  # a smaller channel is refused
cell = st.one_of(sizes, st.sampled_from([math.nan, math.inf, -math.inf]))
signals = st.tuples(st.integers(1, 4), st.integers(5, 40)).flatmap(
    lambda size: st.lists(st.lists(cell, min_size=size[1], max_size=size[1]), min_size=size[0], max_size=size[0]).map(
        lambda rows: np.array(rows, np.float32)
    )
)
NAMES = ("CH1", "CH2", "CH3", "CH4")


def _text(signal, *, comma=",", point=".", end="\n", head=True, time="time (ms)", first=True):
    "A signal as text, 250 Hz; `first` puts the time column first, otherwise last."
    rows = [[time, *NAMES[: len(signal)]]] if head else []
    for i, x in enumerate(signal.T):
        cells = [f"{4 * i}", *("" if math.isnan(v) else repr(float(v)) for v in x)]
        rows.append([c.replace(".", point) for c in cells])
    return end.join(comma.join(r if first else [*r[1:], r[0]]) for r in rows) + end


def _parquet(path, signal):
    columns = {"t": np.arange(signal.shape[1]) / 250} | dict(zip(NAMES, signal))
    pa.parquet.write_table(pa.table(columns), path)


WRITERS = {
    "csv": lambda p, x: p.write_text(_text(x)),
    "tsv": lambda p, x: p.write_text(_text(x, comma="\t", first=False)),
    "decimal commas.csv": lambda p, x: p.write_text(_text(x, comma=";", point=",")),
    "utf16.csv": lambda p, x: p.write_text(_text(x, comma="\t"), encoding="utf-16"),
    "bom.csv": lambda p, x: p.write_text(_text(x), encoding="utf-8-sig"),
    "csv.gz": lambda p, x: p.write_bytes(gzip.compress(_text(x, end="\r\n").encode())),
    "korean.csv": lambda p, x: p.write_text("장비,오실로스코프\n\n" + _text(x, time="시간 (ms)"), encoding="utf-8"),
    "latin.csv": lambda p, x: p.write_bytes(("Gerät,µV\n" * 300 + _text(x)).encode("latin-1")),
    "npz": lambda p, x: np.savez(p, signal=x, fs=250.0),
    "transposed.npz": lambda p, x: np.savez(p, data=x.T.astype(np.float64), fs=250, channels=NAMES[: len(x)]),
    "vectors.npz": lambda p, x: np.savez(p, time_ms=np.arange(x.shape[1]) * 4, **dict(zip(NAMES, x))),
    "mat": lambda p, x: savemat(p, {"Fs": 250.0, **dict(zip(NAMES, x))}),
    "table.mat": lambda p, x: savemat(p, {"fs": 250.0, "signal": x}),
    "parquet": _parquet,
}


@pytest.mark.parametrize("ending", WRITERS)
@settings(max_examples=20)
@given(signal=signals)
def test_what_is_written_is_read_back(tmp_path_factory, ending, signal):
    path = tmp_path_factory.mktemp("a b 전동기") / f"3_0007c42.5c75.{ending.rpartition('.csv.')[-1]}"
    WRITERS[ending](path, signal)
    recording = read(path)
    want = np.where(np.isfinite(signal), signal, np.nan).astype(np.float32)
    assert np.array_equal(recording.signal, want, equal_nan=True)
    assert recording.fs == 250 and recording.channels == NAMES[: len(signal)] and recording.class_id == 3
    assert read(path, threads=False).fingerprint == recording.fingerprint


@settings(max_examples=40)
@given(signal=signals, fs=st.sampled_from([1.0, 60.0, 10_000.0]))
def test_an_array_without_a_rate_takes_the_given_one(tmp_path_factory, signal, fs):
    path = tmp_path_factory.mktemp("array") / "0_x.npy"
    np.save(path, signal)
    assert read(path, fs=fs).fs == fs
    with pytest.raises(InputError, match="0_x.npy: no time column .* give --fs"):
        read(path)


def test_a_folder_of_every_format_is_one_folder(tmp_path):
    signal = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    for number, (ending, write) in enumerate(WRITERS.items()):
        write(tmp_path / f"{number % 7}_{number}.{ending.rpartition('.csv.')[-1].rpartition(' ')[-1]}", signal + number)
    recordings = list(read_folder(tmp_path))
    assert len(recordings) == len(WRITERS) and len({r.fingerprint for r in recordings}) == len(WRITERS)


def test_a_date_column_gives_the_rate_and_a_flag_column_the_intervals(tmp_path):
    rows = [f"2020-03-09 10:14:{i:02d},{i % 5},{int(10 <= i < 14 or i > 56)},0" for i in range(60)]
    (tmp_path / "valve1_0.csv").write_text("datetime,Current,anomaly,changepoint\n" + "\n".join(rows))
    recording = read(tmp_path / "valve1_0.csv")
    assert recording.fs == 1 and recording.channels == ("Current",) and recording.faults == ((10, 14), (57, 60))
    assert recording.class_id == 1 and recording.signal[0, 7] == 2


@pytest.mark.parametrize(
    ("lost", "words"),
    [(slice(100, 140), "1 gap(s) in time, 0.04 s in all, the first before sample 100"), (slice(0, 0), None)],
)
def test_gaps_in_time_are_told(tmp_path, lost, words):
    time = np.delete(np.arange(1000) / 1000, lost)
    (tmp_path / "0_x.csv").write_text("time,a\n" + "".join(f"{t:.4f},{i % 7}\n" for i, t in enumerate(time)))
    recording = read(tmp_path / "0_x.csv")
    assert recording.fs == 1000 and (recording.notes == ((words,) if words else ()))


def test_jitter_is_told_and_does_not_move_the_rate():
    time = np.arange(20_000) / 10_000 + np.random.default_rng(0).uniform(-1e-5, 1e-5, 20_000)
    fs, notes = sampling_rate(time)
    assert abs(fs / 10_000 - 1) < 1e-4 and "vary by up to" in notes[0]


@settings(max_examples=60)
@given(st.integers(1, 200_000), st.integers(200, 2000), st.integers(4, 9))
def test_the_rate_survives_a_column_with_few_digits(fs, n, digits):
    time = np.round(np.arange(n) / fs, digits)
    found, _ = sampling_rate(time)
    step = np.diff(time)
    odd = ((step > 1.4 * np.median(step)) | (step <= 0)).mean()
    assume(not 0 < odd <= 0.12)  # a few odd steps could as well be gaps and doublets
    slack = 10.0**-digits * fs / (n - 1) + 1e-5  # the ends are off by half a digit each
    assert (found is None and time[-1] == 0) or abs(found / fs - 1) <= slack


BROKEN = {
    "repeated heading": ("time,a\n0,1\n1,2\ntime,a\n2,3\n", ["row 4", "heading again"]),
    "decimal commas between commas": ("time,a\n0,1\n" + "1,5,2,5\n" * 3, ["row 3", "4 fields", "decimal commas"]),
    "no numbers": ("a,b\nc,d\n", ["no line of numbers"]),
    "heading only": ("time,a\n", ["sample(s)"]),
    "blank lines only": ("\n\n  \n", ["empty"]),
    "a word among numbers": ("time,a\n0,1\n1,x\n", ["row 3", "a is 'x'", "expected a number"]),
    "a date that is none": ("time,a\n2020-01-01 00:00:00,1\nyesterday,2\n", ["row 3", "expected a date"]),
    "time runs backwards": ("time,a\n3,1\n2,1\n1,1\n", ["doesn't rise"]),
    "labels only": ("time,anomaly\n0,1\n1,0\n", ["no channel"]),
    "two columns of one name": ("time,a,a\n0,1,2\n", ["one name"]),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_text_file_is_one_line(tmp_path, fault):
    text, words = BROKEN[fault]
    path = tmp_path / "0_broken file.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and all(w in message for w in words), message


def _pickle(path):
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)


DAMAGED = {
    "a.csv.gz": (lambda p: p.write_bytes(gzip.compress(b"time,a\n" + b"0,1\n" * 9000)[:-30]), "gzip"),
    "b.csv.gz": (lambda p: p.write_text("time,a\n0,1\n"), "gzip"),
    "c.npy": (lambda p: p.write_bytes(b"\x93NUMPY"), "NPY"),
    "d.npz": (lambda p: p.write_bytes(b"PK\x03\x04 and no more"), "NPZ"),
    "e.npy": (_pickle, "NPY"),
    "f.mat": (lambda p: p.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200)), "MAT"),
    "g.parquet": (lambda p: p.write_bytes(b"PAR1" + bytes(30)), "Parquet"),
    "h.npz": (lambda p: np.savez(p, a=np.zeros((2, 9)), b=np.zeros((3, 9))), "several tables"),
    "i.npz": (lambda p: np.savez(p, name="motor"), "no array of numbers"),
    "j.npz": (lambda p: np.savez(p, x=np.zeros((3, 9)), channels=["a"]), "1 channels"),
    "k.parquet": (lambda p: pa.parquet.write_table(pa.table({"a": ["x", "y"]}), p), "holds string"),
    "l.csv": (lambda p: p.write_bytes(b"time,a\n0,1\n\0\0\0\0"), "zero bytes"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_line(tmp_path, name):
    make, word = DAMAGED[name]
    make(tmp_path / name)
    with pytest.raises(InputError) as caught:
        read(tmp_path / name, fs=1.0)
    assert word in str(caught.value) and name in str(caught.value) and "\n" not in str(caught.value)


def test_metadata_of_any_length_and_clock_lines_are_no_heading(tmp_path):
    path = tmp_path / "0_x.csv"
    path.write_text("Date,2026-01-01\nTime,12:30:00\n" + "Comment,nothing\n" * 5000 + "TIME,CH1\n0,1\n0.5,2\n")
    assert find_layout(path).skip == 5003 and read(path).signal.tolist() == [[1, 2]]


def test_shuffled_columns_are_put_in_order(tmp_path):
    (tmp_path / "0_a.csv").write_text("TIME,CH1,CH2\n0,1,10\n1,2,20\n2,3,30\n")
    (tmp_path / "0_b.csv").write_text("CH2,TIME,CH1\n10,0,1\n20,1,2\n30,2,3\n")
    a, b = read_folder(tmp_path)
    assert np.array_equal(a.signal, b.signal) and a.fingerprint == b.fingerprint and "were CH2, CH1" in b.notes[0]


def test_two_files_of_one_name_are_refused(tmp_path):
    for name in ("0_a.csv", "0_a.npy"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="0_a.npy: has the name of 0_a.csv"):
        list_files(tmp_path)


def test_most_recordings_say_what_is_usual():
    def made(name, fs, channels=("a", "b")):
        return Recording(name, np.zeros((2, 4), np.float32), fs, channels, ("V", "V"))

    odd = made("0_a.csv", 2000.0)
    assert common_kind([odd, made("0_b.csv", 1000.0), made("0_c.csv", 1000.0, ("b", "a"))]).fs == 1000
    with pytest.raises(InputError, match="0_a.csv: is sampled at 2000 Hz, not 1000 Hz"):
        conform(odd, fs=1000.0, channels=("a", "b"), units=("V", "V"), where=Path("raw"), like="0_b.csv")


def test_a_cut_keeps_every_sample_and_moves_the_faults():
    signal = np.arange(40, dtype=np.float32).reshape(2, 20)
    whole = Recording("1_x.csv.gz", signal, 1.0, ("a", "b"), ("", ""), 1, faults=((8, 10), (15, 20)))
    head, rest = cut_head(whole, 6)
    assert np.array_equal(np.concatenate([head.signal, rest.signal], axis=1), signal)
    assert np.array_equal(np.concatenate([head.label, rest.label]), whole.label)
    assert (head.name, rest.name, head.class_id) == ("1_x_0-6.csv.gz", "1_x_6-20.csv.gz", 0)
    with pytest.raises(InputError, match="a fault begins at sample 8"):
        cut_head(whole, 9)


def test_labels_with_commas_in_names_and_korean_ones(tmp_path):
    for name in ("a b, c.csv", "전동기 1.csv"):
        (tmp_path / name).write_text("time,x\n" + "".join(f"{i},{i}\n" for i in range(9)))
    with open(tmp_path / "labels.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("file", "class_id"), ("a b, c.csv", 0), ("전동기 1.csv", 4)])
    assert {k: v.class_id for k, v in read_labels(tmp_path).items()} == {"a b, c.csv": 0, "전동기 1.csv": 4}
    assert [r.class_id for r in read_folder(tmp_path)] == [0, 4]


def test_an_archive_of_series_gives_a_healthy_head_and_the_rest(tmp_path):
    series = np.arange(99, dtype=np.float32)
    np.savez(tmp_path / "ucr.npz", **{"115_UCR_Anomaly_X_40_51_60": series, "116_UCR_Anomaly_Y_9_20_21": series[:50]})
    found = read_file(tmp_path / "ucr.npz", fs=1.0)
    assert [r.n_samples for r in found] == [40, 59, 9, 41]
    assert series[40:][found[1].label].tolist() == list(range(50, 60))  # samples 51 to 60 of the archive, from 1
    with pytest.raises(InputError, match="4 recordings in one file"):
        read(tmp_path / "ucr.npz", fs=1.0)


@pytest.mark.slow
def test_half_a_gigabyte_of_text_is_read_within_a_gigabyte(tmp_path):
    row = b"-5.000000e+00,1.2340e+00,-2.3450e+00,3.4560e+00,0.0400e+00\n"
    with open(tmp_path / "0_big.csv", "wb") as file:
        file.write(b"TIME,CH1,CH2,CH3,CH4\n")
        n = 500_000_000 // len(row)
        for first in range(0, n, 100_000):
            lines = [b"%.4f" % (i * 1e-4) + row[13:] for i in range(first, min(first + 100_000, n))]
            file.write(b"".join(lines))
    code = """
        import resource, sys
        from timemoe_lab.data.readers import read
        recording = read(sys.argv[1])
        print(recording.n_samples, recording.fs, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "0_big.csv")], capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]
    samples, fs, peak_kib = map(float, done.stdout.split())
    assert samples == n and fs == 10_000 and peak_kib < 2**20


def test_recordings_are_found_by_name_whole_or_as_pieces(tmp_path):
    signal = (np.arange(900, dtype=np.float32) % 97).reshape(3, 300)
    for name in ("0_a.csv", "2_b.csv", "3_c.csv"):
        WRITERS["csv"](tmp_path / name, signal + int(name[0]))
    rows = [("file", "class_id", "fault_start", "fault_end"), ("2_b.csv", 2, 250, 280), ("3_c.csv", 3, 200, 300)]
    with open(tmp_path / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    wanted = ["3_c.csv", "2_b_100-300.csv", "0_a.csv"]
    found = list(find_recordings(tmp_path, iter(wanted), fs=None, healthy_head=100))
    assert [r.name for r in found] == ["0_a.csv", "3_c.csv", "2_b_100-300.csv"]
    assert found[1].faults == ((200, 300),) and found[1].n_samples == 300  # named like its file, so whole
    assert found[2].faults == ((150, 180),) and np.array_equal(found[2].signal, signal[:, 100:] + 2)


def test_only_a_piece_is_looked_for_in_other_files_and_no_further_than_needed(tmp_path, monkeypatch):
    for name in ("0_a.csv", "0_b.csv"):
        WRITERS["csv"](tmp_path / name, np.ones((1, 50), np.float32))
    opened = []
    real = readers_room.read_file
    monkeypatch.setattr(readers_room, "read_file", lambda path, **how: opened.append(path.name) or real(path, **how))
    assert len(list(find_recordings(tmp_path, ["0_b.csv"], fs=None, healthy_head=None))) == 1
    assert opened == ["0_b.csv"]


def test_a_recording_that_is_not_there_is_one_line_after_the_others(tmp_path):
    WRITERS["csv"](tmp_path / "0_a.csv", np.ones((1, 50), np.float32))
    found = find_recordings(tmp_path, ["0_a.csv", "1_z.csv", "1_y.csv"], fs=None, healthy_head=None)
    assert next(found).name == "0_a.csv"
    with pytest.raises(InputError, match="1_y.csv: no such file; bring it back, or name the folder that holds it"):
        next(found)
    with pytest.raises(InputError, match="nowhere.*no such file"):
        list(find_recordings(tmp_path / "nowhere", ["0_a.csv"], fs=None, healthy_head=None))


# Small text files, drawn

table = st.integers(2, 30).flatmap(lambda n: st.lists(st.tuples(cell, cell), min_size=n, max_size=n))
LAYOUTS = {
    "plain": (",", "\n", "TIME,a,b\n", ""),
    "semicolon": (";", "\n", "time;a;b\n", ""),
    "tab": ("\t", "\r\n", "t\ta\tb\r\n", ""),
    "byte order mark": (",", "\n", "\ufeffTIME,a,b\n", ""),
    "metadata": (",", "\r\n", "Model,MSO4034B\r\nNote,Grün\r\n,,\r\n\r\nTIME,a,b\r\n", ""),
    "quoted header": (",", "\n", '"TIME","a","b"\n', ""),
    "trailing blank lines": (",", "\n", "TIME,a,b\n", "\n\n"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25)
@given(rows=table)
def test_a_text_file_is_read_back(tmp_path_factory, layout, rows):
    comma, end, head, tail = LAYOUTS[layout]
    lines = [comma.join([f"{i / 8:.4f}", *(repr(float(np.float32(v))) for v in row)]) for i, row in enumerate(rows)]
    path = tmp_path_factory.mktemp("text") / "3_x.csv"
    path.write_bytes((head + end.join(lines) + end + tail).encode("utf-8" if "\ufeff" in head else "latin-1"))
    recording = read(path)
    want = np.array(rows, np.float32).T
    want[~np.isfinite(want)] = np.nan
    assert recording.fs == 8 and recording.channels == ("a", "b") and recording.class_id == 3
    assert np.array_equal(recording.signal, want, equal_nan=True)


def test_the_scope_format_is_read_back_with_units_and_condition(tmp_path):
    signal = np.round(np.random.default_rng(0).normal(size=(4, 500)), 2).astype(np.float32)
    recording = Recording("4_0007c42.5c75.csv", signal, 10_000.0, ("CH1", "CH2", "CH3", "CH4"), ("V",) * 4)
    write_scope_csv(recording, tmp_path / recording.name)
    again = read(tmp_path / recording.name)
    assert np.array_equal(again.signal, signal) and again.fs == 10_000 and again.units == ("V",) * 4
    assert (again.class_id, again.supply_hz, again.load_pct) == (4, 42.5, 75)


def test_several_rows_of_labels_give_several_intervals(tmp_path):
    text = "time,x\n" + "".join(f"{i},{i % 7}\n" for i in range(50))
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "0_b.csv").write_text(text.replace(",3", ",4"))
    (tmp_path / "labels.csv").write_text(
        "file,class_id,fault_start,fault_end,split,who\na.csv,2,30,40,test,x\na.csv,2,5,9,test,y\n"
    )
    healthy, faulty = sorted(read_folder(tmp_path), key=lambda r: r.class_id)
    assert faulty.faults == ((5, 9), (30, 40)) and faulty.split == "test" and faulty.label.sum() == 14
    assert healthy.class_id == 0 and not healthy.label.any()


def test_rows_that_go_missing_on_the_way_are_missed(tmp_path, monkeypatch):
    "Whatever a parser swallows, the file's lines are counted beside it; blank lines and any line's end are no loss."
    rows = [f"{i / 1000:.3f},{i % 7},{i % 5}" for i in range(300)]
    for name, text in {
        "a.csv": "\n".join(["time,a,b", *rows[:100], "", *rows[100:], ""]),
        "b.csv": "\r".join(["time,a,b", *rows]),
        "c.csv": "\r\n".join(["time,a,b", *rows, "", ""]),
    }.items():
        (tmp_path / name).write_bytes(text.encode())
        assert read(tmp_path / name).n_samples == 300
    whole = readers_room._gather
    monkeypatch.setattr(readers_room, "_gather", lambda batches, n, layout: whole([batches[0][:200]], n, layout))
    for name in ("a.csv", "b.csv", "c.csv"):
        with pytest.raises(InputError, match="200 rows read of 300 lines"):
            read(tmp_path / name)


@pytest.mark.parametrize("quoted", ['"', '1.0"', '"1.0'])
@pytest.mark.parametrize("comma", [",", ";", "\t"])
def test_a_stray_quote_in_a_large_file_loses_no_row(tmp_path, quoted, comma):
    rows = [f"{i / 1000:.3f}{comma}{i % 7}.25{comma}{i % 5}" for i in range(100_000)]
    rows[46_000] = comma.join(["46.000", quoted, "3"])
    (tmp_path / "0_a.csv").write_text("\n".join([comma.join(["time", "a", "b"]), *rows]) + "\n")
    with pytest.raises(InputError, match="row 46002"):
        read(tmp_path / "0_a.csv")


@pytest.mark.parametrize("fs", [np.nan, np.inf, -5.0, 0.0, 1e-4, 2e10])
def test_a_rate_that_no_recording_has_is_refused_whoever_says_it(tmp_path, fs):
    signal = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
    np.savez(tmp_path / "a.npz", signal=signal)
    np.savez(tmp_path / "b.npz", signal=signal, fs=fs)
    for name, told in (("a.npz", fs), ("b.npz", None)):
        with pytest.raises(InputError, match="rate of|above 0"):
            read(tmp_path / name, fs=told)
    with pytest.raises(InputError, match="expected one sample an hour to 10 GHz"):
        (tmp_path / "c.csv").write_text("Sample Rate,1e400\na,b\n" + "1.5,2.5\n2.5,1.25\n" * 50)
        read(tmp_path / "c.csv")


@pytest.mark.parametrize("size", [1e20, 1e-20])
def test_values_that_single_precision_cannot_square_are_refused(tmp_path, size):
    signal = np.random.default_rng(0).normal(size=(2, 100)) * [[1], [size]]
    np.savez(tmp_path / "a.npz", signal=signal, fs=1e3)
    with pytest.raises(InputError, match="CH2 reaches .* in another unit"):
        read(tmp_path / "a.npz")


def test_a_packed_text_that_never_ends_and_a_line_without_an_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("timemoe_lab.data.bounds.FREE", 1 << 20)
    with gzip.open(tmp_path / "a.csv.gz", "wb") as file:
        file.write(b"time,a\n" + b"0,1\n" * 500_000)
    with pytest.raises(InputError, match="unpack to"):
        read(tmp_path / "a.csv.gz")
    (tmp_path / "b.csv").write_bytes(b"time,a\n" + b"0,1\n1,2\n" * 100 + b"7" * (3 << 20))
    with pytest.raises(InputError, match="a line of more than 1 MB"):
        read(tmp_path / "b.csv")


@pytest.mark.parametrize("text", ["a" + " " * 40_000 + "b", "a" + " " * 40_000 + "(V", "1" * 40_000 + "x"])
def test_a_long_cell_costs_no_time(tmp_path, text):
    began = time.perf_counter()
    for name, head in (("a.csv", f"time,{text}"), ("b.csv", f"note{text}x\ntime,a")):
        (tmp_path / name).write_text(f"{head}\n" + "".join(f"{i / 100},{i % 7}\n" for i in range(300)))
        with suppress(InputError):
            read(tmp_path / name)
    assert time.perf_counter() - began < 2
