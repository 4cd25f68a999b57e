"Folders scored piece by piece: kills, processes, two forms, a rate of false alarms; histories; recalibration."

import json
import os
import shutil
import time
from dataclasses import replace
from datetime import datetime, timezone
from importlib import import_module

import numpy as np
import pyarrow.dataset as ds
import pytest
from scipy.stats import mannwhitneyu

from timemoe_lab.cli import main
from timemoe_lab.data.motor import campaign, write_campaign
from timemoe_lab.detect.history import Entry, add_history, change_point, moved, read_history
from timemoe_lab.detect.scorer import open_scorer, read_summary, score_file
from timemoe_lab.files import InputError, UsageError
from timemoe_lab.plant import fleet
from timemoe_lab.plant.fleet import Job, conformal_p, discover, score_folder
from timemoe_lab.run.points import bring_back, put_in_force
from timemoe_lab.records import OperatingPoint
from timemoe_lab.run.checkpoint import TOP, settle, verify_run
from timemoe_lab.run.folder import RunFolder, digest_of

history_room = import_module("timemoe_lab.detect.history")
points_room = import_module("timemoe_lab.run.points")


@pytest.fixture(scope="module")
def few(raw, tmp_path_factory):
    "Four recordings."
    folder = tmp_path_factory.mktemp("few")
    for path in [*sorted(raw.glob("0_*.csv"))[:3], sorted(raw.glob("6_*.csv"))[0]]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def job(trained, few):
    return Job(str(trained.path), str(few))


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory):
    "What they come to, undisturbed."
    out = tmp_path_factory.mktemp("whole") / "scores"
    score_folder(job, out)
    return content(out)


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Killed(BaseException):
    pass


def killed_after(n):
    seen = []

    def progress(done):
        seen.append(done.name)
        if len(seen) == n:
            raise Killed

    return progress


@pytest.mark.parametrize("n", [1, 4])
def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(job, whole, tmp_path, n):
    out = tmp_path / "scores"
    with pytest.raises(Killed):
        score_folder(job, out, progress=killed_after(n))
    assert not out.exists() and len(list((tmp_path / ".scores.scoring").glob("*.npz"))) == n
    seen = []
    told = score_folder(job, out, progress=lambda done: seen.append(done.name))
    assert told.n_before == n and len(seen) == 4 - n
    assert content(out) == whole and [p.name for p in tmp_path.iterdir()] == ["scores"]


@pytest.mark.parametrize("at", ["save_facts", "save_alarms", "sync_path"])
def test_a_kill_while_results_are_put_together_loses_nothing(job, whole, tmp_path, monkeypatch, at):
    out = tmp_path / "scores"
    with pytest.raises(Killed):
        score_folder(job, out, progress=killed_after(4))

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(fleet, at, die)
        score_folder(job, out)
    assert not out.exists()
    assert score_folder(job, out).n_before == 4 and content(out) == whole


def test_what_has_changed_is_scored_again_and_nothing_else(job, few, tmp_path, capsys):
    shutil.copytree(few, tmp_path / "raw")
    mine = replace(job, raw=str(tmp_path / "raw"))
    with pytest.raises(Killed):
        score_folder(mine, tmp_path / "out", progress=killed_after(3))
    first, second, *_ = sorted((tmp_path / "raw").glob("*.csv"))
    shutil.copy(sorted(few.glob("6_*"))[0], first)  # another content under the same name
    seen = []
    score_folder(mine, tmp_path / "out", progress=lambda done: seen.append(done.name))
    assert first.name in seen and second.name not in seen and len(seen) == 2
    with pytest.raises(Killed):
        score_folder(mine, tmp_path / "other", progress=killed_after(3))
    told = score_folder(replace(mine, format="parquet"), tmp_path / "other")
    assert told.n_before == 0 and "3 files were scored with another run or other options" in capsys.readouterr().err


