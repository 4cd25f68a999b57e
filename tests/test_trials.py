"bench detect all: which sets are run, where a score stands, and what a stop loses."

import json
from dataclasses import replace

import numpy as np
import pytest

import timemoe_lab.trials as room
from timemoe_lab.cli import main
from timemoe_lab.config import tiny
from timemoe_lab.data.prepare import Counts
from timemoe_lab.detect.evaluation import Evaluation, Intervals, Row
from timemoe_lab.files import InputError, UsageError, read_json, write_json
from timemoe_lab.trials import Trial, detect_all, everything, fitted, mean_standings, standings_of, trials


def evaluation_of(**rows):
    "An evaluation of rows with these ROC-AUC and VUS-PR; `lab` is in force."
    nothing = Intervals({}, {}, None)
    point = lambda roc, vus: {"roc_auc": roc, "vus_pr": vus, "n_unscored": 0, "f1": 0.0, "f0.5": 0.0}
    kept = {"recording": {}, "window": {}, "roc_auc_by_class": {}, "recall_by_class": {}, "by_condition": {}}
    measured = tuple(Row(k, point(*v), intervals=nothing, **kept) for k, v in rows.items())
    lists = {
        k: () for k in ("mask", "series", "left_out", "operating_points", "recording_points", "verdicts", "checks")
    }
    numbers = {"n_samples": 10, "n_ignored": 0, "prevalence": 0.5, "edge_s": 0.0, "vus_window": 100}
    facts = {"checkpoint": "c", "preset": "tiny", "mode": "lab", "counts": Counts(), "splits": {}, "raw": "r"}
    return Evaluation(rows=measured, **lists, **numbers, **facts)


def nab_file(path, head, n=900):
    lines = [f"2014-07-01 {i // 60 % 24:02d}:{i % 60:02d}:00,{i % 7},{int(head <= i < head + 50)}" for i in range(n)]
    path.write_text("timestamp,value,anomaly\n" + "\n".join(lines))


@pytest.fixture
def sets(tmp_path):
    "A folder with two of the sets, under names that people give them."
    data = tmp_path / "sets"
    (data / "UCR_Anomaly").mkdir(parents=True)
    names = [f"{i}_UCR_Anomaly_X_400_510_560" for i in range(101, 106)]
    series = np.random.default_rng(0).normal(size=(5, 900)).astype(np.float32)
    np.savez(data / "UCR_Anomaly" / "ucr.npz", **dict(zip(names, series)))
    (data / "Nab").mkdir()
    for i in range(3):
        nab_file(data / "Nab" / f"s{i}.csv", 600)
    (data / "nabla").mkdir()  # another word
    return data


@pytest.fixture
def measured(monkeypatch):
    "The names of the runs that were made, in place of the chain; a run named `stop` is killed."
    made = []

    def detect(trial, out, **how):
        out.mkdir(parents=True)
        (out / "half").write_text("")
        made.append(trial.name)
        if trial.name == "stop":
            raise KeyboardInterrupt
        if trial.name == "bad":
            raise InputError("bad.csv: no samples")
        result = evaluation_of(lab=(0.9, 0.5), memory=(0.95, 0.4), random=(0.5, 0.1))
        write_json(out / "run" / "evaluation.json", result.to_json())
        return result

    monkeypatch.setattr(room, "detect", detect)
    return made


def a_run(name, family="x"):
    return Trial(name, tuple, tiny(), family=family)


def test_sets_are_found_by_name_and_the_others_are_named(sets):
    found, left_out = everything(sets, config=tiny())
    by_family = {f: [t.name for t in found if t.family == f] for f in ("simulator", "ucr", "nab")}
    assert by_family["simulator"] == ["demo", "campaign, currents", "campaign, flux"]
    assert len(by_family["ucr"]) == 5 and by_family["nab"] == ["s0", "s1", "s2"] and len(found) == 11
    assert list(left_out) == ["itsc", "skab"] and str(sets) in left_out["itsc"]
    few, _ = everything(sets, config=tiny(), limit=2)
    assert [t.name[:3] for t in few if t.family == "ucr"] == ["101", "104"]  # spread
    assert [t.name for t in few if t.family == "nab"] == ["s0", "s2"]


