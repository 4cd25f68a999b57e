"What mkdocs is told beyond mkdocs.yml: notebooks and reference become pages, links lead where their files went."

import ast
import base64
import html
import json
import os
import re
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import reference

ROOT = Path(__file__).parents[1]
PAGES = "docs/pages"
ELSEWHERE = {"CONTRIBUTING.md": "contributing.md", "data/README.md": "data.md", "README.md": "index.md"}
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCED = re.compile(r"(^(`{3,}).*?^\2[ ]*$)", re.DOTALL | re.MULTILINE)
OUTSIDE = re.compile(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)=["']?https?:""")


# Where the repository's files are in the site


def site_address(
    file: str,  # from the repository's root
) -> str | None:  # None: it isn't in the site
    "Where a file of the repository stands in the site."
    if file in ELSEWHERE:
        return ELSEWHERE[file]
    if file.startswith(f"{PAGES}/"):
        return file.removeprefix(f"{PAGES}/")
    if file.startswith("docs/") and Path(file).suffix in (".md", ".png"):
        return file.removeprefix("docs/")
    return file.removesuffix("ipynb") + "md" if re.match(r"nbs/.*\.ipynb$", file) else None


@cache
def sources() -> dict[str, str]:  # by address in the site
    "The files of the repository that have a page or are shown on one."
    files = [*ROOT.glob("docs/*.*"), *ROOT.glob("docs/benchmarks/*.*"), *ROOT.glob(f"{PAGES}/**/*.*")]
    files += [*ROOT.glob("nbs/**/[0-9][0-9]_*.ipynb"), ROOT / "CONTRIBUTING.md", ROOT / "data/README.md"]
    names = [file.relative_to(ROOT).as_posix() for file in files]
    return {address: name for name in names if (address := site_address(name))}


def moved(
    link: str,  # as it stands on a page
    page: str,  # address of the page in the site
) -> str:
    "A link between files of the repository as one between pages; any other stays."
    target, mark, anchor = link.partition("#")
    if "://" in link or not target:
        return link
    here = os.path.dirname(sources().get(page, f"{PAGES}/{page}"))
    address = site_address(os.path.normpath(os.path.join(here, target)))
    known = address and (address in sources() or address in written())
    return os.path.relpath(address, os.path.dirname(page) or ".") + mark + anchor if known else link


def relinked(
    markdown: str,
    page: str,  # its address in the site
) -> str:
    "The text with links that lead to pages; code stays as it is."

    def follow(found):
        return found[1] + moved(found[2], page) + found[3]

    parts = FENCED.split(markdown)
    return "".join(LINK.sub(follow, part) if i % 3 == 0 else part for i, part in enumerate(parts) if i % 3 != 2)


def answered(
    markdown: str,
) -> str:
    "The text with what a command prints where a comment asks for it; for commands that take no time."

    def answer(found):
        return found[1] + reference.fence(reference.printed(found[2].split()), "text")

    asked = r"(```bash\ntimemoe-lab (.*)\n```\n\n)<!-- what it prints -->"
    return re.sub(asked, answer, markdown)


# Notebooks as pages


def notebook_page(
    file: Path,  # a notebook
) -> tuple[str, dict[str, bytes]]:  # and pictures by name
    "A notebook with its saved outputs as Markdown; nothing is run, and what is only imported is folded."
    lines = []
    pictures = {}
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    for imports, group in groupby(cells, _is_imports):
        shown = []
        for cell in group:
            text, drawn = _cell(cell, file.stem)
            shown += text
            pictures |= drawn
        lines += (
            ['<details markdown="1"><summary>imports</summary>', "", *shown, "</details>", ""] if imports else shown
        )
    return "\n".join(lines), pictures


def _is_imports(
    cell: dict,  # of a notebook
) -> bool:
    "Whether a cell only imports, or only names its module."
    if cell["cell_type"] != "code":
        return False
    return all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(_code(cell)).body)


def _code(
    cell: dict,  # of a notebook
) -> str:
    "Its code without flags."
    return re.sub(r"^#\|.*\n?", "", "".join(cell["source"]), flags=re.MULTILINE).strip()


def _cell(
    cell: dict,  # of a notebook
    stem: str,  # of the notebook's file
) -> tuple[list[str], dict[str, bytes]]:
    "A cell as lines of Markdown, and its pictures by name."
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source, ""], {}
    lines = [f'<span id="{cell["id"]}"></span>', ""]
    pictures = {}
    exported = re.search(r"^#\| *export\b", source, re.MULTILINE)
    lines += [_block(_code(cell), ".python .exported" if exported else ".python"), ""] if _code(cell) else []
    for i, output in enumerate(cell["outputs"]):
        shown, picture = _output(output, f"{stem}-{cell['id']}-{i}.png")
        lines += [shown, ""]
        pictures |= picture
    return lines, pictures


def _block(
    text: str,
    classes: str,
) -> str:
    "The text in a fence that is longer than any in it."
    ticks = "`" * max(4, *(len(run) + 1 for run in re.findall("`+", text)), 4)
    return f"{ticks} {{ {classes} }}\n{text.rstrip()}\n{ticks}"


def _output(
    output: dict,  # of a cell
    name: str,  # for its picture
) -> tuple[str, dict[str, bytes]]:
    "A saved output, and the picture it has."
    data = output.get("data", {})
    if "image/png" in data:
        return f"![what the cell above draws]({name})", {name: base64.b64decode(data["image/png"])}
    text = "".join(output.get("text", data.get("text/plain", "")))
    return _block(text, ".text .output") if text.strip() else "", {}


