"A single-class watch over induction motors. `Detector` is here for others' tools, and loaded when it is asked for."


def __getattr__(name: str):
    if name != "Detector":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from timemoe_lab.plant.detector import Detector

    return Detector
