// The billing page: what the public API says, and nothing else.

import { draw, legend, ranked, series } from "/billing/chart.js";
import { Failed, KEY, api } from "/billing/client.js";
import { $, count, duration, element, gigabyteHours, money, table, time } from "/billing/elements.js";
import { forgetPaying, preparePaying, returned, showPaying } from "/billing/paying.js";

const STATES = [
  ["Settled", "settled"], ["Pending", "pending", "estimate"], ["Active", "active", "estimate"],
  ["Forgiven", "forgiven", "not charged"],
];
const state = { cursor: null, prices: null, usage: null, days: [], asked: 0 };

function alarm(error) {
  const reference = error.requestId ? ` (reference ${error.requestId})` : "";
  $("alert").textContent = `${error.message}${reference}`;
  $("alert").hidden = false;
  if (error.status === 401) leave(false);
}

// Runs what a person asked for; what goes wrong is said at the top.
function asking(work) {
  return async (...given) => {
    $("alert").hidden = true;
    try {
      await work(...given);
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      alarm(error);
    }
  };
}

// -- sections -------------------------------------------------------------------

async function showCredit() {
  const { data: plan } = await api("plan");
  const { data: credits } = await api("credits");
  const cards = [
    ["Balance", money(credits, "balance"), ""],
    ["Available", money(credits, "available"), ""],
    ["Held", money(credits, "held"), ""],
    ["Used in all", money(credits, "totalUsed"), "less"],
    ["Plan", plan.plan ?? "None", "less"],
  ];
  if (credits.debtCents > 0 || credits.debt !== "0.00") cards.splice(3, 0, ["Owed", money(credits, "debt"), "debt"]);
  $("cards").replaceChildren(...cards.map(([name, text, kind]) =>
    element("div", {}, element("dt", {}, name), element("dd", kind ? { class: kind } : {}, text))));
  $("who").textContent = `Organisation ${credits.orgId}`;
}

async function showUsage() {
  const asked = ++state.asked;
  const query = { period: $("period").value };
  if ($("all").checked) query.all = "true";
  $("used").setAttribute("aria-busy", "true");
  try {
    const [usage, daily] = await Promise.all([api("my-usage", query), api("my-usage/daily", query)]);
    if (asked !== state.asked) return; // another was asked for meanwhile
    state.usage = usage.data;
    state.days = daily.data.days;
  } finally {
    $("used").setAttribute("aria-busy", "false");
  }
  const usage = state.usage;
  const whose = usage.memberId === null ? "everyone" : usage.memberId;
  $("total").replaceChildren(element("strong", {}, money(usage, "total")), ` used by ${whose === "everyone" ? whose : `you (${whose})`}`);
  $("said").textContent = `Usage of ${whose}: ${money(usage, "total")}`;
  const used = [
    ...usage.modelUsage.map((each) => ({ ...each, name: each.model, much: `${count(each.totalTokens)} tokens` })),
    ...usage.resourceCharges.map((each) => ({ ...each, name: each.resource, much: `${count(BigInt(each.quantity))} × ${each.unit}`, byok: false })),
  ];
  $("models").replaceChildren(table("Usage by model and resource", [
    ["Model or resource", (row) => row.byok ? [row.name, element("span", { class: "tag" }, "own key")] : row.name],
    ["Quantity", (row) => row.much, "number"],
    ["Amount", (row) => money(row, "amount"), "number"],
  ], used));
  $("runtime").replaceChildren(table("Sandbox runtime by state", [
    ["State", (row) => row.note ? [row.state, element("span", { class: "tag" }, row.note)] : row.state],
    ["Runs", (row) => count(row.runs), "number"],
    ["Running time", (row) => duration(row.seconds), "number"],
    ["Amount", (row) => money(row, "amount"), "number"],
  ], STATES.map(([state, name, note]) => ({ ...usage.sandboxRuntime[name], state, note }))));
  $("storage").replaceChildren(table("Storage by workspace", [
    ["Workspace", (row) => row.workspaceId],
    ["Gigabyte-hours", (row) => gigabyteHours(row.byteSeconds), "number"],
    ["Amount", (row) => money(row, "amount"), "number"],
  ], usage.storageUsage));
  $("byMember").hidden = usage.members === null;
  if (usage.members !== null) {
    $("members").replaceChildren(table("Usage by member", [
      ["Member", (row) => row.memberId ?? "No member"],
      ["Tokens", (row) => count(row.tokens.total), "number"],
      ["Tool runs", (row) => count(row.toolExecutions), "number"],
      ["Sandboxes", (row) => duration(row.sandboxRuntime.settled.seconds), "number"],
      ["Amount", (row) => money(row, "total"), "number"],
    ], usage.members));
  }
  showChart();
}

