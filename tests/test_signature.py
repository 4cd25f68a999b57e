"Operating point and asymmetry against signals made by hand, least squares and circuit theory."

from dataclasses import fields, replace
from functools import partial
from importlib import import_module
from time import process_time

import numpy as np
import pytest
from safetensors.numpy import load, save

from timemoe_lab.data.motor import Job, Motor, Nuisance, Supply, campaign, plant, quiet, simulate, steady_slip
from timemoe_lab.data.recording import Recording
from timemoe_lab.data.signature import (
    Conditional,
    choose,
    estimate_pole_pairs,
    exponents,
    look,
    read_signature,
    side_channels,
    slip_of,
    supply_line,
)
from timemoe_lab.files import InputError

motor_room = import_module("timemoe_lab.data.motor")

FOUR = ("CH1", "CH2", "CH3", "CH4")
SEVEN = (*FOUR, "V1", "V2", "V3")
signature_of = partial(read_signature, pole_pairs=2)
POINT = ("supply Hz", "|I+|", "slip")
AT_ONCE = 0.06  # s for ten seconds of four channels at 10 kHz


def three(vector):
    "The phase quantities of a vector."
    return np.stack([(vector * np.exp(-2j * np.pi / 3 * i)).real for i in range(3)])


def made(
    hz=50.013,
    slip=0.02,
    fs=10_000,
    seconds=10.0,
    minus=0.05j,
    noise=0.02,
    flux=None,
    eccentric=0.003,
    start=0.3,
    pole_pairs=2,
):
    "A recording whose f0, I+ = 3 e^{j start}, I- and slip are known; flux is G of DETECTION's model."
    t = np.arange(round(fs * seconds)) / fs
    turn = np.exp(2j * np.pi * hz * t)
    shaft = np.exp(2j * np.pi * hz / pole_pairs * (1 - slip) * t)
    plus = 3 * np.exp(1j * start)
    x = plus * turn + minus * turn.conj() + 0.03 * turn**-5 + 0.02 * turn**7
    x += 3 * eccentric * (turn * shaft + turn * shaft.conj() + 0.5 * turn.conj() * shaft)
    rows = list(three(x))
    if flux is not None:
        rows.append((flux * np.conj(1 / plus) * abs(plus) ** 2 * turn).real + 0.05 * (shaft + shaft**2).real)
    signal = np.array(rows) + noise * np.random.default_rng(0).standard_normal((len(rows), len(t)))
    return Recording("x", signal.astype(np.float32), fs, FOUR[: len(rows)], ("A",) * len(rows))


def fitted(recording, frequencies):
    "Complex amplitudes of lines in the current vector, by least squares on all of them at once."
    a, b, c = recording.signal[:3].astype(float)
    x = 2 / 3 * (a + b * np.exp(2j * np.pi / 3) + c * np.exp(-2j * np.pi / 3))
    t = np.arange(recording.n_samples) / recording.fs
    lines = np.exp(2j * np.pi * t[:, None] * np.array([*frequencies, 0.0]))
    return np.linalg.lstsq(lines, x, rcond=None)[0][:-1]


def i_minus(signature):
    "The feature I-, complex."
    return complex(*signature.feature[:2])


# --- the operating point


@pytest.mark.parametrize("seconds", [1.5, 10.0])
@pytest.mark.parametrize("fs", [1000, 2500, 10_000, 25_600])
@pytest.mark.parametrize("hz", [20.2, 50.013, 69.7])
def test_supply_current_and_slip_at_every_rate(hz, fs, seconds):
    recording = made(hz, fs=fs, seconds=seconds)
    signature = signature_of(recording)
    f0, current, slip = signature.condition[:3]
    assert f0 == pytest.approx(hz, abs=1e-3) and current == pytest.approx(3, rel=2e-3)
    assert signature.slip_known and slip == pytest.approx(0.02, abs=3e-4 if seconds == 10 else 0.12 / hz)
    plus, minus, *_ = fitted(recording, (hz, -hz, 1.49 * hz, 0.51 * hz, -0.51 * hz, -5 * hz, 7 * hz))
    assert i_minus(signature) == pytest.approx(minus * plus / abs(plus), abs=3e-3)


