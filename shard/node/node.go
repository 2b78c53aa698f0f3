package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/kvcache"
)

// An Engine runs the layers of one span for many sessions. Package engine's
// does.
type Engine interface {
	OpenShared(id shard.SessionID, span shard.Span, maxTokens int, keys []kvcache.Key) (shard.Pos, error)
	Step(ctx context.Context, step engine.Step) (engine.Result, error)
	More(ctx context.Context, id shard.SessionID) ([]float32, error)
	CloseSession(id shard.SessionID)
}

// Held is a span that a node serves.
type Held struct {
	Model  shard.ModelID
	Span   shard.Span
	Layers int // of the whole model
	Dim    int // width of a hidden state
	Vocab  int
	KV     kvcache.Precision // how Engine keeps keys and values
	Engine Engine
}

// Config holds the settings of a [Node].
type Config struct {
	Self shard.PeerID
	Name string

	// Dial opens a stream to a neighbour. It must return when ctx ends. Nil on
	// a node that is alone.
	Dial func(ctx context.Context, to hop.Neighbour) (io.ReadWriteCloser, error)

	// MaxSessions bounds the sessions of this node; one more is refused with
	// NoCapacity. Another peer may drive a quarter of them, or 64. Default: 512.
	MaxSessions int

	// OpenTimeout bounds how long a driver may take to say what it wants, and
	// how long setting up the stage may take. Default: 10 s.
	OpenTimeout time.Duration

	// LogBytes bounds the memory for what stages sent to the next ones, which
	// they send again when one of these is replaced. Default: 64 MiB. Above it
	// the oldest bytes go to files in LogDir. Half as much is kept besides of
	// what later sessions may begin with.
	LogBytes int64
	// LogDir is the folder of these files. Default: none, the oldest bytes are
	// dropped, and have to be computed again when they are needed.
	LogDir string

	Logger zerolog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.MaxSessions < 0 {
		return c, fmt.Errorf("node: MaxSessions is %d, want 0 or more", c.MaxSessions)
	}
	if c.LogBytes < 0 {
		return c, fmt.Errorf("node: LogBytes is %d, want 0 or more", c.LogBytes)
	}
	c.LogBytes = cmp.Or(c.LogBytes, 64<<20)
	c.MaxSessions = cmp.Or(c.MaxSessions, 512)
	c.OpenTimeout = cmp.Or(c.OpenTimeout, 10*time.Second)
	return c, nil
}

// A Node serves stages of sessions.
type Node struct {
	cfg    Config
	ctx    context.Context // ends at Close; the parent of every session's
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // calls of Serve and local sessions

	mu       sync.Mutex // guards what follows
	held     *Held      // what new sessions get; nil: nothing
	draining bool
	closed   bool
	sessions map[stageKey]*stage
	changed  chan struct{} // closed and made anew when a session comes, goes or gets a new route
	logs     logBudget
	blocks   sentBlocks
}

// A stageKey names a stage of a node: a peer may be several of one session.
type stageKey struct {
	session shard.SessionID
	start   shard.Layer
}

var errClosed = errors.New("the node is closed")

// New returns a Node that holds nothing yet. Close ends it.
func New(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Node{
		cfg: cfg, ctx: ctx, cancel: cancel,
		sessions: map[stageKey]*stage{}, changed: make(chan struct{}), logs: logBudget{limit: cfg.LogBytes, dir: cfg.LogDir},
		blocks: sentBlocks{limit: cfg.LogBytes / 2},
	}, nil
}

// Hold makes h what new sessions are served from; nil for nothing. Sessions
// that run keep what they began with, so the caller closes a former engine
// only after [Node.Retire].
func (n *Node) Hold(h *Held) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = h
}

// Sessions returns the number of sessions that run.
func (n *Node) Sessions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.sessions)
}

// LogBytes returns the memory that the logs of stages take now.
func (n *Node) LogBytes() int64 { return n.logs.bytes.Load() }

// Idle returns when no session runs, or with the error of ctx.
func (n *Node) Idle(ctx context.Context) error {
	for {
		n.mu.Lock()
		count, changed := len(n.sessions), n.changed
		n.mu.Unlock()
		if count == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d sessions still run: %w", count, ctx.Err())
		}
	}
}

// Close ends every session and returns when none is left and every call of
// [Node.Serve] has returned. It may be called twice.
func (n *Node) Close() {
	n.mu.Lock()
	n.draining, n.closed = true, true
	n.mu.Unlock()
	n.cancel(errClosed)
	n.wg.Wait()
}

