"A trained run at work: whole fleets, motors as they run, other people's tools."

from .sources import Cut, Message, Piece, Sink, Source, open_sink, open_source
from .monitor import Monitor, WatchedRun, alarm_id, cut_of, monitor_run, watch

__all__ = [
    "Cut",
    "Message",
    "Monitor",
    "Piece",
    "Sink",
    "Source",
    "WatchedRun",
    "alarm_id",
    "cut_of",
    "monitor_run",
    "open_sink",
    "open_source",
    "watch",
]
