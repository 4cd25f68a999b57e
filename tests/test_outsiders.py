"Detectors of other people: least squares by hand, patches that find what was planted."

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from sklearn.metrics import roc_auc_score

from timemoe_lab.config import tiny
from timemoe_lab.data.prepare import Frame, Scale, normalise
from timemoe_lab.data.recording import Recording
from timemoe_lab.detect.controls import CONTROLS, OUTSIDERS, Outsider, fit_control, outsider, rows_of
from timemoe_lab.detect.evaluate import calibrate_control
from timemoe_lab.detect.outsiders import Autoregression, Recipe, learn_patches, patch_starts, train_encoder
from timemoe_lab.files import InputError

NAMES = ("CH1", "CH2")
FRAME = Frame(1000.0, NAMES, ("A", "A"), (), Scale((0.0, 0.0), (1.0, 1.0)))


def hum(seed, n=3000, poles=(1, -1.6, 0.9)):
    return lfilter([1], poles, np.random.default_rng(seed).normal(size=(2, n)))


def recording(name, x, class_id=0):
    return Recording(name, x.astype(np.float32), 1000.0, NAMES, ("A", "A"), class_id)


def by_hand(parts, order):
    "Constant and coefficients by numpy's least squares on lags laid out one by one, and what they leave."
    rows = [([1, *x[t - order : t][::-1]], x[t]) for x in parts for t in range(order, len(x))]
    rows = [(past, now) for past, now in rows if np.isfinite([*past, now]).all()]
    past, now = (np.array(v) for v in zip(*rows))
    found = np.linalg.lstsq(past, now, rcond=None)[0]
    return found, np.sqrt(np.mean((now - past @ found) ** 2))


def test_the_linear_forecast_is_that_of_least_squares_over_all_healthy_recordings():
    healthy = [hum(0, 700), hum(1, 500)]
    healthy[1][0, 250] = np.nan
    linear = Autoregression()
    error = linear.detector([linear.digest(x) for x in healthy])
    odd = 1.3 * hum(2, 300) + 0.2
    want = np.zeros((2, 300))
    for channel in range(2):
        found, left = by_hand([x[channel] for x in healthy], 40)
        x = odd[channel]
        want[channel, 40:] = [(x[t] - found[0] - found[1:] @ x[t - 40 : t][::-1]) / left for t in range(40, 300)]
    got = error(odd)
    assert np.isnan(got[:40]).all()
    assert np.allclose(got[40:], np.sqrt((want[:, 40:] ** 2).mean(axis=0)), rtol=1e-4)


def test_a_pure_tone_has_a_forecast_and_a_missing_sample_has_no_score():
    tone = np.sin(2 * np.pi * np.arange(2000) / 37)[None]
    linear = Autoregression()
    broken = tone.copy()
    broken[0, 1000] = np.nan
    got = linear.detector([linear.digest(tone)])(broken)
    assert np.isnan(got[1000:1041]).all() and np.isfinite(got[40:1000]).all() and np.isfinite(got[1041:]).all()
    assert len(linear.digest(tone[:, :30])) == 1 and not linear.digest(tone[:, :30]).any()  # too short to teach


def test_thresholds_of_an_outsider_come_from_recordings_that_it_has_not_seen():
    healthy = [recording(f"0_{i}.csv", hum(i)) for i in range(3)]
    config = tiny()
    seen = [normalise(r, frame=FRAME, config=config.data) for r in healthy]
    linear = outsider("AR(40)", seen, frame=FRAME)
    how = {"frame": FRAME, "config": config}
    fitted, limits = calibrate_control(linear, healthy, seen, **how)
    rows = rows_of(linear, seen, **how)
    others = fit_control(linear, rows[1:]).score(healthy[0], seen[0], **how)
    own = fitted.score(healthy[0], seen[0], **how)
    assert not np.array_equal(others.score, own.score) and np.isfinite(own.score).all()
    assert 0.5 < limits.point < 2
    odd = recording("1_odd.csv", hum(9, poles=(1, -1.2, 0.9)), class_id=1)
    found = fitted.score(odd, normalise(odd, frame=FRAME, config=config.data), **how)
    assert np.mean(found.score >= limits.point) > 0.9


