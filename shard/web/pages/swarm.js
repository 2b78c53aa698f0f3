// The swarm page: a picture that follows the feed.
import { $, h, s, ask, errorOf, events, themeButton, copyText, bytes, count, rate, millis, ago } from "./common.js";

const motion = !matchMedia("(prefers-reduced-motion: reduce)").matches;
let now = null; // the last picture
let log = [];
const colours = new Map(); // peer id: index

$("theme").append(themeButton());

// css sets properties one by one, as the page's policy allows.
function css(el, props) {
  for (const [k, v] of Object.entries(props)) el.style.setProperty(k, v);
  return el;
}
function colour(id) {
  if (!colours.has(id)) colours.set(id, colours.size % 8);
  return `var(--p${colours.get(id)})`;
}
function text(el, value) { if (el.textContent !== value) el.textContent = value; }
const length = (span) => span[1] - span[0];
const layers = (span) => `[${span[0]},${span[1]})`;
const same = (a, b) => a[0] === b[0] && a[1] === b[1];
const gone = (p) => !p.alive;

// --- tiles ---------------------------------------------------------------

function drawTiles(v) {
  const live = v.peers.filter((p) => p.alive);
  const serving = live.filter((p) => length(p.span) > 0);
  const memory = serving.reduce((n, p) => n + p.memory_bytes, 0), free = serving.reduce((n, p) => n + p.free_bytes, 0);
  const tiles = [
    [rate(v.totals.tok_s), "tok/s", "now, over this member"],
    [String(v.sessions.length), "", v.sessions.length === 1 ? "session of this member" : "sessions of this member"],
    [`${serving.length}`, `of ${live.length}`, "members serve"],
    [v.model ? String(v.model.min_holders) : "–", "", "holders of the rarest layer"],
    [bytes(memory - free), "of " + bytes(memory), "memory in use"],
  ];
  const box = $("tiles");
  while (box.children.length < tiles.length) box.append(h("div", { class: "tile" }, h("b", { class: "num" }, "", h("small")), h("span")));
  tiles.forEach(([big, small, label], i) => {
    const [b, l] = box.children[i].children;
    if (b.firstChild.nodeType !== 3) b.prepend("");
    if (b.firstChild.data !== big + " ") b.firstChild.data = big + " ";
    text(b.lastChild, small);
    text(l, label);
  });
}

// --- the picture ---------------------------------------------------------

const rows = new Map(); // peer id: its row

function makeRow(p) {
  const name = h("b"), about = h("small"), lane = h("div", { class: "lane", "aria-hidden": "true" });
  const held = h("div", { class: "span held", hidden: true }, h("em"));
  const plan = h("div", { class: "span plan", hidden: true }, h("div", { class: "fill" }), h("em"));
  lane.append(held, plan);
  const speed = h("span"), memory = h("span"), bar = h("div");
  const el = h("li", {}, h("div", { class: "who" }, name, about), lane,
    h("div", { class: "facts num" }, speed, h("div", { class: "mem", "aria-hidden": "true" }, bar), memory));
  css(el, { "--c": colour(p.peer) });
  return { el, name, about, lane, held, plan, speed, memory, bar, marks: 0 };
}

function place(el, span, total) {
  el.hidden = length(span) <= 0 || !total;
  if (!el.hidden) css(el, { left: (100 * span[0]) / total + "%", width: (100 * length(span)) / total + "%" });
}

function stateText(p) {
  const since = p.since_unix_ms ? " " + ago(now.at_unix_ms - p.since_unix_ms) + " ago" : "";
  switch (p.state) {
    case "lost": return "lost" + since;
    case "left": return "left" + since;
    case "draining": return "draining, " + count(p.sessions, "session") + " to finish";
    case "client": return "uses the swarm";
    case "joining": return p.want_bytes ? "loading" : "joining";
    default: return "serving " + count(length(p.span), "layer");
  }
}

function loadText(p) {
  if (!p.want_bytes) return layers(p.planned);
  const left = p.bytes_per_s > 0 ? (p.want_bytes - p.done_bytes) / p.bytes_per_s : 0;
  return `${p.ready_percent} % · ${bytes(p.done_bytes)} of ${bytes(p.want_bytes)}` + (p.bytes_per_s > 0 ? ` · ${bytes(p.bytes_per_s)}/s` : "") + (left > 1 ? ` · ${ago(left * 1000)}` : "");
}

