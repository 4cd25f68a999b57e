"The report of a small made-up run: what stands in it, in every state that a run can be in."

import base64
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from timemoe_lab.cli import main
from timemoe_lab.config import tiny
from timemoe_lab.data.prepare import Counts
from timemoe_lab.data.recording import Recording
from timemoe_lab.detect.evaluation import Check, Evaluation, Group, Intervals, MeasuredPoint, Row
from timemoe_lab.detect.threshold import sweep
from timemoe_lab.files import InputError, write_json
from timemoe_lab.records import Event, OperatingPoint, Thresholds
from timemoe_lab.view.figures import (
    Trace,
    envelope,
    figure_channels,
    figure_curves,
    figure_histogram,
    figure_load,
    figure_load_over_time,
    figure_timeline,
    png,
)
from timemoe_lab.view.page import trace
from timemoe_lab.view.report import Case, in_words, read_recordings, windows, write_report

figures_room = import_module("timemoe_lab.view.figures")

FS, N = 1000.0, 900
HEADER = "Vertical Units,A,\nTIME,CH1,CH4"
NASTY = "2_<b>&'모터\"$x$.csv"
SECTIONS = ["headline", "timeline", "designs", "decisions", "windows", "channels", "histogram", "curves"]
SECTIONS += ["explore", "training", "experts", "reproducibility"]
ROWS = ("lab", "spec", "log-PSD + Mahalanobis", "random")
VOID = {"meta", "link", "img", "br"}


# A run by hand: the numbers in evaluation.json are made up, each different, so that a swapped column shows.


def measured(seed, **known):
    rng = np.random.default_rng(seed)
    names = ("roc_auc", "pr_auc", "f1", "f0.5", "precision", "recall", "fpr")
    counts = {k: int(rng.integers(10, 9000)) for k in ("tp", "fp", "fn", "tn")}
    values = {k: float(rng.random()) for k in names} | {"threshold": float(rng.random() * 9)} | counts
    return values | {"n": sum(counts.values()), "n_unscored": 0} | known


SURE = Intervals(point={}, recording={}, false_alarms_per_hour=None)


def row_of(i, name):
    group = Group(recall=0.875, fpr=None, n_recordings=1, recording_recall=1.0, recording_fpr=None)
    return Row(
        name=name,
        point=measured(i),
        window=measured(10 + i),
        recording=measured(20 + i, tp=1, fp=0, fn=0, tn=1),
        roc_auc_by_class={},
        intervals=SURE,
        recall_by_class={"2": group},
        by_condition={},
    )


def evaluation(names, raw="raw", **changes):
    named = (("calibration", "calibration"), ("validation F0.5", "validation"), ("oracle F0.5", "test"))
    points = [MeasuredPoint(n, split, measured(30 + i, threshold=4.0 + i)) for i, (n, split) in enumerate(named)]
    found = Evaluation(
        checkpoint="step-000020",
        preset="tiny",
        mode="lab",
        mask=("CH4",),
        series=("CH1",),
        counts=Counts(),
        splits={"train": ["0_t.csv"], "calibration": ["0_c.csv"], "validation": [], "test": names},
        n_samples=N * len(names),
        n_ignored=90,
        prevalence=0.25,
        edge_s=0.05,
        vus_window=100,
        rows=tuple(row_of(i, name) for i, name in enumerate(ROWS)),
        left_out=(),
        operating_points=tuple(points),
        recording_points=(),
        verdicts=(),
        checks=(Check("weights moved in training", True, 0.7),),
        raw=str(raw),
    )
    return replace(found, **changes)


def changed(row, *, levels=("point", "window", "recording"), **measures):
    "A row with other measures at some levels."
    return replace(row, **{level: getattr(row, level) | measures for level in levels})


POINT = OperatingPoint(
    threshold=4.0,
    metric="largest 0.99 quantile of a healthy recording",
    split="calibration",
    confusion={"tp": 0, "fp": 9, "fn": 0, "tn": 891},
    checkpoint="step-000020",
    profile_sha256="beef",
    mode="lab",
    window_threshold=3.5,
    window_s=0.128,
    recording_threshold=4.5,
    n_healthy=3,
    promised_recording_fpr=0.25,
    scores_sha256="feed",
    rows={row: Thresholds(4.0, 3.5, 4.5) for row in ROWS},
)


