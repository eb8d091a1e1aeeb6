// Numbers, times and sizes as people read them, in the browser's own language.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const count = new Intl.NumberFormat();

/** `time`: ISO 8601 text. Today as a clock time, older with the day. */
export function shortTime(time) {
  const when = new Date(time);
  if (Number.isNaN(when.getTime())) return "";
  const today = new Date().toDateString() === when.toDateString();
  return today ? clock.format(when) : `${day.format(when)}, ${clock.format(when)}`;
}

export function fullTime(time) {
  const when = new Date(time);
  return Number.isNaN(when.getTime()) ? "" : full.format(when);
}

export function bytes(size) {
  if (size < 1000) return `${size} B`;
  if (size < 1e6) return `${Math.round(size / 1e3)} KB`;
  return `${(size / 1e6).toFixed(1)} MB`;
}

/** "1,204 tokens · $0.0031", or "· price unknown" where a call has none; empty without usage. */
export function usageText(usage) {
  if (!usage) return "";
  const tokens = (usage.input_tokens ?? 0) + (usage.output_tokens ?? 0);
  const parts = tokens ? [`${count.format(tokens)} tokens`] : [];
  if (usage.cost_usd) parts.push(`$${Number(usage.cost_usd).toPrecision(2)}`);
  if (usage.unpriced_calls) parts.push(usage.cost_usd ? "and more, price unknown" : "price unknown");
  return parts.join(" · ");
}

/** One line for a tool's arguments: their words and numbers; names and switches rarely help. */
export function argumentLine(given) {
  const value = parsed(given);
  if (value === null || value === undefined) return "";
  if (typeof value !== "object") return clip(String(value));
  const words = Object.values(value).filter((v) => ["string", "number"].includes(typeof v));
  return clip(words.join(" · "));
}

/** The same arguments in full: a line for each. */
export function argumentText(given) {
  const value = parsed(given);
  if (value === null || value === undefined) return "";
  if (typeof value !== "object" || Array.isArray(value)) return String(value);
  const line = ([name, v]) => `${name}: ${typeof v === "string" ? v : JSON.stringify(v, null, 2)}`;
  return Object.entries(value).map(line).join("\n");
}

function parsed(given) {
  if (typeof given !== "string") return given;
  try {
    return JSON.parse(given);
  } catch {
    return given;
  }
}

function clip(text) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 80 ? `${line.slice(0, 79)}…` : line;
}
