"Alarms against a state machine that sees one sample at a time, against counting by hand, and against cut recordings."

import csv
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from timemoe_lab.config import UsageError, tiny
from timemoe_lab.detect.alarms import (
    ALARM_COLUMNS,
    Alarm,
    AlarmLine,
    about_rule,
    alarms_of,
    at_most,
    calibrate_alarms,
    events_of,
    first_rule,
    look_ahead,
    loudest,
    per_day,
    rule_in_force,
    save_alarms,
)
from timemoe_lab.detect.score import to_samples
from timemoe_lab.files import InputError
from timemoe_lab.records import AlarmRule, OperatingPoint

NAN = math.nan


class Watcher:
    "An online user: knows the samples so far, and keeps a list of alarms that are raised."

    def __init__(self, rule, fs):
        self.rule, self.fs, self.seen, self.alarms = rule, fs, [], []
        self.state, self.event, self.last_on, self.free = False, None, None, 0
        self.end_of_event = 0  # of the one before

    def above(self, t):
        late = t >= round(self.rule.blank_s * self.fs)
        return t >= 0 and late and self.seen[t] >= self.rule.on  # NaN is not

    def take(self, value):
        rule, t = self.rule, len(self.seen)
        self.seen.append(value)
        step = max(1, round(rule.step_s * self.fs))
        lags = [t - i * step for i in range(rule.n) if self.above(t - i * step)]
        if len(lags) >= rule.k:
            self.state = True
        elif not value >= rule.off:
            self.state = False
        if not self.state:
            return
        gap = None if self.last_on is None else t - self.last_on - 1
        if gap is None or (gap and gap >= round(rule.hold_s * self.fs)):  # a new event
            self.end_of_event = 0 if self.last_on is None else self.last_on + 1
            self.event = {"start": max(min(lags), self.end_of_event), "alarm": None}
        self.last_on = t
        if self.event["alarm"] is None:
            lasted = t - self.event["start"] + 1 >= rule.minimum_s * self.fs - 1e-6
            if lasted and t >= self.free:
                self.event["alarm"] = [self.event["start"], None, t]
                self.alarms.append(self.event["alarm"])
        if self.event["alarm"] is not None:
            self.event["alarm"][1] = t + 1
            self.free = t + 1 + round(rule.cool_s * self.fs)


def watched(score, rule, fs):
    watcher = Watcher(rule, fs)
    for value in score:
        watcher.take(value)
    return [tuple(a) for a in watcher.alarms]


levels = st.sampled_from([NAN, 0.0, 1.0, 2.0, 3.0, 4.0])
scores = st.lists(levels, min_size=1, max_size=60).map(np.array)
lengths = st.integers(0, 7).map(lambda n: n / 10)


@st.composite
def rules(draw):
    on = draw(st.sampled_from([1.0, 2.0, 3.0]))
    n = draw(st.integers(1, 4))
    return AlarmRule(
        on=on,
        off=draw(st.sampled_from([v for v in (0.0, 1.0, 2.0, 3.0) if v <= on])),
        minimum_s=draw(lengths),
        hold_s=draw(lengths),
        cool_s=draw(lengths),
        blank_s=draw(lengths),
        k=draw(st.integers(1, n)),
        n=n,
        step_s=draw(lengths),
    )


@settings(max_examples=400)
@given(scores, rules())
def test_alarms_are_those_of_a_state_machine(score, rule):
    found = alarms_of(score, rule, fs=10.0)
    got = [(round(a.start_s * 10), round(a.end_s * 10), round(a.raised_s * 10)) for a in found]
    assert got == watched(score, rule, 10.0)
    for alarm, (start, end, _) in zip(found, got):
        known = [v for v in score[start:end] if not math.isnan(v)]
        assert alarm.peak == max(known) and score[round(alarm.peak_s * 10)] == alarm.peak


@settings(max_examples=300)
@given(scores, rules(), st.integers(0, 60))
def test_what_is_raised_by_a_moment_does_not_depend_on_what_comes_later(score, rule, cut):
    told = lambda found: [(a.start_s, a.raised_s) for a in found if a.raised_s * 10 < cut - 0.5]
    assert told(alarms_of(score[:cut], rule, fs=10.0)) == told(alarms_of(score, rule, fs=10.0))


