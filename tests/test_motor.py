"The simulator against circuit theory, energy, published line frequencies and levels seen on real motors."

from dataclasses import replace

import numpy as np
import pytest

from timemoe_lab import motor as mo
from timemoe_lab.config import UsageError
from timemoe_lab.motor import FAULTS, Job, Motor, Sensor, campaign, quiet, simulate
from timemoe_lab.signals import read, read_folder

RS, RR, LL, LM = 3.35, 1.99, 6.94e-3, 0.1637  # ohm, H: the machine of the specification, typed again
A = np.exp(2j * np.pi / 3)
PERFECT = {name: quiet()[name] for name in ("motor", "nuisance", "supply")}


def bare(**changes):
    "Arguments for a perfect motor, with changes."
    return quiet() | changes


def vector(recording):
    "The current vector (time,), A peak."
    a, b, c = recording.signal[:3].astype(float)
    return 2 / 3 * (a + A * b + A.conjugate() * c)


def at(x, hz, fs=1e4):
    "Complex amplitude of x at a frequency (Hann)."
    w = np.hanning(len(x))
    return (x * w * np.exp(-2j * np.pi * hz * np.arange(len(x)) / fs)).sum() / w.sum()


def phasors(hz, slip, volts):
    "Stator and rotor current (A peak) and torque, from the two-winding impedance matrix."
    w = 2 * np.pi * hz
    z = np.array([[RS + 1j * w * (LL + LM), 1j * w * LM], [1j * w * LM, RR / slip + 1j * w * (LL + LM)]])
    i_s, i_r = np.linalg.solve(z, [volts, 0])
    return i_s, i_r, 3 * LM * (i_s * np.conj(i_r)).imag


def slip_for(hz, nm, volts):
    "The smallest slip at which torque covers load and friction, by looking at every one."
    for slip in np.arange(1e-4, 0.2, 1e-5):
        if phasors(hz, slip, volts)[2] >= nm + 1.5e-3 * (1 - slip) * np.pi * hz:
            return slip


def volts(hz):
    "Peak phase voltage of the inverter."
    return 127 * 2**0.5 * hz / 60 * (1 + 0.04 * (60 - hz) / 30)


# --- the short


CONDITIONS = [("A", 60, 0), ("B", 30, 100), ("C", 45, 50)]


@pytest.fixture(scope="module")
def shorts():
    "Current vectors of a perfect motor by (class, phase, Hz, load)."
    jobs = [Job(c, hz, load, 0, phase) for c in range(7) for phase, hz, load in CONDITIONS]
    recordings = simulate(jobs, seconds=0.4, **bare())
    return {(j.class_id, j.phase, j.supply_hz, j.load_pct): vector(r) for j, r in zip(jobs, recordings)}


@pytest.mark.parametrize("class_id", range(1, 7))
@pytest.mark.parametrize("phase,hz,load", CONDITIONS)
def test_a_short_moves_both_sequences_by_a_third_of_its_ampere_turns(shorts, class_id, phase, hz, load):
    change = shorts[class_id, phase, hz, load] - shorts[0, phase, hz, load]
    mu, contact = FAULTS[class_id].turns, FAULTS[class_id].contact_ohm
    current = mu * volts(hz) / abs(contact + mu * (1 - 2 * mu / 3) * (RS + 2j * np.pi * hz * LL))
    n = round(np.floor(0.4 * hz) / hz * 1e4)
    for sign in (1, -1):
        size = abs((change[:n] * np.exp(-2j * np.pi * sign * hz * np.arange(n) / 1e4)).mean())
        assert size == pytest.approx(mu * current / 3, rel=5e-3)