function drawPeer(p, total) {
  let r = rows.get(p.peer);
  if (!r) rows.set(p.peer, (r = makeRow(p)));
  r.el.className = "peer " + p.state + (gone(p) ? " gone" : "");
  if (r.shown !== p.name + p.pinned + (p.peer === now.self)) {
    r.shown = p.name + p.pinned + (p.peer === now.self);
    r.name.replaceChildren(h("span", { class: "dot", "aria-hidden": "true" }), p.name || p.peer.slice(0, 8));
    if (p.peer === now.self) r.name.append(h("span", { class: "tag" }, "this"));
    if (p.pinned) r.name.append(h("span", { class: "tag" }, "pinned"));
    r.name.title = p.peer;
  }
  text(r.about, stateText(p));
  if (r.marks !== total) {
    r.marks = total;
    r.lane.querySelectorAll("i").forEach((i) => i.remove());
    for (let l = 1; l < total && total <= 100; l++) r.lane.prepend(css(h("i"), { left: (100 * l) / total + "%" }));
  }
  const moving = !gone(p) && length(p.planned) > 0 && !same(p.planned, p.span);
  place(r.held, p.span, total);
  place(r.plan, moving ? p.planned : [0, 0], total);
  text(r.held.firstChild, layers(p.span));
  css(r.plan.firstChild, { width: p.ready_percent + "%" });
  if (moving) label(r.plan.lastChild, p, total);
  const used = p.memory_bytes ? (p.memory_bytes - p.free_bytes) / p.memory_bytes : 0;
  const parts = [];
  if (p.decode_ms > 0) parts.push(`${p.decode_ms.toFixed(2)} ms a layer`);
  if (p.rtt_ms > 0) parts.push(`RTT ${millis(p.rtt_ms)}`);
  if (p.sessions > 0) parts.push(count(p.sessions, "session"));
  text(r.speed, gone(p) ? "" : parts.join(" · ") || "not measured yet");
  css(r.bar, { width: 100 * used + "%" });
  r.bar.parentElement.hidden = gone(p) || !p.memory_bytes;
  text(r.memory, moving && p.want_bytes ? loadText(p) : gone(p) || !p.memory_bytes ? "" : `${bytes(p.memory_bytes - p.free_bytes)} of ${bytes(p.memory_bytes)}`);
  r.el.setAttribute("aria-label", `${p.name}: ${stateText(p)}${length(p.span) > 0 ? ", layers " + layers(p.span) : ""}${moving ? ", loading " + layers(p.planned) + " " + loadText(p) : ""}`);
  return r.el;
}

// label writes how far the loading is where the bar of what is held leaves room.
function label(em, p, total) {
  const n = length(p.planned), held = length(p.span) > 0;
  const before = held ? Math.min(n, Math.max(0, p.span[0] - p.planned[0])) : n, after = held ? Math.min(n, Math.max(0, p.planned[1] - p.span[1])) : 0;
  const free = Math.max(before, after), left = before >= after ? 0 : n - after;
  css(em, { left: (100 * left) / n + "%", right: (100 * (n - left - free)) / n + "%" });
  const wide = (free / total) * em.closest(".lane").clientWidth;
  text(em, wide > 300 ? loadText(p) : wide > 44 ? p.ready_percent + " %" : "");
}

// order puts members as their layers come, then those without.
function order(a, b) {
  const at = (p) => (gone(p) ? 3e6 : length(p.span) > 0 ? p.span[0] : length(p.planned) > 0 ? p.planned[0] + 0.5 : p.state === "client" ? 2e6 : 1e6);
  return at(a) - at(b) || a.name.localeCompare(b.name) || (a.peer < b.peer ? -1 : 1);
}

