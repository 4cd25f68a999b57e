"The live room under a hand: a training that goes on whatever happens to the tab, and what the panel says of it."

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import rewrite

from timemoe_lab.demo import small_run
from timemoe_lab.run.folder import RunFolder
from timemoe_lab.view.live import LivePanel

pytestmark = pytest.mark.browser
SAME = ("schema", "event", "step", "time")


def lines_of(run):
    "The whole lines of events.jsonl, read without the package."
    text = (run.path / "events.jsonl").read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def kind(run, name):
    return [e for e in lines_of(run) if e["event"] == name]


def wait_for(found, what, seconds=90.0):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def says_what_the_log_says(room, run):
    "Whether the page's numbers are those of the log up to the page's step."
    data, lines = room.data(), lines_of(run)
    before = [e for e in lines if e["step"] <= int(data["step"])]
    steps, beats = ([e for e in before if e["event"] == k] for k in ("step", "beat"))
    last = beats[-1] if beats else {}
    text = lambda value: "" if value is None else value
    found = [float(data["loss"]), int(data["beats"]), int(data["steps"])]
    wanted = [steps[-1]["loss"], len(beats), run.config.train.steps]
    at = [float(data[k]) if data[k] else "" for k in ("threshold", "f1")]
    load = np.mean([e["expert_load"] for e in steps[-5:]], axis=0)
    dead = np.argwhere(load * run.config.model.top_k < 0.01).tolist()
    same = np.allclose(json.loads(data["load"]), load, atol=1e-4) and json.loads(data["dead"]) == dead
    return found == wanted and at == [text(last.get("threshold")), text(last.get("f1"))] and same


def table_of(room):
    rows = "[...node.querySelectorAll('.tm-live-beats tbody tr')]"
    return room.panel().evaluate(f"node => {rows}.map(row => [...row.cells].map(cell => cell.innerText))")


def cells_of(beat):
    form = {"loss": ".4f", "gating_balance": ".4f", "f1": ".3f", "threshold": ".4g", "best_f0.5": ".3f"}
    return [str(beat["step"]), *("–" if beat[k] is None else format(beat[k], f) for k, f in form.items())]


def expert(room, layer, number):
    return room.panel().locator(".tm-live-map tbody tr").nth(layer).locator("button").nth(number)


@pytest.fixture
def trainings():
    "Trainings that a test has started: asked to stop at its end, and their folders taken away."
    found = []
    yield found
    for run in found:
        if run.is_live():
            run.ask("stop", author="the test")
            wait_for(lambda run=run: not run.is_live(), "the end of the training")
        shutil.rmtree(run.path.parent)


ORDERLY = """node => [...node.querySelectorAll(".tm-live-facts > div")].every(div => {  // JupyterLab has a style for dl
    const [name, value] = [...div.children].map(one => one.getBoundingClientRect());
    return value.top >= name.bottom - 1 && value.bottom <= div.getBoundingClientRect().bottom + 1;
}) && node.querySelector(".tm-live-facts").clientHeight < 140"""
FOLLOWERS = "import threading; print(sum(t.name.startswith('timemoe-lab live') for t in threading.enumerate()))"
PLACED = "from timemoe_lab.view.panel import Panel; print(sum(map(len, Panel._placed.values())))"


def number_of(room, start):
    cells = "Array.from(jupyterapp.shell.currentWidget.content.model.cells)"
    sources = room.page.evaluate(f"{cells}.map(c => c.sharedModel.getSource())")
    return next(i for i, source in enumerate(sources) if source.startswith(start))


