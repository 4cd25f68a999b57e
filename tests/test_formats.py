"Binary formats: what a format's own library writes is read back, and what can't be read is one line that says why."

import io
import re
import struct
import subprocess
import sys
import warnings
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet
import pytest
from nptdms import ChannelObject, GroupObject, RootObject, TdmsWriter
from scipy.io import savemat

from timemoe_lab.data.formats import FORMATS, as_numbers, read_binary
from timemoe_lab.files import InputError

FIXTURES = Path(__file__).parent / "fixtures"
N = 600
TIME = np.arange(N) / 2000
SIGNAL = np.random.default_rng(5).normal(size=(3, N)).astype(np.float32)
NAMES = ["Ia", "Ib", "Ic"]
PHASES = dict(zip(NAMES, SIGNAL))


def _tdms(path, *groups, **root):
    "Groups of (name, channels, properties)."
    with TdmsWriter(path) as writer:
        objects = [ChannelObject(g, name, x, how) for g, channels, how in groups for name, x in channels.items()]
        writer.write_segment([RootObject(root), *(GroupObject(g) for g, *_ in groups), *objects])


def _h5(path, tree, **attributes):
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, values in tree.items():
            file[name] = values
            file[name].attrs["units"] = "A"


def _xlsx(path, *sheets):
    "Sheets of (title, rows)."
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)


def _rows(signal=SIGNAL, heading=("Ia [A]", "Ib [A]", "Ic [A]")):
    return [["time (ms)", *heading], *([1e3 * t, *map(float, x)] for t, x in zip(TIME, signal.T))]


def _isf(path, values=SIGNAL[0], *, order=">", short=False, ascii=False):
    "A curve in steps of 1/1024 V, offset by 100 steps and 0.5 V, as the settings of a scope say it."
    raw = np.round((np.asarray(values, float) - 0.5) * 1024 + 100).astype(f"{order}i2")
    names = "BYT_N ENC BN_F BYT_O WFI PT_F XIN XUN YMU YOF YZE YUN" if short else (
        "BYT_NR ENCDG BN_FMT BYT_OR WFID PT_FMT XINCR XUNIT YMULT YOFF YZERO YUNIT"
    )  # fmt: skip
    told = ("2", "ASC" if ascii else "BIN", "RI", {">": "MSB", "<": "LSB"}[order])
    told = (*told, '"Ch3, DC coupling; 1 V/div"', "Y", "5.0E-4", '"s"', "9.765625E-4", "100", "0.5", '"V"')
    head = ":WFMPRE:" + ";".join(f"{k} {v}" for k, v in zip(names.split(), told)) + ";:CURVE "
    data = ",".join(map(str, raw)).encode() if ascii else b"#%d%d" % (len(str(raw.nbytes)), raw.nbytes) + raw.tobytes()
    path.write_bytes(head.encode() + data + b"\n")


def _wfm(path, values=np.arange(50), *, version=3, order="<", kind=2, unit=b"s"):
    "A curve in steps of 0.5 V from 1 V, laid out by Tektronix's table of offsets."
    level, axis, curve = {1: (166, 478, 800), 2: (168, 480, 802), 3: (168, 488, 818)}[version]
    raw = bytearray(curve + 20)
    raw[:2] = {"<": b"\x0f\x0f", ">": b"\xf0\xf0"}[order]
    raw[2:10] = b":WFM#00%d" % version
    struct.pack_into(f"{order}Bi", raw, 15, 2, len(raw))
    struct.pack_into(f"{order}i", raw, 122, kind)
    struct.pack_into(f"{order}dd4x20s", raw, level, 0.5, 1.0, b"V")
    struct.pack_into(f"{order}dd4x20s", raw, axis, 5e-4, 0.0, unit)
    n = 2 * len(values)
    struct.pack_into(f"{order}5I", raw, curve, 0, 0, n, n, n)
    path.write_bytes(raw + np.asarray(values, f"{order}i2").tobytes())


def _channels(signal=SIGNAL, names=NAMES, **more):
    return [{"Name": name, "Unit": "A", "Data": x, **more} for name, x in zip(names, signal)]


