package node

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

const (
	dim   = 4
	vocab = 5
)

// An adder is an engine whose layers add one to every value.
type adder struct {
	mu   sync.Mutex
	open map[shard.SessionID]shard.Span

	asked, told []kvcache.Key // by the last open and step
}

func (e *adder) OpenShared(id shard.SessionID, span shard.Span, _ int, keys []kvcache.Key) (shard.Pos, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open[id] = span
	e.asked = keys
	return 0, nil
}

func (e *adder) CloseSession(id shard.SessionID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.open, id)
}

func (e *adder) Step(_ context.Context, s engine.Step) (engine.Result, error) {
	e.mu.Lock()
	e.told = s.Keys
	e.mu.Unlock()
	if s.Want == engine.LogitsNone {
		out := slices.Clone(s.Hidden)
		for range s.Tokens {
			out = append(out, make([]uint16, dim)...)
		}
		return engine.Result{Hidden: out}, nil
	}
	return engine.Result{Dists: []sample.Dist{sample.Summarize(make([]float32, vocab), s.Summary)}}, nil
}

func (e *adder) More(context.Context, shard.SessionID) ([]float32, error) {
	return make([]float32, vocab), nil
}

// A bench is a node of one span, and a hand that plays its peers.
type bench struct {
	t    testing.TB
	node *Node
	held *Held
	dial chan io.ReadWriteCloser // what the node opens to its next stage
}

var (
	self     = shard.PeerID{1}
	driver   = shard.PeerID{2}
	prev     = shard.PeerID{3}
	next     = shard.PeerID{4}
	stranger = shard.PeerID{5}
)

