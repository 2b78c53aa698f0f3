// Package gossip keeps every peer's view of its swarm: who is there, and what
// each says about itself.
//
// Start with [Start], say what this peer is with [Gossip.Update], look at
// [Gossip.View] when [Gossip.Changed] says so. An [Advert] is signed by its
// peer's key and carries the swarm's membership of that key, so that nobody
// can speak for another; older adverts are refused. Addresses in adverts go to
// [transport.Node.SetAddrs]. A peer that dies without a word leaves the view
// after 5 to 10 s; sessions notice sooner, by their own connections.
//
// What follows from a view is for package scheduler to say. Everything is safe
// for concurrent use. Membership itself is hashicorp/memberlist's, over sealed
// packets and streams of our own node.
//
// Goroutines: one hands packets to memberlist, one sends updates, one joins
// and joins again after a partition; [Gossip.Close] ends and waits for them.
// memberlist's own end soon after.
package gossip

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

const (
	// maxMembers bounds the peers of a view; more are not taken in.
	maxMembers = 4096

	// keepDead is how long a dead peer stays in the view, and is tried again
	// so that the sides of a partition find each other.
	keepDead = 10 * time.Minute

	// updateEvery bounds how often an advert is sent: each costs every peer a
	// packet (research, §1).
	updateEvery = 500 * time.Millisecond

	// listOverhead is what memberlist adds to a packet that it filled: a
	// checksum, and the header of a compound message.
	listOverhead = 32

	rejoinEvery  = 15 * time.Second
	joinRetry    = 500 * time.Millisecond
	maxJoinRetry = 8 * time.Second
)

// A Seed is a member to join through.
type Seed struct {
	Peer  shard.PeerID
	Addrs []netip.AddrPort
}

// Config holds the settings of a [Gossip]. Node must be set.
type Config struct {
	Node *transport.Node

	// Seeds are members to join through, in any number. Default: none, the
	// peer waits for others.
	Seeds []Seed

	// Advert is what this peer says first. Default: that it is joining.
	Advert Advert

	// Removed is called when this peer hears that it was removed from the
	// swarm. It must not block. Default: nothing.
	Removed func()

	// Logger gets peers that come and go. Default: none.
	Logger zerolog.Logger
}

// A Member is a peer as this one sees it.
type Member struct {
	Peer   shard.PeerID
	Advert Advert
	RTT    time.Duration // 0 if not measured yet
	Alive  bool          // false for one that left or died within the last 10 minutes
	Left   bool          // on purpose: it drained before
	Since  time.Time     // when Alive changed
}

// A Gossip is a peer's part in the gossip of its swarm.
type Gossip struct {
	cfg     Config
	carrier *carrier
	list    *memberlist.Memberlist
	news    memberlist.TransmitLimitedQueue // removals to hand on

	changed chan struct{}
	kick    chan struct{} // the advert changed
	cancel  context.CancelFunc
	closed  chan struct{} // when Close has ended
	wg      sync.WaitGroup
	telling chan struct{} // has room while no advert is sent; no mutex, for sending waits

	mu      sync.Mutex // guards what follows; memberlist calls in with its own locks held, so nothing is called with mu held
	members map[shard.PeerID]*record
	advert  Advert
	sealed  []byte // advert as it is sent
	left    bool
	closing bool
}

// A record is what is kept of a peer.
type record struct {
	Member

	sealed string // the newest advert that was checked
	shown  bool   // was alive once; before that only its advert was heard of
}

// Start joins the gossip. It does not wait for others: the view fills as they
// answer. Cancelling ctx is the same as Close.
func Start(ctx context.Context, cfg Config) (*Gossip, error) {
	if cfg.Node == nil {
		return nil, errors.New("gossip: Node is not set")
	}
	g := &Gossip{cfg: cfg, changed: make(chan struct{}, 1), kick: make(chan struct{}, 1), telling: make(chan struct{}, 1), closed: make(chan struct{}), members: map[shard.PeerID]*record{}}
	g.news.NumNodes, g.news.RetransmitMult = g.others, removalSpread
	if err := g.Update(cfg.Advert); err != nil {
		return nil, err
	}
	g.carrier = newCarrier(cfg.Node)
	list, err := memberlist.Create(g.listConfig())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gossip: %w", err), g.carrier.Shutdown())
	}
	g.list = list
	cfg.Node.OnRemoval(g.spread)
	ctx, g.cancel = context.WithCancel(ctx)
	context.AfterFunc(ctx, g.Close)
	g.wg.Go(func() { g.sendUpdates(ctx) })
	g.wg.Go(func() { g.join(ctx) })
	return g, nil
}

// listConfig is memberlist's LAN configuration with what was measured to be
// better on a WAN as well (research, §1).
func (g *Gossip) listConfig() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = g.cfg.Node.ID().String()
	c.Transport = g.carrier
	c.RequireNodeNames = true
	c.EnableCompression = false
	c.UDPBufferSize = transport.MaxPacketBytes - listOverhead
	c.ProbeTimeout = 800 * time.Millisecond
	c.TCPTimeout = 5 * time.Second
	c.PushPullInterval = 10 * time.Second
	c.GossipToTheDeadTime = time.Minute
	c.SuspicionMaxTimeoutMult = 2
	c.Delegate, c.Events, c.Alive, c.Ping = delegate{g}, delegate{g}, delegate{g}, delegate{g}
	c.Logger = log.New(io.Discard, "", 0) // it talks about packets; what matters comes as events
	return c
}

