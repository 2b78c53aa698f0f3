package main

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/model"
)

// A plannedModel is a model to plan for, open.
type plannedModel struct {
	*modelFile
	cfg  model.Config
	plan scheduler.Model
}

// openPlanned opens the model ref, whose keys and values will be kept as kv says.
func openPlanned(ref string, kv kvcache.Precision) (*plannedModel, error) {
	file, err := openModel(ref)
	if err != nil {
		return nil, err
	}
	cfg, err := model.ReadConfig(file.Meta())
	if err != nil {
		_ = file.Close() // it was only read
		return nil, err
	}
	return &plannedModel{modelFile: file, cfg: cfg, plan: member.PlanModel(file.name(), file.Index, cfg, kv)}, nil
}

// kvBytes returns the KV cache that sessions of so many tokens each need. A
// session's cache comes in pages; some tokens more cover what the last page
// leaves free, and the session that speed is measured with.
func (m *plannedModel) kvBytes(sessions, tokens int) int64 {
	token := m.plan.KVBytesPerTokenLayer * int64(m.plan.Layers)
	return token * (int64(sessions)*int64(tokens+64) + 512)
}

// lan is what lies between the machines of `plan --peers` by default.
var lan = scheduler.Link{LatencyMS: 0.2, Mbit: 1000}

// planHere returns a cluster of machines like this one, whose speed is
// measured with the model itself.
func (a *app) planHere(ctx context.Context, f *planFlags, ref string) (scheduler.Cluster, error) {
	var c scheduler.Cluster
	link, err := parseLink(f.link)
	if err != nil {
		return c, err
	}
	m, err := openPlanned(ref, kvcache.Float16)
	if err != nil {
		return c, err
	}
	defer m.Close() //nolint:errcheck // it was only read
	f.contextTokens = min(f.contextTokens, m.cfg.Context)
	memory := int64(f.memory)
	if memory == 0 {
		memory = freeMemory()
	}
	peer := scheduler.Peer{ID: "this-machine", MemoryBytes: memory}
	if err := a.measureHere(ctx, f, m, &peer); err != nil {
		return c, err
	}
	c.Name, c.View.Model, c.View.Peers = m.plan.Name, m.plan, []scheduler.Peer{peer}
	if f.peers == 1 {
		return c, nil
	}
	c.View.Links.Default = lan
	if link.given {
		c.View.Links.Default = scheduler.Link{LatencyMS: link.latencyMS(), Mbit: link.mbit()}
	}
	for i := range f.peers - 1 {
		peer.ID = scheduler.ID(childName(i))
		c.View.Peers = append(c.View.Peers, peer)
	}
	l := c.View.Links.Default
	a.notify("%s like this one with %s each, %g ms and %s between them", count(f.peers, "machine"), mib(memory), l.LatencyMS, rateText(l.Mbit))
	return c, nil
}

func rateText(mbit float64) string {
	if mbit == 0 {
		return "any rate"
	}
	return fmt.Sprintf("%g Mbit/s", mbit)
}

// measureBytes is how much of a model is loaded at most to measure the speed
// of a layer: more than any processor's caches hold, so that weights come from
// memory as they will.
const measureBytes = 1 << 30

// measureHere measures this machine's speed into p and m: with the whole
// model if it is small, else with its last layers, which have the head.
func (a *app) measureHere(ctx context.Context, f *planFlags, m *plannedModel, p *scheduler.Peer) error {
	span := shard.Span{End: shard.Layer(m.cfg.Layers)}
	for span.Len() > 1 {
		need, err := model.MemoryBytes(m.cfg, m, span)
		if err != nil {
			return err
		}
		if need <= min(measureBytes, p.MemoryBytes) {
			break
		}
		span.Start++
	}
	loaded, err := member.Load(ctx, member.LoadConfig{Source: m, Span: span, Threads: f.threads, Logger: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer loaded.Close()
	s := loaded.Speed
	member.PlanSpeed(p, s)
	m.plan.HeadLayers = member.HeadLayers(s.Head, s.DecodePerLayer)
	a.notify("measured here with layers %v: decode %.3f ms a layer, prompt %.4f ms a token and layer, head %.3f ms",
		span, millis(s.DecodePerLayer), millis(s.PrefillPerLayer), millis(s.Head))
	return nil
}