function drawPicture(v) {
  const total = v.model ? v.model.layers : 0;
  text($("picture-title"), v.model ? v.model.name : "No model yet");
  text($("doing"), (v.model ? `${count(total, "layer")}, ${bytes(v.model.bytes)} · ` : "") + "this member: " + v.doing);
  const ruler = $("ruler");
  if (ruler.dataset.of !== String(total)) {
    ruler.dataset.of = total;
    const every = [1, 2, 5, 10, 20, 50, 100].find((n) => total / n <= 9) || 200;
    const marks = [];
    for (let l = 0; l <= total; l += every) marks.push(l);
    if (total && total - marks[marks.length - 1] >= every / 2) marks.push(total);
    else if (total) marks[marks.length - 1] = total;
    ruler.replaceChildren(...marks.map((l) => css(h("span", {}, String(l)), { left: (100 * l) / (total || 1) + "%" })));
  }
  const list = $("peers"), want = [...v.peers].sort(order).map((p) => drawPeer(p, total));
  const there = new Set(v.peers.map((p) => p.peer));
  for (const [id, r] of rows) if (!there.has(id)) { r.el.remove(); rows.delete(id); }
  want.forEach((el, i) => { if (list.children[i] !== el) list.insertBefore(el, list.children[i] || null); });
  const cover = $("cover"), holders = v.model?.holders || [];
  while (cover.children.length > holders.length) cover.lastChild.remove();
  while (cover.children.length < holders.length) cover.append(h("div"));
  holders.forEach((n, i) => {
    cover.children[i].className = n === 0 ? "none" : n === 1 ? "one" : "";
    cover.children[i].title = `layer ${i}: ${count(n, "holder")}`;
  });
  cover.setAttribute("role", "img");
  cover.setAttribute("aria-label", v.model ? (v.model.min_holders ? `every layer has a holder, the rarest ${v.model.min_holders}` : "some layers have no holder") : "no model");
}

function drawState(v) {
  const pill = $("state"), m = v.model;
  let kind = "warn", what = v.doing;
  if (m && m.min_holders > 0) [kind, what] = ["good", "answers"];
  else if (m) {
    const none = m.holders.map((n, i) => (n ? -1 : i)).filter((i) => i >= 0);
    [kind, what] = ["bad", `layers [${none[0]},${none[none.length - 1] + 1}) have no holder`];
    if (v.peers.some((p) => p.alive && length(p.planned) > 0 && !same(p.planned, p.span))) [kind, what] = ["warn", "waiting for " + what.replace(" have no holder", "")];
  }
  pill.className = "pill " + kind;
  text(pill, what);
  $("invite").hidden = !v.may_invite;
}

// --- sessions that move through the stages --------------------------------

const flows = new Map(); // session id: {path, mote, key}

function drawFlow(v) {
  const box = $("flow");
  let canvas = box.querySelector("svg");
  if (!canvas) box.append((canvas = s("svg")));
  const area = box.getBoundingClientRect();
  const shown = new Set();
  v.sessions.slice(0, 12).forEach((x, n) => {
    const stops = x.route.map((st) => {
      const lane = rows.get(st.peer)?.lane.getBoundingClientRect();
      if (!lane) return null;
      const total = v.model?.layers || 1, mid = (st.start + st.end) / 2 / total;
      return [lane.left - area.left + lane.width * mid, lane.top - area.top + lane.height / 2 + ((n % 5) - 2) * 4];
    }).filter(Boolean);
    if (stops.length === 0) return;
    let d = `M ${(stops[0][0] - 30).toFixed(1)} ${stops[0][1].toFixed(1)} L ${stops[0].map((c) => c.toFixed(1)).join(" ")}`;
    for (let i = 1; i < stops.length; i++) {
      const [x0, y0] = stops[i - 1], [x1, y1] = stops[i], bend = Math.max(30, Math.abs(x1 - x0) / 2);
      d += ` C ${(x0 + bend).toFixed(1)} ${y0.toFixed(1)} ${(x1 - bend).toFixed(1)} ${y1.toFixed(1)} ${x1.toFixed(1)} ${y1.toFixed(1)}`;
    }
    shown.add(x.id);
    let f = flows.get(x.id);
    if (!f) {
      f = { path: s("path"), mote: h("div", { class: "mote" }) };
      flows.set(x.id, f);
      canvas.append(f.path);
      if (motion) box.append(f.mote);
    }
    const tempo = x.waiting || x.tok_s <= 0 ? 0 : Math.min(2400, Math.max(500, 20000 / x.tok_s));
    const bucket = tempo ? Math.round(Math.log2(tempo) * 2) : 0; // a new pace only when it differs by much
    const key = d + bucket;
    if (f.key === key) return;
    f.key = key;
    f.path.setAttribute("d", d);
    f.run?.cancel();
    css(f.mote, { "offset-path": `path("${d}")` });
    if (motion && tempo) f.run = f.mote.animate([{ offsetDistance: "0%", opacity: 0 }, { offsetDistance: "8%", opacity: 1 }, { offsetDistance: "92%", opacity: 1 }, { offsetDistance: "100%", opacity: 0 }], { duration: tempo, iterations: Infinity, delay: -n * 170 });
  });
  for (const [id, f] of flows) if (!shown.has(id)) { f.path.remove(); f.mote.remove(); flows.delete(id); }
}
new ResizeObserver(() => { if (now) drawFlow(now); }).observe($("flow"));

