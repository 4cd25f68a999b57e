"Text files as people have them: makers' forms, numbers, times, what is no value, folders, and what is said of them."

import gzip
import json

import numpy as np
import pytest

from timemoe_lab.cli import main
from timemoe_lab.data.dialect import find_layout
from timemoe_lab.data.layout import SHEET
from timemoe_lab.data.readers import labelled, left_out, list_files, read, read_file, read_folder, read_labels
from timemoe_lab.data.store import Store
from timemoe_lab.files import InputError

FS = 2000
N = 600
T = np.arange(N) / FS
NOISE = np.random.default_rng(5).normal(size=(3, N))
AMPERE = np.round(5 * np.cos(2 * np.pi * (50 * T - np.arange(3)[:, None] / 3)) + 0.05 * NOISE, 3)  # phases 1, 2, 3


def lines(
    sign=",", *, n=3, time=T, digits=6, end="", point=".", scale=1.0, form="{:.3f}", index=None, start=0, stop=N
) -> str:
    "Rows of a time (or an index, or nothing) and n currents."
    made = []
    for i in range(start, stop):
        cells = [form.format(scale * x) for x in AMPERE[:n, i]]
        first = [index(i)] if index else [f"{time[i]:.{digits}f}"] if time is not None else []
        made.append(sign.join([*first, *cells]).replace(".", point) + end)
    return "\n".join(made) + "\n"


