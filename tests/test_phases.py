"Phases, their vector and their sequences, against signals made by hand."

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemoe_lab.data.motor import Job, simulate
from timemoe_lab.data.phases import (
    full_roles,
    in_phase_order,
    is_reversed,
    mean_of,
    park,
    phase_channels,
    phases_by_waveform,
    ring,
    roles_by_name,
    roles_of_folder,
    virtual_channels,
)
from timemoe_lab.data.recording import Recording

A = np.exp(2j * np.pi / 3)
quick = settings(max_examples=40)


def _motor(order=(0, 1, 2), unbalance=0.03, n=5000):
    "Three currents of 60 Hz at 10 kHz with some negative sequence."
    angle = 2 * np.pi * 60 * np.arange(n) / 10_000
    rows = [np.cos(angle - 2 * np.pi * k / 3) + unbalance * np.cos(angle + 2 * np.pi * k / 3) for k in range(3)]
    return Recording("0_x.csv", np.array(rows, np.float32)[list(order)], 1e4, ("CH1", "CH2", "CH3"), ("A",) * 3, 0)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
@pytest.mark.parametrize("unbalance", [0.0, 0.1, 0.9])
def test_swapped_phases_are_told_from_unbalanced_ones(order, unbalance):
    assert is_reversed(_motor(order, unbalance)) is False
    assert is_reversed(_motor(order[::-1], unbalance)) is True


def test_a_middle_that_tells_nothing_is_not_all_that_is_looked_at():
    recording = _motor((2, 1, 0), n=60_000)
    recording.signal[:, 20_000:40_000] = np.random.default_rng(0).normal(size=(3, 20_000))  # it stood still
    assert is_reversed(recording) is True
    recording.signal[:, 20_000:40_000] = 0
    assert is_reversed(recording) is True
    recording.signal[:] = 1.5
    assert is_reversed(recording) is None


def test_phase_order_is_seen_through_gaps_and_offsets():
    recording = _motor()
    recording.signal[:, 1000:1400] = np.nan
    recording.signal[0] += 40
    assert is_reversed(recording) is False


@quick
@given(
    st.lists(st.floats(0.3, 3), min_size=3, max_size=3),
    st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3),
    st.lists(st.floats(-4, 4), min_size=3, max_size=3),
    st.sampled_from([(1000.0, 30), (1000.0, 50), (10_000.0, 60)]),
)
def test_virtual_channels_are_those_of_fortescue_and_park(gains, shifts, offsets, rate):
    fs, hz = rate
    phasor = np.array(gains) * np.exp(1j * (np.array(shifts) - 2 * np.pi * np.arange(3) / 3))
    t = np.arange(int(fs * 0.5)) / fs
    currents = (phasor[:, None] * np.exp(2j * np.pi * hz * t)).real + np.array(offsets)[:, None]
    park, negative, zero = virtual_channels(currents, fs=fs)
    positive = abs(phasor @ [1, A, A**2]) / 3
    assert np.nanmax(np.abs(negative - abs(phasor @ [1, A**2, A]) / 3)) < 2e-3 * (positive + max(gains))
    alpha = (2 * currents[0] - currents[1] - currents[2]) / 3
    beta = (currents[1] - currents[2]) / np.sqrt(3)
    assert np.allclose(park, np.hypot(alpha, beta)) and np.allclose(zero, currents.mean(axis=0))
    assert np.isnan(negative).sum() == 2 * round(0.04 * fs)


def test_the_vector_is_that_of_the_two_axes():
    currents = np.random.default_rng(0).normal(size=(3, 50))
    alpha = (2 * currents[0] - currents[1] - currents[2]) / 3
    beta = (currents[1] - currents[2]) / np.sqrt(3)
    assert np.allclose(park(currents), alpha + 1j * beta)


def test_a_swapped_recording_is_put_in_order_once():
    crossed = _motor((0, 2, 1))
    mended = in_phase_order(crossed)
    assert np.array_equal(mended.signal, _motor().signal) and in_phase_order(mended) is mended
    assert mended.notes == ("CH2 and CH3 swapped: the phases ran backwards",)


def test_a_ring_has_the_axes_of_the_ellipse():
    angle = np.linspace(0, 2 * np.pi, 7200, endpoint=False)
    found = ring(4 * np.exp(1j * angle) + 0.5 * np.exp(-1j * angle))
    assert found.max() == pytest.approx(4.5, abs=0.01) and found.min() == pytest.approx(3.5, abs=0.01)


