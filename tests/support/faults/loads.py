"""Faults for `planted_faults.py`, in what is foreseen before a decision: without it nothing goes
wrong, but a store is asked more often."""

DECIDE = "billing_core/decide.py"
HOLDING = "billing_core/charging/holds.py"
LIMITS = "billing_core/charging/limits.py"
REQUIRED = "billing_core/ports/required.py"
RUNNING = "billing_core/runs/handlers.py"

LOADS = "tests/unit/engine/test_loads.py::test_"
HOLD = LOADS + "a_hold_over_a_period_s_end_is_decided_on_what_was_loaded_first"
RUN = LOADS + "a_run_over_a_period_s_end_is_decided_on_what_was_loaded_first"
MIDNIGHT = LOADS + "holds_and_runs_over_midnight_count_in_the_limits_that_were_loaded_first"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_LOADS: list[Planted] = [
    (
        "a hold's later periods are not foreseen",
        HOLDING,
        "        want.counters[resource] = want.counters[resource][0], FOREVER\n",
        "        del resource\n",
        (HOLD, LOADS + "what_all_holds_of_a_batch_reach_is_loaded_first"),
    ),
    (
        "a hold's later days are not foreseen",
        HOLDING,
        "    want.times = spanning(want.times, max(at, now) + life)\n",
        "",
        (MIDNIGHT,),
    ),
    (
        "a run's later periods are not foreseen where it starts",
        RUNNING,
        "        want.counters[resource] = min(first, time), FOREVER\n",
        "        want.counters[resource] = min(first, time), time\n",
        (RUN,),
    ),
    (
        "a run's later periods are not foreseen where it goes on",
        REQUIRED,
        "                ends.append(max(run.until, max(last, run.settled_to) + run.ahead))\n",
        "                pass\n",
        (RUN,),
    ),
    (
        "a run's later days are not foreseen where it starts",
        RUNNING,
        'duration("fund_for", command.fund_for) if isinstance(command, StartRun) else 0',
        'duration("fund_for", command.fund_for) if isinstance(command, StartRun) and 0 else 0',
        (MIDNIGHT,),
    ),
    (
        "a clock that is behind asks for each of the days between",
        DECIDE,
        "        if want.lives:\n",
        "        if not want:\n",
        (LOADS + "a_clock_that_is_behind_asks_for_the_days_between_at_once[300]",),
    ),
    (
        "each extension of a batch asks for its own",
        DECIDE,
        "        for name, until in want.extended.items():\n",
        "        for name, until in {**{}}.items():\n",
        (
            LOADS + "an_extension_is_decided_after_two_loads_at_most",
            LOADS + "what_all_extensions_of_a_batch_need_is_asked_for_at_once",
        ),
    ),
]
