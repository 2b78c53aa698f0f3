// The chat page.
import { $, h, ask, errorOf, events, themeButton, iconButton, icon, copyText, rate, millis, count, bytes } from "./common.js";
import { markdown } from "./md.js";
import * as store from "./store.js";

let chat = store.newChat();
let running = null; // {abort, node, show}
let settings = store.settings();

function css(el, props) { for (const [k, v] of Object.entries(props)) el.style.setProperty(k, v); return el; }

$("tools").append(iconButton("gear", "Settings", openSettings), themeButton());
$("menu").append(iconButton("menu", "Earlier chats", () => toggleHistory(), { "aria-expanded": "false", "aria-controls": "history" }));
$("go").append(icon("send"));

// --- models ----------------------------------------------------------------

async function loadModels() {
  const select = $("model");
  for (;;) {
    try {
      const r = await ask("/v1/models");
      const models = r.ok ? (await r.json()).data : [];
      if (models.length) {
        const was = select.value;
        select.replaceChildren(...models.map((m) => h("option", { value: m.id }, m.id)));
        if (models.some((m) => m.id === was)) select.value = was;
        select.disabled = false;
        if (!store.path(chat).length) draw();
        return;
      }
    } catch { /* it starts, or ends */ }
    await new Promise((ok) => setTimeout(ok, 1500));
  }
}
const model = () => ($("model").disabled ? "" : $("model").value);

// --- the conversation ------------------------------------------------------

function draw() {
  const talk = $("talk"), nodes = store.path(chat);
  if (nodes.length === 0) {
    const starts = ["Tell me a story about a small bird.", "Explain how a token travels through layers on several machines.", "Write a Go function that reverses a string."];
    talk.replaceChildren(h("div", { class: "hello" }, h("h1", {}, model() ? "Ask " + model() : "Waiting for a model"),
      h("p", { class: "soft" }, model() ? "It runs on the machines of this swarm, and nowhere else." : "The member is still getting ready. The swarm page shows how far it is."),
      h("div", { class: "starts", hidden: !model() }, starts.map((t) => h("button", { class: "btn", type: "button", onclick: () => send(t) }, t)))));
  } else talk.replaceChildren(...nodes.map(message));
  drawHistory();
}

function message(node) {
  return node.role === "user" ? userMessage(node) : answerMessage(node);
}

function branches(node) {
  const kids = chat.nodes[node.parent].kids;
  if (kids.length < 2) return null;
  const at = kids.indexOf(node.id);
  const go = (to) => () => { if (running) return; chat.nodes[node.parent].pick = to; store.save(chat); draw(); say(`Version ${to + 1} of ${kids.length}`); };
  return h("span", { role: "group", "aria-label": "Versions" }, iconButton("left", "Version before", go(at - 1), { disabled: at === 0 }), h("span", { class: "num" }, `${at + 1}/${kids.length}`), iconButton("right", "Version after", go(at + 1), { disabled: at === kids.length - 1 }));
}

function userMessage(node) {
  const body = h("div", { class: "body" }, node.text);
  const copy = iconButton("copy", "Copy", () => copyText(node.text, copy));
  const el = h("article", { class: "msg user", "aria-label": "You" }, body, h("div", { class: "acts" }, branches(node), iconButton("edit", "Edit and ask anew", edit), copy));
  function edit() {
    if (running) return;
    const area = h("textarea", { value: node.text, "aria-label": "Your message" });
    const done = (again) => { if (again && area.value.trim()) { send(area.value.trim(), node.parent); } else { el.replaceWith(userMessage(node)); } };
    area.addEventListener("keydown", (e) => { if (e.key === "Escape") { e.stopPropagation(); done(false); } if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); done(true); } });
    el.replaceChildren(area, h("div", { class: "acts" }, h("button", { class: "btn", type: "button", onclick: () => done(false) }, "Leave it"), h("button", { class: "btn", type: "button", onclick: () => done(true) }, "Ask this")));
    area.focus();
  }
  return el;
}

