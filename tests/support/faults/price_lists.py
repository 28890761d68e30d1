"""Faults of importing real prices; `planted_faults.py` plants them."""

from __future__ import annotations

Planted = tuple[str, str, str, str, tuple[str, ...]]

LISTS = "adapters/billing_adapters/price_lists.py"
GENAI = "adapters/billing_adapters/genai.py"
LITELLM = "adapters/billing_adapters/litellm_prices.py"
OF_GENAI = "tests/unit/pricing/test_genai.py::test_"
OF_LITELLM = "tests/unit/pricing/test_litellm_prices.py::test_"
SIZES = OF_LITELLM + "sizes_and_tiers_are_variants_the_whole_request_at_one_price"
HOURS = OF_LITELLM + "off_peak_hours_are_those_of_the_weekday_where_the_provider_is"
CLI = "adapters/billing_adapters/cli/imports.py"
OF_CLI = "tests/cli/test_cli_import.py::test_"
UNKNOWN = OF_LITELLM + "what_is_not_known_is_refused_by_name"

IN_PRICE_LISTS: list[Planted] = [
    (
        "an imported price is without the markup",
        LISTS,
        "Flat.of(EXACTLY.multiply(rate, self._markup), per)",
        "Flat.of(rate, per)",
        (OF_GENAI + "prices_are_the_source_s_times_the_markup_exactly",),
    ),
    (
        "a variant is dropped though another stands in its place",
        LISTS,
        "                table[_standing(without, case) or base] == table[case]\n",
        "                table[base] == table[case]\n",
        (SIZES,),
    ),
    (
        "a larger size does not hold where a smaller one is asked for",
        LISTS,
        "        return condition.bound <= given.bound\n",
        "        return condition.bound >= given.bound\n",
        (OF_LITELLM + "three_sizes_stand_in_their_order",),
    ),
    (
        "a request's size is that of its plain input",
        LISTS,
        """PROMPT = (
    "input", "input_audio", "input_image", "input_video",
    "cached_read",""",
        """PROMPT = (
    "input", "input_audio", "input_image", "input_video",
""",
        (SIZES,),
    ),
    (
        "what is too fine to be published is not refused",
        LISTS,
        "refused.append(Refused(source_of[resource], component, told, str(error)))",
        "pass",
        (OF_LITELLM + "a_price_too_fine_is_refused_and_the_rest_is_not",),
    ),
    (
        "a tier without a price of a size costs as a short request",
        LITELLM,
        "            own = self._in_tier(key + label, suffix)\n",
        "            own = self._number(key + label + suffix)\n",
        (SIZES,),
    ),
    (
        "the smallest size that is reached counts",
        LITELLM,
        "        for label in self._crossed(at):\n            own = self._in_tier",
        "        for label in [*self._crossed(at)][::-1]:\n            own = self._in_tier",
        (OF_LITELLM + "three_sizes_stand_in_their_order",),
    ),
    (
        "a size is reached above its bound with every provider",
        LITELLM,
        '_INCLUSIVE = frozenset({"xai"})',
        "_INCLUSIVE: frozenset[str] = frozenset()",
        (OF_LITELLM + "a_size_is_reached_at_its_bound_where_the_provider_has_it_so",),
    ),
    (
        "off-peak hours are of the weekday in UTC",
        LITELLM,
        "(minute + shift) // _DAY % 7 in days",
        "minute // _DAY % 7 in days",
        (HOURS,),
    ),
    (
        "a key that nobody asked for is passed over",
        LITELLM,
        "            elif key not in self._asked:\n                yield",
        "            elif False:\n                yield",
        (UNKNOWN,),
    ),
    (
        "a million times the price of a token is asked for it",
        LITELLM,
        "        scale = parts[component].scale\n",
        "        scale = 1_000_000 * parts[component].scale\n",
        (SIZES,),
    ),
    (
        "a region's uplift is on the price of an image",
        LITELLM,
        "uplifts if part.uplifted else ()",
        "uplifts",
        (OF_LITELLM + "uplifts_are_multipliers_by_region_and_speed",),
    ),
    (
        "a number is read through a float",
        LITELLM,
        "parse_float=Decimal",
        "parse_float=lambda text: Decimal(float(text))",
        (OF_LITELLM + "a_price_is_read_as_it_is_written_and_never_as_a_float",),
    ),
    (
        "a price of many digits is rounded",
        LITELLM,
        "EXACTLY.multiply(found, Decimal(scale))",
        "found * scale",
        (OF_LITELLM + "a_price_is_read_as_it_is_written_and_never_as_a_float",),
    ),
    (
        "the price of more stands in place of one that is refused",
        LITELLM,
        "        if key in self._bad:\n            raise",
        "        if False:\n            raise",
        (OF_LITELLM + "nothing_stands_in_place_of_a_price_that_is_refused",),
    ),
    (
        "a price that begins later is imported",
        GENAI,
        "limit.start_date <= self._day",
        "True",
        (OF_GENAI + "the_price_is_that_of_the_book_s_date",),
    ),
    (
        "the first of several prices counts whose condition holds",
        GENAI,
        "        for each in reversed(listed):\n            if isinstance",
        "        for each in listed:\n            if isinstance",
        (OF_GENAI + "the_price_is_that_of_the_book_s_date",),
    ),
    (
        "of two variants that apply the last counts",
        GENAI,
        "                found = _said(variant.prices) | found\n",
        "                found = found | _said(variant.prices)\n",
        (OF_GENAI + "what_the_request_was_is_a_fact",),
    ),
    (
        "a size at a tier's start is in it",
        GENAI,
        "            if size > tier.start:\n",
        "            if size >= tier.start:\n",
        (OF_GENAI + "prices_by_the_size_of_a_request_are_variants_unless_one_level_is_named",),
    ),
    (
        "what no component is counted by is passed over",
        GENAI,
        "            if key not in _KEYS:\n",
        "            if False:\n",
        (OF_GENAI + "what_a_book_cannot_say_is_refused_with_the_reason",),
    ),
    (
        "a short recording costs no more than its seconds",
        GENAI,
        'self._least if component.endswith("audio_duration") else 0',
        "0",
        (OF_GENAI + "the_least_that_a_request_counts_as_is_the_source_s",),
    ),
    (
        "what is in force already is published again",
        CLI,
        "before.get(resource, {}).get(component) != price",
        "True",
        (OF_CLI + "a_nightly_job_publishes_what_changed",),
    ),
    (
        "an import that is only to be shown is published",
        CLI,
        "        if publish:\n            with",
        "        if True:\n            with",
        (OF_CLI + "what_is_new_and_what_is_refused_is_shown_and_nothing_published",),
    ),
    (
        "one price that may not be published keeps all others back",
        CLI,
        "    if len(every) == 1:\n        return {}\n",
        "    return {}\n",
        (OF_CLI + "what_cannot_stand_beside_what_is_on_record_is_refused_alone",),
    ),
    (
        "a change by an import takes effect at once",
        CLI,
        "at = now + _AHEAD if effective_at is None else effective_at",
        "at = now if effective_at is None else effective_at",
        (OF_CLI + "a_nightly_job_publishes_what_changed",),
    ),
    (
        "a version's name that is taken is told as refusals",
        CLI,
        'if not error.field.startswith("prices["):',
        "if False:",
        (OF_CLI + "a_time_may_be_named",),
    ),
]