def config_facts(**changes):
    dealt = [("0_t.csv", "train"), ("0_c.csv", "calibration")]
    recordings = [{"name": n, "fingerprint": n, "split": s, "class_id": 0} for n, s in dealt]
    return {
        "kind": "timemoe_lab run",
        "config": tiny().to_dict(),
        "raw": "raw",
        "store": "store",
        "data_fingerprint": "cafe",
        "fs": FS,
        "channels": ["CH1", "CH4"],
        "units": ["A", ""],
        "mask": ["CH4"],
        "scale": {"mean": [0, 0], "std": [1, 1]},
        "recordings": recordings,
        "versions": {"python": "3.11"},
        "git_revision": "0123abcd",
    } | changes


def step_event(step, layers=2, experts=8):
    load = np.random.default_rng(step).dirichlet(np.ones(experts), layers).tolist()
    facts = {"loss": 1 / step, "huber": 0.9 / step, "lr": 1e-3, "delta": 1.0, "expert_load": load}
    return Event("step", step, 0.0, facts | {"gating_balance": 0.25})


def beat_event(step, **changes):
    columns = {"loss": 0.0123, "gating_balance": 0.0456, "f1": 0.789, "threshold": 3.21}
    return Event("beat", step, 0.0, columns | changes)


def build(folder, cases, *, result=None, point=POINT, facts=None, events=None):
    "A run folder with raw recordings by name: score (time,) and fault interval or None."
    run = folder / "run"
    raw = folder / "raw"
    (run / "scores").mkdir(parents=True)
    raw.mkdir()
    labels = ["file,class_id,fault_start,fault_end"]
    alarms = ["file,recording_score,alarm"]
    for name, (score, fault) in cases.items():
        t = np.arange(len(score)) / FS
        x = np.sin(np.arange(len(score)) / 3)
        np.savetxt(raw / name, np.stack([t, x, 2 * x], 1), "%.4f", ",", header=HEADER, comments="")
        quoted = '"' + name.replace('"', '""') + '"'
        labels.append(f"{quoted},{name[0]},{fault[0]},{fault[1]}" if fault else f"{quoted},{name[0]},,")
        top = np.nanquantile(score, 0.9) if np.isfinite(score).any() else math.nan
        alarms.append(f"{quoted},{top},{int(top >= 4.5)}")
        channel = np.stack([score, np.full(len(score), np.nan)]).astype(np.float32)
        with open(run / "scores" / f"{Path(name).stem}.npz", "wb") as file:
            np.savez(file, score=score.astype(np.float32), channel_score=channel, l1=channel, l2=channel)
    (raw / "labels.csv").write_text("\n".join(labels) + "\n", encoding="utf-8")
    (run / "scores/recordings.csv").write_text("\n".join(alarms) + "\n", encoding="utf-8")
    write_json(run / "config.json", config_facts(**(facts or {})))
    lines = [step_event(1), step_event(10), step_event(20), beat_event(20)] if events is None else events
    text = "".join(json.dumps(line.to_json()) + "\n" for line in lines)
    (run / "events.jsonl").write_text(text, encoding="utf-8")
    if point:
        write_json(run / "operating_point.json", point.to_json())
    if result is not False:
        write_json(run / "evaluation.json", evaluation(list(cases), raw, **(result or {})).to_json())
    return run


@pytest.fixture
def make(tmp_path):
    return partial(build, tmp_path)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    "The run folder of two classes, and its report."
    run = build(tmp_path_factory.mktemp("usual"), two_classes())
    return run, report(run)


def score(fault=None, seed=0):
    y = np.random.default_rng(seed).uniform(1, 3, N)
    if fault:
        y[slice(*fault)] += 5
    return y


def two_classes():
    return {"0_h.csv": (score(), None), NASTY: (score((300, 600), 1), (300, 600))}


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    "Few pixels: what is tested here doesn't need them."
    monkeypatch.setattr(figures_room, "DPI", 40)


