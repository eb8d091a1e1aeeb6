// The conversations beside the log: open, rename, delete. On a phone they slide in as a drawer.

import { byId, el } from "./dom.js";
import { fullTime } from "./format.js";
import { icon } from "./icons.js";

export const UNTITLED = "New conversation";
const NARROW = matchMedia("(max-width: 820px)");
const FOLDED = "famulus.folded";

export class Sessions {
  #list = [];
  #unread = new Set();
  #menu = null;

  /** send(frame): to the gateway. */
  constructor({ send }) {
    this.send = send;
    this.current = "";
    this.node = byId("sessions").querySelector("ul");
    this.sidebar = byId("sidebar");
    this.opener = byId("open-sidebar");
    this.backdrop = byId("backdrop");
    byId("new-session").addEventListener("click", () => {
      this.send({ type: "create_session" });
      this.#leave();
    });
    this.opener.addEventListener("click", () => this.#toggle(true));
    byId("close-sidebar").addEventListener("click", () => this.#toggle(false));
    this.backdrop.addEventListener("click", () => this.#toggle(false));
    this.node.addEventListener("scroll", () => this.#closeMenu());
    NARROW.addEventListener("change", () => this.#fit());
    document.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("pointerdown", (event) => {
      if (this.#menu && !this.#menu.contains(event.target)) this.#closeMenu();
    });
    this.#fit();
  }

  /** `sessions`: `[{session_id, title, updated, archived}]`. */
  show(sessions) {
    this.#list = sessions.filter((session) => !session.archived);
    this.#draw();
  }

  open(sessionId, title) {
    this.current = sessionId;
    this.#unread.delete(sessionId);
    const known = this.#list.find((session) => session.session_id === sessionId);
    if (known && title) known.title = title;
    if (!known) this.#list.unshift({ session_id: sessionId, title, updated: new Date().toISOString() });
    this.#draw();
  }

  rename(sessionId, title) {
    const known = this.#list.find((session) => session.session_id === sessionId);
    if (known) known.title = title;
    this.#draw();
  }

  /** The conversation is gone; when it was the open one, none is open then. */
  remove(sessionId) {
    this.#list = this.#list.filter((session) => session.session_id !== sessionId);
    if (sessionId === this.current) this.current = "";
    this.#draw();
  }

  unread(sessionId) {
    this.#unread.add(sessionId);
    this.#draw();
  }

  #draw() {
    const rows = [];
    let group = "";
    for (const session of this.#list) {
      const name = age(session.updated);
      if (name && name !== group) rows.push(el("li", { class: "group", role: "presentation" }, name));
      group = name;
      rows.push(this.#row(session));
    }
    this.node.replaceChildren(...rows);
    const title = this.#list.find(({ session_id }) => session_id === this.current)?.title || UNTITLED;
    byId("title").textContent = title;
    byId("title").classList.toggle("untitled", title === UNTITLED);
    document.title = title === UNTITLED ? "Famulus" : `${title} · Famulus`;
  }

  #row(session) {
    const { session_id, title, updated } = session;
    const name = title || UNTITLED;
    const isCurrent = session_id === this.current;
    const open = el("button", { type: "button", class: "row", title: updated ? fullTime(updated) : null }, name);
    if (isCurrent) open.setAttribute("aria-current", "page");
    if (this.#unread.has(session_id)) open.append(el("i", { class: "unread", role: "img", "aria-label": "new answer" }));
    open.addEventListener("click", () => {
      if (!isCurrent) this.send({ type: "load_session", session_id });
      this.#leave();
    });
    const more = el("button", { type: "button", class: "icon more", "aria-label": `Options for ${name}`, "aria-haspopup": "menu" });
    more.append(icon("dots"));
    const row = el("li", { class: isCurrent ? "current" : null }, open, more);
    more.addEventListener("click", () => this.#openMenu(session, row, more));
    return row;
  }

  #openMenu(session, row, more) {
    this.#closeMenu();
    const item = (label, act, kind = "") => {
      const button = el("button", { type: "button", role: "menuitem", class: kind }, label);
      button.addEventListener("click", () => {
        this.#closeMenu();
        act();
      });
      return button;
    };
    const { session_id, title } = session;
    this.#menu = el("div", { class: "menu", role: "menu" });
    this.#menu.append(
      item("Rename", () => this.#edit(session, row)),
      item("Archive", () => this.send({ type: "archive_session", session_id })),
      item("Delete", () => this.#delete(session_id, title || UNTITLED, more), "danger"),
    );
    document.body.append(this.#menu);
    const { bottom, right } = more.getBoundingClientRect();
    const { offsetWidth, offsetHeight } = this.#menu;
    this.#menu.style.left = `${Math.max(8, right - offsetWidth)}px`;
    this.#menu.style.top = `${Math.min(bottom + 4, innerHeight - offsetHeight - 8)}px`;
    this.#menu.opener = more;
    this.#menu.firstChild.focus();
  }

  #closeMenu() {
    this.#menu?.remove();
    this.#menu = null;
  }

  #edit(session, row) {
    const field = el("input", { type: "text", class: "rename", "aria-label": "Title", maxlength: "200" });
    field.value = session.title ?? "";
    row.replaceChildren(field);
    field.focus();
    field.select();
    let done = false;
    const finish = (save) => {
      if (done) return;
      done = true;
      const title = field.value.trim();
      if (save && title && title !== session.title) {
        this.send({ type: "rename_session", session_id: session.session_id, title });
      }
      this.#draw();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) finish(true);
      if (event.key === "Escape") finish(false);
      event.stopPropagation();
    });
    field.addEventListener("blur", () => finish(true));
  }

  #delete(sessionId, title, more) {
    const dialog = byId("confirm");
    byId("confirm-text").textContent = `Delete “${title}” and all its messages?`;
    byId("confirm-no").onclick = () => dialog.close();
    byId("confirm-yes").onclick = () => {
      dialog.close();
      this.send({ type: "delete_session", session_id: sessionId });
    };
    dialog.onclose = () => more.isConnected && more.focus();
    dialog.showModal();
  }

  #key(event) {
    if (this.#menu && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const items = [...this.#menu.children];
      const step = event.key === "ArrowDown" ? 1 : -1;
      items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
      event.preventDefault();
    } else if (event.key === "Escape" && this.#menu) {
      const { opener } = this.#menu;
      this.#closeMenu();
      opener.focus();
    } else if (event.key === "Escape" && NARROW.matches && this.isOpen) {
      this.#toggle(false);
    }
  }

  get isOpen() {
    return !this.sidebar.hasAttribute("inert");
  }

  // A phone starts with the drawer shut; a wide window remembers how it was left.
  #fit() {
    this.#set(!NARROW.matches && localStorage.getItem(FOLDED) !== "yes");
  }

  #leave() {
    if (NARROW.matches) this.#toggle(false);
  }

  #toggle(open) {
    if (!NARROW.matches) localStorage.setItem(FOLDED, open ? "no" : "yes");
    this.#set(open);
    (open ? byId("close-sidebar") : this.opener).focus();
  }

  #set(open) {
    this.#closeMenu();
    this.sidebar.toggleAttribute("inert", !open);
    document.body.classList.toggle("folded", !open);
    this.backdrop.hidden = !(open && NARROW.matches);
    byId("main").toggleAttribute("inert", open && NARROW.matches);
    this.opener.setAttribute("aria-expanded", String(open));
  }
}

function age(time) {
  const when = new Date(time ?? "");
  if (Number.isNaN(when.getTime())) return "";
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (when >= midnight) return "Today";
  if (when >= midnight - 86_400_000) return "Yesterday";
  return "Earlier";
}
