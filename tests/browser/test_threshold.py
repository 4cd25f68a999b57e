"The threshold panel under a hand: mouse and keys, in JupyterLab and in a saved page."

import json
import shutil
import statistics
import time

import numpy as np
import pytest
from conftest import rewrite

from timemoe_lab.agent.heartbeat import read_beat
from timemoe_lab.demo import small_run
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.files import InputError
from timemoe_lab.run.folder import RunFolder
from timemoe_lab.view.report import write_report
from timemoe_lab.view.threshold import ThresholdPanel

from .latency import follow

pytestmark = pytest.mark.browser
N = 1_000_000
MILLION = f"""
import numpy as np
from timemoe_lab.view.panel import Panel
from timemoe_lab.view.threshold import ThresholdPanel
generator = np.random.default_rng(7)
faulty = np.arange({N}) % 50_000 > 42_000
score = (generator.gamma(2.0, 1.0, {N}) + 3 * faulty).astype(np.float32)
score[1000:1500] = np.nan
panel = ThresholdPanel(score=score, label=faulty, fs=1000.0, title="a million", out="point/operating_point.json",
                       points={{"three": 3.0}})
panel
"""
TEN_THOUSAND = """
few = ThresholdPanel(score=score[::100], label=faulty[::100], fs=10.0, title="ten thousand", points={"three": 3.0})
few
"""


@pytest.fixture
def small(tmp_path):
    "A copy of the small run, to be written into."
    return shutil.copytree(small_run().path, tmp_path / "small")


def read_scores(run):
    "Scores and labels of calibration and validation, without what lies within 50 ms of a fault's edge."
    point = json.loads((run / "operating_point.json").read_text())
    found, parts = read_beat(next((run / "checkpoints").glob(f"{point['checkpoint']}_*"))), []
    for r in found:
        edges = np.flatnonzero(r.label[1:] != r.label[:-1]) + 1
        far = np.ones(len(r.label), bool)
        for edge in edges:
            far[edge - 500 : edge + 500] = False  # 50 ms at 10 kHz
        parts.append((r.score[far], r.label[far]))
    return [np.concatenate(p) for p in zip(*parts)]


@pytest.fixture(scope="module")
def million():
    generator = np.random.default_rng(7)
    faulty = np.arange(N) % 50_000 > 42_000
    score = (generator.gamma(2.0, 1.0, N) + 3 * faulty).astype(np.float32)
    score[1000:1500] = np.nan
    return score, faulty


def counted(score, label, threshold):
    "TP, FP, FN, TN without the lab's own code."
    known = np.isfinite(score)
    alarm, faulty = score[known] >= np.float32(threshold), label[known]
    cells = (alarm & faulty, alarm & ~faulty, ~alarm & faulty, ~alarm & ~faulty)
    return [int(cell.sum()) for cell in cells]


def f_of(score, label, threshold, beta=0.5):
    tp, fp, fn, _ = counted(score, label, threshold)
    return (1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * fn + fp)


def assert_counts(data, score, label):
    "What the page says is what the samples say."
    threshold = float(data["threshold"])
    tp, fp, fn, tn = counted(score, label, threshold)
    assert [int(data[k]) for k in ("tp", "fp", "fn", "tn")] == [tp, fp, fn, tn]
    weight = float(data["beta"]) ** 2
    assert np.isclose(float(data["precision"]), tp / (tp + fp), rtol=1e-12)
    assert np.isclose(float(data["recall"]), tp / (tp + fn), rtol=1e-12)
    assert np.isclose(float(data["fbeta"]), (1 + weight) * tp / ((1 + weight) * tp + weight * fn + fp), rtol=1e-12)


def log_latency(record, name, times):
    "Notes the latencies of labels and frames; the median of the frames, in ms."
    for kind, values in zip(("labels", "painted"), times):
        ranked = sorted(values)
        middle, late = statistics.median(ranked), ranked[int(0.95 * len(ranked))]
        record(f"{name} {kind} ms", f"median {middle:.1f}, p95 {late:.1f}")
        print(f"latency, {name}, {kind}: median {middle:.1f} ms, p95 {late:.1f} ms of {len(ranked)} moves")
    return middle


