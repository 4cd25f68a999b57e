"Time-MoE: its experts, its transformer, its published checkpoints, and what it costs."

from .moe import DEAD_SHARE, Experts, load_balancing_loss, summarise_routing
from .timemoe import Output, TimeMoE, forecast, read_windows
from .published import from_published, load_model, published_tensors, published_values, save_model, to_published
from .plan import GB, RESERVED, Job, Way, advice, plan, ways
from .card import Check, Figure, read_check
from .stream import Stream, stream
from .device import (
    cpu_threads,
    hardware,
    is_out_of_memory,
    numerics,
    own_random,
    pick_device,
    precision_context,
    random_state,
    set_random_state,
)

__all__ = [
    "DEAD_SHARE",
    "GB",
    "RESERVED",
    "Check",
    "Experts",
    "Figure",
    "Job",
    "Output",
    "Stream",
    "TimeMoE",
    "Way",
    "advice",
    "cpu_threads",
    "forecast",
    "from_published",
    "hardware",
    "is_out_of_memory",
    "load_balancing_loss",
    "load_model",
    "numerics",
    "own_random",
    "pick_device",
    "plan",
    "precision_context",
    "published_tensors",
    "published_values",
    "random_state",
    "read_check",
    "read_windows",
    "save_model",
    "set_random_state",
    "stream",
    "summarise_routing",
    "to_published",
    "ways",
]
