"""Every rule that is cited by its number stands on a page, and the pages are whole.

Rules are cited as "rule 6.7", "rules 3.7 and 3.9", "rules 5.4, 5.7 to 5.12", "Section 6.2's", or,
behind the word, in brackets; names of tests cite them too: ``test_rules_6_…``, ``test_6_7_…``.
The glossary's words are linked to, and in order.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[2]).absolute()
PAGES = {path.name: path for path in sorted(ROOT.glob("docs/rules/*.md"))}

FOLDERS = ("billing_core", "adapters", "tests", "examples", "benchmarks", "docs")
FILES = ("README.md", "DESIGN.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")
KINDS = {".py", ".md", ".sql", ".toml", ".js", ".html", ".css", ".yml"}

NUMBER = r"(?:rule )?\d+\.\d+(?!\.?\d)"
JOINT = r"(?:,|,? and|,? or|,? to|\s?[–-])\s?"
SEVERAL = re.compile(rf"\b(?:rules?|sections?)\s+({NUMBER}(?:{JOINT}{NUMBER})*)", re.I)
BRACKETED = re.compile(rf"\brules?\b[^.()]{{0,60}}\(\"?({NUMBER}(?:{JOINT}{NUMBER})*)\"?\)", re.I)
LINK = re.compile(r"\[([^\[\]]*)\]\([^()\s]*\)")
LINE_END = re.compile(r"\s*\n[ \t]*(?:#[ \t]*|>[ \t]*|--[ \t]*)?")  # in a comment, too
HEADING = re.compile(r"^## (\d+)\.(\d+) \S.* \{#(\d+)-(\d+)\}$", re.M)
TITLE = re.compile(r"^## (.+) \{#(.+)\}\n\n(Not built yet\.)?", re.M)
ANCHOR = re.compile(r"([\w./-]*)#(\d+-\d+)\)")

Rule = tuple[int, int]


def cited(text: str) -> Iterator[Rule]:
    """The rules that a text cites, those in between of a range too."""
    text = LINE_END.sub(" ", LINK.sub(r"\1", text))
    for found in (*SEVERAL.finditer(text), *BRACKETED.finditer(text)):
        before: Rule | None = None
        for joint, number in re.findall(r"([^\d.]*)(\d+\.\d+)", found[1]):
            rule = _rule(number)
            if before is not None and re.search(r"\bto\b|[–-]", joint) and before[0] == rule[0]:
                yield from ((rule[0], each) for each in range(before[1] + 1, rule[1]))
            yield rule
            before = rule


def _rule(number: str) -> Rule:
    section, _, item = number.partition(".")
    return int(section), int(item)


def in_names(path: Path, text: str) -> Iterator[Rule]:
    """The rules that a test's file and its tests name; of a file the section, as its rule 0."""
    named = re.match(r"test_rules_(\d+)_", path.name)
    if named is None:
        return
    yield int(named[1]), 0
    for found in re.finditer(r"^ *(?:async )?def test_(\d+)_(\d+)_", text, re.M):
        yield int(found[1]), int(found[2])


def standing(pages: Mapping[str, str]) -> set[Rule]:
    """The rules that stand on these pages; each section as its rule 0."""
    rules = {
        (int(section), int(item))
        for text in pages.values()
        for section, item, _, _ in HEADING.findall(text)
    }
    return rules | {(section, 0) for section, _ in rules}


def missing(texts: Mapping[Path, str], rules: set[Rule]) -> list[str]:
    """Each citation of a rule that does not stand anywhere."""
    return [
        f"{path}: {section}.{item}"
        for path, text in texts.items()
        for section, item in (*cited(text), *in_names(path, text))
        if (section, item) not in rules
    ]


def of_the_project() -> dict[Path, str]:
    """Its own text, but for this test's, which cites what does not exist."""
    return {
        path.relative_to(ROOT): path.read_text(encoding="utf-8")
        for path in _paths()
        if path.is_file() and path != ROOT / "tests/docs/test_cited_rules.py"
    }


def _paths() -> Iterable[Path]:
    yield from (ROOT / name for name in FILES)
    for folder in FOLDERS:
        yield from (each for each in sorted((ROOT / folder).rglob("*")) if each.suffix in KINDS)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    return of_the_project()


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("as it must be (rule 6.7).", ["6.7"]),
        ("rules 3.7 and 3.9", ["3.7", "3.9"]),
        ("by rules 5.4, 5.7 to 5.9, and no other", ["5.4", "5.7", "5.8", "5.9"]),
        ("Rules 6.5, 6.7 and 8.6: what time does", ["6.5", "6.7", "8.6"]),
        ("# what counts (rule\n    # 8.7): more", ["8.7"]),
        ("Section 6.2's *available*", ["6.2"]),
        ("[rule 6.3](rules/6-ledger.md#6-3) makes", ["6.3"]),
        ("rules [3.2](a.md#3-2), [3.6](#3-6) and\n[7.2](#7-2)", ["3.2", "3.6", "7.2"]),
        ('rules are cited by number ("6.7")', ["6.7"]),
        ("the [rules](rules/index.md) of holds (5.4, 6.3 and 6.4)", ["5.4", "6.3", "6.4"]),
        ("the rule for it ([5.4](a.md#5-4))", ["5.4"]),
        ("version 0.1.0, or 6.7 of something; rule 3.8.", ["3.8"]),
    ],
)  # fmt: skip
def test_a_citation_is_found(text: str, rules: list[str]) -> None:
    assert sorted({f"{section}.{item}" for section, item in cited(text)}) == rules