def _mat73(path, tree):
    "A file as MATLAB 7.3 writes it: a struct array is references, text is numbers, arrays are transposed."
    with h5py.File(path, "w", userblock_size=512) as file:
        _mat73_group(file, file, tree)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def _mat73_item(file, group, name, value):
    if isinstance(value, dict):
        _mat73_group(file, group.create_group(name), value)
    elif isinstance(value, list):
        made = group.create_group(name)
        for key in value[0]:
            refs = np.empty((len(value), 1), h5py.ref_dtype)
            for i, element in enumerate(value):
                target = f"#refs#/{name}{key}{i}"
                _mat73_item(file, file, target, element[key])
                refs[i, 0] = file[target].ref
            made.create_dataset(key, data=refs, dtype=h5py.ref_dtype)
    elif isinstance(value, str):
        group[name] = np.array([[ord(c)] for c in value], np.uint16)
        group[name].attrs["MATLAB_class"] = np.bytes_("char")
    else:
        group[name] = np.atleast_2d(value)  # 1 x N; (N, 1) in MATLAB
        group[name].attrs["MATLAB_class"] = np.bytes_("double")


def _mat73_group(file, group, tree):
    for name, value in tree.items():
        _mat73_item(file, group, name, value)


STRUCT = {"N15": {"Info": "made up", "X": {"Name": "Host", "Data": TIME}, "Y": _channels()}}
WRITERS = {
    "vectors.npz": lambda p: np.savez(p, fs=2000.0, units=["A"] * 3, **PHASES),
    "table.npz": lambda p: np.savez(p, signal=SIGNAL.T, channels=NAMES, units=["A"] * 3, dt=5e-4),
    "vectors.mat": lambda p: savemat(p, {"Tinterval": 5e-4, "units": ["A"] * 3, **PHASES}),
    "struct.mat": lambda p: savemat(p, STRUCT),
    "struct of vectors.mat": lambda p: savemat(p, {"data": {"fs": 2000.0, "units": ["A"] * 3, **PHASES}}),
    "struct of channels.mat": lambda p: savemat(
        p, {"fs": 2000.0, "rec": {name: {"Data": x, "Unit": "A"} for name, x in PHASES.items()}}
    ),
    "time beside channels.mat": lambda p: savemat(
        p, {"rec": {"time": TIME, **{name: {"Values": x, "Unit": "Ampere"} for name, x in PHASES.items()}}}
    ),
    "time in channels.mat": lambda p: savemat(p, {"Signals": _channels(X=TIME)}),
    "rate in channels.mat": lambda p: savemat(p, {"Signals": _channels(SampleRate=2000.0)}),
    "x and y.mat": lambda p: savemat(p, {"rec": {"X": TIME, "Y": SIGNAL, "channels": NAMES, "units": ["A"] * 3}}),
    "struct73.mat": lambda p: _mat73(p, STRUCT),
    "vectors73.mat": lambda p: _mat73(p, {"fs": 2000.0, "rec": {"units": dict.fromkeys(NAMES, "A"), **PHASES}}),
    "vectors.h5": lambda p: _h5(p, PHASES, fs=2000.0),
    "group.hdf5": lambda p: _h5(p, {f"run/{name}": x for name, x in PHASES.items()}, sample_rate=2000),
    "groups of channels.h5": lambda p: _h5(p, {f"{n}/{n}": x for n, x in PHASES.items()}, dt=5e-4),
    "one.tdms": lambda p: _tdms(p, ("motor", PHASES, {"wf_increment": 5e-4, "unit_string": "A"})),
    "two groups.tdms": lambda p: _tdms(
        p,
        ("a", {"Ia": SIGNAL[0], "Ib": SIGNAL[1]}, {"wf_increment": 5e-4, "unit_string": "A"}),
        ("b", {"Ic": SIGNAL[2]}, {"wf_increment": 5e-4, "unit_string": "A"}),
    ),
    "brackets.xlsx": lambda p: _xlsx(p, ("Sheet1", _rows()), ("notes", [["who", "Kim"]])),
    "units below.xlsx": lambda p: _xlsx(
        p, ("cover", [["Report"], ["by", "Kim"]]), ("Data", [["time", *NAMES], ["ms", "A", "A", "A"], *_rows()[1:]])
    ),
    "rate above.xlsx": lambda p: _xlsx(
        p, ("Data", [["Sample rate", 2000], [], [f"{n} (A)" for n in NAMES], *(r[1:] for r in _rows()[1:])])
    ),
}  # fmt: skip