// enter counts a call that Close waits for. It reports false after Close.
func (n *Node) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.wg.Add(1)
	}
	return !n.closed
}

// Local returns a stream to this node for a driver in the same process. It
// carries the same frames as one over the network.
func (n *Node) Local() io.ReadWriteCloser {
	ours, theirs := net.Pipe()
	if !n.enter() {
		_ = ours.Close()
		return theirs
	}
	go func() {
		defer n.wg.Done()
		n.Serve(n.ctx, ours, n.cfg.Self)
	}()
	return theirs
}

// admit registers st, or says why it can't be. old is the stage whose place it
// takes, if any: the driver has given that one up.
func (n *Node) admit(st *stage) (old *stage, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, o := n.held, &st.open
	if old = n.sessions[st.key()]; old != nil && (old.control.Peer() != st.control.Peer() || old.epochNow() >= o.Epoch) {
		return nil, &shard.StageError{Span: o.Span, Code: shard.Invalid, Text: "the session has a stage with these layers on this peer already"}
	}
	switch {
	case n.draining:
		return nil, &shard.StageError{Span: o.Span, Code: shard.NotServing, Text: "the peer is leaving"}
	case h == nil:
		return nil, &shard.StageError{Span: o.Span, Code: shard.NotServing, Text: "the peer holds no layers yet"}
	case h.Model != o.Model:
		return nil, &shard.StageError{Span: o.Span, Code: shard.WrongModel, Text: "the peer serves other model bytes: all members need the same file"}
	case h.KV != o.KV:
		return nil, &shard.StageError{Span: o.Span, Code: shard.WrongModel, Text: fmt.Sprintf("the peer keeps keys and values as %v, the session wants %v: all members of a session need the same --kv-type", h.KV, o.KV)}
	case !h.Span.Covers(o.Span):
		return nil, &shard.StageError{Span: o.Span, Code: shard.NotServing, Text: fmt.Sprintf("the peer holds layers %v", h.Span)}
	case (o.Next == nil) != (int(o.Span.End) == h.Layers):
		return nil, &shard.StageError{Span: o.Span, Code: shard.Invalid, Text: fmt.Sprintf("the model has %d layers: the stage with the last one, and only it, has no next", h.Layers)}
	case old == nil && len(n.sessions) >= n.cfg.MaxSessions:
		return nil, &shard.StageError{Span: o.Span, Code: shard.NoCapacity, Text: fmt.Sprintf("%d sessions run already", len(n.sessions))}
	case old == nil && n.drivenLocked(st.control.Peer()) >= n.cfg.perPeer():
		return nil, &shard.StageError{Span: o.Span, Code: shard.NoCapacity, Text: fmt.Sprintf("%d sessions of this peer run already: a peer may have a quarter of all", n.cfg.perPeer())}
	}
	st.held = h
	n.sessions[st.key()] = st
	n.notify()
	return old, nil
}

// perPeer is how many sessions one other peer may drive at once: it should not
// keep all others out.
func (c Config) perPeer() int { return max(64, c.MaxSessions/4) }

// drivenLocked returns the sessions that another peer drives here.
func (n *Node) drivenLocked(driver shard.PeerID) int {
	if driver == n.cfg.Self {
		return 0 // its owner's requests have bounds of their own
	}
	count := 0
	for _, st := range n.sessions {
		if st.control.Peer() == driver {
			count++
		}
	}
	return count
}

// tellTimeout bounds how long a peer may take to read why it is not served.
const tellTimeout = time.Second

// remove forgets st.
func (n *Node) remove(st *stage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sessions[st.key()] == st {
		delete(n.sessions, st.key())
		n.notify()
	}
}

// wake has whoever waits for a change of sessions look again.
func (n *Node) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notify()
}

// notify wakes whoever waits for a change of sessions. n.mu is held.
func (n *Node) notify() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// find returns the stage with the given name and a route as new as epoch,
// waiting for it until ctx ends: a neighbour's link may arrive before the
// driver's word.
func (n *Node) find(ctx context.Context, key stageKey, epoch shard.Epoch) (*stage, error) {
	for {
		n.mu.Lock()
		st, changed := n.sessions[key], n.changed
		n.mu.Unlock()
		if st != nil && st.epochNow() >= epoch {
			return st, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, &shard.StageError{Code: shard.Stale, Text: "the session is not open on this peer"}
		}
	}
}
