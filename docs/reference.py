"The reference of the documentation site, written from the code: commands, settings, files, records, public names."

import ast
import contextlib
import io
import os
import re
import tokenize
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path

from timemoe_lab import config
from timemoe_lab.cli import TASKS, main

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "timemoe_lab"
WINGS = ("data", "model", "run", "train", "detect", "agent", "view", "plant")
GROUND = ("files", "config", "records")  # modules beside the wings, which everything may use
PRESETS = ("tiny", "small", "base", "large", "ultra", "literal")
WRONG = (-1, 0, 2, float("nan"), "?", ("?",))  # values that a setting may refuse, and then says its bounds
LONGEST = 12  # lines of a constant that are shown


# Commands


def printed(
    words: list[str],  # of a command
) -> str:
    "What a command prints on 80 columns."
    told = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        main(words)
    os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return told.getvalue().rstrip()


def commands_page() -> str:
    "Every command with its help, by task."
    lines = [
        "# Commands",
        "",
        "Every command says the same under `--help`. An error is one line; a command ends with 0",
    ]
    lines += ["where it did what it was asked, 1 where the data don't allow it, 2 where it was called wrongly.", ""]
    for task, examples in TASKS.items():
        lines += [f"## {task}", ""]
        for name, example in examples.items():
            lines += [f"### {name} {{#{name}}}", "", fence(f"timemoe-lab {example}", "bash"), ""]
            lines += [fence(printed([name, "--help"]), "text"), ""]
    return "\n".join(lines)


def fence(
    text: str,
    kind: str,  # language
) -> str:
    "The text as a block of code."
    return f"````{kind}\n{text}\n````"


# Settings


def comments_of(
    source: str,  # Python
) -> dict[int, str]:  # by line, from 1
    "The comments of a text."
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def written_fields(
    source: str,  # a module
) -> dict[tuple[str, str], tuple[str, str]]:  # type and comment by class and field
    "How the fields of a module's classes are annotated, and what stands beside each and under it until the next."
    told = comments_of(source)
    found = {}
    for node in ast.parse(source).body:
        body = node.body if isinstance(node, ast.ClassDef) else []
        for item, after in zip(body, [*body[1:], None]):
            if isinstance(item, ast.AnnAssign):
                last = item.end_lineno if after is None else _first_line(after) - 1
                lines = [told[i] for i in range(item.lineno, last + 1) if i in told]
                found[node.name, item.target.id] = ast.unparse(item.annotation), " ".join(lines)
    return found


def _first_line(
    node: ast.AST,
) -> int:
    "The first line of a statement, decorators included."
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def bounds_of(
    part: type,  # a settings class
    name: str,  # of a field
) -> str:
    "What a setting expects, as it says where it refuses a value; empty where it refuses none."
    for wrong in WRONG:
        try:
            part(**{name: wrong})
        except Exception as error:
            told = re.match(rf"{name}=.*?: expected (.*)", str(error), re.DOTALL)
            if told:
                return told[1].replace("\n", " ")
    return ""


def default_of(
    item,  # a field of a dataclass
) -> str:
    "Its default."
    if item.default is not MISSING:
        return f"`{item.default!r}`"
    return "" if item.default_factory is MISSING else "made anew"


def cell(
    text: str,
) -> str:
    "The text as it may stand in a table."
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def config_page() -> str:
    "Every setting with its default, its bounds and what it is."
    source = (PACKAGE / "config.py").read_text(encoding="utf-8")
    told = written_fields(source)
    lines = [
        "# Settings",
        "",
        "A run keeps its settings in `config.json`, and `train --config FILE` takes such a file.",
    ]
    lines += ["From Python a variant is made with `replace`, and every setting is checked when it is made:", ""]
    lines += [fence("replace(tiny(), train=replace(tiny().train, steps=400))", "python"), ""]
    for item in fields(config.Config):
        part = item.default_factory if is_dataclass(item.default_factory) else None
        if part is None:
            continue
        lines += [f"## {item.name} {{#{item.name}}}", "", f"`{part.__name__}`: {part.__doc__}", ""]
        lines += ["| setting | default | what it is | expected | type |", "| --- | --- | --- | --- | --- |"]
        for knob in fields(part):
            type_, what = told[part.__name__, knob.name]
            bounds = bounds_of(part, knob.name)
            row = [f"`{knob.name}`", default_of(knob), cell(what), cell(bounds), f"`{type_}`"]
            lines += ["| " + " | ".join(row) + " |"]
        lines += [""]
    return "\n".join([*lines, *_knob_lines(), *_preset_lines()])