def test_the_room_follows_a_training_that_nothing_here_stops(open_room, trainings):
    room = open_room("94_live", height=1700)
    room.run_all()
    run = RunFolder(room.kernel("print(run.path)").strip())
    trainings.append(run)
    panel = room.panel()
    panel.wait_for()
    assert run.is_live() and room.data()["state"] == "training"

    seen = []  # steps rise by themselves, and every number is the log's
    for _ in range(3):
        wait_for(lambda: int(room.data()["step"]) > max(seen, default=0), "a further step")
        seen.append(int(room.data()["step"]))
        wait_for(lambda: says_what_the_log_says(room, run), "the numbers of the log")
    wait_for(lambda: int(room.data()["beats"]) >= 1, "the first beat")
    n = int(room.data()["beats"])
    wait_for(lambda: int(room.data()["beats"]) > n, "a further beat")
    beat = kind(run, "beat")[int(room.data()["beats"]) - 1]
    rows = table_of(room)
    newest = next(row for row in rows if row[-1].startswith("beat"))
    assert newest[:-1] == cells_of(beat) and newest[-1] == "beat, newest"
    assert f"Beat at step {beat['step']}" in panel.locator("[aria-live=polite]").inner_text()
    assert float(room.data()["chosen"]) == beat["threshold"]  # nobody has chosen another
    room.shot("live_light", 0)
    assert room.panel().evaluate(ORDERLY)
    panel.get_by_role("button", name="Help").click()
    room.page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    room.page.wait_for_function("document.querySelector('.tm-panel').dataset.theme == 'dark'")
    room.shot("live_dark_help", 0)
    panel.get_by_role("button", name="Close").click()

    expert(room, 1, 3).click()  # for linked panels
    room.page.keyboard.press("ArrowUp")
    room.page.keyboard.press("ArrowRight")
    room.page.keyboard.press("Enter")
    assert (room.data()["layer"], room.data()["expert"]) == ("0", "4")
    wait_for(lambda: room.kernel("print(panel.layer, panel.expert)").split() == ["0", "4"], "the kernel's layer")
    first = kind(run, "beat")[0]
    panel.get_by_label(f"Beat at step {first['step']}:").click()
    assert float(room.data()["chosen"]) == first["threshold"]

    place = number_of(room, "panel = ")
    for _ in range(10):
        room.run_cell(place)
    room.page.wait_for_function("globalThis.timemoePanels.size == 1")
    wait_for(lambda: room.kernel(FOLLOWERS).split() == ["1"], "one follower")
    assert room.kernel(PLACED).split() == ["1"]

    room.keep_busy()  # what was known stays, and how old it is is said
    step = int(room.data()["step"])
    wait_for(lambda: kind(run, "step")[-1]["step"] > step + 10, "a training that goes on")
    room.page.wait_for_function("+document.querySelector('.tm-panel').dataset.age > 5")
    assert int(room.data()["step"]) <= step + 10
    assert "s ago: the kernel is busy" in panel.inner_text()
    room.let_go()
    wait_for(lambda: int(room.data()["step"]) > step + 10, "what came meanwhile")
    assert "up to date" in panel.inner_text()
    room.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")
    room.wait_idle()

    room.page.evaluate("jupyterapp.commands.execute('docmanager:save')")  # the tab is closed, and opened again
    room.page.goto("about:blank")
    step = lines_of(run)[-1]["step"]
    wait_for(lambda: lines_of(run)[-1]["step"] > step + 20, "a training that goes on")
    room.page.goto(room.url)
    room._settle()
    room.panel().wait_for()
    wait_for(lambda: int(room.data()["step"]) > step + 20, "the steps of the closed tab")
    wait_for(lambda: says_what_the_log_says(room, run), "the numbers of the log")

    step, loss = int(room.data()["step"]), room.data()["loss"]
    room.stop_kernel()
    room.page.wait_for_function("document.querySelector('.tm-panel').dataset.kernel == 'gone'")
    assert "display only" in room.panel().inner_text() and run.is_live()
    expert(room, 1, 2).click()
    assert (room.data()["layer"], room.data()["expert"]) == ("1", "2")
    wait_for(lambda: lines_of(run)[-1]["step"] > step + 10, "a training that goes on")
    assert int(room.data()["step"]) < lines_of(run)[-1]["step"] and room.data()["loss"] is not None and loss
    run.ask("stop", author="the test")
    wait_for(lambda: not run.is_live(), "the end that was asked for")
    assert "asked for: stop" in {line["rule"] for line in kind(run, "decision")}


