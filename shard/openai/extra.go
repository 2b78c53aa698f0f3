package openai

import (
	"time"

	"github.com/shardnode/shardnode/shard"
)

// extraJSON is the shardnode object of an answer, for requests with the header
// X-Shardnode: where the time went.
type extraJSON struct {
	Seed          uint64      `json:"seed"`
	QueuedMS      float64     `json:"queued_ms"`
	TTFTms        float64     `json:"ttft_ms"`
	PromptTokens  int         `json:"prompt_tokens"` // computed, of the first choice
	DecodeTokens  int         `json:"decode_tokens"`
	DecodeTokPerS float64     `json:"decode_tok_s"`
	Route         []stageJSON `json:"route"`
	Hops          []hopJSON   `json:"hops"`
}

type stageJSON struct {
	Peer      string      `json:"peer"`
	Name      string      `json:"name"`
	Start     shard.Layer `json:"start"`
	End       shard.Layer `json:"end"`
	ComputeMS float64     `json:"compute_ms"`
	QueueMS   float64     `json:"queue_ms"`
}

type hopJSON struct {
	From  string  `json:"from"`
	To    string  `json:"to"`
	Steps uint64  `json:"steps"`
	Bytes uint64  `json:"bytes"`
	Codec string  `json:"codec"`
	P50ms float64 `json:"p50_ms"`
	P99ms float64 `json:"p99_ms"`
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// extra returns the shardnode object of j, nil if it was not asked for.
func (j *job) extra(o outcome) *extraJSON {
	if !j.asked {
		return nil
	}
	t := o.times
	x := &extraJSON{
		Seed: j.sampling.Seed, QueuedMS: millis(o.queued), TTFTms: millis(t.TTFT),
		PromptTokens: t.PromptTokens, DecodeTokens: t.DecodeTokens,
		Route: []stageJSON{}, Hops: []hopJSON{},
	}
	if t.Decode > 0 {
		x.DecodeTokPerS = float64(t.DecodeTokens) / t.Decode.Seconds()
	}
	for _, s := range o.stats.Stages {
		x.Route = append(x.Route, stageJSON{
			Peer: s.Peer.String(), Name: s.Name, Start: s.Span.Start, End: s.Span.End,
			ComputeMS: millis(s.Compute), QueueMS: millis(s.Queue),
		})
	}
	for _, h := range o.stats.Hops {
		x.Hops = append(x.Hops, hopJSON{
			From: h.From.String(), To: h.To.String(), Steps: h.Steps, Bytes: h.Bytes, Codec: h.Codec, P50ms: h.P50ms, P99ms: h.P99ms,
		})
	}
	return x
}
