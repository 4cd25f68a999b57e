"The shorted phase, lines and levels against currents made by hand, the simulator in all phases, and real shorts."

import re
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from timemoe_lab.cli import main
from timemoe_lab.config import tiny
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.motor import Job, campaign, simulate, write_scope_csv
from timemoe_lab.data.prepare import Frame, Scale
from timemoe_lab.data.recording import Recording
from timemoe_lab.data.signature import Signature, can_show, read_signature, sensitivity
from timemoe_lab.detect.diagnosis import (
    SAY,
    Healthy,
    Usual,
    change_of,
    diagnose,
    explain,
    healthy_of,
    named_lines,
    ray_of,
    say,
    usual_of,
)
from timemoe_lab.detect.score import Motors, load_profile, motor_of, pack_profile
from timemoe_lab.detect.scorer import calibrate
from timemoe_lab.files import InputError
from timemoe_lab.model.timemoe import TimeMoE
from timemoe_lab.run.folder import frame_of, start_run

RAYS = {"A": -55.0, "B": -175.0, "C": 65.0}  # degrees: the middle of what the theory allows, a third of a turn apart


def three(vector):
    "The phase quantities of a vector."
    return np.stack([(vector * np.exp(-2j * np.pi / 3 * i)).real for i in range(3)])


def made(share, *, plus=3.0, hz=60.0, seconds=2.0, fs=1000.0, noise=0.01, lines=(), seed=0, start=0.7, step=0.0):
    "Currents with I-/I+ = share in the signature's sense; lines are (hz, dB against the supply)."
    t = np.arange(round(fs * seconds)) / fs
    vector = plus * np.exp(1j * (2 * np.pi * hz * t + start))
    vector += plus * share * np.exp(-1j * (2 * np.pi * hz * t + start))  # its product with I+ has the angle of share
    for at, decibel in lines:
        vector += plus * 10 ** (decibel / 20) * np.exp(2j * np.pi * at * t)
    x = three(vector)
    x += noise * np.random.default_rng(seed).normal(size=x.shape)
    x = np.rint(x / step) * step if step else x
    return Recording(f"0_{seed}.csv", x.astype(np.float32), fs, ("Ia", "Ib", "Ic"), ("A",) * 3, 0)


def well(i):
    "I-/I+ of a healthy recording: .012 with a scatter of .002."
    scatter = np.random.default_rng([9, i]).normal(0, 0.002, 2)
    return 0.012 * np.exp(0.4j) + complex(*scatter)


@pytest.fixture(scope="module")
def healthy():
    return healthy_of([made(well(i), seed=i) for i in range(8)])


def polar(size, degrees):
    return size * np.exp(1j * np.radians(degrees))


# The phase and the size


@pytest.mark.parametrize("phase", "ABC")
@pytest.mark.parametrize("off", [-25, 0, 25])
def test_a_negative_sequence_along_a_ray_names_the_phase_and_its_size(phase, off, healthy):
    short = made(0.012 * np.exp(0.4j) + polar(0.06, RAYS[phase] + off), seed=77)
    found = diagnose(short, healthy=healthy)
    assert found.phase == phase and found.channel == {"A": "Ia", "B": "Ib", "C": "Ic"}[phase] and not found.why
    assert abs(found.size - 0.06) < 0.006 and found.size_low < 0.06 < found.size_high
    assert abs((found.angle_deg - RAYS[phase] - off + 180) % 360 - 180) < 6
    assert np.isclose(found.loop, 3 * found.size * 3.0, rtol=0.02)  # mu i_f = 3 |dI-|, of 3 A
    assert 0.9 <= found.confidence <= 1 and np.isclose(sum(found.probability), 1)


def test_between_two_rays_and_within_healthy_scatter_no_phase_is_named(healthy):
    between = diagnose(made(0.012 * np.exp(0.4j) + polar(0.06, 5), seed=77), healthy=healthy)
    assert between.phase is None and between.channel is None and between.confidence < SAY and between.why
    assert "the phase can't be told" in say(between)
    calm = diagnose(made(well(50), seed=50), healthy=healthy)
    assert calm.phase is None and not calm.stands_out and calm.why == "no change that stands out of healthy scatter"
    assert say(calm).startswith("nothing with a name")


