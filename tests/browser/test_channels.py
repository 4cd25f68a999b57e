"The channels room under a hand: brush, ranking, physics, keys, states."

import json
from dataclasses import replace

import numpy as np
import pytest

from timemoe_lab.demo import small_run
from timemoe_lab.detect.score import Scores
from timemoe_lab.view.channels import ChannelPanel, Scene, read_scene

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def scene() -> Scene:
    return read_scene(small_run())


def assert_ranking(data, scene, recording, window):
    "What the page says of the channels is what the raw scores say."
    scores, t = scene.score(recording), np.arange(recording.n_samples) / recording.fs
    inside = (t >= window[0] - 1e-9) & (t < window[1] - 1e-9) if window else np.ones(len(t), bool)
    factor = scene.scorer.run.config.data.decimation(recording.fs)
    inside &= np.arange(len(t)) % factor == 0  # scores come at the model's rate
    mean = [float(np.mean(row[inside & np.isfinite(row)])) for row in scores.channel_score]
    assert np.allclose(json.loads(data["mean"]), mean, rtol=1e-5)
    assert np.allclose(json.loads(data["share"]), np.array(mean) / sum(mean), rtol=1e-5)
    names = sorted(zip(mean, recording.channels), reverse=True)
    assert json.loads(data["order"]) == [name for _, name in names]
    a, b = scene.weights
    parts = [(a * np.nanmean(x[inside]), b * np.nanmean(y[inside])) for x, y in zip(scores.l1, scores.l2)]
    assert np.allclose(json.loads(data["l1"]), [x / (x + y) for x, y in parts], rtol=1e-5)


def amplitude(x, fs, hz):
    "The height of a sine at a frequency, under a Hann window, by summing."
    taper = np.hanning(len(x) + 2)[1:-1]
    x = x - np.average(x, weights=taper)
    return 2 * abs(np.sum(taper * x * np.exp(-2j * np.pi * hz * np.arange(len(x)) / fs))) / taper.sum()


def assert_physics(data, recording, window):
    "Marks by their formula, heights by summing sines."
    supply, slip = float(data["supply"]), float(data["slip"])
    marks = json.loads(data["marks"])
    wanted = [k * supply for k in (1, 2, 3, 5, 7)]
    wanted += [abs(k + sign * n * (1 - slip) / 2) * supply for k in (1, 3) for n in (1, 2, 3) for sign in (-1, 1)]
    assert np.allclose([hz for _, hz in marks], wanted)
    part = slice(*(round(s * recording.fs) for s in window)) if window else slice(None)
    x = recording.signal[recording.channels.index(data["channel"]), part].astype(float)
    heights = [amplitude(x, recording.fs, hz) for hz in wanted]
    assert np.allclose(json.loads(data["lines"]), heights, rtol=0.06, atol=0.02 * max(heights))
    high = json.loads(data["high"])
    assert json.loads(data["above"]) == [i for i, v in enumerate(json.loads(data["lines"])) if v > high[i]]


def sweep(room, canvas, start, end):
    "Drags over a canvas, from one share of its width to another."
    box = canvas.bounding_box()
    at = lambda share: (box["x"] + share * box["width"], box["y"] + box["height"] / 2)
    room.page.mouse.move(*at(start))
    room.page.mouse.down()
    for share in np.linspace(start, end, 8):
        room.page.mouse.move(*at(share))
    room.page.mouse.up()


def wait(room, script):
    room.page.wait_for_function(f"document.querySelector('.tm-panel').dataset.{script}", timeout=30_000)


def test_the_room_by_mouse_and_keys(open_room, scene):
    room = open_room("93_channels", height=1500)
    room.run_all()
    panel = room.panel()
    panel.wait_for()
    data = room.data()
    known = {r.name: r for r in scene.recordings}
    here = known[data["recording"]]
    assert_ranking(data, scene, here, ())
    assert_physics(data, here, ())
    assert int(data["healthy"]) > 0 and data["kernel"] == "alive"
    room.shot("channels_light", 0)

    sweep(room, panel.locator("canvas").nth(1), 0.4, 0.85)
    window = [float(s) for s in room.data()["window"].split(",")]
    assert 0 < window[0] < window[1] < here.n_samples / here.fs
    wait(room, f"physicsWindow == '{room.data()['window']}'")
    assert_ranking(room.data(), scene, here, window)
    assert_physics(room.data(), here, window)
    first, second = json.loads(room.data()["order"])[:2]
    assert panel.locator(".tm-channels-rows > div").first.get_attribute("data-channel") == first
    panel.get_by_role("button", name=f"2. {second}").click()
    assert room.data()["channel"] == second
    assert_physics(room.data(), here, window)
    zoom = panel.get_by_role("button", name="Zoom to window")
    zoom.click()
    assert room.data()["zoomed"] == zoom.get_attribute("aria-pressed") == "true"
    room.shot("channels_window", 0)

    canvas = panel.locator("canvas").first
    canvas.focus()
    room.page.keyboard.press("Escape")
    assert room.data()["window"] == "" and room.data()["zoomed"] == "false"
    for key in ("ArrowLeft", "[", "Shift+ArrowRight", "Shift+ArrowRight", "]", "Enter", "z"):
        room.page.keyboard.press(key)
    length = here.n_samples / here.fs
    window = [float(s) for s in room.data()["window"].split(",")]
    assert np.isclose(window[1] - window[0], 20 * length / 200) and room.data()["zoomed"] == "true"
    assert np.isclose(float(room.data()["cursor"]), window[1])
    score = scene.score(here).score[int(float(room.data()["cursor"]) * here.fs)]
    assert np.isclose(float(room.data()["score"]), score, rtol=1e-5)
    assert panel.locator(".tm-tip.tm-pinned").is_visible()
    room.page.keyboard.press("Escape")
    assert not panel.locator(".tm-tip").is_visible()
    ranked = json.loads(room.data()["order"])
    down = "ArrowDown" if ranked.index(second) + 1 < len(ranked) else "ArrowUp"
    room.page.keyboard.press(down)
    assert abs(ranked.index(room.data()["channel"]) - ranked.index(second)) == 1

    names = list(known)
    other = names[names.index(here.name) - 1]
    panel.get_by_label("Recording", exact=True).select_option(other)
    wait(room, f"recording == '{other}'")
    assert_ranking(room.data(), scene, known[other], ())
    number = next(i for i, c in enumerate(_sources(room)) if c.startswith("panel = "))
    for _ in range(2):
        room.run_cell(number)
    room.page.wait_for_function("globalThis.timemoePanels.size == 1")
    room.stop_kernel()
    wait(room, "kernel == 'gone'")
    sweep(room, panel.locator("canvas").nth(1), 0.4, 0.85)
    window = [float(s) for s in room.data()["window"].split(",")]
    assert_ranking(room.data(), scene, known[room.data()["recording"]], window)
    assert "no kernel" in panel.locator(".tm-channels-basis").inner_text()