function answerMessage(node) {
  const body = h("div", { class: "md" }), think = h("details", { class: "think", hidden: true }, h("summary", {}, "Thoughts"), h("span"));
  const wait = h("div", { class: "wait", hidden: true }), problem = h("div"), acts = h("div", { class: "acts" });
  const el = h("article", { class: "msg answer", "aria-label": "Answer" }, think, body, wait, problem, acts);
  let shown = "";
  el.show = () => {
    const live = running?.node === node;
    if (node.think) { think.hidden = false; think.lastChild.textContent = node.think; }
    if (node.text !== shown) { shown = node.text; body.replaceChildren(...markdown(shown)); }
    wait.hidden = !live || (node.text !== "" && !node.waiting);
    wait.textContent = node.waiting || "thinking";
    problem.replaceChildren();
    if (node.error) problem.append(h("p", { class: "problem", role: "alert" }, node.error));
    else if (node.stopped) problem.append(h("p", { class: "stopped" }, "Stopped."));
    else if (node.finish === "length") problem.append(h("p", { class: "stopped" }, "Cut off: it reached the most tokens that were allowed."));
    if (live) { acts.replaceChildren(h("span", { class: "num" }, node.live || "")); return; }
    const copy = iconButton("copy", "Copy", () => copyText(node.text, copy));
    acts.replaceChildren(...[branches(node), iconButton("again", "Answer again", () => regenerate(node)), node.text ? copy : null, figures(node)].filter(Boolean));
  };
  el.show();
  return el;
}

// figures says how fast an answer came, and where its time went.
function figures(node) {
  const m = node.meta;
  if (!m) return null;
  const line = [count(m.tokens, "token"), m.tok_s ? rate(m.tok_s) + " tok/s" : "", "first token after " + millis(m.ttft_ms), m.healed ? count(m.healed, "lost stage") + " replaced" : ""].filter(Boolean).join(" · ");
  if (!m.parts?.length) return h("span", { class: "fig num" }, line);
  const total = m.parts.reduce((n, p) => n + p.ms, 0) || 1;
  return h("details", { class: "time" }, h("summary", { class: "num", title: "Where the time went" }, line),
    h("div", { class: "split", "aria-hidden": "true" }, m.parts.map((p) => css(h("div", { class: p.hop ? "hop" : "", title: `${p.what}: ${millis(p.ms)}` }), { "--c": `var(--p${p.n % 8})`, flex: `${p.ms / total} 0 0` }))),
    h("table", { class: "timing num" }, h("tbody", {}, m.parts.map((p) => h("tr", {}, h("td", {}, css(h("i", { "aria-hidden": "true" }), { "--c": p.hop ? "var(--soft)" : `var(--p${p.n % 8})` }), p.what), h("td", { class: "soft" }, p.more || ""), h("td", {}, `${millis(p.ms)} · ${((100 * p.ms) / total).toFixed(0)} %`))))));
}

// measured takes what is shown of an answer from what the member measured.
function measured(x, usage, mine) {
  const meta = { tokens: usage?.completion_tokens ?? mine.tokens, tok_s: x?.decode_tok_s ?? mine.tok_s, ttft_ms: x?.ttft_ms ?? mine.ttft_ms };
  if (x?.recoveries?.length) meta.healed = x.recoveries.length;
  if (!x?.route?.length) return meta;
  const name = (id) => x.route.find((r) => r.peer === id)?.name || "this member";
  meta.parts = [];
  if (x.queued_ms > 1) meta.parts.push({ what: "waiting for its turn", ms: x.queued_ms, n: 7, hop: true });
  x.route.forEach((r, i) => {
    const hop = x.hops?.[i];
    if (hop?.steps && hop.from !== hop.to) meta.parts.push({ what: `${name(hop.from)} → ${r.name}`, more: `${bytes(hop.bytes / hop.steps)} a step, ${hop.codec || "raw"}`, ms: hop.p50_ms * hop.steps, n: 0, hop: true });
    meta.parts.push({ what: `${r.name} computes`, more: `layers [${r.start},${r.end})`, ms: r.compute_ms, n: i });
    if (r.queue_ms > 0.5) meta.parts.push({ what: `queue at ${r.name}`, ms: r.queue_ms, n: i, hop: true });
  });
  const back = x.hops?.[x.route.length];
  if (back?.steps && back.from !== back.to) meta.parts.push({ what: `${name(back.from)} → this member`, ms: back.p50_ms * back.steps, n: 0, hop: true });
  return meta;
}

