"The lab as an estimator: scikit-learn's conventions and checks, run folders, and other people's harness."

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import estimator_checks_generator

from conftest import told_parts
from timemoe_lab import Detector
from timemoe_lab.cli import main
from timemoe_lab.config import tiny
from timemoe_lab.data.readers import read_folder
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.detect.threshold import vus
from timemoe_lab.files import InputError, UsageError, read_json, write_json
from timemoe_lab.plant.detector import NOT_FOR_A_SERIES, sized

BRIEF = replace(tiny(), train=replace(tiny().train, steps=1, batch=2))
SMALL = sized(replace(tiny(), train=replace(tiny().train, steps=20)), 200, fs=1.0)
FAST = ("check_estimators_unfitted", "check_fit1d", "check_n_features_in", "check_fit2d_1sample", "check_set_params")
FAST += ("check_dont_overwrite_attributes", "check_parameters_default_constructible", "check_estimator_cloneable")


def series(n, *, seed=0, fault=None):
    "A wave of two columns, its phase by the seed; a square is switched in between two rows."
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    x = np.stack([np.sin(t / 7 + seed), np.cos(t / 7 + seed)], axis=1) + 0.1 * rng.normal(size=(n, 2))
    label = np.zeros(n, bool)
    if fault:
        label[slice(*fault)] = True
        x[label, 0] += np.sign(np.sin(t[label] / 2))
    return x, label


@pytest.fixture(scope="module")
def fitted():
    "A detector of a healthy series."
    return Detector(SMALL, random_state=1).fit(series(1000)[0])


@pytest.fixture(scope="module")
def odd():
    "A series with a fault, and where it is."
    return series(1500, seed=3, fault=(1200, 1320))


def run_checks(names):
    found = {}
    for estimator, check in estimator_checks_generator(Detector(BRIEF)):
        name = check.func.__name__
        if names is None or name in names:
            try:
                check(clone(estimator))
            except Exception as error:  # noqa: BLE001  whatever a check throws
                found[name] = error
    return found


def test_it_passes_the_quick_checks_of_scikit_learn():
    assert not run_checks(FAST)


@pytest.mark.slow
def test_it_passes_every_check_of_scikit_learn_that_holds_for_a_series():
    assert set(run_checks(None)) - {"check_array_api_input"} == set(NOT_FOR_A_SERIES)


def test_a_fault_is_found_and_both_conventions_say_the_same(fitted, odd):
    x, label = odd
    score = -fitted.score_samples(x)
    assert score.shape == (1500,) and roc_auc_score(label, score) > 0.9
    assert (fitted.decision_function(x) == -score - fitted.offset_).all()
    assert (fitted.predict(x) == np.where(fitted.decision_function(x) >= 0, 1, -1)).all()
    assert (fitted.predict(x) == np.where(score >= fitted.threshold_, -1, 1)).all() and (fitted.predict(x) == -1).any()
    other = Detector(SMALL, random_state=1, convention="pyod").fit(series(1000)[0])
    assert (other.decision_function(x) == score).all()
    assert (other.predict(x) == (score >= fitted.threshold_)).all()
    assert (other.labels_ == (other.decision_scores_ >= other.threshold_)).all() and len(other.labels_) == 1000


def test_labels_are_not_read_and_the_seed_decides(odd):
    x, label = odd
    healthy = series(400)[0]
    brief = sized(BRIEF, 100, fs=1.0)
    first = Detector(brief).fit(healthy)
    assert (first.score_samples(x) == Detector(brief).fit(healthy, np.ones(400)).score_samples(x)).all()
    assert (first.score_samples(x) != Detector(brief, random_state=1).fit(healthy).score_samples(x)).any()


def test_a_score_that_reaches_the_threshold_alarms(fitted):
    assert -fitted.threshold_ - fitted.offset_ < 0 <= -np.nextafter(fitted.threshold_, -1) - fitted.offset_


