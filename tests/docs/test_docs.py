"""The documents' examples run: what a reader copies works.

Each document is one namespace, its blocks run in order in an empty directory. The documents
lie beside the tests, or where BILLING_DOCS_DIR says.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from contextlib import ExitStack
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import attrs
import pytest
from http_world import SERVICE, in_process
from postgres_servers import fresh_database
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import billing_core
from billing_adapters.cli.documents import load_document, load_topup_rules
from billing_adapters.http.api import ROUTES
from billing_adapters.http.internal import Cost, HoldFor, ModelCall, Quantities
from billing_adapters.http.routes import Posted, Route
from billing_adapters.http.runs import Spec
from billing_adapters.http.shapes import json_names, read, required
from billing_adapters.postgres import PostgresStore
from billing_adapters.sqlite import SqliteStore
from billing_core import Plan, PriceBook, TopUpRules

DOCS = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[2]).absolute()
NAMED = [
    DOCS / name
    for name in ("README.md", "DESIGN.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
]
REFERENCE = DOCS / "docs" / "reference"
DOCUMENTS = [path for path in NAMED if path.is_file()] + sorted(DOCS.glob("docs/**/*.md"))


def run_billing_commands(example: Example) -> None:
    """Run a console block's `$ billing …` lines with the `billing` of this Python."""
    billing = Path(sys.executable).with_name("billing")
    for line in str(example.parsed).replace("\\\n", "").splitlines():
        if line.startswith("$ billing"):
            arguments = shlex.split(line, comments=True)[2:]
            done = subprocess.run(
                [billing, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, f"{example.path}:{example.line}: {line}\n{done.stdout}"


def parse(path: Path) -> Document:
    document = Document.parse(
        str(path), PythonCodeBlockParser(), CodeBlockParser("console", run_billing_commands)
    )
    document.namespace["__name__"] = "__main__"
    return document


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    document = parse(path)
    with ExitStack() as stack:
        if "DATABASE_URL" in document.text:
            monkeypatch.setenv("DATABASE_URL", stack.enter_context(fresh_database()))
        try:
            for example in document:
                example.evaluate()
        finally:
            for value in document.namespace.values():
                if isinstance(value, SqliteStore | PostgresStore):
                    value.close()


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it, or as it says itself."""
    own = re.search(r" \{#(\S+)\}$", heading)
    if own is not None:
        return own[1]
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.DOTALL)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    for place, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)", prose(path)):
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), f"{path}: {place}"
        if anchor and target.name != "command-line.md":  # whose headings the command has
            headings = re.findall(r"^#+ (.*)$", prose(target), re.M)
            assert anchor in map(slug, headings), f"{path}: {place}#{anchor}"


def test_every_public_name_has_a_reference_entry() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("python/*.md"))
    entries = re.findall(r"^::: ([\w.]+)$", pages, re.M)
    assert len(entries) == len(set(entries))
    public = {f"billing_core.{name}" for name in billing_core.__all__}
    assert public - set(entries) == set(), "public names that docs/reference/python does not have"
    for entry in entries:  # as Python knows it, too
        home = next(end for end in range(len(entry), 0, -1) if importable(entry[:end]))
        reduce(getattr, filter(None, entry[home:].split(".")), import_module(entry[:home]))


def importable(name: str) -> bool:
    try:
        return not name.endswith(".") and find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_every_module_that_the_pages_name_has_a_reference_entry() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("python/*.md"))
    entries = re.findall(r"^::: ([\w.]+)$", pages, re.M)
    read = [path for path in DOCUMENTS if path.name not in ("DESIGN.md", "CHANGELOG.md")]
    text = "".join(path.read_text(encoding="utf-8") for path in read)
    named = set(re.findall(r"billing_adapters\.[a-z]\w*", text))
    named |= {
        f"billing_adapters.{each}" for each in re.findall(r"billing_adapters import (\w+)", text)
    }
    named |= set(re.findall(r"^(?:from|import) (billing_core\.[\w.]+)", text, re.M))
    assert {"billing_adapters.sqlite", "billing_adapters.http", "billing_core.testing"} <= named
    missing = {
        each for each in named if not any(f"{entry}.".startswith(f"{each}.") for entry in entries)
    }
    assert missing == set(), "modules that docs/reference/python does not have"


def test_the_readme_is_short_and_its_examples_run_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = DOCS / "README.md"
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 150
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        document = parse(readme)
        for example in document:
            example.evaluate()
        document.namespace["store"].close()


def routes_of(routes: Iterable[Route]) -> str:
    """The table of routes as the documentation has it."""
    lines = ["| route | who | what | fields |", "|---|---|---|---|"]
    for route in routes:
        needed = required(route.asked)
        names = [f"{name}{'*' * (name in needed)}" for name in json_names(route.asked).values()]
        key = {"required": " *key*", "optional": " *(key)*", None: ""}[route.key]
        fields = ", ".join(f"`{name}`" for name in names)
        if route.asked is Posted:
            fields = "the body as it was signed"
        lines.append(
            f"| `{route.method} {route.path}`{key} | {route.who} | {route.summary} | {fields} |"
        )
    return "\n".join(lines)


@pytest.mark.parametrize("internal", [False, True])
def test_every_route_is_documented(internal: bool) -> None:
    routes = [route for route in ROUTES if route.internal is internal]
    assert routes_of(routes) in (REFERENCE / "http.md").read_text(encoding="utf-8")


def documented(pattern: str) -> dict[str, str]:
    """The examples of a table of the internal routes."""
    text = (REFERENCE / "http.md").read_text(encoding="utf-8")
    return dict(re.findall(rf"^\| `({pattern})` \| `([{{?][^`]*)` \|", text, re.MULTILINE))


def test_the_shapes_of_the_internal_routes_are_documented() -> None:
    shapes = {"cost": Cost, "modelCall": ModelCall, "usage": Quantities, "hold": HoldFor}
    shapes |= {"spec": Spec, "part": Cost}
    examples = documented(r"\w+")
    assert examples.keys() == shapes.keys()
    for name, shape in shapes.items():
        example = json.loads(examples[name])
        read(shape, example, name)
        assert set(example) == set(json_names(shape).values())


def test_a_request_of_each_internal_route_is_documented(tmp_path: Path) -> None:
    examples = documented(r"[A-Z]+ /v1/internal/[\w/]+")
    routes = [route for route in ROUTES if route.internal]
    assert list(examples) == [f"{route.method} {route.path}" for route in routes]
    check, charged = "/v1/internal/credits/check", ""
    with in_process("plain", tmp_path / "billing.db") as client:
        for route in routes:
            example = examples[f"{route.method} {route.path}"]
            if route.method == "GET":
                answer = client("GET", route.path, SERVICE, query=example.removeprefix("?"))
            else:
                body = json.loads(example)
                if "holdId" in body:
                    hold = client.post(check, json.loads(examples[f"POST {check}"])).data["hold"]
                    body["holdId"] = hold["id"]
                if "chargeId" in body:
                    body["chargeId"] = charged
                answer = client.post(route.path, body)
            assert answer.status == 200, (route.path, answer.body)
            charged = answer.data["id"] if route.name == "deduct" else charged
            for outcome in answer.data["outcomes"] if "settlements" in route.path else ():
                assert outcome["error"] is None, outcome


def test_the_files_to_publish_are_read(tmp_path: Path) -> None:
    text = (DOCS / "docs" / "how-to" / "publish-from-files.md").read_text(encoding="utf-8")
    found = []
    for number, block in enumerate(
        re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ):
        path = tmp_path / f"{number}.toml"
        path.write_text(block, encoding="utf-8")
        read = load_document if "version" in tomllib.loads(block) else load_topup_rules
        found.append(read(path))
    book, varying, plan, rules = found
    assert isinstance(book, PriceBook) and isinstance(plan, Plan)
    assert isinstance(varying, PriceBook) and varying.varies and not book.varies
    terms = {each.name for each in attrs.fields(Plan)} - {"grace"} | {"grace_days"}
    assert set(tomllib.loads((tmp_path / "2.toml").read_text("utf-8"))) == terms
    assert isinstance(rules, TopUpRules)
    spans = {"cooldown", "backoff", "lease"}
    terms = {each.name for each in attrs.fields(TopUpRules)}
    terms = {f"{each}_seconds" if each in spans else each for each in terms}
    assert set(tomllib.loads((tmp_path / "3.toml").read_text("utf-8"))) == terms


def test_every_event_is_documented() -> None:
    core = Path(billing_core.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in core.rglob("*.py"))
    told = set(re.findall(r'untold\.append\(\("(\w+)"', source))
    text = (REFERENCE / "events.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE)) == told


def test_the_readme_shows_python() -> None:
    readme = DOCS / "README.md"
    assert readme.is_file(), f"no {readme}: BILLING_DOCS_DIR must name the directory of README.md"
    assert list(Document.parse(str(readme), PythonCodeBlockParser()))
