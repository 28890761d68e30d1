"""Faults of what stands between the engine and the world: requests, and what a provider answers;
`planted_faults.py` plants them."""

from __future__ import annotations

Planted = tuple[str, str, str, str, tuple[str, ...]]

HTTP = "adapters/billing_adapters/http/"
COST = "tests/http/test_request_cost.py"
ODD = "tests/payments/test_provider_answers.py::test_"
PAYING = "tests/http/test_http_payments.py::test_"
STRIPE = "adapters/billing_adapters/stripe_payments.py"

IN_DOORS: list[Planted] = [
    (
        "a full disk is a traceback of the command line",
        "adapters/billing_adapters/cli/app.py",
        "(errno.ENOSPC, errno.EDQUOT, errno.EIO)",
        "()",
        ("tests/cli/test_cli_output.py::test_a_full_disk_is_told_in_one_line",),
    ),
    (
        "a closed output is asked whether it is a terminal",
        "adapters/billing_adapters/cli/app.py",
        'open(os.devnull, "w") if each is None else each',
        "each",
        ("tests/cli/test_cli_output.py::test_a_closed_output_stops_no_command",),
    ),
    (
        "an interrupt while the libraries are read is a traceback",
        "adapters/billing_adapters/cli/__init__.py",
        "except KeyboardInterrupt:",
        "except ZeroDivisionError:",
        (
            "tests/cli/test_cli_odd_input.py"
            "::test_ctrl_c_before_a_command_begins_or_after_it_ends_is_one_line_too",
        ),
    ),
    (
        "a key of Stripe's in the wrong place is echoed",
        "adapters/billing_adapters/credentials.py",
        '    text = _SECRET.sub(r"\\1…", text)\n',
        "",
        ("tests/cli/test_secrets.py::test_a_secret_of_stripe_s_in_the_wrong_place_is_not_shown",),
    ),
    (
        "a resource that is called as a model is hides the model in the chart",
        HTTP + "page/chart.js",
        "parts.set(part, (parts.get(part) ?? 0) + Number(amount))",
        "parts.set(part, Number(amount))",
        ("tests/http/test_http_page.py::test_what_is_named_alike_is_drawn_together",),
    ),
    (
        "every name of a body is counted among all",
        HTTP + "parsing.py",
        "            if name in seen:",
        "            if [each for each, _ in pairs].count(name) > 1:",
        (COST + "::test_no_place_of_a_body_costs_much_where_it_grows",),
    ),
    (
        "a text without an end is looked through from each of its quotes",
        HTTP + "parsing.py",
        "        value = _DECODER.decode(text)\n",
        """        import re
        re.sub(r'"(?:[^"\\\\]|\\\\.)*"', "", text)
        value = _DECODER.decode(text)\n""",
        (COST + "::test_the_page_of_costs_names_every_expression_and_no_other",),
    ),
    (
        "a decimal's digits are shared out in every way",
        "billing_core/values/money.py",
        r"(\d+(\.\d*)?|\.\d+)",
        r"(\d+\.?\d*|\.\d+)",
        (COST + "::test_no_expression_goes_back_again_and_again",),
    ),
    (
        "the end of a password is sought from each colon of a word",
        "adapters/billing_adapters/credentials.py",
        "        if begin >= without:",
        "        if begin >= 0:",
        (COST + "::test_a_message_of_many_users_and_no_password_costs_little",),
    ),
    (
        "each pattern is compared with each name",
        "billing_core/values/patterns.py",
        "    if len(patterns) <= len(resource):",
        "    if patterns:",
        (
            "tests/unit/values/test_patterns.py::test_a_name_is_looked_up_among_any_number_of_patterns",
        ),
    ),
    (
        "a header that comes again is copied each time",
        HTTP + "messages.py",
        "        found.setdefault(name.lower(), []).append(value)\n",
        "        found[name.lower()] = [', '.join([*found.get(name.lower(), []), value])]\n",
        (COST + "::test_a_header_that_comes_again_and_again_costs_little",),
    ),
    (
        "a payment without what every payment has is an error of the library's",
        STRIPE,
        "    except ODD as error:\n        said",
        "    except ZeroDivisionError as error:\n        said",
        (ODD + "an_answer_altered_at_any_place_is_a_value_or_a_payment_error[charge]",),
    ),
    (
        "an event of another shape is an error of the library's",
        STRIPE,
        "        except ODD as error:\n            raise",
        "        except KeyError as error:\n            raise",
        (ODD + "a_webhook_altered_at_any_place_is_a_notice_or_refused",),
    ),
    (
        "an amount that is text is an amount",
        "billing_core/ports/payments.py",
        "    if type(value) is not int or abs(value) > _LARGEST:",
        "    if False:",
        (ODD + "an_answer_altered_at_any_place_is_a_value_or_a_payment_error[refund]",),
    ),
    (
        "what Stripe says of another payment is believed",
        STRIPE,
        "    if found.id != name:",
        "    if False:",
        (ODD + "an_answer_about_another_is_none",),
    ),
    (
        "HEAD says that there is nothing",
        HTTP + "messages.py",
        '"Content-Length": str(len(response.body))',
        '"Content-Length": "0"',
        ("tests/http/test_http_contract.py::test_methods_that_a_path_does_not_have",),
    ),
    (
        "a replayed PUT answers how things stand now",
        "adapters/billing_adapters/http/topups.py",
        "    stands = _auto_topup(call, asked, made=made)",
        "    stands = _auto_topup(call, asked)",
        (PAYING + "automatic_top_ups_from_the_first_card_to_recovery[plain]",),
    ),
    (
        "one key leads to another address",
        "billing_core/engine/topups.py",
        "if ordered.replayed and not reads_alike(topup.asked, asdict(order)):",
        "if False:",
        (PAYING + "one_key_opens_one_page[plain]",),
    ),
    (
        "what an order said is not kept once its page is open",
        "billing_core/records/topups.py",
        'return asked if "order" not in order else compact({"said": _digest(order)})',
        'return ""',
        (PAYING + "one_key_opens_one_page[plain]",),
    ),
    (
        "an order keeps what the version before takes for a fault",
        "billing_core/records/topups.py",
        "KEEPS = 2",
        "KEEPS = 1",
        (
            "tests/payments/test_topups.py::test_while_the_version_before_may_run_an_order_keeps_nothing",
        ),
    ),
    (
        "all members are read for the usage of one",
        "billing_core/engine/billing.py",
        "names = {only: member}",
        "names = self.store.members(org)",
        (
            "tests/unit/reports/test_rules_8_usage.py::test_8_2_who_reads_their_own_usage_does_not_have_all_members_read",
        ),
    ),
    (
        "whose charge it is is looked for among all members",
        "billing_core/engine/billing.py",
        "member = member_names(self.store, org, [entry.usage.member])",
        "member = self.store.members(org)",
        (
            "tests/unit/charging/test_plans.py::test_who_looks_at_a_charge_a_run_or_an_event_reads_no_other_member_s_name",
        ),
    ),
    (
        "whose run it is is looked for among all members",
        "billing_core/engine/billing.py",
        "names = member_names(self.store, org, [run.member for run in found])",
        "names = self.store.members(org)",
        (
            "tests/unit/charging/test_plans.py::test_who_looks_at_a_charge_a_run_or_an_event_reads_no_other_member_s_name",
        ),
    ),
    (
        "the names of some members are those of all",
        "adapters/billing_adapters/sqlite/queries.py",
        'some = "" if numbers is None else " AND member IN (SELECT value FROM json_each(?))"',
        'some = "" if numbers is None else " AND ? IS NOT NULL"',
        (
            "tests/unit/charging/test_plans.py::test_who_looks_at_a_charge_a_run_or_an_event_reads_no_other_member_s_name",
        ),
    ),
    (
        "a page of members begins with the last one of the page before",
        HTTP + "public.py",
        "ids[bisect_right(ids, after) :]",
        "ids[bisect_right(ids, after) - 1 :]",
        (
            "tests/http/test_http_contract.py::test_an_admin_reads_members_page_by_page_and_nobody_is_missed_or_told_twice",
        ),
    ),
    (
        "the last page of members is not told of",
        HTTP + "public.py",
        "more = asked.all and len(page) < len(left)",
        "more = asked.all and len(page) < len(left) - 1",
        (
            "tests/http/test_http_contract.py::test_an_admin_reads_members_page_by_page_and_nobody_is_missed_or_told_twice",
        ),
    ),
    (
        "five calls at once are one",
        "billing_core/reports/usage.py",
        '    calls, _ = row.components.get("call", (row.requests, 0))',
        "    calls = row.requests",
        ("tests/unit/charging/test_undo_usage.py::test_requests_and_quantities_leave_the_reports",),
    ),
    (
        "each page of prices is the first",
        HTTP + "prices.py",
        "            if (name, component) <= after:\n                continue\n",
        "",
        ("tests/http/test_http_contract.py::test_a_member_reads_what_the_org_pays_page_by_page",),
    ),
    (
        "what was refused is allowed once credit has come",
        HTTP + "internal.py",
        "    refusal = refusal or found.refusal ",
        "    refusal = found.refusal ",
        (
            "tests/http/test_http_check.py::test_what_was_refused_stays_refused_though_credit_came_in_meanwhile",
        ),
    ),
    (
        "the host's mode is the customer's fault",
        HTTP + "problems.py",
        'case InvalidCommand() if error.field != "livemode":',
        "case InvalidCommand():",
        (PAYING + "a_provider_of_the_other_mode_is_the_hosts_fault",),
    ),
    (
        "a price is shown without its discount",
        "billing_core/pricing/functions.py",
        "each._replace(nanos=each.nanos * Fraction(*ratio))",
        "each",
        ("tests/unit/pricing/test_price_functions.py::test_a_price_is_stated_less_its_discount",),
    ),
]
