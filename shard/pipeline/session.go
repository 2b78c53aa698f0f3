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
	// for one that lives and does not answer. Default: 2 min.
	StepTimeout time.Duration
}

func (c Config) withDefaults() (Config, error) {
	if len(c.Route) == 0 || len(c.Route) > hop.MaxStages {
		return c, fmt.Errorf("pipeline: route of %d stages, want 1 to %d", len(c.Route), hop.MaxStages)
	}
	at := shard.Layer(0)
	for i, s := range c.Route {
		if s.Span.Start != at || s.Span.Len() == 0 {
			return c, fmt.Errorf("pipeline: stage %d holds layers %v, want them from %d on", i, s.Span, at)
		}
		at = s.Span.End
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
	return c, nil
}

// A Session drives one timeline of tokens over a route.
type Session struct {
	cfg    Config
	id     shard.SessionID
	epoch  shard.Epoch
	vocab  int
	ready  shard.Pos
	stages []*hop.Conn // one for each stage of the route

	ctx     context.Context // ends with the session; its cause says why
	cancel  context.CancelCauseFunc
	blame   blame
	closing atomic.Bool // Close has been sent
	readers sync.WaitGroup
	results chan result // from the last stage; capacity hop.MaxInFlight
	closed  chan closedStage

	// The driver's goroutine alone.
	owed   int       // results still to come
	held   shard.Pos // positions that every stage holds once it has done what it was sent
	gave   bool      // the last stage has been sent a step, so that it has logits of held-1
	prefix *prefix
	stats  recorder
}

// result is a Result frame of the last stage.
type result struct {
	m       *wirepb.Result
	payload []byte
	bytes   int
	at      time.Time
}

type closedStage struct {
	index int
	m     *wirepb.Closed
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
		cfg: cfg, id: shard.NewSessionID(), epoch: 1,
		stages:  make([]*hop.Conn, len(cfg.Route)),
		results: make(chan result, hop.MaxInFlight),
		closed:  make(chan closedStage, len(cfg.Route)),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.blame.init(s.cancel, len(cfg.Route))
	s.stats.init(cfg)
	s.prefix = newPrefix(&cfg)
	ctx, stop := context.WithTimeoutCause(ctx, cfg.OpenTimeout, errOpenTimeout)
	defer stop()
	if err := s.openStages(ctx); err != nil {
		s.blame.settle(err)
		s.closeStreams()
		return nil, err
	}
	s.ready = s.prefix.begin()
	s.held = s.ready
	// When the session ends nobody reads any more: what blocks must end, and
	// the other stages are freed before the caller gets to close the session.
	context.AfterFunc(s.ctx, s.hangUp)
	for i, conn := range s.stages {
		s.readers.Go(func() { s.read(i, conn) })
	}
	return s, nil
}

// openStages opens all stages at once and returns the first failure.
func (s *Session) openStages(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(s.stages))
	var wg sync.WaitGroup
	for i := range s.stages {
		wg.Go(func() {
			if errs[i] = s.openStage(ctx, i); errs[i] != nil {
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
	return s.name(late, &shard.StageError{
		Peer: s.cfg.Route[late].Peer, Code: shard.TimedOut, Text: fmt.Sprintf("the stage did not open within %v", s.cfg.OpenTimeout),
	})
}

var errOpenTimeout = errors.New("the route did not open in time")

// openStage opens stage i.
func (s *Session) openStage(ctx context.Context, i int) error {
	route := s.cfg.Route
	st := route[i]
	stream, err := s.cfg.Dial(ctx, st.Neighbour)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return s.name(i, err)
	}
	conn := hop.NewConn(stream, st.Peer, 0)
	s.stages[i] = conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	open := hop.Open{
		Session: s.id, Epoch: s.epoch, Model: s.cfg.Model, KV: s.cfg.KV, Span: st.Span,
		MaxTokens: s.cfg.MaxTokens, Codec: s.cfg.Codec, Prefix: s.prefix.of(route, i),
	}
	if i > 0 {
		open.Prev = route[i-1].Peer
	}
	if i+1 < len(route) {
		open.Next = &route[i+1].Neighbour
	}
	if _, err := conn.Send(wire.KindOpen, open.Message(), nil); err != nil {
		return s.giveUp(ctx, i, err)
	}
	var opened wirepb.Opened
	if _, err := conn.Expect(wire.KindOpened, &opened); err != nil {
		return s.giveUp(ctx, i, err)
	}
	if !stop() {
		return context.Cause(ctx)
	}
	if err := s.prefix.take(conn, i, &opened); err != nil {
		return s.name(i, err)
	}
	if i+1 < len(route) {
		return nil
	}
	s.vocab = int(opened.GetVocab())
	if s.vocab < 1 || s.vocab > maxVocab {
		return s.name(i, conn.Invalid("a vocabulary of %d tokens, want 1 to %d", s.vocab, maxVocab))
	}
	return nil
}

// maxVocab bounds what the last stage may say of its vocabulary.
const maxVocab = 1 << 24

// giveUp returns why stage i did not open.
func (s *Session) giveUp(ctx context.Context, i int, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.name(i, err)
}

// name returns err, which stage i gave, with what the route knows of the peer
// that it blames: stage i itself, if it blames nobody of the route.
func (s *Session) name(i int, err error) *shard.StageError {
	named := shard.StageError{Code: shard.Unreachable, Text: err.Error()}
	if stage, ok := errors.AsType[*shard.StageError](err); ok {
		named = *stage
	}
	at := s.stageOf(named.Peer, i)
	if at != i {
		named.Text += ", says " + s.cfg.Route[i].Name
	}
	st := s.cfg.Route[at]
	named.Peer, named.Name, named.Span = st.Peer, cmp.Or(st.Name, named.Name), st.Span
	return &named
}

// stageOf returns the stage that a peer is, or if none.
func (s *Session) stageOf(peer shard.PeerID, or int) int {
	if peer == s.cfg.Route[or].Peer {
		return or
	}
	for j, st := range s.cfg.Route {
		if st.Peer == peer {
			return j
		}
	}
	return or
}

// fail ends the session because of err, which stage i gave.
func (s *Session) fail(i int, err error) {
	named := s.name(i, err)
	s.blame.add(i, s.stageOf(named.Peer, i), named)
}

// read takes what stage i says until its stream ends.
func (s *Session) read(i int, conn *hop.Conn) {
	for {
		f, err := conn.Recv()
		if errors.Is(err, io.EOF) {
			err = &shard.StageError{Peer: conn.Peer(), Code: shard.Unreachable, Text: "the peer closed the session"}
		}
		if err == nil {
			var last bool
			last, err = s.handle(i, conn, f)
			if last {
				return
			}
		}
		if err != nil {
			s.fail(i, err)
			return
		}
	}
}

// handle takes one frame of stage i. It reports true after the last.
func (s *Session) handle(i int, conn *hop.Conn, f wire.Frame) (last bool, err error) {
	switch f.Kind {
	case wire.KindResult:
		if i != len(s.stages)-1 {
			return false, conn.Invalid("a result from a stage that is not the last")
		}
		r := result{m: &wirepb.Result{}, bytes: len(f.Header) + len(f.Payload), at: time.Now()}
		if err := conn.Unmarshal(f, r.m); err != nil {
			return false, err
		}
		r.payload = append(r.payload, f.Payload...)
		select {
		case s.results <- r:
			return false, nil
		default:
			return false, conn.Invalid("more results than steps")
		}
	case wire.KindClosed:
		m := &wirepb.Closed{}
		if !s.closing.Load() {
			return false, conn.Invalid("the stage closed the session unasked")
		}
		err := conn.Unmarshal(f, m)
		s.closed <- closedStage{index: i, m: m} // capacity: one a stage
		return true, err
	}
	return false, conn.Invalid("got a frame of kind %d from a stage", f.Kind)
}

// Vocab returns the number of logits that the last stage gives.
func (s *Session) Vocab() int { return s.vocab }

// ID returns the session's name.
func (s *Session) ID() shard.SessionID { return s.id }

// Close ends the session on every stage and returns what it cost. It waits
// for the stages' figures until ctx ends, at most two seconds. It may be called
// twice, but not while a Step runs.
func (s *Session) Close(ctx context.Context) Stats {
	ctx, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	s.stats.last = s.stages[len(s.stages)-1].Path()
	// Steps that were given up are still under way: a stage that closed now
	// would look broken to the one before it.
	if s.ctx.Err() == nil && s.settle(ctx) == nil {
		s.askClosed(ctx)
	}
	s.blame.settle(errSessionClosed)
	s.closeStreams()
	return s.stats.stats()
}

// askClosed closes every stage and collects what they measured.
func (s *Session) askClosed(ctx context.Context) {
	// Streams are closed when time is up, which ends a send that blocks.
	stop := context.AfterFunc(ctx, s.hangUp)
	defer stop()
	s.closing.Store(true)
	for _, conn := range s.stages {
		if _, err := conn.Send(wire.KindClose, &wirepb.Close{Epoch: uint32(s.epoch)}, nil); err != nil {
			return
		}
	}
	for range s.stages {
		select {
		case c := <-s.closed:
			s.stats.closed(c.index, c.m)
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
	for _, conn := range s.stages {
		if conn != nil {
			_ = conn.Close()
		}
	}
}