def drag(room, start, end, where=".tm-curves canvas", y=60):
    "Presses at one pixel of a canvas and lets go at another."
    box = room.page.locator(where).first.bounding_box()
    room.page.mouse.move(box["x"] + start, box["y"] + y)
    room.page.mouse.down()
    room.page.mouse.move(box["x"] + (start + end) / 2, box["y"] + y)
    room.page.mouse.move(box["x"] + end, box["y"] + y)
    room.page.mouse.up()


def upper(room, i=0):
    "The upper picture of a panel."
    return room.panel(i).locator(".tm-curves canvas")


def press(room, *names):
    "Presses keys on the upper picture; what the page says then."
    upper(room).focus()
    for name in names:
        room.page.keyboard.press(name)
    return room.data()


# In JupyterLab


def test_a_million_points_follow_a_hand(open_room, million, record_property):
    score, label = million
    room = open_room(cells=[MILLION, TEN_THOUSAND])
    room.run_cell(0)
    room.panel().evaluate("node => { node.dataset.old = 1 }")
    began = time.perf_counter()
    room.run_cell(0)
    room.page.wait_for_selector(".tm-panel[data-ready]:not([data-old])")
    print(
        f"first paint, JupyterLab, 1M: {time.perf_counter() - began:.2f} s after the cell's start, its NumPy included"
    )
    assert room.data()["threshold"] == "3" and room.data()["unscored"] == "500"
    assert_counts(room.data(), score, label)
    many = log_latency(record_property, "JupyterLab, 1M", follow(room.page, upper(room)))
    room.shot("threshold_million", 0)
    moved = room.data()
    assert_counts(moved, score, label)
    room.wait_idle()
    assert float(room.kernel("print(panel.threshold)")) == float(moved["threshold"])  # Python hears of it
    assert int(room.kernel("print(int((score[faulty & np.isfinite(score)] >= panel.threshold).sum()))")) == int(
        moved["tp"]
    )

    room.keep_busy()  # the hand goes on
    drag(room, 500, 560)
    busy = room.data()
    assert busy["threshold"] != moved["threshold"] and busy["kernel"] == "alive"
    assert_counts(busy, score, label)
    assert room.is_busy()
    room.let_go()
    assert float(room.kernel("print(panel.threshold)")) == float(busy["threshold"])

    best = press(room, "m")
    others = [f_of(score, label, t) for t in np.quantile(score[label], np.linspace(0, 1, 60))]
    assert_counts(best, score, label)
    assert float(best["fbeta"]) >= max(others)
    room.page.get_by_role("button", name="three").click()
    assert room.data()["threshold"] == "3"

    room.run_cell(1)
    room.panel(1).and_(room.page.locator("[data-ready]")).wait_for()
    few = log_latency(record_property, "JupyterLab, 10k", follow(room.page, upper(room, 1)))
    assert_counts(room.data(1), score[::100], label[::100])
    assert many <= 3 * few


