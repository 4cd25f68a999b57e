"Those rules of CONTRIBUTING.md that a program can check. Each check yields complaints; below it is proof that it can."

import ast
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

import timemoe_lab

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(ROOT.glob("nbs/**/[0-9]*.ipynb"))
MODULES = sorted(file for file in ROOT.glob("timemoe_lab/**/*.py") if not file.name.startswith("_"))
NOTEBOOK_PACKAGES = {"matplotlib", "plotly", "ipywidgets", "anywidget", "IPython", "jupyterlab", "nbdev", "fastcore"}
WIDTH = 120
LONGEST = 50  # lines of a function


def relative(path):
    return path.relative_to(ROOT).as_posix()


def check(complaints):
    complaints = list(complaints)
    assert not complaints, "\n" + "\n".join(complaints)


def in_files(files, complaints_of):
    "The complaints of many files, each with its file's name."
    return [f"{relative(file)}: {complaint}" for file in files for complaint in complaints_of(file)]


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


# Imports


def lint_imports(folder):
    lint = [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / "pyproject.toml", "--no-cache"]
    return subprocess.run(
        lint, cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, capture_output=True, text=True
    )


def test_imports_go_from_higher_to_lower_numbers():
    found = lint_imports(ROOT)
    assert found.returncode == 0, found.stdout[-4000:]


@pytest.mark.parametrize(
    "module, source",
    [
        ("data/store.py", "def late():\n    from timemoe_lab.model.moe import MoE"),  # a wing above
        ("data/recording.py", "from .store import Store"),  # a room above
        ("detect/score.py", "from ..train.step import Step"),  # wings that don't know each other
        ("agent/state.py", "import matplotlib"),
    ],
)
def test_an_arrow_the_wrong_way_is_caught(module, source, tmp_path):
    shutil.copytree(ROOT / "timemoe_lab", tmp_path / "timemoe_lab", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "timemoe_lab" / module, "a") as file:
        file.write(f"\n\n{source}\n")
    found = lint_imports(tmp_path)
    assert found.returncode == 1 and Path(module).stem in found.stdout.partition("BROKEN")[2]


def test_the_layers_are_those_of_the_notebooks():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for wing in sorted({n.parent.name for n in NOTEBOOKS} - {"nbs"}):
        rooms = [n.stem[3:] for n in NOTEBOOKS if n.parent.name == wing]
        assert f"layers = {json.dumps(rooms[::-1])}" in text, wing


class WithoutNotebookPackages(PathFinder):
    "Finds what a scoring machine has: everything but the packages that draw and edit."

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in NOTEBOOK_PACKAGES else super().find_spec(name, path, target)


def import_without_notebook_packages(modules):
    "Errors by module; runs in a process of its own."
    sys.meta_path = [WithoutNotebookPackages if finder is PathFinder else finder for finder in sys.meta_path]
    errors = {}
    for module in modules:
        try:
            __import__(module)
        except ImportError as error:
            errors[module] = str(error)
    return errors


def bare_imports(folder, modules):
    call = f"test_rules.import_without_notebook_packages({modules!r})"
    path = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    script = f"import sys, json, test_rules; print(json.dumps({call}))"
    run = subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE)
    assert run.returncode == 0
    return json.loads(run.stdout.splitlines()[-1])


def test_what_does_not_draw_needs_no_notebook_package(tmp_path):
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES]
    assert not bare_imports(ROOT, [name for name in names if not name.startswith("timemoe_lab.view")])
    (tmp_path / "draws.py").write_text("import matplotlib")
    (tmp_path / "counts.py").write_text("import numpy")
    assert list(bare_imports(tmp_path, ["draws", "counts"])) == ["draws"]


# Code


def lengthy_functions(path):
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST:
                yield f"line {node.lineno}: {node.name} has {lines} lines; at most {LONGEST}"


def calls(node):
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


def is_truth(node):
    "Whether an expression is true or false by its form."
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    truth = named and node.func.id in ("bool", "any", "all", "isinstance", "callable")
    return truth or isinstance(node, ast.Compare | ast.BoolOp) or getattr(node, "op", None).__class__ is ast.Not


def is_text(node):
    return isinstance(node, ast.JoinedStr | ast.List) or isinstance(getattr(node, "value", None), str)