// --- asking -----------------------------------------------------------------

function send(text, parent) {
  if (running || !text.trim()) return;
  if (!model()) { say("There is no model yet."); input.value = text; return; }
  const nodes = store.path(chat);
  const user = store.add(chat, parent ?? nodes.at(-1)?.id ?? "root", { role: "user", text });
  if (!chat.title) chat.title = text.slice(0, 60);
  generate(user);
}

function regenerate(node) {
  if (!running) generate(chat.nodes[node.parent]);
}

function request(user) {
  const messages = store.upTo(chat, user).filter((n) => n.text).map((n) => ({ role: n.role, content: n.text }));
  if (settings.system.trim()) messages.unshift({ role: "system", content: settings.system });
  const body = { model: model(), messages, stream: true, stream_options: { include_usage: true }, temperature: settings.temperature, top_p: settings.top_p };
  if (settings.max_tokens > 0) body.max_completion_tokens = settings.max_tokens;
  if (settings.seed !== "") body.seed = Number(settings.seed);
  for (const k of ["presence_penalty", "frequency_penalty"]) if (settings[k]) body[k] = settings[k];
  return body;
}

async function generate(user) {
  const node = store.add(chat, user.id, { role: "assistant", text: "" }), of = chat;
  const abort = new AbortController();
  running = { abort, node };
  draw();
  goButton();
  const el = $("talk").lastElementChild, began = performance.now();
  const mine = { tokens: 0, ttft_ms: 0, tok_s: 0 };
  let queued = false, first = 0;
  const show = () => { queued = false; if (el.isConnected && (running?.node === node || !el.ended)) { el.ended = running?.node !== node; const stick = atEnd(); el.show(); if (stick) toEnd(); } };
  const soon = () => { if (!queued) { queued = true; setTimeout(() => requestAnimationFrame(show), 30); } };
  toEnd();
  try {
    const r = await ask("/v1/chat/completions", { method: "POST", signal: abort.signal, headers: { "Content-Type": "application/json", "X-Shardnode": "1" }, body: JSON.stringify(request(user)) });
    if (!r.ok) throw new Error(await errorOf(r));
    let x, usage, ended = false;
    for await (const e of events(r)) {
      if (e.comment) { node.waiting = e.comment; soon(); continue; }
      if (e.data === "[DONE]") { ended = true; break; }
      const v = JSON.parse(e.data);
      if (v.error) throw new Error(v.error.message || String(v.error));
      x = v.shardnode || x;
      usage = v.usage || usage;
      const c = v.choices?.[0];
      if (!c) continue;
      const more = c.delta?.content || "", thought = c.delta?.reasoning_content || c.delta?.reasoning || "";
      if (c.finish_reason) node.finish = c.finish_reason;
      if (!more && !thought) continue;
      const at = performance.now();
      if (!first) { first = at; mine.ttft_ms = at - began; }
      mine.tokens++;
      if (at > first) mine.tok_s = (1000 * (mine.tokens - 1)) / (at - first);
      node.waiting = "";
      node.text += more;
      if (thought) node.think = (node.think || "") + thought;
      node.live = `${count(mine.tokens, "token")}${mine.tok_s ? " · " + rate(mine.tok_s) + " tok/s" : ""}`;
      soon();
    }
    if (!ended) throw new Error("The answer broke off: the member went away.");
    node.meta = measured(x, usage, mine);
  } catch (err) {
    if (abort.signal.aborted) node.stopped = true;
    else node.error = err instanceof TypeError ? "The member does not answer. Is it running?" : err.message;
    if (mine.tokens) node.meta = mine;
  }
  running = null;
  delete node.waiting;
  delete node.live;
  store.save(of);
  goButton();
  show();
  drawHistory();
  say(node.error ? "The answer failed: " + node.error : node.stopped ? "Stopped." : "The answer is complete. " + node.text.slice(0, 400));
}

function stop() { running?.abort.abort(); }
function say(text) { $("says").textContent = text; }
function atEnd() { const b = $("scroll"); return b.scrollHeight - b.scrollTop - b.clientHeight < 60; }
function toEnd() { const b = $("scroll"); b.scrollTop = b.scrollHeight; }
function goButton() {
  const b = $("go");
  b.replaceChildren(icon(running ? "stop" : "send"));
  b.setAttribute("aria-label", running ? "Stop" : "Send");
  b.title = running ? "Stop (Esc)" : "Send (Enter)";
}