DIES = """
import os, pathlib
from timemoe_lab.plant import fleet
real = fleet.score_source
def score(scorer, read, folder, **how):
    mark = pathlib.Path({mark!r})
    if read.source.path.name == {name!r} and (not mark.exists() or {always}):
        mark.touch()
        os.kill(os.getpid(), 9)
    return real(scorer, read, folder, **how)
fleet.score_source = score
fleet.serve()
"""


def test_what_a_killed_process_had_is_scored_by_another_and_bytes_are_the_same(job, whole, few, tmp_path, monkeypatch):
    name = sorted(p.name for p in few.iterdir())[1]
    how = {"mark": str(tmp_path / "mark"), "name": name}
    monkeypatch.setattr(fleet, "CHILD", DIES.format(**how, always=False))
    score_folder(job, tmp_path / "scores", workers=2)
    assert (tmp_path / "mark").exists() and content(tmp_path / "scores") == whole
    monkeypatch.setattr(fleet, "CHILD", DIES.format(**how, always=True))
    with pytest.raises(InputError, match=f"{name}: a process that scores it dies .signal 9., twice") as told:
        score_folder(job, tmp_path / "again", workers=1)
    assert "\n" not in str(told.value) and "are scored and kept" in str(told.value)
    monkeypatch.setattr(fleet, "CHILD", "raise SystemExit(3)")
    with pytest.raises(InputError, match="die as they start .status 3."):
        score_folder(job, tmp_path / "third", workers=1)


def test_a_table_holds_what_the_arrays_hold(job, whole, tmp_path):
    out = tmp_path / "scores"
    score_folder(replace(job, format="parquet"), out)
    assert (out / "recordings.csv").read_bytes() == whole["recordings.csv"] and not list(out.glob("*.npz"))
    (tmp_path / "npz").mkdir()
    table = ds.dataset(out / "scores", partitioning="hive")
    for row in read_summary(out):
        (tmp_path / "one.npz").write_bytes(whole[score_file(row["file"])])
        arrays = np.load(tmp_path / "one.npz")
        mine = table.to_table(filter=ds.field("recording") == row["file"])
        columns = {"score": arrays["score"]}
        for kind in ("channel_score", "l1", "l2"):
            columns |= {f"{kind}_{name}": values for name, values in zip(arrays["series"], arrays[kind])}
        assert set(mine.column_names) == {*columns, "sample", "time_s", "recording"}
        for name, values in columns.items():
            assert np.array_equal(mine[name].to_numpy(), values, equal_nan=True), name
        assert mine["sample"].to_pylist() == list(range(len(arrays["score"])))
        assert np.allclose(mine["time_s"].to_numpy(), np.arange(mine.num_rows) / 10_000)


