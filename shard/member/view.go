package member

import (
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/weights"
)

// PlanModel returns what placement needs to know of a model: its name, what
// its parts weigh in memory (x), its shape (cfg), and how keys and values are
// kept.
func PlanModel(name string, x *weights.Index, cfg model.Config, kv kvcache.Precision) scheduler.Model {
	m := scheduler.Model{
		Name: name, Layers: cfg.Layers, EmbedBytes: x.EmbedBytes(), HeadBytes: x.PackedHeadBytes(),
		KVBytesPerTokenLayer: kvTokenLayerBytes(cfg, kv),
		HiddenBytes:          2 * int64(cfg.Dim),
	}
	if x.Tied() {
		m.TiedBytes = x.EmbedBytes()
	}
	for l := range cfg.Layers {
		m.LayerBytes = append(m.LayerBytes, x.PackedLayerBytes(shard.Layer(l)))
	}
	return m
}

// kvTokenLayerBytes is the KV cache of a position in one layer.
func kvTokenLayerBytes(cfg model.Config, kv kvcache.Precision) int64 {
	return kvcache.Config{Layers: 1, KVHeads: cfg.KVHeads, KeyDim: cfg.HeadDim, ValDim: cfg.ValDim, Precision: kv}.TokenBytes()
}

// PlanSpeed fills in what a peer's measured speed means for placement.
func PlanSpeed(p *scheduler.Peer, s engine.Speed) {
	p.DecodeMS = []scheduler.Timing{{Batch: 1, MS: ms(s.DecodePerLayer)}}
	p.PrefillMSPerToken = ms(s.PrefillPerLayer)
}

// HeadLayers returns what the head costs in layers on a machine that takes
// head for it and layer for one layer; 0 if that is not known.
func HeadLayers(head, layer time.Duration) float64 {
	if head <= 0 || layer <= 0 {
		return 0
	}
	return float64(head) / float64(layer)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