def packed_lines(path):
    "Lines that do more than one thing."
    for node in ast.walk(parse(path)):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Tuple)
            and isinstance(node.value, ast.Tuple)
        ):
            n = len(node.value.elts)
            if n > 2 or calls(node):
                yield f"line {node.lineno}: {n} assignments in one; a line each"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            sides = ((node.left, node.right), (node.right, node.left))
            if any(is_text(text) and is_truth(truth) for text, truth in sides):
                yield f"line {node.lineno}: a text or list times a truth; write the condition"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id[0].isupper():
            if any(isinstance(argument, ast.Starred) for argument in node.args):
                yield f"line {node.lineno}: * into {node.func.id}; name the fields"
        elif isinstance(node, ast.comprehension | ast.For) and isinstance(node.iter, ast.Tuple | ast.List):
            if len(node.iter.elts) == 1 and not isinstance(node.iter.elts[0], ast.Starred):
                yield f"line {node.iter.lineno}: a loop of one; assign"


def pickles(path):
    for node in ast.walk(parse(path)):
        names = {getattr(node, field, None) for field in ("id", "attr", "name", "module")}
        if any("pickle" in name for name in names if isinstance(name, str)):
            yield f"line {node.lineno}: pickle"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("torch.load", "joblib.load"):
            yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("torch", "joblib"):
            yield from (f"line {node.lineno}: {node.module}.load" for name in node.names if name.name == "load")
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield f"line {node.value.lineno}: allow_pickle"


def wide_lines(text):
    "Lines wider than a page; nbdev wraps `__all__` itself, ten columns late."
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > WIDTH and not line.startswith("__all__ = "):
            yield f"line {number} has {len(line)} columns: {line[:60]}..."


def more_than_hands_on(path):
    "What a wing's `__init__.py` does besides handing on its names."
    tree = parse(path)
    names = [name.asname or name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names]
    for node in tree.body:
        doc = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        handed = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not (doc or isinstance(node, ast.ImportFrom) or handed):
            yield f"line {node.lineno}: it defines something"
        if handed and sorted(ast.literal_eval(node.value)) != sorted(names):
            yield f"line {node.lineno}: __all__ is not what it imports"


def code_complaints(path):
    for complaints_of in (lengthy_functions, packed_lines, pickles):
        yield from complaints_of(path)


def test_code_keeps_the_rules():
    check(in_files(MODULES, code_complaints))


def test_no_line_is_over_120_columns():
    files = [*MODULES, *sorted(ROOT.glob("tests/**/*.py")), ROOT / "setup.py"]
    check(in_files(files, lambda path: wide_lines(path.read_text(encoding="utf-8"))))


def test_a_wing_hands_on_its_names_and_defines_nothing():
    wings = sorted(ROOT.glob("timemoe_lab/*/__init__.py"))
    assert len(wings) == 8
    check(in_files(wings, more_than_hands_on))


def test_the_package_itself_loads_nothing_until_it_is_asked():
    (doc, handed) = parse(ROOT / "timemoe_lab/__init__.py").body
    assert isinstance(doc, ast.Expr) and isinstance(handed, ast.FunctionDef) and handed.name == "__getattr__"
    script = "import sys, timemoe_lab; assert 'torch' not in sys.modules; print(timemoe_lab.Detector.__module__)"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "timemoe_lab.plant.detector\n", run.stderr
    with pytest.raises(AttributeError, match="detector"):
        timemoe_lab.detector  # noqa: B018


@pytest.mark.parametrize(
    "source, complaints",
    [
        ("class C:\n    def f(self):\n" + "        x = 1\n" * 49, 0),
        ("class C:\n    def f(self):\n" + "        x = 1\n" * 50, 1),
        ("import numpy as np\nnp.load('x.npy', allow_pickle=False)  # never a pickle", 0),
        ("import pickle", 1),
        ("from pickle import loads", 1),
        ("frame.to_pickle('x')", 1),
        ("torch.load('x.pt', weights_only=True)", 1),
        ("from torch import load", 1),
        ("np.load('x.npy', allow_pickle=True)", 1),
        ("a, b = b, a", 0),
        ("a, b = f(x)", 0),
        ("a, b = f(x), y", 1),
        ("a, b, c = 1, 2, 3", 1),
        ("line = 'x' * 3", 0),
        ("lines = [line] * n_lines()", 0),
        ("line = 'x' * (n > 1)", 1),
        ("line = f'{x}' * bool(x)", 1),
        ("point = Point(*found)", 1),
        ("found = f(*found)", 0),
        ("x = [y for y in (f(x),)]", 1),
        ("x = [y for y in (f(x), x)]", 0),
    ],
)
def test_code_that_breaks_a_rule_is_caught(source, complaints, tmp_path):
    module = tmp_path / "module.py"
    module.write_text(source)
    assert len(list(code_complaints(module))) == complaints