def test_every_rule_that_is_cited_stands_on_a_page(
    texts: dict[Path, str], pages: dict[str, str]
) -> None:
    assert missing(texts, standing(pages)) == []


def test_a_rule_that_stands_nowhere_is_found(texts: dict[Path, str], pages: dict[str, str]) -> None:
    rules = standing(pages)
    planted = {
        Path("a.py"): '"""See rule 6.99."""',
        Path("test_rules_6_x.py"): "def test_6_98_nothing() -> None: ...",
        Path("test_rules_97_x.py"): "",
    }
    assert missing(planted, rules) == [
        "a.py: 6.99", "test_rules_6_x.py: 6.98", "test_rules_97_x.py: 97.0",
    ]  # fmt: skip
    # The project's own text cites what its tests hold most: without the heading it would show.
    without = {name: text.replace("## 5.4 ", "### 5.4 ") for name, text in pages.items()}
    found = {path.split(":")[0] for path in missing(texts, standing(without))}
    assert {"DESIGN.md", "billing_core/pricing/functions.py"} <= found
    assert "tests/unit/pricing/test_rules_5_money_and_price.py" in found


def test_a_section_s_rules_are_numbered_without_a_gap(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        if name == "index.md":
            continue
        section = int(name.partition("-")[0])
        assert text.startswith(f"# {section} ")
        headings = HEADING.findall(text)
        assert len(headings) == len(re.findall(r"^## ", text, re.M)), name
        assert [(int(one), int(two)) for one, two, *_ in headings] == [
            (section, item) for item in range(1, len(headings) + 1)
        ]
        assert all((one, two) == (three, four) for one, two, three, four in headings)


def test_the_index_has_every_rule(pages: dict[str, str]) -> None:
    listed = [
        f"- [{title}]({name}#{anchor})" + (" (not built yet)" if missing else "")
        for name, text in pages.items()
        for title, anchor, missing in TITLE.findall(text)
    ]
    assert len(listed) > 50
    found = re.findall(r"^- .*$", pages["index.md"], re.M)
    assert sorted(found) == sorted(listed)
    assert all(f"]({name})" in pages["index.md"] for name in pages if name != "index.md")


def test_each_rule_names_what_holds_it_or_is_not_built(pages: dict[str, str]) -> None:
    named = set()
    for text in pages.values():
        starts = [found.start() for found in HEADING.finditer(text)]
        for start, end in pairwise([*starts, len(text)]):
            rule = text[start:end]
            held = re.findall(r"`(tests/[\w/]+\.py)`", rule.partition("**Held by**")[2])
            assert held or "import-linter" in rule or "\nNot built yet." in rule, rule[:60]
            named.update(held)
    assert len(named) > 40
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_each_link_to_a_rule_leads_to_it(texts: dict[Path, str], pages: dict[str, str]) -> None:
    anchors = {
        (name, f"{one}-{two}")
        for name, text in pages.items()
        for _, _, one, two in HEADING.findall(text)
    }
    links = [
        (path, where, anchor)
        for path, text in texts.items()
        if path.suffix == ".md"
        for where, anchor in ANCHOR.findall(text)
    ]
    assert len(links) > 20
    for path, where, anchor in links:
        page = ROOT / path.parent / where if where else ROOT / path
        assert page.resolve().parent == (ROOT / "docs/rules").resolve(), (path, where)
        assert (page.name, anchor) in anchors, (path, where, anchor)


def slug(heading: str) -> str:
    """Where a link to a heading leads."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def test_the_glossary_has_each_word_once_in_order(texts: dict[Path, str]) -> None:
    glossary = texts[Path("docs/glossary.md")]
    _, *lists = re.split(r"^## (?=When )", glossary, flags=re.M)
    assert len(lists) == 2
    for each in lists:
        words = re.findall(r"^### (.+)$", each, re.M)
        assert len(words) > 20
        assert words == sorted(set(words), key=str.lower)
    assert not re.search(r"^### .+\n\n(?:#|\Z)", glossary, re.M)  # none without an explanation


def test_each_link_to_a_word_leads_to_it(texts: dict[Path, str]) -> None:
    glossary = texts[Path("docs/glossary.md")]
    known = {slug(heading) for heading in re.findall(r"^##+ (.+)$", glossary, re.M)}
    links = re.findall(r"\]\(#([\w-]+)\)", glossary)
    for path, text in texts.items():
        if path.suffix == ".md":
            links += re.findall(r"\]\([\w./-]*glossary\.md#([\w-]+)\)", text)
    assert links
    assert [link for link in links if link not in known] == []
