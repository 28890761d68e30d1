"""The billing page in a real browser: as member and as admin, on a desk and on a phone."""

import json
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from threading import Thread

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import find
from http_world import ADMIN, MEMBER, SERVICE, served
from playwright.sync_api import expect, sync_playwright
from werkzeug.serving import make_server
from world import World

from billing_adapters.fake_payments import FakePayments
from billing_adapters.http import Api, Caller
from billing_core import (
    Billing,
    Fact,
    FactIs,
    Flat,
    Hours,
    Multiplier,
    Price,
    SizeAbove,
    Usage,
    Variant,
)
from billing_core.testing import MemoryStore

pytestmark = pytest.mark.slow

DESK, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 740}
# What is wider than what it is in, cut off, or beyond the window.
MISPLACED = """() => [...document.querySelectorAll("body *")].filter((each) => {
  const box = each.getBoundingClientRect(), style = getComputedStyle(each);
  if (!box.width || !box.height || each.closest(".hidden, .skip, thead, svg")) return false;
  return box.right > innerWidth + 0.5 || box.left < -0.5 ||
    (style.display !== "inline" && each.scrollWidth > each.clientWidth + 1 &&
      !["INPUT", "SELECT"].includes(each.tagName));
}).map((each) => each.outerHTML.slice(0, 120))"""
# Texts that lie on one another.
OVERLAPPING = """() => {
  const top = document.querySelector("dialog[open]") ?? document.querySelector("main");
  const texts = [...top.querySelectorAll("td > span, th > span, dt, dd, button, h2, h3, label")]
    .filter((each) => each.checkVisibility() && !each.closest(".hidden, thead"))
    .map((each) => [each, each.getBoundingClientRect()]);
  const found = [];
  texts.forEach(([one, a], index) => texts.slice(index + 1).forEach(([other, b]) => {
    if (one.contains(other) || other.contains(one)) return;
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 1 && down > 1) found.push(one.textContent + " / " + other.textContent);
  }));
  return found;
}"""


SPEC = {"sandbox": "small", "rates": {"vcpu": 2}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served("flask_app.py", tmp_path_factory.mktemp("page") / "billing.db") as client:
        run = {"orgId": "acme", "runId": "r"}
        began = datetime.now(UTC) - timedelta(minutes=77)
        for what, more in (
            ("start", {"spec": SPEC, "memberId": "cy", "occurredAt": began.isoformat()}),
            ("stop", {"settle": False}),
        ):
            assert client.post(f"/v1/internal/runs/{what}", run | more).status == 200
        client.settle("ana", idem="charged")
        yield client


@pytest.fixture(scope="module")
def browser():
    how = find()
    assert how is not None, "no Chromium: run .venv/bin/python tests/support/browser.py"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**how)
        yield browser
        browser.close()


@pytest.fixture(params=[(DESK, "light"), (PHONE, "dark")], ids=["desk", "phone"])
def page(request, server, browser):
    size, scheme = request.param
    context = browser.new_context(viewport=size, color_scheme=scheme, locale="en-GB")
    page = context.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # That a request failed is in the console; what else is there is wrong.
    page.on("console", lambda m: wrong.append(m.text) if "Failed to load" not in m.text else None)
    page.goto(f"http://127.0.0.1:{server.send.port}/billing")
    yield page
    context.close()
    assert wrong == []


def enter(page, key):
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def opened(page, name):
    enter(page, f"key-{name}")
    expect(page.locator("#rows table")).to_be_visible()
    expect(page.locator("#models table, #models p")).to_be_visible()


def check_layout(page):
    assert page.evaluate(MISPLACED) == []
    assert page.evaluate(OVERLAPPING) == []
    found = Axe().run(page)
    assert found.violations_count == 0, json.dumps(found.response["violations"])[:2_000]


