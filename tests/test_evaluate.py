"Evaluation: controls and metrics against brute force; labels and test recordings reach no score and no threshold."

import json
import math
import re
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_run, short_windows
from scipy.signal import lfilter
from scipy.stats import chi2, kurtosis, skew
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import average_precision_score, f1_score, fbeta_score, roc_auc_score

from timemoe_lab.trials import in_parts, simulated, trials, with_noise
from timemoe_lab.cli import main
from timemoe_lab.config import tiny
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.prepare import Counts, normalise
from timemoe_lab.data.readers import read_folder
from timemoe_lab.data.recording import Recording
from timemoe_lab.detect.alarms import Events, all_thresholds, alarms_of, look_ahead, rule_in_force
from timemoe_lab.detect.controls import (
    BASELINE,
    COIN,
    CONTROLS,
    NO_MODEL,
    UNTRAINED,
    cut_windows,
    fit_autoregression,
    fit_control,
    fit_mahalanobis,
    log_psd,
    statistics,
)
from timemoe_lab.detect.evaluate import (
    Kept,
    Outcome,
    calibrate_control,
    checks_of,
    choose_rows,
    class_areas,
    evaluate,
    folds_of,
    open_detectors,
    outcome_of,
    points_of,
    resampled_classes,
    unseen_recordings,
)
from timemoe_lab.detect.evaluation import Evaluation, evaluation_table
from timemoe_lab.detect.scorer import RecordingScore, Scorer, open_scorer
from timemoe_lab.files import InputError, read_json, write_json
from timemoe_lab.records import OperatingPoint, Thresholds
from timemoe_lab.run.folder import find_store

LEAN = ("lab", "spec", BASELINE, COIN)


@pytest.fixture(scope="module")
def storeless(trained, raw, tmp_path_factory):
    "The evaluation of the shared run where its store is gone, as it was made and not as it was read."
    folder = tmp_path_factory.mktemp("storeless")
    scorer = open_scorer(shutil.copytree(trained.path, folder / "run"))
    scorer.run.facts["store"] = str(folder / "gone")
    return evaluate(scorer, read_folder(raw), where=raw)


@pytest.fixture(scope="module")
def seen(trained, raw):
    "What all detectors of the shared run say of its test recordings, at the raw rate."
    scorer = open_scorer(trained.path)
    detectors = open_detectors(scorer, find_store(trained))
    found = [(r, detectors.score(r, where=raw)) for r in unseen_recordings(trained, read_folder(raw), where=raw)]
    return SimpleNamespace(detectors=detectors, found=found)


# Controls


def test_windows_are_those_that_hidden_states_are_pooled_over():
    x = np.arange(2 * 103.0).reshape(2, 103)
    got = cut_windows(x, hop=10, size=40)
    starts = [0, 10, 20, 30, 40, 50, 60, 63]  # 11 cells, 4 in a window; the last one ends with the series
    assert got.shape == (2, 8, 40) and all(np.array_equal(got[:, i], x[:, s : s + 40]) for i, s in enumerate(starts))


def test_features_of_a_window_are_those_of_textbooks():
    w = np.random.default_rng(0).normal(2, 3, size=64)
    got = statistics(w[None, None])[0, 0]
    rms = np.sqrt(np.mean(w**2))
    crossings = sum((a > w.mean()) != (b > w.mean()) for a, b in zip(w[:-1], w[1:]))
    want = [w.mean(), w.std(), skew(w), kurtosis(w), abs(w).max() / rms, w.max() - w.min(), crossings]
    assert np.allclose(got, want)
    dft = [abs(sum(w * np.hanning(64) * np.exp(-2j * np.pi * k * np.arange(64) / 64))) ** 2 for k in range(33)]
    assert np.allclose(log_psd(w[None, None])[0, 0], np.log(dft), rtol=1e-6)


def test_the_mahalanobis_control_is_the_formula():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + 3
    z = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    inverse = np.linalg.inv(ledoit_wolf(z, assume_centered=True)[0])
    assert np.allclose(fit_mahalanobis(rows)(rows), [np.sqrt(v @ inverse @ v) for v in z])


def test_the_autoregression_finds_the_coefficients_and_what_they_leave():
    x = lfilter([1], [1, -1.2, 0.5], np.random.default_rng(2).normal(size=60_000))
    windows = x.reshape(-1, 200)
    r = [np.mean((windows[:, k:] - x.mean()) * (windows[:, : 200 - k] - x.mean())) for k in range(33)]
    taps = np.linalg.solve(np.array([[r[abs(i - j)] for j in range(32)] for i in range(32)]), r[1:])
    assert np.allclose(taps[:2], [1.2, -0.5], atol=0.03)
    centred = windows[7] - x.mean()
    left = [centred[t] - sum(taps[k] * centred[t - 1 - k] for k in range(32)) for t in range(32, 200)]
    assert fit_autoregression(windows)(windows[7:8])[0] == pytest.approx(np.log(np.mean(np.square(left))), rel=1e-4)