def test_a_bad_recording_stops_with_a_line_and_what_is_scored_stays(job, few, tmp_path, capsys):
    shutil.copytree(few, tmp_path / "raw")
    (tmp_path / "raw" / "7_last.csv").write_text("")
    words = ["score", job.run, str(tmp_path / "raw"), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    said = [x for x in capsys.readouterr().err.splitlines() if x.startswith("timemoe-lab: ")]
    assert (
        len(said) == 1 and "7_last.csv: the file is empty" in said[0] and "4 of 5 files are scored and kept" in said[0]
    )
    assert not (tmp_path / "out").exists()
    assert main([*words, "--skip-bad"]) == 0
    out, err = capsys.readouterr()
    assert "4 files are scored already, 1 are left" in err and "7_last.csv" in out
    assert main(words) == 2 and "exists and isn't empty" in capsys.readouterr().err


def test_a_second_process_is_refused_while_one_scores(job, tmp_path):
    def second(done):
        with pytest.raises(UsageError, match=rf"another score \(process {os.getpid()}\) is writing it"):
            score_folder(job, tmp_path / "scores")
        raise Killed

    with pytest.raises(Killed):
        score_folder(job, tmp_path / "scores", progress=second)


# A rate of false alarms


def stands_out(p, rate):
    "Benjamini and Hochberg, step up, as their paper has it."
    order = np.argsort(p)
    below = np.flatnonzero(p[order] <= rate * np.arange(1, len(p) + 1) / len(p))
    found = np.zeros(len(p), bool)
    if len(below):
        found[order[: below[-1] + 1]] = True
    return found


def point_of(healthy):
    return OperatingPoint(1.0, "", "", {}, n_healthy=len(healthy), healthy_scores=tuple(np.sort(healthy).tolist()))


def test_a_rank_is_counted_as_it_is_defined():
    g = np.random.default_rng(0)
    healthy = g.integers(0, 9, 30).astype(float)
    score = np.array([-1.0, 0, 4, 8, 9, np.nan])
    want = [1.0 if np.isnan(s) else (1 + sum(h >= s for h in healthy)) / 31 for s in score]
    assert np.allclose(conformal_p(score, healthy), want)


def test_false_alarms_stay_below_the_rate_that_is_asked_for():
    "Healthy and faulty motors of one fleet, drawn anew each time with the healthy recordings that they rank among."
    g = np.random.default_rng(1)
    share, found = [], []
    for _ in range(400):
        faulty = np.arange(60) < 12
        score = g.normal(size=60) + 4.0 * faulty
        told = discover(score, point_of(g.normal(size=200)), rate=0.1)
        assert (told.alarm == stands_out(told.p, 0.1)).all()
        share.append((told.alarm & ~faulty).sum() / max(1, told.alarm.sum()))
        found.append(told.alarm[faulty].mean())
    error = np.std(share) / np.sqrt(len(share))
    assert 0.02 < np.mean(share) <= 0.1 + 2 * error and np.mean(found) > 0.8


@pytest.mark.parametrize(
    ("n", "m", "words"),
    [
        (5, 3, "can't be reached; it takes 9 healthy recordings"),
        (19, 60, "of 60 recordings 30 must stand out at once; for one alone it takes 599 healthy ones"),
        (99, 5, "one of 5 recordings can stand out alone"),
    ],
)
def test_what_too_few_healthy_recordings_cannot_show_is_said(n, m, words):
    healthy = np.arange(n, dtype=float)
    assert words in discover(np.zeros(m), point_of(healthy), rate=0.1).says
    least = 1 if "alone" in words.split(";")[0] else int(words.split()[3]) if "must" in words else m + 1
    for k in {least, least - 1} & set(range(m + 1)):
        alarm = discover([1e9] * k + [-1.0] * (m - k), point_of(healthy), rate=0.1).alarm
        assert alarm.sum() == (k if k >= least else 0)


def test_alarms_of_a_fleet_stand_in_the_table_with_their_p(job, whole, trained, tmp_path, capsys):
    out = tmp_path / "scores"
    words = ["score", job.run, job.raw, "--out", str(out), "--fdr", "0.9"]
    assert main(words) == 0
    assert "At most 0.9 of the alarms are false" in capsys.readouterr().out
    rows = read_summary(out)
    healthy = np.array(OperatingPoint.read(trained.path / "operating_point.json").healthy_scores)
    score = np.array([float(r["recording_score"]) for r in rows])
    p = np.array([float(r["p_value"]) for r in rows])
    assert len(healthy) == 5 and np.allclose(
        p, [(1 + (healthy >= s).sum()) / (len(healthy) + 1) for s in score], atol=1e-5
    )
    assert [r["alarm"] for r in rows] == [str(int(a)) for a in stands_out(p, 0.9)]
    assert all((out / name).read_bytes() == whole[name] for name in whole if name.endswith(".npz"))
    for word in ("0", "1", "x"):
        with pytest.raises(SystemExit):
            main([*words[:-1], word])


# A motor's history


def test_each_recording_of_a_motor_is_one_row_however_often_it_is_scored(job, few, tmp_path, capsys):
    words = ["score", job.run, job.raw, "--motor", "M 7", "--history"]
    for name in ("a.csv", "b"):
        for out in ("one", "two"):
            assert main([*words, str(tmp_path / name), "--out", str(tmp_path / f"{out}-{name}")]) == 0
    rows = read_history(tmp_path / "a.csv")
    assert rows == read_history(tmp_path / "b" / "history.parquet") and len(rows) == 4
    scores = {r["file"]: float(r["recording_score"]) for r in read_summary(tmp_path / "one-b")}
    for row in rows:
        assert row.score == pytest.approx(scores[row.recording], rel=1e-4) and row.motor == "M 7"
        assert row.supply_hz == pytest.approx(60, abs=0.1) and row.date_from == "file"
        wanted = datetime.fromtimestamp(round((few / row.recording).stat().st_mtime), timezone.utc)
        assert datetime.fromisoformat(row.date) == wanted
    healthy, faulty = (next(r for r in rows if r.recording.startswith(c)) for c in "06")
    assert faulty.asymmetry > 2 * healthy.asymmetry and faulty.alarm and not healthy.alarm
    assert main([*words[:3], "--history", "x", "--out", str(tmp_path / "x")]) == 2
    assert "go together" in capsys.readouterr().err


def asymmetry_of(path):
    "|I-| / |I+| of a file, by sums over whole periods."
    lines = path.read_text().splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("TIME"))
    x = np.array([line.split(",")[1:4] for line in lines[head + 1 :]], float)
    t = np.arange(len(x)) / 10_000
    n = len(x) // 500 * 500  # 3 periods of 60 Hz
    phasor = (x[:n] * np.exp(-2j * np.pi * 60 * t[:n, None])).sum(axis=0)
    a = np.exp(2j * np.pi / 3)
    return abs(phasor @ [1, a**2, a]) / abs(phasor @ [1, a, a**2])