def test_a_mean_leaves_out_what_is_missing():
    assert mean_of(np.array([[1, np.nan, 3], [np.nan] * 3])).tolist() == [2, 0]


# --- what a name says

CURRENTS = ["current 1", "current 2", "current 3"]
VOLTAGES = ["voltage 1", "voltage 2", "voltage 3"]
LETTERS = ("123", "ABC", "UVW", "RST")


@pytest.mark.parametrize(
    "pattern",
    [
        "CH{}",
        "Channel {}",
        "{}",
        "L{}",
        "Phase {}",
        "I{}",
        "i_{}",
        "I_L{}",
        "IL{}",
        "current phase {}",
        "Phase {} current",
    ]
    + ["Ch{} Current", "Current_{}", "{} (A)", "CH{} (A)", "I{} (A)", "I{}_A", "PhaseCurrent{}", "{}-phase"]
    + ["전류{}", "전류 {}", "{}상 전류", "{}상전류", "전류({})", "Strom L{}", "Stromstärke {}", "courant phase {}"]
    + ["Corriente {}", "{}相电流", "{}相電流", "Motor current {}", "Iph{}", "i-{}", "Phase{}Current[A]", "I ({})"],
)
@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("look", [str, str.lower, str.upper, "full width"])
def test_phases_are_found_by_the_names_that_people_give_them(pattern, letters, look):
    wide = str.maketrans({c: chr(ord(c) + 0xFEE0) for c in "ABCRSTUVWabcrstuvw123"})
    look = (lambda name: name.translate(wide)) if look == "full width" else look
    if "L{" in pattern and letters != "123":
        return
    names = [look(pattern.format(x)) for x in letters]
    assert phase_channels(names) == (0, 1, 2)
    assert phase_channels(("speed", *names[::-1])) == (3, 2, 1)


@pytest.mark.parametrize("prefix", ["CH", "ch", "Ch", "current", "Current", "phase", "I", "i"])
@pytest.mark.parametrize("between", ["", " ", "_", "-", "."])
@pytest.mark.parametrize("letters", ["123", "abc", "UVW", "rst"])
def test_names_that_were_known_are_known_as_before(prefix, between, letters):
    names = ["flow", *(prefix + between + x for x in letters), "CH4", prefix + between + "9"]
    plain = [re.sub("^(ch|current|phase|i)", "", re.sub("[^a-z0-9]", "", name.lower())) for name in names]
    meant = [re.match("(?i)(ch|current|phase|i)", name) for name in names]
    before = tuple(i for x in letters.lower() for i, p in enumerate(plain) if p == x and meant[i])
    assert phase_channels(names) == before == (1, 2, 3)


@pytest.mark.parametrize(
    "names",
    [
        ("V1", "V2", "V3"),
        ("Ua", "Ub", "Uc"),
        ("U1", "U2", "U3"),
        ("Vab", "Vbc", "Vca"),
        ("Phase A voltage", "Phase B voltage", "Phase C voltage"),
        ("Ch1 Voltage", "Ch2 Voltage", "Ch3 Voltage"),
        ("Spannung L1", "Spannung L2", "Spannung L3"),
        ("전압R", "전압S", "전압T"),
        ("R상 전압", "S상 전압", "T상 전압"),
    ],
)
def test_voltages_are_not_taken_for_currents(names):
    assert phase_channels(names) is None and list(roles_by_name(names)) == VOLTAGES
    currents = ("Ia", "Ib", "Ic")
    assert list(roles_by_name((*names, *currents))) == VOLTAGES + CURRENTS


@pytest.mark.parametrize(
    "names",
    [
        ("Current", "Voltage", "Pressure"),
        ("x", "y", "z"),
        ("u", "v", "w", "x", "y", "z"),  # a wind
        ("1", "2", "3", "4", "5", "6"),
        ("Channel 1", "Channel 2", "Channel 3", "Channel 4", "Channel 5"),
        ("vibration a", "vibration b", "vibration c"),
        ("sensor 1", "sensor 2", "sensor 3"),
        ("leakage current 1", "leakage current 2", "leakage current 3"),
        ("Motor A", "Motor B", "Motor C"),
        ("motor1 ia", "motor1 ib", "motor1 ic", "motor2 ia", "motor2 ib", "motor2 ic"),
        ("ia ref", "ib ref", "ic ref"),
        ("La", "Lb", "Lc"),
        ("I0", "I1", "I2"),  # sequences
        ("Ia", "Ib"),
        ("cDAQ1Mod1_ai0", "cDAQ1Mod1_ai1", "cDAQ1Mod1_ai2"),
        ("X097_DE_time", "X097_FE_time"),
        ("a", "b", "c", "d"),
        ("a", "b", "c", "d", "e"),
        ("current",) * 3,
        (),
    ],
)
def test_names_that_say_nothing_are_not_guessed(names):
    assert phase_channels(names) is None


