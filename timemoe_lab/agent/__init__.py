"What happens while nobody looks: beats, rules, a search; and the ways to look."

from .policy import read_policy, replay
from .heartbeat import Figures, Scored, beat, heartbeat, read_beat
from .state import beat_table, best_settings, decision_lines, routing_of, state_of, table_columns, table_rows
from .operate import serve
from .watch import watch
from .tune import study_facts, tune
from .reproduce import PROMISE, differences, reproduce

__all__ = [
    "PROMISE",
    "Figures",
    "Scored",
    "beat",
    "beat_table",
    "best_settings",
    "decision_lines",
    "differences",
    "heartbeat",
    "read_beat",
    "read_policy",
    "replay",
    "reproduce",
    "routing_of",
    "serve",
    "state_of",
    "study_facts",
    "table_columns",
    "table_rows",
    "tune",
    "watch",
]
