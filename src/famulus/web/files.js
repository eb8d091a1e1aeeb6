// The files of a message that was said, by the person or by Famulus.

import { el } from "./dom.js";
import { bytes } from "./format.js";
import { icon } from "./icons.js";

/** `attachments`: `[{name, size?}]`. */
export function fileList(attachments) {
  const chip = ({ name, size }) =>
    el("li", {}, icon("file"), el("span", {}, name || "file"), size ? el("small", {}, bytes(size)) : null);
  return el("ul", { class: "files", "aria-label": "Attached files" }, ...attachments.map(chip));
}