@pytest.mark.parametrize("slip", [0.0005, 0.004, 0.03, 0.09])
@pytest.mark.parametrize("flux", [None, 0.02 - 0.01j])
def test_slip_from_no_load_to_overload(slip, flux):
    signature = signature_of(made(slip=slip, flux=flux))
    assert signature.condition[2] == pytest.approx(slip, abs=5e-5) and signature.slip_known


def test_pole_pairs_decide_what_the_shafts_lines_mean():
    "A six-pole shaft turns at f0 (1 - s) / 3, where no slip would put that of a four-pole motor, and vice versa."
    for own, other in ((2, 3), (3, 2)):
        recording = made(slip=0.04, pole_pairs=own)
        assert read_signature(recording, pole_pairs=own).condition[2] == pytest.approx(0.04, abs=1e-4)
        wrong = read_signature(recording, pole_pairs=other)
        assert not wrong.slip_known and wrong.condition[2] == 0


@pytest.mark.parametrize(("pole_pairs", "load_pct"), [(1, 35.0), (2, 80.0), (3, 80.0), (4, 80.0)])
def test_slip_and_pole_pairs_of_a_motor_are_those_that_it_was_simulated_with(pole_pairs, load_pct):
    motor = Motor(pole_pairs=pole_pairs)
    jobs = tuple(Job(0, 60, load_pct, i) for i in range(4))
    recordings = list(simulate(jobs, seconds=1.5, motor=motor))
    slips = steady_slip(plant(jobs, motor=motor, nuisance=Nuisance(), supply=Supply(), seed=0), motor)
    assert estimate_pole_pairs(recordings) == (pole_pairs, 4)
    for recording, slip in zip(recordings, slips):
        condition = read_signature(recording, pole_pairs=pole_pairs).condition
        assert condition[2] == pytest.approx(slip, abs=1e-3) and slip > 0.01
    if pole_pairs == 3:  # what was read of every motor before
        assert not any(read_signature(r, pole_pairs=2).slip_known for r in recordings)


@pytest.mark.parametrize("pole_pairs", range(1, 7))
def test_pole_pairs_are_estimated_from_the_shafts_lines(pole_pairs):
    recordings = [made(slip=0.03, pole_pairs=pole_pairs, noise=0.02 * (1 + i)) for i in range(4)]
    assert estimate_pole_pairs(recordings) == (pole_pairs, 4)


@pytest.mark.parametrize("what", ["few", "short", "no lines", "no slip", "two motors", "no currents"])
def test_pole_pairs_that_the_lines_do_not_tell_are_not_estimated(what):
    recordings = [made(slip=0.03, seconds=2.0, noise=0.02 * (1 + i)) for i in range(4)]
    assert estimate_pole_pairs(recordings) == (2, 4)
    if what == "few":
        recordings = recordings[:2]
    elif what == "short":
        recordings = [replace(r, signal=r.signal[:, :8000]) for r in recordings]
    elif what == "no lines":
        recordings = [made(eccentric=0, seconds=2.0, noise=0.02 * (1 + i)) for i in range(4)]
    elif what == "no slip":  # of one pole pair: its lines are the even harmonics
        recordings = [made(slip=0.0, pole_pairs=1, noise=0.02 * (1 + i)) for i in range(4)]
    elif what == "two motors":
        recordings[2:] = [made(slip=0.03, pole_pairs=3, seconds=2.0, noise=0.03 * (1 + i)) for i in range(2)]
    else:
        recordings = [replace(r, channels=("x", "y", "z")) for r in recordings]
    assert estimate_pole_pairs(recordings)[0] is None