def test_the_published_fault_currents():
    "RMS of i_f at 60 Hz, and mu i_f / 3 over the no-load current, as the specification lists them."
    numbers = mo.plant([Job(c, 60, 0, 0) for c in range(7)], **PERFECT)
    trace = mo.integrate(numbers, quiet()["motor"], seconds=0.1)
    rms = trace.fault.std(0)
    assert np.allclose(rms[1:], [1.7, 2.3, 2.7, 9.0, 10.8, 12.8], rtol=0.03)
    line = trace.effective + 2 / 3 * numbers.turns * trace.fault
    share = 100 * numbers.turns * rms * 2**0.5 / 3 / np.abs([at(x, 60) for x in line.T])
    assert np.allclose(share[1:], [0.4, 1.9, 4.3, 2.1, 8.5, 18], rtol=0.05)


def test_the_axis_of_the_short_is_that_of_its_phase():
    healthy, *faulty = simulate([Job(0, 60, 0, 0), *(Job(6, 60, 0, 0, p) for p in "ABC")], seconds=0.2, **bare())
    for i, recording in enumerate(faulty):
        change = (recording.signal - healthy.signal)[:3].std(1)
        assert change.argmax() == i and np.allclose(np.delete(change, i) / change[i], 0.5, atol=0.01)


def test_a_switched_short_leaves_the_rest_of_the_recording_alone():
    twins = [Job(0, 60, 50, 3), Job(5, 60, 50, 3, "B", (0.1, 0.3))]
    healthy, faulty = simulate(twins, seconds=0.5, **bare())
    change = np.abs(vector(faulty) - vector(healthy))
    assert faulty.faults == ((1000, 3000),) and faulty.label.sum() == 2000
    assert change[:1000].max() == 0 and change[3000:].max() == 0
    assert change[1100:2900].max() > 0.3


def test_real_motors_show_the_same_ratio_and_angle():
    "ITSC: |dI+| / |dI-| 1.15-1.34; dI+ leads the no-load I+ by 71 degrees at 10 % of turns, falling to 45 at 40 %."
    faults = (FAULTS[0], *(mo.TurnFault(f"{mu:.0%}", mu, 1.0) for mu in (0.1, 0.2, 0.3, 0.4)))
    knobs = bare(motor=replace(quiet()["motor"], faults=faults))
    recordings = [vector(r)[:3000] for r in simulate([Job(c, 60, 0, 0) for c in range(5)], seconds=0.3, **knobs)]
    plus, minus = (np.array([at(x, f) for x in recordings]) for f in (60, -60))
    ratio = np.abs(plus[1:] - plus[0]) / np.abs(minus[1:] - minus[0])
    lead = np.degrees(np.angle((plus[1:] - plus[0]) / plus[0]))
    assert np.all(np.abs(ratio / 1.22 - 1) < 0.25)
    assert np.all(np.diff(lead) < 0) and np.all(np.abs(lead - [71, 61, 54, 45]) < 20)


# --- the machine


def test_speed_and_current_follow_the_torque_curve():
    grid = [(hz, load) for hz in (30, 45, 60) for load in (0, 50, 100)]
    numbers = mo.plant([Job(0, hz, load, 0) for hz, load in grid], **PERFECT)
    trace = mo.integrate(numbers, Motor(), seconds=0.4)
    speed = (trace.angle[-1] - trace.angle[0]) / (len(trace.angle) - 1) / 1e-4
    for i, (hz, load) in enumerate(grid):
        slip = slip_for(hz, 4.1 * load / 100, volts(hz))
        assert 1 - speed[i] / (np.pi * hz) == pytest.approx(slip, abs=2e-5)
        assert np.abs(trace.effective[:, i]).mean() == pytest.approx(abs(phasors(hz, slip, volts(hz))[0]), rel=1e-3)


def test_a_locked_rotor_draws_the_current_of_the_equivalent_circuit():
    locked = replace(quiet()["motor"], inertia=1e12, friction=0.0)
    numbers = mo.plant([Job(0, 60, 0, 0)], motor=locked, nuisance=quiet()["nuisance"], supply=quiet()["supply"])
    trace = mo.integrate(numbers, locked, seconds=0.1, state=np.zeros((4, 1), complex))
    assert np.abs(trace.effective).mean() == pytest.approx(abs(phasors(60, 1.0, volts(60))[0]), rel=1e-3)


