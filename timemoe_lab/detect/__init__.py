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
from .diagnosis import Change, Diagnosis, Healthy, Level, NamedLine, Ray, Usual, diagnose, healthy_of, say, usual_of
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
    "Calibration",
    "Change",
    "Confusion",
    "Diagnosis",
    "Evaluation",
    "Healthy",
    "Level",
    "NamedLine",
    "Points",
    "Ray",
    "RecordingScore",
    "Row",
    "Scorer",
    "Scores",
    "Sweep",
    "Usual",
    "about_counts",
    "about_mask",
    "away_from_edges",
    "best_f_beta",
    "calibrate",
    "choose_rows",
    "confusion",
    "cost_threshold",
    "curve",
    "diagnose",
    "evaluate",
    "evaluation_table",
    "healthy_of",
    "measure",
    "open_scorer",
    "operating_point",
    "pack_profile",
    "pool_points",
    "read_series",
    "say",
    "score_recording",
    "score_recordings",
    "sweep",
    "usual_of",
]