def test_noise_has_no_slip_and_a_shaftless_current_says_so():
    known = [signature_of(made(eccentric=0, noise=0.02 * (1 + i), seconds=2 + i)).slip_known for i in range(8)]
    assert not any(known)
    assert signature_of(made(eccentric=0)).condition[2] == 0


@pytest.mark.parametrize("bend_hz", [0.02, 0.05])
def test_drifting_mains_lose_no_amplitude(bend_hz):
    t = np.arange(60_000) / 1000
    phase = 2 * np.pi * 50 * t + bend_hz / 0.03 * np.sin(2 * np.pi * 0.03 * t)
    x = np.exp(1j * phase) * (1 + 0.005 * np.cos(phase / 2 * 0.99)) + 0.03 * np.exp(0.7j - 1j * phase)
    signal = three(x) + 0.01 * np.random.default_rng(0).standard_normal((3, len(t)))
    signature = signature_of(Recording("x", signal.astype(np.float32), 1000, FOUR[:3], ("A",) * 3))
    assert signature.condition[1] == pytest.approx(1, rel=1e-3)
    assert signature.condition[2] == pytest.approx(0.01, abs=2e-4)
    assert i_minus(signature) == pytest.approx(0.03 * np.exp(0.7j), abs=3e-4)


def test_the_simulators_operating_point():
    "Slip against the rotor's mean speed in the equations, |I+| against a fit."

    job = Job(0, 40, 100, 7)
    (recording,) = simulate([job], seconds=3.0)
    numbers = motor_room.plant([job])
    trace = motor_room.integrate(numbers, motor_room.Motor(), seconds=3.0)
    speed = np.diff(trace.angle[[0, -1], 0])[0] / (3.0 - 1e-4)
    hz = numbers.turn_rate[0] / (2 * np.pi)
    f0, current, slip = signature_of(recording).condition[:3]
    assert f0 == pytest.approx(hz, abs=2e-3)
    assert slip == pytest.approx(1 - 2 * speed / numbers.turn_rate[0], abs=5e-4)
    assert current == pytest.approx(abs(fitted(recording, (hz, -hz))[0]), rel=2e-3)


# --- the asymmetry


def test_when_the_recording_starts_does_not_matter():
    one = made(flux=0.02 - 0.01j, start=0.3)
    two = made(flux=0.02 - 0.01j, start=0.3)
    two = replace(two, signal=two.signal[:, 4321:])
    a = signature_of(one)
    b = signature_of(two)
    assert np.abs(a.feature - b.feature).max() < 2e-3 * np.abs(a.feature).max()
    assert np.allclose(a.condition[:3], b.condition[:3], rtol=1e-3)


@pytest.mark.parametrize("slip", [0.001, 0.03])
def test_flux_is_told_from_the_shafts_second_line_next_to_it(slip):
    "At slip .001 the line at 2 fr lies .05 Hz from f0 and is thirty times as large as the change that matters."
    base, moved = (signature_of(made(slip=slip, flux=g)) for g in (0.02 + 0j, 0.0205 + 0.0005j))
    at = base.names.index("Re flux")
    assert base.names[at : at + 2] == ("Re flux", "Im flux")
    change = complex(*(moved.feature - base.feature)[at : at + 2]) * 50.013
    assert change == pytest.approx(0.0005 + 0.0005j, abs=5e-5)


def test_without_the_fit_the_second_line_would_be_in_the_way():
    level = [complex(*signature_of(made(slip=s, flux=0.02)).feature[2:]) * 50.013 for s in (0.002, 0.03)]
    t = np.arange(100_000) / 1e4
    beat = abs(np.average(np.exp(-2j * np.pi * 0.002 * 50.013 * t), weights=np.hanning(100_000)))
    assert abs(level[0] - level[1]) < 0.35 * beat * 0.05 / 3  # less than a third of what the Hann window lets through