// newBench returns a node that holds span of six layers.
func newBench(t testing.TB, span shard.Span) *bench {
	b := &bench{t: t, dial: make(chan io.ReadWriteCloser, 1)}
	n, err := New(Config{Self: self, Name: "self", Logger: zerolog.Nop(), Dial: func(context.Context, hop.Neighbour) (io.ReadWriteCloser, error) {
		ours, theirs := net.Pipe()
		b.dial <- theirs
		return ours, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	b.node = n
	b.held = &Held{Span: span, Layers: 6, Dim: dim, Vocab: vocab, Engine: &adder{open: map[shard.SessionID]shard.Span{}}}
	n.Hold(b.held)
	return b
}

// stream returns a stream to the node as peer.
func (b *bench) stream(peer shard.PeerID) net.Conn {
	ours, theirs := net.Pipe()
	go b.node.Serve(b.t.Context(), ours, peer)
	b.t.Cleanup(func() { _ = theirs.Close() })
	return theirs
}

// open returns what a driver asks of the bench's node.
func (b *bench) open() hop.Open {
	o := hop.Open{Session: shard.SessionID{7}, Epoch: 3, Span: b.held.Span, MaxTokens: 600, Codec: wire.Raw}
	if o.Span.Start > 0 {
		o.Prev = prev
	}
	if o.Span.End < 6 {
		o.Next = &hop.Neighbour{Peer: next, Name: "next"}
	}
	return o
}

// driver opens a stage and returns the driver's end.
func (b *bench) driver() *hop.Conn {
	b.t.Helper()
	c := hop.NewConn(b.stream(driver), self, 0)
	b.send(c, wire.KindOpen, b.open().Message(), nil)
	if b.held.Span.End < 6 {
		far := hop.NewConn(<-b.dial, self, 0)
		if _, err := far.Expect(wire.KindLink, &wirepb.Link{}); err != nil {
			b.t.Fatal(err)
		}
		b.send(far, wire.KindLinked, &wirepb.Linked{Version: hop.Version}, nil)
		b.t.Cleanup(func() { _ = far.Close() })
		go func() { // a next stage that swallows all
			for {
				if _, err := far.Recv(); err != nil {
					return
				}
			}
		}()
	}
	if _, err := c.Expect(wire.KindOpened, &wirepb.Opened{}); err != nil {
		b.t.Fatal(err)
	}
	return c
}

// link links to the stage as the upstream peer and returns its end.
func (b *bench) link(peer shard.PeerID) *hop.Conn {
	c := hop.NewConn(b.stream(peer), self, 0)
	o := b.open()
	b.send(c, wire.KindLink, &wirepb.Link{Version: hop.Version, Session: o.Session[:], Epoch: uint32(o.Epoch), Start: uint32(o.Span.Start)}, nil)
	return c
}

func (b *bench) send(c *hop.Conn, kind wire.Kind, m hop.Message, payload []byte) {
	b.t.Helper()
	if _, err := c.Send(kind, m, payload); err != nil {
		b.t.Fatal(err)
	}
}

// refused fails the test unless the next thing on c is an error with code.
func (b *bench) refused(what string, c *hop.Conn, code shard.Code) *shard.StageError {
	b.t.Helper()
	_, err := c.Recv()
	stage, ok := errors.AsType[*shard.StageError](err)
	if !ok || stage.Code != code {
		b.t.Errorf("%s: %v, want code %v", what, err, code)
		return &shard.StageError{}
	}
	return stage
}

// idle fails the test unless the node has no session any more.
func (b *bench) idle() {
	b.t.Helper()
	synctest.Wait()
	if n := b.node.Sessions(); n != 0 {
		b.t.Errorf("%d sessions are left, want none", n)
	}
	e := b.held.Engine.(*adder) //nolint:forcetypeassert // newBench put it there
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.open) != 0 {
		b.t.Errorf("%d sessions are left in the engine, want none", len(e.open))
	}
}

// ids is a payload of tokens.
func ids(tokens ...uint32) []byte {
	var out []byte
	for _, t := range tokens {
		out = binary.LittleEndian.AppendUint32(out, t)
	}
	return out
}

func TestFirstFramesThatAreNoneAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{End: 6})
		good := b.open()
		for what, c := range map[string]struct {
			kind wire.Kind
			m    hop.Message
			code shard.Code
		}{
			"a step":            {wire.KindStep, &wirepb.Step{Count: 1}, shard.Invalid},
			"a close":           {wire.KindClose, &wirepb.Close{}, shard.Invalid},
			"an unknown kind":   {99, &wirepb.Close{}, shard.Invalid},
			"an empty open":     {wire.KindOpen, &wirepb.Open{}, shard.Version},
			"a later version":   {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.Version, m.MinVersion = 9, 8 }), shard.Version},
			"other model":       {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.Model[0] = 9 }), shard.WrongModel},
			"other kv cache":    {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.KvType = 2 }), shard.WrongModel},
			"unknown kv cache":  {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.KvType = 99 }), shard.Invalid},
			"other layers":      {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.End = 7 }), shard.NotServing},
			"too few layers":    {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.End = 5 }), shard.Invalid},
			"inverted layers":   {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.Start = 9 }), shard.Invalid},
			"a huge session":    {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.MaxTokens = 1 << 31 }), shard.Invalid},
			"an unknown codec":  {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.Codec = "zip" }), shard.Invalid},
			"many addresses":    {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.Next = &wirepb.Peer{Id: next[:], Addrs: make([]string, 99)} }), shard.Invalid},
			"upstream of first": {wire.KindOpen, changed(good, func(m *wirepb.Open) { m.Prev = prev[:] }), shard.Invalid},
			"a link to nothing": {wire.KindLink, &wirepb.Link{Session: good.Session[:]}, shard.Stale},
			"a link of 3 bytes": {wire.KindLink, &wirepb.Link{Session: []byte{1, 2, 3}}, shard.Invalid},
		} {
			conn := hop.NewConn(b.stream(stranger), self, 0)
			b.send(conn, c.kind, c.m, nil)
			_ = b.refused(what, conn, c.code)
		}
		b.idle()
	})
}

func changed(o hop.Open, f func(*wirepb.Open)) *wirepb.Open {
	m := o.Message()
	m.Session, m.Model = slices.Clone(m.Session), slices.Clone(m.Model)
	f(m)
	return m
}

func TestBytesThatAreNoFramesAndSilenceEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{End: 6})
		for _, junk := range [][]byte{nil, {0}, make([]byte, 8), slices.Repeat([]byte{255}, 8), {1, 0, 0, 0, 4, 0, 1, 0, 1, 2}} {
			s := b.stream(stranger)
			began := time.Now()
			if _, err := s.Write(junk); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, s); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("% x: the stream ended after %v, want 10 s at most", junk, took)
			}
		}
		b.idle()
	})
}

