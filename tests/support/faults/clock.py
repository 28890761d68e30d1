"""Faults for `planted_faults.py`, in what the clock may end."""

CHECK = "billing_core/engine/clock_check.py"
LEDGER = "billing_core/ledger/ledger.py"
RESTORING = "billing_core/charging/restoration.py"
AUDIT = "billing_core/audit/auditor.py"
WORK = "billing_core/engine/background.py"

CLOCK = "tests/unit/charging/test_clock.py::test_"
AHEAD = "tests/unit/charging/test_limits_ahead.py::test_"
UNDO = "tests/unit/charging/test_undo_expiry.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_CLOCK: list[Planted] = [
    (
        "a clock far ahead ends credit",
        "billing_core/charging/expiry.py",
        "        ledger.believe(time)\n",
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
        "an org's time of decision goes by a clock in doubt",
        "billing_core/decide.py",
        "    return max(terms.certain, account.watermark), at\n",
        "    return max(at, account.watermark), at\n",
        (CLOCK + "nothing_ends_by_a_right_clock_either_for_what_one_in_doubt_has_written",),
    ),
    (
        "what a clock in doubt says has ended is spent",
        "billing_core/charging/expiry.py",
        "    reached = max(when.time, when.doubted)\n",
        "    reached = when.time\n",
        (CLOCK + "no_command_far_ahead_ends_credit_and_a_right_clock_does_the_same_one",),
    ),
    (
        "a clock in doubt gives back to what it says has ended",
        LEDGER,
        "lot.expires_at > max(when.time, when.doubted):",
        "lot.expires_at > when.time:",
        (CLOCK + "what_comes_back_to_credit_does_not_end_by_a_clock_far_ahead",),
    ),
    (
        "an org opens at the time of a clock in doubt",
        "billing_core/charging/accounts.py",
        "    time = at if terms.certain is None else min(at, terms.certain)\n",
        "    time = at\n",
        (CLOCK + "nothing_ends_by_a_right_clock_either_for_what_one_in_doubt_has_written",),
    ),
    (
        "a plan by a clock in doubt brings the allowance of an earlier period",
        "billing_core/charging/subscriptions.py",
        "        ledger.believe(decision.at)  # which period's allowance it brings\n",
        "        pass\n",
        (CLOCK + "a_plan_after_what_a_clock_in_doubt_has_written_brings_this_period_s_allowance",),
    ),
    (
        "a clock in doubt settles the time of a run",
        "billing_core/runs/handlers.py",
        "            self.ledger.measure(run.settled_to, to)\n",
        "",
        (CLOCK + "the_time_of_a_run_and_of_storage_is_not_measured_by_a_clock_far_ahead",),
    ),
    (
        "a clock in doubt says when a run ended",
        "billing_core/runs/handlers.py",
        "        self.ledger.measure(run.settled_to, end)\n",
        "",
        (CLOCK + "the_time_of_a_run_and_of_storage_is_not_measured_by_a_clock_far_ahead",),
    ),
    (
        "a clock in doubt says until when a run was suspended",
        "billing_core/runs/handlers.py",
        "        ledger.measure(run.settled_to, until or 0)\n",
        "",
        (CLOCK + "the_time_of_a_run_and_of_storage_is_not_measured_by_a_clock_far_ahead",),
    ),
    (
        "a clock in doubt bills storage",
        "billing_core/storage/handlers.py",
        "    ledger.measure(storage.billed_to, until)\n",
        "",
        (CLOCK + "the_time_of_a_run_and_of_storage_is_not_measured_by_a_clock_far_ahead",),
    ),
    (
        "a hold made after days of rest has ended already",
        "billing_core/charging/operations.py",
        "        return max(self.at, self.time)\n",
        "        return self.time\n",
        (CLOCK + "a_call_goes_on_as_ever_by_a_right_clock_after_days_of_rest",),
    ),
    (
        "a clock far ahead sweeps runs",
        "billing_core/runs/handlers.py",
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
        "max(before - there, there - after)",
        "before - there",
        (CLOCK + "a_clock_that_is_not_postgresql_s_is_refused",),
    ),
    (
        "a clock ahead of PostgreSQL's is taken",
        CHECK,
        "max(before - there, there - after)",
        "there - after",
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
        "billing_core/engine/group_commit.py",
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
    (
        "an expiry is undone twice",
        "billing_core/commands/credit.py",
        "Factory(lambda self: str(self.expiry), takes_self=True)",
        "Factory(lambda self: str(id(self)), takes_self=True)",
        (UNDO + "credit_that_a_wrong_clock_ended_comes_back_once",),
    ),
    (
        "what comes back has no end",
        RESTORING,
        "amount, expires_at)",
        "amount, None)",
        (UNDO + "what_comes_back_ends_at_its_new_end_and_keeps_its_kind_and_scope",),
    ),
    (
        "what comes back repays nothing",
        RESTORING,
        "    repay(ledger)\n",
        "",
        (UNDO + "it_repays_what_was_owed_meanwhile",),
    ),
    (
        "only one of the lots that ended comes back",
        RESTORING,
        "for number, amount in sorted(expired.items()):\n        lot = ",
        "for number, amount in sorted(expired.items())[:1]:\n        lot = ",
        (UNDO + "all_lots_that_ended_in_one_entry_come_back",),
    ),
    (
        "verify lets more come back than had expired",
        AUDIT,
        "if back != due.pop(old, 0):",
        "if due.pop(old, 0) is None:",
        (UNDO + "verify_holds_what_came_back_against_what_had_expired",),
    ),
    (
        "verify does not see which expiry is undone",
        AUDIT,
        "if entry.key != f\"restore:{content['expiry']}\":",
        "if False:",
        (UNDO + "verify_holds_what_came_back_against_what_had_expired",),
    ),
    (
        "verify lets any entry take from what has expired",
        AUDIT,
        'if transfer.debit == "expired" and entry.op != "restore":',
        "if False:",
        (UNDO + "verify_finds_credit_taken_from_what_has_expired_by_another_entry",),
    ),
    (
        "the version before runs beside an entry that it cannot follow",
        "billing_core/commands/credit.py",
        'op: ClassVar[str] = "restore"\n    level: ClassVar[int] = 2',
        'op: ClassVar[str] = "restore"\n    level: ClassVar[int] = 1',
        (UNDO + "the_version_before_this_must_not_run_beside_it",),
    ),
    (
        "what is back already is listed again",
        "billing_core/engine/billing.py",
        'if lots and self.store.entry(org, f"restore:{entry.seq}") is None:',
        "if lots:",
        (UNDO + "credit_that_a_wrong_clock_ended_comes_back_once",),
    ),
    (
        "a window a day after the first limits has nothing of before",
        "billing_core/charging/limits.py",
        "start <= since + DAY",
        "start < since + DAY",
        (AHEAD + "a_window_a_whole_day_after_the_first_limit_has_what_was_dated_ahead_into_it",),
    ),
    (
        "what was dated ahead before the first limits is not counted",
        "billing_core/charging/limits.py",
        "start <= since + DAY",
        "start <= since",
        (AHEAD + "a_window_a_whole_day_after_the_first_limit_has_what_was_dated_ahead_into_it",),
    ),
    (
        "an allowance ends while clocks still differ",
        "billing_core/charging/allowances.py",
        "max(plan.grace_micros, ledger.terms.tolerance)",
        "plan.grace_micros",
        (
            "tests/unit/charging/test_plans.py::"
            "test_an_allowance_pays_for_usage_of_its_period_that_a_clock_ahead_overtook",
        ),
    ),
    (
        "a read ends an allowance before a write would",
        "billing_core/engine/billing.py",
        "Terms(catalogue, now, self._tolerance,",
        "Terms(catalogue, now, 0,",
        (
            "tests/unit/charging/test_plans.py::test_a_read_knows_the_same_end_of_an_allowance_as_a_write",
        ),
    ),
    (
        "a run is funded as far as a clock that leads knows prices",
        "billing_core/engine/billing.py",
        "horizon=self._horizon - self._clock_check.lead,",
        "horizon=self._horizon,",
        (CLOCK + "no_run_is_funded_until_after_a_price_that_another_clock_may_yet_publish",),
    ),
    (
        "a price takes effect as soon as a clock that lags says",
        "billing_core/engine/catalogue_cache.py",
        "delay=self._delay + lag)",
        "delay=self._delay)",
        (CLOCK + "no_run_is_funded_until_after_a_price_that_another_clock_may_yet_publish",),
    ),
]