def test_a_short_moves_i_minus_by_a_third_of_its_ampere_turns_along_its_phase():
    "The size from the loop's impedance, and 120 degrees between phases; perfect motor."
    jobs = [Job(0, 60, 0, 0), *(Job(6, 60, 0, 0, phase) for phase in "ABC")]
    healthy, *short = (i_minus(signature_of(r)) for r in simulate(jobs, seconds=1.0, **quiet()))
    mu = 0.0926
    contact = 0.6
    volts = 127 * 2**0.5
    loop = contact + mu * (1 - 2 * mu / 3) * (3.35 + 2j * np.pi * 60 * 6.94e-3)
    change = np.array(short) - healthy
    assert np.abs(change) == pytest.approx(mu**2 * volts / abs(loop) / 3, rel=0.03)
    assert np.angle(change[1:] / change[:-1]) == pytest.approx(-2 * np.pi / 3, abs=0.03)


def test_a_pulsating_line_is_seen_as_a_pair_along_its_axis():
    t = np.arange(50_000) / 5000
    turn = np.exp(2j * np.pi * 50 * t)
    shaft = np.exp(1j * np.pi * 50 * 0.98 * t)
    for axis in (0.0, 2 * np.pi / 3, -2 * np.pi / 3):
        x = 3 * turn + 0.02 * np.exp(1j * axis) * np.cos(np.angle(turn * shaft) + 0.4)
        signal = three(x) + 1e-3 * np.random.default_rng(0).standard_normal((3, len(t)))
        signature = signature_of(Recording("x", signal.astype(np.float32), 5000, FOUR[:3], ("A",) * 3))
        pair = complex(*signature.feature[[signature.names.index(f"{p} pairs") for p in ("Re", "Im")]])
        assert pair == pytest.approx(0.01 * np.exp(2j * axis), abs=1e-3)


def test_third_harmonics_are_told_wherever_the_recording_starts():
    "One that turns forwards and one that turns backwards, each three times as far as the current."
    t = np.arange(50_000) / 5000
    u = np.exp(1j * (2 * np.pi * 50 * t + 0.4))
    x = 3 * u + 0.03 * np.exp(1j) * u**3 + 0.02 * np.exp(0.5j) * u.conj() ** 3
    signal = three(x) + 1e-3 * np.random.default_rng(0).standard_normal((3, len(t)))
    for start in (0, 37):
        found = signature_of(Recording("x", signal[:, start:].astype(np.float32), 5000, FOUR[:3], ("A",) * 3))
        value = lambda name: complex(*(found.feature[found.names.index(f"{part} {name}")] for part in ("Re", "Im")))
        assert value("3f+") == pytest.approx(0.03 * np.exp(1j), abs=1e-3)
        assert value("3f-") == pytest.approx(0.02 * np.exp(0.5j), abs=1e-3)


def test_voltages_are_read_as_causes():
    t = np.arange(30_000) / 1e4
    turn = np.exp(2j * np.pi * 50 * t)
    forward = 180 * np.exp(0.5j)
    backward = 0.9 * np.exp(1j)
    signal = np.concatenate([made(50.0, seconds=3.0).signal, three(forward * turn + backward * turn.conj())])
    signature = signature_of(Recording("x", signal.astype(np.float32), 10_000, (*FOUR[:3], *SEVEN[4:]), ("",) * 6))
    cause = dict(zip(signature.condition_names, signature.condition))
    v = backward * forward / abs(forward) ** 2
    assert complex(cause["Re V-"], cause["Im V-"]) == pytest.approx(v, abs=1e-5)
    assert i_minus(signature) == pytest.approx(0.05j * forward / abs(forward) ** 2, abs=1e-5)


