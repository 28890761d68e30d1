"""Faults for `planted_faults.py`, in units, patterns and what is published."""

UNITS = "billing_core/pricing/units.py"
CATALOGUE = "billing_core/pricing/catalogue.py"
FINENESS = "billing_core/pricing/fraction_bounds.py"

LIMITS = "billing_core/charging/limits.py"
SQLITE = "adapters/billing_adapters/sqlite/loader.py"

C = "tests/cli/test_cli_prices.py::test_"
H = "tests/http/test_http_prices.py::test_"
U = "tests/unit/pricing/test_units.py::test_"
P = "tests/unit/values/test_patterns.py::test_"
L = "tests/unit/charging/test_late_prices.py::test_"
M = "tests/unit/values/test_currencies.py::test_"
F = "tests/unit/pricing/test_carried_fractions.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_PRICES: list[Planted] = [
    (
        "a tool's unit is taken for a microsecond",
        UNITS,
        '_TIMED = ("tool:*",',
        '_TIMED = ("nothing:*",',
        (U + "two_milliseconds_of_a_tool_at_a_dollar_a_second_cost_a_fifth_of_a_cent",),
    ),
    (
        "a ratio with separators where a program reads it",
        "adapters/billing_adapters/http/prices.py",
        "by=plain_ratio(each.by)",
        'by=f"{each.by[0]:,}/{each.by[1]:,}"',
        (H + "a_price_says_what_it_depends_on_in_words_and_as_data",),
    ),
    (
        "a run's facts are lost over HTTP",
        "adapters/billing_adapters/http/runs.py",
        "payer=payer, facts=self.facts)",
        "payer=payer)",
        (H + "runs_take_facts",),
    ),
    (
        "a workspace's facts are lost over HTTP",
        "adapters/billing_adapters/http/runs.py",
        "occurred_at=at, facts=asked.facts",
        "occurred_at=at",
        (H + "storage_takes_facts_when_it_is_first_told_of",),
    ),
    (
        "a condition that one table has no room for is not shown",
        "adapters/billing_adapters/cli/documents.py",
        "                more.append(each)\n",
        "                pass\n",
        (C + "what_is_shown_of_a_price_is_what_a_file_says_of_it[price3]",),
    ),
    (
        "a file's variants are tried in another order",
        "adapters/billing_adapters/cli/documents.py",
        "            variants=variants,\n",
        "            variants=variants[::-1],\n",
        (C + "a_file_says_all_that_a_price_may_depend_on",),
    ),
    (
        "a file's book gives its prices no facts but their own",
        "adapters/billing_adapters/cli/documents.py",
        "for name, fact in known.items() if name in named - own)",
        "for name, fact in known.items() if name in own)",
        (C + "a_file_says_all_that_a_price_may_depend_on",),
    ),
    (
        "what a model hears and says is counted in anything",
        UNITS,
        'component == "duration" or component.endswith("_duration")',
        'component == "duration"',
        (
            U + "what_a_model_hears_and_says_is_priced_by_time",
            U + "a_price_by_any_other_word_is_refused_when_it_is_published",
        ),
    ),
    (
        "a variant stays in the unit of its price",
        UNITS,
        "[_by_unit(each, one) for each in price.functions()]",
        "[_by_unit(price.function, one), *(each.function for each in price.variants)]",
        (U + "every_variant_is_in_the_unit_that_is_counted",),
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
        "billing_core/values/patterns.py",
        "return within(one, other) or within(other, one)",
        "return within(one, other)",
        (U + "a_price_by_any_other_word_is_refused_when_it_is_published",),
    ),
    (
        "a month of 720 hours",
        "billing_core/pricing/functions.py",
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
        "minimum=_whole(price.minimum, one),",
        "minimum=price.minimum,",
        (U + "code_has_its_minimum_and_its_steps_in_the_unit_of_its_price",),
    ),
    (
        "a rate's size is whatever its price says",
        CATALOGUE,
        'if meet(resource, "sandbox:*") else None',
        'if meet(resource, "nothing:*") else None',
        (U + "a_component_of_a_sandbox_stays_counted_in_one_size",),
    ),
    (
        "what was published before is judged again",
        CATALOGUE,
        "if found.body() == document.body() or found.body() ==",
        "if found.body() ==",
        (U + "what_was_published_before_prices_as_it_did_and_is_published_still",),
    ),
    (
        "a quota of a pattern binds nothing",
        LIMITS,
        "if fits(each.resource, resource)]",
        "if each.resource == resource]",
        (P + "a_quota_of_all_tools_lets_three_calls_pass_and_no_more[memory]",),
    ),
    (
        "each resource has the whole quota of a pattern",
        LIMITS,
        "for counter in ledger.family(quota.resource, start):",
        "for counter in ledger.family(resource, start):",
        (P + "a_quota_of_all_tools_lets_three_calls_pass_and_no_more[memory]",),
    ),
    (
        "a pattern's quota does not see its own batch",
        "billing_core/ledger/ledger.py",
        "if begins == start and fits(pattern, resource):",
        "if begins != start and fits(pattern, resource):",
        (P + "in_one_batch_a_quota_of_a_pattern_sees_what_came_before[memory]",),
    ),
    (
        "a family of counters of every period",
        SQLITE,
        " AND c.start = :start",
        " AND c.start <= :start",
        (
            "tests/stores/test_sqlite_store.py::TestSqliteStore::test_counters_of_all_that_begin_alike",
        ),
    ),
    (
        "a quota of a name that nothing has is published",
        CATALOGUE,
        "        self._check_names(document)\n",
        "",
        (P + "a_quota_that_can_never_bind_is_refused",),
    ),
    (
        "what a wildcard alone matches is not told",
        CATALOGUE,
        "if known and next(priced.below(name), None) is None:",
        "if not known:",
        (P + "a_name_that_a_wildcard_alone_matches_is_told",),
    ),
    (
        "any version prices what had no price",
        "billing_core/charging/unpriced_usage.py",
        "if command.override:",
        "if True:",
        (
            L + "another_customer_s_own_price_may_not_and_is_never_shown[memory]",
            L + "a_price_that_was_superseded_or_is_to_come_may_not[memory]",
        ),
    ),
    (
        "another customer's book is explained",
        "billing_core/reports/explain.py",
        "elif any(book.org not in (None, org)",
        "elif any(book.org == org and book.org not in (None, org)",
        (L + "another_customer_s_own_price_may_not_and_is_never_shown[memory]",),
    ),
    (
        "an override leaves no trace",
        "billing_core/commands/charges.py",
        "override = True if self.override else None",
        "override = None",
        (L + "an_override_is_on_record_as_one[memory]",),
    ),
    (
        "a discount of then is forgotten",
        CATALOGUE,
        """if discount is None or discount[0] == "0":
                    return found""",
        """if True:
                    return found""",
        (L + "what_was_off_then_is_off_of_what_is_priced_later[memory]",),
    ),
    (
        "an account is opened in a currency that nobody can pay in",
        "billing_core/charging/accounts.py",
        "    minor_unit(command.currency)",
        "    # minor_unit(command.currency)",
        (M + "an_account_in_a_currency_without_known_minor_units_is_not_opened",),
    ),
    (
        "a price of any fineness is published",
        CATALOGUE,
        "            self._check_fractions(document)\n",
        "            pass\n",
        (
            F + "prices_of_different_primes_are_refused_once_their_product_is_too_fine",
            F + "tiers_without_a_common_measure_are_refused",
        ),
    ),
    (
        "discounts make no fraction finer",
        FINENESS,
        "return (_measure(rate) * _measure(keep)).denominator",
        "return _measure(rate).denominator",
        (F + "discounts_count_with_what_they_are_taken_off",),
    ),
    (
        "one customer's prices count for all",
        FINENESS,
        'return audience if audience.startswith("org:") else ""',
        'return ""',
        (F + "one_customer_s_prices_do_not_count_for_another",),
    ),
    (
        "tiers multiply what is carried",
        "billing_core/pricing/functions.py",
        "if per > _OWN:",
        "if per > _OWN**1000:",
        (F + "what_is_published_can_be_used_and_leaves_a_small_fraction[memory]",),
    ),
]
