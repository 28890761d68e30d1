"""Plant faults in a copy of the code, one at a time, and see that the tests catch them.

    python tests/support/planted_faults.py [--sound] [WORD…]

Each fault is a small patch and the tests that must fail once it is in; with words, only
faults whose name or file has one of them.  Exits 1 if a fault survives, or if its patch
no longer fits the code: then the table below is to be mended.  With ``--sound`` the tests
are known to pass without a fault, as right after `make test`: a twentieth of them shows that
the copies are whole.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Queue
from typing import NamedTuple

from faults.announced import IN_ANNOUNCED
from faults.audit import IN_AUDIT
from faults.background import IN_BACKGROUND
from faults.charges import IN_CHARGES
from faults.clock import IN_CLOCK
from faults.connections import IN_CONNECTIONS
from faults.costs_and_turns import IN_COSTS_AND_TURNS
from faults.doors import IN_DOORS
from faults.extensions import IN_EXTENSIONS
from faults.holds import IN_HOLDS
from faults.http import IN_HTTP
from faults.items import IN_ITEMS
from faults.limits import IN_LIMITS
from faults.loads import IN_LOADS
from faults.migration import IN_MIGRATION
from faults.mutants import BY_MUTANTS
from faults.packages import IN_PACKAGES
from faults.payments import PAYMENTS
from faults.price_lists import IN_PRICE_LISTS
from faults.prices import IN_PRICES
from faults.providers import IN_PROVIDERS
from faults.requests import IN_REQUESTS
from faults.required import IN_REQUIRED
from faults.runs import RUNS
from faults.runs_long_ago import IN_RUNS_LONG_AGO
from faults.secrets import IN_SECRETS
from faults.tabs import IN_TABS
from faults.topup_settings import IN_TOPUP_SETTINGS
from faults.topups import IN_TOPUPS
from faults.unnamed import IN_UNNAMED
from faults.usage import IN_USAGE
from fork_server import Forked
from postgres_servers import fresh_database

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("billing_core", "adapters", "docs", "examples", "tests", "pyproject.toml")
WORKERS = 2  # processors
AT_ONCE = 3  # copies: a test that hangs, or asks PostgreSQL, leaves its processor to another
PATIENCE = 60  # seconds for one fault's tests: one that hangs is caught as well


class Fault(NamedTuple):
    """``old`` occurs once in ``file``; with ``new`` instead, ``tests`` fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def fault(name: str, file: str, old: str, new: str, *tests: str) -> Fault:
    nodes = tuple(f"tests/test_{test}" for test in tests)
    return Fault(name, f"billing_core/{file}.py", old, new, nodes)


def sqlite_fault(name: str, file: str, old: str, new: str, *tests: str) -> Fault:
    found = fault(name, file, old, new, *tests)
    return found._replace(file=f"adapters/billing_adapters/sqlite/{file}.py")


def postgres_fault(name: str, file: str, old: str, new: str, *tests: str) -> Fault:
    found = fault(name, file, old, new, *tests)
    return found._replace(file=f"adapters/billing_adapters/postgres/{file}.py")


def columns_fault(name: str, old: str, new: str, *tests: str) -> Fault:
    found = fault(name, "", old, new, *tests)
    return found._replace(file="adapters/billing_adapters/columns.py")


WRITES = "rules_3_writes.py::test_3_"
PRICES = "rules_5_money_and_price.py::test_5_"
VERSIONS = "rules_5_versions_and_tokens.py::test_5_"
LOTS = "rules_6_lots_and_holds.py::test_6_"
TIME = "rules_6_time_and_refusals.py::test_6_"
DEBT = "rules_6_debt_and_reversal.py::test_6_"
KEYS = "rules_7_idempotency.py::test_7_"
PLANS = "plans.py::test_"
PLANNED = "plan_properties.py::test_"
USAGE = "rules_8_usage.py::test_8_"
REPORTED = "user_reports.py::test_"
TAIL = "rollup_tail.py::test_"
MONTH = "a_month_in_the_life.py::test_a_month_in_the_life"

