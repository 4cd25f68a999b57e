"The walkthrough under a hand: ten cells, three panels with one state, and the file at the end of it."

import io
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.run.folder import RunFolder
from timemoe_lab.view.routing import read_routing

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
LINE, CHANNELS, ROUTING = range(3)  # the panels, from above
CELLS = "Array.from(jupyterapp.shell.currentWidget.content.model.cells)"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    "Where store and run are made; a room that is opened later takes them up."
    return tmp_path_factory.mktemp("walk")


@pytest.fixture
def open_walk(open_room, lab, out):
    "The walkthrough, run to its end."

    def open_walk(**how):
        sample = lab.folder.parent / "data" / "sample"
        sample.parent.mkdir(exist_ok=True)
        if not sample.exists():
            sample.symlink_to(ROOT / "data" / "sample")
        room = open_room("90_walkthrough", **how)
        script = f"""out => {{ const cell = {CELLS}.find(c => c.sharedModel.source.includes("OUT = Path(mkdtemp())"));
            cell.sharedModel.source = cell.sharedModel.source.replace("Path(mkdtemp())", `Path("${{out}}")`); }}"""
        room.page.evaluate(script, str(out))
        room.run_all()
        room.page.wait_for_function("globalThis.timemoePanels?.size == 3")
        return room

    return open_walk


def sweep(room, canvas, start, end, y=0.5):
    "Drags over a canvas, from one share of its width to another."
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    at = lambda share: (box["x"] + share * box["width"], box["y"] + y * box["height"])
    room.page.mouse.move(*at(start))
    room.page.mouse.down()
    for share in np.linspace(start, end, 8):
        room.page.mouse.move(*at(share))
    room.page.mouse.up()


def thresholds(room):
    return [float(room.data(i)["threshold"]) for i in range(3)]


def settled(room, found):
    "Waits until the panels agree: a link answers in the browser, but not in the same moment."
    end = time.monotonic() + 10
    while not found() and time.monotonic() < end:
        room.page.wait_for_timeout(50)
    assert found()


def cell_of(room, beginning):
    "The position of the cell with a line that begins like this."
    sources = room.page.evaluate(f"{CELLS}.map(c => c.sharedModel.source)")
    return next(i for i, s in enumerate(sources) if any(row.startswith(beginning) for row in s.splitlines()))


def test_the_walk_ends_in_an_operating_point(open_walk, out, record_property):
    room = open_walk(height=1200)
    assert [room.data(i)["kernel"] for i in range(3)] == ["alive"] * 3
    chosen = json.loads((out / "run" / "operating_point.json").read_text())["before"]["threshold"]
    assert thresholds(room) == [chosen] * 3
    for name, i in (("line", LINE), ("channels", CHANNELS), ("routing", ROUTING)):
        room.shot(f"walk_{name}_light", i)
        assert all(map(is_coloured, room.panel(i).locator("canvas").all())), f"{name}: drawn before it was in the page"
    room.panel(LINE).scroll_into_view_if_needed()
    room.shot("walk_page_light")

    room.keep_busy()  # what follows needs no kernel
    sweep(room, room.panel(LINE).locator(".tm-curves canvas"), 0.4, 0.55)
    settled(room, lambda: len(set(thresholds(room))) == 1 and thresholds(room)[0] != chosen)
    sweep(room, room.panel(CHANNELS).locator("canvas").nth(1), 0.3, 0.6)
    window = room.data(CHANNELS)["window"]
    start, end = map(float, window.split(","))
    assert 0 < start < end < 1
    settled(room, lambda: room.data(ROUTING)["window"] == window and room.data(LINE)["window"] != "")
    room.panel(ROUTING).get_by_label("What is counted").select_option("window")
    assert room.data(ROUTING)["recording"] == room.data(CHANNELS)["recording"]
    tracks = {t.name: t for t in read_routing(RunFolder(out / "run"))}
    track = tracks[room.data(ROUTING)["recording"]]
    middle = (np.arange(track.count.shape[3]) + 0.5) * track.seconds / track.count.shape[3]
    count = track.count[..., (middle >= start) & (middle < end)].sum(axis=(0, 3))
    load = json.loads(room.data(ROUTING)["load"])
    assert np.allclose(load, (count / count.sum(axis=1, keepdims=True)).ravel(), atol=1e-9)
    samples = [int(v) for v in room.data(LINE)["window"].split(",")]  # of all recordings end to end
    assert samples[1] - samples[0] == pytest.approx((end - start) * 10_000, abs=1)
    assert samples[0] % 10_000 == pytest.approx(start * 10_000, abs=1)
    for name, i in (("line", LINE), ("channels", CHANNELS), ("routing", ROUTING)):
        room.shot(f"walk_{name}_window", i)
    room.let_go()

    moved = thresholds(room)[0]
    room.run_cell(cell_of(room, "point = export_point"))
    assert_exported(out / "run", moved, "panel's cell")
    room.panel(LINE).locator(".tm-curves canvas").focus()
    for key in ("]", "]", "e"):
        room.page.keyboard.press(key)
    asked = "[...document.querySelectorAll('.tm-message')].some(m => m.textContent.includes('again to confirm'))"
    room.page.wait_for_function(asked)
    room.page.keyboard.press("e")
    room.page.wait_for_function("[...timemoePanels].some(root => root.dataset.exported)")
    assert thresholds(room)[0] > moved
    assert_exported(out / "run", thresholds(room)[0], "panel")
    for name, beginning in (("threshold", "line = "), ("channels and routing", "channels, routing = ")):
        record_property(f"first paint, {name}, s", first_paint(room, beginning))


