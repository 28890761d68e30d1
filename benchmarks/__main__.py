from __future__ import annotations

import argparse
import os
import platform
import sqlite3

from benchmarks import growth, sqlite_commits

ALL = {"sqlite_commits": sqlite_commits.run, "growth": growth.run}

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(ALL)}")
parser.add_argument("--smoke", action="store_true", help="a few rounds: that it runs at all")
options = parser.parse_args()
print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} CPUs")
for name in options.names or ALL:
    if name not in ALL:
        parser.error(f"no benchmark {name!r}; there are {', '.join(ALL)}")
    ALL[name](smoke=options.smoke)