def _knob_lines() -> list[str]:
    "What a search or an operator may change, and how far."
    lines = ["## What may be changed, and how far {#knobs}", ""]
    lines += [
        "`tune` searches these; rules of the heartbeat and an operator change the live ones while a run trains.",
        "",
    ]
    lines += ["| knob | setting | from | to | live | what it is |", "| --- | --- | --- | --- | --- | --- |"]
    for name, knob in config.SPACE.items():
        live = "yes" if knob.live else ""
        lines += [f"| `{name}` | `{knob.path}` | {knob.low:g} | {knob.high:g} | {live} | {cell(knob.what)} |"]
    return [*lines, ""]


def _preset_lines() -> list[str]:
    "The settings in which the presets differ."
    made = {name: config.preset(name).to_dict() for name in PRESETS}
    lines = ["## What the presets change {#presets}", "", "| setting | " + " | ".join(PRESETS) + " |"]
    lines += ["| --- |" + " --- |" * len(PRESETS)]
    for part, settings in made["base"].items():
        for name in settings if isinstance(settings, dict) else ():
            values = [made[preset][part][name] for preset in PRESETS]
            if any(value != values[0] for value in values):
                shown = [f"`{value!r}`" for value in values]
                lines += [f"| `{part}.{name}` | " + " | ".join(shown) + " |"]
    return [*lines, ""]


# Files


def files_page() -> str:
    "The files of a run as the README has them, and the records that are written into them."
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.search(r"\| in the run folder \|.*?\n\n", readme, re.DOTALL)[0].strip()
    lines = [
        "# Files",
        "",
        "## A run {#run}",
        "",
        table,
        "",
        "Every JSON file carries `schema`; files that decide something carry a seal,",
    ]
    lines += [
        "which `timemoe-lab verify` checks and `timemoe-lab sign` renews.",
        "",
        "## What stands in them {#records}",
        "",
    ]
    lines += ["Each record is a type of `timemoe_lab.records`; a file holds its fields under their names.", ""]
    for item in declared(PACKAGE / "records.py"):
        if item.kind == "class":
            lines += [f"### {item.name} {{#{item.name.lower()}}}", "", fence(item.text, "python"), ""]
    return "\n".join(lines)


# Public names


@dataclass(frozen=True)
class Declared:
    "A public name and how it is declared."

    name: str
    kind: str  # "class", "function" or "constant"
    text: str  # head and docstring; of a class its fields and the heads of its public methods
    notebook: str  # that it is written in, from the repository's root
    cell: str  # of the notebook, by id


@cache
def declared(
    file: Path,  # a module
) -> list[Declared]:
    "The public names of a module in its order."
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    marks = [(i, m) for i, line in enumerate(lines, 1) if (m := re.match(r"# %% (\S+\.ipynb) #(\S+)", line))]
    found = []
    for node in ast.parse(source).body:
        name = _name_of(node)
        if name is None or name.startswith("_"):
            continue
        here = [m for i, m in marks if i <= node.lineno][-1:]
        notebook = (file.parent / here[0][1]).resolve().relative_to(ROOT).as_posix() if here else ""
        kind, text = _shown(node, lines)
        found.append(Declared(name, kind, text, notebook, here[0][2] if here else ""))
    return found


def _name_of(
    node: ast.stmt,
) -> str | None:
    "The name that a statement declares."
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) and not isinstance(node, ast.AugAssign) else None


