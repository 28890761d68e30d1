"""Tables of results."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.harness import Bar, Result, quartiles

__all__ = ["ratio", "report", "verdict"]


def report(title: str, results: Sequence[Result], floor: Result | None = None) -> None:
    """Print each result's median microseconds per operation, rate and CPU time, and the
    median and quartiles of its rounds' ratios: of the floor's rate, with the bar and whether
    this run met it, or, without a floor, of the first result's time."""
    against = "of the first's time" if floor is None else "of the floor's rate"
    print(f"\n{title}")
    header = f"  {'':36}{'µs':>8}{'per s':>10}{'CPU µs':>8}  {against:24}"
    print(header.rstrip() if floor is None else f"{header}bar")
    for result in results:
        subject = result.subject
        bar = None if floor is None else subject.bar
        if floor is None:
            compared = "1×" if result is results[0] else ratio(results[0], result)
        else:
            compared = "the floor" if result is floor else ratio(result, floor)
        line = (
            f"  {subject.name:36}{result.median:8.1f}{1e6 / result.median:10,.0f}"
            f"{statistics.median(result.cpu):8.1f}  {compared:24}"
        )
        if floor is not None and bar is not None:
            text = f"at least {_text(bar.least)}" + (f", aim {bar.aim}" if bar.aim else "")
            met = statistics.median(result.ratios(floor)) >= bar.least
            line += f"{text}: {verdict(met)}"
        print(line.rstrip())
        if subject.waits:
            _print_waits(subject.waits, bar)


def ratio(result: Result, floor: Result) -> str:
    """Of the floor's rate: the median of the rounds' own ratios, and their quartiles."""
    low, median, high = (_text(each) for each in quartiles(result.ratios(floor)))
    return f"{median} ({low}–{high})"


def _print_waits(waits: Sequence[float], bar: Bar | None) -> None:
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    p50, p99, most = cuts[49] * 1e3, cuts[98] * 1e3, max(waits) * 1e3
    line = f"    a call waits: p50 {p50:.2f} ms, p99 {p99:.2f} ms, at most {most:.1f} ms"
    if bar is not None and bar.p99 is not None:
        line = f"{line:90}p99 under {bar.p99:g} ms: {verdict(p99 < bar.p99)}"
    print(line)


def _text(ratio: float) -> str:
    return f"{ratio:.0%}" if ratio < 1 else f"{ratio:.3g}×"


def verdict(met: bool) -> str:
    return "met" if met else "missed"