@pytest.mark.parametrize("voltages", [False, True])
def test_unequal_probes_show_in_the_zero_sequence(voltages):
    "Gains g_k leave I- and I0 in the same direction, 2 to 1, whatever both are referred to."
    recording = made(50.0, minus=0, seconds=3.0)
    gain = np.array([1.01, 1.0, 0.995], np.float32)[:, None]
    if voltages:
        volts = three(180 * np.exp(0.9j + 2j * np.pi * 50 * np.arange(30_000) / 1e4)).astype(np.float32)
        signal = np.concatenate([recording.signal, volts])
        gain = np.concatenate([gain, np.ones((3, 1), np.float32)])
        recording = Recording("x", signal, 10_000, (*FOUR[:3], *SEVEN[4:]), ("",) * 6)
    a = signature_of(recording)
    b = signature_of(replace(recording, signal=recording.signal * gain))
    at = [a.condition_names.index(f"{part} I0") for part in ("Re", "Im")]
    zero = complex(*(b.condition - a.condition)[at])
    size = 3 / 180 if voltages else 3
    assert i_minus(b) - i_minus(a) == pytest.approx(2 * zero, abs=1e-4 * size) and abs(zero) > 1e-3 * size


# --- whatever comes


@pytest.mark.parametrize("names", [FOUR[:3], FOUR, SEVEN, (*FOUR[:3], *SEVEN[4:])])
def test_names_depend_on_the_channels_alone(names):
    got = set()
    for seed, hz in ((0, 30), (1, 50)):
        signal = np.random.default_rng(seed).normal(size=(len(names), 3000))
        signal[:3] += three(3 * np.exp(2j * np.pi * hz * np.arange(3000) / 1000))
        signature = signature_of(Recording("x", signal.astype(np.float32), 1000, names, ("",) * len(names)))
        assert len(signature.feature) == len(signature.names) == len(signature.weight)
        assert len(signature.condition) == len(signature.condition_names) and signature.condition_names[:3] == POINT
        got.add((signature.names, signature.condition_names))
    assert len(got) == 1


@pytest.mark.parametrize(
    "names,flux,volts",
    [
        (SEVEN, 3, (4, 5, 6)),
        (("Ia", "Ib", "Ic", "Va", "Vb", "Vc", "axial_flux"), 6, (3, 4, 5)),
        (("i_u", "i_v", "i_w", "u_u", "u_v", "u_w"), None, (3, 4, 5)),
        (("CH1", "CH2", "CH3", "V1", "V2"), None, None),
    ],
)
def test_coil_and_voltages_are_known_by_their_names(names, flux, volts):
    assert side_channels(names) == (flux, volts)


def test_masked_channels_take_no_part():
    recording = made(flux=0.02)
    bare = replace(recording, signal=recording.signal[:3], channels=FOUR[:3])
    masked = signature_of(recording, mask=("CH4",))
    assert masked.names == signature_of(bare).names and np.allclose(masked.feature, signature_of(bare).feature)
    assert signature_of(recording, mask=("CH2",)) is None


@pytest.mark.parametrize("what", ["noise", "flat", "missing", "short", "other channels"])
def test_what_has_no_supply_has_no_signature(what):
    recording = made(fs=1000, seconds=3.0)
    if what == "noise":
        recording = replace(recording, signal=np.random.default_rng(0).normal(size=(3, 3000)).astype(np.float32))
    elif what == "flat":
        recording = replace(recording, signal=np.ones((3, 3000), np.float32))
    elif what == "missing":
        recording.signal[1] = np.nan
    elif what == "short":
        recording = replace(recording, signal=recording.signal[:, :300])
    else:
        recording = replace(recording, channels=("Pressure", "Temperature", "Flow"))
    assert signature_of(recording) is None


def test_gaps_long_and_short_leave_the_numbers_alone():
    whole = made(flux=0.02)
    holed = replace(whole, signal=whole.signal.copy())
    for start in range(5000, 95_000, 9000):
        holed.signal[start % 4, start : start + 40] = np.nan
    holed.signal[2, 30_000:42_000] = np.nan
    a = signature_of(whole)
    b = signature_of(holed)
    assert np.isfinite(b.feature).all() and np.isfinite(b.condition).all()
    assert np.abs(a.condition[:3] - b.condition[:3]).max() < 2e-3 and abs(i_minus(a) - i_minus(b)) < 2e-3


