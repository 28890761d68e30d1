"""What the site has besides the pages of docs/ (DESIGN.md and its like, the examples), and in
which order.

Links between all of these are written as they work in a checkout; here they are turned to where
the site has them.  The site must ask the network for nothing: the build fails if it would.
"""

import posixpath
import re
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from billing_adapters.cli.app import cli

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "DESIGN.md": "internals/decisions.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
SECTIONS = {
    "Start": "start",
    "Concepts": "concepts",
    "How to": "how-to",
    "Operate": "operate",
    "Rules": "rules",
    "Reference": "reference",
    "Internals": "internals",
    "Examples": "examples",
}
COMMANDS = "<!-- what --help says of each command -->"
TABLE_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)")
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1", re.MULTILINE | re.DOTALL)
ASKED = re.compile(
    rb"""class="mermaid"|<(?:script|img|iframe|source|video|audio)\b[^>]*?\bsrc=["']?(?:https?:)?//[^"'\s>]*"""
    rb"""|<link\b(?![^>]*rel=["']?canonical)[^>]*?\bhref=["']?(?:https?:)?//[^"'\s>]*"""
    rb"""|@import\s*["']?(?:url\()?["']?https?:[^"')]*|url\(["']?(?:https?:)?//[^"')]*"""
)


def examples() -> list[Path]:
    return sorted((ROOT / "examples").glob("*.py"))


def example(path: Path) -> str:
    """A page with an example's whole text."""
    text = path.read_text(encoding="utf-8").rstrip()
    return f'# {path.name}\n\n```python title="examples/{path.name}"\n{text}\n```\n'


@event_priority(100)  # before what makes the navigation
def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, place in PAGES.items():
        if files.get_file_from_path(place) is None and (ROOT / name).is_file():
            text = (ROOT / name).read_text(encoding="utf-8")
            files.append(File.generated(config, place, content=moved(text, name, place)))
    for path in examples():
        place = f"examples/{path.stem}.md"
        files.append(File.generated(config, place, content=example(path)))
    config.nav = navigation([each.src_uri for each in files.documentation_pages()])
    return files


Nav = list[str | dict[str, "Nav"]]


def navigation(pages: list[str]) -> Nav:
    """Every page, in its section; a section without a page is none."""
    lines = (ROOT / "docs" / ".order").read_text(encoding="utf-8").splitlines()
    ranks = {line: rank for rank, line in enumerate(lines)}

    def rank(page: str) -> tuple[bool, int, int, str]:
        number = re.match(r"\d*", page.rpartition("/")[2])
        assert number is not None
        place = ranks.get(page, len(ranks))
        return (not page.endswith("/index.md"), place, int(number[0] or 0), page)

    nav: Nav = ["index.md"]
    for title, directory in SECTIONS.items():
        inside = sorted((each for each in pages if each.startswith(f"{directory}/")), key=rank)
        python = [each for each in inside if each.startswith("reference/python/")]
        others: Nav = [each for each in inside if each not in python]
        section: Nav = [*others[:1], {"Python": [*python]}, *others[1:]] if python else others
        if section:
            nav.append({title: section})
    placed = {each for each in pages if each.split("/")[0] in SECTIONS.values()}
    about = [each for each in PAGES.values() if each in pages and each not in {*placed, "index.md"}]
    others = sorted(set(pages) - placed - {"index.md", *about})
    return [*nav, *others, {"Project": about}]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.generated_by is None:
        markdown = moved(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, commands())
    # GitHub wants a bar in a table's code escaped, and hides the stroke; Python-Markdown shows it.
    return TABLE_ROW.sub(
        lambda row: CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), markdown
    )


def commands() -> str:
    """What ``--help`` says of the command ``billing`` and of each of its own."""
    parts = []
    for words, command in [((), cli), *(((name,), each) for name, each in cli.commands.items())]:
        context = click.Context(cli, info_name="billing", max_content_width=100, terminal_width=100)
        if words:
            context = click.Context(command, info_name=words[0], parent=context)
        title = " ".join(("billing", *words))
        parts.append(f"## {title}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def moved(text: str, source: str, place: str) -> str:
    """``text``, a file of the checkout, with its links as they are at a place of the site."""

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if target.startswith("docs/"):
            found = target.removeprefix("docs/")
        elif target in PAGES:
            found = PAGES[target]
        elif target.startswith("examples/") and target.endswith(".py"):
            found = target.removesuffix(".py") + ".md"
        else:
            return match[0]  # mkdocs says that there is no such page
        return posixpath.relpath(found, posixpath.dirname(place) or ".")

    pieces = FENCE.split(text)
    del pieces[1::2]  # the marks of the fences
    fences = [each[0] for each in FENCE.finditer(text)]
    pieces = [LINK.sub(link, each) for each in pieces]
    return "".join(piece + fence for piece, fence in zip(pieces, [*fences, ""], strict=True))


@event_priority(-200)  # after all that write into the site
def on_post_build(config: MkDocsConfig) -> None:
    asked = {
        f"{path.relative_to(config.site_dir)}: {found[0].decode()}"
        for path in Path(config.site_dir).rglob("*")
        if path.suffix in (".html", ".css")
        for found in ASKED.finditer(path.read_bytes())
    }
    if asked:
        raise PluginError("the site would ask the network:\n" + "\n".join(sorted(asked)))
