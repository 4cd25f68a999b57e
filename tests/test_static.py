"The JavaScript of the panels: its own tests, and what a panel's file must be."

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STATIC = sorted((ROOT / "timemoe_lab/static").glob("*"))
TESTS = sorted((ROOT / "tests/js").glob("*.test.mjs"))


def test_the_javascript_passes_its_own_tests():
    node = shutil.which("node")
    assert node, "no node: install Node.js 20 or newer (Debian: apt-get install nodejs), then run this again"
    found = subprocess.run([node, "--test", *map(str, TESTS)], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_a_panels_file_asks_no_network_for_anything(path):
    text = path.read_text(encoding="utf-8")
    assert not [word for word in ("http:", "https:", "//cdn", "@import", "url(", "fetch(", "eval(") if word in text]


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_no_line_is_over_120_columns(path):
    long = [n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 120]
    assert not long, f"lines {long}"
