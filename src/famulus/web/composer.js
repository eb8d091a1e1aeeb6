// The message box: Enter sends, Shift+Enter breaks the line, "/" opens the commands.

import { Attachments } from "./attachments.js";
import { Commands } from "./commands.js";
import { byId } from "./dom.js";
import { Recorder } from "./recorder.js";

const LONGEST = 64 * 1024; // bytes, the gateway's limit of a message

export class Composer {
  /** onSend(content, attachments); onStop(); onProblem(words). */
  constructor({ onSend, onStop, onProblem }) {
    this.onSend = onSend;
    this.onProblem = onProblem;
    this.form = byId("composer");
    this.input = byId("input");
    this.sendButton = byId("send");
    this.stopButton = byId("stop");
    this.commands = new Commands({ onPick: (text) => this.put(text) });
    this.attachments = new Attachments({ onChange: () => this.#ready() });
    new Recorder({ onFile: (file) => this.attachments.add(file, { voice: true }), onProblem });
    this.stopButton.addEventListener("click", () => {
      onStop();
      this.input.focus();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.input.addEventListener("input", () => this.#changed());
    this.input.addEventListener("blur", () => this.commands.close());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.form.addEventListener("click", (event) => {
      if (event.target === this.form) this.input.focus();
    });
  }

  set running(value) {
    this.stopButton.hidden = !value;
  }

  focus() {
    // On a touch screen focus would raise the keyboard over the conversation.
    if (matchMedia("(pointer: fine)").matches) this.input.focus();
  }

  put(text) {
    this.input.value = text;
    this.input.focus();
    this.#changed();
  }

  clear() {
    this.attachments.take();
    this.input.value = "";
    this.#changed();
  }

  send() {
    const content = this.input.value.trim();
    if (this.sendButton.disabled) return;
    if (new TextEncoder().encode(content).length > LONGEST) {
      this.onProblem("That message is longer than 64 KB. Attach it as a file instead.");
      return;
    }
    this.commands.close();
    this.input.value = "";
    this.onSend(content, this.attachments.take());
    this.#changed();
  }

  #key(event) {
    // While an input method composes a word, Enter chooses it and must not send.
    if (event.isComposing || this.commands.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.send();
    }
  }

  #changed() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
    this.commands.suggest(this.input.value);
    this.#ready();
  }

  #ready() {
    const nothing = !this.input.value.trim() && this.attachments.isEmpty;
    this.sendButton.disabled = nothing || this.attachments.isBusy;
  }
}
