"""Each thing beside its floor, in one run: ``python -m benchmarks [NAME ...] [--smoke]``."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3

from benchmarks import (
    batches,
    growth,
    hanging,
    http,
    imports,
    postgres,
    reads,
    runs,
    sequential,
    tasks,
    threads,
)

ALL = {
    "sequential": sequential.run,
    "threads": threads.run,
    "tasks": tasks.run,
    "batches": batches.run,
    "growth": growth.run,
    "reads": reads.run,
    "runs": runs.run,
    "imports": imports.run,
    "postgres": postgres.run,
    "hanging": hanging.run,
    "http": http.run,
}

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(ALL)}")
parser.add_argument("--smoke", action="store_true", help="a few rounds: that it runs at all")
options = parser.parse_args()
for name in options.names:
    if name not in ALL:
        parser.error(f"no benchmark {name!r}; there are {', '.join(ALL)}")
print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} CPUs")
print("Medians of interleaved rounds; ratios are those of each round's own pair (quartiles).")
if options.smoke:
    print("A smoke run is too short for its figures to say anything.")
for name in options.names or ALL:
    ALL[name](smoke=options.smoke)
