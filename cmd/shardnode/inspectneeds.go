package main

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// templateJSON says what a chat template knows.
type templateJSON struct {
	Bytes    int    `json:"bytes"`
	System   bool   `json:"system"` // messages of the system
	Tools    bool   `json:"tools"`
	Thinking bool   `json:"thinking"` // reasoning that is kept apart
	Error    string `json:"error,omitempty"`
}

// templateFacts returns what the template of a model knows, nil if it has none.
func templateFacts(meta *gguf.Meta) *templateJSON {
	src, _ := meta.Str("tokenizer.chat_template")
	if strings.TrimSpace(src) == "" {
		return nil
	}
	t := &templateJSON{Bytes: len(src)}
	for _, word := range []string{"enable_thinking", "reasoning_content", "<think>", "reasoning_effort", "thinking"} {
		t.Thinking = t.Thinking || strings.Contains(src, word)
	}
	tmpl, err := chat.Parse(src)
	if err != nil {
		t.Error = err.Error()
		return t
	}
	t.System, t.Tools = tmpl.SupportsSystem(), tmpl.SupportsTools()
	return t
}

// text says what the template knows, for people.
func (t *templateJSON) text() string {
	switch {
	case t == nil:
		return "no"
	case t.Error != "":
		return "can't be used: " + t.Error
	}
	var knows []string
	for _, k := range []struct {
		does bool
		what string
	}{{t.System, "system messages"}, {t.Tools, "tools"}, {t.Thinking, "thinking"}} {
		if k.does {
			knows = append(knows, k.what)
		}
	}
	return "yes, with " + cmp.Or(strings.Join(knows, ", "), "plain turns only")
}

// licenseOf returns the licence of a model, and where it stands.
func licenseOf(meta *gguf.Meta) (name, link string) {
	name, _ = meta.Str("general.license")
	full, _ := meta.Str("general.license.name")
	link, _ = meta.Str("general.license.link")
	if name == "other" || name == "" {
		name = cmp.Or(full, name)
	}
	return name, link
}

// peerNeedJSON is what each of several members needs to share a model evenly.
type peerNeedJSON struct {
	Peers       int   `json:"peers"`
	MemoryBytes int64 `json:"memory_bytes"` // of the one that needs most
	Tokens      int   `json:"tokens"`       // of KV cache in that
}

// perPeer returns the needs of some numbers of members.
func perPeer(m scheduler.Model, tokens int) []peerNeedJSON {
	var out []peerNeedJSON
	for _, n := range []int{2, 3, 4, 8} {
		if n <= m.Layers {
			out = append(out, peerNeedJSON{Peers: n, MemoryBytes: evenNeed(m, n, tokens), Tokens: tokens})
		}
	}
	return out
}

// evenNeed returns the least memory with which each of n members does: the
// layers in order, the embedding with the first, the head with the last.
func evenNeed(m scheduler.Model, n, tokens int) int64 {
	costs := make([]int64, m.Layers)
	total := int64(0)
	for l := range costs {
		costs[l] = m.LayerBytes[min(l, len(m.LayerBytes)-1)] + m.KVBytesPerTokenLayer*int64(tokens)
	}
	costs[0] += m.EmbedBytes
	costs[len(costs)-1] += m.HeadBytes
	for _, c := range costs {
		total += c
	}
	lo, hi := int64(0), total
	for lo < hi {
		mid := (lo + hi) / 2
		if stagesWith(costs, mid) <= n {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// stagesWith returns how many members with so much memory each hold the layers.
func stagesWith(costs []int64, memory int64) int {
	n, left := 0, int64(0)
	for _, c := range costs {
		switch {
		case c > memory:
			return len(costs) + 1
		case c > left:
			n++
			left = memory
		}
		left -= c
	}
	return n
}

// perPeerText lists the needs for people.
func perPeerText(needs []peerNeedJSON) string {
	var parts []string
	for _, p := range needs {
		parts = append(parts, fmt.Sprintf("%s for each of %d", mib(p.MemoryBytes), p.Peers))
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("%s, with the KV cache of %d tokens", strings.Join(parts, ", "), needs[0].Tokens)
}

// A headerSource describes tensors whose data is elsewhere.
type headerSource struct{ *weights.Index }

// Tensor returns the tensor without data.
func (h headerSource) Tensor(name string) (tensorio.Tensor, error) {
	info, ok := h.Info(name)
	if !ok {
		return tensorio.Tensor{}, fmt.Errorf("model has no tensor %q", name)
	}
	return tensorio.Tensor{Name: name, Type: info.Type, Shape: info.Shape}, nil
}

// inspectRemote inspects a model on the hub by its header, without fetching the
// rest. Without a network, or for a folder, the model is not here.
func (a *app) inspectRemote(ctx context.Context, f *inspectFlags, missing *notHereError) error {
	notHere := hint(missing, "fetch it with `shardnode pull %s`", missing.ref)
	r, err := findRemote(ctx, missing.ref, a.notify)
	if err != nil || r.choice.folder {
		return cmp.Or(err, notHere)
	}
	x, _, err := r.headers(ctx)
	if err != nil {
		return explainHub(err, r.listing.Repo)
	}
	out := inspectModel(strings.TrimSuffix(path.Base(r.choice.files[0]), ".gguf"), x, headerSource{x})
	out.License = cmp.Or(out.License, r.listing.License)
	a.notify("read from the hub: the model is not on this machine")
	return a.printInspected(f, out, x.Meta())
}
