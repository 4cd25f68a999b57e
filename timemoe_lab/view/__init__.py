"Pictures, pages and panels; the only wing that draws."

from .figures import Excerpt, figure_channels, figure_curves, figure_histogram, figure_load, figure_windows, png
from .panel import cell_here, link
from .threshold import ThresholdPanel, export_point
from .channels import ChannelPanel, contribution, read_scene
from .routing import RoutingPanel, load_of, read_routing
from .live import LivePanel
from .report import draw_beat, figure_training, middle, write_report
from .study import write_study_report

__all__ = [
    "ChannelPanel",
    "Excerpt",
    "LivePanel",
    "RoutingPanel",
    "ThresholdPanel",
    "cell_here",
    "contribution",
    "draw_beat",
    "export_point",
    "figure_channels",
    "figure_curves",
    "figure_histogram",
    "figure_load",
    "figure_training",
    "figure_windows",
    "link",
    "load_of",
    "middle",
    "png",
    "read_routing",
    "read_scene",
    "write_report",
    "write_study_report",
]