def test_confidence_grows_with_the_size_of_the_change(healthy):
    sizes = (0.002, 0.01, 0.02, 0.06)
    found = [diagnose(made(0.012 * np.exp(0.4j) + polar(s, -55), seed=77), healthy=healthy).confidence for s in sizes]
    assert found == sorted(found) and found[0] < 0.5 < 0.85 < found[-1]


def test_more_scatter_of_healthy_ones_makes_it_less_sure():
    def confidence(spread):
        rng = np.random.default_rng(3)
        z = 0.012 + spread * (rng.normal(size=12) + 1j * rng.normal(size=12))
        feature = 3 * np.stack([z.real, z.imag], axis=1)
        condition = np.tile([60.0, 3.0, 0.0], (12, 1))
        own = 3 * (0.012 + polar(0.02, -55))
        signature = Signature(
            condition[0], ("supply Hz", "|I+|", "slip"), np.array([own.real, own.imag]), (), None, True
        )
        return explain(change_of(signature, Motors(condition, feature, np.ones(2))))[0]

    assert confidence(0.002) > 0.85 > 0.5 > confidence(0.02)


def test_one_labelled_example_moves_the_rays(healthy):
    turned = made(0.012 * np.exp(0.4j) + polar(0.06, 5), seed=77)  # a motor whose phase A points to 5 degrees
    signature = read_signature(turned, pole_pairs=2)
    ray = ray_of(change_of(signature, healthy.motors), "A")
    assert diagnose(turned, healthy=healthy, ray=ray).phase == "A"
    other = made(0.012 * np.exp(0.4j) + polar(0.06, 125), seed=78)
    assert diagnose(other, healthy=healthy, ray=ray).phase == "C"


def test_without_healthy_recordings_nothing_is_named_and_one_is_enough():
    short = made(0.012 + polar(0.08, -55), seed=1)
    found = diagnose(short, healthy=Healthy())
    assert found.phase is None and "no healthy recording" in found.why and np.isnan(found.size) and say(found)
    assert diagnose(short, healthy=healthy_of([made(0.012, seed=2)])).phase == "A"


def test_the_alarm_s_part_is_read_and_a_short_one_with_its_surroundings(healthy):
    before = made(0.012 * np.exp(0.4j), seconds=4.0, seed=5)
    after = made(0.012 * np.exp(0.4j) + polar(0.06, -55), seconds=4.0, seed=5)
    signal = np.where(np.arange(4000) >= 2500, after.signal, before.signal)
    switched = replace(before, signal=signal)
    assert diagnose(switched, healthy=healthy, part=(2500, 4000)).size > 0.055
    assert diagnose(switched, healthy=healthy, part=(0, 2500)).phase is None
    brief = diagnose(switched, healthy=healthy, part=(3000, 3100))
    assert brief.phase == "A" and np.isclose(brief.seconds, 0.55)
    assert diagnose(switched, healthy=healthy, part=(3990, 4000)).phase == "A"  # nothing behind it


def test_clamps_changed_over_are_named_as_the_file_names_them(healthy):
    frame = Frame(1000.0, ("Ia", "Ib", "Ic"), ("A",) * 3, (), Scale((0.0,) * 3, (1.0,) * 3), swap_phases=True)
    short = made(0.012 * np.exp(0.4j) + polar(0.06, RAYS["B"]), seed=77)
    crossed = replace(short, signal=short.signal[[0, 2, 1]])
    found = diagnose(crossed, healthy=healthy, frame=frame)
    assert (found.phase, found.channel) == ("B", "Ic")
    assert "run backwards" in diagnose(crossed, healthy=healthy).why


# On the simulator, and on real shorts