@pytest.mark.parametrize(
    "source, complaints",
    [
        ('"Doc."\nfrom .a import b\n__all__ = ["b"]', 0),
        ("from .a import b\n__all__ = []", 1),
        ("def f():\n    return 1", 1),
    ],
)
def test_an_init_that_does_more_is_caught(source, complaints, tmp_path):
    (tmp_path / "__init__.py").write_text(source)
    assert len(list(more_than_hands_on(tmp_path / "__init__.py"))) == complaints


def test_a_wide_line_is_caught():
    assert len(list(wide_lines("x" * 120 + "\n" + "y" * 121 + "\n__all__ = " + "z" * 120))) == 1


# Notebooks


def source(cell):
    return "".join(cell["source"])


def flags(cell):
    "Directives of a code cell: `#| export` gives `{'export': ''}`."
    if cell["cell_type"] != "code":
        return {}
    found = (re.match(r"#\|\s*(\w+):?\s*(.*)", line) for line in source(cell).splitlines())
    return {match[1]: match[2].strip() for match in found if match}


FIRST_ROOM = 90  # notebooks from here on export nothing


def wrong_beginning(number, name, cells):
    first = source(cells[0]).splitlines()
    if cells[0]["cell_type"] != "markdown" or not re.match(r"# \S", first[0]):
        yield "the first cell is no `# Title`"
    if not any(line.startswith("> ") for line in first):
        yield "the first cell has no `> promise`"
    prose = [cell for cell in cells if cell["cell_type"] == "markdown"][:2]
    for lines in (len(source(cell).splitlines()) for cell in prose):
        if lines > 12:
            yield f"an opening markdown cell of {lines} lines; at most 12"
    modules = [flags(cell)["default_exp"] for cell in cells if "default_exp" in flags(cell)]
    if modules != ([name] if number < FIRST_ROOM else []):
        yield f"default_exp {modules}; expected its wing and name, once, below 90 and none from 90 on"
    if cells[-1]["cell_type"] != "markdown":
        yield "the last cell is no markdown"


def one_class(text):
    "Whether a cell defines one class and nothing else: its methods stay together."
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return False
    return len(body) == 1 and isinstance(body[0], ast.ClassDef)


def wrong_cells(number, cells):
    for cell in cells:
        where, lines = f"cell {cell['id']}", source(cell).splitlines()
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", cell["id"]) or re.match(r"[0-9a-f]{8}\b", cell["id"]):
            yield f"{where}: the id is not made of words"
        if cell["cell_type"] != "code":
            continue
        yield from (f"{where}: {complaint}" for complaint in wide_lines(source(cell)))
        exports = {"export", "exports", "exporti", "exportd"} & set(flags(cell))
        if exports and len(lines) > (100 if one_class(source(cell)) else 75):
            yield f"{where}: a definition of {len(lines)} lines; at most 75, or 100 for one class"
        if number >= FIRST_ROOM and (exports or any(re.match(r"(async )?def |class ", line) for line in lines)):
            yield f"{where}: a room defines nothing; that belongs in view"
    yield from wrong_rhythm(cells)
    ids = [cell["id"] for cell in cells]
    yield from (f"cell {name}: the id stands twice" for name in sorted({name for name in ids if ids.count(name) > 1}))


def wrong_rhythm(cells):
    "Definitions without an example between them, and markdown that says nothing."
    exported = 0
    for cell in cells:
        if cell["cell_type"] == "code":
            exported = exported + 1 if "export" in flags(cell) else 0
            if exported == 6:
                yield f"cell {cell['id']}: the sixth exported cell in a row; an example before it"
        elif cell is not cells[0] and len(source(cell).split()) < 5:
            yield f"cell {cell['id']}: markdown of {len(source(cell).split())} words"


def wrong_outputs(notebook):
    if "widgets" in notebook["metadata"]:
        yield "saved widget state"
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            for mime, data in output.get("data", {}).items():
                text = mime.startswith("text/") and "<script" not in "".join(data)
                if not text and mime != "image/png":
                    yield f"cell {cell['id']}: a saved output of {mime}; only text and PNG"


