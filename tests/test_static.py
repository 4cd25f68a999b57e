"The JavaScript of the panels: its own tests, its types, and what a panel's file must be."

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STATIC = sorted((ROOT / "timemoe_lab/static").glob("*"))
TESTS = sorted((ROOT / "tests/js").glob("*.test.mjs"))
TYPESCRIPT = ROOT / "tests/js/node_modules/typescript"


@pytest.fixture(scope="module")
def node():
    "Node.js, and TypeScript where this repository installs it."
    path = shutil.which("node")
    if path is None:
        pytest.fail("no node: install Node.js 20 or newer (Debian: apt-get install nodejs npm)", pytrace=False)
    if not TYPESCRIPT.is_dir():
        pytest.fail("no TypeScript: run npm install --prefix tests/js --no-package-lock", pytrace=False)
    return path


def test_the_javascript_passes_its_own_tests(node):
    found = subprocess.run([node, "--test", *map(str, TESTS)], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]


def test_the_types_of_the_javascript_hold(node):
    command = [node, str(TYPESCRIPT / "bin/tsc"), "--project", str(ROOT / "tests/js/tsconfig.json")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert found.returncode == 0, found.stdout[-6000:]


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_a_panels_file_asks_no_network_for_anything(path):
    text = path.read_text(encoding="utf-8")
    assert not [word for word in ("http:", "https:", "//cdn", "@import", "url(", "fetch(", "eval(") if word in text]


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_no_line_is_over_120_columns(path):
    long = [n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 120]
    assert not long, f"lines {long}"