def test_an_eight_bit_scope_that_clips_is_still_read():
    whole = made()
    coarse = np.clip(np.rint(whole.signal / 0.04), -70, 70).astype(np.float32) * np.float32(0.04)  # at 93 % of the peak
    a = signature_of(whole)
    b = signature_of(replace(whole, signal=coarse))
    assert b.condition[0] == pytest.approx(a.condition[0], abs=1e-3) and b.condition[2] == pytest.approx(0.02, abs=1e-3)
    assert b.condition[1] == pytest.approx(3, rel=0.03) and abs(i_minus(a) - i_minus(b)) < 0.02


def test_a_swapped_pair_of_phases_swaps_the_sequences():
    recording = made()
    swapped = signature_of(replace(recording, signal=recording.signal[[0, 2, 1]]))
    assert swapped.condition[0] == pytest.approx(50.013, abs=1e-3)
    assert swapped.condition[1] == pytest.approx(0.05, rel=0.05) and abs(i_minus(swapped)) == pytest.approx(3, rel=0.01)


def test_a_part_is_read_as_if_it_were_all():
    recording = made(seconds=4.0)
    part = signature_of(recording, part=(10_000, 35_000))
    alone = signature_of(replace(recording, signal=recording.signal[:, 10_000:35_000]))
    assert np.array_equal(part.feature, alone.feature) and np.array_equal(part.condition, alone.condition)


def test_scale_and_order_of_the_parts():
    "look() keeps amperes: the vector's line is the current, whatever the rate."
    for fs in (1000, 4000, 10_000):
        sight = look(made(fs=fs, seconds=2.0, noise=0))
        hz = supply_line(sight)
        assert 1000 <= sight.fs < 2000 and abs(sight.line(sight.current, hz)) == pytest.approx(3, rel=2e-3)
        assert slip_of(sight, hz, pole_pairs=2)[1] and sight.weight.sum() == pytest.approx(1)


def test_ten_seconds_are_read_at_once():
    recording = made(flux=0.02)
    signature_of(recording)
    took = []
    for _ in range(3):
        start = process_time()
        signature_of(recording)
        took.append(process_time() - start)
    assert min(took) < AT_ONCE


# --- given the condition


def drawn(n, seed=0, m=4, columns=3):
    "Conditions and features that depend on them, and noise."
    rng = np.random.default_rng(seed)
    condition = rng.uniform(-1, 1, (n, columns)) * 10 + 40
    x = (condition - 40) / 10
    feature = x[:, :1] * np.arange(1, m + 1) + x[:, [1]] ** 2 + 0.1 * rng.standard_normal((n, m))
    return condition, feature


def by_hand(condition, feature, degree):
    "Residuals of recordings left out, each from a fit of its own, and their profile, with scikit-learn."
    from sklearn.covariance import LedoitWolf
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    model = lambda: make_pipeline(StandardScaler(), PolynomialFeatures(degree), LinearRegression())
    rest = np.stack(
        [
            feature[i] - model().fit(np.delete(condition, i, 0), np.delete(feature, i, 0)).predict(condition[[i]])[0]
            for i in range(len(condition))
        ]
    )
    fit = model().fit(condition, feature)
    size = np.sqrt((rest**2).mean(0))
    profile = LedoitWolf().fit(rest / size)
    return rest, lambda c, y: np.sqrt(profile.mahalanobis((y - fit.predict(c)) / size))


def test_distance_is_that_of_polynomial_regression_and_ledoit_wolf():
    condition, feature = drawn(36)
    profile = Conditional.fit(condition, feature)
    assert sorted(map(tuple, profile.power)) == sorted(map(tuple, exponents(3, 2, -1)))
    rest, distance = by_hand(condition, feature, 2)
    inside = condition[:10] * 0.9 + 4
    assert np.allclose(profile.distance(inside, feature[:10]), distance(inside, feature[:10]), rtol=2e-3)
    assert profile.distance(inside[0], feature[0]) == pytest.approx(profile.distance(inside, feature[:10])[0])