def is_coloured(canvas):
    "Whether some pixel of a canvas is blue, orange or green, and not grey."
    script = """canvas => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.some((v, i) => i % 4 === 0 && data[i + 3] && Math.abs(v - data[i + 2]) > 60);
    }"""
    return canvas.evaluate(script)


def assert_exported(run, threshold, what):
    "The file says this threshold, and what scores takes it from there."
    point = json.loads((run / "operating_point.json").read_text())
    assert point["threshold"] == threshold == open_scorer(run).point.threshold, what
    assert point["author"] == "panel" and RunFolder(run).events("decision")[-1].values["new"] == threshold


def first_paint(room, beginning):
    "Seconds from the start of a cell to its panels, and prints them."
    room.page.evaluate("timemoePanels.forEach(root => { root.dataset.old = 1 })")
    began = time.perf_counter()
    room.run_cell(cell_of(room, beginning))
    room.page.wait_for_selector(".tm-panel:not([data-old]) canvas")
    took = time.perf_counter() - began
    print(f"first paint, {beginning.partition(' =')[0]}: {took:.2f} s after the cell's start, its Python included")
    return took


FOCUS = """() => {
    const root = document.activeElement.closest(".tm-panel");
    return root ? [...document.querySelectorAll(".tm-panel")].indexOf(root) : -1;
}"""


def test_keys_alone_reach_every_panel_in_a_dark_and_narrow_window(open_walk, out):
    "Taken up from the folder of the other test, where it ran before."
    room = open_walk(width=600, height=1800, dark=True)
    assert all(room.data(i)["theme"] == "dark" for i in range(3))
    for i, beginning in ((LINE, "line = "), (ROUTING, "channels, routing = "), (CHANNELS, "channels, routing = ")):
        room.page.evaluate(
            f"i => {{ {CELLS[11:].partition('.model')[0]}.activeCellIndex = i }}", cell_of(room, beginning)
        )
        room.page.keyboard.press("Escape")
        seen = []
        while i not in seen and len(seen) < 150:
            room.page.keyboard.press("Tab")
            seen.append(room.page.evaluate(FOCUS))
        assert i in seen, f"panel {i}: not within {len(seen)} presses of Tab"
    for name, i in (("line", LINE), ("channels", CHANNELS), ("routing", ROUTING)):
        assert room.panel(i).evaluate("node => node.scrollWidth <= node.clientWidth + 1"), f"{name} sticks out"
        room.shot(f"walk_{name}_dark", i)
    room.shot("walk_page_dark")


# The README's pictures

PANELS = """
from IPython.display import display
from timemoe_lab.demo import small_run
from timemoe_lab.view.channels import ChannelPanel
from timemoe_lab.view.routing import RoutingPanel
from timemoe_lab.view.threshold import ThresholdPanel
run = small_run()
display(ThresholdPanel(run), ChannelPanel(run), RoutingPanel(run))
"""


def picture(room, i, path):
    "Saves a panel in few colours, without what follows the mouse."
    room.page.mouse.move(1, 1)
    room.page.evaluate("document.activeElement.blur()")
    seen = Image.open(io.BytesIO(room.panel(i).screenshot())).convert("RGB")
    seen.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size < 250_000 and 1100 < seen.width <= 1250


def test_pictures_for_the_readme(open_room, tmp_path):
    "PICTURES=docs pytest tests/browser/test_walkthrough.py -k readme draws docs/threshold.png and its neighbours anew."
    folder = Path(os.environ.get("PICTURES", tmp_path))
    room = open_room(cells=[PANELS], height=1400)
    room.run_all()
    room.page.wait_for_function("globalThis.timemoePanels?.size == 3")
    sweep(room, room.panel(LINE).locator(".tm-timeline canvas"), 0.82, 0.97)
    room.panel(LINE).locator(".tm-curves canvas").focus()
    room.page.keyboard.press("m")
    picture(room, LINE, folder / "threshold.png")
    sweep(room, room.panel(CHANNELS).locator("canvas").nth(1), 0.2, 0.8)
    room.page.wait_for_function("[...timemoePanels].some(n => n.dataset.in == 'window' && n.dataset.physicsWindow)")
    picture(room, CHANNELS, folder / "channels.png")
    room.panel(ROUTING).locator(".tm-routing-map table[role=grid] tbody tr").nth(1).locator("button").nth(3).click()
    sweep(room, room.panel(ROUTING).locator("canvas").first, 0.2, 0.8)
    picture(room, ROUTING, folder / "routing.png")