@pytest.mark.parametrize("name", CONTROLS)
def test_control_thresholds_come_from_recordings_that_the_control_has_not_seen(trained, seen, name):
    store, frame, config = find_store(trained), seen.detectors.scorer.frame, trained.config
    healthy = [store.recording(i) for i in store.members("train", "calibration")]
    given = [normalise(r, frame=frame, config=config.data) for r in healthy]
    read = [CONTROLS[name].read(g, frame=frame, config=config) for g in given]
    scores = []
    for i, recording in enumerate(healthy):
        others = fit_control(CONTROLS[name], read[:i] + read[i + 1 :])
        scores.append(others.score(recording, given[i], frame=frame, config=config))
    want = all_thresholds(scores, fs=frame.fs, config=config)
    got = calibrate_control(CONTROLS[name], healthy, given, frame=frame, config=config)[1]
    assert asdict(got) == pytest.approx(asdict(want)) and asdict(seen.detectors.thresholds[name]) == asdict(got)
    inside = fit_control(CONTROLS[name], read)
    flattered = [inside.score(r, g, frame=frame, config=config) for r, g in zip(healthy, given)]
    assert asdict(all_thresholds(flattered, fs=frame.fs, config=config)) != asdict(want)


def test_every_recording_is_left_out_once():
    for n in (2, 12, 13, 84):
        folds = folds_of(n)
        assert sorted(np.concatenate(folds).tolist()) == list(range(n)) and len(folds) == (n if n <= 12 else 10)


