// Colours for code, good enough to read by: comments, strings, numbers and common keywords.

const WORDS = new Set(
  ("and as async await break case catch class const continue def default del do done echo elif else " +
    "end enum esac except export extends extern false False fi finally fn for foreach from func function " +
    "global go if impl import in interface is lambda let local match mod move mut new nil None nonlocal " +
    "not null or package pass pub public private protected raise return select self static struct super " +
    "switch then this throw trait true True try type typeof union unless until use using var void when " +
    "where while with yield SELECT FROM WHERE INSERT INTO UPDATE SET DELETE CREATE TABLE JOIN LEFT ON " +
    "GROUP BY ORDER LIMIT VALUES AND OR NOT NULL").split(" "),
);
const HASH = new Set(
  "python py sh bash shell zsh yaml yml toml ruby rb perl r make makefile dockerfile conf ini elixir".split(" "),
);
const DASH = new Set(["sql", "lua", "haskell", "hs"]);
const PLAIN = new Set(["", "text", "txt", "plain", "output", "console", "log", "markdown", "md", "diff"]);
const LIMIT = 40_000; // characters; beyond it colours cost more than they help

const STRING = String.raw`"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|` + "`(?:\\\\.|[^`\\\\])*`";
const REST = String.raw`(?<number>\b0x[\da-fA-F]+\b|\b\d[\d_]*(?:\.\d+)?\b)|(?<word>[A-Za-z_]\w*)`;
const COMMENTS = {
  hash: String.raw`#[^\n]*`,
  dash: String.raw`--[^\n]*|/\*[\s\S]*?\*/`,
  slash: String.raw`//[^\n]*|/\*[\s\S]*?\*/|<!--[\s\S]*?-->`,
};

/** Appends `text` to `node` with spans of class `hl-…` around what has a colour. */
export function highlight(node, text, language) {
  if (PLAIN.has(language) || text.length > LIMIT) {
    node.append(text);
    return;
  }
  const kind = HASH.has(language) ? "hash" : DASH.has(language) ? "dash" : "slash";
  const pattern = new RegExp(`(?<comment>${COMMENTS[kind]})|(?<string>${STRING})|${REST}`, "g");
  let end = 0;
  for (const found of text.matchAll(pattern)) {
    const { comment, string, number, word } = found.groups;
    const name = comment ? "comment" : string ? "string" : number ? "number" : WORDS.has(word) ? "word" : "";
    if (!name) continue;
    node.append(text.slice(end, found.index));
    const span = document.createElement("span");
    span.className = `hl-${name}`;
    span.textContent = found[0];
    node.append(span);
    end = found.index + found[0].length;
  }
  node.append(text.slice(end));
}