def test_room_91_from_the_picture_to_the_exported_point(open_room, small, tmp_path):
    room = open_room("91_threshold")
    room.page.evaluate(
        """path => { const cell = Array.from(jupyterapp.shell.currentWidget.content.model.cells)
                       .find(c => c.sharedModel.source.startsWith("RUN = None"));
                     cell.sharedModel.source = cell.sharedModel.source.replace("RUN = None", `RUN = "${path}"`); }""",
        str(small),
    )
    room.run_all()
    room.panel().scroll_into_view_if_needed()
    room.shot("room_21")
    found = read_scores(small)
    assert_counts(room.data(), *found)

    before = json.loads((small / "operating_point.json").read_text())
    press(room, "]", "]", "e")
    room.page.wait_for_function("document.querySelector('.tm-message').textContent.includes('again to confirm')")
    told = room.page.locator(".tm-message").first.inner_text()
    assert f"replaces {before['threshold']:.4g} (calibration)" in told
    assert json.loads((small / "operating_point.json").read_text()) == before
    chosen = press(room, "e")
    room.page.wait_for_function("document.querySelector('.tm-panel').dataset.exported")
    after = json.loads((small / "operating_point.json").read_text())
    assert after["threshold"] == float(chosen["threshold"]) == after["rows"][after["mode"]]["point"]
    assert after["threshold"] != before["threshold"] and after["author"] == "panel" and "by hand" in after["metric"]
    assert [after["confusion"][k] for k in ("tp", "fp", "fn", "tn")] == counted(*found, after["threshold"])
    assert after["event"]["on"] == after["threshold"]  # events follow the hand, and keep how far off lies below on
    assert after["event"]["off"] / after["event"]["on"] == pytest.approx(0.8)
    assert after["event"]["minimum_s"] == before["event"]["minimum_s"]
    kept = set(before) - {"threshold", "metric", "split", "confusion", "rows", "event", "seal"}
    assert {k: after[k] for k in kept} == {k: before[k] for k in kept}
    assert str(small / "operating_point.json") in room.page.locator(".tm-message").first.inner_text()
    assert open_scorer(small).point.threshold == after["threshold"]
    assert RunFolder(small).events("decision")[-1].values["new"] == after["threshold"]
    room.page.get_by_role("button", name="Undo").first.click()
    room.page.wait_for_function("document.querySelector('.tm-message').textContent.startsWith('back to')")
    assert open_scorer(small).point.threshold == before["threshold"]

    cell = room.page.evaluate(
        """Array.from(jupyterapp.shell.currentWidget.content.model.cells)
               .findIndex(c => c.sharedModel.source.startsWith("panel = "))"""
    )
    for _ in range(10):
        room.run_cell(cell)
    room.run_all()
    room.panel(1).wait_for()
    alive = "import gc, ipywidgets; from timemoe_lab.view.panel import Panel; gc.collect(); "
    alive += "print(sum(isinstance(w, Panel) for w in ipywidgets.widgets.widget._instances.values()))"
    assert room.kernel(alive).strip() == "3"  # two that are drawn, and the empty one of the last cell
    assert room.page.locator(".tm-panel").count() == room.page.evaluate("timemoePanels.size") == 2

    room.reload()
    room.panel(1).wait_for()
    assert_counts(room.data(), *found)
    assert room.page.evaluate("timemoePanels.size") == 2
    room.stop_kernel()
    room.page.wait_for_function("document.querySelector('.tm-panel').dataset.kernel == 'gone'")
    assert "display only" in room.panel().inner_text()
    assert room.page.get_by_role("button", name="Export (E)").first.is_disabled()
    drag(room, 200, 330)
    assert_counts(room.data(), *found)


LINKED = (
    MILLION.replace("    points", "    key='a', points")
    + """
from timemoe_lab.view.panel import link
other = ThresholdPanel(score=score[::10], label=faulty[::10], fs=100.0, key="b")
link(panel, other)
from ipywidgets import VBox
VBox([panel, other])
"""
)


def test_linked_panels_share_threshold_and_window_while_the_kernel_is_busy(open_room):
    room = open_room(cells=[LINKED], height=1700, dark=True)
    room.run_all()
    room.panel(1).wait_for()
    assert room.data(0)["threshold"] == room.data(1)["threshold"] == "3"
    room.keep_busy()
    drag(room, 500, 560)
    drag(room, 200, 400, ".tm-timeline canvas")
    first, second = room.data(0), room.data(1)
    assert first["threshold"] == second["threshold"] != "3"
    assert first["window"] and [int(v) // 10 for v in first["window"].split(",")] == pytest.approx(
        [int(v) for v in second["window"].split(",")], abs=1
    )
    assert room.is_busy()
    room.shot("threshold_linked_dark")
    room.let_go()
    room.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    room.page.wait_for_function("document.querySelector('.tm-panel').dataset.kernel == 'gone'")


# In a saved page: no kernel, no Jupyter


@pytest.fixture(scope="module")
def scores():
    "Two recordings of 5 s at 1 kHz with a fault each; some samples have no score."
    generator = np.random.default_rng(3)
    label = [np.zeros(5000, bool) for _ in range(2)]
    label[0][2000:3000] = label[1][3500:] = True
    score = [(generator.gamma(2.0, 1.0, 5000) + 4 * y).astype(np.float32) for y in label]
    score[0][100:160] = np.nan
    return score, label


def saved(**how):
    panel = ThresholdPanel(**({"fs": 1000.0, "points": {"four": 4.0}} | how))
    html = panel.html()
    panel.close()
    return html


