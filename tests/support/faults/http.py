"""Faults of the HTTP routes; `planted_faults.py` plants them."""

from __future__ import annotations

Planted = tuple[str, str, str, str, tuple[str, ...]]

HTTP = "adapters/billing_adapters/http/"
ACCESS = "tests/http/test_http_access.py"
CONTRACT = "tests/http/test_http_contract.py"
PAYING = "tests/http/test_http_payments.py"

PAGE = "tests/http/test_http_page.py"
EXAMPLES = "tests/docs/test_examples.py::test_"
URLS = "tests/payments/test_payment_values.py::test_"

IN_HTTP: list[Planted] = [
    (
        "a member may what an admin may",
        HTTP + "access.py",
        '"admin": frozenset(("admin",)),',
        '"admin": frozenset(("admin", "member")),',
        (ACCESS + "::test_own_org",),
    ),
    (
        "another org is reached",
        HTTP + "access.py",
        "if caller.org is not None and named != caller.org:",
        "if False:",
        (ACCESS + "::test_another_org_is_refused_alike_whether_or_not_there_is_one",),
    ),
    (
        "the org that the body names is not looked at",
        HTTP + "api.py",
        "org = check_org(caller, query, body)",
        "org = check_org(caller, query)",
        (ACCESS + "::test_own_org",),
    ),
    (
        "a member learns of internal routes",
        HTTP + "api.py",
        'if named is None or (route.internal and not caller.may("service")):',
        "if named is None:",
        (ACCESS + "::test_own_org",),
    ),
    (
        "two keys that differ are one of them",
        HTTP + "access.py",
        "if len(found) != 1:",
        "if not found:",
        (ACCESS + "::test_nobody",),
    ),
    (
        "a name may come twice",
        HTTP + "parsing.py",
        "if len(fields) < len(pairs):",
        "if False:",
        (ACCESS + "::test_an_org_smuggled_into_a_query",),
    ),
    (
        "a body may be as deep as it likes",
        HTTP + "parsing.py",
        "            return\n    raise _too_deep()",
        "            return",
        (ACCESS + "::test_a_body_that_is_none",),
    ),
    (
        "callers share their idempotency keys",
        HTTP + "access.py",
        "{sha256(caller.id.encode()).hexdigest()[:32]}",
        "all",
        (ACCESS + "::test_keys_of_two_callers_or_routes_never_meet",),
    ),
    (
        "what a service says twice without a key is two things",
        HTTP + "routes.py",
        "return None if self.given_key is None else self.key_of(self.given_key)",
        "return self.key_or_new",
        (CONTRACT + "::test_without_a_key_what_is_said_twice_is_one_thing",),
    ),
    (
        "a webhook that cannot be followed yet is taken for heard",
        "adapters/billing_adapters/http/topups.py",
        'raise Problem(503, "webhook_failed", message, headers={"Retry-After": "60"}) from error',
        'return Heeded("", "")',
        (PAYING + "::test_an_order_that_is_not_on_record_is_delivered_again",),
    ),
    (
        "what cannot be verified is to be delivered again",
        HTTP + "problems.py",
        'if error.kind in ("bad_signature", "bad_webhook", "wrong_mode"):',
        "if False:",
        (PAYING + "::test_what_cannot_be_verified_changes_nothing",),
    ),
    (
        "a member sees another's charge",
        HTTP + "public.py",
        'if found.member != call.caller.member and not call.caller.may("admin"):',
        "if False:",
        (CONTRACT + "::test_a_charge_explains_itself_to_whose_it_is",),
    ),
    (
        "a member sees everybody's usage",
        HTTP + "public.py",
        'if not call.caller.may("admin"):',
        "if False:",
        (CONTRACT + "::test_an_admin_sees_everyone_s_usage",),
    ),
    (
        "money is shown that is not there",
        HTTP + "shapes.py",
        'found[f"{name}Cents"] = floor_minor(money.nanos, money.currency)',
        'found[f"{name}Cents"] = -floor_minor(-money.nanos, money.currency)',
        (CONTRACT + "::test_plan_and_credits",),
    ),
    (
        "a list says that there is more where there is none",
        HTTP + "api.py",
        '"hasMore": answer.cursor is not None',
        '"hasMore": True',
        (CONTRACT + "::test_history_ends_with_no_cursor",),
    ),
    (
        "a customer may be sent to what is no URL",
        "billing_core/ports/payments.py",
        "        parts = urlsplit(url)\n",
        "        return\n        parts = urlsplit(url)\n",
        (URLS + "where_customers_are_sent_is_a_plain_url",),
    ),
    (
        "an example reads whatever it is sent",
        "examples/host.py",
        "        max_request_body_size=2 * MAX_BODY,",
        "        max_request_body_size=2**30,",
        (EXAMPLES + "a_large_webhook_without_a_key_is_not_read_to_its_end",),
    ),
    (
        "a hundred silent connections keep everybody out",
        "examples/host.py",
        "        connection_limit=500,",
        "        connection_limit=100,",
        (EXAMPLES + "connections_that_say_nothing_keep_nobody_out",),
    ),
    (
        "who goes away in the middle of an upload leaves a traceback",
        "examples/fastapi_app.py",
        "        except ClientDisconnect:\n",
        "        except KeyError:\n",
        (EXAMPLES + "an_upload_that_is_broken_off_is_no_traceback",),
    ),
    (
        "a key in the address is written to the log",
        "examples/fastapi_app.py",
        ", access_log=False)",
        ")",
        (EXAMPLES + "a_key_in_the_address_is_not_written_to_the_log",),
    ),
    (
        "a key in the gateway's address is written to the log",
        "examples/model_gateway.py",
        ", access_log=False)",
        ")",
        (EXAMPLES + "a_key_in_the_gateway_s_address_is_not_written_to_the_log",),
    ),
    (
        "a key may have characters around it that no header leaves out",
        HTTP + "access.py",
        '_BLANK = " \\t"',
        "_BLANK = None",
        (ACCESS + "::test_a_key_with_a_character_too_many_is_no_key",),
    ),
    (
        "the page says of a key that it cannot send that the server is away",
        HTTP + "page/client.js",
        "if (!/^[ -~]*$/.test(key))",
        "if (false)",
        (PAGE + "::test_a_key_that_no_browser_sends_is_said_to_be_none",),
    ),
    (
        "the page reads its history beside the top-ups",
        HTTP + "page/page.js",
        "showPaying(admin).finally(changed)",
        "showPaying(admin), changed()",
        (PAGE + "::test_a_top_up_that_ends_while_the_page_opens_is_shown",),
    ),
]
