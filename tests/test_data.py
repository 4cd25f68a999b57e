"Readers, preparation and store: what is written is read back, against computations of the tests' own."

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import decimate as scipy_decimate

from timemoe_lab.config import DataConfig
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.motor import write_scope_csv
from timemoe_lab.data.prepare import (
    Frame,
    covering_starts,
    decimate,
    fill_gaps,
    fit_scale,
    moments,
    normalise,
    split_recordings,
    training_starts,
)
from timemoe_lab.data.readers import read, read_folder
from timemoe_lab.data.recording import Recording
from timemoe_lab.data.store import BLOCK, Store
from timemoe_lab.files import InputError, UsageError

cell = st.one_of(st.floats(-1e3, 1e3, width=32), st.sampled_from([math.nan, math.inf, -math.inf]))
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
@settings(max_examples=25, deadline=None)
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


@settings(deadline=None)
@given(st.lists(cell, min_size=3, max_size=40), st.integers(0, 6))
def test_short_gaps_are_straight_lines_and_long_ones_stay(values, max_gap):
    x = np.array([values], np.float32)
    x[~np.isfinite(x)] = np.nan
    filled, valid = fill_gaps(x, max_gap=max_gap)
    want = x.copy()
    i = 0
    while i < x.shape[1]:
        if np.isnan(x[0, i]):
            end = i
            while end < x.shape[1] and np.isnan(x[0, end]):
                end += 1
            if end - i <= max_gap and i > 0 and end < x.shape[1]:
                for j in range(i, end):
                    want[0, j] = x[0, i - 1] + (x[0, end] - x[0, i - 1]) * (j - i + 1) / (end - i + 1)
            i = end
        else:
            i += 1
    assert np.allclose(filled, want, rtol=1e-4, atol=1e-3, equal_nan=True)
    assert np.array_equal(valid, np.isfinite(want))


@pytest.mark.parametrize("factor", [2, 5, 10])
def test_decimation_agrees_with_scipy_away_from_the_ends(factor):
    x = np.random.default_rng(factor).normal(size=(2, 4000))
    ours, theirs = decimate(x, factor), scipy_decimate(x, factor, ftype="fir", axis=1)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs)[:, 20:-20].max() < 1e-5


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(1, 80), st.integers(0, 200), st.integers(0, 99))
def test_training_windows_lie_inside_and_keep_their_stride(window, stride, extra, seed):
    total = window + extra
    starts = training_starts(total, window=window, stride=stride, generator=np.random.default_rng(seed))
    assert 0 <= starts[0] <= min(stride - 1, total - window) and starts[-1] + window <= total
    assert set(np.diff(starts)) <= {stride} and total - (starts[-1] + window) < stride


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(1, 60), st.integers(0, 300))
def test_evaluation_windows_cover_every_sample(window, stride, extra):
    stride = min(stride, window)
    starts = covering_starts(window + extra, window=window, stride=stride)
    assert set((starts[:, None] + np.arange(window)).ravel()) == set(range(window + extra))


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.floats(-1e4, 1e4), st.floats(0.01, 100))
def test_the_scale_of_parts_is_that_of_the_whole(sizes, mean, std):
    generator = np.random.default_rng(0)
    parts = [generator.normal(mean, std, (1, n)) for n in sizes]
    scale, whole = fit_scale([moments(p) for p in parts]), np.concatenate(parts, axis=1)
    assert scale.mean[0] == pytest.approx(whole.mean(), abs=1e-9 * (1 + abs(mean)))
    assert scale.std[0] == pytest.approx(whole.std(), rel=1e-6, abs=1e-9 * (1 + abs(mean)))


def test_missing_samples_take_no_part_or_become_zero_to_the_letter(recording):
    recording.signal[0, 100:200] = np.nan
    scale = fit_scale([moments(recording.signal)])
    frame = Frame(recording.fs, recording.channels, recording.units, (), scale)
    gap = normalise(recording, frame=frame, config=DataConfig())
    zero = normalise(recording, frame=frame, config=DataConfig(nan="zero"))
    assert not gap.valid[0, 100:200].any() and (gap.x[0, 100:200] == 0).all()
    assert zero.valid.all() and zero.x[0, 150] == pytest.approx(-scale.mean[0] / (scale.std[0] + 1e-6), rel=1e-5)


def test_no_recording_is_in_two_splits_and_conditions_are_dealt_out_evenly():
    rows = [
        Recording(f"{c}_{i}.csv", np.zeros((1, 2)), 1.0, ("x",), ("",), c, hz, load)
        for c in (0, 1, 2)
        for hz in (30.0, 60.0)
        for load in (0.0, 100.0)
        for i in range(8)
    ]
    split = split_recordings(rows, seed=4)
    assert all(s in ("train", "calibration", "validation", "test") for s in split)
    for hz in (30.0, 60.0):
        for load in (0.0, 100.0):
            mine = [s for s, r in zip(split, rows) if r.class_id == 0 and (r.supply_hz, r.load_pct) == (hz, load)]
            assert {s: mine.count(s) for s in set(mine)} == {"train": 3, "calibration": 2, "validation": 1, "test": 2}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([5, 700, BLOCK - 1, BLOCK, BLOCK + 1]), min_size=2, max_size=4), st.integers(1, 3))
def test_a_store_gives_back_what_was_written(tmp_path_factory, lengths, n_channels):
    generator = np.random.default_rng(sum(lengths))
    names = tuple(f"CH{c + 1}" for c in range(n_channels))
    recordings = [
        Recording(
            f"0_{i}.csv", generator.normal(size=(n_channels, n)).astype(np.float32), 50.0, names, ("A",) * n_channels, 0
        )
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
