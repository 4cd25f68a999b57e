"What is wrong with samples: clipping and held values are found, and what a converter's steps do to a crest is neither."

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemoe_lab.data.motor import campaign, simulate
from timemoe_lab.data.quality import about_levels, measure, problems, step_of, usual_levels

QUICK = settings(deadline=None, max_examples=60)


def sine(fs=10_000.0, hz=50.0, seconds=0.5, phase=0.3, fifth=0.0):
    turn = 2 * np.pi * hz * np.arange(round(fs * seconds)) / fs + phase
    return np.sin(turn) + fifth * np.sin(5 * turn)


def quantised(x, bits):
    "What a converter of so many bits for -1 to 1 gives; None leaves it as it is."
    return x if bits is None else np.round(x * 2 ** (bits - 1)) / 2 ** (bits - 1)


def look(x, fs=10_000.0):
    (found,) = measure(np.asarray(x, np.float32)[None], fs=fs, channels=("CH1",))
    return found


@QUICK
@given(
    fs=st.floats(400, 1e6),
    hz=st.sampled_from([8, 25, 30, 50, 60, 100]) | st.floats(8, 130),
    bits=st.integers(2, 16),
    amplitude=st.floats(0.05, 1),
    noise=st.sampled_from([0, 0.3, 1, 4]),
    fifth=st.sampled_from([0, 0.02, 0.04, -0.04]),
    n=st.sampled_from([600, 2000, 20_000]),
    seed=st.integers(0, 999),
)
def test_no_crest_of_a_whole_sine_is_clipped_or_held(fs, hz, bits, amplitude, noise, fifth, n, seed):
    generator = np.random.default_rng(seed)
    step = 2.0 ** (1 - bits)
    x = amplitude * sine(fs, hz, n / fs, generator.uniform(0, 7), fifth)
    found = look(quantised(x + noise * step * generator.normal(size=len(x)), bits), fs)
    assert found.n_clipped == found.n_held == 0


@QUICK
@given(
    fs=st.sampled_from([2000.0, 10_000.0, 50_000.0]),
    hz=st.floats(15, 65),
    share=st.floats(0.3, 0.99),
    sides=st.sampled_from(["both", "top", "bottom"]),
    bits=st.sampled_from([12, 16, None]),
    seed=st.integers(0, 999),
)
def test_a_cut_crest_is_found_with_its_share(fs, hz, share, sides, bits, seed):
    generator = np.random.default_rng(seed)
    part = np.arccos(share) / np.pi  # of a sine that is above it
    if part * fs / hz < 5:  # samples of a plateau
        return
    x = sine(fs, hz, 0.5, generator.uniform(0, 7)) + 1e-4 * generator.normal(size=round(fs * 0.5))
    low, high = {"both": (-share, share), "top": (-9, share), "bottom": (-share, 9)}[sides]
    found = look(quantised(np.clip(x, low, high), bits), fs)
    whole = part * (2 if sides == "both" else 1)
    assert found.n_clipped / found.n_samples == pytest.approx(whole, abs=0.02 + 0.1 * whole)
    assert len(found.rails) == (2 if sides == "both" else 1)
    assert found.rails[-1] == pytest.approx(-share if sides == "bottom" else share, abs=1e-3)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_an_eight_bit_scope_that_clips_is_told_from_one_that_does_not(share):
    noise = 0.003 * np.random.default_rng(0).normal(size=5000)
    assert look(quantised(np.clip(sine(hz=47.3) + noise, -share, share), 8)).n_clipped
    assert not look(quantised(sine(hz=47.3) + noise, 8)).n_clipped


