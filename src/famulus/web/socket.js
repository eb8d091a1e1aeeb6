// The WebSocket: stays connected, and says in which state it is: connecting, open, waiting, closed.

const FIRST_DELAY = 500;
const LONGEST_DELAY = 15_000;
const PING_EVERY = 25_000;
const ANSWER_WITHIN = 10_000;

const LOGIN_ENDED = 1008; // WebSocket's "policy violation"

export class Socket {
  #socket = null;
  #delay = FIRST_DELAY;
  #retry = 0;
  #ping = 0;
  #deadline = 0;
  #closed = true;

  /**
   * onFrame(frame): called in order of arrival. onState(state).
   * onRefused(): the gateway may not know this login any more; → false stops trying (the login is gone).
   */
  constructor({ onFrame, onState, onRefused }) {
    this.onFrame = onFrame;
    this.onState = onState;
    this.onRefused = onRefused;
    window.addEventListener("online", () => this.wake());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.wake();
    });
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  open() {
    this.#closed = false;
    this.#connect();
  }

  close() {
    this.#closed = true;
    this.#quiet();
    this.#socket?.close(1000);
    this.#socket = null;
    this.onState("closed");
  }

  /** The network or the person may be back: try now, or prove that the line still lives. */
  wake() {
    if (this.#closed) return;
    if (this.isOpen) this.#probe();
    else if (!this.#socket) this.#connect();
  }

  /** → whether the frame went out. */
  send(frame) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #connect() {
    this.#quiet();
    this.onState("connecting");
    const address = new URL("/ws", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    let opened = false;
    this.#socket = socket;
    this.#deadline = setTimeout(() => socket.close(), ANSWER_WITHIN);
    socket.onopen = () => {
      this.#alive();
      opened = true;
      this.#delay = FIRST_DELAY;
      this.#ping = setInterval(() => this.#probe(), PING_EVERY);
      this.onState("open");
    };
    socket.onmessage = (event) => {
      this.#alive();
      const frame = JSON.parse(event.data);
      if (frame.type !== "pong") this.onFrame(frame);
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) this.#lost(opened && code !== LOGIN_ENDED);
    };
  }

  async #lost(wasWelcome) {
    this.#quiet();
    this.#socket = null;
    this.onState("waiting");
    const delay = this.#delay * (0.75 + Math.random() / 2);
    this.#delay = Math.min(this.#delay * 2, LONGEST_DELAY);
    this.#retry = setTimeout(() => this.#connect(), delay);
    // A refused upgrade shows no status to the page, so the login is asked for over HTTP.
    if (!wasWelcome && (await this.onRefused()) === false) this.close();
  }

  #probe() {
    if (!this.send({ type: "ping" }) || this.#deadline) return;
    this.#deadline = setTimeout(() => {
      const dead = this.#socket;
      this.#lost(true);
      dead?.close();
    }, ANSWER_WITHIN);
  }

  #alive() {
    clearTimeout(this.#deadline);
    this.#deadline = 0;
  }

  #quiet() {
    this.#alive();
    clearTimeout(this.#retry);
    clearInterval(this.#ping);
  }
}
