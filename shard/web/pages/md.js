// Markdown as elements: no string ever becomes HTML.
import { h, copyText } from "./common.js";

const KEYWORDS = new Set("and as async await break case catch chan class const continue def default defer del do elif else enum except export extends false False final finally fn for from func function go if impl import in interface is lambda let loop match mod mut new nil None not null or package pass private pub public raise range return select self static struct super switch this throw trait true True try type union use using var void where while with yield SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE CREATE TABLE JOIN ON GROUP BY ORDER LIMIT AND OR NOT NULL echo fi then done esac local".split(" "));
const TOKEN = /("(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|`(?:\\.|[^`\\])*`?)|(\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|(?:^|(?<=\s))#[^\n]*|--\s[^\n]*)|(\b\d[\w.]*\b)|([A-Za-z_]\w*)/gm;

function highlight(code) {
  const out = [];
  let at = 0;
  for (const m of code.matchAll(TOKEN)) {
    const kind = m[1] ? "t-str" : m[2] ? "t-com" : m[3] ? "t-num" : KEYWORDS.has(m[4]) ? "t-key" : "";
    if (!kind) continue;
    out.push(code.slice(at, m.index), h("span", { class: kind }, m[0]));
    at = m.index + m[0].length;
  }
  out.push(code.slice(at));
  return out;
}

function codeBlock(lang, code) {
  const b = h("button", { class: "btn", type: "button", "aria-label": "Copy the code", onclick: () => copyText(code, b) }, "Copy");
  const plain = code.length > 20000 || /^(te?xt|plain|output|console)$/i.test(lang);
  return h("div", { class: "block" }, h("div", {}, h("span", {}, lang || "code"), b), h("pre", { tabindex: "0", "aria-label": (lang || "code") + " block" }, h("code", {}, plain ? code : highlight(code))));
}

const INLINE = /(`+)([\s\S]*?[^`])\1(?!`)|\[([^\]\n]+)\]\(((?:[^()\s]|\([^()\s]*\))+)(?:\s+"[^"]*")?\)|\*\*(?=\S)([\s\S]*?\S)\*\*|__(?=\S)([\s\S]*?\S)__(?!\w)|~~(?=\S)([\s\S]*?\S)~~|\*(?=[^\s*])([\s\S]*?[^\s*])\*(?!\*)|\b_(?=[^\s_])([\s\S]*?[^\s_])_\b|(https?:\/\/[^\s<>()]*[^\s<>().,;:!?'"])|\\([\\`*_{}[\]()#+\-.!~|>])|( {2,}\n)/g;

export function inline(text) {
  const out = [];
  let at = 0;
  for (const m of text.matchAll(INLINE)) {
    out.push(text.slice(at, m.index));
    at = m.index + m[0].length;
    if (m[1]) out.push(h("code", {}, m[2].replace(/^ (.*) $/s, "$1")));
    else if (m[3]) out.push(link(m[4], inline(m[3])));
    else if (m[5] || m[6]) out.push(h("strong", {}, inline(m[5] || m[6])));
    else if (m[7]) out.push(h("del", {}, inline(m[7])));
    else if (m[8] || m[9]) out.push(h("em", {}, inline(m[8] || m[9])));
    else if (m[10]) out.push(link(m[10], [m[10]]));
    else if (m[11]) out.push(m[11]);
    else out.push(h("br"));
  }
  out.push(text.slice(at));
  return out.filter((x) => x !== "");
}

// link makes links to the web alone: a model may write any scheme.
function link(href, children) {
  if (!/^(https?:\/\/|mailto:)/i.test(href)) return h("span", {}, children);
  return h("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, children);
}

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;

// markdown returns the elements of a text, which may be cut off anywhere.
export function markdown(text) {
  return blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0);
}

function blocks(lines, depth) {
  const out = [];
  let i = 0;
  while (i < lines.length) {
    const line = lines[i];
    let m;
    if (/^\s*$/.test(line)) { i++; continue; }
    if ((m = /^\s{0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/.exec(line))) {
      const body = [];
      for (i++; i < lines.length && !(lines[i].trim().startsWith(m[1]) && /^[`~]+$/.test(lines[i].trim())); i++) body.push(lines[i]);
      i++;
      out.push(codeBlock(m[2], body.join("\n")));
    } else if ((m = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line))) {
      out.push(h("h" + Math.min(4, m[1].length), {}, inline(m[2])));
      i++;
    } else if (/^\s{0,3}([-*_])(\s*\1){2,}\s*$/.test(line)) {
      out.push(h("hr"));
      i++;
    } else if (/^\s{0,3}>/.test(line) && depth < 8) {
      const body = [];
      for (; i < lines.length && /^\s{0,3}>/.test(lines[i]); i++) body.push(lines[i].replace(/^\s{0,3}>\s?/, ""));
      out.push(h("blockquote", {}, blocks(body, depth + 1)));
    } else if (ITEM.test(line) && depth < 8) {
      i = list(lines, i, out, depth);
    } else if (line.includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[i + 1] || "") && lines[i + 1].includes("-")) {
      const cells = (l) => l.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((c) => inline(c.trim()));
      const head = cells(line), rows = [];
      for (i += 2; i < lines.length && lines[i].includes("|"); i++) rows.push(cells(lines[i]));
      out.push(h("div", { class: "tablewrap" }, h("table", {}, h("thead", {}, h("tr", {}, head.map((c) => h("th", { scope: "col" }, c)))), h("tbody", {}, rows.map((r) => h("tr", {}, r.map((c) => h("td", {}, c))))))));
    } else {
      const body = [];
      do { body.push(lines[i]); i++; } while (i < lines.length && !/^\s*$/.test(lines[i]) && !/^\s{0,3}(`{3,}|~{3,}|#{1,6}\s|>)/.test(lines[i]) && !ITEM.test(lines[i]));
      out.push(h("p", {}, inline(body.join("\n"))));
    }
  }
  return out;
}

function list(lines, i, out, depth) {
  const first = ITEM.exec(lines[i]), indent = first[1].length, ordered = /\d/.test(first[2]);
  const items = [];
  while (i < lines.length) {
    const m = ITEM.exec(lines[i]);
    if (!m || m[1].length > indent + 1 || m[1].length < indent || /\d/.test(m[2]) !== ordered) break;
    const body = [m[3]], inner = m[1].length + m[2].length + 1;
    for (i++; i < lines.length; i++) {
      const l = lines[i], blank = /^\s*$/.test(l), deep = /^(\s*)/.exec(l)[1].length > indent;
      if (blank && !(i + 1 < lines.length && /^(\s*)/.exec(lines[i + 1])[1].length > indent && lines[i + 1].trim())) break;
      if (!blank && !deep) { if (ITEM.test(l) || /^\s{0,3}(`{3,}|#{1,6}\s|>)/.test(l)) break; }
      body.push(l.slice(Math.min(inner, /^(\s*)/.exec(l)[1].length)));
    }
    const kids = blocks(body, depth + 1);
    if (kids[0]?.tagName === "P") kids.splice(0, 1, ...kids[0].childNodes);
    items.push(h("li", {}, kids));
    if (i < lines.length && /^\s*$/.test(lines[i]) && ITEM.test(lines[i + 1] || "")) i++;
  }
  out.push(h(ordered ? "ol" : "ul", ordered && parseInt(first[2], 10) !== 1 ? { start: parseInt(first[2], 10) } : {}, items));
  return i;
}