FAULTS = [
    # -- lots and lapses
    fault(
        "spend an expired lot",
        "charging/expiry",
        "lot.expires_at <= time\n    ]",
        "lot.expires_at <= time - 10**15\n    ]",
        TIME + "7_expired_credit_is_never_spendable_sweep_or_no_sweep",
        "billing_gone_wrong.py::test_expired_credit_is_not_spendable_until_a_sweep_comes_by",
    ),
    fault(
        "a lot lives a microsecond too long",
        "charging/expiry",
        "lot.expires_at <= time\n    ]",
        "lot.expires_at < time\n    ]",
        TIME + "7_expired_credit_is_never_spendable_sweep_or_no_sweep",
    ),
    fault(
        "a hold lives a microsecond too long",
        "charging/expiry",
        "hold.expires_at <= time",
        "hold.expires_at < time",
        LOTS + "3_a_hold_lives_until_its_expiry_and_not_at_it",
    ),
    fault(
        "spend lots in the wrong order",
        "ledger/ledger",
        "(lot.priority, lot.scope is None, expires,",
        "(lot.priority, lot.scope is None, -expires,",
        LOTS + "1_spending_order",
    ),
    fault(
        "spend unscoped credit first",
        "ledger/ledger",
        "(lot.priority, lot.scope is None,",
        "(lot.priority, lot.scope is not None,",
        LOTS + "1_spending_order",
    ),
    fault(
        "lapse lots before holds, whatever their times",
        "charging/expiry",
        "end = heappop(ends)",
        "ends.sort(key=lambda each: each[1:3]); end = ends.pop(0)",
        DEBT + "5_each_lapse_is_an_entry_of_its_own_time",
    ),
    fault(
        "forget when the next thing lapses",
        "charging/expiry",
        "account.next_lapse = min(later, default=None)",
        "account.next_lapse = None",
        TIME + "7_the_account_carries_the_next_time_at_which_something_lapses",
    ),
    fault(
        "decide before the watermark",
        "decide",
        "        return max(at, account.watermark), 0",
        "        return at, 0",
        TIME + "7_decision_time_is_the_later_of_the_command_s_time_and_the_watermark",
    ),
    fault(
        "take commands dated far ahead",
        "decide",
        '    if at > terms.now:\n        _check_not_ahead("at", at, terms)\n',
        "",
        TIME + "7_commands_dated_too_far_ahead_are_refused",
        "billing_gone_wrong.py::test_a_time_far_ahead_neither_expires_credit_nor_ends_holds",
    ),
    fault(
        "count reserved credit as available",
        "ledger/ledger",
        "free += lot.remainder - lot.reserved",
        "free += lot.remainder",
        "billing_gone_wrong.py::test_two_holds_cannot_have_the_same_credit",
    ),
    fault(
        "count credit of another scope as available",
        "ledger/ledger",
        "return any(fits(name, resource) for name in scope)",
        "return True",
        LOTS + "1_a_scope_names_resources_or_prefixes",
    ),
    fault(
        "forget the debt in what is available",
        "ledger/ledger",
        "return free - self.account.debt",
        "return free",
        LOTS + "2_available_is_what_may_pay_is_unreserved_and_lives_less_debt",
    ),
    # -- holds
    fault(
        "a hold that ended keeps its parts",
        "ledger/ledger",
        "hold.parts = []\n",
        "pass\n",
        "billing_gone_wrong.py::test_a_lapsed_hold_is_given_back_once",
    ),
    fault(
        "capture more than the hold has",
        "ledger/ledger",
        "paid = min(part.amount, amount)",
        "paid = amount",
        DEBT + "4_a_charge_is_paid_from_its_hold_then_from_what_is_available_then_as_debt",
    ),
    fault(
        "an extension keeps the part of a lot that ended",
        "charging/holds",
        "if ledger.ended(ledger.state.lots[part.lot], decision)]",
        "if False]",
        LOTS + "3_a_later_extension_replaces_the_expired_part_from_live_lots",
    ),
    fault(
        "settle a settled hold again",
        "charging/charges",
        'if hold is not None and hold.state == "settled":',
        "if False:",
        LOTS + "3_a_settled_hold_is_a_conflict",
    ),
    fault(
        "refuse measured usage beyond the balance",
        "charging/charges",
        "rest = metered.amount",
        "rest = metered.amount\n"
        "    if rest > ledger.available(usage.resource):\n"
        "        return _too_little(ask, rest, ledger.available(usage.resource))",
        "billing_gone_wrong.py::test_a_settlement_above_hold_and_balance_is_billed_in_full",
    ),
    fault(
        "closing leaves holds open",
        "decide",
        "for key in released:",
        "for key in released[:0]:",
        DEBT + "closing_releases_holds_repays_and_empties_every_lot",
    ),
    fault(
        "release what was used if the body raises",
        "engine/hold_handles",
        "if not self._reported:\n            self._billing",
        "if not self._reported or any(_):\n            self._billing",
        "hold_block.py::test_it_settles_what_was_reported_even_if_the_body_raises",
    ),
    # -- debt and reversals
    fault(
        "repay the newest debt first",
        "ledger/debts",
        "for charge in ledger.state.debts:",
        "for charge in reversed(ledger.state.debts):",
        DEBT + "5_credit_that_comes_in_repays_the_oldest_debt_at_once",
    ),
    fault(
        "repay debt of another scope",
        "ledger/debts",
        "if not covers(lot.scope, charge.resource):",
        "if False:",
        DEBT + "5_it_repays_only_what_it_may_pay_for",
    ),
    fault(
        "credit that a settle set free repays nothing",
        "charging/charges",
        "if freed:",
        "if False:",
        DEBT + "5_credit_that_a_hold_sets_free_repays_too",
    ),
    fault(
        "repay from the debts that were loaded only",
        "ledger/debts",
        "raise NeedMore(ledger.org)",
        "return",
        DEBT + "5_more_debts_than_are_loaded_at_once_are_repaid_oldest_first",
    ),
    fault(
        "refill the lot that paid first, first",
        "ledger/debts",
        "made: list[list[int]] = []",
        "made: list[list[int]] = []; charge.payments.reverse()",
        DEBT + "6_then_it_refills_the_paying_lots_in_reverse_order",
    ),
    fault(
        "reverse more than is left of a charge",
        "charging/charges",
        "if amount > left or not left:",
        "if not left:",
        DEBT + "6_a_reversal_names_a_charge_and_an_amount_up_to_what_is_left_of_it",
    ),
    fault(
        "credit returned to an ended lot lives on",
        "ledger/debts",
        '"refill")\n        ledger.expire_ended(lot, when)',
        '"refill")',
        DEBT + "6_the_part_of_an_expired_lot_expires_again",
    ),
    # -- prices
    fault(
        "round each charge by itself",
        "pricing/rating",
        "carry, carry_of = rest\n            total += amount",
        "carry, carry_of = 0, 1\n            total += amount",
        PRICES + "4_tiny_charges_are_neither_lost_nor_rounded_up",
        "billing_gone_wrong.py::test_tiny_charges_are_not_billed_as_zero_or_a_cent_each",
    ),
    fault(
        "quote rounded down",
        "pricing/functions",
        "-(-numerator // denominator)",
        "numerator // denominator",
        PRICES + "4_quotes_and_holds_round_up",
    ),
    fault(
        "quote as if no other hold were open",
        "pricing/rating",
        "amount += scattered(function, at, at + more + held, billed)",
        "amount += scattered(function, at, at + more, billed)",
        PRICES + "4_a_hold_takes_the_dearest_start_that_open_holds_make_possible",
    ),
    fault(
        "announce what is measured, not what is billed",
        "pricing/rating",
        "found.get(line.component, 0) + line.billed",
        "found.get(line.component, 0) + line.quantity",
        PRICES + "4_open_holds_count_with_what_their_minimum_makes_of_them",
    ),
    fault(
        "a hold is quoted before what has lapsed is gone",
        "charging/holds",
        "if lapse(ledger, decision):  #",
        "lapse(ledger, decision)\n        if False:  #",
        PRICES + "4_a_hold_that_lapsed_unnoticed_makes_the_next_no_dearer",
    ),
    fault(
        "metering forgets what open holds announced",
        "charging/charges",
        "if count.held != counter.components[component].held:\n"
        "                left = counter.components[component]._replace(held=count.held)",
        "if True:\n                left = counter.components[component]._replace(held=0)",
        PRICES + "4_usage_in_between_forgets_no_open_hold",
    ),
    fault(
        "metering keeps what a hold announced that lapses meanwhile",
        "charging/charges",
        "if count.held != counter.components[component].held:",
        "if False:",
        PRICES + "4_a_hold_that_lapses_as_usage_settles_makes_nothing_dearer",
    ),
    fault(
        "one counter for all periods",
        "ledger/ledger",
        "return self._period",
        "return Window(0, 2**62)",
        PRICES + "3_a_component_has_one_counter_per_org_and_period",
    ),
    fault(
        "usage on the customer's own key advances the counter",
        "pricing/rating",
        "lines.append(Line(component, quantity, quantity, payer, 0, version))",
        "lines.append(Line(component, quantity, quantity, payer, 0, version))\n"
        "            counters[component] = Count(quantity)",
        PRICES + "3_usage_on_the_customer_s_own_key_does_not_advance_it",
    ),
    fault(
        "a package is begun anew by each charge",
        "pricing/functions",
        "(-(-stop // self.size) + (-start // self.size))",
        "-(-(stop - start) // self.size)",
        "price_functions.py::test_a_begun_package_is_paid_once",
    ),
    fault(
        "a minimum for each settlement of an item",
        "pricing/rating",
        "else (0, 0, priced.version)\n    raw, billed, version = int(raw)",
        "else (0, 0, priced.version)\n    raw, billed = 0, 0\n    raw, billed, version = int(raw)",
        PRICES + "5_a_minimum_belongs_to_an_item",
    ),
    fault(
        "a change of price without its delay",
        "pricing/catalogue",
        "if changed is not None and micros",
        "if changed is None and micros",
        VERSIONS + "6_a_change_takes_effect_after_the_publication_delay",
    ),
    fault(
        "price at decision time, not at occurrence",
        "charging/operations",
        "return decision.at if occurred is None",
        "return decision.time if True",
        VERSIONS + "6_the_version_in_force_when_the_usage_occurred_prices_it",
        "billing_gone_wrong.py::test_history_is_not_repriced_at_today_s_prices",
    ),
    fault(
        "what has no price is free",
        "pricing/rating",
        'version = "" if payer == CUSTOMER else None',
        'version = ""',
        VERSIONS + "7_a_settlement_of_what_has_no_price_is_recorded_as_unpriced",
    ),
    fault(
        "nobody is told of what has no price",
        "charging/charges",
        "if unpriced:",
        "if False:",
        VERSIONS + "7_a_settlement_of_what_has_no_price_is_recorded_as_unpriced",
    ),
    fault(
        "cached tokens count twice",
        "values/tokens",
        "return total - taken",
        "return total",
        "commands.py::test_cached_tokens_come_out_of_an_input_that_includes_them",
        "billing_gone_wrong.py::test_cached_tokens_are_not_billed_twice",
    ),
    # -- plans and prices of one's own
    fault(
        "grant an allowance again with every change",
        "charging/allowances",
        "account.allowance += amount",
        "pass",
        PLANS + "an_upgrade_brings_the_difference_and_a_downgrade_takes_nothing",
        PLANNED + "an_allowance_is_granted_exactly_once_per_period_whoever_comes_first",
    ),
    fault(
        "grant the allowance of a paused period",
        "charging/expiry",
        "if account.plan is not None and not account.paused:\n        begins",
        "if account.plan is not None:\n        begins",
        PLANS + "a_paused_plan_grants_nothing_until_it_goes_on",
    ),
    fault(
        "grant nothing for periods that were skipped",
        "charging/expiry",
        "if following <= reached:",
        "if False:",
        PLANS + "it_is_granted_for_every_period_begun_used_or_not",
        PLANNED + "an_allowance_is_granted_exactly_once_per_period_whoever_comes_first",
    ),
    fault(
        "roll over whatever is left",
        "charging/expiry",
        "min(left, room)",
        "left",
        PLANS + "what_is_left_rolls_over_up_to_the_cap_and_the_rest_expires",
        PLANNED + "an_allowance_is_granted_exactly_once_per_period_whoever_comes_first",
    ),
    fault(
        "roll over the whole cap at each of a period's ends",
        "charging/allowances",
        "account.rolled if account.rolled_of == lot.period else 0",
        "0",
        PLANS + "the_cap_is_the_period_s_where_its_allowances_end_at_two_times",
    ),
    fault(
        "one cap for all periods",
        "charging/allowances",
        "account.rolled if account.rolled_of == lot.period else 0",
        "account.rolled",
        PLANS + "the_cap_is_the_period_s_where_its_allowances_end_at_two_times",
    ),
    fault(
        "go on counting what an earlier period rolled over",
        "charging/allowances",
        "if account.rolled_of != lot.period:",
        "if account.rolled_of is None:",
        PLANS + "the_cap_is_the_period_s_where_its_allowances_end_at_two_times",
    ),
    fault(
        "roll over what a hold has reserved",
        "ledger/ledger",
        "part = min(lot.remainder - lot.reserved, into.amount - into.remainder)",
        "part = min(lot.remainder, into.amount - into.remainder)",
        PLANS + "what_a_hold_has_is_not_rolled_over",
    ),
    fault(
        "count what a hold has reserved as left to roll over",
        "charging/expiry",
        "left = sum(each.remainder - each.reserved for each in ending)",
        "left = sum(each.remainder for each in ending)",
        PLANS + "what_a_hold_has_is_not_rolled_over",
    ),
    fault(
        "pay for any period from an allowance",
        "ledger/ledger",
        "if lot.period is not None and lot.period != self.period(at).start:",
        "if False:",
        PLANS + "within_its_grace_an_allowance_pays_for_its_own_period_only",
    ),
    fault(
        "repay another period's debt from an allowance",
        "ledger/debts",
        "if lot.period not in (None, charge.period):",
        "if False:",
        PLANS + "within_its_grace_an_allowance_pays_for_its_own_period_only",
    ),
    fault(
        "keep the plan of a closed account",
        "decide",
        "subscribe(ledger, None, decision.time)",
        "pass",
        PLANS + "closing_ends_the_plan",
    ),
    fault(
        "price by the plan of today",
        "ledger/ledger",
        "audiences = self.audiences(at)",
        "audiences = self.audiences(2**62)",
        PLANS + "a_plans_prices_hold_for_its_subscribers",
        PLANNED + "under_flat_prices_nobody_s_order_matters_across_a_change",
    ),
    fault(
        "put the plan's price before the org's own",
        "pricing/catalogue",
        '(f"org:{org}", f"plan:{plan}")',
        '(f"plan:{plan}", f"org:{org}")',
        PLANS + "an_orgs_own_price_comes_before_its_plans",
    ),
    fault(
        "take a discount off twice",
        "pricing/catalogue",
        "keep = kept(percent)",
        "keep = tuple(each**2 for each in kept(percent))",
        PLANS + "a_discount_is_exact_and_explained",
    ),
    fault(
        "let a plan change its currency",
        "pricing/catalogue",
        "each.currency != document.currency:",
        "False:",
        PLANS + "a_plan_keeps_its_currency",
    ),
    # -- limits and events
    fault(
        "limits that ignore open holds",
        "charging/limits",
        "over = spent + held + amount",
        "over = spent + amount",
        PLANS + "limits_bind_checks_holds_and_deducts_and_never_settlements",
        PLANNED + "limits_are_never_passed_by_threads",
    ),
    fault(
        "let a new member's first request pass",
        "charging/limits",
        "in subjects(use.member, use.project)",
        "in subjects(use.member * (use.member <= ledger.account.members), use.project)",
        PLANS + "a_new_members_very_first_request_is_bound",
        PLANNED + "limits_are_never_passed_by_holds_and_deducts",
    ),
    fault(
        "a reversal makes no room",
        "charging/charges",
        "count_spending(ledger, usage.member, project, usage.occurred_at, -amount, when.time)",
        "pass",
        PLANS + "reversals_and_released_holds_make_room_again",
    ),
    fault(
        "a reversal of what had not counted makes room",
        "charging/charges",
        "project = usage.project if had_counted(ledger.account, subject) else None",
        "project = usage.project",
        PLANS + "what_had_not_counted_of_a_project_makes_no_room_when_it_is_reversed",
    ),
    fault(
        "a hold that ended still counts",
        "charging/expiry",
        "hold_spending(ledger, hold, -amount)",
        "pass",
        PLANS + "reversals_and_released_holds_make_room_again",
    ),
    fault(
        "forget what was spent before a limit was set",
        "charging/limits",
        'if grain != "held" and had_begun(ledger.account, start):',
        "if False:",
        PLANS + "what_was_spent_before_a_limit_was_set_counts",
    ),
    fault(
        "forget what the same batch had spent before",
        "charging/limits",
        "return amount + ledger.rollup().amount(*key)",
        "return amount",
        PLANS + "what_a_batch_spent_before_it_set_a_limit_counts",
    ),
    fault(
        "add up from a decision that was dated back",
        "charging/limits",
        "max(time, account.recorded_at, ledger.terms.now) + 1",
        "time",
        PLANS + "a_limit_that_is_dated_back_counts_what_was_spent_before_it_was_set",
    ),
    fault(
        "count late usage in today's window",
        "charging/charges",
        "record.project, record.occurred_at, amount, decision.time",
        "record.project, decision.time, amount, decision.time",
        PLANS + "late_usage_counts_in_its_own_window",
    ),
    fault(
        "promise that a window that is over will have room",
        "charging/operations",
        "if bound.until <= time:",
        "if False:",
        PLANS + "a_window_that_is_over_has_no_room_again",
    ),
    fault(
        "quotas that ignore open holds",
        "charging/limits",
        "used += count.quantity + count.held",
        "used += count.quantity",
        PLANS + "a_quota_bounds_what_is_used",
    ),
    fault(
        "a time of record that goes back",
        "ledger/ledger",
        "max(account.recorded_at, self.terms.now)",
        "self.terms.now",
        PLANS + "a_time_of_record_never_goes_back",
    ),
    fault(
        "tell of a low balance at every step",
        "ledger/ledger",
        "balance < low <= before:",
        "balance < low:",
        PLANS + "a_low_balance_is_told_once_per_crossing",
    ),
    fault(
        "tell of a budget at every step beyond it",
        "charging/limits",
        "if spend.amount * 100 < amount * percent <= (spend.amount + more) * 100:",
        "if amount * percent <= (spend.amount + more) * 100:",
        PLANS + "a_budget_alerts_and_refuses_nothing",
    ),
    # -- money and keys
    fault(
        "take any currency",
        "decide",
        "_check_currency(command, operation, account)\n",
        "pass\n",
        PRICES + "1_no_other_currency_is_taken",
    ),
    fault(
        "take a negative quantity",
        "values/usage",
        "not 0 <= quantity < _MAX_QUANTITY",
        "quantity >= _MAX_QUANTITY",
        "billing_gone_wrong.py::test_a_negative_quantity_is_no_way_to_make_money",
    ),
    fault(
        "let what is granted overflow",
        "ledger/ledger",
        "if credit + granted + returned > MAX_NANOS:",
        "if False:",
        PRICES + "1_a_total_granted_beyond_64_bits_is_a_typed_error_that_changes_nothing",
    ),
    fault(
        "let what is charged overflow",
        "ledger/ledger",
        "if account.debt + used > MAX_NANOS:",
        "if False:",
        "billing_gone_wrong.py::test_an_overflow_of_64_bits_changes_nothing",
    ),
    fault(
        "build the integer of a huge exponent",
        "values/money",
        "if value.adjusted() > _DIGITS:",
        "if int(value) and False:",
        "money.py::test_an_exponent_of_any_size_costs_nothing",
    ),
    fault(
        "do a command again that was done",
        "decide",
        "if known is not None:",
        "if False:",
        KEYS + "2_same_key_same_content_the_first_outcome_again_at_any_later_time",
        "billing_gone_wrong.py::test_a_retry_does_not_charge_twice",
    ),
    fault(
        "ignore a conflict of content",
        "decide",
        "if known.content != content:",
        "if False:",
        KEYS + "2_same_key_other_content_is_a_conflict_that_names_what_differs",
    ),
    fault(
        "leave quantities out of the content",
        "values/usage",
        """return f"[{quoted(self.resource)},[{','.join(parts)}],{item}{facts}]\"""",
        'return f"[{quoted(self.resource)},{item}{facts}]"',
        KEYS + "2_same_key_other_content_is_a_conflict_that_names_what_differs",
    ),
    # -- usage and proof
    fault(
        "a window that includes its end",
        "values/times",
        "Window(now - 7 * DAY, now)",
        "Window(now - 7 * DAY, now + 1)",
        USAGE + "1_usage_is_a_point_and_windows_are_half_open",
    ),
    fault(
        "a rollup without its days",
        "records/rollups",
        '("day", hour - hour % DAY), ',
        "",
        USAGE + "2_7d_and_30d_end_now_and_are_exact",
    ),
    fault(
        "the cells get only what the last batch used",
        "ledger/ledger",
        "self._unsummed = list(state.tail or ())",
        "self._unsummed = []",
        TAIL + "a_lone_command_writes_them_once_in_so_many[memory-5]",
    ),
    fault(
        "what was added to the cells is added again",
        "ledger/ledger",
        "            self.account.summed = self.account.seq\n",
        "",
        TAIL + "a_lone_command_writes_them_once_in_so_many[memory-5]",
    ),
    fault(
        "the cells get what is known, though it is not all",
        "ledger/ledger",
        "self._all_unsummed = state.tail is not None or state.account is None",
        "self._all_unsummed = True",
        TAIL + "more_entries_than_commands_lose_nothing[memory]",
    ),
    fault(
        "a limit counts only what stands in the cells",
        "ports/required",
        "    if want.sums:\n        return True\n",
        "",
        PLANS + "what_was_spent_before_a_limit_was_set_counts",
    ),
    fault(
        "an engine never finds out that the cells lack much",
        "ports/required",
        "return account.seq + len(want.keys) - account.summed >= TAIL",
        "return len(want.keys) >= TAIL",
        TAIL + "a_lone_command_writes_them_once_in_so_many[memory-5]",
    ),
    fault(
        "an engine that knows what the cells lack never adds it to them",
        "ports/required",
        "return account.seq - account.summed >= TAIL",
        "return account.seq >= TAIL + account.seq",
        TAIL + "a_lone_command_writes_them_once_in_so_many[memory-5]",
    ),
    sqlite_fault(
        "what the cells lack is remembered when another has written",
        "cache",
        "        self.tails = {}\n",
        "",
        TAIL + "several_engines_lose_none_and_count_none_twice[sqlite]",
    ),
    fault(
        "of what the cells lack only the beginning is remembered",
        "ports/state",
        "before.append(entry.usage)",
        "pass",
        TAIL + "a_lone_command_writes_them_once_in_so_many[sqlite-5]",
        TAIL + "a_lone_command_writes_them_once_in_so_many[postgres-5]",
    ),
    sqlite_fault(
        "usage without what the cells lack",
        "queries",
        "lacking = loader.tail_cells(db, org)",
        "lacking: dict[CellKey, Cell] = {}",
        "sqlite_store.py::TestSqliteStore::test_cells_and_sums_have_what_the_kept_cells_lack",
    ),
    postgres_fault(
        "usage without what the cells lack",
        "queries",
        "lacking = _lacking([row[8:] for row in found if row[9] is not None])",
        "lacking = _lacking([])",
        "postgres_store.py::TestPostgresStore::test_cells_and_sums_have_what_the_kept_cells_lack",
    ),
    fault(
        "a chain without the amounts",
        "ledger/hash_chain",
        "{entry.effects}\\n{entry.amount}\\n",
        "{entry.effects}\\n",
        "verify.py::test_an_altered_journal_is_found[a hold's amount]",
    ),
    fault(
        "a chain whose links are not checked",
        "audit/auditor",
        "if chained(account.head, entry) != entry.hash:",
        "if False:",
        "verify.py::test_an_altered_journal_is_found[a key]",
    ),
    fault(
        "a checkpoint that is not compared",
        "audit/verify",
        " or then[0].hash.hex() != checkpoint.head",
        "",
        "verify.py::test_a_rewritten_tail_is_found_against_a_checkpoint",
    ),
    fault(
        "a commit that is not undone when it fails midway",
        "testing/memory_store",
        "self._store._orgs = before",
        "pass",
        WRITES + "1_a_commit_that_fails_midway_changes_nothing",
    ),
    fault(
        "a cancelled pump strands what came meanwhile",
        "engine/task_batches",
        "            self._gathering = None\n        self._begin()\n",
        "            self._gathering = None\n",
        "concurrency.py::test_a_clean_up_after_cancelling_everything_is_not_stranded",
    ),
    fault(
        "a pump that was cancelled before it ran strands everybody",
        "engine/task_batches",
        "        if self._gathering is pump:\n            self._gathering = None\n",
        "",
        "concurrency.py::test_a_pump_that_is_cancelled_before_it_runs_strands_nobody",
    ),
    fault(
        "tasks wait for another org's lock",
        "engine/task_batches",
        "if soon > 0:",
        "if soon is not None:",
        "postgres.py::test_tasks_of_other_orgs_do_not_wait_for_a_locked_one",
    ),
    fault(
        "a loop has two batches of one org on their way",
        "engine/task_batches",
        "if busy.isdisjoint(orgs):",
        "if orgs:",
        "postgres.py::test_tasks_of_other_orgs_do_not_wait_for_a_locked_one",
    ),
    fault(
        "let one caller fill all the leaders' places",
        "engine/group_commit",
        "if free and not call.leads:",
        "if free:",
        "concurrency.py::test_one_let_lead_has_one_place_until_it_takes_its_own",
    ),
    fault(
        "who is alone does not say whose orgs are busy",
        "engine/group_commit",
        "                call.batch = [call]\n                self._busy |= call.orgs\n",
        "                call.batch = [call]\n",
        "concurrency.py::test_who_is_alone_keeps_others_from_the_org",
    ),
    fault(
        "whoever was in a batch is woken at once",
        "engine/group_commit",
        "            if done:\n                done[0].wake()\n",
        "            for call in done:\n                call.wake()\n",
        "concurrency.py::test_each_wakes_the_next_and_who_does_not_is_made_up_for[None]",
    ),
    fault(
        "nobody wakes the next",
        "engine/group_commit",
        "            if call.after is not None:\n                call.after.wake()\n",
        "",
        "concurrency.py::test_each_wakes_the_next_and_who_does_not_is_made_up_for[None]",
    ),
    fault(
        "begin a batch while another is on its way",
        "engine/group_commit",
        "if self._leaders and now - max(each.led for each in self._leaders) < SLOW:",
        "if False:",
        "concurrency.py::test_a_batch_waits_for_one_that_is_quick_and_not_for_one_that_is_slow",
    ),
    fault(
        "let an org that is locked stall the others",
        "engine/group_commit",
        "if self._leaders and now - max(each.led for each in self._leaders) < SLOW:",
        "if self._leaders:",
        "concurrency.py::test_a_batch_waits_for_one_that_is_quick_and_not_for_one_that_is_slow",
    ),
    # -- the SQLite store
    sqlite_fault(
        "believe rows that somebody else has changed",
        "cache",
        "if version != self.version or",
        "if self.version is None or",
        "sqlite.py::test_what_another_connection_wrote_is_seen",
    ),
    sqlite_fault(
        "let a decision change what is remembered",
        "loader",
        "yield latest.copy()",
        "yield latest",
        "sqlite.py::test_a_decision_that_is_made_again_counts_once",
    ),
    sqlite_fault(
        "look a key up before it is written",
        "store",
        "        self._recalled = True\n        return {org: state}\n",
        "        return None\n",
        "sqlite.py::test_a_command_of_an_org_that_is_known_reads_nothing",
    ),
    sqlite_fault(
        "a key on record is a failure of the store",
        "store",
        "if not self._recalled:\n                    raise",
        "raise",
        "sqlite.py::test_a_key_on_record_is_found_when_it_is_written",
    ),
    fault(
        "decide from memory what has lapsed",
        "ports/required",
        "(account.next_lapse is not None and account.next_lapse <= want.until)",
        "False",
        "sqlite.py::test_what_has_lapsed_is_not_decided_from_memory",
    ),
    fault(
        "decide from memory by the plan that was not yet in force",
        "ports/required",
        "(account.plan_since and want.times and want.times[0] < account.plan_since)",
        "False",
        "postgres.py::test_what_was_used_under_an_earlier_plan_is_not_decided_from_memory",
    ),
    fault(
        "decide from memory what is owed",
        "ports/required",
        "        or account.debt\n",
        "",
        "sqlite.py::test_what_is_owed_is_not_decided_from_memory",
    ),
    sqlite_fault(
        "remember a hold that has ended",
        "codecs",
        "known.holds.pop((org, held.key), None)",
        "pass",
        "sqlite.py::test_a_hold_that_is_known_ends_once",
    ),
    sqlite_fault(
        "let a decision change a hold that is remembered",
        "loader",
        "known.holds[org, key].copy()",
        "known.holds[org, key]",
        "sqlite.py::test_a_refused_settlement_leaves_its_hold_as_it_is_known",
    ),
    sqlite_fault(
        "remember a member who was erased",
        "store",
        "self._known.members.pop((org, member), None)",
        "pass",
        "sqlite.py::test_an_erased_member_is_not_known_any_more",
    ),
    sqlite_fault(
        "take a later period's counter for an earlier one's",
        "loader",
        "latest is not None and latest.start <= first",
        "latest is not None",
        "sqlite_store.py",
    ),
    sqlite_fault(
        "believe what a failed write would have written",
        "store",
        "version, known.version = known.version, None",
        "version = known.version",
        "sqlite.py::test_a_write_that_failed_is_not_believed",
    ),
    sqlite_fault(
        "acknowledge what a killed process has left unsynced",
        "schema",
        'connection.execute(f"PRAGMA user_version = {known}")',
        "pass",
        "lost_writes.py::test_what_a_killed_process_did_not_sync_is_not_acknowledged_unsynced",
    ),
    sqlite_fault(
        "a new file whose journal may come back",
        "store",
        "PRAGMA synchronous = EXTRA",
        "PRAGMA synchronous = FULL",
        "lost_writes.py::test_a_new_file_has_its_log_for_good_whenever_the_power_fails",
    ),
    sqlite_fault(
        "commits that are synced at checkpoints only",
        "store",
        'raise StoreError(f"{self.path} cannot have a write-ahead log (journal_mode {mode})")\n'
        '        db.execute("PRAGMA synchronous = FULL")',
        'raise StoreError(f"{self.path} cannot have a write-ahead log (journal_mode {mode})")\n'
        '        db.execute("PRAGMA synchronous = NORMAL")',
        "sqlite.py::test_every_connection_is_durable",
        "lost_writes.py::test_a_power_failure_loses_nothing_acknowledged",
    ),
    columns_fault(
        "usage that is filed at another time than its own",
        "if (member, occurred_at) != filed:",
        "if False:",
        "sqlite.py::test_verify_finds_tampering[where usage is filed]",
    ),
    # -- plans, limits, what is published
    fault(
        "an allowance twice for one period",
        "charging/allowances",
        "_missing(account, plan, account.allowance, ledger.terms.level)",
        "_missing(account, plan, 0, ledger.terms.level)",
        PLANS + "an_upgrade_brings_the_difference_and_a_downgrade_takes_nothing",
        MONTH,
    ),
    fault(
        "a period begins a microsecond late",
        "charging/expiry",
        "if begins <= time:",
        "if begins < time:",
        REPORTED + "recurrence_is_neither_doubled_nor_missed_at_a_boundary[at]",
    ),
    fault(
        "roll over beyond the cap",
        "charging/expiry",
        "min(left, room)",
        "left",
        PLANS + "what_is_left_rolls_over_up_to_the_cap_and_the_rest_expires",
        MONTH,
    ),
    fault(
        "an allowance pays for an earlier period",
        "ledger/ledger",
        "lot.period != self.period(at).start",
        "lot.period < self.period(at).start",
        MONTH,
    ),
    fault(
        "price by the plan of now",
        "ledger/ledger",
        "audiences = self.audiences(at)",
        "audiences = self.audiences(self.terms.now)",
        PLANS + "a_plans_prices_hold_for_its_subscribers",
        MONTH,
    ),
    fault(
        "a limit without the open holds",
        "charging/limits",
        "over = spent + held + amount",
        "over = spent + amount",
        REPORTED + "the_first_requests_of_a_new_member_pass_no_limit_at_once[hold]",
    ),
    fault(
        "the prices of everyone where the plan is not known yet",
        "ledger/ledger",
        "plan = self.plan(at) if",
        "plan = (name := self._subscribed(at)) and self.catalogue.plan(name, at) if",
        REPORTED + "a_plan_published_just_now_is_priced_by_its_own_book_by_all",
    ),
    fault(
        "a version that is not known yet",
        "charging/charges",
        "if priced is None and not ledger.terms.fresh:",
        "if False:",
        REPORTED + "an_item_goes_on_at_the_version_it_began_with_whoever_serves_it",
    ),
    fault(
        "a catalogue trusted for times beyond the delay",
        "engine/billing",
        "if age + self._tolerance > delay:",
        "if age >= delay:",
        REPORTED + "a_catalogue_is_not_trusted_for_times_beyond_the_publication_delay",
    ),
    # -- PostgreSQL: what is remembered
    postgres_fault(
        "write on a memory that is out of date",
        "statements",
        "CASE WHEN kept.head = excluded.was AND",
        "CASE WHEN excluded.was IS NOT NULL AND",
        "postgres.py::test_a_memory_of_another_history_is_not_written_on",
    ),
    postgres_fault(
        "remember erased names",
        "statements",
        " AND kept.erased = excluded.erased",
        " AND excluded.erased >= 0",
        "postgres.py::test_a_name_erased_elsewhere_is_not_written_under_its_old_number",
    ),
    postgres_fault(
        "remember nothing of the days between two",
        "cache",
        "if last - last % DAY - first > DAY:",
        "if False:",
        "postgres.py::test_usage_of_a_batch_over_days_is_not_decided_from_some_of_them",
    ),
    fault(
        "remember a hold without whose it is",
        "records/ledger",
        "            self.member, self.project, self.used,\n",
        "",
        "postgres.py::test_a_hold_that_is_remembered_frees_its_own_limits",
    ),
    columns_fault(
        "usage that is filed under another member than its own",
        "if (member, occurred_at) != filed:",
        "if False:",
        "postgres.py::test_usage_filed_under_another_member_or_time_is_found",
    ),
    fault(
        "refuse from memory",
        "engine/batch",
        "            if not isinstance(each, Success):\n                return None\n",
        "            if not changes:\n                return outcomes\n",
        "postgres.py::test_nothing_is_refused_from_memory",
    ),
    fault(
        "tell from memory that nothing was due",
        "engine/batch",
        "            if not isinstance(each, Success):\n                return None\n",
        "            if not isinstance(each, Success):\n                return outcomes\n",
        "postgres.py::test_that_nothing_was_due_is_not_told_from_memory",
    ),
    sqlite_fault(
        "a row that cannot be read is the driver's error",
        "errors",
        "DRIVERS = (sqlite3.Error, ValueError, TypeError, OverflowError)",
        "DRIVERS = (sqlite3.Error, TypeError, OverflowError)",
        "sqlite.py::test_a_row_that_cannot_be_read_is_an_error_of_the_store_each_time",
    ),
    sqlite_fault(
        "remember what was decided on and not committed",
        "store",
        "account_and_lots = self._known.check_out(org)",
        "account_and_lots = self._known.orgs[org]",
        "sqlite.py::test_what_was_done_to_what_is_known_and_not_committed_is_forgotten",
    ),
    sqlite_fault(
        "decide again on what was decided on before",
        "store",
        "known.check_out(org) or loader.account_and_lots(db, org)",
        "known.orgs.get(org) or loader.account_and_lots(db, org)",
        "sqlite.py::test_a_decision_that_is_made_again_counts_once",
    ),
    sqlite_fault(
        "remember what somebody else can change",
        "cache",
        "if account_and_lots is not None and account_and_lots[0] is changes.account:\n"
        "                self.orgs[org] = account_and_lots",
        "self.orgs[org] = changes.account, account_and_lots[1] if account_and_lots else {}",
        "sqlite_store.py::TestSqliteStore::test_what_was_committed_is_the_stores_own",
    ),
    postgres_fault(
        "let a connection rest while somebody waits for one",
        "pool",
        "if mine and not self._asking and self._resting is None:",
        "if mine and self._resting is None:",
        "postgres.py::test_a_connection_that_rests_is_for_whoever_comes_next",
    ),
    postgres_fault(
        "use a connection that was dropped while it rested",
        "pool",
        "elif self._is_dropped(line):",
        "elif False:",
        "postgres.py::test_a_connection_that_was_dropped_while_it_rested_is_replaced",
    ),
    postgres_fault(
        "take a lost COMMIT for a definite failure",
        "errors",
        "return StoreError(text, retryable=True, outcome_unknown=True)",
        "return StoreError(text, retryable=True)",
        "postgres.py::test_a_connection_lost_at_the_commit_is_unknown_and_found_out",
    ),
    *(Fault(*each) for each in PAYMENTS),
    *(Fault(*each) for each in RUNS),
    *(Fault(*each) for each in IN_RUNS_LONG_AGO),
    *(Fault(*each) for each in IN_CLOCK),
    *(Fault(*each) for each in IN_TABS),
    *(Fault(*each) for each in IN_ITEMS),
    *(Fault(*each) for each in IN_PRICE_LISTS),
    *(Fault(*each) for each in IN_TOPUPS),
    *(Fault(*each) for each in IN_ANNOUNCED),
    *(Fault(*each) for each in IN_AUDIT),
    *(Fault(*each) for each in IN_PROVIDERS),
    *(Fault(*each) for each in IN_REQUESTS),
    *(Fault(*each) for each in IN_REQUIRED),
    *(Fault(*each) for each in IN_LOADS),
    *(Fault(*each) for each in IN_UNNAMED),
    *(Fault(*each) for each in IN_TOPUP_SETTINGS),
    *(Fault(*each) for each in IN_HTTP),
    *(Fault(*each) for each in IN_DOORS),
    *(Fault(*each) for each in IN_COSTS_AND_TURNS),
    *(Fault(*each) for each in BY_MUTANTS),
    *(Fault(*each) for each in IN_MIGRATION),
    *(Fault(*each) for each in IN_HOLDS),
    *(Fault(*each) for each in IN_USAGE),
    *(Fault(*each) for each in IN_CHARGES),
    *(Fault(*each) for each in IN_SECRETS),
    *(Fault(*each) for each in IN_LIMITS),
    *(Fault(*each) for each in IN_PACKAGES),
    *(Fault(*each) for each in IN_EXTENSIONS),
    *(Fault(*each) for each in IN_PRICES),
    *(Fault(*each) for each in IN_CONNECTIONS),
    *(Fault(*each) for each in IN_BACKGROUND),
]


