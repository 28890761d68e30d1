"""``import billing_core`` in a fresh interpreter."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter

from benchmarks.harness import quartiles
from benchmarks.report import verdict

BARRED = "import billing_core"
STATEMENTS = ("pass", "import attrs", BARRED, "from billing_core import Billing, Deduct, usd")
BAR = 60  # milliseconds beyond those of `pass`


def run(*, smoke: bool) -> None:
    wall: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    cpu: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for statement in STATEMENTS:
        interpret(statement)  # so that the bytecode is there
    for _ in range(3 if smoke else 21):
        for statement in STATEMENTS:
            took = interpret(statement)
            wall[statement].append(took[0])
            cpu[statement].append(took[1])
    print("\nA fresh interpreter: milliseconds, and those beyond `python -c pass`")
    print(f"  {'':62}{'ms':>8}{'CPU ms':>8}  {'beyond':24}bar")
    for statement in STATEMENTS:
        pairs = zip(wall[statement], wall["pass"], strict=True)
        low, beyond, high = quartiles([ours - bare for ours, bare in pairs])
        compared = f"{beyond:.1f} ({low:.1f}–{high:.1f})" if statement != "pass" else ""
        bar = f"under {BAR}: {verdict(beyond < BAR)}" if statement == BARRED else ""
        line = (
            f"  {'python -c ' + repr(statement):62}{statistics.median(wall[statement]):8.1f}"
            f"{statistics.median(cpu[statement]):8.1f}  {compared:24}{bar}"
        )
        print(line.rstrip())


def interpret(statement: str) -> tuple[float, float]:
    """Milliseconds that it took: wall, CPU."""
    cpu, wall = _children(), perf_counter()
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # as installed: compiled
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    return (perf_counter() - wall) * 1e3, (_children() - cpu) * 1e3


def _children() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