function showChart() {
  const { usage } = state;
  if (!usage) return;
  const end = new Date(Math.min(new Date(usage.period.end), Date.now()));
  const days = series(state.days, new Date(usage.period.start), end);
  const names = ranked(days);
  if (!names.length) {
    $("chart").replaceChildren(element("p", { class: "soft" }, "Nothing was charged in this period."));
    return;
  }
  const label = `Amounts by day, from ${days[0].name} to ${days.at(-1).name}, in ${usage.currency}; the table below has the figures.`;
  const width = Math.max(260, Math.floor($("chart").clientWidth));
  const open = $("chart").querySelector("details")?.open ?? false;
  const figures = element("details", {}, element("summary", {}, "The same as a table"),
    table("Amounts by day", [["Day (UTC)", (day) => day.name], ["Amount", (day) => `${day.total} ${usage.currency}`, "number"]], days));
  figures.open = open;
  $("chart").replaceChildren(draw(days, names, usage.currency, width, label), legend(names), figures);
}

async function showHistory(older) {
  const query = { limit: 20 };
  if (older) query.cursor = state.cursor;
  const { data, meta } = await api("credits/history", query);
  const made = table("History", [
    ["What", (row) => row.description],
    ["When", (row) => time(row.createdAt)],
    ["Amount", (row) => row.amount.startsWith("-") ? money(row, "amount") : element("span", { class: "in" }, `+${money(row, "amount")}`), "number"],
    ["Balance", (row) => `${row.balanceAfter} ${row.currency}`, "number"],
    ["Details", (row) => row.type === "usage" ? element("button", {
      type: "button", class: "quiet", "aria-label": `Explain charge ${row.id}`, onclick: asking(() => explain(row.id)),
    }, "Explain") : "–"],
  ], data);
  if (older && data.length) {
    const first = made.querySelector("tbody tr");
    $("rows").querySelector("tbody").append(...made.querySelectorAll("tbody tr"));
    first.querySelector("button")?.focus();
  } else if (!older) {
    $("rows").replaceChildren(made);
  }
  if (older) $("said").textContent = `${data.length} more rows`;
  state.cursor = meta.nextCursor;
  $("more").hidden = !meta.hasMore;
}

const when = (conditions) => conditions.map((each) => each.text).join(" and ");

// A price, and on a line of its own what stands, or multiplies it, while something holds.
function priceLines(row) {
  return [row.price,
    ...row.variants.map((each) => element("span", { class: "sum" }, `${each.price} where ${when(each.when)}`)),
    ...row.multipliers.map((each) => element("span", { class: "sum" }, `times ${each.by} where ${when(each.when)}`))];
}

async function showPrices() {
  const query = { limit: 50 };
  if (state.prices !== null) query.cursor = state.prices;
  const { data, meta } = await api("pricing", query);
  const made = table("Prices in force", [
    ["What", (row) => row.resource],
    ["Part", (row) => row.component],
    ["Price", priceLines],
  ], data);
  const body = $("priced").querySelector("tbody");
  if (body && data.length) body.append(...made.querySelectorAll("tbody tr"));
  else if (!body) $("priced").replaceChildren(made);
  $("said").textContent = `${data.length} prices`;
  state.prices = meta.nextCursor;
  $("morePrices").textContent = "Show more prices";
  $("morePrices").hidden = !meta.hasMore;
}