def test_units_tell_currents_from_voltages_that_are_called_alike():
    names = (*"ABC", *"UVW")
    assert phase_channels(names, units=("A",) * 3 + ("V",) * 3) == (0, 1, 2)
    assert phase_channels(names, units=("V",) * 3 + ("A",) * 3) == (3, 4, 5)
    assert list(roles_by_name(names, ("V",) * 3 + ("mA",) * 3)) == VOLTAGES + CURRENTS
    assert phase_channels(("CH1", "CH2", "CH3"), units=("V",) * 3) == (0, 1, 2)  # probes
    assert phase_channels(("CH1", "CH2", "CH3"), units=("g",) * 3) is None  # accelerations


@pytest.mark.parametrize("name", ["CH4", "Flux", "leakage flux", "자속", "누설자속", "Fluss", "search coil", "axial"])
def test_a_coil_is_known_by_its_name(name):
    assert roles_by_name(("CH1", "CH2", "CH3", name)) == (*CURRENTS, "flux")
    assert roles_by_name((name, "Channel A", "Channel B", "Channel C"))[0] == "flux"


def test_the_fourth_of_its_like_is_the_coil():
    assert roles_by_name(("Channel A", "Channel B", "Channel C", "Channel D"))[3] == "flux"
    assert roles_by_name(("1", "2", "3", "4"))[3] == "flux"
    assert roles_by_name(("U", "V", "W", "N"))[3] == roles_by_name(("Ia", "Ib", "Ic", "Id"))[3] == ""


def test_a_role_that_is_given_goes_before_a_name():
    names = ("CH1", "CH2", "CH3", "CH4")
    assert full_roles(names, ("", "", "", "other")) == (*CURRENTS, "other")
    assert phase_channels(names, ("other", "current 3", "current 2", "current 1")) == (3, 2, 1)
    assert phase_channels(names, ("other", "", "", "")) is None
    assert full_roles(names, ("flux", "", "", "")) == ("flux", "", "", "")  # only one channel is the coil


# --- what a waveform says


def waves(angles, sizes=None, hz=50.0, fs=2000.0, seconds=1.0, noise=0.02, offset=0.0):
    "Sinusoids (channel, time) at angles in degrees."
    time_s = np.arange(round(seconds * fs)) / fs
    sizes = sizes or [1.0] * len(angles)
    rows = [a * np.cos(2 * np.pi * hz * time_s + np.radians(angle)) for a, angle in zip(sizes, angles)]
    return np.array(rows) + offset + noise * np.random.default_rng(0).normal(size=(len(rows), len(time_s)))


@pytest.mark.parametrize(
    ("hz", "fs", "seconds"), [(50, 2000, 1.0), (60, 10_000, 0.3), (16.7, 1000, 2.0), (400, 5000, 0.2)]
)
@pytest.mark.parametrize("start", [0, 17, 250])
def test_three_currents_a_third_of_a_turn_apart_are_the_phases(hz, fs, seconds, start):
    x = waves([start, start - 120, start + 120], [2, 2.2, 1.9], hz, fs, seconds, offset=5.0)
    roles, why = phases_by_waveform(x, fs)
    assert list(roles) == CURRENTS and f"{hz:.1f} Hz, 0, -120, 120 degrees" in why


def test_phases_stay_in_the_files_order_which_way_round_they_turn():
    x = waves([0, 120, -120, 40])
    recording = Recording("0_x.csv", x.astype(np.float32), 2000.0, tuple("pqrs"), ("",) * 4, 0)
    roles, _ = phases_by_waveform(x, 2000.0)
    assert list(roles) == [*CURRENTS, "other"]
    assert is_reversed(recording) is None
    told = Recording("0_x.csv", x.astype(np.float32), 2000.0, tuple("pqrs"), ("",) * 4, 0, roles=roles)
    assert is_reversed(told) is True
    assert in_phase_order(told).notes == ("q and r swapped: the phases ran backwards",)


def test_phases_are_found_among_other_channels_and_through_gaps():
    x = np.vstack([np.linspace(0, 1, 2000), waves([0, -120, 120]), np.random.default_rng(1).normal(size=(2, 2000))])
    x[2, 300:340] = np.nan
    assert phases_by_waveform(x, 2000.0)[0] == ("other", *CURRENTS, "other", "other")


