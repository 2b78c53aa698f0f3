package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// A Stage is one peer of a route and the layers it runs.
type Stage struct {
	hop.Neighbour
	Span shard.Span
}

// Config says how to open a [Session]. Self, Dial, Model, Route and MaxTokens
// must be set.
type Config struct {
	Self shard.PeerID
	Name string // of this driver, for people

	// Dial opens a stream to a peer; to this process too. It must return when
	// ctx ends.
	Dial func(ctx context.Context, to hop.Neighbour) (io.ReadWriteCloser, error)

	Model shard.ModelID
	// KV is how all stages keep keys and values: one that does not refuses the
	// session. Default: [kvcache.Float16].
	KV    kvcache.Precision
	Route []Stage // contiguous, from layer 0 to the last
	// MaxTokens is the number of positions that every stage reserves.
	MaxTokens int

	// Prefix, if known, is what the session will begin with: the prompt. Stages
	// that have computed its beginning for another session of this driver do
	// not do so again; [Session.Ready] says how much that is.
	Prefix []shard.Token
	// Secret, unless zero, lets stages keep what they compute for later
	// sessions that have the same Secret and Self. Whoever drives draws one at
	// random when it starts and tells it to nobody.
	Secret hop.Secret

	// Codec is how stages encode hidden states, always without loss. Default:
	// each stage packs them where its link is slower than packing.
	Codec wire.Codec

	// ChunkTokens is the most tokens of a prompt that travel in one frame.
	// Default: 64 on a route of several stages, so that all work at once, else
	// 256. It changes no result.
	ChunkTokens int

	// OpenTimeout bounds opening all stages. Default: 15 s.
	OpenTimeout time.Duration

	// StepTimeout bounds how long the route may be silent while a step is
	// under way. Connections notice a dead peer within two seconds; this is
	// for one that lives and does not answer. Default: 2 min. With Repair it
	// is less once it is known how long a token takes.
	StepTimeout time.Duration

	// Repair finds another route when stages of the session's are lost or
	// leave. It may wait for peers to come until ctx ends, and is then asked
	// again while there is time; another error ends the session. It may be
	// called by two goroutines at once. Default: a lost stage is the session's end.
	Repair func(ctx context.Context, b Broken) ([]Stage, error)

	// PeerTimeout bounds how long the session waits for a route that is whole
	// again. Default: 30 s.
	PeerTimeout time.Duration

	// Healed, if set, is called when the session goes on after stages were
	// lost or have left. It must not block.
	Healed func(Recovery)

	// Observed, if set, hears now and then how long a stage takes for a token,
	// smoothed, as it says itself. It must not block.
	Observed func(st Stage, token time.Duration)
}

func (c Config) withDefaults() (Config, error) {
	if len(c.Route) == 0 || len(c.Route) > hop.MaxStages {
		return c, fmt.Errorf("pipeline: route of %d stages, want 1 to %d", len(c.Route), hop.MaxStages)
	}
	if err := contiguous(c.Route); err != nil {
		return c, err
	}
	if c.MaxTokens <= 0 {
		return c, fmt.Errorf("pipeline: MaxTokens is %d, want 1 or more", c.MaxTokens)
	}
	chunk := 64
	if len(c.Route) == 1 {
		chunk = 256
	}
	c.ChunkTokens = min(cmp.Or(c.ChunkTokens, chunk), hop.MaxStepTokens)
	c.OpenTimeout = cmp.Or(c.OpenTimeout, 15*time.Second)
	c.StepTimeout = cmp.Or(c.StepTimeout, 2*time.Minute)
	c.PeerTimeout = cmp.Or(c.PeerTimeout, 30*time.Second)
	return c, nil
}

// contiguous returns an error unless the stages hold layers from 0 on without
// gaps.
func contiguous(route []Stage) error {
	at := shard.Layer(0)
	for i, s := range route {
		if s.Span.Start != at || s.Span.Len() == 0 {
			return fmt.Errorf("pipeline: stage %d holds layers %v, want them from %d on", i, s.Span, at)
		}
		at = s.Span.End
	}
	return nil
}

// A Session drives one timeline of tokens over a route.
type Session struct {
	cfg   Config
	id    shard.SessionID
	vocab int
	ready shard.Pos

	ctx     context.Context // ends with the session; its cause says why
	cancel  context.CancelCauseFunc
	blame   blame
	closing atomic.Bool // Close has been sent
	readers sync.WaitGroup
	results chan result // from the last stage
	closed  chan closedStage
	filled  chan struct{} // capacity 1: some stage has said how far it is
	epoch   atomic.Uint32 // of the route that steps take
	turn    chan struct{} // holds one value: who has taken it drives the session
	mover   mover

	mu   sync.Mutex // guards what follows
	legs []*leg     // the route, changed by who has the turn
	open map[*leg]bool
	done shard.Pos // positions whose steps have been answered

	// Of who has the turn.
	epochs  shard.Epoch   // the highest given out
	whole   bool          // every stage is in the route; else await repairs it
	history []shard.Token // the first held ones are what the stages were sent
	held    shard.Pos     // positions that every stage holds once it has done what it was sent
	sent    []sent        // what has no result yet, oldest first
	gave    bool          // the last stage has been sent a step, so that it has logits of held-1
	shun    []shunned
	healing *healing // until the first result after a loss
	pace    pace
	prefix  *prefix
	stats   recorder
}

