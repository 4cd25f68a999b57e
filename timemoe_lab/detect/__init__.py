"Faults are found here; nothing here knows the training loop."

from .reading import read_series
from .score import Scores, pack_profile, score_recording
from .threshold import (
    Confusion,
    Points,
    Sweep,
    away_from_edges,
    best_f_beta,
    confusion,
    cost_threshold,
    curve,
    measure,
    pool_points,
    sweep,
)
from .alarms import Alarm, AlarmLine, about_rule, alarms_of, calibrate_alarms, events_of
from .controls import BASELINE, COIN
from .scorer import (
    SEEN,
    Calibration,
    RecordingScore,
    Scorer,
    about_counts,
    about_mask,
    calibrate,
    open_scorer,
    operating_point,
    score_recordings,
)
from .evaluation import Evaluation, Row, evaluation_table
from .evaluate import choose_rows, evaluate

__all__ = [
    "BASELINE",
    "COIN",
    "SEEN",
    "Alarm",
    "AlarmLine",
    "Calibration",
    "Confusion",
    "Evaluation",
    "Points",
    "RecordingScore",
    "Row",
    "Scorer",
    "Scores",
    "Sweep",
    "about_counts",
    "about_mask",
    "about_rule",
    "alarms_of",
    "away_from_edges",
    "best_f_beta",
    "calibrate",
    "calibrate_alarms",
    "choose_rows",
    "confusion",
    "cost_threshold",
    "curve",
    "evaluate",
    "evaluation_table",
    "events_of",
    "measure",
    "open_scorer",
    "operating_point",
    "pack_profile",
    "pool_points",
    "read_series",
    "score_recording",
    "score_recordings",
    "sweep",
]
