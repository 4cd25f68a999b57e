"What happens while nobody looks: beats, rules, a search; and the ways to look."

from .policy import Replayed, acts, decide, read_policy, replay
from .heartbeat import Figures, Scored, beat, heartbeat, read_beat
from .state import (
    Beats,
    BestSettings,
    Layer,
    RoutingSummary,
    State,
    TrialRun,
    beat_table,
    beats_of,
    best_settings,
    decision_lines,
    routing_of,
    state_of,
    table_columns,
    table_rows,
)
from .operate import Answer, Validation, ask, propose, start_trial, validate
from .watch import screen, watch
from .tune import study_facts, tune
from .reproduce import PROMISE, differences, reproduce
from .prompt import prompt
from .server import make_server, serve
from .gpucheck import check_gpu

__all__ = [
    "PROMISE",
    "Answer",
    "Beats",
    "BestSettings",
    "Figures",
    "Layer",
    "Replayed",
    "RoutingSummary",
    "Scored",
    "State",
    "TrialRun",
    "Validation",
    "acts",
    "ask",
    "beat",
    "beat_table",
    "beats_of",
    "best_settings",
    "check_gpu",
    "decide",
    "decision_lines",
    "differences",
    "heartbeat",
    "make_server",
    "prompt",
    "propose",
    "read_beat",
    "read_policy",
    "replay",
    "reproduce",
    "routing_of",
    "screen",
    "serve",
    "start_trial",
    "state_of",
    "study_facts",
    "table_columns",
    "table_rows",
    "tune",
    "validate",
    "watch",
]