@given(scores.map(lambda s: s.astype(np.float32)), rules())
def test_the_loudest_level_is_the_highest_that_alarms(score, rule):
    known = score[np.isfinite(score)]
    level = loudest(score, rule, fs=10.0)
    if math.isnan(level):
        assert len(known) == 0
        return
    tried = np.linspace(-1, 5, 121)
    raising = [t for t in tried if alarms_of(score, rule.at(float(t)), fs=10.0)]
    assert max(raising, default=-math.inf) <= level or not raising
    if math.isfinite(level):
        above = float(np.nextafter(np.float32(level), np.float32(np.inf)))
        assert alarms_of(score, rule.at(level), fs=10.0) and not alarms_of(score, rule.at(above), fs=10.0)
    else:
        assert not [t for t in raising if t >= known.min()]


def test_a_hundred_thousand_samples_take_milliseconds():
    score = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    smooth = np.repeat(score[::160], 160)
    for trace in (score, smooth):
        rule = AlarmRule(on=2.5, off=2.0, minimum_s=0.001, hold_s=0.002)
        best = math.inf
        for _ in range(3):
            began = time.perf_counter()
            found = alarms_of(trace, rule, fs=10_000.0)
            best = min(best, time.perf_counter() - began)
        assert found and best < 0.1


# How often


@pytest.mark.parametrize("n, seconds", [(0, 16.0), (1, 3600.0), (7, 86_400.0), (40, 1e6)])
def test_the_interval_of_a_rate_is_exact(n, seconds):
    low, high = per_day(n, seconds)
    days = seconds / 86_400
    tail = 0.025 if n else 0.05
    assert poisson.cdf(n, high * days) == pytest.approx(tail)
    assert low == 0 if n == 0 else poisson.sf(n - 1, low * days) == pytest.approx(tail)
    assert poisson.cdf(n, at_most(n, seconds) * days) == pytest.approx(0.05)


def healthy_scores(n, seconds, seed):
    "Smooth noise of a level of its own in each recording, at 100 Hz."
    generator = np.random.default_rng(seed)
    kernel = np.ones(20) / 20
    size = round(seconds * 100)
    for _ in range(n):
        noise = np.convolve(generator.normal(size=size + 19), kernel, "valid")
        yield (2 + 0.3 * generator.normal() + noise).astype(np.float32)


PLAIN = AlarmRule(on=1.0, off=0.8, minimum_s=0.05, hold_s=0.1, per_day=1.0)


def test_with_little_healthy_time_the_rule_is_above_all_and_promises_no_rate_that_it_cannot_show():
    found = calibrate_alarms(list(healthy_scores(12, 3.0, 0)), fs=100.0, rule=PLAIN, risk=0.05)
    assert not found.shown and found.healthy_s == pytest.approx(36) and found.n_recordings == 12
    assert found.off == pytest.approx(0.8 * found.on) and found.n_alarms >= 1
    assert found.most_per_day == at_most(found.n_alarms, found.healthy_s) > 7_000
    told = about_rule(found)
    assert "in 36 s of 12 healthy recordings: at most" in told and "can't be shown" in told and "3 days" in told


def test_the_promise_of_recordings_is_kept_on_fresh_ones():
    "Nine healthy recordings promise one in ten; of 150 draws with a fresh one each, no more alarm than chance allows."
    alarmed = 0
    for seed in range(150):
        *seen, fresh = healthy_scores(10, 3.0, seed)
        found = calibrate_alarms(seen, fs=100.0, rule=PLAIN, risk=0.05)
        alarmed += bool(alarms_of(fresh, found, fs=100.0))
    assert 4 <= alarmed <= 26  # binomial(150, 1 / 10): 15, and three deviations to each side


def test_with_much_healthy_time_the_wish_is_kept_and_no_level_is_higher_than_it_needs_to_be():
    seen = list(healthy_scores(40, 100.0, 1))
    wish = replace(PLAIN, per_day=200.0)  # 4,000 s: nine alarms
    found = calibrate_alarms(seen, fs=100.0, rule=wish, risk=0.05)
    n = sum(len(alarms_of(s, found, fs=100.0)) for s in seen)
    assert found.shown and found.n_alarms == n > 0 and found.most_per_day == at_most(n, 4000.0) <= 200
    strict = calibrate_alarms(seen, fs=100.0, rule=replace(wish, per_day=1.0), risk=0.02)
    assert not strict.shown and strict.on > found.on
    assert "is kept" in about_rule(found)


def test_one_healthy_recording_says_nothing_of_a_rate():
    found = calibrate_alarms(list(healthy_scores(1, 3.0, 0)), fs=100.0, rule=PLAIN, risk=0.05)
    assert found.n_alarms is found.most_per_day is None and "unknown" in about_rule(found)