@pytest.mark.parametrize("ending", WRITERS)
def test_what_a_library_writes_is_read_back(tmp_path, ending):
    path = tmp_path / f"0_c50 {ending}"
    WRITERS[ending](path)
    ((name, columns),) = read_binary(path)
    assert name == path.name and columns.names == NAMES and columns.units == ["A"] * 3
    assert columns.table.dtype == np.float32 and np.array_equal(columns.table, SIGNAL)
    if columns.time is None:
        assert columns.fs == 2000
    else:
        assert np.allclose(columns.time, TIME, atol=1e-12)
    assert not columns.notes or "left out" not in columns.notes[0]


SEVERAL = {
    "lengths.tdms": (
        lambda p: _tdms(p, ("a", {"x": SIGNAL[0]}, {}), ("b", {"y": SIGNAL[1, :50]}, {})), ["a", "b"], [N, 50],
    ),
    "rates.tdms": (
        lambda p: _tdms(
            p, ("a", {"x": SIGNAL[0]}, {"wf_increment": 0.1}), ("b", {"y": SIGNAL[1]}, {"wf_increment": 1.0})
        ),
        ["a", "b"], [N, N],
    ),
    "names.tdms": (
        lambda p: _tdms(p, ("a/1", {"x": SIGNAL[0]}, {}), ("a_1", {"x": SIGNAL[1]}, {})), ["a_1", "a_1"], [N, N],
    ),
    "runs.h5": (lambda p: _h5(p, {"r1/Ia": SIGNAL[0], "r2/Ia": SIGNAL[1]}), ["r1", "r2"], [N, N]),
    "runs.mat": (lambda p: savemat(p, {"run": [{"Ia": SIGNAL[0]}, {"Ia": SIGNAL[1, :9]}]}), ["run1", "run2"], [N, 9]),
    "runs.xlsx": (lambda p: _xlsx(p, ("x", _rows()), ("y", _rows(SIGNAL[:, :70]))), ["x", "y"], [N, 70]),
    "numbers.mat": (
        lambda p: savemat(p, {"X098_DE_time": SIGNAL[0], "X098RPM": 1.0, "X099_DE_time": SIGNAL[1], "X099RPM": 2.0}),
        ["X098", "X099"], [N, N],
    ),
}  # fmt: skip


@pytest.mark.parametrize("ending", SEVERAL)
def test_several_recordings_in_a_file_have_names_of_their_own(tmp_path, ending):
    make, labels, lengths = SEVERAL[ending]
    make(tmp_path / f"3_{ending}")
    stem, dot, suffix = f"3_{ending}".partition(".")
    found = read_binary(tmp_path / f"3_{ending}")
    wanted = [f"{stem}_{label}{dot}{suffix}" for label in labels]
    if len(set(wanted)) < len(wanted):
        wanted[1] = f"{stem}_{labels[1]}_2{dot}{suffix}"
    assert [name for name, _ in found] == wanted
    assert [c.table.shape[1] for _, c in found] == lengths
    assert np.array_equal(found[0][1].table[0], SIGNAL[0])


def test_sheets_of_another_heading_are_left_out_with_a_note(tmp_path):
    _xlsx(tmp_path / "a.xlsx", ("x", _rows()), ("statistics", [["mean", "rms"], [1, 2], [3, 4]]))
    ((_, columns),) = read_binary(tmp_path / "a.xlsx")
    assert columns.names == NAMES and columns.notes == ["sheets of another heading left out: statistics"]


def test_an_index_that_pandas_wrote_into_a_sheet_is_no_channel(tmp_path):
    _xlsx(tmp_path / "a.xlsx", ("x", [[None, "Ia"], [0, 1.5], [1, 2.5]]))
    ((_, columns),) = read_binary(tmp_path / "a.xlsx")
    assert columns.names == ["Ia"] and columns.notes == ["left out: a column without a name"]


def test_dates_in_a_sheet_and_a_group_are_time(tmp_path):
    start = datetime(2026, 3, 1, 12)
    stamps = [start + timedelta(milliseconds=i) for i in range(9)]
    _xlsx(tmp_path / "a.xlsx", ("x", [["timestamp", "Ia"], *([t, i] for i, t in enumerate(stamps))]))
    _tdms(tmp_path / "a.tdms", ("g", {"when": np.array(stamps, "M8[us]"), "Ia": np.arange(9.0)}, {}))
    for name in ("a.xlsx", "a.tdms"):
        ((_, columns),) = read_binary(tmp_path / name)
        assert columns.names == ["Ia"] and np.allclose(np.diff(columns.time), 1e-3, atol=1e-6)


