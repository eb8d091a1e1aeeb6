// The conversation: wires the log, the message box, the sidebar and the socket together.

import { history, logout, NotLoggedIn } from "./api.js";
import { Composer } from "./composer.js";
import { byId, el } from "./dom.js";
import { Log } from "./log.js";
import { newId, Outbox } from "./outbox.js";
import { Sessions } from "./sessions.js";
import { Socket } from "./socket.js";

const EXAMPLES = [
  "What is 17.5% of 230?",
  "What time is it in Tokyo?",
  "Make a note: buy milk",
  "List my files",
  "Run uname -a",
];
const STATES = { connecting: "Connecting…", waiting: "No connection. Try now", closed: "" };

export class Chat {
  #outbox = new Outbox();
  #sessionOf = new Map(); // turn id → session id, for frames that carry only the turn
  #foreign = new Set(); // turns that another window or channel began
  #fresh = false;
  #queue = Promise.resolve();
  #end = () => {};

  constructor() {
    this.node = byId("chat");
    this.log = new Log({
      onDecision: (approval_id, decision) => this.#send({ type: "approve", approval_id, decision }),
    });
    this.sessions = new Sessions({ send: (frame) => this.#send(frame) });
    this.composer = new Composer({
      onSend: (content, attachments) => this.#say(content, attachments),
      onStop: () => this.#send({ type: "stop", session_id: this.sessions.current }),
      onProblem: (words) => this.log.problem(words),
    });
    this.socket = new Socket({
      // In turn: a conversation's history is on screen before the frames that follow it.
      onFrame: (frame) => {
        this.#queue = this.#queue.then(() => this.#take(frame)).catch(console.error);
        this.#queue.then(() => this.#settle());
      },
      onState: (state) => this.#state(state),
      onRefused: () => this.#stillLoggedIn(),
    });
    this.pill = byId("connection");
    this.pill.addEventListener("click", () => this.socket.wake());
    byId("logout").addEventListener("click", () => this.#logout());
    this.#examples();
  }

  /**
   * Shows the chat until the login ends. `first`: what `/api/history` just said, or null when the
   * gateway did not answer. → words for the login form, maybe empty.
   */
  run(first) {
    this.node.hidden = false;
    if (first) {
      this.sessions.open(first.session_id);
      this.log.show(first.messages);
      this.#fresh = true;
    }
    this.#settle();
    this.composer.focus();
    this.socket.open();
    return new Promise((resolve) => {
      this.#end = (words) => {
        this.socket.close();
        this.log.clear();
        this.composer.clear();
        this.sessions.show([]);
        this.node.hidden = true;
        resolve(words);
      };
    });
  }

  #say(content, attachments) {
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    const frame = { type: "user_input", content, message_id: newId(), timezone: timeZone };
    // Named, so that it is never answered in a conversation that another window opened since.
    if (this.sessions.current) frame.session_id = this.sessions.current;
    if (attachments.length) frame.attachments = attachments;
    this.#outbox.add(frame);
    this.log.say(frame.message_id, content, attachments);
    this.#deliver(frame);
    this.#settle();
  }

  #deliver(frame) {
    const attachments = frame.attachments?.map(({ id, voice }) => ({ id, voice }));
    return this.socket.send({ ...frame, attachments });
  }

