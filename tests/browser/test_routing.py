"The routing room under a hand: map, drill-down, window, keys, states."

import json
from dataclasses import replace

import numpy as np
import pytest

from timemoe_lab.demo import small_run
from timemoe_lab.view.routing import RoutingPanel, Track, read_history, read_routing

pytestmark = pytest.mark.browser
TOP_K = 2


@pytest.fixture(scope="module")
def tracks():
    return read_routing(small_run())


def shares(counts):
    "The share of each expert, by layer, of counts (layer, expert)."
    return counts / counts.sum(axis=1, keepdims=True)


def assert_load(data, counts):
    "What the page says of the load is what the counts say."
    share = shares(counts)
    assert np.allclose(json.loads(data["load"]), share.ravel(), atol=1e-9)
    logs = np.log(np.where(share > 0, share, 1.0))
    assert np.allclose(json.loads(data["entropy"]), -(share * logs).sum(axis=1) / np.log(share.shape[1]), atol=1e-9)
    balance = [np.std(row) / np.mean(row) for row in counts]
    assert np.allclose(json.loads(data["balance"]), balance, atol=1e-9)
    tokens = counts.sum(axis=1, keepdims=True) / TOP_K
    assert json.loads(data["dead"]) == np.argwhere(counts / tokens < 0.01).tolist()


def in_window(track, window):
    "Bins whose middle lies in a window."
    n = track.count.shape[3]
    middle = (np.arange(n) + 0.5) * track.seconds / n
    return (middle >= window[0]) & (middle < window[1])


def cell(room, layer, expert):
    return room.panel().locator(".tm-routing-map table[role=grid] tbody tr").nth(layer).locator("button").nth(expert)


def sweep(room, canvas, start, end, y=0.6):
    "Drags over a canvas, from one share of its width to another."
    box = canvas.bounding_box()
    at = lambda share: (box["x"] + share * box["width"], box["y"] + y * box["height"])
    room.page.mouse.move(*at(start))
    room.page.mouse.down()
    for share in np.linspace(start, end, 8):
        room.page.mouse.move(*at(share))
    room.page.mouse.up()


def test_the_room_by_mouse_and_keys(open_room, tracks):
    room = open_room("92_routing", height=1600)
    room.run_all()
    panel = room.panel()
    panel.wait_for()
    names = [t.name for t in tracks]
    assert_load(room.data(), sum(t.count.sum(axis=(0, 3)) for t in tracks))
    here = names.index(room.data()["recording"])
    room.shot("routing_light", 0)

    cell(room, 1, 3).click()
    data = room.data()
    assert (data["layer"], data["expert"]) == ("1", "3")
    everything = shares(sum(t.count.sum(axis=(0, 3)) for t in tracks))
    assert np.isclose(float(data["share"]), everything[1, 3], atol=1e-9)
    assert panel.locator("[data-classes]").get_attribute("data-classes") == "1"
    room.page.keyboard.press("ArrowUp")
    room.page.keyboard.press("ArrowRight")
    room.page.keyboard.press("Enter")
    assert (room.data()["layer"], room.data()["expert"]) == ("0", "4")

    panel.get_by_label("What is counted").select_option("recording")
    assert_load(room.data(), tracks[here].count.sum(axis=(0, 3)))
    canvas = panel.locator("canvas").first
    sweep(room, canvas, 0.4, 0.8)
    data = room.data()
    window = [float(s) for s in data["window"].split(",")]
    assert data["scope"] == "window" and 0 < window[0] < window[1] < tracks[here].seconds
    inside = tracks[here].count[..., in_window(tracks[here], window)]
    assert_load(data, inside.sum(axis=(0, 3)))
    panel.get_by_label("Channel").select_option("CH4")
    assert_load(room.data(), inside[3].sum(axis=2))
    room.shot("routing_window", 0)

    canvas.focus()
    room.page.keyboard.press("Escape")
    room.page.keyboard.press("ArrowRight")
    at = int(room.data()["cursor"])
    for key in ("Shift+ArrowLeft", "[", "Shift+ArrowRight", "]"):
        room.page.keyboard.press(key)
    data, step = room.data(), tracks[here].seconds / 240
    assert np.allclose([float(s) for s in data["window"].split(",")], [(at - 10) * step, (at + 1) * step], atol=1e-5)
    column = tracks[here].count[3, 0, :, at]
    assert np.allclose(json.loads(data["atCursor"]), column / column.sum(), atol=1e-9)
    for key in ("PageDown", "d", "n"):
        room.page.keyboard.press(key)
    data = room.data()
    assert (data["layer"], data["palette"], data["window"]) == ("1", "deviation", "")
    assert data["recording"] == names[min(here + 1, len(names) - 1)]
    room.shot("routing_deviation", 0)

    cells = int(room.kernel("from timemoe_lab.view.panel import Panel; print(sum(map(len, Panel._placed.values())))"))
    number = next(i for i, c in enumerate(_sources(room)) if c.startswith("panel = "))
    for _ in range(3):
        room.run_cell(number)
    panel.wait_for()
    room.page.wait_for_function("globalThis.timemoePanels.size == 1")
    assert int(room.kernel("print(sum(map(len, Panel._placed.values())))")) == cells
    room.stop_kernel()
    room.page.wait_for_function("document.querySelector('.tm-panel').dataset.kernel == 'gone'")
    cell(room, 0, 2).click()
    assert room.data()["expert"] == "2"  # still works


