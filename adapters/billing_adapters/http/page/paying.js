// Paying: credit to buy, automatic top-ups, and what stops them.

import { Failed, api, send } from "/billing/client.js";
import { $, element, money, time } from "/billing/elements.js";

const WHY = {
  declined: "The saved card was declined.",
  authentication_required: "The bank wants the payment to be confirmed.",
  failed: "The last payments failed.",
  method: "The saved card was removed.",
  refund: "A payment was refunded, in full or in part.",
  dispute: "A payment was disputed.",
  quarantined: "A payment came that was not as ordered, or that does not say what it is for. It will be looked at.",
  amount: "Their amount is not one that can be bought any more.",
};
const LOOK_AGAIN = 1500; // milliseconds, while a top-up is under way
let host = null, admin = false, auto = null, timer = 0, visit = 0;

// -- amounts --------------------------------------------------------------------

// The minor units of what was typed, exactly: text, not floats.  The currency's number of
// decimals is that of an amount which the API says both ways.
function minor(form, name, { least = 0, most = Infinity } = {}) {
  const digits = Math.round(Math.log10(auto.minimumTopupCents / Number(auto.minimumTopup)));
  const [, whole, part = ""] = /^(\d{1,12})(?:[.,](\d+?)0*)?$/.exec(form.elements[name].value.trim()) ?? [];
  const shown = (cents) => `${(cents / 10 ** digits).toFixed(digits)} ${auto.currency}`;
  if (whole === undefined || (part.length > digits && part !== "0")) wrong(name, `Enter an amount, such as ${shown(20 * 10 ** digits)}.`);
  const cents = Number(whole + (digits ? part.padEnd(digits, "0") : ""));
  if (cents < least) wrong(name, `At least ${shown(least)}.`);
  if (cents > most) wrong(name, `At most ${shown(most)}.`);
  return cents;
}

function wrong(field, message) {
  throw new Failed(0, { code: "invalid_request", message, field });
}

const size = () => ({ least: auto.minimumTopupCents, most: auto.maximumTopupCents });

// -- forms ----------------------------------------------------------------------

// What is wrong with a form is said in it, and its field gets the focus.
function submitting(form, work) {
  const problem = form.querySelector(".alert");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    problem.hidden = true;
    for (const each of form.elements) each.removeAttribute("aria-invalid");
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      if (error.status === 401) return host.alarm(error);
      problem.textContent = error.message;
      problem.hidden = false;
      const field = form.elements[error.field];
      field?.setAttribute("aria-invalid", "true");
      field?.focus();
    } finally {
      button.disabled = false;
    }
  });
}

function checkout(path, fields) {
  const page = `${location.origin}/billing`;
  const urls = { successUrl: `${page}?session_id={CHECKOUT_SESSION_ID}`, cancelUrl: page };
  return send("POST", path, { ...fields, ...urls }).then(({ data }) => location.assign(data.checkoutUrl));
}

const buy = () => checkout("topup", {
  amountCents: minor($("buy"), "amountCents", size()), savePaymentMethod: $("keep").checked,
});

async function save() {
  const form = $("settings"), enabled = form.elements.enabled.checked;
  const typed = (name) => form.elements[name].value.trim();
  const fields = {
    enabled,
    thresholdCents: enabled || typed("thresholdCents") ? minor(form, "thresholdCents") : 0,
    topupAmountCents: enabled || typed("topupAmountCents") ? minor(form, "topupAmountCents", size()) : 0,
    periodCapCents: typed("periodCapCents") ? minor(form, "periodCapCents", { least: 1 }) : null,
    periodTimes: null,
  };
  if (typed("periodTimes")) {
    if (!/^[1-9]\d{0,5}$/.test(typed("periodTimes"))) wrong("periodTimes", "Enter a number of 1 or more.");
    fields.periodTimes = Number(typed("periodTimes"));
  }
  const { data } = await send("PUT", "auto-topup", fields);
  show(data);
  $("saved").textContent = "Saved.";
}

// -- how it stands --------------------------------------------------------------

