"A trained run at work: whole fleets, motors as they run, other people's tools."

from .detector import Detector

__all__ = ["Detector"]
