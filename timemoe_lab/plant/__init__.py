"A trained run at work: whole fleets, motors as they run, other people's tools."

from .fleet import Diary, Discovery, FleetScore, Job, discover, score_folder
from .recalibrate import Recalibrated, recalibrate
from .detector import Detector

__all__ = [
    "Detector",
    "Diary",
    "Discovery",
    "FleetScore",
    "Job",
    "Recalibrated",
    "discover",
    "recalibrate",
    "score_folder",
]
