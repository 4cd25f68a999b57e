"Numbers beside their bounds, what `bench --strict` makes of them, and what is measured in a process of its own."

import json
import sys

import numpy as np
import pytest

import timemoe_lab.bench as bench_room
from timemoe_lab.bench import (
    BASE_BOUNDS,
    INGEST_BOUNDS,
    PANEL_BOUNDS,
    SCORE_BOUNDS,
    STORE_BOUNDS,
    TRAIN_BOUNDS,
    BenchHow,
    Bound,
    Drag,
    LoopSpeed,
    PassTime,
    PublishedCode,
    ScoringSpeed,
    alone,
    bench_model,
    drag_ms,
    in_turns,
    model_bounds,
    numbers_of,
    panel_page,
    ratio_of,
    verdicts_of,
    verdicts_table,
)
from timemoe_lab.cli import main
from timemoe_lab.config import base, tiny
from timemoe_lab.files import InputError, UsageError
from timemoe_lab.model.timemoe import TimeMoE

# Bounds


@pytest.mark.parametrize(
    "bound, value, ok",
    [
        (Bound("x", at_least=2), 2.0, True),
        (Bound("x", at_least=2), 1.999, False),
        (Bound("x", at_most=0.5), 0.5, True),
        (Bound("x", at_most=0.5), 0.501, False),
        (Bound("x", at_most=0.5), float("nan"), False),
        (Bound("x", at_least=0), float("nan"), False),
    ],
)
def test_a_bound_holds_up_to_its_number_and_never_for_nan(bound, value, ok):
    (verdict,) = verdicts_of({"x": value, "y": 0.0}, [bound, Bound("not measured", at_most=0)])
    assert verdict.ok is ok
    assert ("yes" if ok else "NO") in verdicts_table([verdict]).splitlines()[1]


@pytest.mark.parametrize("sides", [{}, {"at_least": 1, "at_most": 2}])
def test_a_bound_has_one_side(sides):
    with pytest.raises(AssertionError):
        Bound("x", **sides)


def test_every_bound_names_a_number_that_its_benchmark_tells():
    loops = [LoopSpeed(loop, 2048, 1.0, 0.0, 1.0) for loop in ("plain", "lab")]
    ways = scoring(3.0)
    drags = [Drag(n, 1.0, 1.0, 1.0) for n in (10_000, 1_000_000)]
    kinds = {"forward": ("plain", "fast"), "forward+backward": ("plain", "fast", "recompute")}
    works = [(w, f"{w} {n} {p}") for w, n, p in bench_room.WORK]
    passes = [PassTime(name, k, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0) for w, name in works for k in kinds[w]]
    told = ((loops, TRAIN_BOUNDS), (ways, SCORE_BOUNDS), (drags, PANEL_BOUNDS), (passes, BASE_BOUNDS))
    for rows, bounds in told:
        assert bounds and {b.name for b in bounds} <= set(numbers_of(rows))
    assert "window by window: ratio" not in numbers_of(ways)  # what isn't known is no number
    assert {b.name for b in INGEST_BOUNDS} == {"read_ratio", "read_best_ratio", "read_one_thread_ratio"}
    names = {"memmap_ratio", "large_ratio", "published_ratio", "prepare_growth_mb", "prepare_ratio"}
    assert names == {b.name for b in STORE_BOUNDS}


def test_the_bounds_of_base_are_those_of_a_cpu():
    rows = [PassTime("forward 2048 bf16", kind, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0) for kind in ("plain", "fast")]
    assert model_bounds(base().model, "cpu", rows) == BASE_BOUNDS
    elsewhere = (Bound("forward 2048 bf16, fast: speed", at_least=1),)
    assert model_bounds(base().model, "cuda:0", rows) == model_bounds(tiny().model, "cpu", rows) == elsewhere


# The command


def scoring(ratio):
    fast = ScoringSpeed("in batches", 1.0, 10.0, ratio=ratio, difference=1e-6, peak_mb=1.0, peak_mb_8=2.0, growth=2.0)
    return [fast, ScoringSpeed("window by window", ratio, 10.0 / ratio)]