def wrong_notebook(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if not re.fullmatch(r"\d\d_[a-z_]+", path.stem):
        yield "the name is not two digits and a word"
    number = int(path.stem[:2])
    cells = notebook["cells"]
    wing = "" if path.parent.name == "nbs" else f"{path.parent.name}."
    yield from wrong_beginning(number, wing + path.stem[3:], cells)
    yield from wrong_cells(number, cells)
    yield from wrong_outputs(notebook)
    if path.stat().st_size >= 300_000:
        yield f"{path.stat().st_size} bytes; under 300 kB"


def test_notebooks_keep_the_shape_and_every_number_stands_once():
    check(in_files(NOTEBOOKS, wrong_notebook))
    numbers = [notebook.stem[:2] for notebook in NOTEBOOKS]
    assert len(set(numbers)) == len(numbers) > 40


def markdown(name, text):
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text}


def code(name, text, **data):
    outputs = [{"output_type": "display_data", "metadata": {}, "data": data}] if data else []
    return markdown(name, text) | {"cell_type": "code", "execution_count": None, "outputs": outputs}


def write_notebook(path, cells, **metadata):
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
    return path


def made(folder):
    (folder / "data").mkdir()
    return folder / "data/14_motor.ipynb"


def good_cells():
    return [
        markdown("title", "# Motor\n> The seven classes."),
        code("exp", "#| default_exp data.motor"),
        markdown("why", "Because a motor is not a sine."),
        code("motor-def", "#| export\ndef motor():\n    return 1"),
        code("motor-plot", "motor()", **{"text/plain": ["1"], "image/png": base64.b64encode(b"png").decode()}),
        markdown("limits", "**Limits.** It has no bearings. Next: nothing."),
    ]


def test_a_good_notebook_passes(tmp_path):
    assert not list(wrong_notebook(write_notebook(made(tmp_path), good_cells())))


@pytest.mark.parametrize(
    "index, cell, complaint",
    [
        (0, code("title", "# Motor\n> The seven classes."), "no `# Title`"),
        (0, markdown("title", "# Motor"), "no `> promise`"),
        (1, code("exp", "1"), "default_exp"),
        (1, code("exp", "#| default_exp data.engine"), "default_exp"),
        (2, markdown("why", "Because it is so long.\n" * 13), "at most 12"),
        (3, code("0a1b2c3d", "1"), "words"),
        (3, code("deadbeef-0123-4567-89ab-cdef01234567", "1"), "words"),
        (3, code("Motor_Def", "1"), "words"),
        (3, code("motor-plot", "1"), "twice"),
        (3, code("motor-def", "#| export\n" + "x = 1\n" * 75), "at most 75"),
        (3, code("motor-def", "x = " + "1" * 120), "columns"),
        (4, code("motor-plot", "1", **{"application/vnd.jupyter.widget-view+json": {"model_id": "x"}}), "saved output"),
        (4, code("motor-plot", "1", **{"image/svg+xml": "<svg/>"}), "saved output"),
        (4, code("motor-plot", "1", **{"text/html": "<script>1</script>"}), "saved output"),
        (4, code("motor-plot", "1", **{"image/png": "A" * 300_000}), "300 kB"),
        (5, code("limits", "1"), "last cell"),
        (2, markdown("why", "Its parts."), "markdown of 2 words"),
    ],
)
def test_a_fault_in_a_notebook_is_caught(index, cell, complaint, tmp_path):
    cells = good_cells()
    cells[index] = cell
    (found,) = wrong_notebook(write_notebook(made(tmp_path), cells))
    assert complaint in found


def test_a_run_of_definitions_is_caught():
    cells = [code(f"def-{i}", f"#| export\nx{i} = {i}") for i in range(6)]
    assert len(list(wrong_rhythm(cells))) == 1 and not list(wrong_rhythm(cells[:5]))


def test_saved_widget_state_is_caught(tmp_path):
    notebook = write_notebook(made(tmp_path), good_cells(), widgets={})
    assert list(wrong_notebook(notebook)) == ["saved widget state"]


@pytest.mark.parametrize("text", ["#| export\nx = 1", "def helper():\n    return 1"])
def test_a_room_that_defines_something_is_caught(text, tmp_path):
    cells = [good_cells()[0], code("panel", text), good_cells()[-1]]
    (found,) = wrong_notebook(write_notebook(tmp_path / "91_threshold.ipynb", cells))
    assert "belongs in view" in found


# Files


