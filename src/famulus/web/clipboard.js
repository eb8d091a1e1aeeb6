// Copying, with the old way for pages that are served without TLS on a home network.

import { el } from "./dom.js";
import { icon } from "./icons.js";

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = el("textarea", { class: "offscreen", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** `text()` is asked when the button is pressed. */
export function copyButton(text, label = "Copy") {
  const button = el("button", { type: "button", class: "quiet copy", "aria-label": label }, icon("copy"));
  const restore = () => {
    button.replaceChildren(icon("copy"));
    button.setAttribute("aria-label", label);
  };
  button.addEventListener("click", async () => {
    await copy(text());
    button.replaceChildren(icon("check"));
    button.setAttribute("aria-label", "Copied");
    setTimeout(restore, 1600);
  });
  return button;
}
