"""Faults for `planted_faults.py`, in how sandbox runs and storage are funded and charged."""

RUNNING = "billing_core/runs/handlers.py"
DECIDE = "billing_core/decide.py"
LAPSING = "billing_core/charging/allowances.py"
LEDGER = "billing_core/ledger/ledger.py"
FUNDING = "billing_core/runs/funding.py"
SPANS = "billing_core/charging/time_charges.py"
STORING = "billing_core/storage/handlers.py"
RUNTIME = "billing_core/runs/demand.py"
METERING = "billing_core/pricing/rating.py"
COLUMNS = "adapters/billing_adapters/columns.py"
PG_LOADING = "adapters/billing_adapters/postgres/loader.py"
PG_LOOKUPS = "adapters/billing_adapters/postgres/lookups.py"
PG_WORK = "adapters/billing_adapters/postgres/background.py"

R = "tests/unit/runs/test_runs.py::test_"
S = "tests/unit/storage/test_storage.py::test_"
AHEAD = "tests/unit/runs/test_allowance_ahead.py::test_"
DAY = "tests/stories/test_a_day.py::test_a_day_in_the_life"
STORE = "tests/stores/test_sqlite_store.py::TestSqliteStore::test_"
POSTGRES = "tests/stores/test_postgres_store.py::TestPostgresStore::test_"
FOUND = "tests/unit/runs/test_run_and_storage_corners.py::test_"
MACHINE = (
    "tests/properties/test_memory_store.py::TestMemoryStore"
    "::test_runs_and_storage_are_the_same_as_in_memory"
)
PROPERTY = R + "any_grouping_and_order_costs_what_one_settlement_costs"

Planted = tuple[str, str, str, str, tuple[str, ...]]

