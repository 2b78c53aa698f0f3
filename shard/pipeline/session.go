package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
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
	Route []Stage // contiguous, from layer 0 to the last
	// MaxTokens is the number of positions that every stage reserves.
	MaxTokens int
	// Codec is how stages encode hidden states. Default: raw.
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
	if c.Codec == wire.CodecNone {
		c.Codec = wire.Raw
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
	stages []*hop.Conn // one for each stage of the route

	ctx     context.Context // ends with the session; its cause says why
	cancel  context.CancelCauseFunc
	readers sync.WaitGroup
	results chan result // from the last stage; capacity maxInFlight
	closed  chan closedStage

	// The driver's goroutine alone.
	owed  int // results still to come of steps that were given up
	stats recorder
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

// maxInFlight bounds the steps of a session between the driver and the last
// stage, so that a driver that dies leaves little work behind.
const maxInFlight = 8

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
		results: make(chan result, maxInFlight),
		closed:  make(chan closedStage, len(cfg.Route)),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.stats.init(cfg)
	ctx, stop := context.WithTimeoutCause(ctx, cfg.OpenTimeout,
		fmt.Errorf("the route of %d stages did not open within %v", len(cfg.Route), cfg.OpenTimeout))
	defer stop()
	if err := s.openStages(ctx); err != nil {
		s.cancel(err)
		s.closeStreams()
		return nil, err
	}
	for i, conn := range s.stages {
		s.readers.Go(func() { s.read(i, conn) })
	}
	return s, nil
}

// openStages opens all stages at once and returns the first failure.
func (s *Session) openStages(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(s.stages))
	var wg sync.WaitGroup
	for i := range s.stages {
		wg.Go(func() {
			err := s.openStage(ctx, i)
			if err != nil {
				cancel() // the others need not go on
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	return firstCause(errs, ctx)
}

// firstCause returns the error that came first, passing over those that are
// only the echo of giving up.
func firstCause(errs <-chan error, ctx context.Context) error {
	var echo error
	for err := range errs {
		switch {
		case err == nil:
		case errors.Is(err, context.Canceled):
			echo = err
		default:
			return err
		}
	}
	if echo != nil && context.Cause(ctx) != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Cause(ctx)
	}
	return echo
}

// openStage opens stage i.
func (s *Session) openStage(ctx context.Context, i int) error {
	route := s.cfg.Route
	st := route[i]
	stream, err := s.cfg.Dial(ctx, st.Neighbour)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return s.name(i, &shard.StageError{Peer: st.Peer, Code: shard.Unreachable, Text: err.Error()})
	}
	conn := hop.NewConn(stream, st.Peer, 0)
	s.stages[i] = conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	open := hop.Open{
		Session: s.id, Epoch: s.epoch, Model: s.cfg.Model, Span: st.Span,
		MaxTokens: s.cfg.MaxTokens, Codec: s.cfg.Codec,
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
	if i+1 == len(route) {
		s.vocab = int(opened.GetVocab())
	}
	return nil
}

// giveUp returns why stage i did not open.
func (s *Session) giveUp(ctx context.Context, i int, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.name(i, err)
}

// name adds to err what the route knows of the peer it names.
func (s *Session) name(i int, err error) error {
	stage, ok := errors.AsType[*shard.StageError](err)
	if !ok {
		stage = &shard.StageError{Code: shard.Internal, Text: err.Error()}
	}
	named := *stage
	if named.Peer.IsZero() {
		named.Peer = s.cfg.Route[i].Peer
	}
	for _, st := range s.cfg.Route {
		if st.Peer == named.Peer {
			named.Name, named.Span = cmp.Or(named.Name, st.Name), st.Span
		}
	}
	return &named
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
			if s.ctx.Err() == nil {
				s.cancel(s.name(i, err))
			}
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
// for the stages' figures until ctx ends, at most two seconds.
func (s *Session) Close(ctx context.Context) Stats {
	ctx, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	if s.ctx.Err() == nil {
		s.askClosed(ctx)
	}
	s.cancel(errSessionClosed)
	s.closeStreams()
	return s.stats.stats()
}

// askClosed closes every stage and collects what they measured.
func (s *Session) askClosed(ctx context.Context) {
	// Streams are closed when time is up, which ends a send that blocks.
	stop := context.AfterFunc(ctx, func() {
		for _, conn := range s.stages {
			conn.Close()
		}
	})
	defer stop()
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
	for _, conn := range s.stages {
		if conn != nil {
			conn.Close()
		}
	}
	s.readers.Wait()
}