def test_shorts_of_every_phase_are_named_on_the_simulator():
    wells = campaign(classes=(0,), freqs=(45,), loads=(0, 100), reps=1, healthy_reps=6, seed=31)
    shorts = [Job(c, 45, load, 400 + i, phase=p) for i, p in enumerate("ABC") for c in (3, 6) for load in (0, 100)]
    signs = [read_signature(r, mask=("CH4",), pole_pairs=2) for r in simulate([*wells, *shorts], fs=1000, seconds=1.5)]
    motors = motor_of(signs[0])
    for s in signs[1 : len(wells)]:
        motors += motor_of(s)
    found = [explain(change_of(s, motors)) for s in signs[len(wells) :]]
    right = [p[job.phase == "B" or 2 * (job.phase == "C")] for p, job in zip(found, shorts)]
    best = ["ABC"[int(np.argmax(p[:3]))] for p in found]
    assert best == [job.phase for job in shorts]
    assert np.mean([p > 0.7 for p in right]) > 0.7


@pytest.mark.slow
def test_what_is_said_with_nine_tenths_is_right_nine_times_in_ten():
    seed = 47
    wells = campaign(classes=(0,), freqs=(30, 60), loads=(0, 50, 100), reps=1, healthy_reps=8, seed=seed)
    grid = [(c, f, load, p) for c in range(1, 7) for f in (30, 60) for load in (0, 50, 100) for p in "ABC"]
    shorts = [Job(c, f, load, 1000 + i, phase=p) for i, (c, f, load, p) in enumerate(grid)]
    fresh = campaign(classes=(0,), freqs=(30, 60), loads=(0, 50, 100), reps=1, healthy_reps=3, seed=seed + 1)
    how = {"fs": 2000, "seconds": 3.0}
    jobs = [*wells, *shorts]
    signs = [read_signature(r, mask=("CH4",), pole_pairs=2) for r in simulate(jobs, seed=seed, **how)]
    signs += [read_signature(r, mask=("CH4",), pole_pairs=2) for r in simulate(fresh, seed=seed + 1, **how)]
    motors = motor_of(signs[0])
    for s in signs[1 : len(wells)]:
        motors += motor_of(s)
    found = np.array([explain(change_of(s, motors))[:3] for s in signs[len(wells) :]])
    truth = np.array(["ABC".index(job.phase) for job in shorts] + [-1] * len(fresh))
    sure = found.max(axis=1) >= 0.9
    right = found.argmax(axis=1) == truth
    assert sure.sum() >= 20 and right[sure].mean() >= 0.9
    assert (found[truth < 0].max(axis=1) < SAY).mean() > 0.9


# Measured: I-/I+ and |I+| of 27 recordings of github.com/ibarram/ITSC (Cardenas-Cornejo et al., Measurement 222, 2023,
# 113680; a 0.75 hp motor at 60 Hz without load, shorts of 10 to 40 % of a phase's turns), 50 samples off the interval.
REAL_WELL = [0.0327 + 0.0188j, 0.0232 + 0.0002j, 0.0298 + 0.0016j]
REAL = {
    ("C", 10): [0.1074 + 0.0643j, 0.0967 + 0.0437j, 0.1000 + 0.0433j],
    ("C", 20): [0.1521 + 0.1621j, 0.1479 + 0.1331j, 0.1496 + 0.1390j],
    ("C", 30): [0.1531 + 0.2428j, 0.1564 + 0.2267j, 0.1555 + 0.2304j],
    ("C", 40): [0.1310 + 0.3058j, 0.1354 + 0.2999j, 0.1344 + 0.2987j],
    ("A", 10): [0.0416 - 0.0809j, 0.0346 - 0.0960j, 0.0388 - 0.1016j],
    ("A", 20): [0.0830 - 0.1447j, 0.0763 - 0.1669j, 0.0807 - 0.1744j],
    ("A", 30): [0.1213 - 0.1786j, 0.1244 - 0.2041j, 0.1280 - 0.2040j],
    ("A", 40): [0.1595 - 0.1977j, 0.1733 - 0.1939j, 0.1689 - 0.2044j],
}
REAL_CURRENT = {10: 6.64, 20: 7.27, 30: 7.87, 40: 8.37}  # |I+|, sensor units; 6.36 when well