def test_power_in_is_heat_plus_work():
    job, knobs = Job(6, 60, 70, 0, "B"), PERFECT
    numbers = mo.plant([job], **knobs)
    trace = mo.integrate(numbers, knobs["motor"], seconds=1.0)
    v = mo.voltage(numbers, np.arange(10_000)[:, None] * 1e-4)[:, 0]
    i_e, i_f, mu = trace.effective[:, 0], trace.fault[:, 0], FAULTS[6].turns
    into = 1.5 * (v * (i_e + 2 / 3 * mu * i_f * A).conj()).real.mean()
    speed = np.diff(trace.angle[:, 0]).mean() / 1e-4
    slip = 1 - speed / (np.pi * 60)
    gap = LM * i_e.astype(complex)  # rotor current from the stator's: v - Rs i = j w (Ls i + Lm i_r) in steady state
    i_r = ((v - RS * i_e) / (2j * np.pi * 60) - LL * i_e - gap) / LM
    heat = 1.5 * RS * (abs(i_e) ** 2).mean() + 1.5 * RR * (abs(i_r) ** 2).mean()
    short = (FAULTS[6].contact_ohm + mu * RS * (1 - 2 * mu / 3)) * (i_f**2).mean()
    work = (0.7 * 4.1 + 1.5e-3 * speed) * speed
    assert into == pytest.approx(heat + short + work, rel=1e-3)
    assert 0 < slip < 0.05 and short > 50  # W


def test_unbalance_drives_the_negative_sequence_of_the_locked_circuit():
    knobs = bare(nuisance=replace(quiet()["nuisance"], unbalance_fixed=0.01))
    recording = next(simulate([Job(0, 60, 0, 0)], seconds=0.5, **knobs))
    slip = slip_for(60, 0.0, volts(60))
    expected = abs(phasors(60, 2 - slip, 0.01 * volts(60))[0])
    assert abs(at(vector(recording), -60)) == pytest.approx(expected, rel=5e-3)


def test_half_the_step_gives_the_same_currents():
    jobs = [Job(c, 60, 100, c) for c in range(7)]
    numbers = mo.plant(jobs)
    coarse = mo.integrate(numbers, Motor(), seconds=0.05, dt=1e-4)
    fine = mo.integrate(numbers, Motor(), seconds=0.05, dt=5e-5)
    assert np.abs(coarse.effective - fine.effective[::2]).max() < 2e-3
    assert np.all(np.abs(coarse.fault - fine.fault[::2]).max(0) <= 1e-3 * np.abs(fine.fault).max(0))


# --- lines


def test_the_rotor_modulates_the_fault_at_the_published_frequencies():
    "(k +- n (1-s)/p) f, k = 1, in currents and coil: the nearest peak is within one bin."
    knobs = bare(motor=Motor(saturation=0.0))
    recording = next(simulate([Job(6, 60, 100, 0)], seconds=2.0, **knobs))
    slip = slip_for(60, 4.1, volts(60))
    n = recording.n_samples
    for x in (vector(recording), recording.signal[3]):
        spectrum = np.abs(np.fft.fft(x * np.hanning(n)))
        for k, turn in [(1, 1), (1, -1), (1, 2), (1, 3), (1, -3)]:
            bin_ = (k + turn * (1 - slip) / 2) * 60 * n / 1e4
            near = np.arange(round(bin_) - 4, round(bin_) + 5)
            assert abs(near[spectrum[near].argmax()] - bin_) <= 1
            assert spectrum[near].max() > 20 * np.median(spectrum[near])


def test_saturation_brings_a_third_harmonic_of_5_to_10_percent():
    knobs = bare(motor=replace(quiet()["motor"], saturation=Motor().saturation))
    x = vector(next(simulate([Job(6, 60, 0, 0)], seconds=0.5, **knobs)))
    assert 0.05 < abs(at(x, 180)) / abs(at(x, -60)) < 0.10