SIX = [0, -120, 120, 30, -90, 150]


def test_units_tell_two_threes_apart_and_nothing_else_does():
    x = waves(SIX, [2, 2, 2, 300, 300, 300])
    assert list(phases_by_waveform(x, 2000.0, ("A",) * 3 + ("V",) * 3)[0]) == CURRENTS + VOLTAGES
    assert list(phases_by_waveform(x, 2000.0, ("V",) * 3 + ("mA",) * 3)[0]) == VOLTAGES + CURRENTS
    roles, why = phases_by_waveform(x, 2000.0)
    assert roles is None and "no unit that tells currents from voltages" in why
    assert phases_by_waveform(x[:3], 2000.0, ("V",) * 3)[0] is not None  # probes
    assert phases_by_waveform(x[:4], 2000.0, ("V", "V", "V", "A"))[0] is None  # voltages beside one current
    assert phases_by_waveform(x[:3], 2000.0, ("g",) * 3)[0] is None


@pytest.mark.parametrize(
    ("angles", "sizes"),
    [
        ([0, 0, 0], None),  # one phase three times
        ([0, 180, 0], None),
        ([0, -120, 120], [1, 1, 4]),
        ([0, -120, 120], [1, 1, 0]),  # a dead phase
        ([0, -90, 120], None),
        ([0, -120], None),  # two clamps
        ([0], None),
    ],
)
def test_what_is_no_three_phases_is_not_taken_for_them(angles, sizes):
    assert phases_by_waveform(waves(angles, sizes), 2000.0)[0] is None


@pytest.mark.parametrize("what", ["noise", "nothing", "missing", "two samples", "two frequencies"])
def test_signals_without_one_frequency_have_no_phases(what):
    x = waves([0, -120, 120])
    if what == "noise":
        x = np.random.default_rng(2).normal(size=x.shape)
    elif what == "nothing":
        x = 0 * x
    elif what == "missing":
        x = np.nan * x
    elif what == "two samples":
        x = x[:, :2]
    else:
        x[2] = waves([120], hz=60)[0]
    assert phases_by_waveform(x, 2000.0)[0] is None


def test_phases_of_a_simulated_motor_are_found_without_names_and_voltages_by_units():
    motor = next(simulate([Job(0, 60, 60, 0)], seconds=0.4, fs=5000, voltages=True))
    names = tuple(f"ai{i}" for i in range(7))
    plain = replace(motor, channels=names)
    units = ("A",) * 3 + ("V",) * 4
    assert phases_by_waveform(plain.signal, 5000.0, units)[0] == (*CURRENTS, "other", *VOLTAGES)
    roles, why = roles_of_folder(
        [replace(plain, signal=motor.signal[:4], channels=names[:4], units=motor.units[:4])] * 2
    )
    assert list(roles) == [*CURRENTS, "other"]
    assert why.startswith("ai0, ai1, ai2, by their waveform (60.0 Hz, 0, -12")
    flux = replace(plain, signal=motor.signal[:4], channels=(*names[:3], "flux"), units=("",) * 4)
    assert list(roles_of_folder([flux])[0]) == [*CURRENTS, "flux"]


def test_a_folder_is_decided_by_roles_then_names_then_most_waveforms():
    x = waves([0, -120, 120]).astype(np.float32)
    unnamed = Recording("0_a.csv", x, 2000.0, ("x", "y", "z"), ("",) * 3, 0)
    named = replace(unnamed, channels=("Ia", "Ib", "Ic"))
    dead = replace(unnamed, signal=x * np.array([[1], [1], [0]], np.float32))
    told = replace(named, roles=("current 3", "current 2", "current 1"))
    assert roles_of_folder([named, unnamed]) == ((), "Ia, Ib, Ic, by their names")
    assert roles_of_folder([told]) == (told.roles, "Ic, Ib, Ia, as told")
    assert list(roles_of_folder([dead, unnamed, unnamed])[0]) == CURRENTS
    assert roles_of_folder([unnamed, dead])[0] == ()
    lost = roles_of_folder([dead])[1]
    assert lost.startswith("no three phase currents found among x, y, z: physics") and "recordings.toml" in lost
    refused = replace(unnamed, roles=("other",) * 3)
    assert roles_of_folder([refused])[0] == refused.roles and "no three" in roles_of_folder([refused])[1]
