package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/folder"
)

// A place is where a model runs for one command: this process, or members
// that were started for it.
type place struct {
	name    string // of the model
	file    *modelFile
	text    *generate.Text
	config  model.Config
	self    shard.PeerID
	modelID shard.ModelID
	kv      kvcache.Precision
	route   []pipeline.Stage
	chunk   int // tokens of a prompt in one frame; 0 for what routes have
	dial    func(ctx context.Context, to hop.Neighbour) (io.ReadWriteCloser, error)
	speeds  []engine.Speed // of each stage, measured at load
	loaded  time.Duration  // how long it took until it could serve

	link      scheduler.Link // what lies between the stages
	predicted scheduler.Predicted
	reasons   []string // of the layout, for people
	verdict   string   // what the layout is worth beside one member alone

	// What a session does about stages that are lost; nil where none can be.
	repair func(ctx context.Context, b pipeline.Broken) ([]pipeline.Stage, error)
	healed func(pipeline.Recovery)

	kill  func(stage int) error // ends a member with SIGKILL; nil if there are none
	pids  []int                 // of the members' processes
	close func()
}

// placeConfig says where a model is to run.
type placeConfig struct {
	peers   int    // 0: this process
	split   string // layers per stage; "" or "auto": planned
	threads int
	memory  int64
	kvBytes int64
	kv      kvcache.Precision
	quant   folder.Quant // of a folder
	link    string       // emulated link between members
	packs   *weights.Packs
	settled bool // wait until weights are where they stay
	// notify tells a person what is waited for; never nil.
	notify func(format string, args ...any)
}

// openPlace opens the model ref and brings it to where c says.
func openPlace(ctx context.Context, ref string, c placeConfig) (*place, error) {
	file, err := openOrPull(ctx, withQuant(ref, c.quant), c.notify)
	if err != nil {
		return nil, err
	}
	p := &place{name: file.name(), file: file, kv: c.kv, close: func() { _ = file.Close() }}
	if err := p.open(ctx, c); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *place) open(ctx context.Context, c placeConfig) error {
	began := time.Now()
	if c.kv != kvcache.Float16 {
		c.notify("keys and values are kept as %v: results differ a little from those of members that keep them as %v", c.kv, kvcache.Float16)
	}
	var err error
	if p.config, err = model.ReadConfig(p.file.Meta()); err != nil {
		return err
	}
	stages, err := stageCount(c, p.config.Layers)
	if err != nil {
		return err
	}
	// The tokenizer of a large vocabulary takes as long as a good part of the
	// weights: both are read at once.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var reading sync.WaitGroup
	reading.Go(func() {
		var err error
		if p.text, err = generate.ReadText(p.file.Meta()); err != nil {
			cancel(err) // which ends the loading, and is the error of it
		}
	})
	if stages == 0 {
		err = p.openAlone(ctx, c)
	} else {
		err = p.openFamily(ctx, c, stages)
	}
	reading.Wait()
	p.loaded = time.Since(began)
	if cause := context.Cause(ctx); cause != nil {
		return cause // a text that can't be read is the reason of all else
	}
	return err
}

// stageCount returns how many members c asks for, 0 for this process.
func stageCount(c placeConfig, layers int) (int, error) {
	if c.peers < 0 || c.peers > layers {
		return 0, usage("--peers is %d, want 1 to %d: the model has %d layers", c.peers, layers, layers)
	}
	if c.split == "" || c.split == "auto" {
		return c.peers, nil
	}
	sizes, err := scheduler.ParseSplit(c.split, layers)
	if err != nil {
		return 0, &usageError{err}
	}
	if c.peers != 0 && c.peers != len(sizes) {
		return 0, usage("--peers is %d and --split %s has %d stages: give one of them", c.peers, c.split, len(sizes))
	}
	return len(sizes), nil
}

