// Bars by day, stacked by what was used: an SVG, and the same as a table.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 220, LEFT = 56, BOTTOM = 24, TOP = 12, COLOURS = 6;

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// What was used on each day: Map of name → amount.  Amounts are drawn, not added up: the
// API's own totals are what is written.
export function series(days, from, to) {
  const used = new Map(days.map((day) => [day.day, day]));
  const found = [];
  const last = to.toISOString().slice(0, 10);
  for (const at = new Date(from.toISOString().slice(0, 10)); ; at.setUTCDate(at.getUTCDate() + 1)) {
    const name = at.toISOString().slice(0, 10);
    if (name > last) return found;
    const day = used.get(name);
    const parts = new Map();
    // A model, another resource and what is named here may have the same name.
    const add = (part, amount) => parts.set(part, (parts.get(part) ?? 0) + Number(amount));
    for (const model of day?.modelUsage ?? []) add(model.model, model.amount);
    for (const other of day?.resourceCharges ?? []) add(other.resource, other.amount);
    if (day) {
      add("sandboxes", day.sandboxRuntime.settled.amount);
      for (const each of day.storageUsage) add("storage", each.amount);
    }
    found.push({ name, parts, total: day?.total ?? "0.00" });
  }
}

// The names that are drawn in a colour of their own, the dearest first; the rest share one.
export function ranked(days) {
  const sums = new Map();
  for (const day of days) {
    for (const [name, amount] of day.parts) sums.set(name, (sums.get(name) ?? 0) + amount);
  }
  const names = [...sums].filter(([, sum]) => sum > 0).sort((a, b) => b[1] - a[1]).map(([name]) => name);
  return names.length > COLOURS ? [...names.slice(0, COLOURS - 1), null] : names;
}

function scale(most) {
  const step = 10 ** Math.floor(Math.log10(most || 1));
  const top = [1, 2, 2.5, 5, 10].map((factor) => factor * step).find((each) => each >= most) ?? most;
  return top || 1;
}

export function draw(days, names, currency, width, label) {
  const shown = (day) => {
    const own = names.filter((name) => name !== null);
    const rest = [...day.parts].filter(([name]) => !own.includes(name));
    return names.map((name) =>
      name === null ? rest.reduce((sum, [, amount]) => sum + amount, 0) : (day.parts.get(name) ?? 0));
  };
  const sum = (values) => values.reduce((total, each) => total + Math.max(0, each), 0);
  const top = scale(Math.max(...days.map((day) => sum(shown(day)))));
  const inner = { width: width - LEFT, height: HEIGHT - TOP - BOTTOM };
  const y = (amount) => TOP + inner.height * (1 - amount / top);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const part of [0, 0.5, 1]) {
    picture.append(
      svg("line", { x1: LEFT, x2: width, y1: y(top * part), y2: y(top * part) }),
      svg("text", { x: LEFT - 6, y: y(top * part) + 4, "text-anchor": "end" }, String(+(top * part).toPrecision(3))),
    );
  }
  const slot = inner.width / days.length;
  const bar = Math.max(1, Math.min(36, slot * 0.72));
  const every = Math.ceil(days.length / Math.max(1, Math.floor(inner.width / 56)));
  days.forEach((day, index) => {
    const x = LEFT + slot * (index + 0.5);
    let below = 0;
    shown(day).forEach((amount, colour) => {
      if (amount <= 0) return;
      const height = y(below) - y(below + amount);
      const title = svg("title", {}, `${day.name}: ${names[colour] ?? "other"}`);
      picture.append(svg("rect", {
        class: `s${colour}`, x: x - bar / 2, y: y(below + amount), width: bar, height,
      }, title));
      below += amount;
    });
    if (index % every === 0) {
      const text = new Date(day.name).toLocaleDateString(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
      picture.append(svg("text", { x, y: HEIGHT - 6, "text-anchor": "middle" }, text));
    }
  });
  return picture;
}

export function legend(names) {
  const list = document.createElement("ul");
  list.className = "legend";
  names.forEach((name, colour) => {
    const item = document.createElement("li");
    const mark = svg("svg", { viewBox: "0 0 1 1", "aria-hidden": "true" }, svg("rect", { class: `s${colour}`, width: 1, height: 1 }));
    item.append(mark, name ?? "other");
    list.append(item);
  });
  return list;
}