def test_real_shorts_of_two_phases_are_named_and_grow_with_the_turns():
    plane = lambda z, current: current * np.array([z.real, z.imag])
    condition = np.tile([60.0, 6.36, 0.0], (3, 1))
    motors = Motors(condition, np.array([plane(z, 6.36) for z in REAL_WELL]), np.ones(2))
    size = {}
    for (phase, turns), values in REAL.items():
        current = REAL_CURRENT[turns]
        point = np.array([60.0, current, 0.0])
        for z in values:
            change = change_of(Signature(point, (), plane(z, current), (), np.ones(2), False), motors)
            probability = explain(change)
            assert np.argmax(probability[:3]) == "ABC".index(phase) and max(probability) > 0.85
            size.setdefault((phase, turns), []).append(change.size)
    for phase in "AC":
        mean = [np.mean(size[phase, turns]) for turns in (10, 20, 30, 40)]
        assert mean == sorted(mean) and 0.07 < mean[0] < 0.12 and 0.22 < mean[3] < 0.35


# Lines


def test_planted_lines_are_read_at_their_level():
    slip = 0.04
    bars = [((1 - 2 * slip) * 60, -45), ((1 + 2 * slip) * 60, -48)]
    shaft = [((1 + (1 - slip) / 2) * 60, -52), ((1 - (1 - slip) / 2) * 60, -55)]
    found = {x.name: x for x in named_lines(made(0.01, seconds=6.0, lines=[*bars, *shaft]))}
    told = [found[name].level_db for name in ("(1 − 2s)f", "(1 + 2s)f", "f + fr", "f − fr")]
    assert np.allclose(told, [-45, -48, -52, -55], atol=0.4)
    assert np.allclose([found["(1 − 2s)f"].hz, found["f + fr"].hz], [55.2, 88.8], atol=0.05)
    assert min(found[name].prominence_db for name in ("(1 − 2s)f", "f + fr")) > 25
    assert found["(3 + 3(1−s)/2)f"].prominence_db < 10  # nothing was planted there


@pytest.mark.parametrize("slip, seconds", [(0.01, 2.0), (0.02, 1.0)])
def test_lines_that_can_t_be_told_apart_are_refused_with_the_length_that_would_do(slip, seconds):
    shaft = [((1 + (1 - slip) / 2) * 60, -35), ((1 - (1 - slip) / 2) * 60, -35)]
    found = {x.name: x for x in named_lines(made(0.01, seconds=seconds, lines=shaft))}
    bars = found["(1 − 2s)f"]
    assert bars.refused.startswith(f"{seconds:.2g} s don't tell it") and np.isnan(bars.level_db)
    need = float(bars.refused.split("; ")[1].split(" s")[0])
    assert abs(need - 2 / (slip * 60)) < 0.15 * need  # 4 / (2 s f)


def test_without_a_slip_every_line_is_refused_and_without_currents_there_is_none():
    assert all("slip isn't known" in x.refused for x in named_lines(made(0.01, noise=0.3)))
    assert named_lines(replace(made(0.01), channels=("x", "y", "z"))) == ()


def test_a_line_is_told_against_that_of_healthy_ones():
    slip = 0.03
    shaft = [((1 + (1 - slip) / 2) * 60, -40), ((1 - (1 - slip) / 2) * 60, -40)]
    with_bars = lambda level, seed: made(
        0.012,
        seconds=4.0,
        seed=seed,
        noise=0.001,
        lines=[*shaft, ((1 - 2 * slip) * 60, level), ((1 + 2 * slip) * 60, level)],
    )
    wells = healthy_of([with_bars(level, i) for i, level in enumerate((-62, -61, -60))])
    found = diagnose(with_bars(-38, 9), healthy=wells)
    bars = next(x for x in found.lines if x.name == "(1 − 2s)f")
    assert np.allclose(bars.usual_db, (-62, -60), atol=0.6) and abs(bars.change_db - 22) < 0.6
    said = r"rotor bars: \(1 . 2s\)f at -38 dB, healthy -6[23] to -(60|61) dB at 60 Hz and this load, in 3 recordings"
    assert re.fullmatch(said, say(found))
    assert next(x for x in diagnose(with_bars(-61, 8), healthy=wells).lines if x.cause == "rotor bars").change_db == 0


# Levels, and what isn't a motor


