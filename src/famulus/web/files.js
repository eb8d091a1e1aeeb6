// The files of a message that was said, by the person or by Famulus.

import { el } from "./dom.js";
import { bytes } from "./format.js";
import { icon } from "./icons.js";

const PICTURE = /^image\/(png|jpeg|gif|webp)$/;

/** `attachments`: `[{id, name, media_type, size?}]` of files that the gateway keeps. */
export function fileList(attachments) {
  const items = attachments.map((file) => el("li", {}, fileLink(file)));
  return el("ul", { class: "files", "aria-label": "Attached files" }, ...items);
}

function fileLink({ id, name, media_type, size }) {
  const link = el("a", { href: `/api/blob/${encodeURIComponent(id)}`, target: "_blank", rel: "noopener" });
  if (PICTURE.test(media_type)) {
    link.className = "picture";
    link.append(el("img", { src: link.href, alt: name || "picture", loading: "lazy" }));
  } else {
    link.append(icon("file"), el("span", {}, name || "file"), size ? el("small", {}, bytes(size)) : "");
  }
  return link;
}