function drawSessions(v) {
  text($("sessions-count"), v.sessions.length ? String(v.sessions.length) : "");
  const box = $("sessions");
  if (v.sessions.length === 0) {
    const last = v.totals.answers ? `None now. ${count(v.totals.answers, "answer")} and ${count(v.totals.decode_tokens, "token")} in ${ago(v.totals.uptime_ms)}.` : "None yet. Ask something on the chat page.";
    if (box.textContent !== last) box.replaceChildren(h("p", { class: "empty" }, last));
    return;
  }
  box.replaceChildren(...v.sessions.slice(0, 20).map((x) => h("div", { class: "session" },
    h("div", { class: "top num" }, h("span", {}, h("span", { class: "mono" }, x.id.slice(0, 8)), ` · ${x.pos} of ${x.tokens} positions`),
      h("span", {}, x.waiting ? x.waiting : x.tok_s > 0 ? rate(x.tok_s) + " tok/s" : "prompt", ` · ${ago(x.age_ms)}`)),
    h("div", { class: "track" }, x.route.map((st) => css(h("span", {}, `${st.name} ${layers([st.start, st.end])}`), { "--c": colour(st.peer) }))))));
}

function drawLinks(v) {
  const box = $("links"), name = (id) => v.peers.find((p) => p.peer === id)?.name || id.slice(0, 8);
  const used = v.links.filter((l) => l.steps > 0 && l.from !== l.to);
  const plain = v.peers.filter((p) => p.alive && p.peer !== v.self && p.rtt_ms > 0 && !used.some((l) => l.to === p.peer && l.from === v.self));
  if (used.length + plain.length === 0) { box.replaceChildren(h("p", { class: "empty" }, "No other member is reached yet.")); return; }
  box.replaceChildren(h("table", { class: "num" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "From → to"), ...["RTT", "Hop", "Rate", "A step"].map((t) => h("th", { scope: "col", class: "r" }, t)), h("th", { scope: "col" }, "Codec"))),
    h("tbody", {},
      used.map((l) => h("tr", {}, h("td", {}, `${name(l.from)} → ${name(l.to)}`), h("td", { class: "r" }, l.rtt_ms ? millis(l.rtt_ms) : "–"), h("td", { class: "r", title: `99 of 100 under ${millis(l.p99_ms)}` }, millis(l.p50_ms)), h("td", { class: "r" }, l.bytes_per_s ? bytes(l.bytes_per_s) + "/s" : "–"), h("td", { class: "r" }, bytes(l.bytes / l.steps)), h("td", {}, l.codec || "–"))),
      plain.map((p) => h("tr", {}, h("td", {}, `${name(v.self)} → ${p.name}`), h("td", { class: "r" }, millis(p.rtt_ms)), h("td", { class: "r" }, "–"), h("td", { class: "r" }, "–"), h("td", { class: "r" }, "–"), h("td", { class: "soft" }, "no session yet"))))));
}

// --- the log ---------------------------------------------------------------