@pytest.mark.parametrize("ratio, strict, status", [(3.0, True, 0), (1.2, True, 1), (1.2, False, 0)])
def test_strict_fails_where_a_bound_is_missed(monkeypatch, capsys, ratio, strict, status):
    monkeypatch.setattr(bench_room, "bench_score", lambda config, **how: scoring(ratio))
    options = ["--strict"] if strict else []
    assert main(["bench", "score", *options]) == status
    text = capsys.readouterr().out
    (line,) = [x for x in text.splitlines() if "in batches: ratio" in x]
    assert [x.strip() for x in line.split("|")[1:]] == [f"{ratio:g}", "at least 1.5", "yes" if ratio > 1.5 else "NO"]
    assert "Windows/s" in text  # the benchmark's own table stands above
    assert main(["bench", "score", "--json", *options]) == status
    found = json.loads(capsys.readouterr().out)
    wanted = {"name": "in batches: ratio", "value": ratio, "bound": "at least 1.5", "ok": ratio > 1.5}
    assert found["bounds"][0] == wanted
    assert found["score"][0]["ratio"] == ratio and "ratio" not in found["score"][1]


def test_strict_looks_at_every_benchmark_that_was_asked_for(monkeypatch, capsys):
    drags = [Drag(10_000, 4.0, 5.0, 1.0), Drag(1_000_000, 13.0, 20.0, 3.25)]
    reading = {"read_ratio": 2.0, "read_best_ratio": 2.0, "read_one_thread_ratio": 1.2, "read_ms": 9.0}
    monkeypatch.setattr(bench_room, "bench_ingest", lambda path: reading)
    monkeypatch.setattr(bench_room, "bench_panel", lambda **how: drags)
    file = ["--data", "made-up.csv"]
    assert main(["bench", "ingest", *file, "--strict", "--json"]) == 0
    assert main(["bench", "panel", "ingest", *file, "--strict", "--json"]) == 1
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [b["name"] for b in told["bounds"] if not b["ok"]] == ["1,000,000 points: ratio"]
    assert len(told["bounds"]) == 4 and told["panel"][1]["median_ms"] == 13.0


# What is measured


def test_ways_take_turns_and_the_first_round_does_not_count():
    order, calls = [], []

    def way(name):
        order.append(name)
        return lambda: calls.append(name)

    took = in_turns({name: lambda name=name: way(name) for name in "ab"}, 3)
    assert order == calls == ["a", "b"] * 4 and all(len(t) == 3 for t in took.values())
    assert ratio_of(np.array([4.0, 9.0, 2.0]), np.array([2.0, 3.0, 2.0])) == 2.0


def test_a_function_alone_says_what_went_wrong():
    with pytest.raises(UsageError, match="^/nowhere: no such folder"):  # a misuse stays one
        alone("_watch_prepare", "/nowhere", "/nowhere/store")
    with pytest.raises(InputError, match="_watch_scoring, in a process of its own: TypeError .*n_windows"):
        alone("_watch_scoring", "tiny")


def test_the_benchmark_measures_each_model_in_a_process_of_its_own():
    how = BenchHow(threads=1, repeats=1)
    rows = bench_model(tiny().model, how, work=(("forward+backward", 2048, "fp32"),))
    assert {r.work for r in rows} == {"forward+backward 512 fp32"}  # as many tokens as tiny has positions
    assert [r.model for r in rows] == ["plain", "fast", "recompute"] and rows[0].speed == 1
    assert all(r.speed == rows[0].seconds / r.seconds for r in rows)
    assert rows[1].difference < 1e-5 and rows[2].difference == rows[1].difference


def test_a_folder_without_the_published_code_is_named(tmp_path):
    message = "expected a checkout of Time-MoE, and: pip install transformers==4.40.1"
    with pytest.raises(UsageError, match=message):
        PublishedCode(tmp_path, TimeMoE(tiny().model, seed=0))
    with pytest.raises(UsageError, match=message):  # from a process of its own, too
        bench_model(tiny().model, BenchHow(official=tmp_path), work=(("forward", 64, "fp32"),))


def test_a_panel_that_is_measured_has_all_of_its_points():
    page = panel_page(300_000)
    assert len(page) > 4 * 300_000 and "Thinned" not in page


def test_what_the_drag_needs_is_said_in_a_line(monkeypatch):
    monkeypatch.setattr(bench_room, "CHROMIUM", ("no-such-browser",))
    pytest.importorskip("playwright")
    with pytest.raises(InputError, match="no Chromium here; install one"):
        drag_ms("", 1)
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(InputError, match="pip install playwright"):
        drag_ms("", 1)
