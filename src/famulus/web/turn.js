// One answer as it comes to be: thinking, tools, streamed text, and at last the words that count.

import { copyButton } from "./clipboard.js";
import { el } from "./dom.js";
import { argumentLine, argumentText, fullTime, shortTime, usageText } from "./format.js";
import { fileList } from "./files.js";
import { icon } from "./icons.js";
import { MarkdownView } from "./markdown.js";

export class Turn {
  #text = "";
  #view = new MarkdownView();
  #tools = new Map();
  #pending = 0;
  #cost = 0;

  /** onDecision(approvalId, decision); onGrow(): called after the turn got taller. */
  constructor({ onDecision, onGrow }) {
    this.onDecision = onDecision;
    this.onGrow = onGrow;
    this.running = true;
    this.toolList = el("div", { class: "tools" });
    this.dots = el("div", { class: "dots", role: "status", "aria-label": "Famulus is working" }, el("i"), el("i"), el("i"));
    this.meta = el("footer", { class: "meta" });
    this.node = el("article", { class: "turn", "aria-label": "Famulus", "aria-busy": "true" });
    this.node.append(this.toolList, this.#view.node, this.dots, this.meta);
  }

  append(content, restarted = false) {
    if (!this.running) return;
    this.#text = restarted ? content : this.#text + content;
    this.#draw();
  }

  toolStarted({ call_id, name, arguments: given }) {
    if (this.#tools.has(call_id)) return;
    const chip = toolChip(name, given);
    this.#tools.set(call_id, chip);
    this.toolList.append(chip);
    this.onGrow();
  }

  toolFinished({ call_id, name, ok, summary }) {
    if (!this.#tools.has(call_id)) this.toolStarted({ call_id, name: name ?? "tool", arguments: "" });
    finishChip(this.#tools.get(call_id), ok, summary);
    this.onGrow();
  }

  approval({ approval_id, name, arguments: given }) {
    const card = approvalCard(name, given, (decision) => {
      this.onDecision(approval_id, decision);
      card.remove();
    });
    this.toolList.append(card);
    this.onGrow();
  }

  /** The authoritative end: replaces whatever was streamed. */
  finish({ content, model, usage, time, attachments }) {
    this.running = false;
    clearTimeout(this.#pending);
    this.#text = content ?? "";
    this.#view.show(this.#text);
    this.dots.remove();
    if (attachments?.length) this.meta.before(fileList(attachments));
    for (const card of this.toolList.querySelectorAll(".approval")) card.remove();
    for (const chip of this.#tools.values()) if (chip.dataset.state === "running") finishChip(chip, false, "");
    const words = [model, usageText(usage), time && shortTime(time)].filter(Boolean).join(" · ");
    const facts = el("span", { title: time ? fullTime(time) : null }, words);
    this.meta.replaceChildren(copyButton(() => this.#text, "Copy answer"), facts);
    this.node.removeAttribute("aria-busy");
    this.onGrow();
  }

  // A long answer costs more to parse with every piece, so its next frame waits in proportion.
  #draw() {
    if (this.#pending) return;
    this.#pending = setTimeout(() => {
      this.#pending = 0;
      if (!this.running) return;
      const start = performance.now();
      this.#view.show(this.#text);
      this.#cost = performance.now() - start;
      this.onGrow();
    }, Math.max(16, this.#cost * 4));
  }
}

/** Tools of an answer out of the history: `[{name, arguments, ok, summary}]`. */
export function pastTools(turn, tools) {
  for (const [index, tool] of (tools ?? []).entries()) {
    const call_id = tool.call_id ?? `past-${index}`;
    turn.toolStarted({ ...tool, call_id });
    turn.toolFinished({ ...tool, call_id });
  }
}

function toolChip(name, given) {
  const line = el("summary", {}, el("span", { class: "state" }), el("b", {}, name));
  line.append(el("span", { class: "what" }, argumentLine(given)), icon("chevron"));
  const body = el("div", { class: "tool-body" });
  const text = argumentText(given);
  if (text) body.append(el("h3", {}, "Arguments"), el("pre", { tabindex: "0" }, text));
  return el("details", { class: "tool", "data-state": "running" }, line, body);
}

function finishChip(chip, ok, summary) {
  chip.dataset.state = ok ? "ok" : "failed";
  const mark = icon(ok ? "check" : "cross");
  mark.setAttribute("aria-hidden", "false");
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", ok ? "done" : "failed");
  chip.querySelector(".state").replaceChildren(mark);
  if (summary) chip.querySelector(".tool-body").append(el("h3", {}, "Result"), el("pre", { tabindex: "0" }, summary));
}

function approvalCard(name, given, decide) {
  const choice = (label, decision, kind = "") =>
    el("button", { type: "button", class: kind, onclick: () => decide(decision) }, label);
  const buttons = el("div", { class: "buttons" });
  buttons.append(choice("Deny", "deny"), choice("Always allow", "always"), choice("Allow once", "once", "primary"));
  const text = argumentText(given);
  const card = el("section", { class: "approval", role: "group", "aria-label": `Approval of ${name}` });
  card.append(el("p", {}, "Famulus asks to use ", el("b", {}, name), "."));
  if (text) card.append(el("pre", { tabindex: "0" }, text));
  card.append(buttons);
  return card;
}