RUNS: list[Planted] = [
    (
        "suspended time is billed",
        RUNTIME,
        "return Measure(last - window.start - suspended, suspended)",
        "return Measure(last - window.start, suspended)",
        (R + "suspended_time_is_not_billed_unless_a_price_says_so", PROPERTY),
    ),
    (
        "a deadline forgets that suspended time may be dearer",
        RUNTIME,
        "return max(each._most(us, cuts) for each in both) + rounding",
        "return self._most(us, cuts) + rounding",
        (FOUND + "a_run_is_funded_at_the_price_of_suspended_time_if_that_is_dearer",),
    ),
    (
        "a deadline forgets that counters begin anew with a billing period",
        RUNTIME,
        "cuts = [end for end in ends if end < us]",
        "cuts: list[int] = []",
        (FOUND + "a_deadline_across_a_periods_end_holds_a_package_of_each",),
    ),
    (
        "a deadline forgets that suspended time is rounded by itself",
        RUNTIME,
        "return max(each._most(us, cuts) for each in both) + rounding",
        "return max(each._most(us, cuts) for each in both)",
        (FOUND + "a_run_is_funded_at_the_price_of_suspended_time_if_that_is_dearer",),
    ),
    (
        "a heartbeat's time is settled again by the next",
        RUNNING,
        "            run.settled_to = to\n",
        "            pass\n",
        (R + "a_run_is_held_ahead_and_charged_what_it_ran", PROPERTY),
    ),
    (
        "a late suspension gives nothing back",
        RUNNING,
        "        change.post(span, lambda each: measure(each, suspended, FOREVER), FOREVER)\n"
        "    run.state = state",
        "        pass\n    run.state = state",
        (R + "a_suspension_told_late_gives_back_what_was_settled", PROPERTY),
    ),
    (
        "a stop before what was settled gives nothing back",
        RUNNING,
        "        if end < run.settled_to:",
        "        if end < 0:",
        (R + "clocks_of_two_services_minutes_apart_bill_no_second_twice", PROPERTY),
    ),
    (
        "an ended run is extended by any heartbeat",
        RUNNING,
        "elif run.swept and seen",
        'elif run.state == "settled" and seen',
        (R + "a_stop_before_a_late_heartbeat_settles_all_of_it",),
    ),
    (
        "what arrives after a sweep is dropped",
        RUNNING,
        "elif run.swept and seen",
        "elif False and seen",
        (R + "of_a_run_swept_closed_the_real_usage_that_arrives_later_is_billed",),
    ),
    (
        "a sweep closes what is alive",
        RUNNING,
        "if not run.open or run.seen_at >= since:",
        "if not run.open:",
        (R + "a_sweep_is_refused_where_there_was_a_sign_of_life",),
    ),
    (
        "a sweep bills up to its own time",
        RUNNING,
        "    change.end_at(run.seen_at, swept=True)\n    change.settle(run.seen_at)\n",
        "    change.settle(decision.time)\n    change.end_at(decision.time, swept=True)\n",
        (R + "a_run_that_is_never_closed_is_swept_at_its_last_sign_of_life",),
    ),
    (
        "a deadline moves back",
        RUNNING,
        "if found.until > max(run.until, run.settled_to):",
        "if found.until != run.until:",
        (R + "a_deadline_once_given_stays_though_a_limit_comes_later",),
    ),
    (
        "a hold ends before what is forgiven of its run",
        RUNNING,
        "    change.charged -= forgive(ledger, change.whose, amount)\n    if pending:\n"
        "        change.close()",
        "    if pending:\n        change.close()\n"
        "    change.charged -= forgive(ledger, change.whose, amount)",
        (FOUND + "forgiving_a_pending_run_whose_hold_is_of_an_ended_lot_is_no_discrepancy",),
    ),
    (
        "a deadline's money that late time took stays away",
        RUNNING,
        "            if more <= 0:",
        "            if more is not None:",
        (FOUND + "time_told_late_takes_nothing_of_what_a_deadline_holds",),
    ),
    (
        "a deadline moves to where nothing is funded",
        RUNNING,
        "if found.until > max(run.until, run.settled_to):",
        "if found.until > run.until:",
        (R + "above_hold_and_balance_it_is_billed_in_full",),
    ),
    (
        "a deadline goes beyond what prices are known",
        RUNNING,
        "if asked <= known else (known,",
        "if True else (known,",
        (R + "a_deadline_reaches_no_further_than_prices_are_known",),
    ),
    (
        "a lot counts beyond its end",
        FUNDING,
        "lot.expires_at < edges[index]",
        "lot.expires_at < 0",
        (R + "of_a_hold_whose_lot_expired_it_is_billed_in_full",),
    ),
    (
        "an allowance counts beyond its period",
        FUNDING,
        "if self.ledger.may_pay(lot, self.use.resource, edges[index - 1]):",
        "if self.ledger.may_pay(lot, self.use.resource, edges[0]):",
        (AHEAD + "without_a_plan_that_goes_on_nothing_is_granted_ahead",),
    ),
    (
        "an allowance granted ahead is granted again when its period begins",
        LAPSING,
        "account.allowance = account.ahead if next_one == start else 0",
        "account.allowance = 0",
        (AHEAD + "a_period_has_its_allowance_once_whenever_it_was_granted",),
    ),
    (
        "an allowance is granted ahead with every deadline",
        LAPSING,
        "    ledger.account.ahead += lot.amount\n",
        "",
        (AHEAD + "a_period_has_its_allowance_once_whenever_it_was_granted",),
    ),
    (
        "an allowance is granted ahead though nothing of it is held",
        FUNDING,
        "granted = ahead is None or all(part.lot != ahead.lot for part in parts)",
        "granted = ahead is None",
        (AHEAD + "what_does_not_reach_it_is_granted_nothing_ahead",),
    ),
    (
        "an allowance granted ahead pays for what was used before it began",
        LEDGER,
        "or (lot.period is not None and lot.period > self.period(at).start)",
        "or (lot.period is None and lot.kind == '')",
        (AHEAD + "each_period_s_time_is_paid_by_its_own_allowance",),
    ),
    (
        "an allowance granted ahead outlives the plan",
        LAPSING,
        "excess = account.ahead - _included(ledger.plan(start) if goes_on else None)",
        "excess = 0",
        (AHEAD + "what_a_change_of_plan_no_longer_includes_is_taken_back",),
    ),
    (
        "what is taken back of an allowance counts as had",
        LAPSING,
        "        account.ahead -= amount\n",
        "",
        (AHEAD + "what_a_change_of_plan_no_longer_includes_is_taken_back",),
    ),
    (
        "what a run gives back of an allowance granted ahead stays",
        DECIDE,
        "    if account.ahead:\n        expire_excess_ahead(ledger, time)\n",
        "",
        (AHEAD + "what_a_run_gives_back_of_it_is_taken_back_as_well",),
    ),
    (
        "closing refunds an allowance granted ahead",
        LEDGER,
        "if lot.period is not None and lot.period > time:",
        "if lot.period is not None and lot.period < 0:",
        (AHEAD + "closing_refunds_nothing_of_a_period_to_come",),
    ),
    (
        "what can only pay later does not pay first then",
        FUNDING,
        "lots = [*self.of_next_period(), *self.lots.values()]",
        "lots = [*self.lots.values()]",
        (AHEAD + "what_can_only_pay_later_pays_later",),
    ),
    (
        "the next allowance covers debt before it begins",
        FUNDING,
        " or want.cost(min(us, early)) > max(0, at_once)",
        "",
        (AHEAD + "it_covers_no_debt_before_its_period_begins",),
    ),
    (
        "a heartbeat told after the period finds nothing for its end",
        FUNDING,
        "lot.lot not in own or (lot.expires_at or 0) <= use.at",
        "lot.lot",
        (AHEAD + "a_heartbeat_told_after_the_period_renews_as_well",),
    ),
    (
        "a store forgets what was granted ahead",
        COLUMNS,
        'fixed="currency livemode anchor opened_at",',
        'fixed="currency livemode anchor opened_at ahead",',
        (
            "tests/stores/test_sqlite_store.py::TestSqliteStore::test_rows_replace_those_of_the_same_key",
        ),
    ),
    (
        "only the price of now is asked for",
        FUNDING,
        "times = [span.start, *catalogue.changes(",
        "times = [span.start] or [*catalogue.changes(",
        (R + "it_is_funded_at_the_dearest_price_that_is_published",),
    ),
    (
        "limits do not bind a deadline",
        FUNDING,
        "    if limit is not None:\n        left",
        "    if limit is None:\n        left",
        (R + "limits_and_quotas_bind_a_deadline",),
    ),
    (
        "a span is not cut",
        SPANS,
        "edges = [start, *sorted(cuts), end]",
        "edges = [start, end]",
        (DAY, R + "it_is_funded_at_the_dearest_price_that_is_published"),
    ),
    (
        "what was forgiven is given back again",
        SPANS,
        "    given = min(amount, tab.amount - tab.forgiven)\n    day",
        "    given = amount\n    day",
        (R + "what_was_forgiven_is_not_given_back_again_by_a_late_suspension",),
    ),
    (
        "a correction does not move the counter back",
        SPANS,
        "        advance(ledger, correction, piece.occurred, metered)\n",
        "",
        (R + "a_suspension_told_late_gives_back_what_was_settled", PROPERTY),
    ),
    (
        "an item's billed quantity never falls",
        METERING,
        "        more = min(0, now_billed - billed)\n",
        "        more = 0\n",
        (PROPERTY, S + "a_size_that_comes_late_corrects_what_was_billed"),
    ),
    (
        "a late size corrects beyond the next one",
        STORING,
        "        end = min(end, steps[index][0])\n",
        "        pass\n",
        (S + "byte_microseconds_are_the_integral_by_brute_force",),
    ),
    (
        "a size of the same time is added to it",
        STORING,
        "index = bisect_right(steps, at,",
        "index = bisect_right(steps, at - 1,",
        (S + "byte_microseconds_are_the_integral_by_brute_force",),
    ),
    (
        "storage is billed from the start each time",
        STORING,
        "    span = Window(storage.billed_to, until)\n",
        "    span = Window(steps[0][0], until)\n",
        (S + "however_often_and_by_however_many_it_is_billed_it_costs_the_same",),
    ),
    (
        "SQLite forgets how a story grows",
        COLUMNS,
        'fixed="resource period",\n    kinds={"amount": "narrow"',
        'fixed="resource period amount",\n    kinds={"amount": "narrow"',
        (DAY, STORE + "rows_replace_those_of_the_same_key"),
    ),
    (
        "a start that a later day's limit forbids is told to want credit",
        FUNDING,
        "    if found is None:  # but a window",
        "    if False:  # but a window",
        (R + "a_start_is_refused_by_the_limit_of_a_day_that_it_reaches_later",),
    ),
    (
        "a resume that is refused forgets what its hold has",
        FUNDING,
        "found = binding_limit(ledger, asked, cost - own)",
        "found = binding_limit(ledger, asked, cost)",
        (R + "a_resume_that_is_refused_lacks_what_its_hold_does_not_have",),
    ),
    (
        "a start looks for its funding twice",
        RUNNING,
        "    change.fund(hold, funding)\n",
        "    change.renew()\n",
        (R + "a_start_looks_once_for_what_funds_it",),
    ),
    (
        "a renewal announces what is asked, however far it is funded",
        RUNNING,
        "want = found.want if found.bound_by in WHOLE else demand_of(ledger, run, span)",
        "want = found.want",
        (R + "what_a_run_cannot_fund_is_not_announced",),
    ),
    (
        "what fails leaves its marks on a run",
        RUNNING,
        "return _Change(ledger, decision, copy(run))",
        "return _Change(ledger, decision, run)",
        (FOUND + "a_stop_that_fails_leaves_the_run_alone_for_what_follows_in_its_batch",),
    ),
    (
        "a story adds up what was given back",
        SPANS,
        "    story.amount += amount - story.reversed  # what came back is no part of it any more\n"
        "    story.reversed = 0\n",
        "    story.amount += amount\n",
        (FOUND + "forgiving_and_undoing_again_and_again_stays_within_64_bits",),
    ),
    (
        "a piece that is priced later is owed again",
        "billing_core/ledger/debts.py",
        "        story.unpaid = 0  #",
        "        pass  #",
        (FOUND + "pricing_a_piece_that_is_owed_does_not_owe_it_twice",),
    ),
    (
        "a run that is settled up to now is not active",
        "billing_core/engine/billing.py",
        "run.started_at < span.end",
        "run.settled_to < span.end",
        (FOUND + "a_run_that_is_settled_up_to_now_counts_as_active",),
    ),
    (
        "resuming forgets how long it was suspended",
        RUNNING,
        "ended: list[list[int | None]] = [[begin, again]] if begin < again else []",
        "ended: list[list[int | None]] = []",
        (MACHINE,),
    ),
    (
        "a late resumption does not charge again what was given back",
        RUNNING,
        "    span = Window(again, run.settled_to)\n",
        "    span = Window(again, again)\n",
        (FOUND + "time_told_late_takes_nothing_of_what_a_deadline_holds",),
    ),
    (
        "PostgreSQL loads no size after a span",
        PG_LOOKUPS,
        "t.at <= coalesce((SELECT min(s.at) {sized} AND s.at > w.last), w.last)",
        "t.at <= w.last",
        (POSTGRES + "a_wanted_workspace_comes_with_the_sizes_of_its_span",),
    ),
    (
        "PostgreSQL loads no size before a span",
        PG_LOOKUPS,
        "t.at >= coalesce((SELECT max(s.at) {sized} AND s.at <= w.first), w.first)",
        "t.at >= w.first",
        (POSTGRES + "a_wanted_workspace_comes_with_the_sizes_of_its_span",),
    ),
    (
        "PostgreSQL loads a run without its stories",
        PG_LOADING,
        "[(tab,) for tab in required.stories(state)]",
        "[(tab,) for tab in required.stories(OrgState())]",
        (POSTGRES + "a_wanted_run_comes_with_what_charges_it",),
    ),
    (
        "PostgreSQL loads a run without its counters",
        PG_LOADING,
        "if span != want.counters.get(resource)",
        "if span in want.counters.values()",
        (POSTGRES + "a_wanted_run_comes_with_what_charges_it",),
    ),
    (
        "PostgreSQL loads a run without what was spent on its days",
        PG_LOADING,
        "required.windows(account.anchor, state.times)",
        "required.windows(account.anchor, want.times)",
        (FOUND + "forgiving_what_was_last_charged_after_the_runs_end_counts_in_that_day",),
    ),
    (
        "PostgreSQL keeps a run's first state",
        COLUMNS,
        '("state", "seen_at", "body"),',
        '("seen_at", "body"),',
        (POSTGRES + "a_run_that_ends_or_gives_a_sign_of_life_is_silent_no_more",),
    ),
    (
        "PostgreSQL finds silent runs that have ended",
        PG_WORK,
        "state IN ('active', 'suspended')",
        "state <> 'settled'",
        (POSTGRES + "silent_runs_of_all_orgs_come_longest_silent_first",),
    ),
]