  #send(frame) {
    if (!this.socket.send(frame)) this.log.problem("There is no connection to Famulus right now.");
  }

  async #take(frame) {
    const here = this.#isHere(frame);
    switch (frame.type) {
      case "session_established":
        await this.#established(frame);
        break;
      case "session_created":
      case "session_loaded":
        await this.#open(frame.session_id, frame.title, frame.messages);
        this.#refresh();
        this.composer.focus();
        break;
      case "session_list":
        this.sessions.show(frame.sessions);
        if (!this.sessions.current) await this.#open(frame.current_session_id);
        break;
      case "session_renamed":
        this.sessions.rename(frame.session_id, frame.title);
        break;
      case "session_archived":
      case "session_deleted":
        this.sessions.remove(frame.session_id);
        // The list that comes back says in which conversation the chat is now.
        this.#refresh();
        break;
      case "history_cleared":
        if (here) this.log.clear();
        break;
      case "slash_commands_list":
        this.composer.commands.learn(frame.commands);
        break;
      case "turn_started":
        this.#started(frame, here);
        break;
      case "assistant_delta":
        if (here) this.log.turn(frame.turn_id).append(frame.content, frame.restarted);
        break;
      case "tool_started":
        if (here) this.log.turn(frame.turn_id).toolStarted(frame);
        break;
      case "tool_finished":
        if (here) this.log.turn(frame.turn_id).toolFinished(frame);
        break;
      case "approval_requested":
        if (here) this.log.turn(frame.turn_id).approval(frame);
        break;
      case "assistant_response":
        await this.#answered(frame, here);
        break;
      case "command_executed":
        // `/new` and `/switch` move the chat; what the command has to say comes as an answer.
        if (!here) await this.#open(frame.session_id, frame.title);
        else if (frame.title) this.sessions.rename(frame.session_id, frame.title);
        if (frame.content) this.log.note(frame.content);
        break;
      case "system_notification":
        if (here) this.log.note(frame.content);
        break;
      case "error":
        this.#failed(frame);
        break;
    }
  }

  #isHere({ session_id, turn_id }) {
    const session = session_id ?? this.#sessionOf.get(turn_id);
    return session === undefined || session === this.sessions.current;
  }

  async #established({ session_id, title }) {
    const known = this.#fresh && session_id === this.sessions.current;
    this.#fresh = false;
    if (known) this.sessions.open(session_id, title);
    else await this.#open(session_id, title);
    for (const frame of this.#outbox.frames()) {
      if (this.#isHere(frame)) this.log.say(frame.message_id, frame.content, frame.attachments);
      this.#deliver(frame);
    }
    this.#refresh();
    this.#send({ type: "get_slash_commands" });
  }

  async #open(sessionId, title, messages) {
    if (sessionId !== this.sessions.current) this.log.clear();
    this.sessions.open(sessionId, title);
    try {
      this.log.show(messages ?? (await history(sessionId)).messages);
    } catch (failure) {
      if (failure instanceof NotLoggedIn) this.#end("Please log in again.");
      else this.log.problem(failure.message);
    }
  }

  #started({ turn_id, session_id, message_ids }, here) {
    this.#sessionOf.set(turn_id, session_id);
    if (!here) return;
    for (const id of message_ids ?? []) this.log.accepted(id);
    if (message_ids?.length && !message_ids.some((id) => this.log.has(id))) this.#foreign.add(turn_id);
    this.log.turn(turn_id);
    this.#refresh();
  }

  async #answered(frame, here) {
    for (const id of frame.message_ids ?? []) {
      this.#outbox.settle(id);
      this.log.accepted(id);
    }
    this.#sessionOf.delete(frame.turn_id);
    if (here) this.log.answer(frame);
    else this.sessions.unread(frame.session_id);
    // The question came from elsewhere and is not in this log yet.
    if (this.#foreign.delete(frame.turn_id) && here) await this.#open(this.sessions.current);
    this.#refresh();
  }


  #failed({ message, message_id }) {
    const sent = message_id && this.#outbox.settle(message_id);
    if (!sent) return this.log.problem(message);
    this.log.refused(message_id, message, () => this.#say(sent.content, sent.attachments ?? []));
  }

  #refresh() {
    this.socket.send({ type: "list_sessions", include_archived: false });
  }

  #settle() {
    this.composer.running = this.log.isRunning;
    byId("empty").hidden = !this.log.isEmpty;
  }

  #state(state) {
    this.pill.textContent = STATES[state] ?? "";
    this.pill.dataset.state = state;
    this.pill.hidden = !this.pill.textContent;
  }

  async #stillLoggedIn() {
    try {
      await history();
      return true;
    } catch (failure) {
      if (!(failure instanceof NotLoggedIn)) return true;
      this.#end("Please log in again.");
      return false;
    }
  }

  async #logout() {
    try {
      await logout();
    } catch (failure) {
      if (!(failure instanceof NotLoggedIn)) return this.log.problem(failure.message);
    }
    this.#outbox.clear();
    this.#end("");
  }

  #examples() {
    const row = (text) =>
      el("li", {}, el("button", { type: "button", onclick: () => this.#say(text, []) }, text));
    byId("examples").append(...EXAMPLES.map(row));
  }
}
