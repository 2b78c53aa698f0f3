package member

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/transport"
)

// weightsProtocol serves bytes of models to other members.
const weightsProtocol = "shard-weights/1"

// Config holds the settings of a [Member]. Node, Name and CacheDir must be
// set, and File on the first member of a swarm.
type Config struct {
	Node *transport.Node
	Name string
	// Seeds are members to gossip with first.
	Seeds []gossip.Seed

	// File is a model, if this member has one, and FileName what people call
	// it; default: ModelName. One that is not Model is served beside it.
	// Without a file the bytes of layers come from the others.
	File     *weights.File
	FileName string
	// Model is the model of the invitation, and ModelName what people call it.
	// Who has no file serves it, unless it is held twice and another model needs
	// help. Zero: what needs help most.
	Model     shard.ModelID
	ModelName string

	// CacheDir keeps manifests and fetched layers.
	CacheDir string

	// Packs keeps packed weights for the next start. Default: nothing is kept.
	Packs *weights.Packs

	// Pinned are the layers to hold whatever the plan says. Default: none.
	Pinned shard.Span
	// MemoryBytes bounds weights and KV cache. Must be set: the plan counts on it.
	MemoryBytes int64
	// KVBytes bounds the KV cache. Default: see [LoadConfig].
	KVBytes int64
	// KV is how keys and values are kept. Sessions that this member drives run
	// through members that keep them alike. Default: [kvcache.Float16].
	KV      kvcache.Precision
	Threads int

	// KeepEnds are the members, beside this one, that may run the first and the
	// last layers of the sessions that this member drives; see KeepsEnds.
	KeepEnds []shard.PeerID
	// KeepsEnds lets only this member and KeepEnds see tokens and logits.
	KeepsEnds bool

	// UploadBytesPerSec bounds what is sent of the model to other members.
	// Default: no bound.
	UploadBytesPerSec float64

	// Client members hold no layers. One whose membership lacks
	// [transport.RoleServe] is a client whatever is said here.
	Client bool

	// Notify tells a person what happens: loading, layers held, members that
	// come and go. Default: nobody.
	Notify func(format string, args ...any)
	Logger zerolog.Logger

	// stock is where the model and its layers come from. Default: files, other
	// members, and this machine. Tests in virtual time bring their own.
	stock func(*Member) stock
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Node == nil:
		return c, errors.New("member: Node is not set")
	case c.CacheDir == "":
		return c, errors.New("member: CacheDir is not set")
	}
	c.Client = c.Client || c.Node.Membership().Role&transport.RoleServe == 0
	if c.MemoryBytes <= 0 && !c.Client {
		return c, fmt.Errorf("member: MemoryBytes is %d, want more than 0", c.MemoryBytes)
	}
	if c.Client {
		c.Pinned = shard.Span{} // it holds none
	}
	if c.Notify == nil {
		c.Notify = func(string, ...any) {}
	}
	c.Name, c.FileName = cmp.Or(c.Name, c.Node.ID().Short()), cmp.Or(c.FileName, c.ModelName)
	return c, nil
}

// A Member lives in a swarm.
type Member struct {
	cfg    Config
	node   *node.Node
	gossip *gossip.Gossip
	server *weights.Server
	stock  stock
	secret hop.Secret // of the sessions that this member drives
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	once   sync.Once

	// Used by follow alone.
	founded   bool // the model is what the own file is
	otherFile bool // the own file is not the model
	gauged    gauged

	telling  sync.Mutex    // held while the swarm is told of a change
	learning chan struct{} // holds a token while another model is learned of

	mu      sync.Mutex // guards what follows
	closed  bool
	about   *About                   // nil until the model is known
	others  map[shard.ModelID]*About // models of other members that were asked for
	partial *weights.Partial
	loaded  *Loaded // nil while nothing is held
	target  shard.Span
	ready   int          // percent of target that has arrived
	speed   engine.Speed // of loaded, as the swarm is told
	seen    observations
	status  string // what it does or waits for, for people
	paused  string // why it lets go of its layers; empty: it does not
	state   gossip.State
	fatal   error
	changed chan struct{}            // closed and made anew at every change of the above
	shun    map[shard.PeerID]shunned // peers that sessions have lost
	losses  map[loss]*losses         // that are about to be told
}

// About is what a member knows of a model.
type About struct {
	Name     string
	ID       shard.ModelID
	Manifest *weights.Manifest
	Config   model.Config
	Text     *generate.Text
	Since    time.Time // when this member learned of it

	plan scheduler.Model // what placement needs to know of it
}