def test_a_set_that_can_not_be_read_is_left_out_with_the_reason(sets):
    (sets / "UCR_Anomaly" / "ucr.npz").write_bytes(b"not an archive")
    found, left_out = everything(sets, config=tiny())
    assert {t.family for t in found} == {"simulator", "nab"}
    assert "ucr.npz: not an archive of arrays" in left_out["ucr"] and list(left_out) == ["itsc", "skab", "ucr"]


def test_two_folders_for_one_set_are_refused_and_an_exact_name_wins(sets):
    (sets / "nab-old").mkdir()
    assert room.folder_of("nab", sets).name == "Nab"
    (sets / "ucr_2021").mkdir()
    with pytest.raises(UsageError, match="UCR_Anomaly and ucr_2021 may both be ucr"):
        everything(sets, config=tiny())


def test_a_short_healthy_beginning_has_a_window_that_fits(tmp_path):
    nab_file(tmp_path / "short.csv", 244)
    nab_file(tmp_path / "usual.csv", 600)
    sizes = []
    for trial in trials("nab", tmp_path, config=tiny()):
        train, calibration, _ = trial.recordings()
        small = fitted(trial, train.n_samples)
        sizes.append((small.config.data.context, small.config.data.stride, small.span))
        assert calibration.n_samples >= small.config.data.context and train.n_samples > small.config.data.context
    assert sizes == [(64, 32, (16, 2)), (128, 64, (32, 4))]


def test_ranks_and_regrets_are_those_counted_by_hand():
    first = evaluation_of(lab=(0.9, 0.5), a=(0.95, 0.6), b=(0.92, 0.2), c=(0.9, None))
    second = evaluation_of(lab=(0.8, None), a=(0.7, 0.3))
    stands = standings_of("first", "x", first) + standings_of("second", "y", second)
    assert [(s.name, s.metric, s.best, s.rank, s.n_rows) for s in stands] == [
        ("first", "roc_auc", "a", 3, 4),
        ("first", "vus_pr", "a", 2, 3),
        ("second", "roc_auc", "a", 1, 2),
    ]
    assert np.allclose([s.regret for s in stands], [0.05, 0.1, -0.1])
    means = {(m.without, m.metric): (m.n, m.rank, round(m.regret, 6)) for m in mean_standings(stands)}
    assert means == {
        (None, "roc_auc"): (2, 2.0, -0.025),
        (None, "vus_pr"): (1, 2.0, 0.1),
        ("x", "roc_auc"): (1, 1.0, -0.1),
        ("y", "roc_auc"): (1, 3.0, 0.05),
        ("y", "vus_pr"): (1, 2.0, 0.1),
    }


def test_a_stop_loses_the_run_it_stops_and_no_other(measured, tmp_path, monkeypatch):
    pair = [a_run("one"), a_run("stop"), a_run("bad"), a_run("three", "y")]
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        detect_all(pair, out, left_out={"ucr": "not here"})
    assert measured == ["one", "stop"] and len(read_json(out / "all.json")["sets"]) == 2
    page = (out / "all.md").read_text()
    assert "| one |" in page and "Left out: ucr: not here" in page
    killed = room.detect
    monkeypatch.setattr(room, "detect", lambda trial, *a, **k: killed(replace(trial, name=trial.name.upper()), *a, **k))
    told = detect_all(pair, out, left_out={"ucr": "not here"})
    assert measured[2:] == ["STOP", "BAD", "THREE"] and list(told.found) == ["one", "stop", "bad", "three"]
    assert [p.name for p in sorted(out.iterdir()) if p.is_dir()] == ["00-one", "01-stop", "02-bad", "03-three"]
    means = read_json(out / "all.json")["means"]
    assert [(m["without"], m["n"]) for m in means if m["metric"] == "roc_auc"] == [(None, 4), ("x", 1), ("y", 3)]


