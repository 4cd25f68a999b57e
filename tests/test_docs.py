"The documentation site: what it is made of is there, its links lead somewhere, its reference is whole."

import contextlib
import importlib
import io
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from timemoe_lab import config
from timemoe_lab.cli import make_parser

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import hooks  # noqa: E402
import reference  # noqa: E402

WRITTEN = sorted([*ROOT.glob("docs/pages/**/*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/benchmarks/*.md")])
HEADING = re.compile(r"^#+ (.*?)(?: *\{ *#(\S+) *\})?$", re.MULTILINE)


@pytest.fixture(scope="module")
def pages():
    return hooks.written()


@cache
def text_of(address):
    "The Markdown of a page of the site; None: there is none."
    if address in hooks.written():
        return hooks.written()[address]
    name = hooks.sources().get(address)
    if name is None:
        return None
    return hooks.notebook_page(ROOT / name)[0] if name.endswith(".ipynb") else (ROOT / name).read_text(encoding="utf-8")


@cache
def anchors(address):
    "What a link may point at on a page."
    text = text_of(address)
    named = re.findall(r'id="([^"]+)"|\{#([\w-]+)\}', text)
    said = [re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title, _ in HEADING.findall(text)]
    return {name for pair in named for name in pair} | set(said)


def broken_links(text, address):
    "Links of a page that lead nowhere in the site."
    found = []
    for link in hooks.LINK.findall(hooks.FENCED.sub("", hooks.relinked(text, address))):
        target, _, anchor = link[1].partition("#")
        if "://" in target or Path(target).suffix in (".png",):
            continue
        other = str((Path("/") / address).parent.joinpath(target).resolve())[1:] if target else address
        there = text_of(other)
        if there is None or (anchor and anchor not in anchors(other)):
            found.append(link[1])
    return found


@pytest.mark.parametrize("wing", reference.WINGS)
def test_every_public_name_has_its_declaration_and_a_cell_that_explains_it(pages, wing):
    names = importlib.import_module(f"timemoe_lab.{wing}").__all__
    page = pages[f"reference/python/{wing}.md"]
    shown = re.findall(r"^## (\w+) ", page, re.MULTILINE)
    assert sorted(shown) == sorted(names)
    for name in names:
        part = page.partition(f"## {name} {{#{name}}}")[2].partition("\n## ")[0]
        assert re.search(rf"^(?:@\w.*\n)*(?:def {name}\(|class {name}\b|{name}\b.* ?=)", part, re.MULTILINE), name


def test_a_name_that_is_taken_from_elsewhere_is_shown_where_it_is_declared(tmp_path):
    (tmp_path / "a.py").write_text('LIMIT = 3  # s\n\n\ndef late(x):\n    "Whether."\n    return x > LIMIT\n')
    (tmp_path / "b.py").write_text("from .a import late\n")
    shown = reference.declaration("late", tmp_path / "b.py")
    assert (shown.kind, shown.text) == ("function", 'def late(x):\n    "Whether."')
    with pytest.raises(KeyError):
        reference.declaration("early", tmp_path / "b.py")


def test_every_command_stands_there_with_its_options(pages):
    page = pages["reference/commands.md"]
    verbs = next(action.choices for action in make_parser()._actions if isinstance(action.choices, dict))
    assert set(verbs) == set(re.findall(r"^### (\w+) ", page, re.MULTILINE))
    for verb, parser in verbs.items():
        part = page.partition(f"### {verb} ")[2].partition("\n### ")[0]
        assert all(option in part for action in parser._actions for option in action.option_strings), verb


def test_every_setting_has_its_default_and_the_bounds_that_it_holds(pages):
    page = pages["reference/settings.md"]
    for part in ("data", "model", "train", "score", "agent"):
        table = page.partition(f"{{#{part}}}")[2].partition("\n## ")[0]
        for item in fields(getattr(config.Config(), part)):
            row = re.search(rf"^\| `{item.name}` \| .* \|$", table, re.MULTILINE)
            assert row and not row[0].startswith(f"| `{item.name}` | `{item.default!r}` |  |"), (
                f"{item.name}: what is it?"
            )
            assert item.name == "policy" or f"`{item.default!r}`" in row[0], item.name
    assert "| at least 2 tokens |" in page and "whose ratios keep what it erases, else" in page
    assert all(f"| `{name}` | `{knob.path}` |" in page for name, knob in config.SPACE.items())


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_somewhere(path):
    assert not broken_links(path.read_text(encoding="utf-8"), hooks.site_address(path.relative_to(ROOT).as_posix()))


