"The drag over a saved page, as `bench panel` measures it: what a million points cost against ten thousand."

import pytest

from timemoe_lab.bench import bench_panel, panel_page

pytestmark = pytest.mark.browser


def test_the_page_that_is_measured_has_all_points():
    page = panel_page(1_000_000)
    assert len(page) > 4_000_000 and "Thinned" not in page


def test_a_million_points_paint_in_at_most_three_times_what_ten_thousand_take():
    few, many = bench_panel()
    print(f"a million {many.median_ms:.1f} ms (slowest {many.max_ms:.1f}), ten thousand {few.median_ms:.1f} ms")
    assert (few.points, many.points) == (10_000, 1_000_000)
    assert 0 < many.median_ms <= 3 * few.median_ms