// sent is a frame that the last stage answers.
type sent struct {
	step   *wirepb.Step // nil: a request for more logits
	tokens []shard.Token
}

// result is a Result frame of the last stage.
type result struct {
	m       *wirepb.Result
	payload []byte
	bytes   int
	at      time.Time
}

type closedStage struct {
	leg *leg
	m   *wirepb.Closed
}

var errSessionClosed = errors.New("the session is closed")

// Open opens a stage on every peer of cfg.Route. An error is the
// [shard.StageError] of the peer that refused or could not be reached; nothing
// stays open then.
func Open(ctx context.Context, cfg Config) (*Session, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Session{
		cfg: cfg, id: shard.NewSessionID(), epochs: 1,
		results: make(chan result, 2*hop.MaxInFlight), closed: make(chan closedStage, hop.MaxStages),
		filled: make(chan struct{}, 1), turn: make(chan struct{}, 1), open: map[*leg]bool{},
	}
	s.epoch.Store(1)
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.blame.init(s.cancel, false)
	for _, st := range cfg.Route {
		s.legs = append(s.legs, newLeg(st))
	}
	s.blame.begin(s.legs)
	s.prefix = newPrefix(&cfg)
	// When the session ends nobody reads any more: what blocks must end, and
	// the other stages are freed before the caller gets to close the session.
	context.AfterFunc(s.ctx, s.hangUp)
	ctx, stop := context.WithTimeoutCause(ctx, cfg.OpenTimeout, errOpenTimeout)
	defer stop()
	if err := s.openStages(ctx); err != nil {
		s.blame.settle(err)
		s.closeStreams()
		return nil, err
	}
	s.ready = s.prefix.begin(s.legs)
	s.held, s.done = s.ready, s.ready
	s.history = append(make([]shard.Token, 0, min(cfg.MaxTokens, len(cfg.Prefix)+64)), cfg.Prefix[:s.ready]...)
	s.blame.repair(cfg.Repair != nil)
	for _, l := range s.legs {
		s.readers.Go(func() { s.read(l) })
	}
	s.whole = true
	s.mover.init(s)
	s.turn <- struct{}{}
	return s, nil
}

// openStages opens all stages at once and returns the first failure.
func (s *Session) openStages(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(s.legs))
	var wg sync.WaitGroup
	for i, l := range s.legs {
		wg.Go(func() {
			if errs[i] = s.openLeg(ctx, l, s.invite(s.legs, i, 1)); errs[i] != nil {
				cancel(errs[i]) // the others need not go on
			}
		})
	}
	wg.Wait()
	cause := context.Cause(ctx)
	if !errors.Is(cause, errOpenTimeout) {
		return cause // nil if nothing failed: ctx has not been cancelled yet
	}
	// A stage waits for the next one, so the last that is missing is at fault.
	late := len(errs) - 1
	for late > 0 && errs[late] == nil {
		late--
	}
	named, _ := s.name(s.legs[late], &shard.StageError{
		Peer: s.legs[late].Peer, Code: shard.TimedOut, Text: fmt.Sprintf("the stage did not open within %v", s.cfg.OpenTimeout),
	})
	return named
}

var errOpenTimeout = errors.New("the route did not open in time")

// Vocab returns the number of logits that the last stage gives.
func (s *Session) Vocab() int { return s.vocab }

// ID returns the session's name.
func (s *Session) ID() shard.SessionID { return s.id }

// Route returns the stages that the session runs through now.
func (s *Session) Route() []Stage {
	var out []Stage
	for _, l := range s.legsNow() {
		out = append(out, l.Stage)
	}
	return out
}

func (s *Session) legsNow() []*leg {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.legs
}

// take waits for the turn to drive the session.
func (s *Session) take(ctx context.Context) error {
	select {
	case <-s.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

func (s *Session) give() { s.turn <- struct{}{} }

// Close ends the session on every stage and returns what it cost. It waits
// for the stages' figures until ctx ends, at most two seconds. It may be called
// twice, but not while a Step runs.
func (s *Session) Close(ctx context.Context) Stats {
	ctx, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	s.mover.end()
	legs := s.legsNow()
	if last := legs[len(legs)-1].conn; last != nil {
		s.stats.last = last.Path()
	}
	// Steps that were given up are still under way: a stage that closed now
	// would look broken to the one before it.
	s.blame.repair(false)
	if s.whole && s.ctx.Err() == nil && s.settle(ctx) == nil {
		s.askClosed(ctx)
	}
	s.blame.settle(errSessionClosed)
	s.closeStreams()
	return s.Stats()
}

// askClosed closes every stage and collects what they measured.
func (s *Session) askClosed(ctx context.Context) {
	// Streams are closed when time is up, which ends a send that blocks.
	stop := context.AfterFunc(ctx, s.hangUp)
	defer stop()
	s.closing.Store(true)
	legs := s.legsNow()
	for _, l := range legs {
		if _, err := l.conn.Send(wire.KindClose, &wirepb.Close{Epoch: s.epoch.Load()}, nil); err != nil {
			return
		}
	}
	for range legs {
		select {
		case c := <-s.closed:
			c.leg.inbound = c.m.GetInbound()
		case <-s.ctx.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// closeStreams closes every stream and waits for the readers.
func (s *Session) closeStreams() {
	s.hangUp()
	s.readers.Wait()
}

// hangUp closes every stream.
func (s *Session) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.open {
		_ = l.conn.Close()
	}
}