def title_of(
    file: Path,  # a notebook
) -> tuple[str, str]:
    "The title and the promise of a notebook."
    first = "".join(json.loads(file.read_text(encoding="utf-8"))["cells"][0]["source"])
    title, promise = re.match(r"# (.*?)\n+> (.*)", first, re.DOTALL).groups()
    return title, " ".join(promise.replace("\n> ", " ").split())


@cache
def wings() -> list[tuple[str, list[Path]]]:
    "The notebooks in the order of their numbers, by wing; those beside the wings are ground or tools."
    files = sorted(ROOT.glob("nbs/**/[0-9][0-9]_*.ipynb"), key=lambda file: file.name)
    return [(wing, list(rooms)) for wing, rooms in groupby(files, _wing_of)]


def _wing_of(
    file: Path,  # a notebook
) -> str:
    "The wing that a notebook belongs to."
    if file.name >= "90":
        return "rooms"
    beside = "ground" if file.name < "10" else "tools"
    return beside if file.parent.name == "nbs" else file.parent.name


def wing_title(
    wing: str,
    rooms: list[Path],
) -> str:
    "A wing with the numbers of its rooms."
    numbers = [room.name[:2] for room in rooms]
    span = numbers[0] if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f"{wing} {span}"


def notebooks_page() -> str:
    "All notebooks with their promises, in the order of their numbers."
    lines = [
        "# Notebooks",
        "",
        "Each builds on lower numbers only: definition, example, test, picture, then a failure and the limits.",
    ]
    lines += ["What a notebook exports stands on a darker bar; the outputs are those that were saved with it.", ""]
    for wing, rooms in wings():
        lines += [f"## {wing_title(wing, rooms)}", "", "| room | what it promises |", "| --- | --- |"]
        for room in rooms:
            title, promise = title_of(room)
            address = room.relative_to(ROOT).as_posix()
            lines += [f"| [{room.name[:2]} {title}](../../{address}) | {promise.replace('|', chr(92) + '|')} |"]
        lines += [""]
    return "\n".join(lines)


# What mkdocs calls


@cache
def written() -> dict[str, str]:  # Markdown by address
    "The pages that no file of the repository holds."
    return {"notebooks.md": notebooks_page(), "reference/index.md": reference_page(), **reference.pages()}


def reference_page() -> str:
    "What the reference holds."
    lines = ["# Reference", "", "Written from the code when the site is built.", ""]
    lines += [
        "- [Commands](commands.md), with their help",
        "- [Settings](settings.md): unit, bounds and default of every field",
    ]
    lines += ["- [Files](files.md) of a run, and the records in them", "", "## Python", ""]
    lines += [
        "Public is what a wing hands on, and what files, config and records declare. Each name links to the cell that",
        "explains it.",
        "",
    ]
    for name in (*reference.GROUND, *reference.WINGS):
        lines += [f"- [`timemoe_lab.{name}`](python/{name}.md)"]
    return "\n".join(lines)


def listed(
    nav: list,  # a table of contents, or a part of one
) -> list[str]:
    "The pages that it leads to."
    values = [page for item in nav for page in ([item] if isinstance(item, str) else item.values())]
    return [name for page in values for name in ([page] if isinstance(page, str) else listed(page))]


def navigation(
    nav: list,  # of mkdocs.yml
) -> list:
    "The site's table of contents, with notebooks, the reference of Python, and what docs/ holds beyond mkdocs.yml."
    python = [{name: f"reference/python/{name}.md"} for name in (*reference.GROUND, *reference.WINGS)]
    rooms = []
    for wing, files in wings():
        pages = [{f"{f.name[:2]} {title_of(f)[0]}": site_address(f.relative_to(ROOT).as_posix())} for f in files]
        rooms.append({wing_title(wing, files): pages})
    rooms.append({"The sample and public data": "data.md"})
    known = {*listed(nav), "data.md"}
    others = [address for address in sources() if re.fullmatch(r"[\w-]+\.md", address) and address not in known]
    more = {"Reference": [{"Python": python}, *others], "Notebooks": rooms}
    return [{name: pages + more[name] if name in more else pages} for item in nav for name, pages in item.items()]


def on_config(config):
    "mkdocs: before anything is read."
    config.nav = navigation(config.nav)
    return config


def on_files(files, config):
    "mkdocs: which files there are."
    from mkdocs.structure.files import File

    for address, name in sources().items():
        if name.endswith(".ipynb"):
            text, pictures = notebook_page(ROOT / name)
            files.append(File.generated(config, address, content=text))
            for picture, data in pictures.items():
                files.append(File.generated(config, f"{os.path.dirname(address)}/{picture}", content=data))
        elif not name.startswith(PAGES):
            files.append(File.generated(config, address, abs_src_path=str(ROOT / name)))
    for address, text in written().items():
        files.append(File.generated(config, address, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    "mkdocs: before Markdown becomes HTML."
    boost = (
        0.2 if page.file.src_uri.startswith("reference/python/") else 1 if page.file.src_uri.startswith("nbs/") else 4
    )
    page.meta.setdefault("search", {"boost": boost})  # who searches for a word wants it explained first
    return relinked(answered(markdown), page.file.src_uri)


def on_page_content(content, page, config, files):
    "mkdocs: formulas become MathML, which browsers draw without a script."
    from latex2mathml.converter import convert

    def drawn(found):
        block = found[1] == "div"
        drawing = convert(html.unescape(found[2]), display="block" if block else "inline")
        return drawing.replace("<math", '<math tabindex="0"', 1) if block else drawing

    return re.sub(r'<(div|span) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', drawn, content, flags=re.DOTALL)


def on_post_page(output, page, config):
    "mkdocs: before a page is written; nothing on it may come from elsewhere."
    found = OUTSIDE.search(output)
    if found:
        raise ValueError(
            f"{page.file.src_uri}: {found[0]}: expected a file of the site, which is read without a network"
        )
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')
