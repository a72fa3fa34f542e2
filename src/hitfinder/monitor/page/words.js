// Numbers as people read them.

export const NONE = "–";

export function isNumber(value) { return typeof value === "number" && Number.isFinite(value); }

/** Writes a number with some digits, grouped thousands, powers of ten when far out. */
export function number(value, digits = 3) {
  if (!isNumber(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7) return grouped(String(value));
  if (size >= 10 ** digits && size < 1e7) return grouped(value.toFixed(0));
  if (size >= 1e-3 && size < 10 ** digits) return String(Number(value.toPrecision(digits)));
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const raised = String(Number(exponent)).replace(/[-0-9]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
  return `${Number(mantissa)}·10${raised}`;
}

function grouped(text) { return text.replace(/\B(?=(\d{3})+$)/g, "\u202f"); }

/** A share in percent; 0.2875 is 28.75 and not a little less, which would be rounded down. */
export function hundredfold(share) { return Number((100 * share).toPrecision(12)); }

export function percent(share, digits = 3) {
  return isNumber(share) ? `${number(hundredfold(share), digits)}\u00a0%` : NONE;
}

/** Counts things: "1 peak", "2 peaks". */
export function counted(n, thing) { return `${number(n)} ${thing}${n === 1 ? "" : "s"}`; }

/** Makes an element with text or children; attributes by name. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A number in large type, with what is said of it. */
export function tile(value, label, { unit = "", kind = "" } = {}) {
  const big = element("b", {}, value);
  if (unit && value !== NONE) big.append(element("small", {}, unit));
  return element("div", { class: `tile ${kind}`, role: "listitem" }, big, element("span", {}, label));
}
