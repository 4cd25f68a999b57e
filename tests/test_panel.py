"Panels in Python: what they are made of, how long they live, and the operating point that they write."

import json
import re
import shutil
from importlib import import_module

import numpy as np
import pytest

from timemoe_lab.agent.heartbeat import read_beat
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.detect.threshold import Confusion
from timemoe_lab.files import InputError, read_json, write_json
from timemoe_lab.records import OperatingPoint
from timemoe_lab.run.checkpoint import settle
from timemoe_lab.run.folder import RunFolder
from timemoe_lab.run.points import restore_point
from timemoe_lab.view.panel import Panel, bundle, link, pack
from timemoe_lab.view.threshold import ThresholdPanel, point_by_hand

panel_room = import_module("timemoe_lab.view.panel")


@pytest.fixture
def run(trained, tmp_path):
    "A copy of a trained run, to be written into."
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


def in_cell(monkeypatch, cell, execution):
    monkeypatch.setattr(panel_room, "cell_here", lambda: (cell, execution))


def small(**how):
    return ThresholdPanel(score=np.arange(4, dtype=np.float32), label=np.array([0, 0, 1, 1], bool), **how)


def test_a_cell_that_runs_again_closes_its_panels(monkeypatch):
    in_cell(monkeypatch, "cell a", "first")
    one = small()
    two = small()
    link(one, two)
    in_cell(monkeypatch, "cell b", "second")
    other = small()
    assert [p.comm is not None for p in (one, two, other)] == [True] * 3  # two of a cell live side by side
    in_cell(monkeypatch, "cell a", "third")
    again = small()
    assert [p.comm is not None for p in (one, two, other, again)] == [False, False, True, True]
    assert all(made.comm is None for made in one.links)
    other.close(), again.close()
    assert not any(Panel._placed[cell] for cell in ("cell a", "cell b"))


def test_a_key_closes_the_panel_of_the_same_key():
    one = small(key="one")
    other = small(key="other")
    again = small(key="one")
    assert one.comm is None and other.comm is not None and again.comm is not None
    again.close(), other.close()


def test_outside_of_a_notebook_nothing_is_closed():
    one = small()
    two = small()
    assert one.comm is not None and two.comm is not None
    one.close(), two.close()


def test_buffers_are_little_endian_and_keep_their_shape():
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    found = pack(array)
    assert found["shape"] == [2, 3] and np.frombuffer(found["data"], "<f4").tolist() == [0, 1, 2, 3, 4, 5]
    assert pack(np.array([True, False])) == {"dtype": "uint8", "shape": [2], "data": b"\1\0"}
    with pytest.raises(ValueError, match="complex"):
        pack(np.zeros(2, complex))


def test_a_bundle_imports_nothing():
    text = bundle("threshold")
    assert not re.search(r"^import\b|\bfrom \"", text, flags=re.MULTILINE)
    assert text.index("export function frame") < text.index("function render(")


def test_what_comes_from_outside_cannot_end_the_script():
    html = small(title="</script><img src=x>").html()
    assert html.count("</script>") == 1 and "<img" not in html


def test_the_scores_are_those_of_the_beat_and_the_edges_are_left_out(run):
    panel = ThresholdPanel(run)
    point = json.loads((run.path / "operating_point.json").read_text())
    found = read_beat(next((run.path / "checkpoints").glob(f"{point['checkpoint']}_*")))
    assert panel.facts["recordings"] == [s.name for s in found] and panel.threshold == point["threshold"]
    label = np.frombuffer(panel.arrays["label"]["data"], np.uint8)
    assert np.array_equal(label & 1, np.concatenate([s.label for s in found]))
    edges = sum(int((s.label[1:] != s.label[:-1]).sum()) for s in found)
    assert int((label >= 2).sum()) == edges * 1000  # 50 ms on either side at 10 kHz
    names = {p["name"]: (p["split"], p["threshold"]) for p in panel.facts["points"]}
    assert names["calibration"] == (point["split"], point["threshold"])
    assert names["validation F0.5"] == ("validation", point["validation"]["threshold"])
    assert "oracle" not in " ".join(names)