@pytest.mark.parametrize("seen", [[], [np.full(50, NAN)], [np.ones(3, np.float32)]])
def test_recordings_too_short_for_an_alarm_are_refused(seen):
    with pytest.raises(InputError, match="minimum_s"):
        calibrate_alarms(seen, fs=100.0, rule=PLAIN, risk=0.05)


@pytest.mark.parametrize("wish", [0.0, -1.0, math.inf, NAN])
def test_a_wish_that_is_none_is_misuse(wish):
    with pytest.raises(UsageError, match="alarms_per_day"):
        replace(tiny().score, alarms_per_day=wish)


def test_a_point_of_before_there_were_events_begins_them_at_its_threshold():
    old = OperatingPoint(1.5, "a test", "calibration", {})
    rule = rule_in_force(old, fs=10_000.0, config=tiny())
    assert rule == first_rule(1.5, fs=10_000.0, config=tiny()) and rule.on == 1.5 and rule.n_alarms is None
    assert rule_in_force(replace(old, event=PLAIN), fs=10_000.0, config=tiny()) is PLAIN


# What was found


def touches(a, b):
    return a[0] < b[1] and b[0] < a[1]


@given(scores, rules(), st.integers(0, 3), st.lists(st.integers(0, 59), min_size=0, max_size=4, unique=True))
def test_faults_found_and_false_alarms_are_counted_one_by_one(score, rule, margin, edges):
    edges = sorted(e for e in edges if e < len(score))
    faults = list(zip(edges[::2], edges[1::2]))
    got = events_of(score, faults, rule, fs=10.0, margin=margin, ahead_s=0.25)
    alarms = watched(score, rule, 10.0)
    wide = [(start - margin, end + margin) for start, end in faults]
    n_false = 0
    for start, end, raised in alarms:
        near = [w for w in wide if touches((start, end), w)]
        n_false += all(raised < w[0] for w in near)
    assert (got.n_alarms, got.n_false) == (len(alarms), n_false)
    free = [t for t in range(len(score)) if not any(a <= t < b for a, b in wide) and not math.isnan(score[t])]
    assert got.healthy_s == pytest.approx(len(free) / 10)
    for fault, delay, known in zip(faults, got.delay, got.known):
        hits = [raised for start, end, raised in alarms if touches((start, end), fault)]
        assert math.isnan(delay) == math.isnan(known) == (not hits)
        if hits:
            assert delay == pytest.approx(max(0, (hits[0] - fault[0]) / 10))
            assert known == pytest.approx(max(0, (hits[0] - fault[0]) / 10 + 0.25))


# What an online user would have had


@settings(max_examples=100)
@given(st.lists(st.integers(0, 8), min_size=20, max_size=60), st.integers(1, 6), st.integers(2, 5))
def test_an_alarm_is_known_when_the_windows_that_it_looks_ahead_have_ended(values, width, hop):
    "A window w holds samples from w * hop on; those that have ended by n samples are the first n // hop - width + 1."
    window = np.array(values, float)
    whole = to_samples(window, hop=hop, width=width, n=(len(window) + width - 1) * hop)
    rule = AlarmRule(on=4.0, off=3.0, minimum_s=float(hop), hold_s=float(hop * width))
    for alarm in alarms_of(whole, rule, fs=1.0):
        n = round(alarm.raised_s) + hop * width
        then = to_samples(window[: n // hop - width + 1], hop=hop, width=width, n=n)
        told = [a for a in alarms_of(then, rule, fs=1.0) if a.raised_s <= alarm.raised_s]
        assert told and (told[-1].start_s, told[-1].raised_s) == (alarm.start_s, alarm.raised_s)


def test_the_look_ahead_is_the_window():
    assert look_ahead(10_000.0, tiny()) == pytest.approx(0.128)


# The file


def test_alarms_csv_has_a_line_for_each_and_a_head_without_one(tmp_path):
    save_alarms(tmp_path, [])
    assert (tmp_path / "alarms.csv").read_text() == ",".join(ALARM_COLUMNS) + "\n"
    alarm = Alarm(0.5, 1.25, 0.516, 3.5, 1.0)
    save_alarms(tmp_path, [AlarmLine("6_a, b.csv", alarm, "CH1", "", NAN, 'says "so", twice')])
    with open(tmp_path / "alarms.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["recording"] == "6_a, b.csv" and row["says"] == 'says "so", twice' and row["sureness"] == ""
    assert [float(row[k]) for k in ("start_s", "end_s", "raised_s", "peak")] == [0.5, 1.25, 0.516, 3.5]