def test_three_times_the_current_is_told_and_a_load_between_is_not():
    wells = healthy_of([made(0.012, plus=plus, seed=i) for i, plus in enumerate((2.0, 2.02, 2.04, 3.0, 3.02, 3.04))])
    large = diagnose(made(0.012, plus=9.12, seed=20), healthy=wells)
    assert large.levels[0].name == "current" and np.isclose(large.levels[0].ratio, 3.0, rtol=0.01)
    assert say(large).startswith("current 9.12 A, 3 times the largest of healthy ones (2-3.04 A at 60 Hz)")
    between = diagnose(made(0.012, plus=2.5, seed=21), healthy=wells)
    assert between.levels[0].beyond == 0 and "current" not in say(between)
    slow = diagnose(made(0.012, plus=2.5, hz=50.0, seed=22), healthy=wells)
    assert "nearest seen to 50 Hz" in slow.where


def series(level, seed, n=400):
    x = np.array(level)[:, None] + np.random.default_rng(seed).normal(size=(len(level), n))
    return Recording(f"0_{seed}.csv", x.astype(np.float32), 1.0, ("oil", "air"), ("°C", "°C"), 0)


def test_series_that_are_no_motor_s_are_told_by_name_and_amount():
    wells = healthy_of([series((50, 20), i) for i in range(4)])
    assert wells.motors is None
    hot = series((50, 20), 9)
    hot.signal[1, 100:200] += 30
    found = diagnose(hot, healthy=wells, part=(100, 200))
    assert found.phase is None and found.why.startswith("no three phase currents") and found.lines == ()
    told = say(found, series="air", times=2.5)
    assert (
        told.startswith("air: mean 5")
        and "°C, healthy 1" in told
        and told.endswith("air leads, 2.5 times where alarms begin")
    )
    assert say(diagnose(hot, healthy=wells, part=(300, 400))).startswith("nothing with a name")
    shaken = series((50, 20), 10)
    shaken.signal[0] = 50 + 5 * (shaken.signal[0] - 50)
    assert say(diagnose(shaken, healthy=wells)).startswith("oil: rms 4.85 °C, 4.81 times the largest")


def test_rows_of_healthy_recordings_add_up_are_taken_out_and_survive_a_file(healthy):
    row = usual_of(made(0.3, seed=60))
    both = healthy.usual + row
    assert both.rms.shape == (9, 3) and np.isclose(both.operating[8, 2], 0.3, atol=0.01)
    assert ((both - row).rms == healthy.usual.rms).all()
    again = Usual(**load(save({k: np.ascontiguousarray(v) for k, v in vars(both).items()})))
    assert all(np.array_equal(v, vars(both)[k], equal_nan=True) for k, v in vars(again).items())


# What a profile keeps of healthy recordings, and what is said of few


@pytest.mark.parametrize("n, counted", [(1, "in 1 recording"), (3, "in 3 recordings"), (4, "")])
def test_a_sentence_has_the_healthy_range_and_says_of_how_few_it_is(n, counted):
    shares = [0.008, 0.004, 0.006, 0.005][:n]
    wells = healthy_of([made(share, seed=i) for i, share in enumerate(shares)])
    told = say(diagnose(made(0.08 * np.exp(-1j), seed=40), healthy=wells))
    low = f"{100 * min(shares):.2g}"
    number = lambda x: rf"{re.escape(x)}\d?"  # noise moves a second digit
    span = number(low) if n == 1 else rf"{number(low)[:-4]}\S*-0\.[78]\S*"
    where = "at 60 Hz" if n == 1 else "at 60 Hz and this load"
    assert re.search(rf"negative sequence 8(\.\d)? % of the current, healthy {span} % {where}", told), told
    assert (f"{where}, {counted}," in told) if counted else " recording" not in told


def test_with_few_healthy_recordings_what_was_measured_is_said_even_where_nothing_stands_out(healthy):
    wells = healthy_of([made(well(i), seed=i) for i in range(2)])
    calm = say(diagnose(made(well(50), seed=50), healthy=wells))
    assert re.match(
        r"negative sequence 1\.\d % of the current, healthy .* at 60 Hz and this load, in 2 recordings; ", calm
    )
    assert "nothing with a name stands out of so few healthy recordings" in calm
    rooms = healthy_of([series((50, 20), i) for i in range(2)])
    told = say(diagnose(series((50, 20), 9), healthy=rooms), series="air", times=2.0)
    assert re.match(r"air: (rms|mean) \S+ °C, healthy \S+ °C in 2 recordings; nothing with a name", told)