def test_keys_move_the_threshold(open_page, scores):
    score, label = map(np.concatenate, scores)
    room = open_page(saved(score=scores[0], label=scores[1]))
    assert_counts(room.data(), score, label)
    known = np.unique(score[np.isfinite(score)])
    at = lambda *names: float(press(room, *names)["threshold"])
    start = 4.0
    assert at("ArrowRight") > start and at("ArrowLeft") == pytest.approx(start, rel=1e-4)
    one = at("ArrowUp") / start
    assert at("ArrowDown", "Shift+ArrowUp") / start == pytest.approx(one**10, rel=1e-3)  # a logarithmic axis
    assert at("Shift+ArrowDown") == pytest.approx(start, rel=1e-3)
    assert at("PageUp") / start == pytest.approx(one**25, rel=1e-3) and at("PageDown") == pytest.approx(start, rel=1e-3)
    assert at("Home") == known[0] and at("]") == known[1] and at("]") == known[2] and at("[") == known[1]
    assert at("End") == known[-1]
    over = press(room, "]")
    assert float(over["threshold"]) > known[-1] and over["tp"] == over["fp"] == "0" and over["precision"] == "undefined"
    assert at("[") == known[-1]
    best = press(room, "m")
    assert_counts(best, score, label)
    f = [f_of(score, label, t) for t in known]
    assert float(best["threshold"]) == known[np.flatnonzero(f == np.max(f))[-1]]
    slider = room.page.locator(".tm-curves canvas")
    assert slider.get_attribute("role") == "slider" and slider.get_attribute("aria-label")
    assert float(slider.get_attribute("aria-valuenow")) == float(best["threshold"])


def test_beta_and_base_rate(open_page, scores):
    score, label = map(np.concatenate, scores)
    room = open_page(saved(score=scores[0], label=scores[1]))
    before = room.data()
    assert before["baseRate"] == str(float(label[np.isfinite(score)].mean())) and before["plant"] == before["precision"]
    room.page.get_by_label("β").focus()
    room.page.keyboard.press("End")
    assert float(room.data()["beta"]) == 8
    assert_counts(room.data(), score, label)
    room.page.get_by_label("base rate").focus()
    room.page.keyboard.press("Home")
    after = room.data()
    tp, fp, fn, tn = counted(score, label, 4.0)
    hit, false = tp / (tp + fn) * 1e-5, fp / (fp + tn) * (1 - 1e-5)
    assert float(after["plant"]) == pytest.approx(hit / (hit + false)) and after["precision"] == before["precision"]
    room.shot("threshold_base_rate", 0)
    room.page.get_by_role("button", name="as scored").click()
    assert room.data()["plant"] == before["plant"]


def test_a_brushed_window_has_its_own_numbers(open_page, scores):
    score, label = map(np.concatenate, scores)
    room = open_page(saved(score=scores[0], label=scores[1]))
    top = room.page.locator(".tm-timeline canvas").bounding_box()["y"]
    drag(room, 300, 700, ".tm-timeline canvas")
    data = room.data()
    start, end = map(int, data["window"].split(","))
    assert 0 < start < end < len(score)
    assert [int(data[f"window{k}"]) for k in ("Tp", "Fp", "Fn", "Tn")] == counted(
        score[start:end], label[start:end], 4.0
    )
    assert_counts(data, score, label)  # those of all samples stay
    assert room.page.locator(".tm-timeline canvas").bounding_box()["y"] == top  # nothing jumps under the hand
    room.shot("threshold_window", 0)
    room.page.keyboard.press("ArrowRight")
    assert room.data()["window"] == f"{start + 50},{end + 50}"
    room.page.keyboard.press("Shift+ArrowLeft")
    assert room.data()["window"] == f"{start + 50},{end}"
    drag(room, 800, 1000, ".tm-timeline canvas")  # in the second recording alone
    start, end = map(int, room.data()["window"].split(","))
    assert 5000 < start < end < 10_000
    assert [int(room.data()[f"window{k}"]) for k in ("Tp", "Fn")] == counted(score[start:end], label[start:end], 4.0)[
        ::2
    ]
    room.page.keyboard.press("Escape")
    assert room.data()["window"] == "" and room.data()["windowTp"] == ""