// Update says a from now on. Adverts follow each other at least half a second
// apart; of those between, the last counts.
func (g *Gossip) Update(a Advert) error {
	id := g.cfg.Node.Identity()
	if len(a.Addrs) == 0 {
		for _, r := range g.cfg.Node.Addrs() {
			if len(a.Addrs) < maxAdvertAddrs {
				a.Addrs = append(a.Addrs, r.Addr)
			}
		}
	}
	a.State = cmp.Or(a.State, Joining)
	a.Role = g.cfg.Node.Membership().Role
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sealed != nil && a.says(g.advert) {
		return nil // nothing new: nobody is woken or told
	}
	now := time.Now()
	a.Seq = max(g.advert.Seq+1, uint64(now.UnixMicro())) //nolint:gosec // after 1970; higher than those before a restart
	a.Born = cmp.Or(g.advert.Born, a.Seq)
	sealed, err := a.seal(id, g.cfg.Node.Membership().Signed())
	if err != nil {
		return err
	}
	g.advert, g.sealed = a, sealed
	self := g.members[id.ID()]
	if self == nil {
		self = &record{Member: Member{Peer: id.ID(), Alive: true, Since: now}, shown: true}
		g.members[id.ID()] = self
	}
	self.Advert = a
	signal(g.kick)
	signal(g.changed)
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Changed returns a channel that gets a value after the view changed. Changes
// that nobody waited for count as one.
func (g *Gossip) Changed() <-chan struct{} { return g.changed }

// View returns all peers, this one included, in the order of their names.
func (g *Gossip) View() []Member {
	g.mu.Lock()
	now := time.Now()
	out := make([]Member, 0, len(g.members))
	for peer, r := range g.members {
		if !r.Alive && now.Sub(r.Since) > keepDead {
			delete(g.members, peer)
			continue
		}
		if !r.shown || g.removed(peer) {
			continue
		}
		m := r.Member
		m.Advert.Addrs = slices.Clone(m.Advert.Addrs)
		out = append(out, m)
	}
	g.mu.Unlock()
	for i := range out {
		if rtt := g.cfg.Node.RTT(out[i].Peer); rtt > 0 {
			out[i].RTT = rtt
		}
	}
	slices.SortFunc(out, func(a, b Member) int { return bytes.Compare(a.Peer[:], b.Peer[:]) })
	return out
}

// sendUpdates tells the swarm about new adverts.
func (g *Gossip) sendUpdates(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.kick:
		}
		g.mu.Lock()
		left := g.left
		g.mu.Unlock()
		if left {
			return // Leave tells the last advert
		}
		g.tell()
		if !sleep(ctx, updateEvery) {
			return
		}
	}
}

// tell sends the advert, one after the other: a broadcast that is overtaken by
// another counts as sent.
func (g *Gossip) tell() {
	g.telling <- struct{}{}
	defer func() { <-g.telling }()
	_ = g.list.UpdateNode(updateEvery) // the error is that the broadcast is still queued
}

// sleep waits for d and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// join joins through the seeds until one answers, and later through seeds and
// peers that are gone, so that a partition heals.
func (g *Gossip) join(ctx context.Context) {
	for _, s := range g.cfg.Seeds {
		if s.Peer != g.cfg.Node.ID() {
			g.cfg.Node.SetAddrs(s.Peer, s.Addrs)
		}
	}
	retry := joinRetry
	for {
		missing := g.missing()
		joined := len(missing) == 0
		if !joined {
			_, err := g.list.Join([]string{memberAddr(missing[rand.IntN(len(missing))])}) //nolint:gosec // which one is no secret
			joined = err == nil && !g.alone()                                             // a join that shows nobody is none
		}
		wait := rejoinEvery
		if !joined && g.alone() {
			wait = retry
			retry = min(2*retry, maxJoinRetry)
		}
		if !sleep(ctx, wait/2+rand.N(wait)) { //nolint:gosec // jitter
			return
		}
	}
}

// missing returns seeds and known peers that are not alive and did not leave.
func (g *Gossip) missing() []shard.PeerID {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []shard.PeerID
	for _, s := range g.cfg.Seeds {
		if r := g.members[s.Peer]; (r == nil || !r.shown) && s.Peer != g.cfg.Node.ID() && !g.removed(s.Peer) {
			out = append(out, s.Peer)
		}
	}
	for peer, r := range g.members {
		if r.shown && !r.Alive && !r.Left && time.Since(r.Since) < keepDead && !g.removed(peer) {
			out = append(out, peer)
		}
	}
	return out
}

// alone reports whether no other peer is alive.
func (g *Gossip) alone() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for peer, r := range g.members {
		if r.Alive && peer != g.cfg.Node.ID() && !g.removed(peer) {
			return false
		}
	}
	return true
}

// Leave tells the swarm that this peer drains, then that it goes, and waits
// until that was sent or ctx ends. Close must follow.
func (g *Gossip) Leave(ctx context.Context) error {
	g.mu.Lock()
	was, a := g.left, g.advert
	g.left = true
	g.mu.Unlock()
	if was {
		return nil
	}
	if a.State != Draining {
		a.State = Draining
		if err := g.Update(a); err != nil {
			return err
		}
	}
	// At once, also when it was said before: sendUpdates may still hold it
	// back, and who goes without a word counts as lost.
	g.tell()
	timeout := 2 * time.Second
	if end, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(end), time.Millisecond)
	}
	if err := g.list.Leave(timeout); err != nil {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	return nil
}

// Close ends the gossip without a word to others. It may be called twice.
func (g *Gossip) Close() {
	g.mu.Lock()
	first := !g.closing
	g.left, g.closing = true, true
	g.mu.Unlock()
	if first {
		g.cfg.Node.OnRemoval(nil)
		g.cancel()
		g.wg.Wait() // first, for memberlist panics when used after its end
		_ = g.list.Shutdown()
		close(g.closed)
	}
	<-g.closed
}