// Start makes a member of cfg.Node and returns at once; the member finds its
// layers, loads and serves them. Close ends it.
func Start(ctx context.Context, cfg Config) (*Member, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	m := &Member{
		cfg: cfg, cancel: cancel, server: &weights.Server{}, state: gossip.Joining,
		status: "starting", changed: make(chan struct{}), learning: make(chan struct{}, 1),
	}
	m.stock = m
	if cfg.stock != nil {
		m.stock = cfg.stock(m)
	}
	m.server.SetPace(cfg.UploadBytesPerSec)
	rand.Read(m.secret[:])
	m.node, err = node.New(node.Config{Self: cfg.Node.ID(), Name: cfg.Name, Dial: m.dial, LogDir: cfg.logDir(), Logger: cfg.Logger})
	if err != nil {
		cancel(nil)
		return nil, err
	}
	m.gossip, err = gossip.Start(ctx, gossip.Config{Node: cfg.Node, Seeds: cfg.Seeds, Advert: m.advert(), Removed: m.removed, Logger: cfg.Logger})
	if err != nil {
		cancel(nil)
		m.node.Close()
		return nil, err
	}
	cfg.Node.Handle(hop.Protocol, func(ctx context.Context, s *transport.Stream) { m.node.Serve(ctx, s, s.Peer()) })
	cfg.Node.Handle(weightsProtocol, func(_ context.Context, s *transport.Stream) { m.serveWeights(ctx, s) })
	m.wg.Go(func() { m.heed(ctx) })
	m.wg.Go(func() { m.follow(ctx) })
	return m, nil
}

// serveWeights hands out pieces of the model on s until ctx ends.
func (m *Member) serveWeights(ctx context.Context, s *transport.Stream) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		_ = s.Close() // the member is going
		return
	}
	m.wg.Add(1)
	m.mu.Unlock()
	defer m.wg.Done()
	if err := m.server.Serve(ctx, s); err != nil {
		m.cfg.Logger.Debug().Stringer("peer", s.Peer()).Err(err).Msg("weights stream ended")
	}
}

// dial opens a stream to a peer: of this process without the network.
func (m *Member) dial(ctx context.Context, to hop.Neighbour) (io.ReadWriteCloser, error) {
	if to.Peer == m.cfg.Node.ID() {
		return m.node.Local(), nil
	}
	return m.cfg.Node.Open(ctx, to.Peer, hop.Protocol)
}

// say sets what m waits for.
func (m *Member) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.mu.Lock()
	same := m.status == text || m.state == gossip.Draining
	m.mu.Unlock()
	if !same {
		m.set(func() { m.status = text })
		m.cfg.Notify("%s", text)
	}
}

// wait returns when ready holds, asking again after every change, or why not.
func (m *Member) wait(ctx context.Context, ready func() bool) error {
	for {
		m.mu.Lock()
		ok, changed, fatal, status := ready(), m.changed, m.fatal, m.status
		m.mu.Unlock()
		if fatal != nil {
			return fatal
		}
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: the member is %s", context.Cause(ctx), status)
		}
	}
}

// Changed returns a channel that is closed at the next change of what m, its
// view or its swarm's sessions look like.
func (m *Member) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// WaitServing returns when m holds layers and serves them, or why it can't.
func (m *Member) WaitServing(ctx context.Context) error {
	return m.wait(ctx, func() bool { return m.loaded != nil && m.state == gossip.Serving })
}

// WaitAbout returns what is known of the model, once it is.
func (m *Member) WaitAbout(ctx context.Context) (*About, error) {
	err := m.wait(ctx, func() bool { return m.about != nil })
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.about, err
}

// Failed returns a channel that is closed when m can't go on; Err says why.
func (m *Member) Failed(ctx context.Context) error {
	return m.wait(ctx, func() bool { return false })
}

// Drain says that m leaves, and goes on serving until others hold what rests on
// it, if they can. Then it refuses new sessions, finishes those that run (until
// ctx ends), and leaves the gossip. Close must follow. Layers that load go on
// loading; Close ends that.
func (m *Member) Drain(ctx context.Context) error {
	m.set(func() { m.state, m.status = gossip.Draining, "draining" })
	m.handOver(ctx)
	err := m.node.Drain(ctx)
	return errors.Join(err, m.gossip.Leave(context.WithoutCancel(ctx)))
}

// Close ends m at once, frees its memory, and returns when its goroutines are
// gone. It does not close the transport node. It may be called twice.
func (m *Member) Close() {
	m.once.Do(func() {
		m.mu.Lock()
		m.closed = true
		m.mu.Unlock()
		m.cancel(errClosed)
		m.gossip.Close()
		m.cfg.Node.Handle(hop.Protocol, nil)
		m.cfg.Node.Handle(weightsProtocol, nil)
		m.node.Close()
		m.wg.Wait()
		m.mu.Lock()
		loaded := m.loaded
		m.loaded = nil
		m.fatal = cmp.Or(m.fatal, errClosed)
		close(m.changed) // whoever waits hears of it
		m.changed = make(chan struct{})
		m.mu.Unlock()
		if loaded != nil {
			loaded.Close()
		}
		if m.partial != nil {
			_ = m.partial.Close() // what matters was flushed by the fetch
		}
	})
}

// removed ends m's part in the swarm, which has removed it.
func (m *Member) removed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fatal = transport.ErrRemoved
	close(m.changed)
	m.changed = make(chan struct{})
}

var errClosed = errors.New("the member is closed")

// logDir is where what stages sent goes when it is too much for memory.
func (c Config) logDir() string { return filepath.Join(c.CacheDir, "sessions") }

// weightsDir is where fetched layers are kept.
func (c Config) weightsDir() string { return filepath.Join(c.CacheDir, "weights") }

// manifestDir is where the hashes of files are kept.
func (c Config) manifestDir() string { return filepath.Join(c.CacheDir, "manifests") }

// tick is how often counts in the advert are brought up to date, and the view
// is looked at though nothing was heard.
const tick = 2 * time.Second
