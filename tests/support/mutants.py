"""Change the code of money at random, one small thing at a time, and see which changes no test
notices.

    python tests/support/mutants.py [--count N] [--seed N] [--only WORD…] [--since REV | --recent N]
                            [--quick | --tests FILE…] [--least PERCENT] [--budget SECONDS]

A mutant is one operator, constant, condition, statement or word of SQL made another. The tests
that reach its line run first, quickest first, until one fails; a mutant that all of them pass
has survived: either no test holds what it changes, or it changes nothing (an equivalent one),
which is for a reader to judge. The first run finds out which tests reach what, with coverage;
that takes longer than the tests. Everything is kept in `.mutants/`: a run that was stopped goes
on where it was, and another seed is another sample. With `--quick` it knows only the tests that
are not marked slow, and none of HTTP, of the command line or of the examples: an eighth of the
time, and some mutants survive that the others would kill. With `--tests` it knows only these
files' tests that are not slow and need no PostgreSQL: a minute or two, for a small sample. Exits 1
if mutants survived, or with `--least`, if fewer of those that a test reaches were killed.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from planted_faults import WORKERS, Copy, copied

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".mutants"
QUICK = ("-m", "not slow", "-k", "not http and not cli and not docs and not example")
EXAMPLES = ("-m", "not slow", "-k", "not postgres")
NOT_IMPORTED = ("while loading conftest", "found no collectors for", "no match in any of")
FIRST = 20  # so many of the quickest tests are run before the rest

# What decides about money, and what writes and reads it.
MUTATED = (
    "billing_core/**/*.py",
    "adapters/billing_adapters/sqlite/*.py",
    "adapters/billing_adapters/postgres/*.py",
    "adapters/billing_adapters/stripe_*.py",
    "adapters/billing_adapters/webhooks.py",
)
# Names, shapes and texts, whose change is a change of what is said.
LEFT_OUT = re.compile(r"billing_core/(testing/|(.*/)?(__init__|errors|outcomes)\.py)")

COMPARED = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is not": "is",
    "is": "is not", "not in": "in", "in": "not in",
}  # fmt: skip
CALCULATED = {"+": "-", "-": "+", "*": "//", "//": "*", "%": "//", "**": "*", "|": "&", "&": "|"}
SQL = re.compile(r"\b(AND|OR|ASC|DESC|max|min)\b|(<=|>=|<>|<|>)|(?<![<>!])( = )")
SAID = {
    "AND": "OR", "OR": "AND", "ASC": "DESC", "DESC": "ASC", "max": "min", "min": "max",
    "<=": "<", ">=": ">", "<": "<=", ">": ">=", "<>": "=", " = ": " <> ",
}  # fmt: skip
IS_SQL = re.compile(r"\b(SELECT|UPDATE|INSERT|DELETE|WHERE|JOIN|ON CONFLICT)\b")


class Mutant(NamedTuple):
    """``new`` in the place of ``old``, which are bytes of ``file`` from ``start``."""

    file: str
    line: int
    start: int
    old: str
    new: str

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line}: {_short(self.old)}  →  {_short(self.new)}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}…"


# -- making them ----------------------------------------------------------------


class _Finder(ast.NodeVisitor):
    """All mutants of a file."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text.encode()
        self.starts = [0]
        for line in self.text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.found: list[Mutant] = []

    def at(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column

    def begin(self, node: ast.expr | ast.stmt) -> int:
        return self.at(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.at(node.end_lineno, node.end_col_offset)

    def put(self, start: int, end: int, new: str) -> None:
        old = self.text[start:end].decode()
        line = self.text.count(b"\n", 0, start) + 1
        self.found.append(Mutant(self.file, line, start, old, new))

    def between(self, left: ast.expr, right: ast.expr, words: dict[str, str]) -> None:
        """The operator that stands between two expressions."""
        start, end = self.end(left), self.begin(right)
        gap = self.text[start:end].decode()
        for word in sorted(words, key=len, reverse=True):
            place = gap.find(word)
            if place >= 0 and "#" not in gap[:place]:
                self.put(start + place, start + place + len(word), words[word])
                return

    def negate(self, test: ast.expr) -> None:
        start, end = self.begin(test), self.end(test)
        self.put(start, end, f"not ({self.text[start:end].decode()})")

    # What is visited, and what is not.

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, right in zip([node.left, *node.comparators], node.comparators, strict=False):
            self.between(left, right, COMPARED)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.between(node.left, node.right, CALCULATED)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        words = {"and": "or"} if isinstance(node.op, ast.And) else {"or": "and"}
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between(left, right, words)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, (ast.Not, ast.USub)):
            self.put(self.begin(node), self.begin(node.operand), "")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self.negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if not isinstance(node.test, ast.Constant):
            self.negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.between(node.target, node.value, {"+=": "-=", "-=": "+=", "|=": "&=", "*=": "//="})
        self.put(self.begin(node), self.end(node), "pass")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.put(self.begin(node), self.end(node), "pass")
            self.generic_visit(node)
        elif isinstance(node.value, (ast.Yield, ast.YieldFrom, ast.Await)):
            self.generic_visit(node)  # what is left is a docstring

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
            other = "max" if node.func.id == "min" else "min"
            self.put(self.begin(node.func), self.end(node.func), other)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        start, end = self.begin(node), self.end(node)
        if isinstance(node.value, bool):
            self.put(start, end, str(not node.value))
        elif isinstance(node.value, int):
            self.put(start, end, f"({node.value} + 1)")
        elif isinstance(node.value, str):
            self._sql(start, end)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._sql(self.begin(node), self.end(node))

    def _sql(self, start: int, end: int) -> None:
        text = self.text[start:end].decode()
        if "adapters/" not in self.file or not IS_SQL.search(text):
            return
        for found in SQL.finditer(text):
            word = found.group(0)
            place = start + len(text[: found.start()].encode())
            self.put(place, place + len(word.encode()), SAID[word])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_arguments(self, node: ast.arguments) -> None:
        for default in [*node.defaults, *node.kw_defaults]:
            if default is not None:
                self.visit(default)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.visit(node.args)
        for each in node.body:
            self.visit(each)

    def visit_Raise(self, node: ast.Raise) -> None:
        """What an error says is not money."""

    def visit_Assert(self, node: ast.Assert) -> None:
        """It says what the tests would."""

    def visit_Assign(self, node: ast.Assign) -> None:
        names = [each.id for each in node.targets if isinstance(each, ast.Name)]
        if "__all__" not in names:
            self.visit(node.value)


def files() -> list[str]:
    found = {path for pattern in MUTATED for path in ROOT.glob(pattern)}
    names = sorted(str(path.relative_to(ROOT)) for path in found)
    return [name for name in names if not LEFT_OUT.match(name)]


def mutants(file: str) -> list[Mutant]:
    text = (ROOT / file).read_text(encoding="utf-8")
    finder = _Finder(file, text)
    finder.visit(ast.parse(text))
    return sorted(finder.found, key=lambda each: (each.start, each.old, each.new))


def sample(names: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """A random sample in random order, the same for the same seed and code."""
    every = [each for name in names for each in mutants(name)]
    return random.Random(seed).sample(every, min(count, len(every)))


# -- which tests reach what -----------------------------------------------------


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """As a plugin of the run that finds out: how long each test takes."""
    path = os.environ.get("BILLING_MUTANTS_TIMES")
    if path and report.when == "call" and report.passed:
        with open(path, "a", encoding="utf-8") as file:
            took = [report.nodeid, report.duration]
            file.write(json.dumps(took) + "\n")


class Reached:
    """Which tests reach a line, quickest first."""

    def __init__(self) -> None:
        from coverage import CoverageData

        self.data = CoverageData(str(KEPT / "coverage"))
        self.data.read()
        lines = (KEPT / "times").read_text(encoding="utf-8").splitlines()
        self.seconds = dict(json.loads(line) for line in lines)
        self.by_file: dict[str, dict[int, list[str]]] = {}

    def tests(self, mutant: Mutant) -> list[str]:
        lines = self.by_file.get(mutant.file)
        if lines is None:
            path = str(ROOT / mutant.file)
            lines = self.by_file[mutant.file] = self.data.contexts_by_lineno(path)
        last = mutant.line + mutant.old.count("\n")
        found = {
            context.partition("|")[0]
            for line in range(mutant.line, last + 1)
            for context in lines.get(line, ())
            if context
        }
        if not found:  # done when the module is imported: whoever reaches the module may notice
            found = {each.partition("|")[0] for all_ in lines.values() for each in all_ if each}
        core = mutant.file.startswith("billing_core")  # which no one database's tests hold best
        return sorted(
            found & self.seconds.keys(),
            key=lambda test: (core and "postgres" in test.lower(), self.seconds[test]),
        )


def find_out(names: Sequence[str], selection: Sequence[str]) -> None:
    """Run the tests once, with coverage of these files that knows which test it was."""
    version = "\n".join([tree(), *selection, *names])
    done = KEPT / "version"
    if done.is_file() and done.read_text(encoding="utf-8") == version:
        return
    print("Finding out which tests reach what; this takes longer than the tests.", flush=True)
    KEPT.mkdir(exist_ok=True)
    for name in ("coverage", "times", "version"):
        (KEPT / name).unlink(missing_ok=True)
    rules = KEPT / "coveragerc"
    rules.write_text("\n    ".join(["[run]\ninclude =", *names]) + "\n", encoding="utf-8")
    environment = os.environ | {
        "COVERAGE_FILE": str(KEPT / "coverage"),
        "BILLING_MUTANTS_TIMES": str(KEPT / "times"),
        "PYTHONPATH": os.pathsep.join(
            map(str, (ROOT / "tests" / "support", ROOT, ROOT / "adapters"))
        ),
        "CI": "1",
    }
    options = ["-p", "mutants", "-n", str(WORKERS), "--dist", "worksteal", *selection]
    options += ["--cov", f"--cov-config={rules}", "--cov-context=test", "--cov-report="]
    subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=ROOT, env=environment, check=False
    )
    done.write_text(version, encoding="utf-8")


def tree() -> str:
    """What the code and the tests are, as a digest."""
    digest = sha256()
    for folder in ("billing_core", "adapters", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


# -- trying them ----------------------------------------------------------------


def verdict(copy: Copy, mutant: Mutant, tests: list[str], budget: float) -> str:
    """What became of a mutant: ``killed by …``, ``survived``, ``unreached``."""
    if not tests:
        return "unreached"
    path = copy.place / mutant.file
    text = path.read_bytes()
    changed = text[: mutant.start] + mutant.new.encode() + text[mutant.start + _size(mutant) :]
    copy.write(path, changed.decode())
    ends = time.monotonic() + budget
    try:
        for rest, some in enumerate((tests[:FIRST], tests[FIRST:])):
            if not some:
                continue
            patience = max(10, int(ends - time.monotonic()))
            try:
                done = copy.run("-x", "--tb=no", *some, patience=patience)
            except subprocess.TimeoutExpired:
                # Either it hangs, or there are more tests than the budget has time for.
                return "survived the budget" if rest else "killed: hangs"
            if done.returncode > 2 and not any(each in done.stdout for each in NOT_IMPORTED):
                raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout}")
            if done.returncode != 0:
                failed = [each for each in done.stdout.splitlines() if each.startswith("FAILED")]
                return f"killed by {failed[0].split()[1]}" if failed else "killed at import"
        return "survived"
    finally:
        copy.write(path, text.decode())


def _size(mutant: Mutant) -> int:
    return len(mutant.old.encode())


def tried(chosen: list[Mutant], kept: Path, budget: float) -> Iterator[tuple[Mutant, str]]:
    """Each with its verdict: those on record first, then as they come."""
    known: dict[str, str] = {}
    if kept.is_file():
        known = dict(map(json.loads, kept.read_text(encoding="utf-8").splitlines()))
    yield from ((each, known[_id(each)]) for each in chosen if _id(each) in known)
    open_ = [each for each in chosen if _id(each) not in known]
    if not open_:
        return
    reached = Reached()
    tests = {_id(each): reached.tests(each) for each in open_}
    with copied() as copies:

        def one(mutant: Mutant) -> tuple[Mutant, str]:
            copy = copies.get()
            try:
                return mutant, verdict(copy, mutant, tests[_id(mutant)], budget)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(WORKERS) as workers, kept.open("a", encoding="utf-8") as file:
            try:
                for work in as_completed([workers.submit(one, each) for each in open_]):
                    mutant, found = work.result()
                    file.write(json.dumps([_id(mutant), found]) + "\n")
                    file.flush()
                    yield mutant, found
            finally:
                workers.shutdown(wait=False, cancel_futures=True)


def _id(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.start}:{mutant.old}→{mutant.new}"


def changed_since(revision: str) -> set[str]:
    return set(_git("diff", "--name-only", revision).split())


def changed_recently(commits: int) -> set[str]:
    """By the latest commits, as far as there are any: a clone may have one alone."""
    if int(_git("rev-list", "--count", "HEAD")) <= commits:
        return set()
    return set(_git("log", f"-{commits}", "--name-only", "--format=").split())


def _git(*words: str) -> str:
    asked = ["git", *words]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="files whose path has one of these")
    parser.add_argument("--since", help="only files that have changed since a revision")
    parser.add_argument("--recent", type=int, help="only files that the latest commits changed")
    parser.add_argument("--quick", action="store_true", help="only the quick tests")
    parser.add_argument("--tests", nargs="*", default=[], help="only quick tests of these files")
    parser.add_argument("--least", type=float, help="the share that must be killed, in percent")
    parser.add_argument("--budget", type=float, default=300, help="seconds for one mutant")
    asked = parser.parse_args(words)
    names = [each for each in files() if not asked.only or any(w in each for w in asked.only)]
    if asked.since:
        names = [each for each in names if each in changed_since(asked.since)]
    if asked.recent:
        names = [each for each in names if each in changed_recently(asked.recent)]
    chosen = sample(names, asked.count, asked.seed)
    if not chosen:
        print("Nothing to change: no such file, or no history to tell what changed.")
        return 0
    selection = (*EXAMPLES, *asked.tests) if asked.tests else QUICK * asked.quick
    # For a small sample only its own files are watched: that takes half as long.
    watched = sorted({each.file for each in chosen}) if asked.tests else files()
    find_out(watched, selection)
    started = time.monotonic()
    by_file: dict[str, list[bool]] = defaultdict(list)
    survivors: list[str] = []
    unreached = 0
    which = sha256("\n".join([tree(), *selection]).encode()).hexdigest()
    kept = KEPT / f"{which[:12]}-{asked.seed}.jsonl"
    for number, (mutant, found) in enumerate(tried(chosen, kept, asked.budget), 1):
        by_file[mutant.file].append(found.startswith("killed"))
        if not found.startswith("killed"):
            survivors.append(f"{mutant.name}  ({found})")
            unreached += found == "unreached"
        print(f"{number:>4}/{len(chosen)}  {found:<40.40}  {mutant.name}", flush=True)
    print()
    for file, results in sorted(by_file.items()):
        print(f"{sum(results):>4} of {len(results):<4} killed  {file}")
    killed = len(chosen) - len(survivors)
    share = 100 * killed / max(1, len(chosen) - unreached)
    print(
        f"{killed} of {len(chosen)} killed, {unreached} unreached by tests"
        f" ({share:.1f} % of the rest), in {time.monotonic() - started:.0f} s"
    )
    for each in survivors:
        print(f"survived  {each}")
    return int(bool(survivors) if asked.least is None else share < asked.least)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
