// The list of slash commands that opens when a message begins with "/".

import { byId, el } from "./dom.js";

export class Commands {
  #known = [];
  #matches = [];
  #at = 0;

  /** onPick(text): put into the message box. */
  constructor({ onPick }) {
    this.onPick = onPick;
    this.list = byId("commands");
    this.input = byId("input");
  }

  /** `commands`: `[{name, usage, description}]`; names with or without the slash. */
  learn(commands) {
    this.#known = commands.map((command) => ({ ...command, name: `/${command.name.replace(/^\//, "")}` }));
    this.suggest(this.input.value);
  }

  get isOpen() {
    return !this.list.hidden;
  }

  suggest(text) {
    const typed = /^\/\S*$/.test(text) ? text.toLowerCase() : null;
    this.#matches = typed === null ? [] : this.#known.filter(({ name }) => name.startsWith(typed));
    if (this.#matches.length === 1 && this.#matches[0].name === typed) this.#matches = [];
    this.#at = 0;
    this.#draw();
  }

  close() {
    this.#matches = [];
    this.#draw();
  }

  /** → true when the key was for the list. */
  key(event) {
    if (!this.isOpen) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      this.#at = (this.#at + step + this.#matches.length) % this.#matches.length;
      this.#draw();
    } else if (event.key === "Tab" || event.key === "Enter") {
      this.#pick(this.#at);
    } else if (event.key === "Escape") {
      this.close();
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }

  #pick(index) {
    const { name, usage } = this.#matches[index];
    const takesMore = /[<[]/.test(usage ?? "");
    this.close();
    this.onPick(takesMore ? `${name} ` : name);
  }

  #draw() {
    const rows = this.#matches.map(({ name, usage, description }, index) => {
      const chosen = index === this.#at;
      const row = el("li", { id: `command-${index}`, role: "option", "aria-selected": String(chosen) });
      row.append(el("b", {}, usage ? `/${usage.replace(/^\//, "")}` : name), el("span", {}, description ?? ""));
      // On pointerdown the message box would lose its focus before the click arrives.
      row.addEventListener("pointerdown", (event) => event.preventDefault());
      row.addEventListener("click", () => this.#pick(index));
      return row;
    });
    this.list.replaceChildren(...rows);
    this.list.hidden = rows.length === 0;
    if (rows.length) {
      this.input.setAttribute("aria-activedescendant", `command-${this.#at}`);
      rows[this.#at].scrollIntoView({ block: "nearest" });
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }
}
