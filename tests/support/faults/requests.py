"""Faults for `planted_faults.py`, in prices that depend on the request, and in their holds."""

CONDITIONS = "billing_core/pricing/conditions.py"
PRICE = "billing_core/pricing/price.py"
FUNCTIONS = "billing_core/pricing/functions.py"
RATING = "billing_core/pricing/rating.py"
CATALOGUE = "billing_core/pricing/catalogue.py"
CHARGING = "billing_core/charging/charges.py"
TIME = "billing_core/charging/time_charges.py"
STORAGE = "billing_core/storage/handlers.py"
FUNDING = "billing_core/runs/funding.py"
AUDIT = "billing_core/audit/usage.py"

REQUESTS = "tests/unit/pricing/test_rules_5_requests.py::test_"
LIFE = "tests/unit/charging/test_hold_life.py::test_"
FORGED = "tests/unit/audit/test_forged_requests.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_REQUESTS: list[Planted] = [
    (
        "a size holds at its bound already",
        CONDITIONS,
        "in most) <= self.bound:",
        "in most) < self.bound:",
        (REQUESTS + "the_first_variant_that_holds_stands_in_place_of_the_base",),
    ),
    (
        "hours hold at the moment of their end",
        CONDITIONS,
        "self._from <= of_day < self._to and",
        "self._from <= of_day <= self._to and",
        (REQUESTS + "hours_of_one_day_end_before_their_end",),
    ),
    (
        "hours hold at the moment of their end on the next day",
        CONDITIONS,
        "return of_day + DAY < self._to and",
        "return of_day + DAY <= self._to and",
        (REQUESTS + "hours_hold_to_the_microsecond_over_midnight_and_a_weekend",),
    ),
    (
        "hours end with their day",
        CONDITIONS,
        "return of_day + DAY < self._to and",
        "return of_day > DAY and",
        (REQUESTS + "hours_hold_to_the_microsecond_over_midnight_and_a_weekend",),
    ),
    (
        "hours after midnight are those of the new weekday",
        CONDITIONS,
        "self._on[(day - 1 + _FIRST) % 7]",
        "self._on[(day + _FIRST) % 7]",
        (REQUESTS + "hours_hold_to_the_microsecond_over_midnight_and_a_weekend",),
    ),
    (
        "a hold knows one hour of its life",
        CONDITIONS,
        "if until > since and next(",
        "if until < since and next(",
        (REQUESTS + "a_hold_takes_the_dearest_hour_that_it_reaches",),
    ),
    (
        "the last variant that holds stands",
        PRICE,
        "                standing = number\n                break",
        "                standing = number",
        (REQUESTS + "the_first_of_two_sizes_that_hold_stands",),
    ),
    (
        "a base is quoted where a variant stands for certain",
        PRICE,
        "            if held and certain:\n                return found\n",
        "",
        (REQUESTS + "hours_hold_to_the_microsecond_over_midnight_and_a_weekend",),
    ),
    (
        "a fact excludes no variant",
        PRICE,
        "        if False not in held:",
        "        if held is not None:",
        (REQUESTS + "a_hold_is_tight_once_the_facts_are_known",),
    ),
    (
        "a fact that is open has its default in a hold",
        PRICE,
        "            if not quoted:\n",
        "            if facts is not None:\n",
        (REQUESTS + "a_hold_is_tight_once_the_facts_are_known",),
    ),
    (
        "a value that no price knows has the base's",
        PRICE,
        "if value is not None and value not in fact.values:",
        "if value is not None and not fact.values:",
        (REQUESTS + "a_value_that_the_price_does_not_know_settles_as_unpriced",),
    ),
    (
        "a multiplier below one that may hold makes a hold smaller",
        PRICE,
        "and ((certain and held) or _above_one(",
        "and (held is not False or _above_one(",
        (REQUESTS + "a_multiplier_above_one_that_may_hold_is_held",),
    ),
    (
        "a multiplier that may hold is not held",
        PRICE,
        "and ((certain and held) or _above_one(self.multipliers[number - 1]))",
        "and (certain and held)",
        (REQUESTS + "a_multiplier_above_one_that_may_hold_is_held",),
    ),
    (
        "a hold takes the base alone of what may stand",
        RATING,
        "for each in priced.price.choices(known)]",
        "for each in priced.price.choices(known)[:1]]",
        (REQUESTS + "two_holds_of_one_item_foresee_each_others_size",),
    ),
    (
        "an item's size is that of its last part",
        CHARGING,
        "lambda: Request.measured(occurred, usage.facts, quantities(usage.parts, item)),",
        "lambda: Request.measured(occurred, usage.facts, quantities(usage.parts, None)),",
        (REQUESTS + "size_is_that_of_the_whole_item_and_what_was_settled_stays",),
    ),
    (
        "an item's size is what the platform is paid for",
        RATING,
        "            if whole and item is not None:",
        "            if whole and item is None:",
        (REQUESTS + "size_counts_whoever_pays_and_what_has_no_price",),
    ),
    (
        "what was undone stays in the size of its item",
        RATING,
        "                    line.component, -line.quantity\n",
        "                    line.component, 0\n",
        (REQUESTS + "usage_that_is_undone_leaves_the_size_of_its_item",),
    ),
    (
        "a hold does not foresee what others make of its item's size",
        CHARGING,
        "            most[component] = most.get(component, 0) + quantity\n",
        "            most[component] = most.get(component, 0)\n",
        (REQUESTS + "two_holds_of_one_item_foresee_each_others_size",),
    ),
    (
        "a hold foresees its item's size in one period",
        CHARGING,
        "for period in ledger.periods(life.start, life.end):",
        "for period in ledger.periods(turn.start, turn.end):",
        (REQUESTS + "a_hold_foresees_the_size_that_others_give_its_item_in_any_period",),
    ),
    (
        "a hold is quoted as if it were used at once",
        RATING,
        "        if parts and held:",
        "        if parts and held < 0:",
        (LIFE + "a_call_in_parts_may_begin_a_package_with_each",),
    ),
    (
        "no fraction of a nano is carried into a call's next period",
        RATING,
        "            if any(line.fine for line in under):",
        "            if all(line.fine is None for line in under):",
        (LIFE + "each_period_may_carry_a_fraction_of_a_nano_into_a_call",),
    ),
    (
        "whole nanos leave a fraction",
        RATING,
        "fine = price.function.nanos % price.function.per != 0",
        "fine = price.function.nanos != 0",
        (LIFE + "each_period_may_carry_a_fraction_of_a_nano_into_a_call",),
    ),
    (
        "what an increment adds is at the price in force",
        RATING,
        "    if parts and len(pieces) > 1:",
        "    if parts and len(pieces) > 2:",
        (LIFE + "what_an_increment_adds_may_be_all_at_the_item_s_first_price",),
    ),
    (
        "the dearest units beside others are the cheapest",
        FUNCTIONS,
        "                reverse=True,\n",
        "",
        (LIFE + "beside_others_the_dearest_units_may_be_its_own",),
    ),
    (
        "a run is not cut where the hour changes",
        TIME,
        "    cuts |= ledger.catalogue.hours(",
        "    cuts |= set() & ledger.catalogue.hours(",
        (REQUESTS + "a_run_is_cut_where_the_hour_changes_and_its_facts_are_fixed",),
    ),
    (
        "a run is charged without its facts",
        TIME,
        "usage = Usage(owner.resource, piece.parts, owner.item, owner.facts)",
        "usage = Usage(owner.resource, piece.parts, owner.item)",
        (REQUESTS + "a_run_is_cut_where_the_hour_changes_and_its_facts_are_fixed",),
    ),
    (
        "a run is funded at the hours of prices that are not in force then",
        FUNDING,
        "Request(first, max(first, end - 1), spec.facts, {}, {})",
        "Request(first, span.end, spec.facts, {}, {})",
        (REQUESTS + "a_run_is_funded_at_the_hours_of_a_price_only_while_it_is_in_force",),
    ),
    (
        "storage begins without its facts",
        STORAGE,
        "storage = Storage(name, at, at, size, facts=command.facts)",
        "storage = Storage(name, at, at, size)",
        (REQUESTS + "storage_is_cut_where_the_hour_changes_and_keeps_its_first_facts",),
    ),
    (
        "the audit does not ask which variant stands",
        AUDIT,
        "if standing is not None and standing != named:",
        "if standing is not None and not named:",
        (FORGED + "another_variant_than_the_request_has_is_found",),
    ),
    (
        "the audit sums an item's size without the part that it checks",
        AUDIT,
        "            found[line.component] = found.get(line.component, 0) + line.quantity\n",
        "            found[line.component] = found.get(line.component, 0)\n",
        (REQUESTS + "size_is_that_of_the_whole_item_and_what_was_settled_stays",),
    ),
    (
        "the audit prices later by the facts of nothing",
        AUDIT,
        "        told = json.loads(said.content)\n",
        "",
        (REQUESTS + "what_was_unpriced_is_priced_later_by_the_facts_on_record",),
    ),
    (
        "a book's multipliers hold for all that it prices",
        CATALOGUE,
        "patterns = tuple(name for name in book.multipliers if fits(name, resource))",
        "patterns = tuple(book.multipliers)",
        (REQUESTS + "a_books_multipliers_hold_for_all_that_their_patterns_name",),
    ),
    (
        "one discount is taken for another of the same price",
        CATALOGUE,
        "key = id(found.price), percent",
        'key = id(found.price), ""',
        (REQUESTS + "what_is_less_a_discount_is_made_once_for_each_percentage",),
    ),
    (
        "what the customer pays in part is all the platform's once it is answered",
        "billing_core/engine/hold_handles.py",
        "        if len(payers) > 1:",
        "        if len(payers) > 1 and (payers := set()):",
        (
            "tests/unit/engine/test_reported_answers.py::"
            "test_who_pays_for_what_of_an_answer_is_asked_where_both_pay_for_what_was_held",
        ),
    ),
]