def test_the_asymmetry_in_a_row_is_that_of_the_currents(job, few, tmp_path):
    score_folder(job, tmp_path / "out", diary=fleet.Diary(tmp_path / "h.csv", "M"))
    steady = [row for row in read_history(tmp_path / "h.csv") if row.recording.startswith("0_")]
    assert len(steady) == 3
    for row in steady:
        assert row.asymmetry == pytest.approx(asymmetry_of(few / row.recording), rel=0.1, abs=0.002)


def test_a_history_that_is_killed_as_it_grows_is_as_it_was(tmp_path, monkeypatch):
    row = Entry("2026-01-01", "name", "M", "a", "d", "r", *[1.0] * 7, False, 0, None, 0)
    add_history(tmp_path / "h.parquet", [row])
    before = (tmp_path / "h.parquet").read_bytes()

    def die(*_):
        raise Killed

    monkeypatch.setattr(history_room, "_write_parquet", die)
    with pytest.raises(Killed):
        add_history(tmp_path / "h.parquet", [replace(row, digest="e")])
    assert (tmp_path / "h.parquet").read_bytes() == before
    (tmp_path / "h.parquet").write_bytes(before[:50])
    assert main(["history", str(tmp_path / "h.parquet")]) == 1


def test_a_change_is_found_where_it_is_and_chance_makes_none():
    g = np.random.default_rng(3)
    assert abs(change_point(np.r_[g.normal(size=30), g.normal(size=20) + 2]).at - 30) <= 2
    told = [change_point(g.normal(size=25), seed=i).told for i in range(100)]
    assert sum(told) <= 5  # at 1 % one is to be expected


def test_ranks_say_that_scores_have_moved_as_mann_and_whitney_do():
    g = np.random.default_rng(4)
    healthy = g.normal(size=25)
    for shift in (0.0, 0.7, 2.0):
        score = g.normal(size=12) + shift
        p = conformal_p(score, healthy)
        rows = [Entry("", "name", "M", "", str(i), "r", *[1.0] * 7, False, 0, q, 25) for i, q in enumerate(p.tolist())]
        wanted = mannwhitneyu(score, healthy, alternative="greater", method="asymptotic", use_continuity=False).pvalue
        assert moved(rows).p == pytest.approx(wanted)