async function explain(id) {
  let charge;
  try {
    ({ data: charge } = await api(`charges/${id}`));
  } catch (error) {
    if (!(error instanceof Failed) || error.status === 401) throw error;
    $("storyTitle").textContent = `Charge ${id}`;
    $("told").replaceChildren(element("p", { class: "alert", role: "alert" }, error.message));
    $("story").showModal();
    return;
  }
  const facts = [
    ["For", charge.resource], ["Member", charge.memberId ?? "–"], ["Occurred", time(charge.occurredAt)],
    ["Amount", money(charge, "amount")],
  ];
  if (charge.unpaid !== "0.00") facts.push(["Not yet paid", money(charge, "unpaid")]);
  if (charge.reversed !== "0.00") facts.push(["Given back", money(charge, "reversed")]);
  $("storyTitle").textContent = `Charge ${charge.id}`;
  $("told").replaceChildren(
    element("dl", {}, ...facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)])),
    element("h3", {}, "How it adds up"),
    table("Components", [
      ["Component", (line) => line.component],
      ["Quantity", (line) => line.quantity, "number"],
      ["Price", (line) => [line.price || line.arithmetic,
        ...[line.variant && `for this request: ${line.variant}`, line.price && line.arithmetic].filter(Boolean)
          .map((text) => element("span", { class: "sum" }, text))]],
      ["Amount", (line) => money(line, "amount"), "number"],
    ], charge.lines),
    element("h3", {}, "Paid from"),
    table("Payments", [
      ["Credit", (paid) => `Lot ${paid.lotId} (${paid.credit})`],
      ["Amount", (paid) => money(paid, "amount"), "number"],
    ], charge.payments));
  $("story").showModal();
}

// -- coming and going -----------------------------------------------------------

async function isAdmin() {
  try {
    await api("my-usage", { all: "true" });
    return true;
  } catch (error) {
    if (error instanceof Failed && error.status === 403) return false;
    throw error;
  }
}

async function enter() {
  const admin = await isAdmin();
  $("everyone").hidden = !admin;
  $("all").checked = admin;
  $("enter").hidden = true;
  for (const id of ["portal", "who", "leave"]) $(id).hidden = false;
  await asking(returned)();
  // The credit is read after the top-ups: of one that has ended by then, it is shown.
  await Promise.all([showPaying(admin).finally(changed), showUsage()]);
}

const changed = () => Promise.all([showCredit(), showHistory(false)]);

function leave(cleared = true) {
  sessionStorage.removeItem(KEY);
  state.usage = state.prices = null;
  $("morePrices").textContent = "Show prices";
  $("morePrices").hidden = false;
  if ($("story").open) $("story").close();
  forgetPaying();
  for (const id of ["cards", "models", "runtime", "storage", "members", "chart", "priced", "rows", "total", "told", "said", "who"]) $(id).replaceChildren();
  for (const id of ["portal", "who", "leave"]) $(id).hidden = true;
  if (cleared) $("alert").hidden = true;
  $("enter").hidden = false;
  $("key").value = "";
  $("key").focus();
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value.trim());
  asking(enter)();
});
preparePaying({ alarm, asking, changed });
$("leave").addEventListener("click", () => leave());
$("period").addEventListener("change", asking(showUsage));
$("all").addEventListener("change", asking(showUsage));
$("more").addEventListener("click", asking(() => showHistory(true)));
$("morePrices").addEventListener("click", asking(showPrices));
$("shut").addEventListener("click", () => $("story").close());
let width = 0;
new ResizeObserver(() => {
  if ($("used").clientWidth === width) return; // the chart's own height changed
  width = $("used").clientWidth;
  showChart();
}).observe($("used"));

if (sessionStorage.getItem(KEY)) asking(enter)();
else $("enter").hidden = false;
