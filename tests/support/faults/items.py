"""Faults for `planted_faults.py`, in items that reach over the end of a billing period."""

METERING = "billing_core/pricing/rating.py"
REVERSAL = "billing_core/charging/reversals.py"
SPANS = "billing_core/charging/time_charges.py"
ITEMS = "tests/unit/charging/test_items_over_periods.py::test_"
LEAVES = ITEMS + "the_minimum_of_a_failed_call_leaves_the_period_that_was_billed_it"
RUN = ITEMS + "the_minimum_of_a_run_that_was_suspended_leaves_the_period_that_was_billed_it"
CHARGED = ITEMS + "what_is_billed_no_more_comes_back_of_the_period_that_charged_it"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_ITEMS: list[Planted] = [
    (
        "what an item is billed no more leaves the period that is corrected",
        METERING,
        "left, more = more, max(more, -places.get(period, 0))",
        "left = more",
        (LEAVES,),
    ),
    (
        "what an item is billed no more leaves the latest period first",
        METERING,
        "left, more = more, max(more, -places.get(period, 0))",
        "left, more = more, 0 if max(places) != period else max(more, -places[period])",
        (ITEMS + "a_part_leaves_its_own_period_first",),
    ),
    (
        "no item knows in which period it was billed",
        METERING,
        "become += _flat(places)",
        "become += []",
        (LEAVES,),
    ),
    (
        "what leaves another period stays charged",
        REVERSAL,
        "        take(each.parts, each.back)",
        "        take([], each.back)",
        (CHARGED,),
    ),
    (
        "what leaves another period stays in its counter",
        METERING,
        "        counters[component] = Count(at + billed, *rest, held)",
        "        counters[component] = Count(at, *rest, held)",
        (LEAVES,),
    ),
    (
        "a run keeps what it is billed no more in another period",
        SPANS,
        "    for start, less in sorted(elsewhere.items(), reverse=True):",
        "    for start, less in ():",
        (RUN,),
    ),
    (
        "the audit does not look where an item was billed",
        "billing_core/audit/verify.py",
        "if _is_short(state) else state",
        "if state else state",
        (ITEMS + "verify_tells_of_an_item_that_says_it_was_billed_in_another_period",),
    ),
]
