"""Faults for `planted_faults.py`, in units, patterns and what is published."""

UNITS = "billing_core/units.py"
CATALOGUE = "billing_core/catalogue.py"

U = "tests/test_units.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_PRICES: list[Planted] = [
    (
        "a tool's unit is taken for a microsecond",
        UNITS,
        'if component == "duration" and (meet(resource, "tool:*") or',
        'if component == "duration" and (meet(resource, "nothing:*") or',
        (U + "two_milliseconds_of_a_tool_at_a_dollar_a_second_cost_a_fifth_of_a_cent",),
    ),
    (
        "a unit of any size and time is storage's",
        UNITS,
        "if size not in BYTES or time not in TIMES:",
        "if size not in BYTES and time not in TIMES:",
        (U + "a_price_by_any_other_word_is_refused_when_it_is_published",),
    ),
    (
        "a wildcard's price escapes the list of units",
        "billing_core/patterns.py",
        "return within(one, other) or within(other, one)",
        "return within(one, other)",
        (U + "a_price_by_any_other_word_is_refused_when_it_is_published",),
    ),
    (
        "a month of 720 hours",
        "billing_core/pricing.py",
        '"month": 730 * 3_600',
        '"month": 720 * 3_600',
        (U + "storage_is_priced_by_the_gigabyte_month", U + "any_unit_is_converted_exactly"),
    ),
    (
        "every price by the hour is in whole hours",
        UNITS,
        "None if price.given_increment is None else _whole(",
        "_whole(",
        (U + "without_an_increment_nothing_is_rounded_up_to_the_unit_of_the_price",),
    ),
    (
        "a minimum stays in the unit of its price",
        UNITS,
        "unit, _whole(price.minimum, one), increment)",
        "unit, price.minimum, increment)",
        (U + "code_has_its_minimum_and_its_steps_in_the_unit_of_its_price",),
    ),
    (
        "a rate's size is whatever its price says",
        CATALOGUE,
        'if meet(resource, "sandbox:*"):',
        'if meet(resource, "nothing:*"):',
        (U + "a_component_of_a_sandbox_stays_counted_in_one_size",),
    ),
    (
        "what was published before is judged again",
        CATALOGUE,
        "if found.body() == document.body() or found.body() ==",
        "if found.body() ==",
        (U + "what_was_published_before_prices_as_it_did_and_is_published_still",),
    ),
]