@pytest.mark.slow
def test_healthy_motors_have_the_line_levels_of_real_ones():
    "ITSC, no load, % of I1: .05-.19 at (k +- n/2) f; negative sequence .02-.04; several recordings differ."
    recordings = list(simulate([Job(0, 60, 0, i) for i in range(12)], seconds=10.0))
    x = np.stack([r.signal[0].astype(float) for r in recordings])
    main = np.array([abs(at(row, 60)) for row in x])
    share = np.array([[100 * abs(at(row, f)) for f in (30, 90, 150, 210, 270, 330)] for row in x]) / main[:, None]
    assert np.all((0.03 < np.median(share, 0)) & (np.median(share, 0) < 0.4))
    assert 0.15 < np.log(share).std(0).mean() < 0.7
    minus = np.array([abs(at(vector(r), -60)) / abs(at(vector(r), 60)) for r in recordings])
    assert 0.02 < minus.mean() < 0.06 and minus.std() > 0.003


def test_unbalanced_harmonics_are_there_without_a_fault():
    "Opposite-sequence 5th, 7th and both 3rd at least .02 % of I1: balanced ones would give faults away."
    recordings = list(simulate([Job(0, 50, 50, i) for i in range(6)], seconds=1.0))
    for order in (5, -7, 3, -3):
        level = [abs(at(vector(r), order * 50)) / abs(at(vector(r), 50)) for r in recordings]
        assert np.median(level) > 2e-4


# --- the campaign


def test_a_recording_depends_on_seed_and_serial_only():
    jobs = campaign(classes=(0, 1, 6), freqs=(30, 60), loads=(0, 100), reps=1, healthy_reps=1)
    whole = list(simulate(jobs, seconds=0.05, voltages=True, chunk=64))
    parts = list(simulate(jobs, seconds=0.05, voltages=True, chunk=5))
    alone = next(simulate(jobs[-1:], seconds=0.05, voltages=True))
    assert all(np.array_equal(a.signal, b.signal) for a, b in zip(whole, parts))
    assert np.array_equal(alone.signal, whole[-1].signal)
    other = next(simulate(jobs[-1:], seconds=0.05, voltages=True, seed=1))
    assert not np.array_equal(alone.signal, other.signal)


def test_two_specimens_are_two_motors():
    one, same, other = (mo.plant([Job(0, 60, 0, i)], motor=Motor(specimen=s)) for i, s in ((0, 0), (1, 0), (0, 1)))
    minus = [numbers.share[0, 1, 0] for numbers in (one, same, other)]  # the supply's negative sequence
    assert abs(minus[0] - minus[1]) < 0.004 < abs(minus[0] - minus[2])
    assert one.torque == other.torque and one.stator_ohm == other.stator_ohm


def test_a_campaign_is_the_whole_grid_in_order():
    jobs = campaign(classes=(0, 2), freqs=(30, 60), loads=(0, 50), reps=2, healthy_reps=3, switched_s=(1.0, 2.0))
    assert len(jobs) == 4 * (3 + 2) and [j.serial for j in jobs] == list(range(20))
    grid = {(c, f, p) for c in (0, 2) for f in (30, 60) for p in (0, 50)}
    assert {(j.class_id, j.supply_hz, j.load_pct) for j in jobs} == grid
    assert all((j.fault_s == (1.0, 2.0)) == (j.class_id == 2) for j in jobs)
    many = campaign(classes=(1,), freqs=(60,), loads=(0,), reps=300, healthy_reps=0)
    assert all(70 < sum(j.phase == p for j in many) < 130 for p in "ABC")


def test_a_lower_rate_picks_samples_of_the_higher():
    high, low = (next(simulate([Job(5, 60, 50, 0)], fs=fs, seconds=0.1, **bare())) for fs in (10_000, 1000))
    assert low.fs == 1000 and low.n_samples == 100
    assert np.array_equal(low.signal, high.signal[:, ::10])