def _shown(
    node: ast.stmt,
    lines: list[str],  # of its module
) -> tuple[str, str]:
    "What kind of name it is, and what is shown of it."
    if isinstance(node, ast.FunctionDef):
        return "function", "\n".join(_head(node, lines))
    if isinstance(node, ast.ClassDef):
        return "class", "\n".join(_class_lines(node, lines)).rstrip()
    whole = lines[node.lineno - 1 : node.end_lineno]
    return "constant", "\n".join(whole if len(whole) <= LONGEST else [*whole[:LONGEST], "..."])


def _head(
    node: ast.FunctionDef,
    lines: list[str],  # of its module
) -> list[str]:
    "A function without its body, but with its docstring."
    first = node.body[0]
    last = first.end_lineno if _is_text(first) else first.lineno - 1
    return lines[_first_line(node) - 1 : last]


def _is_text(
    node: ast.stmt,
) -> bool:
    "Whether a statement is a docstring."
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _class_lines(
    node: ast.ClassDef,
    lines: list[str],  # of its module
) -> list[str]:
    "A class: its docstring, its fields, and the heads of its public methods."
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    last = _first_line(methods[0]) - 1 if methods else node.end_lineno
    shown = lines[_first_line(node) - 1 : last]
    while shown and (not shown[-1].strip() or shown[-1].lstrip().startswith("@")):
        shown = shown[:-1]
    for item in methods:
        if not item.name.startswith("_"):
            shown = [*shown, "", *_head(item, lines)]
    return shown


def handed_on(
    file: Path,  # a module, or a wing's `__init__`
) -> dict[str, Path]:  # by name, the module that it comes from
    "The names that a module takes from others of the package."
    found = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("timemoe_lab.")):
            start = file.parents[node.level - 1] if node.level else ROOT
            other = start.joinpath(*(node.module or "").split(".")).with_suffix(".py")
            found |= {item.asname or item.name: other for item in node.names}
    return found


def declaration(
    name: str,
    file: Path,  # that declares it, or takes it from one that does
) -> Declared:
    "How a name is declared."
    here = {item.name: item for item in declared(file)}
    return here[name] if name in here else declaration(name, handed_on(file)[name])


def wing_page(
    wing: str,
) -> str:
    "The public names of a wing, each as it is declared."
    door = PACKAGE / wing / "__init__.py"
    tree = ast.parse(door.read_text(encoding="utf-8"))
    items = [declaration(name, file) for name, file in handed_on(door).items()]
    use = f"from timemoe_lab.{wing} import {items[0].name}" if items else ""
    lines = [f"# timemoe_lab.{wing}", "", ast.get_docstring(tree) or "", ""]
    lines += [fence(use, "python"), ""] if items else ["It hands on no names yet: its rooms are used by the commands."]
    return "\n".join([*lines, *_item_lines(items, depth=2)])


def module_page(
    module: str,  # beside the wings
) -> str:
    "The public names of a module beside the wings."
    file = PACKAGE / f"{module}.py"
    told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return "\n".join([f"# timemoe_lab.{module}", "", " ".join(told.split()), "", *_item_lines(declared(file), depth=2)])


def _item_lines(
    items: list[Declared],
    *,
    depth: int,  # of the headings
) -> list[str]:
    "Each name with its declaration and the cell that explains it."
    lines = []
    for item in items:
        room = Path(item.notebook).stem.replace("_", " ", 1)
        lines += [f"{'#' * depth} {item.name} {{#{item.name}}}", ""]
        lines += [f"[{room}](../../../../{item.notebook}#{item.cell})", ""] if item.notebook else []
        lines += [fence(item.text, "python"), ""]
    return lines


def pages() -> dict[str, str]:  # Markdown by address in the site
    "All pages of the reference."
    made = {
        "reference/commands.md": commands_page(),
        "reference/settings.md": config_page(),
        "reference/files.md": files_page(),
    }
    made |= {f"reference/python/{module}.md": module_page(module) for module in GROUND}
    return made | {f"reference/python/{wing}.md": wing_page(wing) for wing in WINGS}