def test_an_export_is_an_operating_point_that_scoring_takes(run):
    panel = ThresholdPanel(run)
    path = run.path / "operating_point.json"
    before = json.loads(path.read_text())
    told = panel.answer({"kind": "export", "threshold": 1.5, "beta": 2.0})
    after = json.loads(path.read_text())
    assert told == {"path": str(path), "threshold": 1.5, "author": "panel"} == panel.answer({"kind": "in force"})
    changed = {"threshold": 1.5, "metric": "chosen by hand in the panel", "author": "panel", "beta": 2.0}
    changed |= {"split": "calibration and validation"}
    mine = {"confusion", "rows", "before", "event", "seal", "signed"}
    assert {k: v for k, v in after.items() if k not in mine} == {
        k: before[k] for k in before if k not in mine
    } | changed
    assert after["rows"] == before["rows"] | {"lab": before["rows"]["lab"] | {"point": 1.5, "event": 1.5}}
    counted = {"on", "off", "n_alarms", "n_recordings", "healthy_s", "most_per_day", "shown"}
    kept = {k: v for k, v in before["event"].items() if k not in counted}
    assert after["event"] == kept | {"on": 1.5, "off": pytest.approx(1.2), "shown": False}  # nobody has counted at 1.5
    assert after["before"] == {k: before[k] for k in ("threshold", "metric", "split")}
    score, label = panel.points.score, panel.points.label
    assert after["confusion"]["tp"] == int((score[label] >= 1.5).sum())
    assert after["confusion"]["tn"] == int((score[~label] < 1.5).sum())
    scorer = open_scorer(run.path)
    assert scorer.point.threshold == 1.5
    event = RunFolder(run.path).events("decision")[-1]
    assert [event.values[k] for k in ("old", "new", "author")] == [before["threshold"], 1.5, "panel"]
    panel.answer({"kind": "export", "threshold": 1.75, "beta": 2.0})
    assert json.loads(path.read_text())["before"] == after["before"]  # that of the agent, not of the hand
    assert ThresholdPanel(run).facts["points"][0]["name"] == "in force"
    assert panel.answer({"kind": "undo"})["threshold"] == 1.5
    assert json.loads(path.read_text())["rows"] == after["rows"]
    restore_point(run, 1, author="an engineer")
    assert json.loads(path.read_text()) == before


def test_an_export_leaves_a_point_of_another_checkpoint_alone(run):
    panel = ThresholdPanel(run)
    path = run.path / "operating_point.json"
    point = read_json(path)
    write_json(path, point | {"checkpoint": point["checkpoint"].replace("step-", "step-9")})
    before = path.read_bytes()
    with pytest.raises(InputError, match="run the cell again"):
        panel.answer({"kind": "export", "threshold": 1.5, "beta": 0.5})
    assert path.read_bytes() == before


def test_plain_arrays_are_exported_where_out_says(tmp_path):
    panel = small(out=tmp_path / "deep/operating_point.json", split="bench")
    panel.answer({"kind": "export", "threshold": 1.0, "beta": 1.0})
    found = json.loads((tmp_path / "deep/operating_point.json").read_text())
    assert (found["threshold"], found["split"], found["comparison"]) == (1.0, "bench", ">=")
    assert found["confusion"] == {"tp": 2, "fp": 1, "fn": 0, "tn": 1}
    with pytest.raises(InputError, match="give it a run"):
        small().answer({"kind": "export", "threshold": 1.0, "beta": 1.0})


def test_a_message_is_answered_once_and_an_error_is_one_line():
    panel = small()
    sent = []
    panel.send = sent.append
    panel._hear(panel, {"id": "7", "message": {"kind": "export", "threshold": 1.0, "beta": 1.0}}, [])
    assert sent == [{"id": "7", "error": "this panel has no place to export to: give it a run, or out="}]


def test_the_line_starts_where_it_says():
    assert small().threshold == 2.0  # the best F-beta
    assert small(points={"mine": 0.25}).threshold == 0.25
    score = np.arange(1000, dtype=np.float32)
    assert ThresholdPanel(score=score).threshold == 990.0  # without labels: the 0.99 quantile
    assert ThresholdPanel(score=np.full(5, np.nan, np.float32)).threshold is None


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="label"):
        ThresholdPanel(score=np.zeros(3, np.float32), label=np.zeros(2, bool))
    with pytest.raises(ValueError):
        ThresholdPanel(score=[np.zeros(3, np.float32)], label=[np.zeros(3, bool)] * 2)


def test_a_run_without_a_beat_says_what_to_do(run):
    (run.path / "operating_point.json").unlink()
    empty = ThresholdPanel(run).facts["empty"]
    assert empty["command"] == f"timemoe-lab resume {run.path}" and "No scores yet" in empty["text"]


def test_equal_panels_give_equal_pages():
    assert small().html() == small().html() != small(title="another").html()


def test_a_threshold_set_by_hand_stays_until_there_is_a_better_checkpoint(trained, tmp_path):
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    path = run.path / "operating_point.json"
    own = OperatingPoint.read(path)
    by_hand = point_by_hand(own, 1.25, split="validation", counts=Confusion(1, 2, 3, 4), beta=0.5)
    write_json(path, by_hand.to_json())
    settle(run)  # what every resume begins with
    assert read_json(path)["threshold"] == 1.25
    beats = sorted(p for p in run.checkpoints() if (p / "profile.safetensors").is_file())
    other = next(p for p in beats if p != run.checkpoint("best"))
    state = read_json(other / "state.json")
    write_json(other / "state.json", state | {"beat": state["beat"] | {"f1": 1.0, "held_out": -1.0}})
    settle(run)
    assert run.checkpoint("best") == other and read_json(path) == read_json(other / "operating_point.json")