const maxLog = 300;
function addLog(e) {
  if (log.some((x) => x.seq === e.seq)) return;
  if (e.kind === "load" && log.at(-1)?.kind === "load") { log.pop(); if (shows(e)) $("log").firstElementChild?.remove(); }
  log.push(e);
  if (log.length > maxLog) log.shift();
  if (shows(e)) { $("log").prepend(logLine(e)); while ($("log").children.length > maxLog) $("log").lastElementChild.remove(); }
}
function shows(e) { const k = $("kinds").value; return !k || e.kind === k; }
function logLine(e) {
  const t = new Date(e.at_unix_ms);
  return h("li", { class: e.kind === "peer" ? "peer-note" : e.kind }, h("time", { datetime: t.toISOString(), title: t.toLocaleString() }, t.toTimeString().slice(0, 8)), h("span", {}, e.text));
}
$("kinds").addEventListener("change", () => $("log").replaceChildren(...log.filter(shows).reverse().map(logLine)));

// --- what if ----------------------------------------------------------------

const without = new Set(); // names
let adds = [], planned = null, chipsFor = "";
const memory = h("input", { type: "number", min: "0.25", step: "0.25", value: "8", inputmode: "decimal" });
const speed = h("input", { type: "number", min: "0.01", step: "0.01", value: "1", inputmode: "decimal" });
const chips = h("div", { class: "chips", role: "group", "aria-label": "Members to plan with" });
const result = h("div", { "aria-live": "polite" });
$("whatif").append(
  h("p", { class: "soft" }, "Take members away, add some, and see what the planner would do."), chips,
  h("form", { class: "adds", onsubmit: (e) => { e.preventDefault(); adds.push({ name: "new" + (adds.length + 1), memory: Number(memory.value), speed: Number(speed.value) }); chipsFor = ""; drawChips(); plan(); } },
    h("label", {}, "Memory, GiB", memory), h("label", {}, "Speed × this one", speed), h("button", { class: "btn" }, "Add a member")),
  result);

function drawChips() {
  if (!now) return;
  const names = now.peers.filter((p) => p.alive && p.state !== "client" && p.memory_bytes > 0).sort(order);
  const key = JSON.stringify([names.map((p) => p.peer), [...without], adds]);
  if (key === chipsFor) return;
  chipsFor = key;
  const focus = document.activeElement?.dataset?.chip;
  chips.replaceChildren(
    ...names.map((p) => css(h("button", { class: "chip", type: "button", "data-chip": p.name, "aria-pressed": String(!without.has(p.name)), onclick: () => { without.has(p.name) ? without.delete(p.name) : without.add(p.name); drawChips(); plan(); } }, p.name), { "--c": colour(p.peer) })),
    ...adds.map((a) => css(h("button", { class: "chip", type: "button", "data-chip": a.name, "aria-pressed": "true", title: "Take it out again", onclick: () => { adds = adds.filter((x) => x !== a); drawChips(); plan(); } }, `${a.name}: ${a.memory} GiB, ${a.speed}×`), { "--c": colour(a.name) })));
  if (focus) chips.querySelector(`[data-chip="${CSS.escape(focus)}"]`)?.focus();
}

function addSpec(a) {
  const self = now.peers.find((p) => p.peer === now.self) || now.peers[0];
  const spec = { id: a.name, memory_bytes: Math.round(a.memory * 2 ** 30) };
  if (self.decode_ms > 0 && a.speed > 0) {
    spec.decode_ms = [[1, self.decode_ms / a.speed]];
    if (self.prefill_ms > 0) spec.prefill_ms_per_token = self.prefill_ms / a.speed;
  }
  return JSON.stringify(spec);
}