# Reading it back


class Page(HTMLParser):
    "Texts, tables and pictures of a report, by section; fails on tags that don't match."

    def __init__(self, path):
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags = []
        self.open = []
        self.ids = []
        self.text = {}
        self.tables = {}
        self.images = {}
        self.references = []
        self.feed(self.html)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.references += [given[k] for k in ("src", "href", "srcset", "action") if k in given]
        if tag == "section":
            self.ids.append(given["id"])
        if tag == "table":
            self.rows = []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "caption"):
            self.cell = ""
        if tag == "img":
            self.images.setdefault(self.ids[-1], []).append(given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
        if tag == "caption":
            self.caption = self.cell
        if tag == "table":
            self.tables[self.caption] = self.rows

    def handle_data(self, data):
        if {"td", "th", "caption"} & set(self.open):
            self.cell += data
        if self.ids:
            self.text[self.ids[-1]] = self.text.get(self.ids[-1], "") + data


def report(run, **how):
    return Page(write_report(run, **how))


# The whole


def test_the_report_has_its_sections_in_order(usual):
    assert usual[1].ids == SECTIONS


def test_nothing_is_fetched_and_only_the_panel_runs(usual):
    _, page = usual
    assert page.references and all(r.startswith(("#", "data:")) for r in page.references)
    assert not {"iframe", "object", "embed", "form"} & set(page.tags)
    scripts = re.findall(r'<script type="module">(.*?)</script>', page.html, flags=re.DOTALL)
    assert len(scripts) == page.tags.count("script") == 1
    assert not re.search(r"https?:|\bimport\s*[({*'\"]|\bfetch\(|XMLHttp|WebSocket|eval\(", scripts[0])
    rest = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page.html.replace(scripts[0], ""))
    assert not re.search(r"http|//|@import|url\(|\son\w+=", rest)