def test_the_scope_has_whole_steps_and_five_divisions():
    sensor = Sensor(volts_per_div=(0.2, 0.5, 1.0, 0.1))
    signal = next(simulate([Job(0, 60, 100, 0)], seconds=0.2, sensor=sensor)).signal
    for x, div in zip(signal.astype(float), sensor.volts_per_div):
        assert np.abs(x / (div / 25) - np.rint(x / (div / 25))).max() < 1e-4
        assert np.abs(x).max() <= 5 * div + 1e-6
    assert np.abs(signal[0]).max() == pytest.approx(1.0)  # 4 A do not fit on 0.2 V a division


def test_voltage_probes_see_the_unbalance():
    recording = next(simulate([Job(0, 60, 0, 0)], seconds=1.0, voltages=True))
    assert recording.channels == ("CH1", "CH2", "CH3", "CH4", "V1", "V2", "V3")
    v = 2 / 3 * (np.array([1, A, A.conjugate()]) @ recording.signal[4:])
    assert abs(at(v, 60)) == pytest.approx(127 * 2**0.5, rel=0.01)
    assert 0.001 < abs(at(v, -60)) / abs(at(v, 60)) < 0.008


# --- how hard it is


def operating_point(recording):
    "f0 (Hz), |I+| (A), slip, and I- I+ / |I+|^2, from the signals alone."
    x, hz, n = vector(recording), recording.supply_hz, recording.n_samples
    slow = (x * np.exp(-2j * np.pi * hz * np.arange(n) / 1e4)).reshape(-1, 100).mean(1)
    hz += np.polyfit(np.arange(len(slow)) / 100, np.unwrap(np.angle(slow)), 1)[0] / (2 * np.pi)
    plus, minus = at(x, hz), at(x, -hz)
    grid = np.arange(0, 0.1, 5e-4)  # slips; the coil shows the shaft's frequency
    coil = recording.signal[3] * np.hanning(n) * np.exp(-1j * np.pi * hz * np.arange(n) / 1e4)
    coil, time_s = coil.reshape(-1, 200).sum(1), np.arange(n // 200) / 50
    slip = grid[np.argmax(np.abs(np.exp(1j * np.pi * hz * grid[:, None] * time_s) @ coil))]
    return hz, abs(plus), slip, minus * plus / abs(plus) ** 2


@pytest.mark.slow
def test_negative_sequence_alone_is_as_hard_as_on_the_reference_bench():
    "One-class, given f0, |I+| and slip: recording ROC .845, HI1 near chance (HI1 .55, HI2 .8, HI3 .98, LI1 .84)."
    from sklearn.covariance import LedoitWolf
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    jobs = campaign(classes=range(7), freqs=range(30, 61, 5), loads=(0, 50, 100), reps=3, healthy_reps=20)
    point = np.array([operating_point(r) for r in simulate(jobs)])
    class_id = np.array([j.class_id for j in jobs])
    learn = (class_id == 0) & (np.arange(len(jobs)) % 20 < 8)  # eight of the twenty of each condition
    scale = StandardScaler().fit(point[learn, :3].real)
    basis = PolynomialFeatures(3).fit_transform(scale.transform(point[:, :3].real))
    rest = point[:, 3] - basis @ np.linalg.lstsq(basis[learn], point[learn, 3], rcond=None)[0]
    rest = np.stack([rest.real, rest.imag], 1)
    score = LedoitWolf().fit(rest[learn]).mahalanobis(rest)
    normal = score[(class_id == 0) & ~learn]
    faulty = [score[class_id == c] for c in range(1, 7)]
    roc = [roc_auc_score([0] * len(normal) + [1] * len(x), [*normal, *x]) for x in faulty]
    print("ROC", np.round(roc, 3), "mean", round(np.mean(roc), 3))
    assert 0.81 < np.mean(roc) < 0.87
    assert roc[0] < 0.65 and 0.68 < roc[1] < 0.88 and roc[2] > 0.93 and 0.7 < roc[3] < 0.9 and min(roc[4:]) > 0.99


# --- files


def test_a_scope_file_reads_back_exactly(tmp_path):
    recording = next(simulate([Job(3, 45, 50, 12, "C")], seconds=0.5))
    mo.write_scope_csv(recording, tmp_path / recording.name)
    lines = (tmp_path / recording.name).read_text().splitlines()
    assert recording.name == "3_0012c45c50.csv" and lines[0] == "Model,MSO4034B" and lines[20] == "TIME,CH1,CH2,CH3,CH4"
    assert lines[21].startswith("-0.25,") and len(lines) == 21 + 5000
    cells = [cell for line in lines[21:] for cell in line.split(",")[1:]]
    assert max(len(cell.partition(".")[2]) for cell in cells) <= 2 and "-0" not in cells  # steps of .04 V
    back = read(tmp_path / recording.name)
    assert np.array_equal(back.signal, recording.signal)
    assert (back.fs, back.channels, back.units, back.class_id, back.supply_hz, back.load_pct) == (
        recording.fs, recording.channels, recording.units, 3, 45, 50,
    )  # fmt: skip


def test_missing_samples_become_empty_cells(tmp_path):
    recording = next(simulate([Job(0, 60, 0, 0)], seconds=0.01))
    recording.signal[1, 3:5] = np.nan
    mo.write_scope_csv(recording, tmp_path / recording.name)
    assert np.array_equal(read(tmp_path / recording.name).signal, recording.signal, equal_nan=True)


def test_a_campaign_on_disk_is_a_raw_folder(tmp_path):
    jobs = campaign(classes=(0, 6), freqs=(60,), loads=(0,), reps=1, healthy_reps=2, switched_s=(0.02, 0.08))
    told = []
    mo.write_campaign(tmp_path, jobs, fs=10_000, seconds=0.1, seed=3, progress=lambda *x: told.append(x))
    back = {r.name: r for r in read_folder(tmp_path)}
    assert told == [(1, 3), (2, 3), (3, 3)] and set(back) == {j.name for j in jobs}
    assert back[jobs[2].name].faults == ((200, 800),) and back[jobs[0].name].faults == ()
    assert np.array_equal(back[jobs[1].name].signal, next(simulate(jobs[1:2], seconds=0.1, seed=3)).signal)


def test_without_switching_there_is_no_label_file(tmp_path):
    mo.write_campaign(tmp_path, [Job(1, 60, 0, 0)], seconds=0.05)
    assert [p.name for p in tmp_path.iterdir()] == ["1_0000c60c0.csv"]


@pytest.mark.parametrize(
    "make,word",
    [
        (lambda: Job(0, 60, 0, 0, "D"), "phase"),
        (lambda: Job(0, 600, 0, 0), "supply_hz"),
        (lambda: Job(0, 60, 300, 0), "load_pct"),
        (lambda: Job(1, 60, 0, 0, "A", (2.0, 1.0)), "fault_s"),
        (lambda: next(simulate([Job(9, 60, 0, 0)])), "class_id"),
        (lambda: next(simulate([Job(1, 60, 0, 0, "A", (0.5, 2.0))], seconds=1.0)), "fault_s"),
        (lambda: next(simulate([Job(0, 60, 0, 0)], seconds=0)), "seconds"),
        (lambda: next(simulate([Job(0, 60, 0, 0)], fs=0)), "fs"),
        (lambda: next(simulate([Job(0, 60, 0, 0)], chunk=0)), "chunk"),
        (lambda: mo.write_campaign(".", [], format="mat"), "format"),
    ],
)
def test_a_wrong_option_is_named(make, word):
    with pytest.raises(UsageError, match=word):
        make()
