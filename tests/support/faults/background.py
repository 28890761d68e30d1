"""Faults for `planted_faults.py`, in what background work does for whom, and when."""

WORK = "billing_core/engine/background.py"
PASSES = "billing_core/engine/background_pass.py"
IN_FLIGHT = "billing_core/engine/provider_calls.py"
SILENT_RUNS = "billing_core/engine/silent_runs.py"
POSTGRES = "adapters/billing_adapters/postgres/store.py"
ROWS = "adapters/billing_adapters/sqlite/topups.py"
PG_WORK = "adapters/billing_adapters/postgres/background.py"
STRIPE = "adapters/billing_adapters/stripe_payments.py"
REPLIES = "adapters/billing_adapters/stripe_replies.py"
FAKE = "adapters/billing_adapters/fake_payments/provider.py"
POOL = "adapters/billing_adapters/postgres/pool.py"

THREADS = "tests/unit/engine/test_async_threads.py::test_"
INTERRUPTS = "tests/stores/test_postgres_interrupts.py::test_"
ODD = "tests/payments/test_provider_answers.py::test_"
STRIPE_LISTS = "tests/payments/test_stripe_payments.py::TestStripePayments::test_"
TURNS = "tests/unit/engine/test_turns.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_BACKGROUND: list[Planted] = [
    (
        "verify asks PostgreSQL for each table by itself",
        POSTGRES,
        "ahead._fetched = dict(zip(first, found, strict=True))",
        "ahead._fetched = {}",
        ("tests/stores/test_postgres.py::test_an_org_is_verified_in_a_few_round_trips",),
    ),
    (
        "runs that cannot be closed stand before all others for ever",
        SILENT_RUNS,
        "self._ended = all(_unanswered(part.error) for part in parts)",
        "self._ended = True",
        (TURNS + "runs_that_cannot_be_closed_keep_no_other_open",),
    ),
    (
        "one org's run that cannot be closed keeps everybody's open",
        SILENT_RUNS,
        "[Submission(commands) for commands in some.values()]",
        "[Submission([each for every in some.values() for each in every])] if some else []",
        (TURNS + "an_org_that_is_locked_elsewhere_keeps_no_other_s_run_open",),
    ),
    (
        "that a run cannot be closed is told to nobody",
        SILENT_RUNS,
        "if self._error is not None and not self.closed:",
        "if False:",
        (TURNS + "runs_that_cannot_be_closed_keep_no_other_open",),
    ),
    (
        "one org's calls take all of a host's threads",
        IN_FLIGHT,
        "> AT_ONCE:",
        "> 10 * AT_ONCE:",
        (TURNS + "an_org_whose_provider_hangs_takes_four_of_the_host_s_threads",),
    ),
    (
        "the calls of all orgs are bounded as one's",
        IN_FLIGHT,
        "whose == org for whose",
        "bool(whose) for whose",
        (TURNS + "an_org_whose_provider_hangs_takes_four_of_the_host_s_threads",),
    ),
    (
        "a call that has ended still counts",
        IN_FLIGHT,
        "            self._calls.discard(call)\n",
        "            pass\n",
        (TURNS + "an_org_whose_provider_hangs_takes_four_of_the_host_s_threads",),
    ),
    (
        "an interrupted call counts for ever",
        IN_FLIGHT,
        "            yield\n        finally:\n",
        "            yield\n        except KeyError:\n            pass\n        else:\n",
        (TURNS + "an_interrupted_call_does_not_count_as_one_that_waits",),
    ),
    (
        "one event that cannot be read hides its page, at Stripe",
        REPLIES,
        "            unreadable.append(named(event",
        "            raise\n            unreadable.append(named(event",
        (ODD + "news_that_cannot_be_read_is_told_and_all_other_news_is_heeded",),
    ),
    (
        "one event that cannot be read hides its page, at the fake",
        FAKE,
        '                    unreadable.append(f"event {each.id}',
        '                    raise\n                    unreadable.append(f"event {each.id}',
        (ODD + "news_that_cannot_be_read_is_told_and_all_other_news_is_heeded",),
    ),
    (
        "news that cannot be read is not told",
        WORK,
        "                if page.unreadable:\n",
        "                if False:\n",
        (ODD + "news_that_cannot_be_read_is_told_and_all_other_news_is_heeded",),
    ),
    (
        "a page that ends with an event that cannot be read is followed by itself",
        STRIPE,
        "more = last if listed.has_more else None",
        "more = (items[-1].event if items else None) if listed.has_more else None",
        (STRIPE_LISTS + "an_event_that_cannot_be_read_is_named_and_hides_no_other",),
    ),
    (
        "a provider that hangs is asked for every org in turn",
        PASSES,
        "            self._run.answers = False\n",
        "            pass\n",
        (TURNS + "a_pass_asks_a_provider_that_hangs_once",),
    ),
    (
        "background work has no budget of time",
        PASSES,
        "if self._ends is None or self._clock() < self._ends:",
        "if self._until is None or self._clock() < self._until:",
        (TURNS + "news_that_takes_more_time_than_a_pass_is_read_to_its_end",),
    ),
    (
        "the engine serves the longest due, whomever it served last",
        WORK,
        "            served[org] = self._passes\n",
        "            served[org] = 0\n",
        (TURNS + "a_top_up_does_not_wait_for_checkouts_of_which_the_provider_says_nothing",),
    ),
    (
        "every process begins with the same org",
        WORK,
        "orgs[: now // 1_000_000 % len(orgs)]",
        "orgs[:0]",
        (TURNS + "processes_that_make_one_pass_each_serve_every_org",),
    ),
    (
        "what is due is taken up by age alone",
        WORK,
        "in islice(in_turn(due, served), limit):",
        "in islice(sorted(due, key=lambda each: each[0]), limit):",
        (TURNS + "a_top_up_does_not_wait_for_another_org_s_abandoned_checkouts",),
    ),
    (
        "SQLite has events delivered by the orgs' names",
        ROWS,
        '" ORDER BY until, org_id LIMIT ?"',
        '" ORDER BY org_id LIMIT ?"',
        (TURNS + "orgs_that_always_have_events_do_not_keep_the_last_one_from_its_own",),
    ),
    (
        "PostgreSQL has events delivered by the orgs' names",
        PG_WORK,
        '" ORDER BY until, org_id LIMIT $2"',
        '" ORDER BY org_id LIMIT $2"',
        (TURNS + "orgs_that_always_have_events_do_not_keep_the_last_one_from_its_own",),
    ),
    (
        "an org's events are delivered to their end",
        WORK,
        "if begun and (self.clock() >= now + SLICE or not run.goes_on()):",
        "if False:",
        (TURNS + "an_org_with_many_events_is_no_reason_for_another_to_wait",),
    ),
    (
        "an org that cannot lapse comes first again",
        WORK,
        "most = limit + len(self._stuck)",
        "most = limit",
        (TURNS + "orgs_that_cannot_lapse_do_not_keep_others_from_it",),
    ),
    (
        "an org in which nothing lapses yet is work done",
        "billing_core/topups/handlers.py",
        '    if not ledger.changes.entries:\n        return refusal(decision, "not_due")\n',
        "",
        (TURNS + "credit_that_has_ended_but_is_held_does_not_keep_others_from_lapsing",),
    ),
    (
        "a pass ends with the orgs in which nothing lapses yet",
        WORK,
        "if not new or len(due) < most or",
        "if True or",
        (TURNS + "credit_that_has_ended_but_is_held_does_not_keep_others_from_lapsing",),
    ),
    (
        "a sweep begins anew with every pass",
        WORK,
        "            self._sweeps.append(sweep)\n",
        "            pass\n",
        (TURNS + "news_that_takes_more_time_than_a_pass_is_read_to_its_end",),
    ),
    (
        "news is read in the order of the list",
        WORK,
        "in_turn(sweep.news.values(), {})[::-1], {}",
        "list(sweep.news.values())[::-1], {}",
        (TURNS + "news_of_one_org_does_not_wait_for_all_of_another_s",),
    ),
    (
        "news that is not answered is done with",
        WORK,
        "                sweep.left.insert(0, (org, notice))\n                continue\n",
        "                continue\n",
        (TURNS + "news_that_is_not_answered_is_asked_for_again_and_the_rest_heeded",),
    ),
    (
        "a top-up's refunds are made at one sitting",
        WORK,
        "            if run.asks():  # else when it is due again\n",
        "            if True:\n",
        (TURNS + "a_top_up_with_many_refunds_has_its_turn_as_others_do",),
    ),
    (
        "what lapses comes after what the provider is asked",
        WORK,
        "        self._lapse(run, limit)\n        if doubt is not None:\n",
        "        if doubt is not None:\n            self._lapse(run, limit)\n",
        (TURNS + "what_lapses_does_not_wait_for_fifty_orgs_whose_provider_hangs",),
    ),
    (
        "a session that was made up is asked for",
        "billing_core/engine/billing.py",
        "        if known is None or known[0] != org:\n",
        "        topups.provider.read_checkout(session)\n"
        "        if known is None or known[0] != org:\n",
        (TURNS + "a_session_that_somebody_made_up_never_reaches_the_provider",),
    ),
    (
        "who is interrupted in the pool's queue is given a connection",
        POOL,
        '            waiting.fail(PoolTimeout("interrupted"))\n',
        "",
        (INTERRUPTS + "who_is_interrupted_in_the_queue_is_given_no_connection",),
    ),
    (
        "a connection that came as its caller was interrupted is nobody's",
        POOL,
        "            given[id(line)] = line\n",
        "            pass\n",
        (INTERRUPTS + "who_is_interrupted_when_a_connection_has_just_come_gives_it_back",),
    ),
    (
        "an interrupted connecting is not noted",
        POOL,
        "                    raise lines._failed from error\n",
        "                    raise\n",
        (INTERRUPTS + "a_thread_of_the_pool_that_is_interrupted_while_it_connects",),
    ),
    (
        "an interrupted setting up is not noted",
        POOL,
        "            raise _interrupted(error) from error\n",
        "            raise\n",
        (INTERRUPTS + "a_thread_of_the_pool_that_is_interrupted_while_it_sets_up",),
    ),
    (
        "an interrupted ROLLBACK keeps the connection",
        POOL,
        "            except BaseException as error:\n                # What was begun",
        "            except Exception as error:\n                # What was begun",
        (INTERRUPTS + "who_is_interrupted_while_what_was_begun_is_undone",),
    ),
    (
        "an interrupted giving back keeps the connection",
        POOL,
        "        if line._pool is not None:  # else it is in the pool, or another is made for it\n",
        "        if False:\n",
        (INTERRUPTS + "who_is_interrupted_while_a_connection_is_given_back",),
    ),
    (
        "a connection that nobody holds is not missed",
        POOL,
        "            self._give_lost()\n",
        "",
        (INTERRUPTS + "who_is_interrupted_as_soon_as_a_connection_is_given",),
    ),
    (
        "an ended connection that was given back counts as lost",
        POOL,
        "            conn._pool = None\n",
        "            pass\n",
        (INTERRUPTS + "who_is_interrupted_while_what_was_begun_is_undone",),
    ),
    (
        "a cancelled call leaves its thread alone with the host's connection",
        "billing_core/engine/async_threads.py",
        "            while self.joined and not work.done():\n",
        "            while False:\n",
        (THREADS + "a_cancelled_call_ends_when_the_host_s_connection_is_free",),
    ),
    (
        "a second cancelling ends the wait",
        "billing_core/engine/async_threads.py",
        "                with suppress(asyncio.CancelledError):\n",
        "                with suppress():\n",
        (THREADS + "a_cancelled_call_ends_when_the_host_s_connection_is_free",),
    ),
    (
        "the prices are read in a thread of their own",
        "billing_core/engine/async_billing.py",
        "    pricing = in_thread(Billing.pricing)\n",
        "    async def pricing(self, org: str, *, at: Any = None) -> Any:\n"
        "        return await asyncio.to_thread(self._billing.pricing, org, at=at)\n",
        (THREADS + "a_cancelled_call_ends_when_the_host_s_connection_is_free",),
    ),
    (
        "who waits for a provider takes the loop's threads",
        "billing_core/engine/async_threads.py",
        "        if self.joined:  # then there is no provider\n",
        "        if True:\n",
        (THREADS + "a_provider_that_hangs_takes_no_thread_from_who_meets_none",),
    ),
]
