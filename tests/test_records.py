"Records: what a file holds comes back as it was, and what a file lacks is named."

import json

import pytest

from timemoe_lab.files import InputError, pack_json
from timemoe_lab.records import Event, OperatingPoint, Thresholds

RULE = "0.99 quantile of healthy recordings, at a risk of 0.05"
POINT = {  # as a heartbeat wrote it before there was a class for it
    "schema": 1,
    "kind": "timemoe_lab operating point",
    "checkpoint": "step-000040",
    "profile_sha256": "ab" * 32,
    "mode": "lab",
    "comparison": ">=",
    "threshold": 0.96,
    "window_threshold": 0.9,
    "window_s": 0.128,
    "recording_threshold": 0.8,
    "metric": RULE,
    "split": "calibration",
    "confusion": {"tp": 0, "fp": 3, "fn": 0, "tn": 97},
    "n_healthy": 5,
    "promised_recording_fpr": 0.2,
    "scores_sha256": "cd" * 32,
    "rows": {
        "lab": {"point": 0.96, "window": 0.9, "recording": 0.8},
        "L1": {"point": 2.0, "window": 1.0, "recording": 1.0},
    },
    "validation": None,
}


def test_an_operating_point_has_the_bytes_that_it_had():
    point = OperatingPoint.from_json(POINT)
    text = json.dumps(POINT, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    assert pack_json(point.to_json()) == text.encode()
    assert point.rows["L1"] == Thresholds(2.0, 1.0, 1.0) and point.author is None


def test_a_point_set_by_hand_keeps_who_set_it_and_what_was_before():
    moved = POINT | {
        "author": "panel",
        "beta": 0.5,
        "before": {"threshold": 0.9, "metric": RULE, "split": "calibration"},
    }
    point = OperatingPoint.from_json(moved)
    assert point.author == "panel" and point.before["threshold"] == 0.9
    assert {**point.to_json(), "schema": 1} == moved


@pytest.mark.parametrize("name", ["checkpoint", "profile_sha256", "mode", "split", "rows", "threshold"])
def test_a_point_of_a_run_that_lacks_something_is_named(name, tmp_path):
    path = tmp_path / "operating_point.json"
    path.write_text(json.dumps({k: v for k, v in POINT.items() if k != name}))
    with pytest.raises(InputError, match=name) as error:
        OperatingPoint.read(path)
    assert str(path) in str(error.value)


def test_an_event_comes_back_from_its_line():
    line = {"schema": 1, "event": "step", "step": 7, "time": 1.25, "loss": 0.5, "expert_load": [[0.25, 0.75]]}
    event = Event.from_json(line)
    assert (event.event, event.step, event.time) == ("step", 7, 1.25) and event.values["loss"] == 0.5
    assert list(event.to_json().items()) == list(line.items())


@pytest.mark.parametrize("name", ["event", "step", "time"])
def test_a_line_that_is_no_event_is_named(name):
    line = {"event": "step", "step": 7, "time": 1.25}
    with pytest.raises(InputError, match=name):
        Event.from_json({k: v for k, v in line.items() if k != name})
