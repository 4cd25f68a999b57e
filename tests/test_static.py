"The JavaScript of the panels: its own tests, its types, and what a panel's file must be."

import shutil
import subprocess
from pathlib import Path

import pytest

from timemoe_lab.view import panel

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


@pytest.fixture
def bundle(monkeypatch, tmp_path):
    "The bundle of a.js among some files."

    def bundle(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.js").write_text(text)
        monkeypatch.setattr(panel, "STATIC", tmp_path)
        return panel.bundle("a")

    return bundle


def test_a_bundle_has_every_file_once_after_those_it_imports(bundle):
    files = {"a": 'import { b } from "./b.js";\nimport {\n  c,\n  d,\n} from "./c.js";\nb(c, d);\n'}
    files |= {
        "b": 'import { c } from "./c.js";\nexport const b = c;\n',
        "c": "export const c = 1;\nexport const d = 2;\n",
    }
    found = bundle(**files)
    assert found.split() == "export const c = 1; export const d = 2; export const b = c; b(c, d);".split()


@pytest.mark.parametrize(
    "b, message",
    [
        ('import { a } from "./a.js";\nexport const b = a;\n', "a -> b -> a"),
        ("export function b() {}\nfunction own() {}\n", "two of its files: own"),
        ("export const b = '</script>';\n", "a"),
    ],
    ids=["a circle", "a name twice", "the end of a script"],
)
def test_a_bundle_that_would_not_run_is_an_error(bundle, b, message):
    with pytest.raises(AssertionError, match=message):
        bundle(a='import { b } from "./b.js";\nexport const a = b;\nconst own = 1;\n', b=b)


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_a_panels_file_asks_no_network_for_anything(path):
    text = path.read_text(encoding="utf-8")
    assert not [word for word in ("http:", "https:", "//cdn", "@import", "url(", "fetch(", "eval(") if word in text]


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_no_line_is_over_120_columns(path):
    long = [n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 120]
    assert not long, f"lines {long}"