async function plan() {
  const body = (w) => ask("/ui/plan", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(w) });
  const mine = (planned = {});
  result.replaceChildren(h("p", { class: "soft" }, "planning …"));
  const [r, base] = await Promise.all([body({ kill: [...without], add: adds.map(addSpec) }), body({ kill: [], add: [] })]);
  if (planned !== mine) return; // asked again meanwhile
  if (!r.ok) { result.replaceChildren(h("p", { class: "error" }, await errorOf(r))); return; }
  const p = await r.json(), b = base.ok ? await base.json() : null;
  if (p.impossible) { result.replaceChildren(h("p", { class: "error" }, p.impossible)); return; }
  const id = (name) => now.peers.find((x) => x.name === name)?.peer || name;
  const total = now.model?.layers || 1;
  const delta = (a, was) => {
    if (!was || Math.abs(a / was - 1) < 0.005) return null;
    return h("span", { class: a > was ? "up" : "down" }, ` ${a > was ? "+" : "−"}${Math.abs(100 * (a / was - 1)).toFixed(0)} %`);
  };
  const figure = (label, n, was, f) => h("span", {}, label + " ", h("b", { class: "num" }, f(n)), was === undefined ? null : delta(n, was));
  result.replaceChildren(
    h("div", { class: "plan-bar" }, p.layout.map((x) => css(h("div", { title: `${x.name} ${layers([x.start, x.end])}` }, `${x.name} ${layers([x.start, x.end])}`), { "--c": colour(id(x.name)), flex: `${(x.end - x.start) / total} 1 0` }))),
    h("div", { class: "got" }, figure("one session", p.tok_s_one, b?.tok_s_one, (n) => rate(n) + " tok/s"), figure("many", p.tok_s_many, b?.tok_s_many, (n) => rate(n) + " tok/s"), figure("first token", p.ttft_ms, undefined, millis)),
    h("ul", { class: "why" }, [p.bottleneck && "bottleneck: " + p.bottleneck, ...p.reasons, ...p.rejected.slice(0, 2).map((x) => `not ${x.layout.map((l) => l.name + " " + layers([l.start, l.end])).join(", ")}: ${x.why}`), `planned in ${millis(p.plan_ms)}`].filter(Boolean).map((t) => h("li", {}, t))));
}

// --- the invitation ----------------------------------------------------------

$("invite").addEventListener("click", () => {
  const uses = h("input", { type: "number", min: "1", max: "1000", value: "1" });
  const hours = h("select", {}, h("option", { value: "1" }, "an hour"), h("option", { value: "24", selected: true }, "a day"), h("option", { value: "168" }, "a week"));
  const role = h("select", {}, h("option", { value: "serve,client" }, "hold layers and ask"), h("option", { value: "serve" }, "hold layers"), h("option", { value: "client" }, "ask only"));
  const out = h("div", { "aria-live": "polite" });
  const form = h("form", {}, h("h2", {}, "Invite somebody"), h("p", { class: "soft" }, "Whoever has the line can join this swarm until it is used up or expires."),
    h("label", { class: "field" }, "How many may join", uses), h("label", { class: "field" }, "For", hours), h("label", { class: "field" }, "They may", role), out,
    h("div", { class: "row" }, h("button", { class: "btn", type: "button", onclick: () => dialog.close() }, "Close"), h("button", { class: "btn main" }, "Make the line")));
  const dialog = h("dialog", { "aria-label": "Invite somebody" }, form);
  dialog.addEventListener("close", () => { dialog.remove(); $("invite").focus(); });
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const r = await ask("/ui/invite", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ uses: Number(uses.value), hours: Number(hours.value), role: role.value }) });
    if (!r.ok) { out.replaceChildren(h("p", { class: "error field" }, await errorOf(r))); return; }
    const got = await r.json(), line = "shardnode join " + got.invitation;
    const b = h("button", { class: "btn", type: "button", "aria-label": "Copy the line", onclick: () => copyText(line, b) }, "Copy");
    out.replaceChildren(h("p", { class: "field soft" }, `For ${count(got.uses, "member")}, until ${new Date(got.expires_unix_ms).toLocaleString()}:`), h("div", { class: "code" }, line), h("div", { class: "row" }, b));
    b.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
});

// --- the feed ----------------------------------------------------------------

function draw(v) {
  now = v;
  drawTiles(v); drawState(v); drawPicture(v); drawSessions(v); drawLinks(v); drawChips();
  requestAnimationFrame(() => drawFlow(v));
  document.documentElement.dataset.ready = "";
}

async function follow() {
  for (let pause = 500; ; pause = Math.min(8000, pause * 1.7)) {
    try {
      const r = await ask("/ui/events");
      if (!r.ok) throw new Error(await errorOf(r));
      log = []; // it comes whole, and a member that starts anew counts anew
      $("log").replaceChildren();
      for await (const e of events(r)) {
        pause = 500;
        if (!e.data) continue;
        const v = JSON.parse(e.data);
        if (e.event === "swarm") draw(v);
        if (e.event === "log") addLog(v);
      }
    } catch { /* said below */ }
    $("state").className = "pill bad";
    text($("state"), "the member does not answer");
    await new Promise((ok) => setTimeout(ok, pause));
  }
}
follow();
