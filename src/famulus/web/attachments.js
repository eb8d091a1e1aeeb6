// Files on their way with the next message: chosen, pasted or dropped, uploaded at once.

import { upload } from "./api.js";
import { byId, el } from "./dom.js";
import { bytes } from "./format.js";
import { icon } from "./icons.js";

const MOST = 10;
const LARGEST = 20e6;

export class Attachments {
  #items = new Set();

  /** onChange(): the list or an upload's state changed. */
  constructor({ onChange }) {
    this.onChange = onChange;
    this.list = byId("attachments");
    this.#listen();
  }

  /** Whether nothing here would go out: a failed file does not. */
  get isEmpty() {
    return ![...this.#items].some((item) => item.state !== "failed");
  }

  get isBusy() {
    return [...this.#items].some((item) => item.state === "uploading");
  }

  /** → what was uploaded, `[{id, name, media_type, size}]`, and empties the list. */
  take() {
    const ready = [...this.#items].filter((item) => item.state === "ready");
    for (const item of [...this.#items]) this.#remove(item);
    return ready.map((item) => item.answer);
  }

  #listen() {
    const file = byId("file");
    byId("attach").addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      this.#addAll(file.files);
      file.value = "";
    });
    byId("input").addEventListener("paste", (event) => {
      if (!event.clipboardData.files.length) return;
      event.preventDefault();
      this.#addAll(event.clipboardData.files);
    });
    const area = byId("main");
    const drop = byId("drop");
    area.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      drop.hidden = false;
    });
    drop.addEventListener("dragleave", () => (drop.hidden = true));
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.hidden = true;
      this.#addAll(event.dataTransfer.files);
    });
  }

  #addAll(files) {
    for (const file of files) this.add(file);
  }

  /** `voice`: just spoken by the user, so its words count as the user's. */
  async add(file, { voice = false } = {}) {
    const item = { state: "uploading", preview: "" };
    item.label = el("small", {}, bytes(file.size));
    const remove = el("button", { type: "button", class: "quiet", "aria-label": `Remove ${file.name}` }, icon("cross"));
    remove.addEventListener("click", () => this.#remove(item));
    item.node = el("li", { "data-state": "uploading" }, this.#face(item, file));
    item.node.append(el("span", { class: "name" }, file.name), item.label, remove);
    this.list.append(item.node);
    this.#items.add(item);
    this.#changed();
    try {
      if (this.#items.size > MOST) throw new Error(`At most ${MOST} files`);
      if (file.size > LARGEST) throw new Error(`Larger than ${bytes(LARGEST)}`);
      const answer = await upload(file);
      item.answer = { name: file.name, size: file.size, media_type: file.type, ...answer };
      if (voice) item.answer.voice = true;
      item.state = "ready";
    } catch (failure) {
      item.state = "failed";
      item.label.textContent = failure.message;
    }
    item.node.dataset.state = item.state;
    this.#changed();
  }

  #face(item, file) {
    if (!/^image\/(png|jpeg|gif|webp|avif)$/.test(file.type)) return icon("file");
    item.preview = URL.createObjectURL(file);
    return el("img", { src: item.preview, alt: "" });
  }

  #remove(item) {
    if (item.preview) URL.revokeObjectURL(item.preview);
    item.node.remove();
    this.#items.delete(item);
    this.#changed();
  }

  #changed() {
    this.list.hidden = this.#items.size === 0;
    this.onChange();
  }
}