def test_a_run_that_has_ended_is_drawn_in_colour_at_once(open_room):
    imports = ["from timemoe_lab.demo import small_run", "from timemoe_lab.view import LivePanel"]
    room = open_room(cells=["\n".join([*imports, "panel = LivePanel(small_run())", "panel"])], width=700, dark=True)
    room.run_all()
    room.panel().wait_for()
    canvas = room.panel().locator("canvas").first
    wait_for(lambda: canvas.evaluate(COLOURED) > 200, "coloured pixels")
    assert says_what_the_log_says(room, small_run()) and room.data()["state"] == "finished"
    room.reload()
    room.panel().wait_for()
    wait_for(lambda: room.panel().locator("canvas").first.evaluate(COLOURED) > 200, "coloured pixels")
    room.shot("live_lab_narrow_dark", 0)


COLOURED = """canvas => {  // pixels that are no grey
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((_, i) => i % 4 == 0 && Math.abs(data[i] - data[i + 2]) > 60 && data[i + 3] > 200).length;
}"""


# Saved pages


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    "A run with a spike, dead experts, warnings and a request that waits."
    run = RunFolder(shutil.copytree(small_run().path, tmp_path_factory.mktemp("live") / "run"))
    rewrite(run.path / "config.json", lambda facts: facts["config"]["train"].update(steps=4000))
    run, step, beat = RunFolder(run.path), kind(run, "step")[-1], kind(run, "beat")[-1]
    step, beat = ({k: v for k, v in e.items() if k not in SAME} for e in (step, beat))
    rng = np.random.default_rng(0)
    for i in range(61, 3061):
        load = np.full((2, 8), 1 / 7) * rng.uniform(0.9, 1.1, (2, 8))
        load[1, 5] = 0.0
        load /= load.sum(axis=1, keepdims=True)
        huber = 0.2 * (i / 60) ** -0.4 * float(rng.uniform(0.9, 1.1)) + 5 * (i == 1777)
        new = {"loss": huber + 0.04, "huber": huber, "lr": 5e-3 * (1 - i / 3500), "expert_load": load.tolist()}
        run.log("step", i, **step | new | {"epoch": i // 3, "delta": 0.96 * 0.98 ** (i // 600)})
        if i % 600 == 60:
            run.log("beat", i, **beat | {"f1": 0.72 + i / 12000, "threshold": 0.83 + i / 9000, "loss": huber})
    run.log("warning", 1777, what="warning: the loss rose to 26 times its median")
    run.ask("change", author="an operator", values={"delta": 0.5})
    return run


def page_of(run, change=None):
    "The saved panel, with its state changed."
    panel = LivePanel(run)
    if change:
        change(panel)
    html = panel.html()
    panel.close()
    return html


@pytest.mark.parametrize("width, dark", [(1400, False), (1400, True), (480, True), (480, False)])
def test_a_saved_page_reads_in_every_width_and_theme(open_page, rich, width, dark):
    room = open_page(page_of(rich), width=width, dark=dark)
    data = room.data()
    assert data["theme"] == ("dark" if dark else "light") and data["kernel"] == "gone"
    assert says_what_the_log_says(room, rich) and json.loads(data["dead"]) == [[1, 5]]
    assert 1000 < int(data["points"]) <= 2000 and data["pending"] == "1"
    assert room.panel().evaluate("node => node.scrollWidth <= node.clientWidth + 1"), "something sticks out"
    assert room.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    text = room.panel().inner_text()
    assert "change: delta = 0.5 (an operator)" in text and "layer 1 expert 5" in text and "26 times" in text
    for canvas in room.panel().locator("canvas").all():
        assert canvas.evaluate(COLOURS) > 20  # something is drawn
    room.shot(f"live_{width}_{'dark' if dark else 'light'}", 0)
    found = room.page.evaluate(TEXTS)
    assert len(found) > 40
    assert not [(text, ink, page) for text, ink, page in found if contrast(ink, page) < 4.5]


COLOURS = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
}"""
TEXTS = """() => {  // every text with its own colour and the colour behind it
    const see = value => (value.match(/[\\d.]+/g) || []).map(Number);
    const clear = node => (see(getComputedStyle(node).backgroundColor)[3] ?? 1) === 0;
    const shown = node => node.offsetParent && node.firstChild?.nodeType === 3 && node.firstChild.data.trim();
    return [...document.querySelectorAll(".tm-panel *")].filter(shown).map(node => {
        let behind = node;
        while (behind && clear(behind)) behind = behind.parentElement;
        const page = getComputedStyle(behind ?? document.body).backgroundColor;
        return [node.textContent, see(getComputedStyle(node).color), see(page)];
    });
}"""


def contrast(a, b):
    "As WCAG defines it, of two colours as lists of 0 to 255."
    light = []
    for colour in (a, b):
        c = np.array(colour[:3]) / 255
        c = np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        light.append(float(c @ [0.2126, 0.7152, 0.0722]))
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_keys_point_at_steps_and_turn_the_axis(open_page, rich):
    room = open_page(page_of(rich))
    steps = [e["step"] for e in kind(rich, "step")]
    canvas = room.panel().locator("canvas").first
    canvas.focus()
    room.page.keyboard.press("ArrowLeft")
    assert int(room.data()["cursor"]) == steps[-1]
    room.page.keyboard.press("Home")
    assert int(room.data()["cursor"]) == steps[0]
    first = kind(rich, "step")[0]
    said = room.panel().locator("[aria-live=polite]").inner_text()
    assert f"loss {first['loss']:.4g}" in said and float(said.split("rate ")[1].split(",")[0]) == first["lr"]
    room.page.keyboard.press("Shift+ArrowRight")
    room.page.keyboard.press("ArrowLeft")
    assert int(room.data()["cursor"]) in steps[8:60]
    before = canvas.evaluate("node => node.toDataURL()")
    room.page.keyboard.press("Escape")
    room.page.keyboard.press("l")
    assert room.data()["log"] == "false" and room.data()["cursor"] == ""
    room.page.wait_for_function("old => document.querySelector('canvas').toDataURL() != old", arg=before)
    box = canvas.bounding_box()
    room.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 80)
    assert 1000 < int(room.data()["cursor"]) < 2000 and "loss" in room.panel().locator(".tm-tip").inner_text()
    room.panel().locator(".tm-live-beats").focus()
    room.page.keyboard.press("Tab")
    room.page.keyboard.press("Tab")
    room.page.keyboard.press("Enter")
    assert float(room.data()["chosen"]) == kind(rich, "beat")[-2]["threshold"]
    assert room.panel().locator("[data-beat][aria-pressed=true]").count() == 1


def test_everything_has_a_name_and_the_keyboard_reaches_it(open_page, rich):
    room = open_page(page_of(rich))
    unnamed = """node => [...node.querySelectorAll("button, select, canvas, progress, table")].filter(
        n => !(n.getAttribute("aria-label") || n.textContent.trim() || n.labels?.length)).map(n => n.outerHTML)"""
    assert room.panel().evaluate(unnamed) == []
    reached = set()
    for _ in range(24):
        room.page.keyboard.press("Tab")
        script = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
        reached.add(room.page.evaluate(script))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert room.page.evaluate(f"document.activeElement === document.body ? 'solid' : {outline}") == "solid"
    words = ("Help", "Logarithmic", "Loss", "Learning rate", "Table: curves", "layer 0", "F1", "Beats", "Beat at step")
    assert all(any(str(r).startswith(word) for r in reached) for word in words), reached
    room.panel().locator("summary").click()
    row = room.panel().locator(".tm-table tbody tr").first
    row.wait_for()
    cells = row.locator("td").all_inner_texts()
    assert cells[0] == "3,060"


def test_nothing_moves_by_itself_where_less_motion_is_wanted(open_page, rich):
    moving = """[...document.querySelectorAll(".tm-panel *")]
        .some(node => parseFloat(getComputedStyle(node).transitionDuration) > 0)"""
    assert not open_page(page_of(rich), motion="reduce").page.evaluate(moving)


# States


def test_no_run_and_no_step(open_page, rich, tmp_path):
    room = open_page(LivePanel().html())
    assert "timemoe-lab train" in room.panel().inner_text() and room.data()["state"] == "empty"
    (tmp_path / "new").mkdir()
    shutil.copy(rich.path / "config.json", tmp_path / "new")
    room = open_page(page_of(tmp_path / "new"))
    assert f"timemoe-lab resume {tmp_path / 'new'}" in room.panel().inner_text()
    assert room.data()["state"] == "not started" and room.data()["step"] == "0"
    run = RunFolder(tmp_path / "new")
    with run.lock():
        room = open_page(page_of(run))
    text = room.panel().inner_text()
    assert "A process has begun" in text and "resume" not in text


def of(run, folder, change):
    "A copy of a run whose events are changed."
    copied = RunFolder(shutil.copytree(run.path, Path(folder) / "copy"))
    lines = [json.dumps(change(e)) for e in lines_of(run)[:40]]
    (copied.path / "events.jsonl").write_text("\n".join(lines) + "\n")
    return copied


@pytest.mark.parametrize("signal, said", [("synthetic_f1", "F1 on simulated faults"), ("held_out", "held-out error")])
def test_without_labels_another_signal_is_followed(open_page, tmp_path, signal, said):
    lost = dict.fromkeys(("f1", "precision", "recall", "fpr", "validation_threshold", "best_f0.5"))
    change = lambda e: e | lost | {"signal": signal, signal: 0.625} if e["event"] == "beat" else e
    room = open_page(page_of(of(small_run(), tmp_path, change)))
    data, text = room.data(), room.panel().inner_text()
    assert data["f1"] == "" and data["threshold"] and said in text and "0.625" in text
    assert ("below the goal" in text) == (signal == "synthetic_f1")


def test_a_dense_model_has_no_experts(open_page, tmp_path):
    copied = of(small_run(), tmp_path, lambda e: {k: v for k, v in e.items() if k != "expert_load"})
    rewrite(copied.path / "config.json", lambda facts: facts["config"]["model"].update(n_experts=0))
    room = open_page(page_of(copied))
    assert "A dense model" in room.panel().inner_text() and room.data()["dead"] == "[]"
    assert room.panel().locator(".tm-live-map").count() == 0


def test_a_broken_log_is_named(open_page, tmp_path):
    copied = of(small_run(), tmp_path, lambda e: e)

    def change(panel):
        with open(copied.path / "events.jsonl", "a") as file:
            file.write("{half\n")
        panel.look()

    room = open_page(page_of(copied, change))
    assert "lines of events.jsonl that can't be read, left out: 1" in room.panel().inner_text()
    assert int(room.data()["step"]) == 60


@pytest.mark.parametrize("word", ["training", "paused", "stopped", "finished"])
def test_each_state_has_its_word(open_page, word):
    def change(panel):
        panel.now = panel.now | {"state": word, "left_s": 125.0 if word == "training" else None}

    room = open_page(page_of(small_run(), change))
    assert room.data()["state"] == word and word in room.panel().locator(".tm-live-state").inner_text()
    assert ("2:05 left" in room.panel().inner_text()) == (word == "training")
