"Phases, their vector and their sequences, against signals made by hand."

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemoe_lab.data.phases import in_phase_order, is_reversed, mean_of, park, ring, virtual_channels
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
