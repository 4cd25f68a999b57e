"A trained run at work: whole fleets, motors as they run, other people's tools."

from .fleet import Diary, Discovery, FleetScore, Job, discover, score_folder
from .recalibrate import Recalibrated, recalibrate
from .sources import Cut, Message, Piece, Sink, Source, open_sink, open_source
from .monitor import Monitor, WatchedRun, alarm_id, cut_of, monitor_run, watch
from .detector import Detector

__all__ = [
    "Cut",
    "Detector",
    "Diary",
    "Discovery",
    "FleetScore",
    "Job",
    "Message",
    "Monitor",
    "Piece",
    "Recalibrated",
    "Sink",
    "Source",
    "WatchedRun",
    "alarm_id",
    "cut_of",
    "discover",
    "monitor_run",
    "open_sink",
    "open_source",
    "recalibrate",
    "score_folder",
    "watch",
]
