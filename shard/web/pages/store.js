// Chats, kept in this browser. A chat is a tree: editing a message or asking
// again grows a branch, and each node remembers which of its branches is shown.

const INDEX = "shardnode.chats", CHAT = "shardnode.chat.", SETTINGS = "shardnode.settings";

function read(name, otherwise) {
  try { return JSON.parse(localStorage.getItem(name)) ?? otherwise; } catch { return otherwise; }
}
// write makes room by forgetting the oldest chats.
function write(name, value) {
  for (;;) {
    try { localStorage.setItem(name, JSON.stringify(value)); return true; } catch (e) {
      const list = chats();
      const old = list.at(-1);
      if (e.name !== "QuotaExceededError" || !old || CHAT + old.id === name) return false;
      forget(old.id);
    }
  }
}

export function chats() { return read(INDEX, []); }
export function load(id) { return read(CHAT + id, null); }
export function forget(id) {
  try {
    localStorage.removeItem(CHAT + id);
    localStorage.setItem(INDEX, JSON.stringify(chats().filter((c) => c.id !== id)));
  } catch { /* no storage */ }
}
export function save(chat) {
  chat.at = Date.now();
  const list = chats().filter((c) => c.id !== chat.id);
  list.unshift({ id: chat.id, title: chat.title, at: chat.at });
  write(CHAT + chat.id, chat);
  write(INDEX, list);
}

export const defaults = { system: "", temperature: 0.7, top_p: 0.95, max_tokens: 0, seed: "", presence_penalty: 0, frequency_penalty: 0 };
export function settings() { return { ...defaults, ...read(SETTINGS, {}) }; }
export function keepSettings(v) { write(SETTINGS, v); }

export function newID() { return crypto.getRandomValues(new Uint32Array(2)).reduce((t, n) => t + n.toString(36), ""); }
export function newChat() { return { id: newID(), title: "", at: Date.now(), nodes: { root: { id: "root", kids: [], pick: 0 } } }; }

export function add(chat, parent, node) {
  node.id = newID();
  node.parent = parent;
  node.kids = [];
  node.pick = 0;
  const p = chat.nodes[parent];
  p.pick = p.kids.push(node.id) - 1;
  chat.nodes[node.id] = node;
  return node;
}
// path returns the branch that is shown, oldest first.
export function path(chat) {
  const out = [];
  for (let n = chat.nodes.root; n.kids.length > 0; ) {
    n = chat.nodes[n.kids[Math.min(n.pick, n.kids.length - 1)]];
    out.push(n);
  }
  return out;
}
export function upTo(chat, node) {
  const out = [];
  for (let n = node; n && n.id !== "root"; n = chat.nodes[n.parent]) out.unshift(n);
  return out;
}
