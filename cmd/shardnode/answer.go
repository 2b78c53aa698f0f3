package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/pipeline"
)

// answerJSON is the answer of `run --json` and `demo --json` (CLI.md §3).
type answerJSON struct {
	Model        string         `json:"model"`
	PromptIDs    []shard.Token  `json:"prompt_ids"`
	IDs          []shard.Token  `json:"ids"`
	Text         string         `json:"text"`
	FinishReason string         `json:"finish_reason"`
	Seed         uint64         `json:"seed"`
	Error        string         `json:"error,omitempty"`
	Route        []stageJSON    `json:"route"`
	Timings      timingsJSON    `json:"timings"`
	Predicted    predictedJSON  `json:"predicted"`
	Hops         []hopJSON      `json:"hops"`
	Stages       []stageTime    `json:"stages"`
	Recoveries   []recoveryJSON `json:"recoveries"`
	Logprobs     []logprobJSON  `json:"logprobs,omitempty"`
}

type (
	stageJSON struct {
		Peer  string      `json:"peer"`
		Name  string      `json:"name"`
		Start shard.Layer `json:"start"`
		End   shard.Layer `json:"end"`
	}
	timingsJSON struct {
		LoadMS       float64 `json:"load_ms"`
		TTFTms       float64 `json:"ttft_ms"`
		PromptTokens int     `json:"prompt_tokens"` // computed now
		CachedTokens int     `json:"cached_tokens"` // of the prompt, kept from an answer before
		PromptMS     float64 `json:"prompt_ms"`
		DecodeTokens int     `json:"decode_tokens"`
		DecodeMS     float64 `json:"decode_ms"`
		PromptTokS   float64 `json:"prompt_tok_s"`
		DecodeTokS   float64 `json:"decode_tok_s"`
	}
	predictedJSON struct {
		TTFTms     float64 `json:"ttft_ms"`
		DecodeTokS float64 `json:"decode_tok_s"`
	}
	hopJSON struct {
		From  string  `json:"from"`
		To    string  `json:"to"`
		Steps uint64  `json:"steps"`
		Bytes uint64  `json:"bytes"`
		Codec string  `json:"codec"`
		P50ms float64 `json:"p50_ms"`
		P99ms float64 `json:"p99_ms"`
	}
	stageTime struct {
		Peer      string  `json:"peer"`
		ComputeMS float64 `json:"compute_ms"`
		QueueMS   float64 `json:"queue_ms"`
	}
	// recoveryJSON is a stage that was lost and replaced. AtToken is the number
	// of tokens that the answer had by then; peers are ids, several with commas.
	recoveryJSON struct {
		AtToken        int     `json:"at_token"`
		Lost           string  `json:"lost"`
		Replacement    string  `json:"replacement"`
		PauseMS        float64 `json:"pause_ms"`
		ReplayedTokens int     `json:"replayed_tokens"`
	}
	logprobJSON struct {
		ID      shard.Token  `json:"id"`
		Text    string       `json:"text"`
		Logprob float64      `json:"logprob"`
		Top     []topLogprob `json:"top"`
	}
	topLogprob struct {
		ID      shard.Token `json:"id"`
		Logprob float64     `json:"logprob"`
	}
)

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// perSecond returns n in d, a second.
func perSecond(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// timings returns the times of an answer that was loaded for in load.
func timings(load time.Duration, t generate.Times) timingsJSON {
	return timingsJSON{
		LoadMS: millis(load), TTFTms: millis(t.TTFT), PromptTokens: t.PromptTokens, PromptMS: millis(t.Prompt),
		CachedTokens: t.CachedTokens,
		DecodeTokens: t.DecodeTokens, DecodeMS: millis(t.Decode),
		PromptTokS: perSecond(t.PromptTokens, t.Prompt), DecodeTokS: perSecond(t.DecodeTokens, t.Decode),
	}
}

// answer puts together what `run --json` prints.
func (p *place) answer(prompt []shard.Token, a generate.Answer, stats pipeline.Stats, seed uint64) answerJSON {
	out := answerJSON{
		Model: p.name, PromptIDs: nonNil(prompt), IDs: nonNil(a.IDs), Text: a.Text, FinishReason: string(a.Finish), Seed: seed,
		Timings:    timings(p.loaded, a.Times),
		Predicted:  predictedJSON{TTFTms: p.predicted.TTFTms, DecodeTokS: p.predicted.TokSOne},
		Recoveries: recoveries(stats.Recoveries, len(prompt)), Hops: []hopJSON{}, Route: []stageJSON{}, Stages: []stageTime{},
	}
	route := p.route
	if len(stats.Stages) > 0 { // it may have changed
		route = nil
		for _, s := range stats.Stages {
			route = append(route, pipeline.Stage{Neighbour: hop.Neighbour{Peer: s.Peer, Name: s.Name}, Span: s.Span})
		}
	}
	for _, s := range route {
		out.Route = append(out.Route, stageJSON{Peer: peerText(s.Peer), Name: s.Name, Start: s.Span.Start, End: s.Span.End})
	}
	for _, h := range stats.Hops {
		out.Hops = append(out.Hops, hopJSON{
			From: peerText(h.From), To: peerText(h.To), Steps: h.Steps, Bytes: h.Bytes, Codec: h.Codec, P50ms: h.P50ms, P99ms: h.P99ms,
		})
	}
	for _, s := range stats.Stages {
		out.Stages = append(out.Stages, stageTime{Peer: peerText(s.Peer), ComputeMS: millis(s.Compute), QueueMS: millis(s.Queue)})
	}
	return out
}

// noAnswer is what `run --json` prints when there is no answer: seen is the
// prompt, as far as it is known.
func (p *place) noAnswer(seen []shard.Token, seed uint64) answerJSON {
	return p.answer(seen, generate.Answer{Finish: generate.Failed}, pipeline.Stats{}, seed)
}

// explainAnswer adds to why an answer ended what a person can do.
func explainAnswer(err error) error {
	if _, ok := errors.AsType[*hintError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*member.NoRouteError](err); ok {
		return hint(err, "let a member with memory for these layers join: `shardnode invite` prints the line for it, `shardnode ps` shows who holds what")
	}
	stage, ok := errors.AsType[*shard.StageError](err)
	if !ok {
		return err
	}
	switch stage.Code {
	case shard.Unreachable, shard.TimedOut, shard.NotServing, shard.WrongModel:
		return hint(err, "no other member could take its layers in time: `shardnode ps` shows who is left, --peer-timeout waits longer")
	case shard.NoCapacity:
		return hint(err, "ask for fewer --max-tokens, wait for other sessions to end, or give that member more --memory or --kv")
	case shard.TooLong:
		return hint(err, "shorten the prompt or ask for fewer --max-tokens")
	}
	return err
}

// peerText returns a peer's id, "local" for this process when it has none.
func peerText(id shard.PeerID) string {
	if id.IsZero() {
		return "local"
	}
	return id.String()
}

// nonNil returns ids, an empty list for none: JSON has no null there.
func nonNil(ids []shard.Token) []shard.Token {
	if ids == nil {
		return []shard.Token{}
	}
	return ids
}

// printJSON prints v on one line.
func (a *app) printJSON(v any) error {
	b, err := jsonLine(v)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(b)
	return err
}

// jsonLine returns v as one line of JSON. Next-line characters are escaped, as
// package json does with the other ends of lines, because many readers end a
// line there.
func jsonLine(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // no browser reads it as a page
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("\u0085"), []byte(`\u0085`)), nil
}
