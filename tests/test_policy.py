"Rules as data: when they act, what they choose, and what a replay finds."

import pytest

from timemoe_lab.agent.policy import acts, decide, replay
from timemoe_lab.config import Rule

IDLE = Rule("idle", "least_load", "below", 0.01, beats=2, knob="aux_weight", by=2.0, high=0.2)
FELL = Rule("fell", "quality", "fell", 0.1, beats=1, action="restore")


def beats(f1, **more):
    "Beats with these F1."
    return [{"step": i, "f1": v, "signal": "f1", "held_out": 0.3, "delta": 1.0, **more} for i, v in enumerate(f1, 1)]


def test_a_rule_that_has_acted_waits_for_as_many_beats_again():
    acted, last = [], None
    for n in range(1, 8):
        if acts(IDLE, [0.001] * n, last):
            acted, last = [*acted, n], n - 1
    assert acted == [2, 4, 6]


@pytest.mark.parametrize("f1, held_out, best", [([0.7, 0.9, 0.8, 0.5], None, 2), ([0.9, 0.9, 0.4], [0.2, 0.3, 0.1], 1)])
def test_what_is_restored_is_the_best_beat(f1, held_out, best):
    rows = beats(f1)
    for row, error in zip(rows, held_out or []):
        row["held_out"] = error
    (decision,) = decide(rows, [], [FELL])
    assert decision["restore"] == best and decision["new"] == f"weights of step {best}"


def test_a_knob_that_moved_without_a_decision_is_found():
    events = [row | {"event": "beat"} for row in beats([0.99, 0.99, 0.99])]
    assert replay(events, [IDLE]) == []
    events[2]["delta"] = 0.7
    (row,) = replay(events, [IDLE])
    assert row["step"] == 3 and (row["logged"], row["derived"], row["same"]) == (0.7, 1.0, False)


def test_a_change_by_a_person_is_checked_against_its_bounds():
    asked = {"event": "decision", "step": 1, "knob": "delta", "old": 1.0, "author": "a person", "outcome": "applied"}
    rows = replay([beats([0.99])[0] | {"event": "beat"}, asked | {"new": 0.5}, asked | {"new": 99}], [IDLE])
    assert [row["same"] for row in rows] == [True, False]
