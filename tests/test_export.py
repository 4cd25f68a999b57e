"The package is what nbdev-export makes of the notebooks, and the notebooks are what nbdev-clean leaves of them."

import json
import shutil
from pathlib import Path

import pytest
from nbdev.clean import nbdev_clean
from nbdev.doclinks import nbdev_export

ROOT = Path(__file__).parents[1]
WIDGET = "application/vnd.jupyter.widget"


def copy_sources(source, target):
    "Copies what an export reads and writes."
    caches = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("nbs", "timemoe_lab"):
        shutil.copytree(source / name, target / name, ignore=caches)
    shutil.copy(source / "pyproject.toml", target)
    return target


def contents(tree):
    "The bytes of every notebook and module of `tree`, by relative path."
    files = [*tree.glob("nbs/**/*"), *tree.glob("timemoe_lab/**/*.py")]
    return {str(file.relative_to(tree)): file.read_bytes() for file in files if file.is_file()}


def exported(tree, scratch, monkeypatch):
    "A copy of `tree`, exported and cleaned afresh."
    fresh = copy_sources(tree, scratch)
    for module in fresh.glob("timemoe_lab/**/*.py"):
        if module.name != "__init__.py":
            module.unlink()
    monkeypatch.delenv("IN_TEST", raising=False)  # under it nbdev-export does nothing
    monkeypatch.setenv("XDG_CONFIG_HOME", str(scratch / "no-user-settings"))
    monkeypatch.chdir(fresh)
    nbdev_export()
    nbdev_clean()
    return fresh


def drift(tree, scratch, monkeypatch):
    "Names of the files of `tree` that a fresh export and clean would add, remove or change; `tree` stays as it is."
    old, new = contents(tree), contents(exported(tree, scratch, monkeypatch))
    widgets = {name for name, text in old.items() if name.endswith(".ipynb") and WIDGET.encode() in text}
    return widgets | {name for name in old | new if old.get(name) != new.get(name)}


def test_the_package_is_what_the_notebooks_export(tmp_path, monkeypatch):
    drifted = drift(ROOT, tmp_path / "fresh", monkeypatch)
    assert not drifted, f"{sorted(drifted)}: run `make export` and commit it; delete a module without a notebook"


# Each check has to be able to fail: below, the fault is made in a copy and has to be named.


NOTEBOOK, MODULE = "nbs/data/10_recording.ipynb", "timemoe_lab/data/recording.py"


@pytest.fixture
def copy(tmp_path, monkeypatch):
    "The repository with one notebook and its module."
    one = tmp_path / "one"
    for name in (NOTEBOOK, "timemoe_lab/__init__.py", "timemoe_lab/data/__init__.py", "pyproject.toml"):
        (one / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, one / name)
    return exported(one, tmp_path / "copy", monkeypatch)


def edit_notebook(path, change):
    "Applies `change` to the notebook and its first exported cell, and writes it the way nbdev does."
    notebook = json.loads(path.read_text(encoding="utf-8"))
    first = next(cell for cell in notebook["cells"] if "".join(cell["source"]).startswith("#| export\n"))
    change(notebook, first)
    path.write_text(json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def test_a_hand_edit_of_a_module_is_caught(copy, tmp_path, monkeypatch):
    edited = {MODULE, "timemoe_lab/_modidx.py"}
    for name in edited:
        with open(copy / name, "a", encoding="utf-8") as file:
            file.write("by_hand = 1\n")
    assert edited <= drift(copy, tmp_path / "fresh", monkeypatch)


def test_a_module_without_a_notebook_is_caught(copy, tmp_path, monkeypatch):
    shutil.copy(copy / MODULE, copy / "timemoe_lab/data/leftover.py")
    assert "timemoe_lab/data/leftover.py" in drift(copy, tmp_path / "fresh", monkeypatch)


def test_a_notebook_without_its_module_is_caught(copy, tmp_path, monkeypatch):
    (copy / MODULE).unlink()
    assert MODULE in drift(copy, tmp_path / "fresh", monkeypatch)


def test_an_edit_that_was_not_exported_is_caught(copy, tmp_path, monkeypatch):
    edit_notebook(copy / NOTEBOOK, lambda notebook, cell: cell["source"].append("\nUNEXPORTED = 1"))
    assert MODULE in drift(copy, tmp_path / "fresh", monkeypatch)


def count_execution(notebook, cell):
    cell["execution_count"] = 3


def keep_cell_metadata(notebook, cell):
    cell["metadata"] = {"scrolled": True}


def keep_notebook_metadata(notebook, cell):
    notebook["metadata"]["language_info"] = {"name": "python", "version": "3.11.0"}


def keep_widget_state(notebook, cell):
    notebook["metadata"]["widgets"] = {f"{WIDGET}-state+json": {"state": {}}}


def keep_widget_output(notebook, cell):
    data = {f"{WIDGET}-view+json": {"model_id": "0123456789abcdef"}}
    cell["outputs"] = [{"data": data, "metadata": {}, "output_type": "display_data"}]


def keep_address(notebook, cell):
    data = {"text/plain": ["<Figure at 0x7f0000000000>"]}
    cell["outputs"] = [{"data": data, "execution_count": None, "metadata": {}, "output_type": "execute_result"}]


@pytest.mark.parametrize(
    "soil",
    [
        count_execution,
        keep_cell_metadata,
        keep_notebook_metadata,
        keep_widget_state,  # nbdev-clean leaves both kinds of widget state alone
        keep_widget_output,
        keep_address,
    ],
)
def test_a_dirty_notebook_is_caught(soil, copy, tmp_path, monkeypatch):
    edit_notebook(copy / NOTEBOOK, lambda notebook, cell: None)
    assert NOTEBOOK not in drift(copy, tmp_path / "before", monkeypatch)
    edit_notebook(copy / NOTEBOOK, soil)
    assert NOTEBOOK in drift(copy, tmp_path / "after", monkeypatch)
