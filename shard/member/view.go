package member

import (
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/weights"
)

// PlanModel returns what placement needs to know of a model: its name, what
// its parts weigh (x), and its shape (cfg).
func PlanModel(name string, x *weights.Index, cfg model.Config) scheduler.Model {
	m := scheduler.Model{
		Name: name, Layers: cfg.Layers, EmbedBytes: x.EmbedBytes(), HeadBytes: x.HeadBytes(),
		KVBytesPerTokenLayer: kvTokenLayerBytes(cfg),
		HiddenBytes:          2 * int64(cfg.Dim),
	}
	if x.Tied() {
		m.TiedBytes = x.EmbedBytes()
	}
	for l := range cfg.Layers {
		m.LayerBytes = append(m.LayerBytes, x.LayerBytes(shard.Layer(l)))
	}
	return m
}

// kvTokenLayerBytes is the KV cache of a position in one layer: float16.
func kvTokenLayerBytes(cfg model.Config) int64 {
	return 2 * int64(cfg.KVHeads*(cfg.HeadDim+cfg.ValDim))
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
