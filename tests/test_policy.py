"Rules as data: when they act, what they choose, and what a replay finds."

from dataclasses import replace

import pytest

from timemoe_lab.agent.policy import acts, decide, replay
from timemoe_lab.config import Rule
from timemoe_lab.records import Decision, Event

IDLE = Rule("idle", "least_load", "below", 0.01, beats=2, knob="aux_weight", by=2.0, high=0.2)
FELL = Rule("fell", "quality", "fell", 0.1, beats=1, action="restore")


def beats(f1, held_out=None):
    "Beats with these F1 and errors of forecasts."
    errors = held_out or [0.3] * len(f1)
    facts = [{"f1": v, "signal": "f1", "held_out": error, "delta": 1.0} for v, error in zip(f1, errors)]
    return [Event("beat", step, 0.0, columns) for step, columns in enumerate(facts, 1)]


def test_a_rule_that_has_acted_waits_for_as_many_beats_again():
    acted, last = [], None
    for n in range(1, 8):
        if acts(IDLE, [0.001] * n, last):
            acted, last = [*acted, n], n - 1
    assert acted == [2, 4, 6]


@pytest.mark.parametrize("f1, held_out, best", [([0.7, 0.9, 0.8, 0.5], None, 2), ([0.9, 0.9, 0.4], [0.2, 0.3, 0.1], 1)])
def test_what_is_restored_is_the_best_beat(f1, held_out, best):
    (decision,) = decide(beats(f1, held_out), {}, [FELL])
    assert decision.restore == best and decision.new == f"weights of step {best}"


def test_a_decision_is_kept_as_its_rule_made_it():
    rows = beats([0.9, 0.4])
    (decision,) = decide(rows, {}, [FELL])
    inputs = {"quality": [0.9, 0.4]}
    told = {"name": "fell", "rule": FELL.text, "inputs": inputs, "knob": None, "old": "weights of step 2"}
    assert decision.to_json() == told | {"new": "weights of step 1", "restore": 1, "author": "agent"}
    assert list(decision.to_json()) == [*told, "new", "restore", "author"]  # the order in events.jsonl
    assert Decision.from_json(decision.to_json()) == decision


def test_a_knob_that_moved_without_a_decision_is_found():
    events = beats([0.99, 0.99, 0.99])
    assert replay(events, [IDLE]) == []
    events[2] = replace(events[2], values=events[2].values | {"delta": 0.7})
    (row,) = replay(events, [IDLE])
    assert row.step == 3 and (row.logged, row.derived, row.same) == (0.7, 1.0, False)


def test_a_change_by_a_person_is_checked_against_its_bounds():
    asked = Decision("asked for: change", "a person", knob="delta", old=1.0, new=0.5, outcome="applied")
    made = [Event("decision", 1, 0.0, d.to_json()) for d in (asked, replace(asked, new=99))]
    rows = replay([*beats([0.99]), *made], [IDLE])
    assert [row.same for row in rows] == [True, False]
