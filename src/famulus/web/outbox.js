// Messages that were said and not yet answered. They outlive a lost connection and a reload of the
// page, and go out again under the same id, which the gateway answers once.

const KEY = "famulus.outbox";

export class Outbox {
  #frames;

  constructor() {
    try {
      this.#frames = new Map(JSON.parse(sessionStorage.getItem(KEY) ?? "[]"));
    } catch {
      this.#frames = new Map();
    }
  }

  add(frame) {
    this.#frames.set(frame.message_id, frame);
    this.#save();
  }

  /** → the frame that was waiting, if it was ours. */
  settle(messageId) {
    const frame = this.#frames.get(messageId);
    if (this.#frames.delete(messageId)) this.#save();
    return frame;
  }

  frames() {
    return [...this.#frames.values()];
  }

  clear() {
    this.#frames.clear();
    this.#save();
  }

  #save() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify([...this.#frames]));
    } catch {
      // A full or forbidden store costs only the memory across a reload.
    }
  }
}

/** A random id; `crypto.randomUUID` exists only on pages served with TLS or from this machine. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0"));
  return hex.join("");
}