def test_links_of_notebooks_and_of_the_reference_lead_somewhere(pages):
    rooms = {address: text_of(address) for address in hooks.sources() if address.startswith("nbs/")}
    assert len(rooms) > 60
    found = {address: broken_links(text, address) for address, text in (rooms | hooks.written()).items()}
    assert not {address: links for address, links in found.items() if links}


def test_a_link_that_leads_nowhere_is_found():
    text = "[a](no.md) [b](index.md#nowhere) [c](index.md#two-commands) [d](../detection.md)\n```\n[e](x.md)\n```\n"
    assert broken_links(text, "tutorial.md") == ["no.md", "index.md#nowhere"]


def test_the_table_of_contents_has_every_page_once():
    nav = yaml.safe_load((ROOT / "docs/mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = hooks.listed(hooks.navigation(nav))
    there = [address for address in (*hooks.sources(), *hooks.written()) if address.endswith(".md")]
    assert sorted(listed) == sorted(there)
    assert hooks.listed(["a.md", {"B": ["b.md", {"C": "c.md"}]}]) == ["a.md", "b.md", "c.md"]


def test_commands_on_the_pages_are_commands():
    parser = make_parser()
    text = "".join(path.read_text(encoding="utf-8") for path in WRITTEN)
    lines = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).splitlines()
    lines += re.findall(
        r"`(timemoe-lab [a-z][^`]*)`", (ROOT / "docs/pages/specification.md").read_text(encoding="utf-8")
    )
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("timemoe-lab ") and "--help" not in line]
    assert len(commands) > 30
    for words in commands:
        with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.suppress(SystemExit):
            parser.parse_args(words)
        assert not told.getvalue(), (words, told.getvalue())


def test_what_a_command_prints_is_put_where_a_page_asks_for_it():
    text = "```bash\ntimemoe-lab plan --preset base --gpu-gb 24\n```\n\n<!-- what it prints -->\n"
    shown = hooks.answered(text)
    assert "<!--" not in shown and "preset: base" in shown and shown.startswith("```bash\ntimemoe-lab plan")
    assert hooks.answered("<!-- what it prints -->") == "<!-- what it prints -->"
    assert "what it prints -->" in (ROOT / "docs/pages/howto/rtx3090.md").read_text(encoding="utf-8")


def test_the_tutorial_takes_the_commands_of_the_readme_in_their_order():
    said, shown = (
        [
            line
            for block in re.findall(r"```bash\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
            for line in block.splitlines()
        ]
        for name in ("README.md", "docs/pages/tutorial.md")
    )
    both = [line for line in shown if line in said and "inspect" not in line]
    assert both == [line for line in said if line in both] and len(both) >= 10


def test_tests_that_the_specification_names_exist():
    named = set(re.findall(r"\btest_\w+", (ROOT / "docs/pages/specification.md").read_text(encoding="utf-8")))
    there = {name for path in ROOT.glob("tests/test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    assert len(named) > 15 and not named - there


def test_a_notebook_becomes_a_page_with_its_outputs():
    text, pictures = hooks.notebook_page(ROOT / "nbs/data/14_motor.ipynb")
    assert text.startswith("# Motor") and "{ .python .exported }" in text and "{ .text .output }" in text
    assert pictures and all(data.startswith(b"\x89PNG") and f"]({name})" in text for name, data in pictures.items())
    assert "#| export" not in text


@pytest.mark.slow
def test_the_site_is_built_and_asks_for_nothing_from_elsewhere(tmp_path):
    if not (find_spec("material") and find_spec("latex2mathml")):
        pytest.skip("mkdocs-material and latex2mathml aren't installed: pip install -e '.[docs]'")
    build = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-f",
        "docs/mkdocs.yml",
        "-d",
        str(tmp_path / "site"),
    ]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    built = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")}
    assert len(built) > 90 and not [name for name, text in built.items() if hooks.OUTSIDE.search(text)]
    assert "<math" in built["12_phases.html"] and "arithmatex" not in built["12_phases.html"]
    assert "timemoe_lab" in (tmp_path / "site/search/search_index.js").read_text(encoding="utf-8")