def test_a_profile_keeps_the_levels_and_lines_of_every_healthy_recording(tmp_path):
    members = [replace(made(well(i), seed=i), split="calibration" if i == 2 else "train") for i in range(3)]
    store = write_store(tmp_path / "store", members, where="here")
    run = start_run(tmp_path / "run", store, replace(tiny(), score=replace(tiny().score, mode="spec")))
    config, frame = run.config, frame_of(run)
    profile = calibrate(TimeMoE(config.model, seed=0).eval(), store, frame=frame, config=config).profile
    assert "physics" not in profile.normals  # too few for it
    path = tmp_path / "profile"
    path.write_bytes(pack_profile(profile))
    again = load_profile(path)
    order = [members[int(store.entries[i].name[2])] for split in ("train", "calibration") for i in store.members(split)]
    signal = np.stack([r.signal for r in order]).astype(np.float64)
    assert np.allclose(again.usual.rms, signal.std(axis=2), rtol=1e-5)
    assert np.allclose(again.usual.mean, signal.mean(axis=2), atol=1e-5)
    assert np.allclose(again.usual.high, np.quantile(signal, 0.99, axis=2), rtol=1e-5)
    assert np.allclose(again.usual.operating[:, 0], 60, atol=0.1) and len(again.motors.feature) == 3
    assert len(pack_profile(profile)) < len(pack_profile(replace(profile, usual=None, motors=None))) + 5_000
    old = load(path.read_bytes())
    old.pop("version")
    path.write_bytes(save(old))
    with pytest.raises(InputError, match="a profile of an older version"):
        load_profile(path)


# Before anything is trained


@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_the_noise_of_the_negative_sequence_is_that_of_the_average(noise):
    found = sensitivity(made(0.01, noise=noise, seconds=10.0))
    assert np.isclose(found.noise, noise * np.sqrt(2 / 10_000) / 3, rtol=0.5)  # three phases, 10000 samples, 3 A
    read = [read_signature(made(0.01, noise=noise, seconds=10.0, seed=i), pole_pairs=2).feature[:2] for i in range(8)]
    scatter = np.std(read, axis=0).mean() * 2**0.5 / 3
    assert 0.4 < scatter / found.noise < 2.5 and found.wander_hz < 0.02 and np.isclose(found.apart_hz, 0.4)


def test_a_converter_s_steps_move_the_negative_sequence_by_what_is_said():
    starts = np.linspace(0, 2, 6)
    exact = [read_signature(made(0.0, noise=0, start=s), pole_pairs=2).feature[:2] for s in starts]
    coarse = [read_signature(made(0.0, noise=0, start=s, step=0.4), pole_pairs=2).feature[:2] for s in starts]
    off = np.hypot(*(np.array(coarse) - exact).T).max() / 3
    found = sensitivity(made(0.0, noise=0, step=0.4))
    assert 0.3 < found.coarse / max(off, 1e-9) < 30 and found.coarse > 1e-4
    dithered = sensitivity(made(0.0, noise=0.4, step=0.4))
    assert dithered.coarse < found.coarse / 10  # noise of a step takes the steps away


def test_a_sentence_says_whether_a_light_short_can_be_seen():
    assert can_show([made(0.01, seconds=10.0)]).endswith("a light short moves 0.002: can be seen")
    poor = can_show([made(0.01, noise=0.25)])
    assert "can't be seen (noise; " in poor
    need = float(poor.split("noise; ")[1].split(" s")[0])
    assert can_show([made(0.01, noise=0.25, seconds=2 * need)]).endswith("can be seen")
    assert can_show([series((50, 20), 1)]) == ""
    apart = [made(0.012 + polar(0.01, 70 * i), seed=i, seconds=4.0) for i in range(6)]
    assert "healthy recordings differ by 0.0" in can_show(apart)


def test_inspect_says_it_of_a_file(tmp_path, capsys):
    write_scope_csv(made(0.01, seconds=4.0), tmp_path / "0_a.csv")
    assert main(["inspect", str(tmp_path / "0_a.csv")]) == 0
    assert "smallest change of I-/I+ that stands out of one recording of 4 s" in capsys.readouterr().out