def written(tmp_path, text, name="0_x.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


SIGLENT = (
    "Record Length,Analog:600\nSample Interval,CH1:5.0e-04\nVertical Units,CH1:A,CH2:A,CH3:A\nHorizontal Units,s\n"
    "Model Number,SDS1104X-E\nSource,CH1,CH2,CH3\nSecond,Ampere,Ampere,Ampere\n"
)
YOKOGAWA = (
    '"Header Size",9\n"Model Name","DL850"\n"TraceName","CH1","CH2","CH3"\n"BlockSize",600,600,600\n'
    '"VUnit","A","A","A"\n'
    '"HResolution",5.0E-04,5.0E-04,5.0E-04\n"HUnit","s","s","s"\n"Date","2021/01/02","2021/01/02","2021/01/02"\n\n'
)
LABVIEW = (
    "LabVIEW Measurement\t\nSeparator\tTab\nDecimal_Separator\t,\nX_Columns\tMulti\n***End_of_Header***\t\n\t\n"
    "Channels\t2\t\t\nY_Unit_Label\tAmps\t\tAmps\nDelta_X\t0,000500\t\t0,000500\n***End_of_Header***\t\t\t\n"
    "X_Value\tia\tX_Value\tib\tComment\n"
)
MAKERS = {  # text, maker's form, names of the channels
    "siglent": (SIGLENT + lines(), "Siglent", ("CH1", "CH2", "CH3")),
    "rohde": ("in s,C1 in A,C2 in A,C3 in A\n" + lines(form="{:.4E}"), "Rohde & Schwarz", ("C1", "C2", "C3")),
    "yokogawa": (YOKOGAWA + lines(time=None, index=lambda i: ""), "Yokogawa", ("CH1", "CH2", "CH3")),
    "hioki": ('"HIOKI 8847",V1.0\nTime,U1[A],U2[A],U3[A]\n' + lines(), "HIOKI", ("U1", "U2", "U3")),
    "l-card": ("L-Card LGraph2\nInput rate, kHz: 2\nCh 1\tCh 2\tCh 3\n" + lines("\t", time=None), "L-Card", None),
    "dewesoft": ("Data info\nSample rate,2000 Hz\n\nTime (s),I1 (A),I2 (A)\n" + lines(n=2), "DEWESoft", ("I1", "I2")),
    "keysight": ("x-axis,1\nsecond,Volt\n" + lines(n=1, form="{:+.4E}"), "Keysight", ("1",)),
    "rigol": (
        "X,CH1,CH2,Start,Increment,\nSequence,Volt,Volt,-1.5e-01,5.0e-04\n" + lines(n=2, index=str, end=","),
        "Rigol",
        ("CH1", "CH2"),
    ),
    "labview, commas, a time each": (
        LABVIEW
        + "".join(f"{T[i]:.4f}\t{AMPERE[0, i]:.3f}\t{T[i]:.4f}\t{AMPERE[1, i]:.3f}\n" for i in range(N)).replace(
            ".", ","
        ),
        "LabVIEW measurement",
        ("ia", "ib"),
    ),
    "picoscope": (
        "Time,Channel A,Channel B\n(ms),(A),(A)\n\n" + lines(n=2, time=1e3 * T),
        "PicoScope",
        ("Channel A", "Channel B"),
    ),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_a_makers_form_is_read(tmp_path, maker):
    text, form, names = MAKERS[maker]
    path = written(tmp_path, text)
    recording = read(path)
    assert find_layout(path).dialect == form and recording.fs == FS
    assert names is None or recording.channels == names
    assert np.array_equal(recording.signal, AMPERE[: len(recording.channels)].astype(np.float32))


TABLES = {  # text, notes that have to be there
    "a rate in a comment": ("# Sampling frequency = 2 kHz\n# Ia Ib Ic\n" + lines(" ", time=None), ""),
    "sep=": ("sep=;\nt;Ia;Ib;Ic\n" + lines(";", point=","), ""),
    "bars": ("t|Ia|Ib|Ic\n" + lines("|"), ""),
    "runs of blanks": ("   t      Ia  Ib Ic\n" + lines("   "), ""),
    "a tab at the end": ("t\tIa\tIb\tIc\t\n" + lines("\t", end="\t"), ""),
    "a comma at the heading's end": ("t,Ia,Ib,Ic,\n" + lines(), ""),
    "Greek mu": ("Time (\u03bcs),Ia,Ib,Ic\n" + lines(time=1e6 * T, digits=1), ""),
    "micro in Latin-1": (("Time (\u00b5s),Ia,Ib,Ic\n" + lines(time=1e6 * T, digits=1)).encode("latin-1"), ""),
    "Korean in CP949": (("시간 (ms),전류R (A),전류S (A),전류T (A)\n" + lines(time=1e3 * T)).encode("cp949"), ""),
    "UTF-16": (("t\tIa\tIb\tIc\n" + lines("\t")).encode("utf-16"), ""),
    "carriage returns": (("t,Ia,Ib,Ic\n" + lines()).replace("\n", "\r"), ""),
    "quoted decimal commas": (
        "t;Ia;Ib;Ic\n" + lines('";"', point=",").replace("\n", '"\n"').rstrip('"').join(('"', "")),
        "",
    ),
    "a clock": (
        "Time,Ia,Ib,Ic\n"
        + lines(index=lambda i: f"10:59:{59.9 + i / FS:.4f}" if i < 200 else f"11:00:{i / FS - 0.1:07.4f}"),
        "",
    ),
    "AM and PM": ("Timestamp,Ia,Ib,Ic\n" + lines(index=lambda i: f"5/1/2024 11:59:00.{i * 5:04d} PM"), ""),
    "a zone": ("timestamp,Ia,Ib,Ic\n" + lines(index=lambda i: f"2024-05-01T10:00:{i / FS:07.4f}+09:00"), ""),
    "a month's name": ("Date,Time,Ia,Ib,Ic\n" + lines(index=lambda i: f"16-Mar-2022,14:45:{i / FS:07.4f}"), ""),
    "µs since 1970": (
        "timestamp,Ia,Ib,Ic\n" + lines(index=lambda i: str(1714550400000000 + 500 * i)),
        "counts since 1970",
    ),
    "an unknown name of time": (
        "Abtastung,Ia,Ib,Ic\n" + lines(),
        "Abtastung taken for time in s: it rises in equal steps",
    ),
    "no heading": (lines(), "CH1 taken for time in s: it rises"),
    "numbered rows": (
        "t Ia Ib Ic\n" + lines(" ", index=lambda i: f"{i + 1} {T[i]:.4f}"),
        "the first column left out: it counts",
    ),
    "a column of words": ("t,Ia,Ib,Ic,state\n" + lines(end=",run"), "state left out: it holds words"),
    "two lines of units": ("Motor 3\nOperator: Kim\n\nTime,Ia,Ib,Ic\nsec,Ampere,Ampere,Ampere\n" + lines(), ""),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_of_this_kind_is_read(tmp_path, kind):
    text, note = TABLES[kind]
    recording = read(written(tmp_path, text))
    assert recording.fs == FS and np.array_equal(recording.signal, AMPERE.astype(np.float32))
    assert note in "; ".join(recording.notes) and (note or not recording.notes)


GROUPS = {  # sign between fields, decimal sign, sign of thousands
    "tabs, commas": ("\t", ".", ","),
    "semicolons, points": (";", ",", "."),
    "apostrophes": (";", ".", "'"),
    "blanks": (";", ",", " "),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_signs_between_thousands_are_no_decimals(tmp_path, kind):
    sign, decimal, thousands = GROUPS[kind]
    swap = str.maketrans({",": thousands, ".": decimal})
    rows = [
        sign.join([f"{t:.4f}".replace(".", decimal), f"{1000 * x:,.1f}".translate(swap)]) for t, x in zip(T, AMPERE[0])
    ]
    recording = read(written(tmp_path, f"t{sign}Ia (mA)\n" + "\n".join(rows) + "\n"))
    assert recording.units == ("mA",) and np.allclose(recording.signal[0], 1000 * AMPERE[0], atol=0.06)


def test_whole_thousands_are_told_by_their_column_and_decimals_stay(tmp_path):
    whole = "".join(f'"{1000 * x:,.0f}"\n' for x in AMPERE[0])
    assert np.abs(read(written(tmp_path, "mA\n" + whole), fs=FS).signal).max() > 4000
    decimals = "\n".join(f"{i};{2.5 + x / 100:.3f}".replace(".", ",") for i, x in enumerate(AMPERE[0]))
    assert (
        2 < read(written(tmp_path, "n;b\n" + decimals + "\n"), fs=FS).signal.max() < 3
    )  # the whole numbers are the counter's


MARKERS = ("OL", "-OL", "9.9E37", "9.91E37", "-9.99999999e+37", "∞", "-∞", "****", "--", "#NUM!", "n/a", "Infinity")


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_of_no_value_is_a_missing_sample(tmp_path, marker):
    rows = lines().splitlines()
    for i in (0, 77, 78, 599):
        t, _, b, c = rows[i].split(",")
        rows[i] = f"{t},{marker},{b},{c}"
    recording = read(written(tmp_path, "t,Ia,Ib,Ic\n" + "\n".join(rows) + "\n"))
    want = AMPERE.astype(np.float32)
    want[0, [0, 77, 78, 599]] = np.nan
    assert np.array_equal(recording.signal, want, equal_nan=True)


# The rate


def test_what_is_given_wins_and_a_contradiction_is_said(tmp_path):
    path = written(tmp_path, "Sample Interval,1.0e-03\nt,Ia,Ib,Ic\n" + lines())
    assert "row 1: Sample Interval 1.0e-03 says 1000 Hz; the time column is used" in read(path).notes[0]
    given = read(path, fs=5000.0)
    assert given.fs == 5000 and "the time column says 2000 Hz; 5000 Hz was given, and is used" in given.notes
    assert read(written(tmp_path, "t,Ia\n" + lines(n=1)), fs=float(FS)).notes == ()


def test_a_counter_is_no_time_and_a_guess_of_a_slow_rate_is_not_believed(tmp_path):
    counted = written(tmp_path, "No.,Phase A,Phase B,Phase C\n" + lines(index=lambda i: str(i + 1)))
    with pytest.raises(InputError, match="no fs; No. left out: it counts 1, 2, 3; add one, or give --fs"):
        read(counted)
    assert read(counted, fs=FS).channels == ("Phase A", "Phase B", "Phase C")
    slow = written(tmp_path, lines(time=1e3 * T))
    with pytest.raises(InputError, match="2 Hz; no current is sampled so slowly: say the rate"):
        read(slow)
    assert read(slow, fs=FS).channels == ("CH1", "CH2", "CH3")


def test_an_array_whose_first_row_is_time_has_one_channel_less(tmp_path):
    np.save(tmp_path / "0_x.npy", np.vstack([T, AMPERE]))
    recording = read(tmp_path / "0_x.npy")
    assert recording.fs == FS and recording.signal.shape == (3, N) and "taken for time" in recording.notes[0]


# Time that isn't even


def test_time_that_starts_again_begins_a_recording(tmp_path):
    pieces = "".join(lines(time=T - T[a], start=a, stop=a + 200) for a in (0, 200, 400))
    found = read_file(written(tmp_path, "t,Ia,Ib,Ic\n" + pieces))
    assert [r.name for r in found] == ["0_x_s1.csv", "0_x_s2.csv", "0_x_s3.csv"]
    assert np.array_equal(np.concatenate([r.signal for r in found], axis=1), AMPERE.astype(np.float32))
    assert [r.class_id for r in found] == [0, 0, 0]
    written(tmp_path, "file,class_id,fault_start,fault_end\n0_x.csv,1,3,9\n", "labels.csv")
    with pytest.raises(InputError, match="row 2: fault intervals count rows of 0_x.csv"):
        list(read_folder(tmp_path))


def test_uneven_time_is_refused_and_resampled_on_request(tmp_path):
    slow = np.sin(2 * np.pi * 5 * T)
    kept = np.flatnonzero(np.random.default_rng(3).random(N) < 0.7)  # rows only where something changed
    text = "t,Ia\n" + "".join(f"{T[i]:.4f},{slow[i]:.5f}\n" for i in kept)
    written(tmp_path, text, "0_a.csv")
    with pytest.raises(InputError, match="0_a.csv: time isn't even: .* write `resample = true` into recordings.toml"):
        list(read_folder(tmp_path))
    written(tmp_path, "resample = true\n", SHEET)
    (recording,) = read_folder(tmp_path)
    assert recording.fs == FS and "uneven rows became" in recording.notes[-1]
    assert np.allclose(recording.signal[0], slow[kept[0] : kept[-1] + 1], atol=2e-3)


def test_times_of_channels_must_agree(tmp_path):
    row = lambda i, late: f"{T[i]:.5f},{AMPERE[0, i]},{late(T[i]):.5f},{AMPERE[1, i]}\n"
    head = "CH1 Time,CH1 Data,CH2 Time,CH2 Data\n"
    near = written(tmp_path, head + "".join(row(i, lambda t: t + 1e-4) for i in range(N)))
    assert "CH2 Time is 0.0001 s (0.2 of a sample) behind CH1 Time; not shifted" in read(near).notes
    with pytest.raises(InputError, match="CH1 Time and CH2 Time run differently"):
        read(written(tmp_path, head + "".join(row(i, lambda t: 2 * t) for i in range(N))))


# Folders


def test_files_of_a_folder_are_recordings_or_said_to_be_left_out(tmp_path):
    for number, place in enumerate(
        ("normal/a.csv", "faulty/b.txt", "3_bars/c.dat", "good/d.asc", "normal/e_CH1.csv", "normal/e_CH2.csv")
    ):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        path.write_text("t,x\n" + "".join(f"{t:.4f},{x + number:.3f}\n" for t, x in zip(T, AMPERE[0])))
    (tmp_path / "notes.txt").write_text("clamp 2 was loose\n")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "old" / "scores").mkdir(parents=True)
    np.save(tmp_path / "old" / "scores" / "x.npy", AMPERE)
    (tmp_path / "old" / "scores" / "recordings.csv").write_text("file,recording_score,alarm\n")
    found = {r.name: r for p in list_files(tmp_path) for r in labelled(p, {}, folder=tmp_path)}
    assert {n: r.class_id for n, r in found.items()} == {
        "3_bars_c.dat": 3,
        "faulty_b.txt": 1,
        "good_d.asc": 0,
        "normal_a.csv": 0,
        "normal_e.csv": 0,
    }
    assert found["normal_e.csv"].channels == ("CH1", "CH2") and left_out(tmp_path) == ["notes.txt", "photo.jpg"]


def test_files_of_one_recording_must_be_alike(tmp_path):
    written(tmp_path, "t,x\n" + lines(n=1), "0_a_CH1.csv")
    written(tmp_path, "t,x\n" + lines(n=1, stop=500), "0_a_CH2.csv")
    with pytest.raises(InputError, match="0_a_CH2.csv: 500 samples at 2000 Hz, and 0_a_CH1.csv, another channel"):
        list(read_folder(tmp_path))


@pytest.mark.parametrize("sign", [";", "\t", ","])
def test_labels_of_a_spreadsheet(tmp_path, sign):
    for name in ("정상.csv", "고장 1.csv"):
        written(tmp_path, "t,x\n" + lines(n=1), name)
    rows = [("File", "Class_ID"), ("정상.csv", "0"), ("고장 1.csv", "11")]
    written(tmp_path, "\ufeff" + "\r\n".join(map(sign.join, rows)) + "\r\n", "labels.csv")
    assert {k: v.class_id for k, v in read_labels(tmp_path).items()} == {"정상.csv": 0, "고장 1.csv": 11}


# What a person says


def test_a_sheet_names_columns_and_wins(tmp_path):
    written(tmp_path, "n,ai0,ai1,ai2\n" + lines(index=str), "rig 7.csv")
    sheet = 'fs = 2000\npole_pairs = 3\n[classes]\n"rig*" = 0\n[[layout]]\nfiles = "*.csv"\ncolumns = ['
    columns = [
        f'{{column = "ai{i}", name = "I{k}", unit = "A", role = "current {k}"}}' for i, k in ((0, 2), (1, 3), (2, 1))
    ]
    written(tmp_path, sheet + ", ".join(columns) + "]\n", SHEET)
    (recording,) = read_folder(tmp_path)
    assert (recording.fs, recording.class_id, recording.channels) == (2000, 0, ("I2", "I3", "I1"))
    assert recording.roles == ("current 2", "current 3", "current 1") and recording.units == ("A",) * 3


def test_a_sheet_tells_signs_and_encoding_that_nothing_shows(tmp_path):
    text = "t;전류\n" + "".join(f"{t:.4f};1'{i % 7}00,5\n".replace(".", ",") for i, t in enumerate(T))
    written(tmp_path, text.encode("cp949"), "0_a.csv")
    written(tmp_path, "[[layout]]\ndecimal = ','\nthousands = \"'\"\nencoding = 'cp949'\n", SHEET)
    (recording,) = read_folder(tmp_path)
    assert recording.channels == ("전류",) and np.array_equal(recording.signal[0], 1000.5 + 100 * (np.arange(N) % 7))


def test_inspect_shows_and_writes_what_prepare_then_obeys(tmp_path, capsys):
    raw = tmp_path / "raw"
    raw.mkdir()
    head = "Abtastung,ai0,ai1,ai2,state\n"
    for k in range(5):
        written(raw, head + lines(scale=1 + 0.01 * k, end=",run"), f"0_{k}.csv")
    assert main(["inspect", str(raw / "0_1.csv"), "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert [c["role"] for c in seen["columns"]] == ["time", "current 1", "current 2", "current 3", "left out"]
    assert seen["fs_hz"] == FS and seen["fs_from"] == "the time column" and "50.0 Hz" in seen["phases"]
    assert main(["inspect", str(raw)]) == 0
    assert "0_4.csv" in capsys.readouterr().out
    text = (raw / SHEET).read_text()
    (raw / SHEET).write_text(
        text.replace('name = "ai1"', 'name = "Phase 2"').replace("# pole_pairs = 2", "pole_pairs = 3")
    )
    assert main(["inspect", str(raw)]) == 0 and "Phase 2" in (raw / SHEET).read_text()  # not written over
    assert main(["prepare", str(raw), "--out", str(tmp_path / "store")]) == 0
    store = Store(tmp_path / "store")
    assert store.channels == ("ai0", "Phase 2", "ai2") and store.pole_pairs == 3


WRONG = {  # files of a folder; words of the one line
    "a word": ({"0_a.csv": "t,a\n0,1\n1,x\n"}, ["0_a.csv", "row 3: a is 'x'", "timemoe-lab inspect /", "/raw/0_a.csv"]),
    "parts of a list": ({"0_a.csv": "part,maker\nscope,Acme\n"}, ["no line of numbers", "timemoe-lab inspect"]),
    "a stray quote": ({"0_a.csv": "t,a\n" + "0,1\n" * 40 + '1,"2\n' + "2,3\n" * 40}, ["0_a.csv", "row 42", "quote"]),
    "half a gzip": ({"0_a.csv.gz": gzip.compress(b"t,a\n" + b"0,1\n" * 9000)[:-30]}, ["not a whole gzip file"]),
    "a sheet that isn't TOML": ({"0_a.csv": "t,a\n0,1\n", SHEET: "fs = \n"}, ["recordings.toml: not TOML"]),
    "a sheet of another folder": (
        {"0_a.csv": "t,a\n0,1\n1,2\n", SHEET: "[[layout]]\ncolumns = [{column = 'b', unit = 'A'}]\n"},
        ["0_a.csv", "recordings.toml names 'b'", "'t', 'a'"],
    ),
    "nothing of ours": ({"photo.jpg": "x"}, ["no recordings", "not photo.jpg"]),
}


@pytest.mark.parametrize("command", ["prepare", "inspect"])
@pytest.mark.parametrize("fault", WRONG)
def test_what_cannot_be_read_is_one_line(tmp_path, capsys, fault, command):
    files, words = WRONG[fault]
    (tmp_path / "raw").mkdir()
    for name, text in files.items():
        written(tmp_path / "raw", text, name)
    out = ["--out", str(tmp_path / "store")] if command == "prepare" else []
    assert main([command, str(tmp_path / "raw"), *out]) in (1, 2)
    said = capsys.readouterr()
    told = said.err.splitlines()[-1] if command == "prepare" else said.out + said.err
    assert all(word in told for word in words), told
    assert "Traceback" not in said.err and not (tmp_path / "store").exists()