function show(data) {
  const bought = auto !== null && auto.lastTopupAt !== data.lastTopupAt;
  auto = data;
  const status = !auto.enabled ? "Off" : auto.pausedReason ? "Paused" : auto.inFlight ? "On: a top-up is under way" : "On";
  const facts = [
    ["Status", status],
    ["Saved card", auto.hasSavedPaymentMethod ? "Yes" : "None"],
    ["Last top-up", auto.lastTopupAt === null ? "None yet" : time(auto.lastTopupAt)],
  ];
  if (auto.enabled && auto.notBefore !== null) facts.push(["Next top-up not before", time(auto.notBefore)]);
  if (!admin && auto.enabled) {
    facts.push(["Buys", money(auto, "topupAmount")], ["When available credit falls below", money(auto, "threshold")]);
    if (auto.periodCap !== null) facts.push(["Limit per billing period", `${auto.periodCap} ${auto.currency}`]);
    if (auto.periodTimes !== null) facts.push(["Top-ups per billing period", String(auto.periodTimes)]);
  }
  $("facts").replaceChildren(...facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
  showPaused();
  clearTimeout(timer);
  if (auto.inFlight) timer = setTimeout(look, LOOK_AGAIN);
  if (bought) host.asking(host.changed)();
}

function showPaused() {
  const { recovery } = auto, byCard = recovery === "checkout";
  $("paused").hidden = recovery === null;
  $("recover").hidden = !(admin && byCard);
  $("recover").textContent = `Pay ${money(auto, "topupAmount")} with another card`;
  const next = byCard ? "Paying with another card lets them go on." : "Saving the settings lets them go on.";
  $("why").textContent = `Automatic top-ups are paused. ${WHY[auto.pausedReason] ?? ""} ${admin ? next : "An admin of your organisation can let them go on."}`;
}

function fill() {
  const { elements } = $("settings"), set = auto.topupAmountCents > 0;
  elements.enabled.checked = auto.enabled;
  elements.thresholdCents.value = set ? auto.threshold : "";
  elements.topupAmountCents.value = set ? auto.topupAmount : "";
  elements.periodCapCents.value = auto.periodCap ?? "";
  elements.periodTimes.value = auto.periodTimes ?? "";
  $("needsCard").hidden = auto.hasSavedPaymentMethod;
  $("least").textContent = `From ${money(auto, "minimumTopup")} to ${money(auto, "maximumTopup")}.`;
  for (const each of document.querySelectorAll(".currency")) each.textContent = auto.currency;
}

// Whether it was shown: not to who has signed out meanwhile.
async function load() {
  const asked = visit;
  const { data } = await api("auto-topup");
  if (asked === visit) show(data);
  return asked === visit;
}

// By itself: what fails is not what a person asked for.
const look = () => load().catch((error) => {
  if (!(error instanceof Failed)) throw error;
});

export async function showPaying(isAdmin) {
  admin = isAdmin;
  if (!(await load())) return;
  fill();
  $("buying").hidden = $("settings").hidden = !admin;
}

// -- coming and going -----------------------------------------------------------

// The customer is back from the provider's page: what became of it.
export async function returned() {
  const session = new URLSearchParams(location.search).get("session_id");
  if (session === null) return;
  const forget = () => history.replaceState(null, "", location.pathname);
  let found;
  try {
    ({ data: found } = await api("success", { session_id: session }));
  } catch (error) {
    if (error.status === 404) forget();
    throw error;
  }
  forget();
  $("notice").textContent = found.paid ? `${money(found, "credited")} were added to your credit.`
    : ["open", "ordered", "processing"].includes(found.state) ? "The payment is not confirmed yet. Its credit will be here once it is."
    : found.state === "quarantined" ? "The payment came, but not as it was ordered. It will be looked at."
    : "Nothing was paid.";
  $("notice").hidden = false;
}

// alarm: says an error at the top.  asking: runs what may fail.  changed: shows the credit anew.
export function preparePaying(given) {
  host = given;
  submitting($("buy"), buy);
  submitting($("settings"), save);
  $("settings").addEventListener("input", () => $("saved").replaceChildren());
  $("recover").addEventListener("click", host.asking(() => checkout("auto-topup/recover", {})));
}

export function forgetPaying() {
  clearTimeout(timer);
  visit += 1;
  auto = null;
  for (const id of ["buy", "settings"]) {
    $(id).reset();
    $(id).querySelector(".alert").hidden = true;
  }
  for (const id of ["facts", "why", "recover", "least", "notice", "saved"]) $(id).replaceChildren();
  $("notice").hidden = true;
}