def _sources(room):
    cells = "Array.from(jupyterapp.shell.currentWidget.content.model.cells)"
    return room.page.evaluate(f"{cells}.map(c => c.sharedModel.getSource())")


@pytest.mark.parametrize("width, dark", [(1400, True), (480, True), (480, False)])
def test_a_saved_page_reads_in_every_width_and_theme(open_page, tracks, width, dark):
    panel = RoutingPanel(tracks=tracks, history=read_history(small_run()), threshold=0.9)
    room = open_page(panel.html(), width=width, dark=dark)
    assert room.data()["theme"] == ("dark" if dark else "light") and room.data()["kernel"] == "gone"
    cell(room, 1, 1).click()
    assert_load(room.data(), sum(t.count.sum(axis=(0, 3)) for t in tracks))
    assert room.panel().evaluate("node => node.scrollWidth <= node.clientWidth + 1"), "something sticks out"
    for summary in room.panel().locator("summary").all():
        summary.click()
    room.page.wait_for_function("document.querySelectorAll('.tm-table table').length == 3")
    room.shot(f"routing_{width}_{'dark' if dark else 'light'}", 0)


def test_states(open_page, tracks):
    room = open_page(RoutingPanel().html())
    assert "timemoe-lab train" in room.panel().inner_text() and room.data()["state"] == "empty"
    count = np.ones((1, 2, 4, 240), np.int32)
    count[0, 1, 2] = 0
    bare = Track("a.csv", count, 2.0, ("CH1",), ("",), np.zeros(240, np.uint8))
    room = open_page(RoutingPanel(tracks=[bare]).html())
    text = room.panel().inner_text()
    assert "layer 1 expert 2" in text and "No step of a training" in text
    assert json.loads(room.data()["dead"]) == [[1, 2]]
    assert room.panel().locator("canvas").count() == 1
    lost = np.full((1, 900), np.nan, np.float32)
    silent = replace(bare, signal=lost, score=lost[0], count=0 * count)
    room = open_page(RoutingPanel(tracks=[silent], threshold=1.0).html())
    assert json.loads(room.data()["load"]) == [None] * 8 and json.loads(room.data()["dead"]) == []


def test_everything_has_a_name(open_page, tracks):
    room = open_page(RoutingPanel(tracks=tracks).html())
    unnamed = """node => [...node.querySelectorAll("button, select, canvas")].filter(
        n => !(n.getAttribute("aria-label") || n.textContent.trim() || n.labels?.length)).map(n => n.outerHTML)"""
    assert room.panel().evaluate(unnamed) == []
    room.page.keyboard.press("Tab")
    reached = set()
    for _ in range(30):
        reached.add(
            room.page.evaluate(
                "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
            )
        )
        room.page.keyboard.press("Tab")
    words = ("Recording", "Channel", "What is counted", "Deviation from 1/E", "Experts of layer 0", "layer 0, expert 0")
    assert all(any(str(r).startswith(w) for r in reached) for w in words), reached
