"Weights are learned here; nothing here knows a score."

from .step import Batch, Team, WindowOrder, check_machine, make_optimizer, split_batch, train_step
from .loop import Ahead, Heartbeat, detach_training, stop_on_signal, train, training_data, warnings_at

__all__ = [
    "Ahead",
    "Batch",
    "Heartbeat",
    "Team",
    "WindowOrder",
    "check_machine",
    "detach_training",
    "make_optimizer",
    "split_batch",
    "stop_on_signal",
    "train",
    "train_step",
    "training_data",
    "warnings_at",
]
