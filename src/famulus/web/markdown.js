// Markdown to DOM nodes. markdown-it only parses; every node is made here from a list of known
// tags, with text as text. So no markup of a model, a tool or a web page can become an element.

import MarkdownIt from "./vendor/markdown-it.js";
import { copyButton } from "./clipboard.js";
import { el } from "./dom.js";
import { highlight } from "./highlight.js";

const SAFE_LINK = /^(https?:\/\/|mailto:)/i;
const BLOCKS = new Set(
  "p ul ol li blockquote table thead tbody tr th td strong em s a h1 h2 h3 h4 h5 h6".split(" "),
);

const parser = new MarkdownIt({ html: false, linkify: true, breaks: true });
parser.validateLink = (address) => SAFE_LINK.test(address);
// Without a scheme "notes.md" or "example.py" would become a link to somebody's domain.
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false });

/** A node that shows Markdown and keeps the blocks that did not change while text streams in. */
export class MarkdownView {
  #shown = [];

  constructor() {
    this.node = el("div", { class: "markdown" });
  }

  show(text) {
    const blocks = split(text);
    let same = 0;
    while (same < blocks.length && this.#shown[same]?.source === blocks[same].source) same += 1;
    for (const old of this.#shown.splice(same)) old.node.remove();
    for (const block of blocks.slice(same)) {
      const node = el("div", { class: "block" });
      render(block.tokens, node);
      this.node.append(node);
      this.#shown.push({ source: block.source, node });
    }
  }
}

function split(text) {
  const environment = {};
  const tokens = parser.parse(text, environment);
  const lines = text.split("\n");
  // A link definition at the end changes how earlier blocks read, so it is part of their identity.
  const references = Object.keys(environment.references ?? {}).join("\n");
  const blocks = [];
  for (const token of tokens) {
    if (token.level === 0 && token.nesting >= 0) {
      const [from, to] = token.map ?? [0, 0];
      const source = `${references}\n${token.type}\n${lines.slice(from, to).join("\n")}`;
      blocks.push({ source, tokens: [] });
    }
    blocks.at(-1).tokens.push(token);
  }
  return blocks;
}

function render(tokens, root) {
  const open = [root];
  for (const token of tokens) {
    const parent = open.at(-1);
    if (token.nesting === 1) open.push(opened(token, parent));
    else if (token.nesting === -1) open.pop();
    else leaf(token, parent);
  }
}

function opened(token, parent) {
  // The paragraphs of a tight list are hidden: their text belongs to the list item itself.
  if (token.hidden || !BLOCKS.has(token.tag)) return parent;
  if (token.tag === "a") return parent.appendChild(link(token.attrGet("href")));
  if (token.tag === "table") {
    const table = el("table");
    parent.append(el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Table" }, table));
    return table;
  }
  const heading = /^h([1-6])$/.exec(token.tag);
  const node = el(heading ? `h${Math.min(6, Number(heading[1]) + 2)}` : token.tag);
  if (token.tag === "ol" && token.attrGet("start")) node.setAttribute("start", token.attrGet("start"));
  const align = /text-align:(left|right|center)/.exec(token.attrGet("style") ?? "");
  if (align) node.dataset.align = align[1];
  return parent.appendChild(node);
}

function leaf(token, parent) {
  switch (token.type) {
    case "inline":
      return render(token.children, parent);
    case "softbreak":
    case "hardbreak":
      return parent.append(el("br"));
    case "hr":
      return parent.append(el("hr"));
    case "code_inline":
      return parent.append(el("code", {}, token.content));
    case "fence":
    case "code_block":
      return parent.append(codeBlock(token.content, token.info.trim().split(/\s+/)[0].toLowerCase()));
    case "image":
      return parent.append(pictureLink(token));
    default:
      return parent.append(token.content);
  }
}

// A picture is shown as a link: loading it would tell its server what the answer holds.
function pictureLink(token) {
  const address = token.attrGet("src") ?? "";
  const node = link(address);
  node.append(`Image: ${token.content || address}`);
  return node;
}

function link(address) {
  if (!SAFE_LINK.test(address)) return el("span");
  return el("a", { href: address, target: "_blank", rel: "noopener noreferrer" });
}

function codeBlock(text, language) {
  const code = el("code");
  highlight(code, text.replace(/\n$/, ""), language);
  const name = el("span", {}, language || "text");
  const head = el("div", { class: "code-head" }, name, copyButton(() => text, "Copy code"));
  const label = `Code${language ? ` in ${language}` : ""}`;
  return el("div", { class: "code" }, head, el("pre", { tabindex: "0", role: "region", "aria-label": label }, code));
}