def test_a_run_that_can_not_be_measured_is_named_and_isn_t_counted(measured, tmp_path):
    told = detect_all([a_run("one"), a_run("bad")], tmp_path / "out", left_out={})
    assert list(told.found) == ["one"] and told.skipped == {"bad": "bad.csv: no samples"}
    assert told.said == ["Not measured: bad: bad.csv: no samples"]
    with pytest.raises(InputError, match="none of 1 runs could be measured; the first: bad.csv: no samples"):
        detect_all([a_run("bad")], tmp_path / "other", left_out={})


def test_figures_of_two_kinds_do_not_mix(measured, tmp_path, monkeypatch):
    out = tmp_path / "out"
    detect_all([a_run("one")], out, left_out={})
    with pytest.raises(UsageError, match="was begun with other seed; choose another folder"):
        detect_all([a_run("one")], out, left_out={}, seed=7)
    with pytest.raises(UsageError, match="other sets"):
        detect_all([a_run("two")], out, left_out={})
    monkeypatch.setattr(room, "code_hash", lambda: "another")
    with pytest.raises(UsageError, match="other code"):
        detect_all([a_run("one")], out, left_out={})
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("")
    with pytest.raises(UsageError, match="isn't empty"):
        detect_all([a_run("one")], foreign, left_out={})
    assert [p.name for p in foreign.iterdir()] == ["mine.txt"]


def test_the_command_prints_standings_and_means(sets, measured, tmp_path, capsys):
    command = ["bench", "detect", "all", "--data", str(sets), "--limit", "1", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert measured == ["demo", "campaign, currents", "campaign, flux", "101_UCR_Anomaly_X_400_510_560", "s0"]
    rows = [[c.strip() for c in line.split("|")] for line in told.splitlines()]
    assert ["demo", "0.9000", "memory", "0.9500", "2", "0.5000", "memory", "0.4000", "1"] in rows
    means = [r for r in rows if len(r) == 7][1:]
    assert [r[0] for r in means] == ["none", "simulator", "ucr", "nab"]
    assert means[0][1:] == ["5", "2.00", "+0.0500", "5", "1.00", "-0.1000"]
    assert "itsc: no such folder" in told
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(measured) == 5 and len(found["trials"]) == 5 and list(found["left_out"]) == ["itsc", "skab"]
    assert found["sets"][0] == {
        "name": "demo",
        "family": "simulator",
        "metric": "roc_auc",
        "value": 0.9,
        "best": "memory",
        "best_value": 0.95,
        "rank": 2,
        "n_rows": 3,
        "regret": pytest.approx(0.05),
    }


def test_outsiders_are_asked_of_every_run_by_a_flag(sets, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(room, "detect_all", lambda *a, rows, **how: asked.append(rows) or room.Overall({}, {}, {}, {}))
    for more in ([], ["--outsiders"], ["--outsiders", "--rows", "lab"]):
        main(["bench", "detect", "all", "--data", str(sets), *more])
    assert asked == ["all", "all,AR(40),PaAno", "lab,AR(40),PaAno"]


def test_what_is_asked_of_all_and_can_not_be_is_one_line(sets, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    ask = ["bench", "detect", "all"]
    given = [*ask, "--data", str(sets)]
    wrong = {
        "needs the folder that holds the sets: --data DIR": (2, ask),
        "nowhere: no such folder": (2, [*ask, "--data", str(tmp_path / "nowhere")]),
        "holds no folder named itsc, skab, ucr or nab": (1, [*ask, "--data", str(tmp_path / "empty")]),
        "leave ucr out": (2, [*ask, "ucr", *given[3:]]),
        "leave --noise out": (2, [*given, "--noise", "0.1"]),
        "leave --channels out": (2, [*given, "--channels", "flux"]),
        "isn't empty; choose another folder": (2, [*given, "--out", str(sets)]),
    }
    for words, (status, command) in wrong.items():
        assert main(command) == status, words
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