def test_what_is_saved_is_a_run_folder(fitted, odd, tmp_path, capsys):
    fitted.save(tmp_path / "run")
    assert not list(tmp_path.rglob("*.pkl")) and not list(tmp_path.rglob("optimizer*"))
    loaded = Detector.load(tmp_path / "run")
    assert (loaded.score_samples(odd[0]) == fitted.score_samples(odd[0])).all()
    assert loaded.get_params() | {"preset": 0} == fitted.get_params() | {"preset": 0}
    assert loaded.notes_ == fitted.notes_ and loaded.n_features_in_ == 2
    again = clone(loaded).fit(series(1000)[0])  # its settings are those that were in force
    assert (again.score_samples(odd[0]) == fitted.score_samples(odd[0])).all()
    (tmp_path / "raw").mkdir()
    np.savetxt(tmp_path / "raw/a.csv", odd[0], delimiter=",", header="x0,x1", comments="")
    argv = ["score", str(tmp_path / "run"), str(tmp_path / "raw"), "--out", str(tmp_path / "scores"), "--fs", "1"]
    assert main(argv) == 0, capsys.readouterr().err
    with np.load(tmp_path / "scores/a.npz") as found:
        assert np.allclose(found["score"], -fitted.score_samples(odd[0]), atol=1e-4)


@pytest.mark.parametrize(
    "harm, words",
    [
        (lambda p: (p / "detector.json").write_text("{"), "not JSON"),
        (lambda p: write_json(p / "detector.json", {"kind": "x", "fits": "an array"}), "lacks fs"),
        (lambda p: next(p.glob("checkpoints/step*/model.safetensors")).write_bytes(b"0" * 99), "checksum"),
        (lambda p: (p / "config.json").unlink(), "not a run"),
    ],
)
def test_a_folder_that_was_changed_is_refused_in_a_line(fitted, tmp_path, harm, words):
    fitted.save(tmp_path / "run")
    harm(tmp_path / "run")
    with pytest.raises(InputError, match=words) as found:
        Detector.load(tmp_path / "run")
    assert "\n" not in str(found.value)


