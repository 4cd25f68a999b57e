"The drag over a saved page, as the bench measures it: what a million points cost against ten thousand."

import numpy as np
import pytest

from timemoe_lab.view import ThresholdPanel

from .latency import panel_latency, whole_html

pytestmark = pytest.mark.browser
N = 1_000_000


@pytest.fixture(scope="module")
def panels():
    "A million points, and every hundredth of them."
    generator = np.random.default_rng(7)
    faulty = np.arange(N) % 50_000 > 42_000
    score = (generator.gamma(2.0, 1.0, N) + 3 * faulty).astype(np.float32)
    return [ThresholdPanel(score=score[::every], label=faulty[::every], fs=1000.0 / every) for every in (1, 100)]


def test_the_page_that_is_measured_has_all_points(panels):
    assert len(whole_html(panels[0])) > 4 * N and "Thinned" not in whole_html(panels[0])
    assert "Thinned" in panels[0].html()


def test_a_million_points_paint_in_at_most_three_times_what_ten_thousand_take(panels):
    (many, slowest), (few, _) = panel_latency(panels)
    print(f"saved page: a million {many:.1f} ms (slowest {slowest:.1f}), ten thousand {few:.1f} ms")
    assert 0 < many <= 3 * few