def test_a_control_sees_neither_masked_channels_nor_missing_samples(seen, trained):
    scorer, (recording, _) = seen.detectors.scorer, seen.found[0]
    masked = replace(scorer.frame, mask=("CH4",))
    given = normalise(recording, frame=masked, config=trained.config.data)
    for name, control in CONTROLS.items():
        signal = recording.signal.copy()
        signal[3] = 7
        other = normalise(replace(recording, signal=signal), frame=masked, config=trained.config.data)
        assert np.array_equal(*(control.read(g, frame=masked, config=trained.config) for g in (given, other))), name
    signal = recording.signal.copy()
    signal[:, 6000:8000] = np.nan
    gap = seen.detectors.score(replace(recording, signal=signal), where="")
    given = normalise(replace(recording, signal=signal), frame=scorer.frame, config=trained.config.data)
    first = np.arange(12_000 // 160 - 7) * 16  # first samples of the windows of 128, at 1 kHz
    hurt = (first + 128 > 600) & (first < 800)
    got = CONTROLS["statistics + kNN"].read(given, frame=scorer.frame, config=trained.config)[0]
    assert len(got) == len(first) and np.array_equal(np.isnan(got).all(axis=1), hurt)
    for name in CONTROLS:
        assert np.isnan(gap[name].score[6000:8000]).all() and np.isfinite(gap[name].score[:4000]).all(), name


def test_untrained_weights_are_those_that_training_began_with(seen, trained):
    fresh, used = trained.untrained().state_dict(), seen.detectors.untrained.model.state_dict()
    assert all(np.array_equal(fresh[k].numpy(), used[k].numpy()) for k in fresh)
    assert any(
        not np.array_equal(v.numpy(), fresh[k].numpy()) for k, v in seen.detectors.scorer.model.state_dict().items()
    )
    assert not np.array_equal(seen.found[0][1][UNTRAINED].score, seen.found[0][1]["lab"].score)
    assert asdict(seen.detectors.thresholds[UNTRAINED]) != asdict(seen.detectors.thresholds["lab"])


# Numbers


def test_every_row_is_measured_as_scikit_learn_measures_it(seen, evaluated):
    rows = {r.name: r for r in evaluated.rows}
    assert set(rows) >= {"lab", "spec", UNTRAINED, NO_MODEL, *CONTROLS, COIN} and evaluated.left_out == ()
    for name, row in rows.items():
        scores, labels = [], []
        for recording, found in seen.found:
            keep = np.ones(recording.n_samples, bool)
            for edge in np.flatnonzero(np.diff(recording.label.astype(int))) + 1:
                keep[edge - 500 : edge + 500] = False
            scores.append(found[name].score[keep]), labels.append(recording.label[keep])
        score, label = np.concatenate(scores), np.concatenate(labels)
        known = np.isfinite(score)
        score, label, point = score[known], label[known], row.point
        assert point["n"] == known.sum() and point["n_unscored"] == (~known).sum()
        if name in LEAN:  # the raw rate takes time
            assert point["roc_auc"] == pytest.approx(roc_auc_score(label, score), abs=1e-9), name
            assert point["pr_auc"] == pytest.approx(average_precision_score(label, score), abs=1e-9), name
        alarm = score >= point["threshold"]
        assert point["f1"] == pytest.approx(f1_score(label, alarm)) and point["fp"] == (alarm & ~label).sum(), name


def test_calling_everything_faulty_is_a_row_beside_random_and_is_compared_with_nowhere_else(seen, evaluated):
    (row,) = [r for r in evaluated.rows if r.name == "everything faulty"]
    n_faulty = n = 0
    for recording, _ in seen.found:
        keep = np.ones(recording.n_samples, bool)
        for edge in np.flatnonzero(np.diff(recording.label.astype(int))) + 1:
            keep[edge - 500 : edge + 500] = False
        n_faulty, n = n_faulty + (recording.label & keep).sum(), n + keep.sum()
    share = n_faulty / n
    assert row.point["f1"] == pytest.approx(2 * share / (1 + share)) and row.point["precision"] == pytest.approx(share)
    assert row.point["recall"] == row.point["fpr"] == row.recording["recall"] == row.recording["fpr"] == 1
    assert row.point["roc_auc"] == 0.5 and row.recording["balanced_f1"] == pytest.approx(2 / 3)
    assert "everything faulty" in evaluation_table(evaluated)
    assert row.name not in {v.against for v in evaluated.verdicts}


def test_classes_conditions_and_delays_are_counted_one_by_one(seen, evaluated):
    rows = {r.name: r for r in evaluated.rows}
    for name in ("lab", BASELINE, COIN):
        limit, row = seen.detectors.thresholds[name], rows[name]
        score = {r.name: found[name].recording_score for r, found in seen.found}
        healthy = [score[r.name] for r, _ in seen.found if r.class_id == 0]
        areas = {}
        for c in (5, 6):
            mine = [score[r.name] for r, _ in seen.found if r.class_id == c]
            won = [(a > b) + 0.5 * (a == b) for a in mine for b in healthy]
            areas[str(c)] = np.mean(won)
            alarmed = np.mean([v >= limit.recording for v in mine])
            assert row.recall_by_class[str(c)].recording_recall == pytest.approx(alarmed)
        assert row.roc_auc_by_class == pytest.approx(areas)
        assert row.recording["class_roc_auc"] == pytest.approx(np.mean(list(areas.values())))
        assert list(row.by_condition) == ["60 Hz, 100 %"]
        false = np.mean([v >= limit.recording for v in healthy])
        assert row.by_condition["60 Hz, 100 %"].recording_fpr == pytest.approx(false)


def test_events_are_counted_one_by_one(seen, evaluated):
    "By the rule in force at the row's own level; 50 ms next to a fault belong to neither side."
    scorer = seen.detectors.scorer
    config, fs = scorer.run.config, scorer.frame.fs
    rule = rule_in_force(scorer.point, fs=fs, config=config)
    assert rule.on == scorer.point.rows["lab"].event and scorer.point.event == rule
    for name in ("lab", BASELINE, COIN):
        on = seen.detectors.thresholds[name].event
        own = replace(rule, on=on, off=on * 0.8)
        delays, known, n_false, seconds, n_faults, quiet = [], [], 0, 0.0, 0, []
        for recording, found in seen.found:
            score = found[name].score
            alarms = alarms_of(score, own, fs=fs)
            faults = [(a / fs, b / fs) for a, b in recording.faults]
            near = lambda t: any(a - 0.05 <= t < b + 0.05 for a, b in faults)
            seconds += sum(not near(t / fs) and math.isfinite(v) for t, v in enumerate(score)) / fs
            n_faults += len(faults)
            for a, b in faults:
                hits = [x for x in alarms if x.start_s < b and x.end_s > a]
                delays += [max(0, hits[0].raised_s - a)] if hits else []
                ahead = 0.256 if name == "lab" else 0.128  # a window of the memory is two pooling spans
                known += [max(0, hits[0].raised_s - a + ahead)] if hits else []
            for x in alarms:
                touched = [a - 0.05 for a, b in faults if x.start_s < b + 0.05 and x.end_s > a - 0.05]
                n_false += not touched or x.raised_s < min(touched)
            quiet += [bool(alarms)] if not faults else []
        point = next(r for r in evaluated.rows if r.name == name).point
        assert (point["n_faults"], point["n_found"], point["n_false_alarms"]) == (n_faults, len(delays), n_false)
        assert (point["n_healthy"], point["n_healthy_alarmed"]) == (len(quiet), sum(quiet))
        assert point["healthy_s"] == pytest.approx(seconds)
        assert point["false_alarms_per_hour"] == pytest.approx(n_false / seconds * 3600)
        for key, times in (("detection_delay_s", delays), ("causal_delay_s", known)):
            assert point[key] == (pytest.approx(np.median(times)) if times else None)


def test_a_table_never_shows_a_rate_without_its_interval_and_healthy_time(evaluated):
    text = evaluation_table(evaluated)
    assert "per hour" not in text and "Alarms/h" not in text and not re.search(r"\de[+]\d", text)
    point = evaluated.row.point
    low, high = (
        chi2.ppf(q, 2 * n) / 2 for q, n in ((0.025, point["n_false_alarms"]), (0.975, point["n_false_alarms"] + 1))
    )
    if not point["n_false_alarms"]:
        low, high = 0.0, chi2.ppf(0.95, 2) / 2
    day = 86_400 / point["healthy_s"]
    ends = [f"{float(f'{rate * day:.3g}'):,.10g}" for rate in (low, high)]
    assert f"{ends[0]} to {ends[1]} a day at 95 %" in text and "s of healthy time" in text
    (line,) = [line for line in text.splitlines() if line.startswith("Alarms of lab:")]
    assert f"{point['n_found']} of {point['n_faults']} faults found" in line
    ratio = evaluated.row.intervals.false_alarms_per_hour
    assert ratio == pytest.approx((low * day / 24, high * day / 24))


def test_an_online_user_has_every_alarm_by_the_time_that_it_is_said_to_be_known(seen):
    "Recordings cut at the moment when an alarm is known, scored anew; what is left of the future moves it a little."
    scorer = seen.detectors.scorer
    config, fs = scorer.run.config, scorer.frame.fs
    rule = rule_in_force(scorer.point, fs=fs, config=config)
    late = []  # s behind the moment; 9: not by then
    for recording, found in seen.found:
        for alarm in alarms_of(found["lab"].score, rule, fs=fs)[:1]:
            for extra in (0.0, 0.064, 0.128, 0.256, 0.512, 9.0):  # s
                n = round((alarm.raised_s + look_ahead(fs, config, wave=scorer.profile.wave) + extra) * fs)
                n = min(max(n, config.data.shortest(fs)), recording.n_samples)
                faults = tuple((a, min(b, n)) for a, b in recording.faults if a < n)
                part = replace(recording, signal=recording.signal[:, :n], faults=faults)
                then = alarms_of(scorer.rows(part)["lab"].score, rule, fs=fs)
                if any(x.start_s < alarm.end_s and x.end_s > alarm.start_s for x in then):
                    late.append(extra)
                    break
    assert len(late) >= 4 and max(late) <= 0.064, late  # measured: 0 s for all


def test_intervals_hold_the_value_and_differences_are_told_in_words(evaluated):
    for row in evaluated.rows:
        low, high = row.intervals.point["f1"]
        assert low - 1e-9 <= row.point["f1"] <= high + 1e-9
    against = {v.against for v in evaluated.verdicts}
    assert against - {"physics"} == {"virtual", "memory", "statistics", NO_MODEL, BASELINE, UNTRAINED}
    for v in evaluated.verdicts:
        assert v.better == (v.interval[0] > 0)
        word = "better" if v.better else "worse" if v.interval[1] < 0 else "not better"
        assert v.text.startswith(f"lab is {word} than {v.against}") and v.text in evaluation_table(evaluated)


def test_operating_points_name_the_split_they_saw(trained, raw, evaluated, seen):
    named = {p.name: p for p in evaluated.operating_points}
    assert [p.split for p in evaluated.operating_points][1:] == ["validation", "validation", "test"]
    assert named["oracle F0.5"].measures["f0.5"] == max(p.measures["f0.5"] for p in named.values())
    scorer, store = open_scorer(trained.path), find_store(trained)
    score, label = [], []
    for recording in map(store.recording, store.members("validation")):
        keep = np.ones(recording.n_samples, bool)
        for edge in np.flatnonzero(np.diff(recording.label.astype(int))) + 1:
            keep[edge - 500 : edge + 500] = False
        score.append(scorer.rows(recording)["lab"].score[keep]), label.append(recording.label[keep])
    score, label = np.concatenate(score), np.concatenate(label)
    cost = lambda t: 2 * ((score >= t) & ~label).sum() + ((score < t) & label).sum()
    tried = np.unique(np.quantile(score, np.linspace(0, 1, 500), method="nearest"))
    assert cost(named["validation cost"].threshold) <= min(map(cost, tried)) + 20  # counted at the model's rate
    assert {p.name for p in evaluated.recording_points} == set(named)


def made_up(name, score, label, class_id, whole):
    "A recording of which every sample is evaluated."
    kept = Kept(score, (score, label), whole, Events(0, 0, 1.0, np.zeros(0), np.zeros(0)))
    counts = np.array([~label, label], np.int32)
    scored = RecordingScore(name, whole, 0, 0, Counts())
    return Outcome(scored, class_id, "", bool(label.any()), len(score), label, counts, {"lab": kept})


def in_force(split, **limits):
    "A scorer, as far as operating points ask for it: a threshold of samples, of windows and of recordings."
    point = OperatingPoint(limits["point"], "0.99 quantile", split, {}, rows={"lab": Thresholds(**limits)})
    return SimpleNamespace(point=point, run=SimpleNamespace(config=tiny()))


def drawn(seed, *, shuffled=False):
    "Five recordings of eighty samples, of which 15 % are faulty; shuffled: the same scores with other labels."
    rng = np.random.default_rng(seed)
    label = rng.random((5, 80)) < 0.15
    score = (rng.normal(size=label.shape) + label).round(1).astype(np.float32)
    label = rng.permutation(label.ravel()).reshape(label.shape) if shuffled else label
    return [made_up(str(i), s, y, 1, 0.0) for i, (s, y) in enumerate(zip(score, label))]


def test_an_operating_point_depends_on_the_split_that_it_names():
    scorer = in_force("calibration", point=1.2, window=1.0, recording=3.0)

    def points(validation=False, test=False):
        found = points_of("lab", drawn(1, shuffled=test), drawn(2, shuffled=validation), scorer=scorer)
        return {p.name: p for p in found}

    first, shuffled, blind = points(), points(validation=True), points(test=True)
    assert {n: p.split for n, p in first.items()} == {
        "calibration": "calibration",
        "validation F0.5": "validation",
        "validation cost": "validation",
        "oracle F0.5": "test",
    }
    assert first["calibration"] == shuffled["calibration"] and first["oracle F0.5"] == shuffled["oracle F0.5"]
    assert first["calibration"].threshold == blind["calibration"].threshold == 1.2
    for name in ("validation F0.5", "validation cost"):
        assert first[name].threshold != shuffled[name].threshold
        assert first[name].threshold == blind[name].threshold
    assert blind["oracle F0.5"].threshold != first["oracle F0.5"].threshold
    for name, made in (("validation F0.5", drawn(2)), ("oracle F0.5", drawn(1))):
        score = np.concatenate([t.rows["lab"].score for t in made])
        label = np.concatenate([t.label for t in made])
        f = {t: fbeta_score(label, score >= t, beta=0.5) for t in {*score}}
        assert first[name].threshold == max(t for t in f if f[t] == max(f.values()))


def test_a_threshold_that_a_person_set_is_called_so():
    scorer = in_force("validation", point=1.2, window=1.0, recording=3.0)
    scorer.point = replace(scorer.point, author="Kim")
    assert points_of("lab", drawn(1), [], scorer=scorer)[0].name == "by hand"
    assert points_of("lab", drawn(1), [], scorer=scorer, level="recording")[0].name == "calibration"


def test_an_evaluation_survives_its_file_and_a_damaged_one_is_refused(storeless, tmp_path):
    path = tmp_path / "evaluation.json"
    write_json(path, storeless.to_json())
    assert Evaluation.read(path) == storeless and Evaluation.from_json(storeless.to_json()) == storeless
    path.write_text(path.read_text().replace('"intervals"', '"interwals"'))
    with pytest.raises(InputError, match="evaluation.json: of another version of the lab, or damaged"):
        Evaluation.read(path)


def test_thresholds_of_validation_and_oracle_are_the_best_of_all():
    made = {"validation": drawn(3), "test": drawn(4)}
    scorer = in_force("calibration", point=1.0, window=1.0, recording=1.0)
    got = {p.name: p for p in points_of("lab", made["test"], made["validation"], scorer=scorer)}
    score = np.concatenate([t.rows["lab"].score for t in made["validation"]])
    label = np.concatenate([t.label for t in made["validation"]])
    cost = {t: 2 * (~label & (score >= t)).sum() + (label & (score < t)).sum() for t in {*score, 99.0}}
    assert cost[got["validation cost"].threshold] == min(cost.values())
    for name, split in (("validation F0.5", "validation"), ("oracle F0.5", "test")):
        score = np.concatenate([t.rows["lab"].score for t in made[split]])
        label = np.concatenate([t.label for t in made[split]])
        best = max(fbeta_score(label, score >= t, beta=0.5) for t in {*score})
        assert fbeta_score(label, score >= got[name].threshold, beta=0.5) == pytest.approx(best)
    assert got["oracle F0.5"].measures["f0.5"] == pytest.approx(best) and got["calibration"].threshold == 1.0


def test_recordings_that_score_alike_are_half_right():
    tested = [made_up(str(i), np.zeros(4, "f"), np.full(4, i > 3), int(i > 3), 2.0) for i in range(8)]
    whole = np.full(8, 2.0)
    alike = resampled_classes(whole, tested)
    assert abs(alike.mean() - 0.5) < 0.02 and np.allclose(np.quantile(alike, [0.3, 0.7]), 0.5, atol=0.1)
    whole[4:] = [1.0, 3.0, 2.0, 2.0]
    assert class_areas(whole, tested) == {"1": 0.5} and abs(resampled_classes(whole, tested).mean() - 0.5) < 0.02


def test_the_table_and_the_json_say_the_same(trained, raw, tmp_path, capsys):
    run = shutil.copytree(trained.path, tmp_path / "run")
    assert main(["evaluate", str(run), str(raw), "--rows", "lab,log,random", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in result["rows"]] == ["lab", BASELINE, COIN]
    assert read_json(run / "evaluation.json")["rows"] == result["rows"]
    kept = Evaluation.read(run / "evaluation.json")
    assert kept.row.point == result["rows"][0]["point"]
    assert "Promised" not in json.dumps(result)
    assert main(["evaluate", str(run), str(raw), "--rows", "random", "--wide"]) == 0
    point = open_scorer(run).point
    said = f"Promised, from {point.n_healthy} healthy recordings: of further ones like them at most "
    assert f"{said}{1 / (point.n_healthy + 1):.1%} alarm by the recording rule" in (told := capsys.readouterr().out)
    assert "Operating point" in told and "raised an alarm" not in told
    assert main(["evaluate", str(run), str(raw), "--rows", "nobody"]) == 2
    assert "--rows nobody" in capsys.readouterr().err


def test_without_the_store_controls_are_left_out_and_a_line_says_so(storeless, trained, raw, tmp_path, capsys):
    assert {r.name for r in storeless.rows}.isdisjoint(CONTROLS)
    assert set(storeless.left_out) == {UNTRAINED, *CONTROLS} and "Left out" in evaluation_table(storeless)
    other = write_store(tmp_path / "other", [r for r in read_folder(raw) if r.class_id == 0], where="raw")
    assert main(["evaluate", str(trained.path), str(raw), "--store", str(other.path)]) == 1
    assert "not the recordings" in capsys.readouterr().err
    assert choose_rows("all", open_scorer(trained.path)) is None


# Leaks


def wavy(name, *, odd, seed, class_id=None, split=None, n=1500):
    "Three currents at 1 kHz; an odd one has a phase with 10 % less."
    rng, t = np.random.default_rng(seed), np.arange(n) / 1000
    angle = 2 * np.pi * 50 * t + rng.random() * 6
    x = np.stack([a * np.sin(angle + s) for a, s in zip((1, 0.9 if odd else 1, 1), (0, -2.0944, 2.0944))])
    x = (rng.normal(1, 0.01) * x + rng.normal(0, 0.02, x.shape)).astype(np.float32)
    return Recording(name, x, 1000.0, ("CH1", "CH2", "CH3"), ("A",) * 3, class_id, split=split)


def a_set(order):
    "Eight healthy recordings, and twelve odd ones whose classes and intervals are dealt out in this order."
    found = [wavy(f"0_h{i}.csv", odd=False, seed=i, class_id=0, n=900) for i in range(8)]
    for i, j in enumerate(order):
        faults = ((100 + 20 * j, 500 + 20 * j),)
        made = wavy(f"{i}.csv", odd=True, seed=50 + i, class_id=1 + j % 6, split="test", n=900)
        found.append(replace(made, faults=faults))
    return found


@pytest.fixture(scope="module")
def lean_config():
    config = short_windows(tiny())
    return replace(config, train=replace(config.train, steps=20, batch=8, warmup=4, aux_warmup=8))


@pytest.fixture(scope="module")
def dealt(lean_config, tmp_path_factory):
    "A run on the set as it is, whose healthy recordings the store dealt to the splits."
    folder = tmp_path_factory.mktemp("dealt")
    store = write_store(folder / "store", a_set(range(12)), where="raw")
    return SimpleNamespace(store=store, run=make_run(folder / "run", store, lean_config))


def test_permuting_fault_labels_changes_no_score_and_no_threshold(dealt, tmp_path, lean_config):
    other = np.random.default_rng(3).permutation(12)
    permuted = write_store(tmp_path / "store", a_set(other), where="raw")
    told = []
    for order, run in ((range(12), dealt.run), (other, make_run(tmp_path / "run", permuted, lean_config))):
        recordings = a_set(order)
        rows = ("lab", "spec", NO_MODEL, BASELINE, "AR", COIN)
        result = evaluate(open_scorer(run.path), recordings, where=tmp_path, rows=rows)
        arrays = {
            r.name: dict(np.load(run.path / "scores" / f"{r.name.removesuffix('.csv')}.npz"))
            for r in recordings
            if r.class_id
        }
        files = [(run.path / f).read_bytes() for f in ("profile.safetensors", "operating_point.json")]
        limits = {r.name: [at["threshold"] for at in (r.point, r.window, r.recording)] for r in result.rows}
        told.append((arrays, files, limits, result.row.point["roc_auc"]))
    assert told[0][1] == told[1][1] and told[0][2] == told[1][2]
    assert all(
        np.array_equal(v, told[1][0][n][k], equal_nan=v.dtype.kind == "f")
        for n, a in told[0][0].items()
        for k, v in a.items()
    )
    assert told[0][3] != told[1][3]  # the labels themselves are counted, of course


CLASS = "another label before scoring changes no score"


class Leaky(Scorer):
    "A scorer whose scores have looked at what they must not see."

    def rows(self, recording, *, where=""):
        found = super().rows(recording, where=where)
        return {k: replace(s, score=s.score + np.float32(1e-4) * self.peek(recording)) for k, s in found.items()}


PEEKS = {
    "nothing": lambda self, r: 0,
    "class": lambda self, r: r.class_id,
    "intervals": lambda self, r: r.label.astype(np.float32),
    "name": lambda self, r: int(r.name[0]),
}


@pytest.mark.parametrize("what", PEEKS)
def test_a_score_that_has_looked_at_a_label_fails_its_check(trained, raw, tmp_path, what):
    shutil.copytree(trained.path, tmp_path / "run")
    scorer = type("Peeking", (Leaky,), {"peek": PEEKS[what]})(**vars(open_scorer(tmp_path / "run")))
    some = [r for r in read_folder(raw) if r.name[0] in "06"]
    result = evaluate(scorer, some, where=raw, rows=("lab",))
    (check,) = [c for c in result.checks if c.name == CLASS]
    assert check.ok == (what == "nothing") and (check.value > 0) == (what != "nothing")
    assert (f"CHECK FAILED: {CLASS}" in evaluation_table(result)) == (what != "nothing")


@pytest.mark.parametrize("share", [0, 1e-3])
def test_a_score_that_is_the_label_fails_and_one_beside_it_does_not(trained, seen, share):
    scorer, tested = seen.detectors.scorer, []
    for recording, found in seen.found:
        kept = outcome_of(recording, {"lab": found["lab"]}, detectors=seen.detectors)
        score = kept.label + np.float32(share) * kept.rows["lab"].score
        tested.append(replace(kept, moved=0.0, rows={"lab": replace(kept.rows["lab"], score=score)}))
    (check,) = [c for c in checks_of("lab", tested, scorer) if c.name == "scores vary among samples of one label"]
    assert check.ok == (share > 0)


def test_deleting_the_test_recordings_changes_no_byte_of_profile_and_threshold(dealt, tmp_path, lean_config):
    splits = {e.name: e.split for e in dealt.store.entries}
    given = [replace(r, split=splits[r.name]) for r in a_set(range(12))]
    less = write_store(tmp_path / "store", [r for r in given if r.split != "test"], where="raw")
    assert len(less.entries) < len(given)
    files = []
    for run, store in ((dealt.run, dealt.store), (make_run(tmp_path / "run", less, lean_config), less)):
        files.append([(run.path / f).read_bytes() for f in ("profile.safetensors", "operating_point.json")])
        rows = ("lab", NO_MODEL, BASELINE, UNTRAINED)
        files[-1].append(open_detectors(open_scorer(run.path), store, rows=rows).thresholds)
    assert files[0] == files[1]


def test_a_recording_in_two_splits_is_refused(tmp_path):
    twice = a_set(range(2))
    twice.append(replace(twice[0], name="0_twin.csv", split="test"))
    with pytest.raises(InputError, match="0_twin.csv"):
        write_store(tmp_path / "store", twice, where="raw")


def test_a_run_on_shuffled_labels_is_at_chance(tmp_path, lean_config):
    odd = np.arange(60) % 2 == 1
    areas = {}
    for name, label in (("true", odd), ("shuffled", np.random.default_rng(1).permutation(odd))):
        recordings, n_healthy = [], 0
        for i, (is_odd, says_odd) in enumerate(zip(odd, label)):
            n_healthy += not says_odd
            split = "test" if says_odd or n_healthy > 12 else "train" if n_healthy <= 8 else "calibration"
            recordings.append(wavy(f"{i}.csv", odd=is_odd, seed=i, class_id=int(says_odd), split=split, n=600))
        run = make_run(tmp_path / name, write_store(tmp_path / f"{name} store", recordings, where="raw"), lean_config)
        rows = evaluate(open_scorer(run.path), recordings, where=tmp_path, rows=("lab", NO_MODEL)).rows
        areas[name] = [r.recording["roc_auc"] for r in rows]
    assert min(areas["true"]) > 0.95
    assert all(abs(a - 0.5) < 0.2 for a in areas["shuffled"])


# The sets of bench detect


def test_noise_is_a_share_of_every_channel_and_the_seed_decides_it():
    recording = wavy("0_a.csv", odd=False, seed=0, class_id=0, n=20_000)
    recording.signal[1] *= 10
    (loud,), (again,) = (list(with_noise([recording], 0.3, seed=4)) for _ in range(2))
    added = (loud.signal - recording.signal).std(axis=1) / recording.signal.std(axis=1)
    assert np.allclose(added, 0.3, atol=0.01) and np.array_equal(loud.signal, again.signal)
    assert next(iter(with_noise([recording], 0.0, seed=4))) is recording


def test_a_healthy_beginning_trains_and_calibrates_and_is_never_tested():
    head, rest = wavy("0_a.csv", odd=False, seed=0, class_id=0), wavy("1_a.csv", odd=True, seed=1, class_id=1)
    train, calibration, test = in_parts([head, rest])
    assert [r.split for r in (train, calibration, test)] == ["train", "calibration", "test"]
    assert np.array_equal(np.concatenate([train.signal, calibration.signal], axis=1), head.signal)


def test_the_campaign_splits_every_condition_alike():
    few = list(simulated(1, freqs=(50,), loads=(0, 100), seconds=0.05))
    count = lambda split, c, load: sum((r.split, bool(r.class_id), r.load_pct) == (split, c, load) for r in few)
    for load in (0, 100):
        assert [count(s, False, load) for s in ("train", "calibration", "test")] == [8, 4, 8]
        assert count("test", True, load) == 18 and count("train", True, load) == 0


@pytest.mark.slow
def test_bench_detect_runs_the_whole_chain_on_a_folder(tmp_path, capsys):
    folder = tmp_path / "itsc"
    folder.mkdir()
    rows = ["file,class_id,fault_start,fault_end"]
    for i in range(6):
        recording = wavy(f"{int(i > 2)}_r{i}.csv", odd=i > 2, seed=i)
        lines = [",".join(f"{v:.6f}" for v in (t / 1000, *recording.signal[:, t])) for t in range(1500)]
        (folder / recording.name).write_text("\n".join(["TIME,CH1,CH2,CH3", *lines]))
        rows += [f"{recording.name},1,500,1000"] if i > 2 else []
    (folder / "labels.csv").write_text("\n".join(rows))
    command = ["bench", "detect", "itsc", "--data", str(folder), "--steps", "20", "--noise", "0.1", "--rows", "lab,log"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["trials"]
    assert len(found) == 2 and all(t["kind"] == "timemoe_lab evaluation" for t in found.values())
    assert main(["bench", "detect"]) == 2 and main(["bench", "detect", "ucr"]) == 2


@pytest.fixture
def ufc(tmp_path):
    "A folder of the set's form, smaller: two conditions, 4 healthy recordings and 2 of each of two faults."
    generator = np.random.default_rng(0)
    names = [f"{c}_c{100 * c + i}c{hz}c100.csv" for c in (0, 2, 6) for hz in (30, 60) for i in range(2 if c else 4)]
    (tmp_path / "ufc").mkdir()
    for name in names:
        turn = 2 * np.pi * int(name.split("c")[2]) * np.arange(6000) / 10_000
        phases = np.stack([np.cos(turn - 2 * np.pi / 3 * k) for k in range(3)] + [0 * turn])
        x = phases * (1 + np.array([[0.1 * int(name[0])], [0], [0], [0]])) + generator.normal(0, 0.02, (4, 6000))
        rows = "".join(f"{t:g},{','.join(f'{v:.2f}' for v in x[:, i])}\n" for i, t in enumerate(np.arange(6000) / 1e4))
        (tmp_path / "ufc" / name).write_text("Model,MSO4034B\nSample Interval,0.0001\n\nTIME,CH1,CH2,CH3,CH4\n" + rows)
    return tmp_path / "ufc"


def test_bench_detect_ufc_stands_beside_the_published_figures_and_goes_on(ufc, tmp_path, capsys):
    command = ["bench", "detect", "ufc", "--data", str(ufc), "--steps", "3", "--rows", "lab,random"]
    command += ["--out", str(tmp_path / "out"), "--json"]
    assert main(command) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    ((title, trial),) = found["trials"].items()
    assert title == "ufc, currents, 16 recordings" and "prepare: 16/16 files" in told.err
    assert found["published"]["ufc"]["values"] == {
        "CNN-LSTM": 0.972,
        "KNN": 0.781,
        "random forest": 0.674,
        "SVM": 0.663,
    }
    used = [name for split in ("train", "calibration") for name in trial["splits"][split]]
    assert used and all(name.startswith("0_") for name in used)
    assert not set(used) & set(trial["splits"]["test"]) and trial["mask"] == ["CH4"]
    before = (tmp_path / "out/ufc-0/store/index.json").stat().st_mtime_ns
    assert main(command) == 0  # the store and the run are there
    again = json.loads(capsys.readouterr().out)["trials"][title]
    assert again["rows"] == trial["rows"]
    assert (tmp_path / "out/ufc-0/store/index.json").stat().st_mtime_ns == before
    assert main([*command, "--limit", "1"]) == 2 and "another --out" in capsys.readouterr().err
    assert main([*command, "--seed", "5"]) == 2 and "another --out" in capsys.readouterr().err


def test_what_is_asked_of_ufc_and_can_not_be_is_one_line(ufc, tmp_path, capsys):
    ask = ["bench", "detect", "ufc"]
    wrong = {
        "needs the folder of the set: --data DIR, with files such as 0_c2264c30c100.csv": ask,
        "nowhere: no such folder, with files such as": [*ask, "--data", str(tmp_path / "nowhere")],
        "without --noise": [*ask, "--data", str(ufc), "--noise", "0.1"],
        "--limit is for ufc": ["bench", "detect", "skab", "--data", str(ufc), "--limit", "2"],
    }
    for words, command in wrong.items():
        assert main(command) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
    (ufc / "monday.csv").write_text("TIME,CH1\n0,1\n1,2\n")
    assert main([*ask, "--data", str(ufc)]) == 1
    assert "monday.csv: its name doesn't say class, Hz and load" in capsys.readouterr().err


def test_series_of_ucr_have_a_run_each(tmp_path):
    names = ["115_UCR_Anomaly_X_400_510_560", "116_UCR_Anomaly_Y_600_700_710"]
    series = np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32)
    np.savez(tmp_path / "ucr.npz", **dict(zip(names, [series[0, :990], series[1]])))  # of unequal length
    found = trials("ucr", tmp_path, config=tiny())
    assert [t.name for t in found] == names
    train, calibration, test = found[1].recordings()
    assert np.array_equal(train.signal[0], series[1, :400]) and calibration.n_samples == 200
    assert test.faults == ((99, 110),) and test.n_samples == 400