func TestStepsThatBreakTheProtocolEndTheSession(t *testing.T) {
	for what, c := range map[string]struct {
		m       *wirepb.Step
		payload []byte
		code    shard.Code
	}{
		"no tokens":       {&wirepb.Step{Epoch: 3}, nil, shard.Invalid},
		"too many tokens": {&wirepb.Step{Epoch: 3, Count: 1 << 31}, ids(1), shard.Invalid},
		"short payload":   {&wirepb.Step{Epoch: 3, Count: 2}, ids(1), shard.Invalid},
		"long payload":    {&wirepb.Step{Epoch: 3, Count: 2}, make([]byte, 1<<20), shard.Invalid},
		"hidden states":   {&wirepb.Step{Epoch: 3, Count: 1, Codec: 1}, make([]byte, 2*dim), shard.Invalid},
		"beyond the end":  {&wirepb.Step{Epoch: 3, Count: 1, Pos: 600}, ids(1), shard.TooLong},
		"far beyond":      {&wirepb.Step{Epoch: 3, Count: 1, Pos: math.MaxUint32}, ids(1), shard.Invalid},
		"NaN":             {&wirepb.Step{Epoch: 3, Count: 1, Temperature: math.NaN()}, ids(1), shard.Invalid},
		"unknown want":    {&wirepb.Step{Epoch: 3, Count: 1, Want: 258}, ids(1), shard.Invalid},
		"huge top k":      {&wirepb.Step{Epoch: 3, Count: 1, TopK: 1 << 30}, ids(1), shard.Invalid},
		"many named":      {&wirepb.Step{Epoch: 3, Count: 1, Named: make([]uint32, 5000)}, ids(1), shard.Invalid},
		"many times":      {&wirepb.Step{Epoch: 3, Count: 1, Times: make([]*wirepb.StageTime, 99)}, ids(1), shard.Invalid},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, shard.Span{End: 6})
				conn := b.driver()
				b.send(conn, wire.KindStep, c.m, c.payload)
				if err := b.refused(what, conn, c.code); err.Name != "self" {
					t.Errorf("the error names %q, want self", err.Name)
				}
				b.idle()
			})
		})
	}
}

func TestAHopIsForTheUpstreamPeerAndHiddenStates(t *testing.T) {
	for what, c := range map[string]struct {
		m       *wirepb.Step
		payload []byte
	}{
		"short payload":  {&wirepb.Step{Epoch: 3, Count: 2, Codec: 1}, make([]byte, 2*dim)},
		"other width":    {&wirepb.Step{Epoch: 3, Count: 1, Codec: 1}, make([]byte, 2*(dim+1))},
		"tokens":         {&wirepb.Step{Epoch: 3, Count: 1}, ids(1)},
		"unknown codec":  {&wirepb.Step{Epoch: 3, Count: 1, Codec: 9}, make([]byte, 2*dim)},
		"damaged planes": {&wirepb.Step{Epoch: 3, Count: 1, Codec: 2}, []byte{1, 2, 3}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, shard.Span{Start: 2, End: 6})
				d, up := b.driver(), b.link(prev)
				if _, err := up.Expect(wire.KindLinked, &wirepb.Linked{}); err != nil {
					t.Fatal(err)
				}
				_ = b.refused("a stranger's link", b.link(stranger), shard.Invalid)
				_ = b.refused("a second link", b.link(prev), shard.Invalid)
				b.send(up, wire.KindStep, &wirepb.Step{Epoch: 2, Count: 1, Codec: 9}, nil) // of an older route: dropped
				b.send(up, wire.KindStep, &wirepb.Step{Epoch: 3, Count: 1, Codec: 1, Want: 1}, make([]byte, 2*dim))
				if _, err := d.Expect(wire.KindResult, &wirepb.Result{}); err != nil {
					t.Fatal(err)
				}
				b.send(up, wire.KindStep, c.m, c.payload)
				var m wirepb.Lost
				if _, err := d.Expect(wire.KindLost, &m); err != nil {
					t.Fatal(err)
				}
				if epoch, lost, err := hop.ParseLost(&m); err != nil || epoch != 3 || lost.Peer != prev || lost.Code != shard.Invalid {
					t.Errorf("the driver hears %v, %v, want that the upstream peer is at fault", &m, err)
				}
				_ = d.Close()
				b.idle()
			})
		})
	}
}

func TestADriverMaySendStepsToTheFirstStageOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{Start: 2, End: 4})
		c := b.driver()
		b.send(c, wire.KindStep, &wirepb.Step{Epoch: 3, Count: 1, Codec: 1}, make([]byte, 2*dim))
		_ = b.refused("a step", c, shard.Invalid)
		b.idle()
		c = b.driver()
		b.send(c, wire.KindMore, &wirepb.More{Epoch: 3}, nil)
		_ = b.refused("more logits", c, shard.Invalid)
		b.idle()
	})
}

func TestASessionIsOpenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{End: 6})
		c := b.driver()
		again := hop.NewConn(b.stream(stranger), self, 0)
		b.send(again, wire.KindOpen, b.open().Message(), nil)
		_ = b.refused("a second open", again, shard.Invalid)
		b.send(c, wire.KindStep, &wirepb.Step{Epoch: 3, Count: 1, Want: 1}, ids(1))
		if _, err := c.Expect(wire.KindResult, &wirepb.Result{}); err != nil {
			t.Errorf("the first session: %v", err)
		}
		b.send(c, wire.KindMore, &wirepb.More{Epoch: 2}, nil) // of an older route: dropped
		b.send(c, wire.KindClose, &wirepb.Close{}, nil)
		if _, err := c.Expect(wire.KindClosed, &wirepb.Closed{}); err != nil {
			t.Errorf("closing the session: %v", err)
		}
		b.idle()
	})
}

func TestSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{End: 6})
		b.node.cfg.MaxSessions = 1
		b.driver()
		o := b.open()
		o.Session[0]++
		c := hop.NewConn(b.stream(driver), self, 0)
		b.send(c, wire.KindOpen, o.Message(), nil)
		_ = b.refused("one session too many", c, shard.NoCapacity)
	})
}

func TestAPeerCannotKeepAllOthersOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{End: 6})
		greedy, other := shard.PeerID{7}, shard.PeerID{8}
		o := b.open()
		open := func(by shard.PeerID) *hop.Conn {
			o.Session[1]++
			c := hop.NewConn(b.stream(by), self, 0)
			b.send(c, wire.KindOpen, o.Message(), nil)
			return c
		}
		for range b.node.cfg.perPeer() {
			if _, err := open(greedy).Expect(wire.KindOpened, &wirepb.Opened{}); err != nil {
				t.Fatal(err)
			}
		}
		_ = b.refused("one session too many of a peer", open(greedy), shard.NoCapacity)
		if _, err := open(other).Expect(wire.KindOpened, &wirepb.Opened{}); err != nil {
			t.Errorf("another peer's session: %v", err)
		}
	})
}

func TestPeersThatDoNotReadHoldNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{End: 6})
		c := b.driver()
		for range 9 { // results that nobody reads
			b.send(c, wire.KindStep, &wirepb.Step{Epoch: 3, Count: 1, Want: 1}, ids(1))
		}
		b.send(c, wire.KindStep, &wirepb.Step{Epoch: 3}, nil) // an error that nobody reads
		time.Sleep(2 * time.Second)
		b.idle()
	})
}

func TestCloseTellsDriversAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{End: 6})
		c := b.driver()
		closed := make(chan struct{})
		go func() {
			b.node.Close()
			b.node.Close()
			close(closed)
		}()
		_ = b.refused("a session on a node that closes", c, shard.NotServing)
		<-closed
		b.idle()
		if _, err := io.ReadAll(b.node.Local()); err != nil {
			t.Errorf("a stream to a closed node: %v, want its end", err)
		}
	})
}

func FuzzServe(f *testing.F) {
	frame := func(kind wire.Kind, m hop.Message, payload []byte) []byte {
		b, err := wire.Append(nil, kind, m, payload)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	b := newBench(f, shard.Span{End: 6})
	open := frame(wire.KindOpen, b.open().Message(), nil)
	step := frame(wire.KindStep, &wirepb.Step{Epoch: 3, Count: 1, Want: 1, TopK: 2, Named: []uint32{1}}, ids(1))
	f.Add(open)
	f.Add(slices.Concat(open, step, step))
	f.Add(slices.Concat(open, step, frame(wire.KindMore, &wirepb.More{Epoch: 3}, nil), frame(wire.KindClose, &wirepb.Close{}, nil)))
	shares := b.open()
	shares.Prefix = &hop.Prefix{Chain: []hop.Hash{{1}}, Lineage: hop.Hash{2}}
	f.Add(slices.Concat(frame(wire.KindOpen, shares.Message(), nil),
		frame(wire.KindStep, &wirepb.Step{Epoch: 3, Pos: 31, Count: 1, Chain: make([]byte, hop.HashBytes)}, ids(1))))
	f.Add(frame(wire.KindLink, &wirepb.Link{Session: make([]byte, 16)}, nil))
	f.Add(slices.Concat(open, step, frame(wire.KindReroute, hop.Reroute{Epoch: 4}.Message(), nil),
		frame(wire.KindResume, hop.Resume{Epoch: 4, ReplayTo: 1}.Message(), nil), frame(wire.KindMore, &wirepb.More{Epoch: 4}, nil)))
	f.Add(slices.Concat(open, frame(wire.KindFill, hop.Fill{Epoch: 4, Next: hop.Neighbour{Peer: next}}.Message(), nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, shard.Span{End: 6})
			s := b.stream(driver)
			go func() { _, _ = io.Copy(io.Discard, s) }()
			_, _ = s.Write(data)
			_ = s.Close()
			time.Sleep(20 * time.Second)
			b.idle()
		})
	})
}