def own_files(folder):
    "Text files under `folder` that .gitignore doesn't name."
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if not line.startswith("#")]
    ignored += [".git", "shared"]
    for parent, folders, files in os.walk(folder):
        parent = Path(parent)
        names = {name: [name, (parent / name).relative_to(folder).as_posix()] for name in folders}
        folders[:] = sorted(n for n in names if not any(fnmatch(s, i) for s in names[n] for i in ignored))
        yield from (parent / name for name in sorted(files) if not name.endswith((".png", ".npz", ".csv", ".parquet")))


def machine_paths(path):
    text = path.read_text(encoding="utf-8", errors="replace")
    return re.findall(r"(?<![\w.~$}])/(?:home|work|root|opt|Users)/[^\s\"']*", text)


def test_no_path_of_a_machine_stands_in_a_file():
    check(in_files(own_files(ROOT), machine_paths))


@pytest.mark.parametrize("folder, complaints", [("home", 1), ("work", 1), ("root", 1), ("opt", 1), ("etc", 0)])
def test_a_path_of_a_machine_is_caught(folder, complaints, tmp_path):
    (tmp_path / "page.md").write_text(f"see /{folder}/somebody/data and a/{folder}/b")
    assert len(machine_paths(tmp_path / "page.md")) == complaints


def test_ruff_finds_nothing():
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--quiet", "timemoe_lab", "tests", "setup.py"]
    run = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


# The README


def blocks(text, language):
    "Contents of the fenced blocks of `language`, in order."
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(text):
    "Commands of the bash blocks, continued lines joined, without prompts, comments and blank lines."
    lines = "".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    stripped = (line.strip().removeprefix("$ ") for line in lines)
    return [line for line in stripped if line and not line.startswith("#")]


def readme():
    file = ROOT / "README.md"
    return file.read_text(encoding="utf-8") if file.exists() else ""


def first_word(word):
    return [line for line in commands(readme()) if line.split()[0] == word]


def missing_targets(line, makefile):
    targets = re.findall(r"^([\w-]+):", makefile, flags=re.MULTILINE)
    words = line.partition("#")[0].split()[1:]
    return [word for word in words if "=" not in word and not word.startswith("-") and word not in targets]


def run_command(line, folder):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = ["bash", "-euo", "pipefail", "-c", line]
    return subprocess.run(run, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=900)


def test_readme_is_there_and_its_korean_twin_has_the_same_blocks_and_links_that_lead_somewhere():
    korean = (ROOT / "README.ko.md").read_text(encoding="utf-8")
    assert first_word("make")
    assert all(blocks(korean, language) == blocks(readme(), language) for language in ("bash", "python"))
    for text in (readme(), korean):
        links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
        assert links and not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.parametrize("line", first_word("make"))
def test_make_target_of_the_readme_exists(line):
    assert not missing_targets(line, (ROOT / "Makefile").read_text())


def test_commands_and_python_of_the_readme_run_in_their_order(tmp_path, monkeypatch):
    "One test, since each builds on those before it: the first as a shell runs it, the others in this process."
    from timemoe_lab.cli import main

    (tmp_path / "data").symlink_to(ROOT / "data")
    first, *others = first_word("timemoe-lab")
    run = run_command(first, tmp_path)
    assert run.returncode == 0, f"{first}: {run.stderr[-2000:]}"
    monkeypatch.chdir(tmp_path)
    for line in others:
        assert not set(line) & set("|&;<>()$`\\\"'*?#~"), f"{line}: only a shell knows what this does"
        assert main(line.split()[1:]) == 0, line
    names = {"__name__": "readme"}
    for block in blocks(readme(), "python"):
        exec(compile(block, "README.md", "exec"), names)


def test_commands_are_read_from_bash_blocks_only():
    text = "```bash\n# set up\n$ make demo PYTHON=python3\ntimemoe-lab train \\\n  store\n```\n```text\nmake x\n```\n"
    assert commands(text) == ["make demo PYTHON=python3", "timemoe-lab train    store"]
    assert blocks("```python\nx = 1\n```\n", "python") == ["x = 1\n"]


def test_a_missing_make_target_is_caught():
    assert missing_targets("make -j2 demo fly PYTHON=python3  # or so", "demo: x\n\ttrue\n") == ["fly"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("line, code", [("true", 0), ("false | true", 1), ("timemoe-lab-no-such-command", 127)])
def test_a_failing_command_is_caught(line, code, tmp_path):
    assert run_command(line, tmp_path).returncode == code