def test_false_alarms_and_delay(open_page, scores):
    room = open_page(saved(score=scores[0], label=scores[1], points={"nine": 9.0}))
    data, starts, healthy, delays = room.data(), 0, 0, []
    for score, label in zip(*scores):
        before = False
        for s, faulty in zip(score.tolist(), label.tolist()):
            if np.isnan(s):
                continue
            alarm = not faulty and s >= 9.0
            starts, healthy, before = starts + (alarm and not before), healthy + (not faulty), alarm
        first = np.flatnonzero(label)[0]
        delays.append(np.flatnonzero(score[first:] >= 9.0)[0] / 1000)
    assert float(data["alarmsPerDay"]) == pytest.approx(starts / (healthy / 1000 / 86400))
    assert starts and np.median(delays) > 0
    assert float(data["delay"]) == pytest.approx(np.median(delays)) and data["found"] == "2"


def test_a_note_follows_the_pointer_and_a_click_pins_it(open_page, scores):
    room = open_page(saved(score=scores[0], label=scores[1]))
    canvas, tip = room.page.locator(".tm-timeline canvas"), room.page.locator(".tm-tip")
    assert tip.is_hidden()
    canvas.hover(position={"x": 400, "y": 60})
    assert all(word in tip.inner_text() for word in ("recording 1", "score", "margin", "label"))
    canvas.click(position={"x": 400, "y": 60})
    text = tip.inner_text()
    canvas.hover(position={"x": 800, "y": 60})
    assert tip.inner_text() == text and tip.is_visible()
    room.shot("threshold_pinned", 0)
    canvas.click(position={"x": 800, "y": 60})
    assert tip.is_hidden() and room.data()["window"] == ""


def test_a_threshold_from_elsewhere_may_lie_outside_of_the_axis(open_page, scores):
    panel = ThresholdPanel(score=scores[0], label=scores[1], fs=1000.0)
    panel.threshold, panel.recording, panel.window = -3.0, "of another panel", [0.0, 1.0]
    room = open_page(panel.html())
    data = room.data()
    assert data["fn"] == data["tn"] == "0" and data["window"] == ""
    assert 0 < float(press(room, "ArrowRight")["threshold"]) < 0.1  # the line comes back at the axis's end
    assert_counts(room.data(), *map(np.concatenate, scores))


def test_help_opens_and_closes_by_keys(open_page, scores):
    room = open_page(saved(score=scores[0], label=scores[1]))
    press(room, "?")
    box = room.page.get_by_role("dialog")
    assert box.is_visible() and "the next score that changes the matrix" in box.inner_text()
    room.shot("threshold_help", 0)
    room.page.keyboard.press("Escape")
    assert box.is_hidden()
    assert room.page.evaluate("document.activeElement.getAttribute('role')") == "slider"  # where the focus was


def test_the_keyboard_alone_reaches_everything(open_page, scores):
    room = open_page(saved(score=scores[0], label=scores[1]))
    reached = set()
    for _ in range(14):
        room.page.keyboard.press("Tab")
        script = """() => { const at = document.activeElement, style = getComputedStyle(at);
            const name = at.ariaLabel || at.textContent;
            return [at.tagName, name, style.outlineStyle, at.dataset.lmSuppressShortcuts]; }"""
        tag, name, outline, suppressed = room.page.evaluate(script)
        if tag != "BODY":
            reached.add(name.split(":")[0])
            assert outline != "none" and suppressed == "true", name
    wanted = {"Help", "Histogram and curves; the threshold", "β", "base rate", "as scored", "four 4", "best F0.5 (M)"}
    assert wanted <= reached and {"Score over time; drag to brush a window", "Table"} <= reached


def contrast(a, b):
    "As WCAG defines it, of two colours as lists of 0 to 255."
    light = []
    for colour in (a, b):
        c = np.array(colour[:3]) / 255
        c = np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        light.append(float(c @ [0.2126, 0.7152, 0.0722]))
    return (max(light) + 0.05) / (min(light) + 0.05)


