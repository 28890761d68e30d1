"""What requests cost: none of an allowed size costs more than so many times a good one of it.

Cost is counted, not timed: calls of Python and of C, and bytes that are copied (`counted.py`).
What no call shows, such as how often a regular expression goes back, is counted by a matcher of
our own (`steps.py`).

`BILLING_TEST_DEPTH=20` looks at bodies of the largest size, and at twenty times as many.
"""

import ast
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from call_counts import Copied, Counted
from http_world import MEMBER, ROOT, SERVICE, dumped, in_process
from hypothesis import given, settings
from hypothesis import strategies as st
from regex_steps import Steps

import billing_adapters
import billing_core
from billing_adapters.credentials import without_passwords
from billing_adapters.http import ROUTES
from billing_adapters.http.messages import MAX_BODY
from billing_adapters.http.shapes import properties, schema
from billing_adapters.webhooks import verified
from billing_core import Money, PaymentError

DEPTH = settings.default.max_examples // 50
SIZE = min(MAX_BODY, 50_000 * DEPTH) - 1_000
MOST = 20  # times a good request of the size


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with in_process("plain", tmp_path_factory.mktemp("cost") / "billing.db") as found:
        yield found


def settlements(size):
    """A good body of about so many bytes: a batch of settlements of a model."""
    call = {"model": "small", "inputTokens": 10, "outputTokens": 3}
    names = "x" * min(150, size // 3_000)
    items = [
        {"orgId": "acme", "key": f"{size}-{number}", "modelCall": call, "referenceId": f"r{names}"}
        for number in range(1_000)
    ]
    one = len(dumped(items[0])) + 2
    return dumped({"settlements": items[: max(1, size // one)]})


@pytest.fixture(scope="module")
def bound(client):
    """The most calls that a request may take."""
    body = settlements(SIZE)
    with Counted() as good:
        assert client.post("/v1/internal/settlements", body).data
    return MOST * good.calls


def check(client, bound, method, path, key=SERVICE, **said):
    """A request is answered, and costs no more than it may."""
    with Counted() as found:
        answer = client(method, path, key, **said)
    assert answer.status < 500 or answer.status == 501, answer.body[:200]
    what = f"{method} {path} {str(said)[:100]}"
    assert found.calls <= bound, f"{what}: {found.calls:,} calls, at most {bound:,}"


# -- every place of every body --------------------------------------------------


def sample(kind, shapes):
    """A value of a JSON Schema."""
    if "$ref" in kind:
        kind = shapes[kind["$ref"].rpartition("/")[2]]
    if "anyOf" in kind:
        kind = next(each for each in kind["anyOf"] if each != {"type": "null"})
        return sample(kind, shapes)
    if "enum" in kind:
        return kind["enum"][0]
    match kind["type"]:
        case "object" if "properties" in kind:
            return {name: sample(each, shapes) for name, each in kind["properties"].items()}
        case "object":
            return {"a": sample(kind["additionalProperties"], shapes)}
        case "array":
            return [sample(kind["items"], shapes)]
        case "integer":
            return max(1, kind.get("minimum", 1))
        case "boolean":
            return False
        case "string":
            return "2026-01-31T12:00:00Z" if kind.get("format") == "date-time" else "acme"


def places(value, path=()):
    """Where something stands in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    for name, each in enumerate(value) if isinstance(value, list) else inner:
        yield from places(each, (*path, name))


def put(value, path, grown):
    """A JSON text in which something else stands at a place."""
    mark = "\0here\0"
    value = json.loads(json.dumps(value))
    if not path:
        return grown
    place = value
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = mark
    return json.dumps(value).replace(json.dumps(mark), grown).encode()


def grown(value):
    """A place that has grown to about SIZE."""

    def times(text):
        return text * (SIZE // len(text))

    many = ",".join(f'"c{number}":1' for number in range(SIZE // 12))
    one = json.dumps(value)
    return {
        "text": f'"{times("a")}"',
        "quotes": f'"{times(chr(92) + chr(34))}',
        "surrogates": f'"{times(chr(92) + "ud800")}"',
        "digits": times("1"),
        "a name twice": f'{{{many},"c{SIZE // 12 - 1}":1}}',
        "names": f"{{{many}}}",
        "again": f"[{times(one + ',')}{one}]",
        "arrays": f"[{times('[],')}[]]",
        "deep": times("["),
        "deep objects": times('{"a":'),
        "blank": times(" "),
    }


WRITES = [route for route in ROUTES if route.method != "GET" and route.who != "provider"]


@pytest.mark.parametrize("route", WRITES, ids=lambda route: route.name)
def test_no_place_of_a_body_costs_much_where_it_grows(client, bound, route):
    shapes = {}
    good = sample(schema(route.asked, shapes, asked=True), shapes)
    key = SERVICE if route.internal else "key-bo"
    for path in places(good):
        value = good
        for name in path:
            value = value[name]
        for text in grown(value).values():
            body = put(good, path, text)
            body = body if isinstance(body, bytes) else body.encode()
            if len(body) <= MAX_BODY:
                headers = {"Content-Type": "application/json"}
                check(client, bound, route.method, route.path, key, body=body, idem="cost",
                      headers=headers)  # fmt: skip


READS = [route for route in ROUTES if route.method == "GET"]


@pytest.mark.parametrize("route", READS, ids=lambda route: route.name)
def test_no_place_of_a_query_costs_much_where_it_grows(client, bound, route):
    key = SERVICE if route.internal else MEMBER
    names = properties(route.asked, {}, asked=True)
    for unit in ("a", "1", "%22", "%", "&", "a=1&", "=", ";", "%ff", "+", "é", "\\"):
        text = unit * (SIZE // len(unit))
        for name in ("", *(f"{each}=" for each in names)):
            check(client, bound, "GET", route.path, key, query=name + text)
        check(client, bound, "GET", f"{route.path}/{text}", key)
        check(client, bound, "GET", f"/{text}", key)


HEADERS = ("X-API-Key", "Authorization", "Idempotency-Key", "Content-Type", "Content-Encoding",
           "Stripe-Signature", "X-Other")  # fmt: skip


@pytest.mark.parametrize("unit", ["a", " ", ",", "t=1,", "v1=00,", ";", '"', "é", "1", "Bearer "])
def test_no_header_costs_much_where_it_grows(client, bound, unit):
    text = unit * (SIZE // len(unit))
    for name in HEADERS:
        for path in ("/v1/internal/credits/deduct", "/v1/webhooks/stripe"):
            check(client, bound, "POST", path, body=b"{}", headers={name: text})


class Repeated:
    """Headers of which one comes again and again."""

    def __init__(self, pairs):
        self.pairs = pairs

    def items(self):
        return self.pairs


def test_a_header_that_comes_again_and_again_costs_little():
    from billing_adapters.http import Request

    def made(times):
        with Copied() as found:
            Request("GET", "/", headers=Repeated([("X-Other", "a" * 9)] * times))
        return found

    made(100)
    once, twice = made(1_000), made(2_000)
    assert twice.calls <= 2.1 * once.calls
    assert twice.bytes <= 2.5 * once.bytes, (once.bytes, twice.bytes)
    again = Request("GET", "/", headers=Repeated([("A", "1"), ("a", "2"), ("B", "3")]))
    assert again.headers == {"a": "1, 2", "b": "3"}


# -- time told late -------------------------------------------------------------


def test_time_told_as_late_as_may_be_costs_little(client):
    """Under limits by day of the org, of a member and of a project, each of which is looked at."""
    for key, whose in (("o", {}), ("m", {"every": "member"}), ("p", {"every": "project"})):
        client.site.api.billing.set_limit("acme", key, Money(10**14, "USD"), per="day", **whose)
    spec = {"sandbox": "small", "rates": {"vcpu": 1}}

    def costs(days):
        then = {"occurredAt": (datetime.now(UTC) - timedelta(days=days)).isoformat()}
        run = {"orgId": "acme", "runId": f"run-{days}"}
        whose = {"memberId": "ana", "projectId": "site", "spec": spec}
        workspace = {"orgId": "acme", "workspaceId": f"space-{days}"}
        told = [
            ("runs/start", run | whose | then),
            ("runs/heartbeat", run),
            ("runs/suspend", run | then | {"until": datetime.now(UTC).isoformat()}),
            ("runs/stop", run | then),
            ("storage/size", workspace | {"bytes": "1000"} | then),
            ("storage/bill", workspace),
            ("storage/size", workspace | {"bytes": "2000"} | then),
        ]
        found = []
        for path, body in told:
            with Counted() as calls:
                answer = client.post(f"/v1/internal/{path}", body)
            assert answer.status == 200, answer.body
            found.append((path, calls.calls))
        return found

    for (path, now), (_, late) in zip(costs(0.001), costs(89.999), strict=True):
        assert late <= MOST * now, f"{path}: {late:,} calls, {now:,} of now"


# -- bodies of any kind ---------------------------------------------------------

SYNTAX = ['"', '\\"', "\\", "{", "}", "[", "]", ":", ",", '{"a":', '"a":1,', "[],", "{},", "1", "-",
          "1e", ".", "\\u12", " ", "\n", "é", "\ud800", "null", "//", "\0"]  # fmt: skip


@given(st.data())
def test_a_good_body_of_which_any_part_is_repeated_costs_little(client, bound, data):
    route = data.draw(st.sampled_from(WRITES))
    shapes = {}
    good = json.dumps(sample(schema(route.asked, shapes, asked=True), shapes))
    begin = data.draw(st.integers(0, len(good) - 1))
    end = data.draw(st.integers(begin + 1, len(good)))
    unit = data.draw(st.one_of(st.just(good[begin:end]),
                               st.lists(st.sampled_from(SYNTAX), min_size=1, max_size=4)
                               .map("".join)))  # fmt: skip
    text = good[:begin] + unit * (SIZE // len(unit.encode(errors="replace"))) + good[end:]
    body = text.encode("utf-8", "surrogatepass")[:SIZE]
    headers = {"Content-Type": "application/json"}
    key = SERVICE if route.internal else "key-bo"
    check(client, bound, route.method, route.path, key, body=body, idem="cost", headers=headers)


@pytest.mark.parametrize("unit", ["t=1,", "v1=00,", "t=1,v1=00,", ",", "=", " ", "é"])
def test_a_signature_costs_little_whatever_it_is(unit):
    """What is behind the longest header that there may be is not looked at."""

    def looked_at(times):
        given = unit * times
        with pytest.raises(PaymentError), Copied() as found:
            verified(b"{}", given, secrets=["whsec_a", "whsec_b"], now=0)
        return found

    looked_at(1)
    longest, longer = looked_at(5_000 // len(unit)), looked_at(SIZE // len(unit))
    assert longer.calls <= longest.calls + 10
    assert longer.bytes <= longest.bytes + 10_000
    assert longest.calls < 30_000


# -- every regular expression ---------------------------------------------------


def every_expression():
    """Each that stands in the source, and where."""
    for package in (billing_core, billing_adapters):
        top = Path(package.__file__).parent
        for file in sorted(top.rglob("*.py")):
            if "testing" in file.parts:
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    yield from (
                        (f"{file.relative_to(top.parent)}:{node.lineno}", text)
                        for text in found_in(node)
                    )


def found_in(call):
    name = call.func
    of_re = isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name)
    if of_re and name.value.id == "re" and name.attr != "escape":
        given = call.args[:1]
    else:
        given = [each.value for each in call.keywords if each.arg == "pattern"]
    for each in given:
        last = each.right if isinstance(each, ast.BinOp) else each  # behind a name
        if isinstance(last, ast.Constant) and isinstance(last.value, (str, bytes)):
            text = last.value
            yield text.decode() if isinstance(text, bytes) else text


EXPRESSIONS = sorted({text: where for where, text in every_expression()}.items())


LONG = 200


def test_the_expressions_are_found():
    assert len(EXPRESSIONS) >= 12
    assert any(where.startswith("billing_core/values/money.py") for _, where in EXPRESSIONS)


def test_the_page_of_costs_names_every_expression_and_no_other():
    """By its file, with its worst input and its cost."""
    page = (ROOT / "docs" / "internals" / "outside-input.md").read_text()
    told = [
        (file, text.replace("\\|", "|"), worst, cost)
        for file, text, worst, cost in re.findall(
            r"^\| `([\w/]+\.py)` \| `(.+)` \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE
        )
    ]
    here = {(where.rpartition(":")[0], text) for where, text in every_expression()}
    assert {(file, text) for file, text, _, _ in told} == here
    assert len(told) == len(here)


@pytest.mark.parametrize("text", [text for text, _ in EXPRESSIONS], ids=repr)
def test_no_expression_goes_back_again_and_again(text):
    """What it matches, any part of it repeated, and then something that it does not match: twice
    as much of it is twice the work."""
    pattern = re.compile(text, re.ASCII)

    def looked_at(given):
        here, whole = Steps(text, given), Steps(text, given)
        assert here.found() == [each.span() for each in pattern.finditer(given)]
        assert whole.whole() == (pattern.fullmatch(given) is not None)
        return here.count, whole.count

    @settings(max_examples=60 * DEPTH)
    @given(st.data())
    def look(data):
        # The end may be followed by a line break; else what it matches is at an end.
        good = data.draw(st.from_regex(pattern, fullmatch=True).filter(lambda got: len(got) > 0))
        begin = data.draw(st.integers(0, len(good) - 1))
        end = data.draw(st.integers(begin + 1, min(len(good), begin + 16)))
        unit, tail = good[begin:end], data.draw(st.sampled_from(["", "\0", "\n", '"', "1", "é"]))
        times = LONG // len(unit)
        once, twice = (
            looked_at(good[:begin] + unit * many + good[end:] + tail) for many in (times, 2 * times)
        )
        for less, more in zip(once, twice, strict=True):
            assert more <= 2.5 * less + 200, (where(text), good, unit, tail, less, more)

    look()


def where(text):
    return dict(EXPRESSIONS)[text]


@pytest.mark.parametrize("text", ["1" * 39 + "x", "." * 40, "1e" + "9" * 38, "+" * 40, "1" * 10**6])
def test_an_amount_costs_little_whatever_it_is(text):
    def looked_at():
        with pytest.raises(Exception, match="amount"):
            Money.of(text, "USD")

    with Counted() as found:
        looked_at()
    assert found.calls < 1_000


def test_a_message_of_many_users_and_no_password_costs_little():
    with Counted() as found:
        assert without_passwords("a://b:" * 1_000) == "a://b:" * 1_000
    assert found.calls < 20_000
    assert without_passwords("a://b:c:d@e://f:g@h i://j:k@l") == "a://b:…@h i://j:…@l"