// openAlone loads the whole model in this process.
func (p *place) openAlone(ctx context.Context, c placeConfig) error {
	loaded, err := member.Load(ctx, member.LoadConfig{
		Source: p.file, Threads: c.threads, MemoryBytes: c.memory, KVBytes: c.kvBytes, KV: c.kv, Packs: c.packs, Settled: c.settled, Logger: zerolog.Nop(),
		MeasureTime: aloneMeasureTime, Progress: packProgress(c.notify),
	})
	if err != nil {
		return p.explainLoad(err, c)
	}
	tellKept(c.notify, loaded.KeptBytes())
	n, err := node.New(node.Config{Name: "this process"})
	if err != nil {
		loaded.Close()
		return err
	}
	n.Hold(loaded.Held())
	closeFile := p.close
	p.close = func() {
		n.Close()
		loaded.Close()
		closeFile()
	}
	p.speeds = []engine.Speed{loaded.Speed}
	p.dial = func(context.Context, hop.Neighbour) (io.ReadWriteCloser, error) { return n.Local(), nil }
	p.route = []pipeline.Stage{{Neighbour: hop.Neighbour{Name: "this process"}, Span: loaded.Span}}
	p.predict(1)
	return nil
}

// aloneMeasureTime is how long one process measures its speed: nothing is
// planned with it, and somebody waits for an answer.
const aloneMeasureTime = 15 * time.Millisecond

// packProgress returns a progress function that tells a person each second how
// much of a model is packed, with what is left.
func packProgress(notify func(string, ...any)) func(done, total int64) {
	began := time.Now()
	last := began
	return func(done, total int64) {
		now := time.Now()
		if now.Sub(last) < time.Second || done <= 0 || done >= total {
			return
		}
		last = now
		left := time.Duration(float64(now.Sub(began)) / float64(done) * float64(total-done))
		notify("loading: %d of %d MiB, %.0f s left", done>>20, total>>20, left.Seconds())
	}
}

// predict fills in what the layout should give for a prompt of so many tokens,
// from the measured speeds.
func (p *place) predict(promptTokens int) {
	if len(p.speeds) == 0 {
		return // a swarm's own prediction is there already
	}
	m := member.PlanModel(p.name, p.file.Index, p.config, p.kv)
	last := p.speeds[len(p.speeds)-1]
	m.HeadLayers = member.HeadLayers(last.Head, last.DecodePerLayer)
	v := scheduler.View{Model: m}
	v.Links.Default = p.link
	var sizes []int
	for i, s := range p.speeds {
		peer := scheduler.Peer{ID: scheduler.ID(p.route[i].Name), Name: p.route[i].Name, MemoryBytes: ampleMemory}
		member.PlanSpeed(&peer, s)
		v.Peers = append(v.Peers, peer)
		sizes = append(sizes, p.route[i].Span.Len())
	}
	res, err := scheduler.Plan(v, scheduler.Params{Split: sizes, PromptTokens: promptTokens})
	if err != nil {
		return // the layout is loaded: only its prediction is missing
	}
	p.predicted = res.Predicted
	if s := res.Single; s != nil && len(sizes) > 1 {
		p.verdict = fmt.Sprintf("one member alone would give %.0f tok/s, this split %.0f for one session: a split is for what does not fit",
			s.Predicted.TokSOne, res.Predicted.TokSOne)
	}
}

// ampleMemory is what members are planned with that have loaded already.
const ampleMemory = 1 << 50

// session opens a session with room for tokens positions.
func (p *place) session(ctx context.Context, tokens int) (*pipeline.Session, error) {
	return p.sessionAfter(ctx, nil, tokens)
}

// sessionAfter is session for one that begins with prefix. What of it the stages
// have from an earlier one is not computed again (Session.Ready).
func (p *place) sessionAfter(ctx context.Context, prefix []shard.Token, tokens int) (*pipeline.Session, error) {
	c := pipeline.Config{
		Self: p.self, Name: "driver", Dial: p.dial, Model: p.modelID, KV: p.kv, Route: p.route, MaxTokens: tokens, ChunkTokens: p.chunk,
		Repair: p.repair, Healed: p.healed,
	}
	if len(prefix) > 0 {
		c.Prefix, c.Secret = prefix, hop.Secret{1} // the members are this command's own
	}
	return pipeline.Open(ctx, c)
}

// room returns how many positions a session gets that must hold prompt tokens
// and generate more.
func (p *place) room(prompt, more int) (int, error) {
	if prompt >= p.config.Context {
		return 0, hint(fmt.Errorf("the prompt has %d tokens, the model's context is %d", prompt, p.config.Context), "shorten the prompt")
	}
	return min(prompt+max(0, more)+1, p.config.Context), nil
}