TEXTS = """() => {  // every text with its own colour and the colour behind it
    const see = value => (value.match(/[\\d.]+/g) || []).map(Number);
    const clear = node => (see(getComputedStyle(node).backgroundColor)[3] ?? 1) === 0;
    const shown = node => node.offsetParent && node.firstChild?.nodeType === 3 && node.firstChild.data.trim();
    return [...document.querySelectorAll(".tm-panel *")].filter(node => shown(node) && !node.disabled).map(node => {
        let behind = node;
        while (behind && clear(behind)) behind = behind.parentElement;
        const page = getComputedStyle(behind ?? document.body).backgroundColor;
        return [node.textContent, see(getComputedStyle(node).color), see(page)];
    });
}"""
TONES = """names => {
    const root = document.querySelector(".tm-panel"), probe = root.appendChild(document.createElement("i"));
    return Object.fromEntries(names.map(name => {
        probe.style.color = getComputedStyle(root).getPropertyValue("--tm-" + name);
        return [name, getComputedStyle(probe).color.match(/[\\d.]+/g).map(Number)];
    }));
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_lines_stand_out_in_both_themes(open_page, scores, dark):
    html = saved(score=scores[0], label=scores[1], split="test", title="a run")
    room = open_page(html, dark=dark)
    assert room.data()["theme"] == ("dark" if dark else "light")
    found = room.page.evaluate(TEXTS)
    assert len(found) > 20
    assert not [(text, ink, page) for text, ink, page in found if contrast(ink, page) < 4.5]
    lines = ["normal", "anomaly", "fbeta", "precision", "recall", "threshold", "line"]
    tone = room.page.evaluate(TONES, ["page", *lines])
    assert not [name for name in lines if contrast(tone[name], tone["page"]) < 3]


COLOURS = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
}"""


@pytest.mark.parametrize("width", [1400, 480])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_wide_and_narrow(open_page, scores, width, dark):
    room = open_page(saved(score=scores[0], label=scores[1], title="a run"), width=width, height=1200, dark=dark)
    drag(room, 100, 300, ".tm-timeline canvas")
    room.shot(f"threshold_{'dark' if dark else 'light'}_{width}")
    assert room.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for canvas in room.page.locator(".tm-panel canvas").all():
        assert canvas.evaluate(COLOURS) > 20  # something is drawn


def test_nothing_moves_by_itself_where_less_motion_is_wanted(open_page, scores):
    moving = """[...document.querySelectorAll(".tm-panel *")]
        .some(node => parseFloat(getComputedStyle(node).transitionDuration) > 0)"""
    html = saved(score=scores[0], label=scores[1])
    assert open_page(html).page.evaluate(moving)
    assert not open_page(html, motion="reduce").page.evaluate(moving)


# States


def test_no_scores_says_the_command(open_page, small):
    (small / "evaluation.json").unlink()
    room = open_page(saved(run=small, split="test"))
    assert "timemoe-lab evaluate" in room.panel().inner_text() and room.page.locator(".tm-panel canvas").count() == 0
    (small / "operating_point.json").unlink()
    assert "timemoe-lab resume" in open_page(saved(run=small)).panel().inner_text()
    assert "No scores" in open_page(saved(score=[])).panel().inner_text()


def test_no_labels_hide_what_needs_them(open_page, scores):
    room = open_page(saved(score=scores[0]))
    text, data = room.panel().inner_text(), room.data()
    assert "No labels" in text and "Stretches of alarm" in text
    assert not [
        word for word in ("Precision", "Recall", "F-beta", "TP", "base rate") if word in text.partition("No labels")[0]
    ]
    score = np.concatenate(scores[0])
    assert float(data["quantile"]) == pytest.approx((score[np.isfinite(score)] < 4).mean())
    assert "Recall" not in text and "base rate" not in text
    room.shot("threshold_no_labels", 0)


@pytest.mark.parametrize("faulty", [False, True], ids=["healthy", "faulty"])
def test_one_class_only_is_undefined_and_not_zero(open_page, scores, faulty):
    room = open_page(saved(score=scores[0], label=[np.full(5000, faulty)] * 2))
    data = room.data()
    assert f"Only {'faulty' if faulty else 'healthy'} samples" in room.panel().inner_text()
    if faulty:
        assert data["alarmsPerDay"] == data["plant"] == "undefined" and float(data["recall"]) > 0
    else:
        assert data["precision"] == data["recall"] == data["fbeta"] == data["plant"] == "undefined"
        assert float(data["alarmsPerDay"]) > 0
    room.shot(f"threshold_only_{'faulty' if faulty else 'healthy'}", 0)