@pytest.mark.parametrize(
    "n,kind,size", [(60, "flat", 1), (60, "line", 4), (60, "bowl", 10), (16, "bowl", 4), (3, "bowl", 1)]
)
def test_the_degree_is_what_the_data_need_and_their_number_allows(n, kind, size):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 3))
    clean = {"flat": np.zeros(n), "line": 3 * x[:, 0], "bowl": 3 * x[:, 0] + 2 * x[:, 1] ** 2}[kind]
    power = choose(x, clean[:, None] + 0.3 * rng.normal(size=(n, 2)))
    assert len(power) == size or (n < 60 and len(power) <= size)


def test_a_profile_that_one_is_left_out_of_has_the_terms_of_the_whole_one():
    "Of twelve recordings six terms would be supported, of eleven four: both take four, told that eleven are to do."
    condition, feature = drawn(12, columns=5)
    feature = feature * 0 + condition @ np.random.default_rng(1).normal(size=(5, 4)) + 0.01 * feature
    terms = lambda rows, **how: len(Conditional.fit(condition[rows], feature[rows], **how).power)
    everyone, others = np.arange(12), np.arange(11)
    assert terms(everyone) > terms(others) == terms(everyone, room=11) == terms(others, room=11)


def test_a_recordings_own_distance_does_not_depend_on_the_others_scored_with_it():
    condition, feature = drawn(50)
    profile = Conditional.fit(condition[:40], feature[:40])
    assert profile.distance(condition[45], feature[45]) == pytest.approx(profile.distance(condition, feature)[45])


def test_units_do_not_matter():
    condition, feature = drawn(60)
    scale = np.array([1e-3, 50.0, 7.0])
    unit = np.array([1e3, 1e3, 1e-4, 1e-4])
    a = Conditional.fit(condition, feature).distance(condition, feature)
    b = Conditional.fit(condition * scale, feature * unit).distance(condition * scale, feature * unit)
    assert np.allclose(a, b, rtol=1e-3)


def test_a_condition_far_away_is_taken_at_the_edge():
    condition, feature = drawn(60)
    profile = Conditional.fit(condition, feature)
    far, further = ([profile.rest(np.array([v, 40.0, 40.0]), feature[0])] for v in (70.0, 7000.0))
    assert np.array_equal(far, further) and np.abs(far).max() < 30


def test_a_measured_cause_is_taken_out_and_a_fault_is_not():
    "I- = Y(f0) V-, with V- in the condition: what is left is the noise, and a shift of ten noises is seen."
    rng = np.random.default_rng(2)
    hz = rng.choice([30.0, 40, 50, 60], 120)
    cause = rng.normal(size=(120, 2))
    condition = np.column_stack([hz, rng.normal(3, 0.1, 120), rng.uniform(0, 0.1, 120), cause])
    feature = cause * (1 + hz / 60)[:, None] + 0.01 * rng.normal(size=(120, 2))
    profile = Conditional.fit(condition[:100], feature[:100])
    assert np.median(profile.distance(condition[100:], feature[100:])) < 2.5
    assert profile.distance(condition[100:], feature[100:] + 0.1).min() > 5
    large = np.array([45.0, 3, 0.05, 12, -12])  # four times any cause it was taught with
    assert profile.distance(large, large[3:] * 1.75) < 8
    blind = Conditional.fit(condition[:100, :3], feature[:100])
    assert np.median(blind.distance(condition[100:, :3], feature[100:] + 0.1)) < 3


def test_a_residual_is_judged_by_the_spread_at_its_condition():
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (300, 3))
    feature = np.exp(1.5 * x[:, :1]) * rng.normal(size=(300, 2))
    profile = Conditional.fit(x, feature)
    low, high = (profile.distance(np.array([v, 0, 0]), np.array([1.0, 0])) for v in (-0.8, 0.8))
    assert 6 < low / high < 18  # e^2.4 = 11


