"""Faults for `planted_faults.py`, in what every store is told is required: no store differs from
another then, so it is the conformance suite that finds them."""

REQUIRED = "billing_core/ports/required.py"

MEMORY = "tests/properties/test_memory_store.py::TestMemoryStore::test_"
RUN = MEMORY + "a_wanted_run_comes_with_what_charges_it"
SIZED = MEMORY + "a_wanted_workspace_comes_with_the_sizes_of_its_span"
CHARGED = MEMORY + "spends_of_whoever_may_be_charged"
SPENT = MEMORY + "spends_of_the_days_and_periods_that_are_wanted"
DUE = MEMORY + "holds_due_are_loaded_and_those_wanted_in_any_state"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_REQUIRED: list[Planted] = [
    (
        "no more holds are required to close an account",
        REQUIRED,
        "    if want.all_holds:\n        return FOREVER\n",
        "",
        (DUE,),
    ),
    (
        "what is due is not required",
        REQUIRED,
        "return want.until if lapse <= want.until else None",
        "return None",
        (DUE,),
    ),
    (
        "the stories of tabs are not required",
        REQUIRED,
        "return {tab.charge for owner in owners for tab in owner.tabs} - state.charges.keys()",
        "return {0 for owner in owners for tab in owner.tabs} - {0}",
        (RUN,),
    ),
    (
        "who paid a charge when it was made is not required",
        REQUIRED,
        "found |= {transfer.from_lot for transfer in subject.transfers}",
        "found |= {0}",
        (MEMORY + "lots_that_paid_a_wanted_charge_are_loaded_too",),
    ),
    (
        "who paid a charge later is not required",
        REQUIRED,
        "        if number in state.charges:\n",
        "        if not state.charges:\n",
        (MEMORY + "lots_that_paid_a_wanted_charge_are_loaded_too",),
    ),
    (
        "the items of charges and runs are not required",
        REQUIRED,
        "            sought.add((item, resource))\n",
        "            pass\n",
        (RUN, MEMORY + "where_it_has_looked_is_said"),
    ),
    (
        "the counters of charges and runs are not required",
        REQUIRED,
        "        covered.setdefault(resource, []).append(span)\n",
        "",
        (RUN, MEMORY + "where_it_has_looked_is_said"),
    ),
    (
        "the times of charges and runs are not required",
        REQUIRED,
        "        times = min(first, span[0]), max(last, span[1])\n",
        "",
        (MEMORY + "where_it_has_looked_is_said",),
    ),
    (
        "the counters in which holds are counted are not required",
        REQUIRED,
        "            if key not in state.counters:\n",
        "            if key in state.counters:\n",
        (MEMORY + "counters_of_loaded_holds",),
    ),
    (
        "the plans of before are not required",
        REQUIRED,
        "return None if dated is None or dated[0] >= account.plan_since else dated[0]",
        "return None if dated is None else None",
        (MEMORY + "subscriptions_from_the_earliest_time_on",),
    ),
    (
        "the limits of whose hold or run it is are not required",
        REQUIRED,
        "for owner in [*owners, *_used(state)]:",
        "for owner in _used(state):",
        (CHARGED,),
    ),
    (
        "the limits of whom a charge was for are not required",
        REQUIRED,
        "for owner in [*owners, *_used(state)]:",
        "for owner in owners:",
        (CHARGED,),
    ),
    (
        "what is held is not required",
        REQUIRED,
        'found = {"held": Window(0, 0)}',
        "found: dict[str, Window] = {}",
        (SPENT,),
    ),
    (
        "what was spent in a day is not required",
        REQUIRED,
        'for grain in ("day", "period"):',
        'for grain in ("period",):',
        (SPENT,),
    ),
    (
        "a run is not required to be looked at as far as it may be funded",
        REQUIRED,
        "            if run.open:\n",
        "            if False:\n",
        (RUN,),
    ),
    (
        "a run's time from where it is posted to is not required",
        REQUIRED,
        "begin = min(max(first, run.started_at), run.settled_to)",
        "begin = max(first, run.started_at)",
        (RUN,),
    ),
    (
        "a workspace's sizes from where it is billed to are not required",
        REQUIRED,
        "return min(asked[0], known.billed_to), max(asked[1], known.billed_to)",
        "return asked",
        (SIZED,),
    ),
]