def test_samples_without_a_score_are_counted(open_page, scores):
    room = open_page(saved(score=scores[0], label=scores[1]))
    assert "60 samples have no score (NaN)" in room.panel().inner_text() and room.data()["unscored"] == "60"
    nothing = open_page(saved(score=np.full(100, np.nan, np.float32), label=np.zeros(100, bool)))
    assert "No sample has a score" in nothing.panel().inner_text()


def test_a_constant_score_is_warned_of(open_page):
    label = np.arange(1000) > 700
    room = open_page(saved(score=np.full(1000, 2.5, np.float32), label=label, points={}))
    assert "The score is constant" in room.panel().inner_text()
    assert (room.data()["tp"], room.data()["fp"]) == ("299", "701")
    room.shot("threshold_constant", 0)


def test_scores_of_another_checkpoint_than_the_operating_point(open_page, small):
    other = lambda point: point.update(checkpoint=point["checkpoint"].replace("step-", "step-9"))
    rewrite(small / "operating_point.json", other)
    panel = ThresholdPanel(small, split="test")
    room = open_page(panel.html())
    assert "the operating point is of step-9" in room.page.locator(".tm-warning").inner_text()
    with pytest.raises(InputError, match="the operating point is of step-9"):
        panel.answer({"kind": "export", "threshold": 1.0, "beta": 0.5})
    room.shot("threshold_other_run", 0)


def test_the_test_split_is_amber_and_its_best_is_an_oracle(open_page, small):
    room = open_page(saved(run=small, split="test"))
    split = room.page.locator(".tm-amber")
    assert "TEST" in split.inner_text() and "oracle" in room.page.locator(".tm-points").inner_text()
    assert "oracle" not in open_page(saved(run=small)).panel().inner_text()
    assert (
        room.page.get_by_role("button", name="Export (E)").is_disabled() and "display only" in room.panel().inner_text()
    )
    result = json.loads((small / "evaluation.json").read_text())["operating_points"]
    for point in result:
        room.page.locator(f"[data-point='{point['name']}']").click()
        data = room.data()
        assert [int(data[k]) for k in ("tp", "fp", "fn", "tn")] == [point[k] for k in ("tp", "fp", "fn", "tn")]


def test_the_saved_report_has_the_panel_and_works_offline(open_page, small, record_property):
    room = open_page(write_report(small), width=1100)
    room.page.locator("nav a[href='#explore-inside']").click()  # a link into a folded section opens it
    room.panel().scroll_into_view_if_needed()
    point = json.loads((small / "evaluation.json").read_text())["operating_points"][0]
    data = room.data()
    assert [int(data[k]) for k in ("tp", "fp", "fn", "tn")] == [point[k] for k in ("tp", "fp", "fn", "tn")]
    before = data["threshold"]
    drag(room, 200, 350)
    assert room.data()["threshold"] != before and "display only" in room.panel().inner_text()
    room.shot("report_panel")
    assert {url.partition(":")[0] for url in room.requests} <= {"file", "data"}


def test_a_large_saved_page_is_thinned_and_says_so(open_page, million):
    score, label = million
    halves = [np.array_split(a, 2) for a in (score, label)]
    html = saved(score=halves[0], label=halves[1])
    assert len(html) < 2_000_000
    room = open_page(html)
    room.page.locator(".tm-timeline canvas").hover(position={"x": 900, "y": 60})
    name, _, second = room.page.locator(".tm-tip").inner_text().partition("\n")[0].partition(", ")
    assert name == "recording 2" and 0 < float(second.split()[0]) < 500  # s, of 500
    assert float(second.split()[0]) == pytest.approx(260, abs=60)
    assert "every 5th sample" in room.panel().inner_text()
    assert_counts(room.data(), score[::5], label[::5])
    whole = counted(score, label, 4.0)
    assert int(room.data()["tp"]) == pytest.approx(whole[0] / 5, rel=0.01)