def test_pictures_are_small_pngs_that_say_what_they_show(usual):
    _, page = usual
    assert set(page.images) == {"windows", "timeline", "channels", "histogram", "curves", "training", "experts"}
    for image in (image for images in page.images.values() for image in images):
        assert len(image["alt"]) > 20
        assert base64.b64decode(image["src"].partition(",")[2])[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(page.html) < 3_000_000


def test_links_lead_to_sections(usual):
    _, page = usual
    links = [r[1:] for r in page.references if r.startswith("#")]
    folded = [f"{name}-inside" for name in SECTIONS[2:]]  # a link opens a fold when it leads into it
    assert links == ["alarm-0", "timeline", *folded] and all(page.html.count(f'id="{link}"') == 1 for link in links)


def test_names_from_outside_are_text(make):
    page = report(make(two_classes(), facts={"versions": {"<i>": "1"}, "git_revision": "<script>"}))
    assert "b" not in page.tags and "i" not in page.tags and page.tags.count("script") == 1
    assert NASTY in page.text["decisions"] and NASTY in page.text["timeline"] and "<i>" in page.text["reproducibility"]


def test_the_same_run_gives_the_same_bytes(make):
    run = make(two_classes())
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_neither_pyplot_nor_a_warning(make):
    run = make(two_classes())
    script = "import sys; from timemoe_lab.view import write_report; write_report(sys.argv[1]); "
    script += "print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script, str(run)], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "False", "")


def test_drawing_leaves_matplotlib_as_it_was(make):
    import matplotlib

    before = dict(matplotlib.rcParams)
    write_report(make(two_classes()))
    assert dict(matplotlib.rcParams) == before


# The numbers


@pytest.mark.parametrize("level, caption", [("point", "Samples"), ("window", "Windows of"), ("recording", "Whole")])
def test_the_table_of_designs_holds_the_evaluation(usual, level, caption):
    run, page = usual
    result = json.loads((run / "evaluation.json").read_text())
    found = next(rows for name, rows in page.tables.items() if name.startswith(caption))
    assert found[0] == ["Design", "ROC-AUC", "PR-AUC", "F1", "F0.5", "Precision", "Recall", "FPR", "Threshold", "n"]
    for cells, row in zip(found[1:], result["rows"], strict=True):
        at, keys = row[level], ("roc_auc", "pr_auc", "f1", "f0.5", "precision", "recall", "fpr")
        assert cells == [row["name"], *(f"{at[k]:.4f}" for k in keys), f"{at['threshold']:.4g}", f"{at['n']:,}"]


def test_operating_points_name_their_split_and_the_oracle(usual):
    run, page = usual
    points = json.loads((run / "evaluation.json").read_text())["operating_points"]
    rows = page.tables["Operating points"]
    assert [r[:3] for r in rows[1:]] == [[p["name"], p["split"], f"{p['threshold']:.4g}"] for p in points]
    ratios, counts = ("f1", "f0.5", "precision", "recall", "fpr"), ("tp", "fp", "fn", "tn")
    assert rows[1][3:] == [f"{points[0][k]:.4f}" for k in ratios]
    assert page.tables["Samples behind them"][1][1:] == [f"{points[0][k]:,}" for k in counts]
    assert rows[3][:2] == ["oracle F0.5", "test"]


def test_the_panel_alone_is_a_page_and_a_run_without_scores_names_what_makes_them(make, tmp_path, capsys):
    run = make(two_classes())
    page = tmp_path / "panel.html"
    assert main(["panel", str(run), "--split", "test", "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "has seen the test recordings" in text and "<script src" not in text and "//cdn" not in text
    assert main(["panel", str(run), "--out", str(run / "config.json")]) == 2
    (run / "evaluation.json").unlink()
    assert main(["panel", str(run), "--split", "test", "--out", str(tmp_path / "none.html")]) == 1
    assert f"timemoe-lab evaluate {run}" in capsys.readouterr().err and not (tmp_path / "none.html").exists()


def test_the_headline_says_the_main_numbers(make):
    first, *others = evaluation([]).rows
    rows = (changed(first, levels=("point",), recall=0.997, fpr=0.0016), *others)
    text = report(make(two_classes(), result={"rows": rows})).text["headline"]
    assert "99.7 % of the faulty samples and 0.16 % of the healthy samples" in text
    assert "1 of 1 recordings with a fault raised an alarm; 0 of 1 healthy recordings did falsely." in text
    assert "1 of 1 with a fault raised an alarm; 0 of 1 healthy ones did" in text and "at most 25 %" in text
    assert "4 or more" in text and "largest 0.99 quantile" in text and "2 test" in text


def test_the_first_screen_says_which_alarmed_when_where_and_how_surely(make):
    cases = two_classes() | {"5_quiet.csv": (score(), (100, 300)), "0_false.csv": (score(seed=4) * 2, None)}
    run = make(cases)
    lines = ["recording,start_s,end_s,raised_s,peak,channel,part,sureness,says"]
    lines += ["0_false.csv,0.1,0.35,0.12,5.5,CH1,memory,1.37,", "0_false.csv,0.5,0.75,0.52,5.9,CH4,,1.47,CH4 <hums>"]
    (run / "scores/alarms.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    page = report(run)
    heading, first, second = page.tables["Recordings that raised an alarm (2 of 4 test recordings)"]
    assert heading == ["Score over time", "Recording", "Label", "When", "Where", "How sure"]
    tops = {name: np.quantile(y, 0.9) / 4.5 for name, (y, _) in cases.items()}
    assert first[1:] == [NASTY, "class 2 (HI2)", "–", "–", f"{tops[NASTY]:.3g} ×"]
    where = ["0.5 to 0.75 s and 1 more", "CH4, CH1"]
    assert second[1:] == ["0_false.csv", "healthy", *where, f"{tops['0_false.csv']:.3g} ×"]
    assert "CH4 <hums>" in page.text["headline"] and "led by the part memory" in page.text["headline"]
    classes = {row[0]: row[1:4] for row in page.tables["Found, missed and falsely alarmed, by class"][1:]}
    assert classes == {"healthy": ["2", "1", "1"], "class 2 (HI2)": ["1", "1", "0"], "class 5 (LI2)": ["1", "0", "1"]}
    assert "Missed: 5_quiet.csv." in page.text["headline"] and "simulated" not in page.text["headline"]


def test_the_bars_of_a_score_are_those_of_its_stretches():
    y = np.zeros(1000)
    y[250:500] = 8.0
    y[600:700] = np.nan
    drawn = str(trace(y, threshold=4.0, alt="a", faults=[(250, 500)], width=100, height=50))
    loud, calm = (drawn.split(f'class="{k}" d="')[1].split('"')[0].split("M")[1:] for k in ("loud", "calm"))
    assert [float(bar.split(" ")[0]) for bar in loud] == [25.5 + i for i in range(25)]
    assert {bar.split("V")[1] for bar in loud} == {"0.0"} and {bar.split("V")[1] for bar in calm} == {"50.0"}
    assert len(calm) == 100 - 25 - 10 and '<rect x="25.0" y="46" width="25.0"' in drawn
    line = 50 * (1 - math.asinh(1) / math.asinh(2))
    assert f'y1="{line:.1f}"' in drawn


@pytest.mark.parametrize("gap, said", [(0.1, "better than it"), (-0.1, "worse than it"), (0.001, "level with it")])
def test_the_baseline_is_compared_in_words(gap, said):
    rows = list(evaluation([]).rows)
    for i, value in ((0, 0.5 + gap), (2, 0.5)):
        rows[i] = changed(rows[i], levels=("point", "window"), **{"f0.5": value, "roc_auc": value})
    text = in_words(evaluation(["a"], rows=tuple(rows)), "f0.5")
    assert [w for w in ("better than it", "worse than it", "level with it") if w in text] == [said]
    assert ("adds nothing" in text) == (gap < 0.01)


def test_beats_are_the_specifications_table(usual):
    _, page = usual
    found = next(rows for name, rows in page.tables.items() if name.startswith("Beats"))
    heading = ["Step", "Loss", "Gating Balance", "F1", "Threshold", "Best F0.5", "At"]
    assert found == [heading, ["20", "0.0123", "0.0456", "0.789", "3.21", "–", "beat"]]


def test_departures_from_the_specification_are_listed(usual):
    _, page = usual
    rows = next(rows for name, rows in page.tables.items() if name.startswith("Where this run departs"))
    assert ["model.d_model", "32", "384"] in rows and ["data.nan", "gap", "zero"] in rows
    assert not [r for r in rows if r[0] in ("model.n_experts", "preset", "train.seed")]
    provenance = dict(page.tables["Provenance"])
    assert (provenance["seed"], provenance["data fingerprint"], provenance["git revision"]) == ("0", "cafe", "0123abcd")


def test_recordings_stand_in_their_splits(make):
    names = [{"name": f"0_{i}.csv", "fingerprint": "", "split": "train", "class_id": 0} for i in range(9)]
    page = report(make(two_classes(), facts={"recordings": names}, result=False))
    assert "train: 9 recordings" in page.text["reproducibility"] and "0_8.csv" in page.text["reproducibility"]


# The states


def test_a_run_without_evaluation_says_so_and_names_the_command(make):
    page = report(make({}, result=False))
    assert page.ids == SECTIONS and set(page.images) == {"training", "experts"}
    for name in ("headline", "designs", "decisions", "windows", "timeline", "channels", "histogram", "curves"):
        assert "timemoe-lab evaluate" in page.text[name], name
    assert "4 or more" in page.text["headline"]


def test_a_run_without_a_beat_says_how_to_go_on(make):
    page = report(make({}, result=False, point=None, events=[]))
    assert "timemoe-lab resume" in page.text["headline"] and "timemoe-lab resume" in page.text["training"]
    assert not page.images


def test_healthy_recordings_only_leave_dashes(make):
    nothing = dict.fromkeys(("roc_auc", "pr_auc", "f1", "f0.5", "recall")) | {"tp": 0, "fn": 0}
    rows = tuple(replace(changed(row, **nothing), recall_by_class={}) for row in evaluation([]).rows)
    points = (MeasuredPoint("calibration", "calibration", rows[0].point),)
    result = {"rows": rows, "operating_points": points, "prevalence": 0.0}
    page = report(make({"0_h.csv": (score(), None), "0_i.csv": (score(seed=3), None)}, result=result))
    assert page.tables["Samples"][1][1:6] == ["–", "–", "–", "–", f"{rows[0].point['precision']:.4f}"]
    assert "No sample is faulty" in page.text["headline"] and "can't be said" in page.text["designs"]
    assert "no test recording has a fault" in page.text["decisions"] and "No oracle" in page.text["decisions"]
    assert "is faulty" in page.text["curves"] and "curves" not in page.images and "timeline" in page.images
    assert "Only one kind" in page.text["windows"]


def test_faulty_recordings_only_leave_the_false_alarms_undefined(make):
    nothing = dict.fromkeys(("roc_auc", "pr_auc", "fpr")) | {"fp": 0, "tn": 0}
    rows = tuple(changed(row, **nothing) for row in evaluation([]).rows)
    page = report(make({"2_a.csv": (score((0, N)), None)}, result={"rows": rows, "prevalence": 1.0}))
    assert "No sample is healthy" in page.text["headline"] and "are not measured" in page.text["headline"]
    assert "No scored test sample is healthy" in page.text["curves"]
    assert "No test sample is healthy" in page.text["histogram"]


def test_no_validation_split_is_said(make):
    points = tuple(p for p in evaluation([]).operating_points if p.split != "validation")
    page = report(make(two_classes(), result={"operating_points": points}))
    assert "No validation point" in page.text["decisions"] and len(page.tables["Operating points"]) == 3


def test_a_masked_channel_is_named(usual):
    _, page = usual
    assert "Masked, so without a part in the score: CH4" in page.text["channels"] and "CH4" in page.text["headline"]


def test_samples_without_a_score_are_counted(make):
    cases = two_classes()
    cases[NASTY][0][700:720] = np.nan
    rows = tuple(changed(row, n_unscored=20) for row in evaluation([]).rows)
    page = report(make(cases, result={"rows": rows}))
    assert "20 have no score" in page.text["headline"] and "20 samples have no score" in page.text["histogram"]
    rows = next(rows for name, rows in page.tables.items() if name.startswith("Test recordings"))
    assert [r[-1] for r in rows[1:]] == ["0", "20"]


def test_a_recording_without_any_score_is_drawn_as_such(make):
    page = report(make({"0_h.csv": (score(), None), "2_a.csv": (np.full(N, np.nan), None)}))
    rows = next(rows for name, rows in page.tables.items() if name.startswith("Test recordings"))
    assert "timeline" in page.images and rows[2][3] == "–" and rows[2][-1] == "900"


def test_a_constant_score_is_called_useless(make):
    page = report(make({"0_h.csv": (np.ones(N), None), "2_a.csv": (np.ones(N), (300, 600))}))
    assert "constant" in page.text["histogram"]


@pytest.mark.parametrize("ok", [True, False])
def test_a_failed_check_is_loud(make, ok):
    check = Check("every expert takes 1% of the tokens", ok, 0.0)
    text = report(make(two_classes(), result={"checks": (check,)})).text["headline"]
    assert ("CHECK FAILED: every expert takes 1% of the tokens (found 0)" in text) == (not ok)


def test_a_check_without_a_number_shows_a_dash(make):
    check = Check("shuffled labels", False, None)
    assert "shuffled labels (found –)" in report(make(two_classes(), result={"checks": (check,)})).text["headline"]


def test_an_evaluation_of_another_checkpoint_is_loud(make):
    text = report(make(two_classes(), point=replace(POINT, checkpoint="step-000040"))).text["headline"]
    assert "CHECK FAILED" in text and "step-000040" in text and "timemoe-lab evaluate" in text


def test_a_dense_model_has_no_experts(make):
    dense = replace(tiny(), model=replace(tiny().model, n_experts=0))
    step = step_event(1)
    bare = replace(step, values={k: v for k, v in step.values.items() if k not in ("expert_load", "gating_balance")})
    page = report(make(two_classes(), facts={"config": dense.to_dict()}, events=[bare]))
    assert "dense" in page.text["experts"] and "training" in page.images


def test_one_step_and_a_beat_without_labels(make):
    page = report(make({}, result=False, events=[step_event(1), beat_event(1, f1=None)]))
    found = next(rows for name, rows in page.tables.items() if name.startswith("Beats"))
    assert found[1][3] == "–" and set(page.images) == {"training", "experts"}


def test_decisions_are_listed(make):
    change = Event("decision", 20, 0.0, {"rule": "f1 0.9 < 0.95", "old": 1.0, "new": 0.98, "author": "agent"})
    page = report(make({}, result=False, events=[step_event(1), beat_event(20), change]))
    assert page.tables["Decisions"][1] == ["20", "f1 0.9 < 0.95", "1", "0.98", "agent"]


# What is missing


def one_line(run, **how):
    with pytest.raises(InputError) as caught:
        write_report(run, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_raw_folder_that_is_gone_is_named(make, tmp_path):
    run = make(two_classes())
    (tmp_path / "raw").rename(tmp_path / "moved")
    message = one_line(run)
    assert str(tmp_path / "raw") in message and "--raw" in message and not (run / "report.html").exists()
    assert report(run, raw=tmp_path / "moved").ids == SECTIONS


def test_a_recording_that_is_gone_is_named(make, tmp_path):
    run = make(two_classes())
    old = write_report(run).read_bytes()
    (tmp_path / "raw/labels.csv").unlink()
    (tmp_path / "raw/0_h.csv").unlink()
    assert "0_h.csv" in one_line(run) and (run / "report.html").read_bytes() == old


def test_a_recording_that_changed_is_named(make, tmp_path):
    run = make(two_classes())
    lines = (tmp_path / "raw/0_h.csv").read_text().splitlines()
    (tmp_path / "raw/0_h.csv").write_text("\n".join(lines[:-5]) + "\n")
    message = one_line(run)
    assert "895 samples, but scores of 900" in message and "timemoe-lab evaluate" in message


@pytest.mark.parametrize("name", ["0_h.npz", "recordings.csv"])
def test_scores_that_are_gone_are_named(make, name):
    run = make(two_classes())
    (run / "scores" / name).unlink()
    assert name in one_line(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    assert "not a run" in one_line(tmp_path)


# The figures


@pytest.mark.parametrize("n", [1, 1399, 1401, 5000, 70_001])
def test_the_envelope_keeps_the_extremes_of_every_bin(n):
    y = np.random.default_rng(n).normal(size=n)
    y[n // 3 : n // 2] = np.nan
    kept = envelope(y)
    width = 1 if n <= 1400 else -(-n // 700)
    assert len(kept) <= 1400 and np.all(np.diff(kept) > 0)
    for start in range(0, n, width):
        part = y[start : start + width]
        inside = y[kept[(kept >= start) & (kept < start + width)]]
        assert len(inside)
        if np.isfinite(part).any():
            assert np.nanmax(part) == np.nanmax(inside) and np.nanmin(part) == np.nanmin(inside)


def spans(collection):
    return [(p.vertices[:, 0].min(), p.vertices[:, 0].max()) for p in collection.get_paths()]


def test_a_long_timeline_stays_small_and_true():
    y = np.random.default_rng(0).uniform(1, 2, 2_000_000)
    y[1_234_567] = 50
    figure = figure_timeline([Trace("a", y, ((1_000_000, 1_500_000),))], fs=10_000, threshold=3.0)
    line, _, limit = figure.axes[0].lines
    assert len(line.get_xdata()) <= 1400 and line.get_ydata().max() == 50 and set(limit.get_ydata()) == {3.0}
    assert line.get_xdata()[line.get_ydata().argmax()] == pytest.approx(123.4567)
    assert spans(figure.axes[0].collections[0]) == [(100.0, 150.0)]
    assert len(png(figure)) < 200_000


def test_a_masked_channel_is_written_on_its_strip():
    signal = np.ones((2, 100), np.float32)
    recording = Recording("2_a.csv", signal, 100.0, ("CH1", "CH2"), ("A", "A"), 2)
    values = np.stack([np.ones(100), np.full(100, np.nan)])
    figure = figure_channels(recording, values, mask=("CH2",))
    assert [[t.get_text() for t in ax.texts] for ax in figure.axes] == [[], [], [], ["masked: takes no part"]]
    figure = figure_channels(recording, values, mask=())
    assert "every sample is missing" in figure.axes[3].texts[0].get_text()


def test_curves_of_many_thresholds_are_thinned():
    rng = np.random.default_rng(0)
    counts = sweep(rng.lognormal(size=300_000), rng.random(300_000) < 0.1)
    figure = figure_curves(counts, beta=0.5, marks={"calibration": 2.0})
    f = figure.axes[0].lines[2]
    assert len(f.get_xdata()) <= 3000 and f.get_ydata().max() == pytest.approx(counts.f(0.5).max(), abs=1e-3)


@pytest.mark.parametrize("n_layers, n_maps", [(1, 1), (3, 3), (36, 12)])
def test_load_over_time_draws_at_most_twelve_layers(n_layers, n_maps):
    load = np.full((5, n_layers, 8), 1 / 8)
    figure = figure_load_over_time(range(5), load)
    titles = [ax.get_title("left") for ax in figure.axes if ax.get_title("left")]
    assert len(titles) == n_maps and titles[0] == "layer 0" and titles[-1] == f"layer {n_layers - 1}"
    assert png(figure) and png(figure_load(load[0], dead=0.005))


def test_a_recording_that_was_cut_is_found_in_its_file(tmp_path):
    t = np.arange(N) / FS
    x = np.arange(N)
    x[[1, 2]] = 2, 1  # what rises throughout is no channel
    np.savetxt(tmp_path / "2_a.csv", np.stack([t, x, x], 1), "%.4f", ",", header=HEADER, comments="")
    np.savetxt(tmp_path / "0_b.csv", np.stack([t, -x, x], 1), "%.4f", ",", header=HEADER, comments="")
    (tmp_path / "labels.csv").write_text("file,class_id,fault_start,fault_end\n2_a.csv,2,400,500\n")
    run = SimpleNamespace(facts=config_facts(healthy_head=300), path=tmp_path)
    tail, whole = f"2_a_300-{N}.csv", "0_b.csv"
    found = {r.name: r for r in read_recordings(run, tmp_path, [tail, whole, "2_a_0-300.csv"])}
    assert set(found) == {tail, whole, "2_a_0-300.csv"} and found[whole].signal[0, -1] == 1 - N
    assert found[tail].signal[0, 0] == 300 and found[tail].faults == ((100, 200),)
    with pytest.raises(InputError, match="2_a_0-301.csv: no such file"):
        list(read_recordings(run, tmp_path, ["2_a_0-301.csv"]))


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [-1.0, 2.0], [3.0] * 9])
def test_histograms_of_odd_scores_are_drawn(values):
    figure = figure_histogram({"healthy": np.array(values), "class 1": np.array([1.0, np.nan])}, threshold=0.5)
    assert png(figure) and len(figure.axes) == 2


def test_examples_come_from_the_same_motor_and_load():
    def case(name, load, top):
        return Case(name, int(name[0]), 50.0, load, np.full(N, name[0] == "2"), score(), top)

    used = []
    cases = (case("0_a", 0.0, 1.0), case("0_b", 99.0, 9.0), case("2_a", 99.0, 1.0))
    m = SimpleNamespace(result=evaluation([]), cases=cases, raw=None)
    m.run = SimpleNamespace(facts={"fs": FS, "channels": ["CH1"], "units": ["A"]})
    m.point = replace(POINT, window_s=0.1)
    m.frame = SimpleNamespace(series=("CH1",), series_units=("A",))
    m.drawn = lambda name: used.append(name) or SimpleNamespace(signal=np.ones((1, N)))
    windows(m)
    assert used == ["0_b", "2_a"]
