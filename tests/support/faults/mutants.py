"""Faults for `planted_faults.py`: those that mutants found and that no test noticed."""

FOUND = "tests/unit/ledger/test_borders.py::test_"
CORNERS = "tests/unit/runs/test_run_and_storage_corners.py::test_"
SETTINGS = "tests/payments/test_topup_settings.py::test_"
FORGED = "tests/unit/audit/test_forged_journal.py::test_a_forged_entry_is_found_and_named"

Planted = tuple[str, str, str, str, tuple[str, ...]]

BY_MUTANTS: list[Planted] = [
    (
        "all clawbacks come back where one is undone",
        "billing_core/topups/clawback.py",
        "            undone.append([number, part])\n            amount -= part\n",
        "            undone.append([number, part])\n",
        (FOUND + "of_two_clawbacks_of_a_payment_only_the_one_undone_comes_back",),
    ),
    (
        "an attempt that was dropped stays open",
        "billing_core/topups/policy.py",
        "    if auto.open == topup.topup and not topup.in_flight:",
        '    if auto.open == topup.topup and not topup.in_flight and after != "dropped":',
        (FOUND + "an_attempt_that_was_dropped_leaves_room_for_the_next",),
    ),
    (
        "a quarantined payment stops nothing",
        "billing_core/topups/policy.py",
        '        stopped(auto, "quarantined")\n    elif',
        "        pass\n    elif",
        (FOUND + "a_quarantined_payment_stops_automatic_top_ups",),
    ),
    (
        "a part that was forgiven is forgiven for good",
        "billing_core/runs/handlers.py",
        "not any(tab.forgiven for tab in run.tabs)",
        "any(tab.forgiven for tab in run.tabs)",
        (FOUND + "a_part_that_was_forgiven_of_a_run_can_be_charged_again",),
    ),
    (
        "an alert waits for a hundredth more",
        "billing_core/charging/limits.py",
        "amount * percent <= (spend.amount + more) * 100:",
        "amount * percent <= (spend.amount + more) * 99:",
        (FOUND + "an_alert_is_raised_by_the_nano_that_reaches_its_mark",),
    ),
    (
        "undoing looks at no debt",
        "billing_core/runs/handlers.py",
        "    ledger.check_room(used=sum(tab.forgiven for tab in run.tabs))\n",
        "",
        (FOUND + "undoing_what_was_forgiven_is_refused_where_the_debt_would_leave_64_bits",),
    ),
    (
        "an allowance takes no notice of 64 bits",
        "billing_core/charging/allowances.py",
        "    return max(0, min(_included(plan) - had, room))",
        "    return max(0, _included(plan) - had)",
        (FOUND + "an_allowance_beside_almost_64_bits_of_credit_is_what_fits",),
    ),
    (
        "another org's keys are found in a large batch",
        "adapters/billing_adapters/sqlite/loader.py",
        '    f" WHERE org_id = ? AND key IN',
        '    f" WHERE org_id = ? OR key IN',
        (FOUND + "many_keys_at_once_are_those_of_their_own_org",),
    ),
    (
        "an org that its batch has opened is asked for again and again",
        "billing_core/charging/limits.py",
        "    if not ledger.new and not windows <= ledger.state.windows:",
        "    if not windows <= ledger.state.windows:",
        (
            "tests/stories/test_billing_gone_wrong.py::test_an_account_can_be_opened_limited_and_charged_in_one_batch",
        ),
    ),
    (
        "a run's pieces forget its reference",
        "billing_core/charging/time_charges.py",
        'said if owner.reference is None else said | {"reference": owner.reference}',
        "said",
        (FOUND + "whatever_a_run_is_charged_or_given_back_has_its_reference",),
    ),
    (
        "a piece of minus one is charged",
        "billing_core/charging/time_charges.py",
        "    return piece.us < 0 or any(quantity < 0",
        "    return piece.us < -1 or any(quantity < -1",
        (
            FOUND + "a_microsecond_of_suspension_gives_back_its_nano",
            FOUND + "a_byte_less_for_a_microsecond_gives_back_its_nano",
        ),
    ),
    (
        "a correction gives back what another run was charged",
        "billing_core/charging/time_charges.py",
        "least = amount - tab.amount",
        "least = -MAX_NANOS",
        (FOUND + "a_correction_gives_back_no_more_than_the_run_was_charged",),
    ),
    (
        "each component gives back all that a run was charged",
        "billing_core/pricing/rating.py",
        "            if amount < 0:\n                least -= amount\n",
        "",
        (FOUND + "a_correction_gives_back_no_more_than_the_run_was_charged",),
    ),
    (
        "a limit that is taken away says an amount",
        "billing_core/charging/subscriptions.py",
        "_passed(ledger, before, decision.time)\n    return finish(ledger, decision, amount or 0)",
        "_passed(ledger, before, decision.time)\n    return finish(ledger, decision, amount or 1)",
        (FOUND + "what_moves_nothing_has_no_amount",),
    ),
    (
        "that automatic top-ups stopped is told with every news",
        "billing_core/topups/handlers.py",
        "    if auto.stopped is not None and auto_before.stopped != auto.stopped:",
        "    if auto.stopped is not None:",
        (FOUND + "that_automatic_top_ups_stopped_is_told_once",),
    ),
    (
        "verify takes a transfer of nothing",
        "billing_core/audit/auditor.py",
        '        if amount <= 0:\n            self.note(where, f"a transfer of {amount}")',
        '        if amount < 0:\n            self.note(where, f"a transfer of {amount}")',
        (FORGED,),
    ),
    (
        "verify does not add up the lines of what was used",
        "billing_core/audit/usage.py",
        "    if entry.op in CHARGES and total != entry.amount:",
        "    if entry.op in CHARGES and total > entry.amount + 9:",
        (FORGED,),
    ),
    (
        "verify does not hold a run's tab against its story",
        "billing_core/audit/runs.py",
        "    if story.amount - story.reversed != tab.amount - tab.forgiven:",
        "    if False:",
        (FORGED,),
    ),
    (
        "verify takes less than nothing forgiven",
        "billing_core/audit/runs.py",
        "    if not 0 <= tab.forgiven <= tab.amount",
        "    if not -1 <= tab.forgiven <= tab.amount",
        (FORGED,),
    ),
    (
        "verify takes a bill for storage at its word",
        "billing_core/audit/runs.py",
        '    charged, size, billed_to = effects["stands"]\n    if charged != audit.posted or',
        '    charged, size, billed_to = effects["stands"]\n    if',
        (FORGED,),
    ),
    (
        "ended holds are added up in other shares than a checkpoint has",
        "billing_core/audit/state.py",
        "SHARES = 64",
        "SHARES = 65",
        (
            "tests/unit/audit/test_verify.py::"
            "test_what_a_checkpoint_adds_up_is_added_up_alike_by_whoever_goes_on_from_it",
        ),
    ),
    (
        "SQLite remembers the counter of another period for a hold",
        "adapters/billing_adapters/sqlite/loader.py",
        "            if latest.start != start:\n                return None\n",
        "",
        (
            "tests/stores/test_lookups.py::test_a_hold_over_periods_takes_back_what_it_announced_in_each",
            "tests/stores/test_lookups.py::"
            "test_a_hold_that_is_known_without_its_counters_takes_back_what_it_announced",
        ),
    ),
    (
        "verify does not add up what storage was billed",
        "billing_core/audit/runs.py",
        "        if total != posted:",
        "        if False:",
        (
            "tests/unit/audit/test_forged_journal.py::test_storage_of_which_too_little_is_posted_is_found_and_named",
        ),
    ),
    (
        "what priced a charge later is given back again when it is undone",
        "billing_core/audit/usage.py",
        "        before += 0 if later is None else later.reversed\n",
        "",
        (
            "tests/unit/charging/test_undo_usage.py::"
            "test_of_usage_priced_later_only_what_was_not_given_back_yet_comes_back",
        ),
    ),
    (
        "more is forgiven of a run than was asked for",
        "billing_core/charging/time_charges.py",
        "part = left if amount is None else min(left, amount - total)",
        "part = left if amount is None else min(left, amount)",
        (FOUND + "a_part_that_is_forgiven_of_two_periods_is_no_more_than_was_asked_for",),
    ),
    (
        "a change of plan checks neither org nor key",
        "billing_core/commands/accounts.py",
        "        check_command(self)\n        if self.plan is not None:",
        "        if self.plan is not None:",
        ("tests/unit/ledger/test_commands.py::test_every_command_checks_its_org_key_and_time",),
    ),
    (
        "forgiving too much says a wrong excess",
        "billing_core/runs/handlers.py",
        'refusal(decision, "over_reversal", amount - left, "charge")',
        'refusal(decision, "over_reversal", amount + left, "charge")',
        (FOUND + "forgiving_more_than_a_run_cost_says_by_how_much",),
    ),
    (
        "what a run has not told counts the period before",
        "billing_core/runs/views.py",
        "        if piece.occurred >= window.start:\n",
        "        if True:\n",
        (FOUND + "what_a_run_has_not_told_yet_is_estimated_for_the_period_alone",),
    ),
    (
        "only the latest clawback is undone",
        "billing_core/topups/clawback.py",
        "        if not amount:\n            break\n    repay(ledger)\n    return undone",
        "        if amount:\n            break\n    repay(ledger)\n    return undone",
        (FOUND + "all_clawbacks_that_are_undone_at_once_come_back",),
    ),
    (
        "a page is looked at at once",
        "billing_core/topups/handlers.py",
        "due_at=ledger.terms.now + _LOOK_AGAIN, started",
        "due_at=ledger.terms.now - _LOOK_AGAIN, started",
        (FOUND + "a_page_is_looked_at_again_when_it_has_closed_and_not_before",),
    ),
    (
        "an automatic top-up of a part of a cent",
        "billing_core/commands/topups.py",
        "        to_minor(self.amount.nanos, self.amount.currency)\n        if self.cap",
        "        if self.cap",
        (FOUND + "an_automatic_top_up_is_of_whole_minor_units",),
    ),
    (
        "a top-up that another worker saw to is a failure",
        "billing_core/engine/background.py",
        'if refused_for(error, "not_due") or refused_for(error, "dropped"):',
        'if refused_for(error, "dropped"):',
        (FOUND + "a_top_up_that_another_worker_was_quicker_to_see_to_is_no_failure",),
    ),
    (
        "events are delivered by two at once",
        "billing_core/engine/background.py",
        "self.store.lease_events(org, name, now, now + _DELIVERY)",
        "self.store.lease_events(org, name, now, now - _DELIVERY)",
        (FOUND + "events_that_one_worker_delivers_are_not_delivered_by_another_meanwhile",),
    ),
    (
        "of many events none that is there is compared",
        "billing_core/audit/events.py",
        "while seq is not None and seq <= entry.seq:",
        "while seq is None and seq <= entry.seq:",
        ("tests/unit/audit/test_verify.py::test_of_many_events_the_altered_one_alone_is_named",),
    ),
    (
        "a reversal needs room for what nobody paid",
        "billing_core/charging/charges.py",
        "ledger.check_room(returned=max(0, amount - story.unpaid))",
        "ledger.check_room(returned=max(0, amount + story.unpaid))",
        (FOUND + "a_charge_that_nobody_paid_can_be_reversed_however_large",),
    ),
    (
        "a next lapse is wrong after the last end only",
        "billing_core/audit/verify.py",
        "if ends and (there is None or there > min(ends)):",
        "if ends and (there is None or there > max(ends)):",
        ("tests/unit/audit/test_verify.py::test_a_next_lapse_between_two_ends_is_found",),
    ),
    (
        "free time that was forgiven stays forgiven",
        "billing_core/charging/time_charges.py",
        "            if not amount and not us:\n                continue\n            lines",
        "            if not amount or not us:\n                continue\n            lines",
        (FOUND + "time_that_cost_nothing_is_forgiven_and_counted_again",),
    ),
    (
        "awaited, a page saves the method unless told otherwise",
        "billing_core/engine/async_billing.py",
        "    top_up = at_provider(Billing.top_up)\n",
        "    async def top_up(\n"
        "        self, *given: Any, save_method: bool = True, **options: Any\n"
        "    ) -> Any:\n"
        "        call, ask = self._threads.call_provider, self._billing.top_up\n"
        "        return await call(ask, *given, save_method=save_method, **options)\n",
        (
            "tests/unit/engine/test_concurrency.py::"
            "test_what_is_awaited_is_the_sync_method_in_name_signature_and_docstring",
        ),
    ),
    (
        "credit is looked at before the allowance of the period has come",
        "billing_core/charging/accounts.py",
        "    lapse(ledger, decision)\n    ledger.check_room(granted=amount)",
        "    ledger.check_room(granted=amount)\n    lapse(ledger, decision)",
        (FOUND + "credit_beside_an_allowance_that_fills_64_bits_is_refused",),
    ),
    (
        "a correction takes of another day what is forgiven there",
        "billing_core/charging/time_charges.py",
        "        part = min(given, day.amount - day.forgiven)\n        less = min(moved, part)",
        "        part = min(given, day.amount + day.forgiven)\n        less = min(moved, part)",
        (
            "tests/unit/runs/test_runs_by_day.py::"
            "test_a_correction_takes_of_another_day_no_more_than_what_is_not_forgiven_there",
        ),
    ),
    (
        "an allowance repays nothing when its period begins",
        "billing_core/charging/allowances.py",
        '    repay(ledger)\n    ledger.post(f"lapse:period:{start}"',
        '    ledger.post(f"lapse:period:{start}"',
        (FOUND + "an_allowance_repays_debt_before_it_pays_for_anything_new",),
    ),
    (
        "a run at a discount is held at the full price",
        "billing_core/pricing/functions.py",
        "        cost, per = self.function.most(quantity)\n"
        "        return cost * self.ratio[0], per * self.ratio[1]",
        "        cost, per = self.function.most(quantity)\n"
        "        return cost * self.ratio[1], per * self.ratio[1]",
        (FOUND + "half_off_halves_what_a_run_has_held",),
    ),
    (
        "a refused start looks at no day that it reaches",
        "billing_core/runs/funding.py",
        "asked = use._replace(until=use.at + us,",
        "asked = use._replace(until=use.at - us,",
        (
            "tests/unit/runs/test_runs.py::"
            "test_a_start_beyond_the_next_day_s_limit_and_beyond_its_credit_is_told_the_limit",
        ),
    ),
    (
        "a refused start lacks all that it costs and what is left of the limit",
        "billing_core/runs/funding.py",
        "shortfall=cost - own + limit.shortfall)",
        "shortfall=cost - own - limit.shortfall)",
        (
            "tests/unit/runs/test_runs.py::"
            "test_a_start_that_a_limit_of_the_next_day_refuses_lacks_what_that_day_has_not_left",
        ),
    ),
    (
        "the allowance of a period that has just begun is kept for later",
        "billing_core/runs/funding.py",
        "if lot.period and lot.period > self.use.at]",
        "if lot.period and lot.period >= self.use.at]",
        (
            "tests/unit/runs/test_allowance_ahead.py::"
            "test_a_run_that_starts_as_a_period_begins_is_paid_by_that_period_s_allowance",
        ),
    ),
    (
        "a hold that has ended keeps its credit from a run",
        "billing_core/runs/handlers.py",
        "    lapse(ledger, decision)\n    least = ",
        "    least = ",
        ("tests/unit/runs/test_runs.py::test_what_a_hold_had_that_has_ended_funds_a_run",),
    ),
    (
        "a run goes on before what ended meanwhile has lapsed",
        "billing_core/runs/handlers.py",
        "    lapse(ledger, decision)\n    suspended = ",
        "    suspended = ",
        (
            "tests/unit/runs/test_runs.py::"
            "test_a_hold_that_has_ended_lapses_before_anything_is_done_to_a_run",
        ),
    ),
    (
        "suspended time is not charged before it is posted",
        "billing_core/runs/handlers.py",
        "if piece.parts]",
        "if piece.us > 0]",
        (
            "tests/unit/runs/test_runs.py::"
            "test_suspended_time_that_costs_shows_before_it_is_charged",
        ),
    ),
    (
        "what was priced later needs no room to come back",
        "billing_core/charging/time_charges.py",
        "            most += _most_late(ledger, owner, piece.occurred, component, -quantity)\n",
        "",
        (
            "tests/unit/runs/test_runs_priced_late.py::"
            "test_what_was_priced_later_comes_back_only_where_credit_stays_within_64_bits",
        ),
    ),
    (
        "what comes back has room at the cheapest price",
        "billing_core/charging/time_charges.py",
        "most += max(-(-nanos // per) for nanos, per in costs)",
        "most += min(-(-nanos // per) for nanos, per in costs)",
        (FOUND + "a_late_stop_gives_back_at_a_price_that_rose_only_where_there_is_room",),
    ),
    (
        "a lower plan takes back all that was granted ahead",
        "billing_core/charging/allowances.py",
        "        excess -= amount\n",
        "",
        (
            "tests/unit/runs/test_allowance_ahead.py::"
            "test_of_two_parts_granted_ahead_a_lower_plan_takes_back_its_excess_and_no_more",
        ),
    ),
    (
        "nothing comes back of another period once a part of it did",
        "billing_core/charging/reversals.py",
        "            less = take_out(pieces, counter, -most)",
        "            less = take_out(pieces, counter, most)",
        (
            "tests/unit/charging/test_items_over_periods.py::"
            "test_of_what_another_period_charged_only_what_was_not_given_back_yet_comes_back",
        ),
    ),
    (
        "a charge of another component gives back for a call that failed",
        "billing_core/charging/reversals.py",
        "if any(each.component in counted and each.version and each.amount",
        "if any(each.version and each.amount",
        (
            "tests/unit/charging/test_undo_usage.py::"
            "test_a_charge_of_another_component_gives_nothing_back_for_a_call_that_failed",
        ),
    ),
    (
        "an amount is held before what ended meanwhile has lapsed",
        "billing_core/charging/holds.py",
        "amount = command.resource, cost.nanos\n        lapse(ledger, decision)\n",
        "amount = command.resource, cost.nanos\n",
        (FOUND + "a_hold_that_has_ended_lapses_before_whatever_comes_next",),
    ),
    (
        "an account is closed before what ended meanwhile has lapsed",
        "billing_core/decide.py",
        "    lapse(ledger, decision)\n    end_runs(ledger, decision)\n",
        "    end_runs(ledger, decision)\n",
        (FOUND + "a_hold_that_has_ended_lapses_before_whatever_comes_next",),
    ),
    (
        "a public name's default changes without a word",
        "billing_core/engine/billing.py",
        "idle_for: timedelta = timedelta(minutes=15)",
        "idle_for: timedelta = timedelta(minutes=16)",
        ("tests/docs/test_public_api.py::test_the_public_api_is_as_recorded",),
    ),
    (
        "what a run was charged in another period needs no room to come back",
        "billing_core/charging/time_charges.py",
        "yield start, -(-nanos // per) + 2 + _carried(count)",
        "yield start, 0",
        (
            "tests/unit/charging/test_items_over_periods.py::"
            "test_what_a_run_was_charged_in_the_period_before_comes_back_within_64_bits",
        ),
    ),
    (
        "what another period charged needs no room to come back",
        "billing_core/charging/reversals.py",
        "    ledger.check_room(returned=back + sum(each.back for each in elsewhere))",
        "    ledger.check_room(returned=back)",
        (
            "tests/unit/charging/test_items_over_periods.py::"
            "test_what_another_period_charged_comes_back_only_where_credit_stays_within_64_bits",
        ),
    ),
    (
        "a run that was priced later gives back for a call that failed",
        "billing_core/charging/reversals.py",
        "        if is_of_time(entry):\n            continue\n        used",
        "        used",
        (
            "tests/unit/runs/test_runs_priced_late.py::"
            "test_a_call_that_is_undone_takes_back_nothing_of_a_run_that_was_priced_later",
        ),
    ),
    (
        "what was given back before is taken off twice where all comes back",
        "billing_core/charging/reversals.py",
        "-(most + before))",
        "-most)",
        (
            "tests/unit/charging/test_undo_usage.py::"
            "test_all_that_is_left_comes_back_where_parts_of_every_charge_were_given_back",
        ),
    ),
    (
        "a charge gives back more than its call cost, of its later price",
        "billing_core/charging/reversals.py",
        "rest = back - min(back, own.left)",
        "rest = back - own.left",
        (
            "tests/unit/charging/test_undo_usage.py::"
            "test_what_a_call_cost_less_comes_back_of_its_own_charge_before_its_later_price",
        ),
    ),
    (
        "what was granted ahead counts towards any later period",
        "billing_core/charging/allowances.py",
        "account.ahead if next_one == start else 0",
        "account.ahead",
        (
            "tests/unit/runs/test_allowance_ahead.py::"
            "test_what_a_period_had_ahead_counts_towards_no_later_one",
        ),
    ),
    (
        "a hold that is sent again is said to have ended by a clock in doubt",
        "billing_core/ledger/replay.py",
        "        ledger.believe(hold.expires_at)\n",
        "        pass\n",
        (
            "tests/unit/charging/test_clock.py::"
            "test_no_hold_that_is_sent_again_is_said_to_have_ended_by_a_clock_far_ahead",
        ),
    ),
    (
        "a quota of a pattern counts whatever begins with its letter",
        "billing_core/ledger/ledger.py",
        "key = (pattern[:-1], start)",
        "key = (pattern[:1], start)",
        (
            "tests/unit/charging/test_plans.py::"
            "test_a_quota_of_a_pattern_counts_nothing_of_a_resource_that_it_does_not_name",
        ),
    ),
    (
        "a clawback takes no notice of 64 bits",
        "billing_core/topups/clawback.py",
        "    ledger.check_room(used=amount)\n",
        "",
        (
            "tests/payments/test_refunds.py::"
            "test_a_refund_waits_while_what_is_owed_with_it_would_leave_64_bits",
        ),
    ),
    (
        "what a won dispute gives back leaves debt beside it",
        "billing_core/topups/clawback.py",
        "    repay(ledger)\n    return undone",
        "    return undone",
        (
            "tests/payments/test_refunds.py::"
            "test_what_a_won_dispute_gives_back_pays_what_was_used_meanwhile",
        ),
    ),
    (
        "what comes back of whole minutes is foreseen by the second",
        "billing_core/charging/time_charges.py",
        "first = priced if begun is None else version_of(str(begun[2]), component) or priced",
        "first = priced",
        (CORNERS + "what_comes_back_of_a_run_in_whole_minutes_stays_within_64_bits",),
    ),
    (
        "what a run costs so far is by the price of the moment after",
        "billing_core/runs/handlers.py",
        "run, window.end - 1, measure(window",
        "run, window.end + 1, measure(window",
        (CORNERS + "what_a_run_costs_so_far_is_by_the_price_of_each_moment_to_the_last",),
    ),
    (
        "what a run holds of a lot that ended before is credit for what comes",
        "billing_core/runs/funding.py",
        "(lot.lot not in own or (lot.expires_at or 0) <= use.at)",
        "lot.lot not in own",
        (CORNERS + "what_a_run_held_of_a_lot_that_ended_before_is_no_credit_for_what_comes",),
    ),
    (
        "a run without credit is refused for a limit that has room",
        "billing_core/runs/funding.py",
        "if limit is not None and cost > max(0, own - limit.shortfall):",
        "if limit is not None:",
        (CORNERS + "a_run_that_no_lot_lives_long_enough_for_is_not_said_to_be_over_a_limit",),
    ),
    (
        "time of a run that has no price is told to nobody",
        "billing_core/charging/time_charges.py",
        '        ledger.untold.append(("usage_unpriced", data))\n',
        "        pass\n",
        ("tests/unit/runs/test_runs_priced_late.py::test_time_of_a_run_that_has_no_price_is_told",),
    ),
    (
        "what a run of before gives back leaves its project's limit used up",
        "billing_core/charging/time_charges.py",
        "        return True  # the version before knows it no other way\n",
        "        return False\n",
        (
            "tests/unit/runs/test_runs_by_day.py::"
            "test_what_a_run_of_before_gives_back_makes_room_in_its_projects_limit",
        ),
    ),
    (
        "what is given back may have ended already",
        "billing_core/charging/charges.py",
        '    check_future("expires_at", expires_at, decision)\n',
        "",
        (
            "tests/unit/ledger/test_rules_6_debt_and_reversal.py::"
            "test_6_6_the_new_expiry_is_not_over_already",
        ),
    ),
    (
        "a hold whose name comes early ends before the lots of its moment",
        "billing_core/charging/expiry.py",
        """        _End(lot.expires_at, 0, f"{lot.lot:020}", lot, doubted)
        for lot in""",
        """        _End(lot.expires_at, 1, f"{lot.lot:020}", lot, doubted)
        for lot in""",
        (
            "tests/unit/ledger/test_rules_6_time_and_refusals.py::"
            "test_6_7_at_one_moment_lots_end_before_holds_whatever_a_hold_is_called",
        ),
    ),
    (
        "debt is repaid by credit that a hold has",
        "billing_core/ledger/debts.py",
        "part = min(lot.remainder - lot.reserved, charge.unpaid)",
        "part = min(lot.remainder, charge.unpaid)",
        (
            "tests/unit/ledger/test_rules_6_debt_and_reversal.py::"
            "test_6_5_credit_that_another_hold_has_repays_nothing",
        ),
    ),
    (
        "what a run leaves unpaid is not known to the rest of its batch",
        "billing_core/ledger/debts.py",
        "    if oldest and not any(each is charge for each in debts):\n",
        "    if False:\n",
        (CORNERS + "what_a_run_leaves_unpaid_is_repaid_by_credit_of_the_same_batch",),
    ),
    (
        "what a piece of a run was left unpaid is not explained",
        "billing_core/ledger/debts.py",
        'for move in subject.transfers if move.kind == "debt")',
        'for move in subject.transfers if move.kind == "unpaid")',
        (CORNERS + "a_piece_of_a_run_is_explained_by_what_paid_it_and_what_was_left_unpaid",),
    ),
    (
        "what was won back of a clawback comes back once more",
        "billing_core/topups/clawback.py",
        "part = min(amount, story.amount - story.reversed)",
        "part = min(amount, story.amount)",
        (
            "tests/payments/test_refunds.py::"
            "test_of_two_that_were_taken_back_each_comes_back_in_its_turn",
        ),
    ),
    (
        "a clawback takes of whatever would be spent first",
        "billing_core/topups/clawback.py",
        "    part = ledger.withdraw(topup.lot, amount)\n",
        "    part = 0\n",
        (
            "tests/payments/test_refunds.py::"
            "test_a_clawback_takes_from_its_own_lot_though_others_would_be_spent_first",
        ),
    ),
    (
        "what ends at the very time that is certain is doubted",
        "billing_core/ledger/inputs.py",
        "time <= self.certain",
        "time < self.certain",
        (
            "tests/unit/charging/test_clock.py::"
            "test_what_had_ended_by_the_latest_record_ends_after_a_week_s_rest",
        ),
    ),
    (
        "credit beside debt may leave 64 bits",
        "billing_core/ledger/ledger.py",
        "        credit = account.balance + account.debt\n",
        "        credit = account.balance\n",
        (FOUND + "credit_beside_debt_that_it_may_not_pay_stays_within_64_bits",),
    ),
    (
        "a worker makes a refund beside whoever asked for it",
        "billing_core/topups/handlers.py",
        'topup.due_at = ledger.terms.now + duration("lease", ledger.terms.topups.lease)',
        "topup.due_at = ledger.terms.now",
        ("tests/payments/test_refunds.py::test_a_refund_whose_answer_is_lost_is_made_once",),
    ),
    (
        "what is on its way is refunded",
        "billing_core/topups/handlers.py",
        "if topup.payment is None or topup.paid_at is None:",
        "if topup.payment is None:",
        ("tests/payments/test_refunds.py::test_what_is_on_its_way_is_not_refunded",),
    ),
    (
        "enabling again ends the cooldown",
        "billing_core/topups/policy.py",
        'start = 0 if auto.last is None else auto.last + duration("cooldown", rules.cooldown)',
        "start = 0",
        (SETTINGS + "enabling_again_does_not_shorten_the_cooldown",),
    ),
    (
        "what had failed and was charged all the same counts towards no cap",
        "billing_core/topups/policy.py",
        "        auto.spent += topup.amount  # it had failed, and was charged all the same\n",
        "        pass\n",
        (SETTINGS + "an_attempt_that_was_charged_though_it_had_failed_counts_towards_the_cap",),
    ),
    (
        "a card that is gone undoes the pause that a refund made",
        "billing_core/topups/policy.py",
        "auto.stopped not in NEEDS_METHOD):",
        "auto.stopped in NEEDS_METHOD):",
        (SETTINGS + "a_new_card_mends_no_pause_that_a_refund_made",),
    ),
    (
        "another card waits until something is used",
        "billing_core/topups/policy.py",
        "    return auto.stopped in NEEDS_METHOD or auto.failures > 0\n",
        "    return False\n",
        (SETTINGS + "another_card_pays_at_once_for_what_the_one_before_could_not",),
    ),
    (
        "a card is tried again after a month of failures as after one",
        "billing_core/topups/policy.py",
        "min(backoff * 2 ** (auto.failures - 1), max(backoff, _LONGEST))",
        "backoff",
        (SETTINGS + "each_failure_doubles_the_wait_up_to_thirty_days",),
    ),
    (
        "the smallest payment is not told when it is taken back",
        "billing_core/topups/policy.py",
        "    if payment.received <= 0:\n",
        "    if payment.received <= 1:\n",
        (
            "tests/payments/test_provider_figures.py::"
            "test_what_the_provider_holds_of_the_smallest_payment_is_told_and_of_none_is_not",
        ),
    ),
    (
        "a hold pays beyond the scope of what it has",
        "billing_core/ledger/ledger.py",
        "                or not (lot.scope is None or covers(lot.scope, resource))\n",
        "",
        (
            "tests/unit/ledger/test_rules_6_lots_and_holds.py::"
            "test_6_3_what_a_hold_has_of_a_scoped_lot_pays_for_nothing_beyond_its_scope",
        ),
    ),
    (
        "what was granted ahead pays for the running period",
        "billing_core/ledger/ledger.py",
        "                or (lot.period is not None and lot.period > self.period(at).start)\n",
        "",
        (
            "tests/unit/runs/test_allowance_ahead.py::"
            "test_what_was_granted_ahead_pays_for_none_of_the_running_period",
        ),
    ),
    (
        "the last nano pays for nothing",
        "billing_core/ledger/ledger.py",
        """            if free <= 0 or not self.may_pay(lot, resource, at):
                continue
            paid =""",
        """            if free <= 1 or not self.may_pay(lot, resource, at):
                continue
            paid =""",
        (
            "tests/unit/ledger/test_rules_6_lots_and_holds.py::"
            "test_6_4_the_last_nano_that_is_there_pays",
        ),
    ),
    (
        "what was granted ahead outlives the closing",
        "billing_core/ledger/ledger.py",
        "                self.expire(lot)\n            elif lot.remainder:",
        "                pass\n            elif lot.remainder:",
        (
            "tests/unit/runs/test_allowance_ahead.py::"
            "test_what_was_granted_ahead_expires_when_the_org_closes_and_the_rest_goes_back",
        ),
    ),
    (
        "a lot that is filled again lives on where another ended meanwhile",
        "billing_core/ledger/ledger.py",
        "        if not self.ended(lot, when):\n            self.will_lapse(lot.expires_at)\n",
        "",
        (
            "tests/unit/ledger/test_rules_6_debt_and_reversal.py::"
            "test_6_6_a_refilled_lot_ends_when_it_was_to_end_though_another_ended_meanwhile",
        ),
    ),
    (
        "what is filled again is not there for the rest of its batch",
        "billing_core/ledger/ledger.py",
        "        if not any(each is lot for each in self.lots):\n",
        "        if not self.lots:\n",
        (
            "tests/unit/ledger/test_rules_6_debt_and_reversal.py::"
            "test_6_6_what_a_reversal_gives_back_pays_for_the_rest_of_its_batch",
        ),
    ),
]
