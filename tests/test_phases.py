"Phases, their vector and their sequences, against signals made by hand."

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemoe_lab.data.phases import (
    full_roles,
    in_phase_order,
    is_reversed,
    mean_of,
    park,
    phase_channels,
    ring,
    roles_by_name,
    virtual_channels,
)
from timemoe_lab.data.recording import Recording

A = np.exp(2j * np.pi / 3)
quick = settings(max_examples=40, deadline=None)


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