def test_signing_in_and_out(page) -> None:
    check_layout(page)
    enter(page, "key-nobody")
    expect(page.get_by_role("alert")).to_contain_text("Send a valid key")
    check_layout(page)
    opened(page, "ana")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#who")).to_have_text("Organisation acme")
    page.reload()
    expect(page.locator("#rows table")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_focused()
    assert "USD" not in page.locator("body").inner_text()
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0


def test_a_key_that_no_browser_sends_is_said_to_be_none(page) -> None:
    for key in ("key-ana\u2026", "key\u2011ana", "\u0142"):
        enter(page, key)
        expect(page.get_by_role("alert")).to_contain_text("No API key has such characters")
        expect(page.get_by_label("API key")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0
    opened(page, "ana")


def test_a_member_sees_their_own(page) -> None:
    opened(page, "ana")
    expect(page.get_by_label("Everyone")).to_be_hidden()
    expect(page.locator("#total")).to_contain_text("used by you (ana)")
    expect(page.locator("#byMember")).to_be_hidden()
    expect(page.locator("#models tbody th")).to_have_text(["small"])
    check_layout(page)


def test_an_admin_sees_everyone_s(page) -> None:
    opened(page, "bo")
    expect(page.locator("#total")).to_contain_text("used by everyone")
    expect(page.locator("#members tbody th")).to_have_text(["No member", "ana", "bo", "cy"])
    states = ["Settled", "Pendingestimate", "Activeestimate", "Forgivennot charged"]
    expect(page.locator("#runtime tbody th")).to_have_text(states)
    expect(page.locator("#runtime tbody tr").nth(1)).to_contain_text("1 h 17 min")
    expect(page.locator("#storage tbody tr")).to_contain_text("docs")
    assert page.locator("#chart rect").count() > 40
    check_layout(page)
    page.get_by_text("The same as a table").click()
    assert page.locator("#chart tbody tr").count() == 21
    check_layout(page)
    page.get_by_label("Everyone").uncheck()
    expect(page.locator("#total")).to_contain_text("used by you (bo)")
    expect(page.locator("#byMember")).to_be_hidden()
    page.get_by_label("Period", exact=True).select_option("7d")
    expect(page.locator("#chart tbody tr")).to_have_count(8)


def test_history_in_pages_and_a_charge_s_explanation(page, server) -> None:
    opened(page, "bo")
    rows = page.locator("#rows tbody tr")
    expect(rows).to_have_count(20)
    rows.first.get_by_role("button", name="Explain").click()
    story = page.get_by_role("dialog")
    expect(story).to_contain_text("How it adds up")
    expect(story).to_contain_text("model:small")
    expect(story).to_contain_text("Paid from")
    check_layout(page)
    page.keyboard.press("Escape")
    expect(story).to_be_hidden()
    more = page.get_by_role("button", name="Show older")
    count = 20
    while more.is_visible():
        more.click()
        expect(rows).not_to_have_count(count)
        count = rows.count()
    expect(rows.last).to_contain_text("Credit granted")
    assert page.evaluate(MISPLACED) == []


def test_a_member_is_told_whose_charge_it_is_not(page) -> None:
    opened(page, "ana")
    page.locator("#rows tr", has_text="model:large").first.get_by_role("button").click()
    expect(page.get_by_role("dialog")).to_contain_text("not yours")
    check_layout(page)
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_what_is_held_and_charged_shows(page, server) -> None:
    opened(page, "gus")
    balance = page.locator("#cards dd").first
    before = balance.inner_text()
    cost = {"cost": {"amount": "0.123456789", "currency": "USD"}, "resource": "x"}
    body = {"orgId": "globex"} | cost
    held = server.post("/v1/internal/credits/check", body | {"hold": {"lifeSeconds": 60}}).data
    page.reload()
    expect(page.locator("#cards")).to_contain_text("0.123456789 USD")
    check_layout(page)
    release = {"orgId": "globex", "holdId": held["hold"]["id"]}
    server.post("/v1/internal/credits/release", release)
    server.post("/v1/internal/credits/deduct", body)
    page.reload()
    expect(balance).not_to_have_text(before)


def test_what_others_named_is_text(page, server) -> None:
    """Names of resources and members come from outside, and are as long as they like."""
    nasty = "<img src=x onerror=document.title='broken'>" + "w" * 100
    usage = {"resource": nasty, "quantities": {"<b>y</b>": 10**15}}
    settle = {"settlements": [{"orgId": "globex", "key": "n", "memberId": nasty, "usage": usage}]}
    assert server("POST", "/v1/internal/settlements", SERVICE, body=settle).status == 200
    cost = {"cost": {"amount": "0.01", "currency": "USD"}, "resource": nasty}
    body = {"orgId": "globex", "memberId": nasty} | cost
    assert server.post("/v1/internal/credits/deduct", body, idem="nasty").status == 200
    body = {"orgId": "globex", "workspaceId": nasty, "bytes": "9" * 18}
    assert server.post("/v1/internal/storage/size", body).status == 200
    assert server.post("/v1/internal/storage/bill", {"orgId": "globex"}).status == 200
    opened(page, "gus")
    expect(page.locator("#rows tbody tr").first).to_contain_text("<img src=x")
    expect(page.locator("#members")).to_contain_text("<img src=x")
    expect(page.locator("#storage")).to_contain_text("<img src=x")
    page.get_by_role("button", name="Explain").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("<img src=x")
    check_layout(page)
    assert page.title() == "Billing" and page.locator("main img").count() == 0


def test_what_is_named_alike_is_drawn_together(page) -> None:
    """A resource may be called as a model is, or as what the chart calls runs and storage."""
    day = {
        "day": "2026-03-01",
        "modelUsage": [{"model": "large", "amount": "1"}, {"model": "large", "amount": "2"}],
        "resourceCharges": [
            {"resource": name, "amount": amount}
            for name, amount in (("large", "4"), ("sandboxes", "8"), ("storage", "16"))
        ],
        "sandboxRuntime": {"settled": {"amount": "32"}},
        "storageUsage": [{"amount": "64"}, {"amount": "128"}],
        "total": "255.00",
    }
    drawn = page.evaluate(
        """async (day) => {
          const { series } = await import("/billing/chart.js"), at = new Date(day.day);
          return Object.fromEntries(series([day], at, at)[0].parts);
        }""",
        day,
    )
    assert drawn == {"large": 7, "sandboxes": 40, "storage": 208}


def test_prices_that_depend_on_the_request(browser) -> None:
    """Page by page, each with what stands in its place or multiplies it, and when."""
    from flask_app import make_app
    from host import Site

    world = World(priced=False)
    tier = Fact("service_tier", ("standard", "batch"), default="standard")
    batch, long = FactIs("service_tier", "batch"), SizeAbove(272_000, ["input", "cached_read"])
    varying = Price(
        Flat.of("2.5", 10**6),
        variants=[Variant(Flat.of("1.25", 10**6), (batch, long))],
        multipliers=[Multiplier("1.1", Hours(time(16, 30), time(0, 30), ["mon"]))],
        facts=[tier],
    )
    plain = {f"tool:t{number:02}": {"call": Price(Flat(1), "call")} for number in range(60)}
    world.publish({"model:large": {"input": varying}, **plain})
    world.grant(10**12)
    usage = Usage.of("model:large", {"input": 300_000}, facts={"service_tier": "batch"})
    made = world.settle(usage, member="bo")
    api = Api(world.billing, {ADMIN: Caller("bo", "admin", org="acme", member="bo")}.get)
    server = make_server("127.0.0.1", 0, make_app(Site(api)), threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page(viewport=PHONE)
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/billing")
        enter(page, ADMIN)
        page.get_by_role("button", name="Show prices").click()
        shown, more = page.locator("#priced"), page.locator("#morePrices")
        expect(shown.locator("tbody tr")).to_have_count(50)
        first = shown.locator("tbody tr").first
        expect(first).to_contain_text("model:large")
        expect(first.locator("td").last).to_contain_text("2.50 USD per 1,000,000 tokens")
        assert first.locator(".sum").all_inner_texts() == [
            "1.25 USD per 1,000,000 tokens where service_tier is batch and"
            " input + cached_read above 272,000",
            "times 1.1 where from 16:30 to 00:30 UTC on mon",
        ]
        check_layout(page)
        more.click()
        expect(shown.locator("tbody tr")).to_have_count(61)
        expect(more).to_be_hidden()
        page.get_by_label(f"Explain charge {made.seq}").click()
        told = page.locator("#told")
        expect(told).to_contain_text("service_tier is batch and input + cached_read above 272,000")
        check_layout(page)
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Sign out").click()
        expect(shown).to_be_empty()
    finally:
        page.close()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("currency", "least", "typed", "cents"),
    [
        ("JPY", "500.00", "501", 501),
        ("KWD", "5.00", "6.23", 6_230),
        ("ISK", "500.00", "1200.00", 120_000),
    ],
)
def test_amounts_in_the_org_s_currency(browser, currency, least, typed, cents) -> None:
    """What is typed is exactly what is ordered, however many decimals there are."""
    from flask_app import make_app
    from host import Site

    billing = Billing(MemoryStore(), payments=FakePayments())
    billing.open_account("acme", currency=currency, livemode=False)
    api = Api(billing, {ADMIN: Caller("bo", "admin", org="acme", member="bo")}.get)
    server = make_server("127.0.0.1", 0, make_app(Site(api)), threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/billing")
        enter(page, ADMIN)
        expect(page.locator("#least")).to_contain_text(f"From {least} {currency}")
        page.get_by_label(f"Amount in {currency}").fill("1.2345")
        page.get_by_text("Continue to payment").click()
        expect(page.locator("#buyProblem")).to_contain_text("Enter an amount, such as 20")
        page.get_by_label(f"Amount in {currency}").fill(typed)
        with page.expect_response("**/v1/billing/topup") as answered:
            page.get_by_text("Continue to payment").click()
        assert answered.value.status == 200
        assert [topup.amount for topup in billing.store.topups("acme")] == [cents]
    finally:
        page.close()
        server.shutdown()
        server.server_close()


# -- paying ---------------------------------------------------------------------


def who_pays(page):
    """The admin and a member of an org that only this size of window has to do with."""
    return ("gus", "eve") if page.viewport_size == DESK else ("bo", "ana")


def amount(text):
    return Decimal(text.removesuffix(" USD"))


def test_buying_credit(page) -> None:
    admin, _ = who_pays(page)
    opened(page, admin)
    field, go = page.get_by_label("Amount in USD"), page.get_by_text("Continue to payment")
    expect(page.locator("#least")).to_have_text("From 5.00 USD to 10000.00 USD.")
    for typed, said in (
        ("", "Enter an amount, such as 20.00 USD."),
        ("12.345", "Enter an amount"),
        ("1e3", "Enter an amount"),
        ("4.99", "At least 5.00 USD."),
        ("10000.01", "At most 10000.00 USD."),
    ):
        field.fill(typed)
        go.click()
        expect(page.locator("#buyProblem")).to_contain_text(said)
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
    check_layout(page)
    balance = page.locator("#cards dd").first
    before = amount(balance.inner_text())
    field.fill("12,50")
    page.route("**/v1/billing/topup", lambda route: route.abort())
    go.click()
    expect(page.locator("#buyProblem")).to_contain_text("cannot be reached")
    page.unroute("**/v1/billing/topup")
    go.click()
    expect(page.get_by_role("heading", name="Checkout")).to_be_visible()
    expect(page.locator("dl")).to_contain_text("12.50 USD")
    check_layout(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#rows table")).to_be_visible()
    expect(page.locator("#notice")).to_be_hidden()
    page.get_by_label("Amount in USD").fill("12.5")
    page.get_by_text("Continue to payment").click()
    page.get_by_role("button", name="Pay 12.50 USD").click()
    expect(page.locator("#notice")).to_have_text("12.50 USD were added to your credit.")
    expect(page.locator("#rows tbody tr").first).to_contain_text("Credit bought")
    assert amount(balance.inner_text()) == before + Decimal("12.50")
    assert page.url.endswith("/billing")
    check_layout(page)
    page.goto(f"{page.url}?session_id=cs_none")
    expect(page.locator("#alert")).to_contain_text("no such session")
    expect(page.locator("#rows table")).to_be_visible()
    assert page.url.endswith("/billing")


def save(page, enabled=True, **typed):
    """Fill in the settings and save them."""
    page.get_by_label("Top up automatically").set_checked(enabled)
    for name, text in typed.items():
        page.locator(f"#{name}").fill(text)
    page.get_by_role("button", name="Save").click()


def test_settings_that_cannot_be(page) -> None:
    admin, _ = who_pays(page)
    opened(page, admin)
    problem = page.locator("#settingsProblem")
    good = {"below": "9000", "buys": "20", "cap": "", "times": ""}
    for field, text, said in (
        ("below", "", "Enter an amount"),
        ("buys", "4", "At least 5.00 USD."),
        ("cap", "0", "At least 0.01 USD."),
        ("times", "many", "a number of 1 or more"),
    ):
        save(page, **good | {field: text})
        expect(problem).to_contain_text(said)
        expect(page.locator(f"#{field}")).to_be_focused()
    check_layout(page)
    save(page, **good)
    expect(problem).to_contain_text("no saved payment method")
    expect(page.locator("#needsCard")).to_be_visible()
    check_layout(page)
    save(page, enabled=False, below="", buys="", cap="", times="")
    expect(page.locator("#saved")).to_have_text("Saved.")


def test_automatic_top_ups_and_the_way_to_recover(page) -> None:
    admin, member = who_pays(page)
    opened(page, admin)
    facts, paused = page.locator("#facts"), page.locator("#paused")
    expect(facts).to_contain_text("Off")
    page.get_by_label("Amount in USD").fill("5")
    page.get_by_label("Keep the card").check()
    page.get_by_text("Continue to payment").click()
    page.get_by_role("button", name="the next time").click()
    expect(page.locator("#notice")).to_contain_text("5.00 USD were added")
    expect(facts).to_contain_text("Yes")
    save(page, below="9000", buys="20", cap="1000", times="9")
    # A worker tries, and the page looks until it is known.
    expect(paused).to_contain_text("The bank wants the payment to be confirmed.", timeout=20_000)
    expect(facts).to_contain_text("Paused")
    check_layout(page)

    page.get_by_role("button", name="Sign out").click()
    opened(page, member)
    expect(paused).to_contain_text("An admin of your organisation can let them go on.")
    for text in ("20.00 USD", "9000.00 USD", "1000.00 USD", "9"):
        expect(facts.get_by_text(text, exact=True)).to_be_visible()
    for hidden in ("#buying", "#settings", "#recover"):
        expect(page.locator(hidden)).to_be_hidden()
    check_layout(page)

    page.get_by_role("button", name="Sign out").click()
    opened(page, admin)
    page.get_by_role("button", name="Pay 20.00 USD with another card").click()
    expect(page.get_by_role("heading", name="Checkout")).to_be_visible()
    check_layout(page)
    page.get_by_role("button", name="Pay 20.00 USD").click()
    expect(page.locator("#notice")).to_contain_text("20.00 USD were added")
    expect(paused).to_be_hidden()
    # It goes on with the new card, by itself.
    expect(page.locator("#rows")).to_contain_text("Credit bought automatically", timeout=20_000)
    expect(facts.locator("dd").last).not_to_have_text("None yet")
    save(page, enabled=False)
    expect(page.locator("#saved")).to_have_text("Saved.")
    expect(facts).to_contain_text("Off")
    check_layout(page)
    page.reload()
    expect(page.locator("#below")).to_have_value("9000.00")
    expect(page.locator("#times")).to_have_value("9")


def test_a_top_up_that_ends_while_the_page_opens_is_shown(page) -> None:
    """The history is asked for once it is known whether a top-up is under way: else one that ends
    between the two answers would be missing from it, and nothing would look again."""
    told = []
    page.on("request", lambda request: told.append(("asks", request.url.split("/v1/billing/")[-1])))
    page.on("response", lambda answer: told.append(("has", answer.url.split("/v1/billing/")[-1])))
    opened(page, "bo")
    [known] = [at for at, each in enumerate(told) if each == ("has", "auto-topup")]
    asked = [at for at, each in enumerate(told) if each[0] == "asks" and "history" in each[1]]
    assert asked and known < min(asked)


def test_a_server_that_is_gone_is_said(page) -> None:
    opened(page, "ana")
    page.route("**/v1/billing/**", lambda route: route.abort())
    page.get_by_label("Period", exact=True).select_option("30d")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    check_layout(page)
    page.unroute("**/v1/billing/**")
    page.get_by_label("Period", exact=True).select_option("7d")
    expect(page.get_by_role("alert")).to_be_hidden()
    assert MEMBER not in page.content()