def _sources(room):
    cells = "Array.from(jupyterapp.shell.currentWidget.content.model.cells)"
    return room.page.evaluate(f"{cells}.map(c => c.sharedModel.getSource())")


LINKED = """
from timemoe_lab.demo import small_run
from timemoe_lab.view.panel import link
from timemoe_lab.view.channels import ChannelPanel
from timemoe_lab.view.routing import RoutingPanel
from IPython.display import display
run = small_run()
channels, routing = ChannelPanel(run), RoutingPanel(run)
link(channels, routing)
display(channels, routing)
"""


def test_linked_panels_share_one_hand(open_room):
    room = open_room(cells=[LINKED], height=1800)
    room.run_all()
    room.page.wait_for_function("globalThis.timemoePanels?.size == 2")
    sweep(room, room.panel(0).locator("canvas").nth(1), 0.4, 0.8)
    assert room.data(0)["window"] == room.data(1)["window"] != ""
    room.panel(0).get_by_role("button", name="2. ").click()
    assert room.data(0)["channel"] == room.data(1)["channel"] != ""
    room.panel(1).locator("canvas").first.focus()
    room.page.keyboard.press("n")
    chosen = room.data(1)["recording"]
    room.page.wait_for_function(f"document.querySelector('.tm-panel').dataset.recording == '{chosen}'", timeout=30_000)
    assert room.data(0)["window"] == room.data(1)["window"] == ""


@pytest.mark.parametrize("width, dark", [(1400, True), (480, True), (480, False)])
def test_a_saved_page_reads_in_every_width_and_theme(open_page, width, dark):
    room = open_page(ChannelPanel(small_run()).html(), width=width, dark=dark)
    assert room.data()["theme"] == ("dark" if dark else "light") and room.data()["kernel"] == "gone"
    for summary in room.panel().locator("summary").all():
        summary.click()
    room.page.wait_for_function("document.querySelectorAll('.tm-table table').length == 4")
    assert room.panel().evaluate("node => node.scrollWidth <= node.clientWidth + 1"), "something sticks out"
    room.shot(f"channels_{width}_{'dark' if dark else 'light'}", 0)


def test_states(open_page, scene):
    text = lambda room: room.panel().inner_text()
    room = open_page(ChannelPanel().html())
    assert "timemoe-lab train" in text(room) and room.data()["state"] == "empty"
    here = scene.recordings[0]
    room = open_page(ChannelPanel(recordings=[replace(here, class_id=None)]).html())
    assert room.data()["state"] == "unscored" and "without scores" in text(room) and "No label" in text(room)
    assert "no healthy recording" in text(room) and "order" not in room.data()
    full, fs = scene.score(here), here.fs
    signal, rows = here.signal.copy(), full.channel_score.copy()
    signal[1, 100:300], signal[2], rows[2] = np.nan, np.nan, np.nan
    lost = Scores(full.score, rows, full.l1, full.l2, 1.0, full.series)
    lame = replace(here, signal=signal)
    panel = ChannelPanel(recordings=[lame], scores={here.name: lost}, threshold=1.0)
    room = open_page(panel.html())
    assert "200 of" in text(room) and json.loads(room.data()["mean"])[2] is None
    assert json.loads(room.data()["order"])[-1] == here.channels[2] and room.data()["supply"] == ""
    assert "no lines are marked" in text(room) and fs > 0


def test_a_masked_channel_says_so(open_page, scene):
    here = scene.recordings[0]
    panel = ChannelPanel(small_run())
    facts, arrays = panel.saved()
    rows = np.frombuffer(arrays["channel_score"]["data"], "<f4").reshape(arrays["channel_score"]["shape"]).copy()
    rows[1] = np.nan
    panel.arrays = arrays | {"channel_score": arrays["channel_score"] | {"data": rows.tobytes()}}
    panel.facts = facts | {"masked": [False, True, False, False]}
    room = open_page(panel.html())
    assert "masked: takes no part" in room.panel().locator(f"tr[data-channel={here.channels[1]}]").inner_text()
    assert json.loads(room.data()["order"])[-1] == here.channels[1]
