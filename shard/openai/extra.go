package openai

import (
	"fmt"
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
	Recoveries    []healJSON  `json:"recoveries"`
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

// healJSON is how the session went on after a stage was lost or left.
type healJSON struct {
	At             shard.Pos   `json:"at"`
	Lost           string      `json:"lost"`
	Start          shard.Layer `json:"start"`
	End            shard.Layer `json:"end"`
	PauseMS        float64     `json:"pause_ms"`
	ReplayedTokens int         `json:"replayed_tokens"`
	Planned        bool        `json:"planned"`
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// serverTiming is the header of an answer that is not streamed (W3C, Server
// Timing).
func (o outcome) serverTiming() string {
	t := o.times
	return fmt.Sprintf("queue;dur=%.1f, first;dur=%.1f, decode;dur=%.1f", millis(o.queued), millis(t.TTFT), millis(t.Decode))
}

// extra returns the shardnode object of j, nil if it was not asked for.
func (j *job) extra(o outcome) *extraJSON {
	if !j.asked {
		return nil
	}
	t := o.times
	x := &extraJSON{
		Seed: j.sampling.Seed, QueuedMS: millis(o.queued), TTFTms: millis(t.TTFT),
		PromptTokens: t.PromptTokens, DecodeTokens: t.DecodeTokens,
		Route: []stageJSON{}, Hops: []hopJSON{}, Recoveries: []healJSON{},
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
	for _, r := range o.stats.Recoveries {
		x.Recoveries = append(x.Recoveries, healJSON{
			At: r.At, Lost: r.Lost.Name, Start: r.Lost.Span.Start, End: r.Lost.Span.End,
			PauseMS: millis(r.Pause), ReplayedTokens: r.ReplayedTokens, Planned: r.Planned,
		})
	}
	return x
}