def test_an_outsider_sees_no_masked_channel():
    masked = replace(FRAME, mask=("CH2",))
    config = tiny()
    x = hum(0)
    other = np.stack([x[0], 5 * x[1] + 1])
    read = []
    for signal in (x, other):
        given = normalise(recording("0_a.csv", signal), frame=masked, config=config.data)
        read.append(outsider("AR(40)", [given], frame=masked).read(given, masked))
    assert read[0].shape[0] == 1 and np.array_equal(read[0], read[1])


def planted(n=1500):
    t = np.arange(n)
    tone = lambda seed: np.sin(2 * np.pi * t / 50)[None] + np.random.default_rng(seed).normal(0, 0.1, (1, n))
    odd = tone(3)
    odd[0, 900:1000] = np.sin(2 * np.pi * t[900:1000] / 25)
    return [tone(1), tone(2)], odd, (t >= 900) & (t < 1000)


def test_patches_find_what_was_planted_and_a_seed_decides_them():
    healthy, odd, faulty = planted()
    recipe = Recipe(steps=3, batch=12)
    scores = []
    for seed in (5, 5, 6):
        before = torch.random.get_rng_state()
        learned = learn_patches(healthy, recipe=recipe, seed=seed)
        assert torch.equal(torch.random.get_rng_state(), before)  # nobody else's numbers change
        scores.append(learned.detector([learned.digest(x) for x in healthy])(odd))
    assert np.array_equal(scores[0], scores[1]) and not np.array_equal(scores[0], scores[2])
    assert roc_auc_score(faulty, scores[0]) > 0.95 and 836 < np.argmax(scores[0]) < 1064
    assert np.isfinite(scores[0]).all()


def test_a_sample_has_the_mean_of_the_patches_that_hold_it():
    healthy, odd, _ = planted(400)
    learned = learn_patches(healthy, recipe=Recipe(steps=0))
    digests = [learned.digest(x) for x in healthy]
    got = learned.detector(digests)(odd)
    starts = patch_starts(odd, 64, 8)
    bank = np.concatenate(digests)
    rows = [learned.digest(odd[:, s : s + 64])[0] for s in starts]
    apart = [np.sort(1 - bank @ row)[:3].mean() for row in rows]
    want = [np.mean([d for d, s in zip(apart, starts) if s <= t < s + 64]) for t in range(400)]
    assert np.allclose(got, want, atol=1e-4)


def test_patches_of_a_recording_that_is_left_out_are_not_remembered():
    healthy = [recording(f"0_{i}.csv", np.repeat(planted(500)[0][i % 2], 2, axis=0)) for i in range(3)]
    config = tiny()
    seen = [normalise(r, frame=FRAME, config=config.data) for r in healthy]
    series = [s.x for s in seen]
    patches = Outsider(learn_patches(series, recipe=Recipe(steps=1, batch=8)))
    how = {"frame": FRAME, "config": config}
    fitted, limits = calibrate_control(patches, healthy, seen, **how)
    own = fitted.score(healthy[1], seen[1], **how).score
    rows = rows_of(patches, seen, **how)
    others = fit_control(patches, [rows[0], rows[2]]).score(healthy[1], seen[1], **how).score
    assert own.shape == (500,) and np.isfinite(own).all() and own.mean() < 0.8 * others.mean()  # one of three is itself
    assert own.max() < limits.point  # which is that of patches that weren't remembered


def test_healthy_series_shorter_than_a_patch_teach_nothing():
    with pytest.raises(InputError, match="no healthy recording has 64 known samples in a row"):
        train_encoder([np.zeros((1, 63))], Recipe())


def test_outsiders_are_no_rows_that_a_table_has_by_itself():
    assert list(OUTSIDERS) == ["AR(40)", "PaAno"] and set(OUTSIDERS).isdisjoint(CONTROLS)


@pytest.mark.slow
def test_the_published_recipe_finds_what_was_planted():
    healthy, odd, faulty = planted(3000)
    learned = learn_patches(healthy)
    score = learned.detector([learned.digest(x) for x in healthy])(odd)
    assert roc_auc_score(faulty, score) > 0.97