def test_nothing_is_written_over(fitted, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(UsageError, match="isn't empty"):
        fitted.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["note"]


def test_a_run_of_the_command_line_is_a_detector_of_recordings(judged, raw):
    recordings = [r for r in read_folder(raw) if r.split is None][:3]
    detector = Detector.load(judged.path)
    scorer = open_scorer(judged.path)
    expected = [scorer.rows(r)[scorer.point.mode].recording_score for r in recordings]
    assert (detector.score_samples(recordings) == -np.array(expected)).all()
    assert detector.threshold_ == read_json(judged.path / "operating_point.json")["recording_threshold"]
    assert (detector.predict(recordings) == np.where(np.array(expected) >= detector.threshold_, -1, 1)).all()
    with pytest.raises(UsageError, match="fit was given recordings"):
        detector.predict(np.zeros((2000, 4)))


def test_it_learns_from_healthy_recordings(raw, short_config):
    recordings = list(read_folder(raw))
    healthy = [r for r in recordings if r.class_id == 0][:4]
    recipe = replace(short_config.train, steps=4)
    few = told_parts(replace(short_config, train=recipe))
    detector = Detector(few, mask=("CH4",)).fit([replace(r, class_id=None) for r in healthy])
    assert detector.predict(recordings[-2:]).shape == (2,)
    assert detector.scorer_.frame.mask == ("CH4",) and not detector.notes_
    known = detector.scorer_.run.facts["recordings"]
    assert sorted(r["split"] for r in known) == ["calibration", "train", "train", "train"]
    with pytest.raises(InputError, match="labelled as faulty"):
        Detector(few).fit(recordings)


def test_missing_values_stay_missing_and_are_no_alarm(fitted, odd):
    x = odd[0].copy()
    x[300:700] = np.nan
    score = fitted.score_samples(x)
    assert np.isnan(score[350:650]).all() and (fitted.predict(x)[350:650] == 1).all()
    with pytest.raises(ValueError, match="infinity"):
        fitted.predict(np.where(np.isnan(x), np.inf, x))


def test_a_table_names_its_columns():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(series(300)[0], columns=["a", "b"])
    detector = Detector(sized(BRIEF, 100, fs=1.0)).fit(table)
    assert detector.scorer_.frame.channels == ("a", "b")
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(table.rename(columns={"b": "c"}))


@pytest.mark.parametrize(
    "how, words",
    [
        ({"preset": "huge"}, "preset 'huge'"),
        ({"convention": "theirs"}, "convention='theirs'"),
        ({"steps": 0}, "steps=0"),
        ({"fs": -1.0}, "fs=-1"),
        ({"mask": ("x9",)}, "x9"),
    ],
)
def test_a_wrong_parameter_is_told_when_it_fits(how, words):
    with pytest.raises(InputError, match=words):
        Detector(**{"preset": BRIEF} | how).fit(series(100)[0])


def test_a_fit_that_fails_leaves_the_detector_as_it_was(fitted, odd):
    before = fitted.score_samples(odd[0])
    with pytest.raises(ValueError, match="minimum of 6"):
        fitted.fit(odd[0][:3])
    assert (fitted.score_samples(odd[0]) == before).all()
    with pytest.raises(NotFittedError):
        Detector().predict(odd[0])


# Other people's harness


def test_pyod_takes_it_for_a_detector(odd):
    pytest.importorskip("pyod.models.base", reason="pyod isn't installed", exc_type=ImportError)
    from pyod.models.lscp import LSCP
    from pyod.utils.data import evaluate_print
    from pyod.utils.utility import check_detector

    x, label = odd
    detector = Detector(SMALL, convention="pyod")
    check_detector(detector)
    together = LSCP(
        [detector, Detector(SMALL, convention="pyod", random_state=1)], local_region_size=30, random_state=0
    )
    together.fit(series(1000)[0])
    said = together.decision_function(x)
    evaluate_print("lab", label.astype(int), said)
    assert said.shape == (1500,) and roc_auc_score(label, said) > 0.9


def test_sktime_clones_it_and_marks_the_fault(odd):
    pytest.importorskip("sktime", reason="sktime isn't installed", exc_type=ImportError)
    pd = pytest.importorskip("pandas")
    from sktime.detection.adapters import PyODDetector

    x, label = odd
    adapter = PyODDetector(Detector(SMALL, convention="pyod", random_state=1))
    adapter.fit(pd.DataFrame(series(1000)[0]))
    alarms = Detector(SMALL, convention="pyod", random_state=1).fit(series(1000)[0]).predict(x)
    assert len(adapter.predict(pd.DataFrame(x))) == alarms.sum() > 50


def test_aeon_runs_it_in_ten_lines(odd):
    base = pytest.importorskip("aeon.anomaly_detection.series.base", reason="no aeon", exc_type=ImportError)

    class Lab(base.BaseSeriesAnomalyDetector):
        _tags = {"capability:multivariate": True, "fit_is_empty": False}

        def __init__(self):
            super().__init__(axis=0)

        def _fit(self, X, y=None):
            self.detector_ = Detector(SMALL, convention="pyod").fit(X)

        def _predict(self, X):
            return self.detector_.decision_function(X)

    x, label = odd
    assert roc_auc_score(label, Lab().fit(series(1000)[0], axis=0).predict(x, axis=0)) > 0.9


def test_tsb_ad_runs_it_and_its_vus_is_ours(odd, monkeypatch):
    pytest.importorskip("TSB_AD", reason="TSB-AD isn't installed", exc_type=ImportError)
    from TSB_AD import model_wrapper
    from TSB_AD.evaluation.metrics import get_metrics

    def run_lab(data_train, data_test, **settings):
        return Detector(**settings, convention="pyod").fit(data_train).decision_function(data_test).ravel()

    monkeypatch.setattr(model_wrapper, "run_lab", run_lab, raising=False)
    x, label = odd
    said = model_wrapper.run_Semisupervise_AD("lab", series(1000)[0], x, preset=SMALL)
    measured = get_metrics(said, label.astype(int), slidingWindow=44)
    roc, pr = vus(said, label, window=44)
    print(json.dumps({"theirs": [measured["VUS-ROC"], measured["VUS-PR"]], "ours": [roc, pr]}, default=float))
    assert (roc, pr) == pytest.approx((measured["VUS-ROC"], measured["VUS-PR"]), abs=1e-6)
