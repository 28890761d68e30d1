// What the page is made of: elements, tables, and how values read.

export const $ = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") made.addEventListener("click", value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// columns: [heading, how a row's cell reads, "number" or nothing]; the first is the row's name.
export function table(caption, columns, rows) {
  if (!rows.length) return element("p", { class: "soft" }, "Nothing yet.");
  const cell = (row, [heading, read, kind], index) => {
    const name = index ? "td" : "th";
    const attributes = index ? { "data-label": heading } : { scope: "row" };
    if (kind) attributes.class = kind;
    const inner = element("span", {});
    inner.append(...[read(row)].flat());
    return element(name, attributes, inner);
  };
  return element("table", {},
    element("caption", { class: "hidden" }, caption),
    element("thead", {}, element("tr", {}, ...columns.map(([heading, , kind]) =>
      element("th", kind ? { scope: "col", class: kind } : { scope: "col" }, heading)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...columns.map((column, index) => cell(row, column, index))))));
}

export const money = (of, name) => `${of[name]} ${of.currency}`;
export const time = (text) => new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
export const count = (number) => number.toLocaleString();

// Byte-seconds may have more digits than a float keeps; gigabyte-hours, in thousandths, do not.
export function gigabyteHours(byteSeconds) {
  const hours = Number(BigInt(byteSeconds) / 3_600_000_000n) / 1000;
  return hours.toLocaleString(undefined, { maximumFractionDigits: 3 });
}

export function duration(seconds) {
  const hours = Math.floor(seconds / 3600), rest = Math.floor((seconds % 3600) / 60);
  return [[hours, "h"], [rest, "min"], [seconds % 60, "s"]]
    .filter(([number], index) => number || (index === 2 && seconds < 60))
    .map(([number, unit]) => `${count(number)} ${unit}`).join(" ");
}
