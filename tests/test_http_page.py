"""The billing page in a real browser: as member and as admin, on a desk and on a phone."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import find
from http_world import MEMBER, SERVICE, served
from playwright.sync_api import expect, sync_playwright

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
    assert how is not None, "no Chromium: run .venv/bin/python tests/browser.py"
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
    page.get_by_label("Period").select_option("7d")
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


def test_a_server_that_is_gone_is_said(page) -> None:
    opened(page, "ana")
    page.route("**/v1/billing/**", lambda route: route.abort())
    page.get_by_label("Period").select_option("30d")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    check_layout(page)
    page.unroute("**/v1/billing/**")
    page.get_by_label("Period").select_option("7d")
    expect(page.get_by_role("alert")).to_be_hidden()
    assert MEMBER not in page.content()