# MATLAB


def test_the_finest_raster_makes_the_recording_and_the_others_are_noted(tmp_path):
    slow = np.arange(N // 10) / 200
    axes = [{"Name": "Mech", "Data": slow}, {"Name": "Host", "Data": TIME}]
    channels = [*_channels(Raster="Host"), *_channels(SIGNAL[:2, :60], ["force", "speed"], Raster="Mech")]
    for name, write in (("a.mat", savemat), ("b.mat", _mat73)):
        write(tmp_path / name, {"K01": {"Info": "made up", "X": axes, "Y": channels[::-1]}})
        ((_, columns),) = read_binary(tmp_path / name)
        assert columns.names == NAMES[::-1] and np.array_equal(columns.table, SIGNAL[::-1])
        assert np.allclose(columns.time, TIME)
        assert columns.notes == ["2 of 5 channels left out, sampled more slowly: speed, force"]


def test_an_x_that_does_not_rise_is_a_channel(tmp_path):
    axes = {key: {"Data": x, "Unit": "g"} for key, x in zip("XYZ", SIGNAL)}
    savemat(tmp_path / "a.mat", {"acc": axes})
    savemat(tmp_path / "b.mat", {"acc": dict(zip("XYZ", SIGNAL))})
    for name in ("a.mat", "b.mat"):
        ((_, columns),) = read_binary(tmp_path / name)
        assert columns.names == ["X", "Y", "Z"] and columns.time is None and np.array_equal(columns.table, SIGNAL)


def test_a_channel_without_data_and_what_stands_beside_are_noted(tmp_path):
    channels = [*_channels(), {"Name": "spare", "Unit": "V", "Data": np.empty(0)}]
    savemat(tmp_path / "a.mat", {"r": {"X": {"Data": TIME}, "Y": channels, "calibration": [1.0, 2.0]}})
    ((_, columns),) = read_binary(tmp_path / "a.mat")
    assert columns.names == NAMES and columns.notes == ["left out, beside the channels: spare, calibration"]


@pytest.mark.parametrize("names", ["X{}_{}_time", "rec0{}_{}_time", "{1}_time_0{0}"])
def test_the_files_number_is_no_part_of_a_name(tmp_path, names):
    found = []
    for number in (97, 130):
        signals = {names.format(f"{number:03d}", end): x for end, x in zip(("DE", "FE"), SIGNAL)}
        savemat(tmp_path / f"{number}.mat", {**signals, f"X{number:03d}RPM": 1796.0})
        found += read_binary(tmp_path / f"{number}.mat")
    assert [c.names for _, c in found] == [["DE_time", "FE_time"]] * 2
    assert all(c.time is None and np.array_equal(c.table, SIGNAL[:2]) for _, c in found)
    assert "without the file's number" in found[0][1].notes[0]


def test_a_vector_that_ends_in_time_and_rises_is_time(tmp_path):
    savemat(tmp_path / "a.mat", {"sample_time": TIME, "DE_time": SIGNAL[0]})
    ((_, columns),) = read_binary(tmp_path / "a.mat")
    assert columns.names == ["DE_time"] and np.allclose(columns.time, TIME)


def test_a_lone_numbered_variable_loses_its_number_too(tmp_path):
    savemat(tmp_path / "a.mat", {"X097_DE_time": SIGNAL[0]})
    assert read_binary(tmp_path / "a.mat")[0][1].names == ["DE_time"]


def test_numbers_of_channels_stay(tmp_path):
    savemat(tmp_path / "a.mat", dict(zip(("CH1", "CH2", "CH3"), SIGNAL)))
    assert read_binary(tmp_path / "a.mat")[0][1].names == ["CH1", "CH2", "CH3"]


# Scopes


@pytest.mark.parametrize("how", [{}, {"order": "<"}, {"short": True}, {"ascii": True}])
def test_an_isf_curve_is_scaled_as_its_settings_say(tmp_path, how):
    _isf(tmp_path / "0_a.isf", **how)
    ((_, columns),) = read_binary(tmp_path / "0_a.isf")
    assert (columns.names, columns.units, columns.fs) == (["CH3"], ["V"], 2000)
    assert np.abs(columns.table[0] - SIGNAL[0]).max() <= 0.5001 / 1024


def test_a_file_of_tektronix_own_library_is_read_back():
    ((name, columns),) = read_binary(FIXTURES / "tek_single.wfm")  # 0.25 A a step from 1.5 A, 0.5 ms
    assert columns.table[0].tolist() == [((i * i) % 97 - 40) * 0.25 + 1.5 for i in range(50)]
    assert (name, columns.names, columns.units, columns.fs) == ("tek_single.wfm", ["CH1"], ["A"], 2000)


def test_frames_are_recordings():
    found = read_binary(FIXTURES / "tek_frames.wfm")  # 0.5 V a step, 1 ms
    assert [name for name, _ in found] == [f"tek_frames_frame{i}.wfm" for i in (1, 2, 3)]
    assert [c.table[0].tolist() for _, c in found] == [[0.5 * k * i for i in range(40)] for k in (1, 2, 3)]
    assert {c.fs for _, c in found} == {1000}


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("order", "<>")
def test_every_version_and_byte_order_of_wfm(tmp_path, version, order):
    _wfm(tmp_path / "tek0001CH2.wfm", version=version, order=order)
    ((_, columns),) = read_binary(tmp_path / "tek0001CH2.wfm")
    assert columns.table[0].tolist() == [1 + 0.5 * i for i in range(50)]
    assert (columns.names, columns.units, columns.fs) == (["CH2"], ["V"], 2000)


# No value


HOLED = np.array([1.0, 9.9e37, -9.91e37, np.inf, np.nan, 1e300])
HOLES = {
    "a.npz": lambda p: np.savez(p, Ia=HOLED),
    "a.npy": lambda p: np.save(p, HOLED),
    "a.mat": lambda p: savemat(p, {"Ia": HOLED}),
    "a.h5": lambda p: _h5(p, {"Ia": HOLED}),
    "a.tdms": lambda p: _tdms(p, ("g", {"Ia": HOLED}, {})),
    "a.parquet": lambda p: pa.parquet.write_table(pa.table({"Ia": HOLED}), p),
    "a.xlsx": lambda p: _xlsx(p, ("x", [["Ia"], [1.0], [9.9e37], [-9.91e37], [9.99999999e37], ["OL"], [1e300]])),
}


@pytest.mark.parametrize("name", HOLES)
def test_what_stands_for_no_value_is_missing_and_counted(tmp_path, name):
    HOLES[name](tmp_path / name)
    ((_, columns),) = read_binary(tmp_path / name)
    assert np.array_equal(columns.table, [[1, *[np.nan] * 5]], equal_nan=True)
    assert "4 over-range values (9.9E37 or infinite) taken as missing" in columns.notes


def test_numbers_leave_what_they_came_from_alone():
    given = np.array([1.0, np.inf], np.float32)
    assert as_numbers(given)[1] == 1 and np.isinf(given[1])


# What can't be read


def _npz_twice(path):
    np.savez(path, Ia=SIGNAL[0])
    with zipfile.ZipFile(path, "a") as file, warnings.catch_warnings(action="ignore"):
        file.writestr("Ia.npy", file.read("Ia.npy"))


def _parquet(path, names, head="{}"):
    table = pa.Table.from_arrays([pa.array(SIGNAL[0])] * len(names), names=names)
    pa.parquet.write_table(table.replace_schema_metadata({"timemoe_lab": head}), path)


def _mat_twice(path):
    savemat(path, {"Ia": SIGNAL[0]})
    once = path.read_bytes()
    path.write_bytes(once + once[128:])


REFUSED = {
    "channels of one name.npz": (lambda p: np.savez(p, x=SIGNAL[:2], channels=["a", "a"]), "one name, 'a'"),
    "arrays of one name.npz": (_npz_twice, "one name, 'Ia'"),
    "one name.parquet": (lambda p: _parquet(p, ["Ia", "Ia"]), "one name, 'Ia'"),
    "one name.mat": (_mat_twice, "one name, 'Ia'"),
    "one name struct.mat": (lambda p: savemat(p, {"r": {"Y": _channels(names=["a"] * 3)}}), "one name, 'a'"),
    "one name.xlsx": (lambda p: _xlsx(p, ("x", [["a", "a"], [1, 2], [3, 4]])), "one name, 'a'"),
    "nan.npz": (lambda p: np.savez(p, x=SIGNAL, fs=np.nan), "fs is nan"),
    "zero.mat": (lambda p: savemat(p, {"x": SIGNAL, "Fs": 0}), "Fs is 0"),
    "text.npz": (lambda p: np.savez(p, x=SIGNAL, fs="10 kHz"), "fs is 10 kHz"),
    "negative.h5": (lambda p: _h5(p, PHASES, fs=-1.0), "fs is -1"),
    "infinite.parquet": (lambda p: _parquet(p, ["Ia"], '{"fs": Infinity}'), "fs is inf"),
    "step.tdms": (lambda p: _tdms(p, ("g", {"a": SIGNAL[0]}, {"wf_increment": 0.0})), "wf_increment is 0"),
    "two rates.npz": (lambda p: np.savez(p, x=SIGNAL, fs=2000, dt=1e-3), "says 2000 Hz, dt says 1000 Hz"),
    "two times.npz": (lambda p: np.savez(p, t=TIME, time=2 * TIME, x=SIGNAL[0]), "t and time are times that differ"),
    "ragged.tdms": (lambda p: _tdms(p, ("g", {"a": SIGNAL[0], "b": SIGNAL[1, :9]}, {})), "different lengths"),
    "words.tdms": (lambda p: _tdms(p, ("g", {"a": ["x", "y"]}, {})), "no channel of numbers"),
    "objects.npy": (lambda p: np.save(p, np.array([{}], object), allow_pickle=True), "not a whole NPY"),
    "words.h5": (lambda p: _h5(p, {"who": "Kim"}), "no array of numbers"),
    "words.xlsx": (lambda p: _xlsx(p, ("x", [["a", "b"], ["c", "d"]])), "no sheet with a table of numbers"),
    "a word.xlsx": (lambda p: _xlsx(p, ("x", [["a"], [1], [2], ["mean"]])), "sheet 'x': row 4: 'mean'"),
    "cells.mat": (lambda p: savemat(p, {"c": np.array([SIGNAL[0], SIGNAL[1, :9]], object)}), "struct"),
    "own struct.mat": (lambda p: savemat(p, {"r": {"who": "Kim", "setup": {"gain": 2.0}}}), "struct"),
    "spectrum.wfm": (lambda p: _wfm(p, unit=b"Hz"), "over 'Hz'"),
    "digital.wfm": (lambda p: _wfm(p, kind=6), "no curve of samples"),
    "tables.h5": (lambda p: _h5(p, {"a": SIGNAL, "b": SIGNAL}), "several tables"),
}


def _complaint(path):
    with pytest.raises(InputError) as caught:
        read_binary(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 400 + len(str(path))
    return message


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_recording_is_refused_in_a_line(tmp_path, name):
    make, words = REFUSED[name]
    make(tmp_path / name)
    assert words in _complaint(tmp_path / name)


WHOLE = {
    "a.npy": lambda p: np.save(p, SIGNAL),
    "a.npz": WRITERS["vectors.npz"],
    "a.parquet": lambda p: _parquet(p, NAMES),
    "a.mat": WRITERS["struct.mat"],
    "a73.mat": WRITERS["struct73.mat"],
    "a.h5": WRITERS["vectors.h5"],
    "a.hdf5": WRITERS["vectors.h5"],
    "a.tdms": WRITERS["one.tdms"],
    "a.xlsx": WRITERS["brackets.xlsx"],
    "a.wfm": _wfm,
    "a.isf": _isf,
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.98])
def test_a_file_that_was_cut_off_is_a_line(tmp_path, name, share):
    path = tmp_path / name
    WHOLE[name](path)
    assert read_binary(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    _complaint(path)


def test_a_library_says_nothing_beside_the_line(tmp_path):
    _tdms(tmp_path / "a.tdms", ("g", PHASES, {}))
    (tmp_path / "a.tdms").write_bytes((tmp_path / "a.tdms").read_bytes()[:-9])
    code = """
import sys
from pathlib import Path
from timemoe_lab.data.formats import read_binary
try:
    read_binary(Path(sys.argv[1]))
except Exception as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "a.tdms"], capture_output=True, text=True)
    assert "cut off" in run.stdout and run.stderr == ""


CONTENTS = {
    "text": b"time,a\n0,1\n1,2\n" * 20,
    "zeros": bytes(2000),
    "zip": b"PK\x03\x04" + bytes(200),
    "noise": np.random.default_rng(0).bytes(3000),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("content", CONTENTS)
def test_another_content_than_the_ending_says_is_a_line(tmp_path, suffix, content):
    (tmp_path / f"a{suffix}").write_bytes(CONTENTS[content])
    _complaint(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.h5", "h5py"), ("a73.mat", "h5py"), ("a.tdms", "nptdms"), ("a.xlsx", "openpyxl")],
)
def test_a_missing_package_is_asked_for(tmp_path, monkeypatch, name, package):
    WHOLE[name](tmp_path / name)
    monkeypatch.setitem(sys.modules, package, None)  # an import of it fails
    message = _complaint(tmp_path / name)
    assert message == f"{tmp_path / name}: needs the package {package}; pip install 'timemoe-lab[formats]'"


def test_the_table_of_formats_names_the_packages():
    packages = {suffix: form.package for suffix, form in FORMATS.items() if form.package}
    assert packages == {".h5": "h5py", ".hdf5": "h5py", ".tdms": "nptdms", ".xlsx": "openpyxl"}


def test_a_lack_of_memory_passes_through(tmp_path, monkeypatch):
    def full(*args, **how):
        raise MemoryError

    np.save(tmp_path / "a.npy", SIGNAL)
    monkeypatch.setattr(np, "load", full)
    with pytest.raises(MemoryError):
        read_binary(tmp_path / "a.npy")


def test_a_link_into_another_file_is_not_followed(tmp_path):
    _h5(tmp_path / "other.h5", {"secret": SIGNAL[0]})
    _h5(tmp_path / "a.h5", {"Ia": SIGNAL[1]})
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["Ib"] = h5py.ExternalLink("other.h5", "/secret")
    assert read_binary(tmp_path / "a.h5")[0][1].names == ["Ia"]


def test_a_changed_byte_that_ends_its_reader_is_a_line(tmp_path):
    path = tmp_path / "0_a.mat"
    savemat(path, {"Ia": np.arange(20.0), "fs": 1e4})
    raw = bytearray(path.read_bytes())
    raw[144] = 5  # scipy 1.17 takes the dimensions for numbers of another kind, and the process dies
    path.write_bytes(raw)
    assert re.search(r"0_a.mat: (damaged \(its reader ended by signal|not a whole MAT file)", _complaint(path))


def _announced(shape):
    "An NPY file that has a head and no numbers."
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_a_head_that_announces_too_much_is_refused_before_anything_is_allocated(tmp_path):
    (tmp_path / "a.npy").write_bytes(_announced((4, 10**13)))
    assert "values, expected at most" in _complaint(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(_announced((4, 10**6)))
    assert "fewer than its head announces" in _complaint(tmp_path / "b.npy")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("signal.npy", _announced((4, 10**6)))
    assert "shorter than its head announces" in _complaint(tmp_path / "c.npz")


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("timemoe_lab.data.bounds.FREE", 1 << 20)
    zeros = np.zeros(500_000, np.float32)
    np.savez_compressed(tmp_path / "a.npz", signal=zeros, fs=1e4)
    pa.parquet.write_table(pa.table({"Ia": zeros}), tmp_path / "a.parquet")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("Ia", (1 << 20,), "f4")  # nothing is stored: the fill value stands for all
    for name in ("a.npz", "a.parquet", "a.h5"):
        assert "unpack to" in _complaint(tmp_path / name)
    monkeypatch.setenv("TIMEMOE_LAB_RAISE", "1000")
    assert read_binary(tmp_path / "a.npz")[0][1].table.shape == (1, 500_000)


def test_a_reader_that_takes_too_much_memory_is_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "timemoe_lab.data.bounds.Bounds", lambda **how: SimpleNamespace(child_bytes=1 << 28, child_s=60)
    )
    _h5(tmp_path / "a.h5", {"Ia": SIGNAL[0]})
    monkeypatch.setattr("timemoe_lab.data.formats._read_whole", lambda path: bytes(1 << 30))
    assert "needs more than 0.3 GB" in _complaint(tmp_path / "a.h5")
