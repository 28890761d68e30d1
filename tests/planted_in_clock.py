"""Faults for `planted_faults.py`, in what the clock may end."""

CHECK = "billing_core/engine/clock_check.py"
LEDGER = "billing_core/ledger.py"
LAPSING = "billing_core/lapsing.py"
WORK = "billing_core/engine/work.py"

CLOCK = "tests/test_clock.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_CLOCK: list[Planted] = [
    (
        "a clock far ahead ends credit",
        LAPSING,
        "        ledger.believe(end)\n",
        "",
        (CLOCK + "one_worker_far_ahead_takes_nobody_s_credit",),
    ),
    (
        "a clock far ahead ends what is given back",
        LEDGER,
        "        self.believe(lot.expires_at)\n",
        "",
        (CLOCK + "what_comes_back_to_credit_does_not_end_by_a_clock_far_ahead",),
    ),
    (
        "a clock far ahead sweeps runs",
        "billing_core/running.py",
        "    ledger.believe(since)\n",
        "",
        (CLOCK + "a_hold_a_period_and_a_run_do_not_end_by_a_clock_far_ahead",),
    ),
    (
        "a clock in doubt delivers events",
        WORK,
        "        if doubt is not None:\n            return run.pending\n",
        "",
        (CLOCK + "one_worker_far_ahead_takes_nobody_s_credit",),
    ),
    (
        "a clock in doubt moves the mark",
        CHECK,
        "            self._store.set_mark(_MARK, latest)",
        "            self._store.set_mark(_MARK, now)",
        (CLOCK + "records_of_an_earlier_version_are_heeded",),
    ),
    (
        "what is on record of an earlier version is not heeded",
        CHECK,
        "self._store.latest() if mark is None else mark",
        "mark",
        (CLOCK + "records_of_an_earlier_version_are_heeded",),
    ),
    (
        "a process doubts its own clock after a day",
        CHECK,
        "if self._believed or latest",
        "if latest",
        (CLOCK + "a_process_that_goes_on_for_weeks_needs_nobody",),
    ),
    (
        "a clock behind PostgreSQL's is taken",
        CHECK,
        "max(before - there, there - self._clock())",
        "before - there",
        (CLOCK + "a_clock_that_is_not_postgresql_s_is_refused",),
    ),
    (
        "a clock ahead of PostgreSQL's is taken",
        CHECK,
        "max(before - there, there - self._clock())",
        "there - self._clock()",
        (CLOCK + "a_clock_that_is_not_postgresql_s_is_refused",),
    ),
    (
        "a clock that the caller gives is checked",
        CHECK,
        "not isinstance(clock, SystemClock)",
        "False",
        (CLOCK + "a_clock_that_the_caller_gives_is_the_caller_s_word",),
    ),
    (
        "the mark is written beside the host's transaction",
        "billing_core/engine/billing.py",
        "joined=self._joined",
        "joined=False",
        (CLOCK + "within_a_transaction_of_the_host_s_the_clock_is_checked_too",),
    ),
    (
        "a doubt is a whole batch's",
        "billing_core/engine/coalescing.py",
        " and not isinstance(error, ClockDoubt)",
        "",
        (CLOCK + "credit_does_not_end_in_a_batch_of_a_neighbour_that_waited_with_it",),
    ),
    (
        "a process follows when the machine's clock is set",
        "billing_core/engine/system.py",
        "        self._start = wall() - elapsed()\n\n    def __call__(self) -> int:\n"
        "        return (self._start + self._elapsed()) // 1000",
        "        self._wall = wall\n\n    def __call__(self) -> int:\n"
        "        return self._wall() // 1000",
        (CLOCK + "a_process_s_time_goes_on_though_somebody_sets_the_machine_s_clock",),
    ),
]