def test_steps_that_are_printed_rounded_are_no_clipping():
    x = np.round(np.round(sine() / 0.0390625) * 0.0390625, 3)
    assert look(x).n_clipped == 0 and step_of(x.astype(np.float32)) == pytest.approx(0.0390625, abs=0.001)


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).normal(size=5000),
        np.round(np.random.default_rng(0).normal(size=5000)),
        np.sign(sine()),  # a square wave
        np.maximum(sine(), 0),  # a rectifier
        (sine() > 0.5).astype(float),  # a trigger
        np.round(20 + np.linspace(0, 1, 5000), 1),  # a temperature
        np.repeat(sine()[::100], 100),  # a slow channel, repeated
        np.full(5000, np.nan),
        np.full(5000, 3.3),
        np.zeros(1),
        np.zeros(0),
    ],
)
def test_what_is_neither_clipped_nor_held(x):
    found = look(x)
    assert found.n_clipped == found.n_held == 0 and problems([found]) == []


@pytest.mark.parametrize("bits", [8, None])
@pytest.mark.parametrize(("start", "length"), [(3000, 20), (3100, 800), (0, 500), (4700, 300)])
def test_a_held_value_is_found_where_it_is(bits, start, length):
    x = quantised(sine(hz=47.3), bits)
    x[start : start + length] = x[start]
    found = look(x)
    assert found.n_holds == 1 and found.n_held == pytest.approx(length, abs=8)
    assert found.first_hold_s == pytest.approx(start / 1e4, abs=1e-3)
    assert found.held_s == pytest.approx(length / 1e4, abs=1e-3) and not found.n_clipped


def test_several_holds_are_counted_and_missing_samples_are_not_held():
    x = sine(hz=47.3)
    for start in (1000, 2000, 4000):
        x[start : start + 100] = x[start]
    x[3000:3300] = np.nan
    found = look(x)
    assert (found.n_holds, found.n_held, found.n_missing) == (3, 300, 300)
    assert problems([found]) == ["CH1 held its value 3 times, for 0.03 s in all, the first at 0.1 s"]


def test_range_level_and_missing_samples_are_those_of_the_known_ones():
    x = np.array([1.0, np.nan, 3.0, 5.0, np.inf])
    found = look(x)
    assert (found.low, found.high, found.n_missing, found.n_samples) == (1, 5, 2, 5)
    assert found.level == pytest.approx(np.std([1, 3, 5])) and found.step == 2


def test_sentences_name_channel_rail_and_share():
    both = np.stack([np.clip(sine(hz=48), -9, 0.8), sine(hz=48)])
    quality = measure(both.astype(np.float32), fs=1e4, channels=("Ia", "Ib"))
    assert problems(quality) == ["Ia clipped at 0.8 in 20 % of its samples"]  # arccos(0.8) / pi = 20.5 %


def test_simulated_motors_are_clean():
    jobs = campaign(classes=(0, 5), freqs=(30, 60), loads=(0, 100), reps=1, healthy_reps=1)
    for r in simulate(jobs, seconds=0.5, voltages=True):
        assert problems(measure(r.signal, fs=r.fs, channels=r.channels)) == [], r.name


def test_levels_are_compared_with_all_but_the_outermost_healthy_ones():
    healthy = [[1.0], [1.2], [0.9], [4.0]]  # one probe was at another scale
    assert usual_levels(healthy).ravel().tolist() == [1.0, 1.2]
    assert about_levels([4.0], usual_levels(healthy), ["CH1"]) == [
        "CH1 at 3.3 times the level of the healthy recordings"
    ]
    assert about_levels([0.1], usual_levels(healthy), ["CH1"]) == [
        "CH1 at 0.1 times the level of the healthy recordings"
    ]
    for value in (1.79, 0.67, 0.0, np.nan):
        assert about_levels([value], usual_levels(healthy), ["CH1"]) == []
    assert usual_levels([[2.0], [np.nan], [3.0]]).ravel().tolist() == [2, 3]


def test_four_channels_of_a_scope_are_measured_in_the_time_of_a_few_passes():
    x = np.random.default_rng(0).normal(size=(4, 100_000)).astype(np.float32)
    once = min(_seconds(lambda: np.sort(x, axis=1)) for _ in range(5))
    assert min(_seconds(lambda: measure(x, fs=1e4, channels="abcd")) for _ in range(5)) < 10 * once


def _seconds(f):
    began = time.perf_counter()
    f()
    return time.perf_counter() - began