// --- the composer -----------------------------------------------------------

const input = $("input");
const grow = () => { css(input, { height: "auto" }); css(input, { height: input.scrollHeight + "px" }); };
input.addEventListener("input", grow);
input.addEventListener("keydown", (e) => {
  if (e.key === "Enter" && !e.shiftKey && !e.isComposing && !matchMedia("(pointer: coarse)").matches) { e.preventDefault(); submit(); }
  if (e.key === "ArrowUp" && input.value === "") { const mine = [...$("talk").querySelectorAll(".msg.user")].at(-1); mine?.querySelector('[aria-label="Edit and ask anew"]')?.click(); e.preventDefault(); }
});
function submit() {
  if (running) return;
  const text = input.value.trim();
  if (!text) return;
  input.value = "";
  grow();
  send(text);
}
$("composer").addEventListener("submit", (e) => { e.preventDefault(); running ? stop() : submit(); });
addEventListener("keydown", (e) => {
  if (e.key === "Escape" && $("history").classList.contains("open")) { toggleHistory(false); return; }
  if (e.key === "Escape" && running) stop();
  if (e.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) { e.preventDefault(); input.focus(); }
});

// --- earlier chats ------------------------------------------------------------

function toggleHistory(open = !$("history").classList.contains("open")) {
  $("history").classList.toggle("open", open);
  $("menu").firstChild.setAttribute("aria-expanded", String(open));
  if (open) $("new").focus();
}
$("new").addEventListener("click", () => { if (running) stop(); chat = store.newChat(); draw(); toggleHistory(false); input.focus(); });
function drawHistory() {
  $("chats").replaceChildren(...store.chats().map((c) => h("li", { class: c.id === chat.id ? "now" : "" },
    h("button", { class: "open", type: "button", title: c.title, "aria-current": c.id === chat.id ? "true" : null, onclick: () => { if (running) stop(); const got = store.load(c.id); if (got) { chat = got; draw(); toEnd(); toggleHistory(false); } } }, c.title || "untitled"),
    h("button", { class: "del", type: "button", "aria-label": "Delete “" + c.title + "”", title: "Delete", onclick: () => { store.forget(c.id); if (c.id === chat.id) chat = store.newChat(); draw(); } }, icon("trash")))));
}

// --- settings -----------------------------------------------------------------

function openSettings() {
  const number = (name, label, more) => h("label", {}, label, h("input", { type: "number", name, value: settings[name], ...more }));
  const form = h("form", {}, h("h2", {}, "Settings"),
    h("label", { class: "field" }, "System prompt", h("textarea", { name: "system", value: settings.system, placeholder: "You are …" })),
    h("div", { class: "grid2" },
      number("temperature", "Temperature (0: always the likeliest)", { min: 0, max: 2, step: 0.05 }), number("top_p", "Top p", { min: 0.01, max: 1, step: 0.01 }),
      number("max_tokens", "Most tokens (0: the member’s own bound)", { min: 0, step: 1 }), h("label", {}, "Seed (empty: another each time)", h("input", { type: "number", name: "seed", value: settings.seed, min: 0, step: 1 })),
      number("presence_penalty", "Presence penalty", { min: -2, max: 2, step: 0.1 }), number("frequency_penalty", "Frequency penalty", { min: -2, max: 2, step: 0.1 })),
    h("div", { class: "row" }, h("button", { class: "btn", type: "button", onclick: () => { settings = { ...store.defaults }; store.keepSettings(settings); dialog.close(); } }, "Defaults"), h("span", { class: "spacer" }), h("button", { class: "btn", type: "button", onclick: () => dialog.close() }, "Cancel"), h("button", { class: "btn main" }, "Keep")));
  const dialog = h("dialog", { "aria-label": "Settings" }, form);
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    for (const f of new FormData(form)) settings[f[0]] = f[0] === "system" || f[0] === "seed" ? f[1] : Number(f[1]);
    store.keepSettings(settings);
    dialog.close();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

goButton();
draw();
loadModels();
input.focus();
document.documentElement.dataset.ready = "";