# Recalibration


def test_a_run_that_has_aged_is_recalibrated_and_the_old_is_kept(trained, raw, tmp_path, capsys):
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    jobs = campaign(classes=(0,), freqs=(60,), loads=(100,), reps=1, healthy_reps=4)
    write_campaign(tmp_path / "new", jobs, seconds=1.2, seed=77)
    before = {name: (run.path / name).read_bytes() for name in TOP}
    weights = digest_of(run.checkpoint("best") / "model.safetensors")
    words = ["recalibrate", str(run.path), str(tmp_path / "new"), "--author", "A. Name"]
    assert main(words) == 0
    assert "A. Name" in capsys.readouterr().out
    (kept,) = (run.path / "points").iterdir()
    assert {name: (kept / name).read_bytes() for name in TOP} == before
    after = {name: (run.path / name).read_bytes() for name in TOP}
    point = open_scorer(run.path).point
    signed = json.loads(after[TOP[1]])["signed"][0]
    assert signed["author"] == point.author == "A. Name" and abs(signed["time"] - time.time()) < 600
    assert point.n_healthy == 4 and list(point.healthy_scores) == sorted(point.healthy_scores)
    assert weights == digest_of(run.checkpoint("best") / "model.safetensors") and verify_run(run) == []
    settle(run)  # what every resume begins with
    assert {name: (run.path / name).read_bytes() for name in TOP} == after
    decision = run.events("decision")[-1].values
    assert decision["author"] == "A. Name" and decision["new"] == point.threshold
    assert main(["score", str(run.path), str(tmp_path / "new"), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("what", ["test", "faulty", "one"])
def test_what_may_not_recalibrate_is_named_and_nothing_changes(trained, raw, tmp_path, capsys, what):
    names = {r["name"] for r in trained.facts["recordings"] if r["split"] == "test" and r["class_id"] == 0}
    faulty = sorted(p.name for p in raw.glob("6_*.csv"))
    taken = {"test": sorted(names)[:1], "faulty": faulty[:1], "one": []}[what]
    train = [r["name"] for r in trained.facts["recordings"] if r["split"] == "train"]
    (tmp_path / "new").mkdir()
    for name in [*train[: 1 if what == "one" else 3], *taken]:
        shutil.copy(raw / name, tmp_path / "new")
    before = {name: (trained.path / name).read_bytes() for name in TOP}
    assert main(["recalibrate", str(trained.path), str(tmp_path / "new"), "--author", "A"]) == 1
    said = [x for x in capsys.readouterr().err.splitlines() if x.startswith("timemoe-lab: ")]
    word = {"test": "a test recording", "faulty": "labelled faulty", "one": "a profile takes 2 at least"}[what]
    assert len(said) == 1 and word in said[0] and (not taken or taken[0] in said[0])
    assert before == {name: (trained.path / name).read_bytes() for name in TOP}
    assert not (trained.path / "points").exists()


def test_a_recalibration_that_is_killed_half_way_is_undone_by_the_next(trained, tmp_path, monkeypatch):
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    before = {name: (run.path / name).read_bytes() for name in TOP}
    point = open_scorer(run.path).point
    others = [(p / TOP[0]).read_bytes() for p in run.checkpoints() if (p / TOP[0]).is_file()]

    def die(*_):
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(points_room, "write_json", die)
        other = next(profile for profile in others if profile != before[TOP[0]])
        put_in_force(run, replace(point, author="A"), rule="made up", author="A", profile=other)
    with pytest.raises(InputError, match="are of two checkpoints"):
        open_scorer(run.path)
    bring_back(run)
    assert {name: (run.path / name).read_bytes() for name in TOP} == before
