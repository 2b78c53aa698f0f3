// What both pages share: elements, the key, requests, the theme.

// h makes an element: h("div", {class: "a", onclick: f}, "text", child).
export function h(tag, attrs, ...children) {
  const el = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith("on")) el.addEventListener(k.slice(2), v);
    else if (k === "value" || k === "checked" || k === "disabled" || k === "hidden") el[k] = v;
    else el.setAttribute(k, v === true ? "" : v);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

const SVG = "http://www.w3.org/2000/svg";
export function s(tag, attrs, ...children) {
  const el = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(attrs || {})) el.setAttribute(k, v);
  el.append(...children);
  return el;
}

const icons = {
  sun: "M12 4V2M12 22v-2M4 12H2M22 12h-2M6 6 4.6 4.6M19.4 19.4 18 18M6 18l-1.4 1.4M19.4 4.6 18 6M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z",
  moon: "M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5Z",
  plus: "M12 5v14M5 12h14", menu: "M4 7h16M4 12h16M4 17h16", gear: "M4 8h9M17 8h3M4 16h3M11 16h9M15 6v4M9 14v4",
  send: "M12 19V5M6 11l6-6 6 6", stop: "M7 7h10v10H7z", copy: "M9 9h10v10H9zM5 15V5h10", edit: "M4 20h4L19 9l-4-4L4 16v4Z",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6", left: "M14 6l-6 6 6 6", right: "M10 6l6 6-6 6", trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  close: "M6 6l12 12M18 6 6 18", key: "M15 9a4 4 0 1 0-3.5 4L14 15.5h2.5V18H19v-3l-4.6-4.6",
};
export function icon(name) {
  return s("svg", { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "2", "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" },
    s("path", { d: icons[name] }));
}
export function iconButton(name, label, onclick, more) {
  return h("button", { class: "btn icon", type: "button", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

export const $ = (id) => document.getElementById(id);

// The key. A link may bring it behind the #, which no browser sends: it is
// taken from the address bar at once.
const KEY = "shardnode.key";
function takeKey() {
  const m = /[#&]key=([^&]+)/.exec(location.hash);
  if (!m) return;
  try { localStorage.setItem(KEY, decodeURIComponent(m[1])); } catch { memory = decodeURIComponent(m[1]); }
  history.replaceState(null, "", location.pathname + location.search);
}
let memory = "";
function key() {
  try { return sessionStorage.getItem(KEY) || localStorage.getItem(KEY) || memory; } catch { return memory; }
}
takeKey();
addEventListener("hashchange", () => { if (/[#&]key=/.test(location.hash)) { takeKey(); location.reload(); } });

let asking = null;
// askKey shows the dialog for the key and returns when one was given.
export function askKey(wrong) {
  if (asking) return asking;
  asking = new Promise((resolve) => {
    const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", placeholder: "sk-…", required: true });
    const keep = h("input", { type: "checkbox", checked: true });
    const form = h("form", { method: "dialog" },
      h("h2", {}, "API key"),
      h("p", { class: "soft" }, "This member answers only those who have its key. It stays in this browser."),
      wrong ? h("p", { class: "error field", role: "alert" }, "That key is not this member’s.") : null,
      h("label", { class: "field" }, "Key", input),
      h("p", { class: "soft field" }, "On the machine where the member runs, ", h("span", { class: "mono" }, "shardnode"), " prints a link that brings it, and says in which file it is."),
      h("div", { class: "row" }, h("label", { class: "check" }, keep, "keep it after this tab closes"), h("span", { class: "spacer" }), h("button", { class: "btn main" }, "Use this key")));
    const dialog = h("dialog", { "aria-label": "API key" }, form);
    dialog.addEventListener("cancel", (e) => e.preventDefault());
    form.addEventListener("submit", () => {
      memory = input.value.trim();
      try {
        sessionStorage.removeItem(KEY); localStorage.removeItem(KEY);
        (keep.checked ? localStorage : sessionStorage).setItem(KEY, memory);
      } catch { /* no storage: the tab remembers */ }
      asking = null;
      dialog.remove();
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
  return asking;
}

// ask makes a request with the key, and asks for another key when it is wrong.
export async function ask(path, options = {}) {
  for (;;) {
    const tried = key();
    if (!tried) { await askKey(false); continue; }
    const r = await fetch(path, { ...options, headers: { ...options.headers, Authorization: "Bearer " + tried } });
    if (r.status !== 401) return r;
    await askKey(true);
  }
}

// errorOf returns what a failed answer says.
export async function errorOf(r) {
  try {
    const v = await r.json();
    return v.error?.message || v.error || r.statusText;
  } catch { return r.statusText || "status " + r.status; }
}

// events yields the server-sent events of a response.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const e = { event: "message", data: "", id: "", comment: "" };
      for (const line of rest.slice(0, end).split("\n")) {
        const at = line.indexOf(":");
        if (at === 0) e.comment = line.slice(1).trim();
        else if (at > 0) {
          const name = line.slice(0, at), text = line.slice(at + 1).replace(/^ /, "");
          if (name === "data") e.data += (e.data ? "\n" : "") + text;
          else e[name] = text;
        }
      }
      rest = rest.slice(end + 2);
      yield e;
    }
  }
}

// theme is the button that goes from the system's colours to the others.
export function themeButton() {
  const root = document.documentElement;
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const b = iconButton("sun", "Colours", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("shardnode.theme", root.dataset.theme); } catch { /* for this page alone */ }
    show();
  });
  const show = () => { b.replaceChildren(icon(dark() ? "sun" : "moon")); b.title = dark() ? "Light colours" : "Dark colours"; b.setAttribute("aria-label", b.title); };
  try { const kept = localStorage.getItem("shardnode.theme"); if (kept) root.dataset.theme = kept; } catch { /* none kept */ }
  show();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  return b;
}

export async function copyText(text, button) {
  try { await navigator.clipboard.writeText(text); } catch {
    const t = h("textarea", { class: "unseen", value: text });
    (document.querySelector("dialog[open]") || document.body).append(t);
    t.select();
    document.execCommand("copy");
    t.remove();
  }
  const was = button.getAttribute("aria-label") || "";
  button.setAttribute("aria-label", "Copied");
  button.classList.add("done");
  setTimeout(() => { button.setAttribute("aria-label", was); button.classList.remove("done"); }, 1200);
}

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i > 0 && n < 10 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
}
export function count(n, word) { return n + " " + word + (n === 1 ? "" : "s"); }
export function rate(n) { return n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2); }
export function millis(n) { return n >= 1000 ? (n / 1000).toFixed(n >= 10000 ? 0 : 1) + " s" : n >= 10 ? n.toFixed(0) + " ms" : n >= 0.095 ? n.toFixed(1) + " ms" : n > 0 ? n.toFixed(2) + " ms" : "–"; }
export function ago(ms) {
  const t = Math.max(0, ms / 1000);
  return t < 60 ? t.toFixed(0) + " s" : t < 3600 ? (t / 60).toFixed(0) + " min" : t < 86400 ? (t / 3600).toFixed(0) + " h" : (t / 86400).toFixed(0) + " d";
}
