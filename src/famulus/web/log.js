// The messages of the open conversation, in order, and where the view stands in them.

import { byId, el, oncePerFrame } from "./dom.js";
import { fileList } from "./files.js";
import { fullTime } from "./format.js";
import { icon } from "./icons.js";
import { MarkdownView } from "./markdown.js";
import { pastTools, Turn } from "./turn.js";

const NEAR = 80; // pixels from the end that still count as reading along

export class Log {
  #turns = new Map();
  #mine = new Map();
  #following = true;
  #top = 0;

  constructor({ onDecision }) {
    this.onDecision = onDecision;
    this.node = byId("log");
    this.scroller = byId("scroll");
    this.latest = byId("latest");
    this.grown = oncePerFrame(() => this.#follow());
    this.scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    this.latest.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.grown()).observe(this.scroller);
  }

  get isEmpty() {
    return !this.node.hasChildNodes();
  }

  /** Whether an answer is being made in this conversation. */
  get isRunning() {
    return [...this.#turns.values()].some((turn) => turn.running);
  }

  clear() {
    this.#turns.clear();
    this.#mine.clear();
    this.node.replaceChildren();
  }

  /** Replaces the log with stored messages. Answers still being made stay at the end. */
  show(messages) {
    const running = [...this.#turns].filter(([, turn]) => turn.running);
    this.clear();
    // A long history must not be read out loud from the top.
    this.node.setAttribute("aria-live", "off");
    for (const message of messages) this.#past(message);
    // What was streamed so far is known only to the old node.
    for (const [id, turn] of running) {
      const shown = this.#turns.get(id);
      if (shown?.running) shown.node.replaceWith(turn.node);
      if (shown?.running ?? true) this.#place(id, turn);
    }
    this.toEnd();
    requestAnimationFrame(() => this.node.setAttribute("aria-live", "polite"));
  }

  #past({ role, content, time, turn_id, tools, model, usage, message_id, attachments, open }) {
    if (role === "user") {
      this.#mine.set(message_id ?? `turn:${turn_id}`, this.#say({ content, attachments, time }));
      if (open && turn_id) this.turn(turn_id);
    } else if (role === "assistant") {
      const turn = this.#turns.get(turn_id) ?? this.#newTurn();
      this.#place(turn_id ?? `past:${this.#turns.size}`, turn);
      pastTools(turn, tools);
      turn.finish({ content, model, usage, time, attachments });
    } else if (content) {
      this.note(content);
    }
  }

  /** A message of the person. It is dim until `accepted(id)`. */
  say(id, content, attachments) {
    if (this.#mine.has(id)) return;
    const node = this.#say({ content, attachments, time: new Date().toISOString() });
    node.dataset.state = "sending";
    this.#mine.set(id, node);
    this.toEnd();
  }

  has(id) {
    return this.#mine.has(id);
  }

  /** A turn took the message up. */
  accepted(id) {
    const node = this.#mine.get(id);
    if (node) delete node.dataset.state;
  }

  /** `again`: says the same once more. */
  refused(id, words, again) {
    const node = this.#mine.get(id);
    if (!node) return;
    node.dataset.state = "failed";
    const retry = el("button", { type: "button", class: "quiet", "aria-label": "Send again" }, icon("retry"));
    retry.addEventListener("click", () => {
      node.remove();
      again();
    });
    node.append(el("p", { class: "error", role: "alert" }, words, retry));
    this.grown();
  }

  turn(id) {
    const known = this.#turns.get(id);
    if (known) return known;
    const turn = this.#newTurn();
    this.#place(id, turn);
    this.grown();
    return turn;
  }

  answer(frame) {
    const time = frame.time ?? new Date().toISOString();
    this.turn(frame.turn_id).finish({ ...frame, time });
  }

  note(content) {
    const view = new MarkdownView();
    view.show(content);
    this.node.append(el("aside", { class: "note" }, view.node));
    this.grown();
  }

  problem(words) {
    this.node.append(el("aside", { class: "note error", role: "alert" }, words));
    this.grown();
  }

  toEnd() {
    this.#following = true;
    this.#follow();
  }

  #newTurn() {
    return new Turn({ onDecision: this.onDecision, onGrow: this.grown });
  }

  #place(id, turn) {
    this.#turns.set(id, turn);
    this.node.append(turn.node);
  }

  #say({ content, attachments, time }) {
    const bubble = el("div", { class: "bubble", title: time ? fullTime(time) : null }, content);
    const node = el("article", { class: "mine", "aria-label": "You" });
    if (attachments?.length) node.append(fileList(attachments));
    if (content) node.append(bubble);
    this.node.append(node);
    return node;
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    // Only the reader scrolls up. A far end alone may mean that text came before this was called.
    if (scrollHeight - scrollTop - clientHeight < NEAR) this.#following = true;
    else if (scrollTop < this.#top) this.#following = false;
    this.#top = scrollTop;
    this.latest.hidden = this.#following;
  }

  #follow() {
    if (this.#following) this.scroller.scrollTop = this.scroller.scrollHeight;
    else this.#look();
  }
}