PLACES = {
    path.name: path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")
}


def placed(node: str) -> str:
    """A test by the folder that its file is in: files are named once."""
    file, separator, name = node.partition("::")
    return PLACES[Path(file).name] + separator + name


FAULTS = [each._replace(tests=tuple(map(placed, each.tests))) for each in FAULTS]


class Copy:
    """A copy of the tree in which faults are planted."""

    def __init__(self, place: Path, dsn: str) -> None:
        self.place = place
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".*")
                shutil.copytree(ROOT / name, place / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, place / name)
        self.writes = 0
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(place), str(place / "adapters")]),
            "PYTHONHASHSEED": "0",
            "PYTEST_ADDOPTS": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "CI": "1",
            "BILLING_TEST_PG_DSN": dsn,  # a server for each run would cost more than most tests
        }
        # Each run imports the code: what it compiles the next ones are to find.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.forked = Forked(place, self.environment)

    def check_imports(self) -> None:
        """The copy is what is tested, not an installed package."""
        imported = subprocess.run(
            [sys.executable, "-c", "import billing_core; print(billing_core.__file__)"],
            cwd=self.place,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        expected = self.place / "billing_core" / "__init__.py"
        if Path(imported.strip()) != expected:
            raise SystemExit(f"The tests would import {imported.strip()}, not {expected}.")

    def run(self, *options: str, patience: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """pytest, with these options and tests."""
        always = ("-q", "-p", "no:cacheprovider", "--assert=plain")
        return self.forked.run(*always, *options, patience=patience)

    def close(self) -> None:
        self.forked.close()

    def write(self, path: Path, text: str) -> None:
        """With a time that no version of the file had: compiled files go by it."""
        path.write_text(text, encoding="utf-8")
        self.writes += 1
        os.utime(path, (self.writes, self.writes))

    def plant(self, planted: Fault) -> str | None:
        """Run the tests with a fault in the code; what is wrong, if it is not caught."""
        path = self.place / planted.file
        if not path.is_file():
            return f"there is no {planted.file}"
        text = path.read_text(encoding="utf-8")
        found = text.count(planted.old)
        if found != 1:
            return f"the patch no longer fits: {planted.old!r} is there {found} times"
        self.write(path, text.replace(planted.old, planted.new))
        try:
            # Where one test is named, its first failure tells.
            enough = ("-x",) if len(planted.tests) == 1 else ()
            done = self.run("-rf", "--tb=line", *enough, *planted.tests)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.write(path, text)
        if done.returncode not in (0, 1):
            return f"pytest ended with {done.returncode}:\n{done.stdout}"
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
        for node in planted.tests:
            if not any(line.startswith(f"FAILED {node}") for line in failed):
                return f"survives {node}"
        return None


@contextmanager
def copied(workers: int = WORKERS) -> Iterator["Queue[Copy]"]:
    """A copy for each worker, with a database of its own."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        copies: Queue[Copy] = Queue()
        for number in range(workers):
            place = Path(directory).resolve() / str(number)
            copy = Copy(place, stack.enter_context(fresh_database()))
            stack.callback(copy.close)
            copy.check_imports()
            copies.put(copy)
        yield copies


def unsound(copies: "Queue[Copy]", nodes: Sequence[str]) -> str | None:
    """What tests say that fail without a fault."""

    def part(number: int) -> subprocess.CompletedProcess[str]:
        copy = copies.get()
        try:
            return copy.run("--tb=short", *nodes[number::AT_ONCE], patience=15 * PATIENCE)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(AT_ONCE) as workers:
        done = list(workers.map(part, range(min(AT_ONCE, len(nodes)))))
    failed = [each.stdout for each in done if each.returncode != 0]
    return "".join(failed) if failed else None


def results(copies: "Queue[Copy]", faults: list[Fault]) -> Iterator[tuple[Fault, str | None]]:
    def one(planted: Fault) -> str | None:
        copy = copies.get()
        try:
            return copy.plant(planted)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(AT_ONCE) as workers:
        yield from zip(faults, workers.map(one, faults), strict=True)


def main(words: list[str]) -> int:
    started = time.monotonic()
    sound = "--sound" in words
    words = [word for word in words if word != "--sound"]
    chosen = [
        each for each in FAULTS if not words or any(w in each.name + each.file for w in words)
    ]
    if not chosen:
        print("No fault has such a name.")
        return 1
    with copied(AT_ONCE) as copies:
        nodes = tuple(dict.fromkeys(node for each in chosen for node in each.tests))
        print(f"{len(chosen)} faults, {len(nodes)} tests; first the tests without a fault")
        wrong = unsound(copies, nodes[::20] if sound else nodes)
        if wrong is not None:
            print(wrong)
            print("The tests fail on sound code: nothing can be said of faults.")
            return 1
        print(f"They pass, in {time.monotonic() - started:.0f} seconds", flush=True)
        width = max(len(each.name) for each in chosen)
        survived = 0
        for number, (planted, wrong) in enumerate(results(copies, chosen), 1):
            verdict = "caught" if wrong is None else f"NOT CAUGHT: {wrong}"
            survived += wrong is not None
            print(f"{number:>3}/{len(chosen)}  {planted.name:<{width}}  {verdict}", flush=True)
    caught = len(chosen) - survived
    print(f"{caught} of {len(chosen)} caught, in {time.monotonic() - started:.0f} seconds")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