def test_a_weak_feature_counts_by_half():
    rng = np.random.default_rng(4)
    feature = rng.normal(size=(2000, 4))
    condition = rng.normal(size=(2000, 3))
    profile = Conditional.fit(condition, feature, weight=np.array([1, 1, 0.5, 0.5]))
    strong, weak = (profile.distance(np.zeros(3), v) for v in (np.array([9.0, 0, 0, 0]), np.array([0, 0, 9.0, 0])))
    assert weak / strong == pytest.approx(0.5**0.5, rel=0.1)


def test_a_profile_is_arrays_and_survives_a_file():
    condition, feature = drawn(50)
    profile = Conditional.fit(condition, feature)
    again = Conditional(**load(save({f.name: np.ascontiguousarray(getattr(profile, f.name)) for f in fields(profile)})))
    assert np.array_equal(again.distance(condition, feature), profile.distance(condition, feature))


def test_two_recordings_are_enough_and_one_is_not():
    condition, feature = drawn(2)
    assert np.isfinite(Conditional.fit(condition, feature).distance(condition, feature)).all()
    with pytest.raises(InputError, match="at least 2"):
        Conditional.fit(condition[:1], feature[:1])
    with pytest.raises(ValueError, match="columns"):
        Conditional.fit(condition, feature[:, :3])


# --- what it finds

CASES = {  # masked channels, least recording ROC and recall of the smallest short (HI1) among 21 conditions
    "currents": (("CH4", "V1", "V2", "V3"), 0.83),
    "flux": (("V1", "V2", "V3"), 0.97),
    "voltages": (("CH4",), 0.95),
}


def bound(rest, class_id):
    "Mean of six class ROCs of a discriminant that was trained WITH labels, on recordings it hasn't seen."
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rest = np.column_stack([rest, rest**2])
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(rest, class_id)
    model = QuadraticDiscriminantAnalysis(reg_param=0.1)
    return roc(cross_val_predict(model, rest, class_id > 0, cv=folds, method="decision_function"), class_id)


def roc(score, class_id):
    "Mean of six class ROCs."
    from sklearn.metrics import roc_auc_score

    faulty = [np.isin(class_id, (0, c)) for c in range(1, 7)]
    return np.mean([roc_auc_score(class_id[at] > 0, score[at]) for at in faulty])


@pytest.fixture(scope="module")
def fair():
    "Signatures of a small fair campaign, by case; class; which healthy ones teach."
    jobs = campaign(classes=range(7), freqs=range(30, 61, 5), loads=(0, 50, 100), reps=2, healthy_reps=13, seed=5)
    got = {name: [] for name in CASES}
    for recording in simulate(jobs, seconds=4.0, seed=5, voltages=True):
        for name, (mask, _) in CASES.items():
            got[name].append(signature_of(recording, mask=mask))
    class_id = np.array([job.class_id for job in jobs])
    return got, class_id, (class_id == 0) & (np.arange(len(jobs)) % 13 < 8)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_shorts_stand_out_from_healthy_recordings(fair, case):
    got, class_id, learn = fair
    condition, feature = (np.stack([getattr(s, n) for s in got[case]]) for n in ("condition", "feature"))
    profile = Conditional.fit(condition[learn], feature[learn], weight=got[case][0].weight)
    score = profile.distance(condition, feature)
    unseen = ~learn
    reached = roc(score[unseen], class_id[unseen])
    white = profile.rest(condition, feature) @ np.linalg.cholesky(profile.precision)
    print(f"{case}: ROC {reached:.3f}, with labels {bound(np.clip(white, -9, 9)[unseen], class_id[unseen]):.3f}")
    assert reached > CASES[case][1] and all(s.slip_known for s in got[case])


def test_the_low_pass_is_that_of_scipy_bit_by_bit():
    from scipy.signal import firwin

    taps = import_module("timemoe_lab.data.signature")._taps
    for factor in (1, 2, 7, 10, 50):
        assert np.array_equal(taps(factor), firwin(20 * factor + 1, 0.8 / factor, window=("kaiser", 8.0)))
