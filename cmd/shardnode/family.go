package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/transport"
)

// A family is the members that one command makes on loopback: this process,
// which holds the first span, so that the driver's first hop is a function call
// (ARCHITECTURE §2), and one process for each other span. They have a swarm key
// of their own that is stored nowhere. A member ends when its
// standard input does, so none outlives this process, however it ends.
type family struct {
	key      transport.SwarmKey
	identity transport.Identity
	node     *transport.Node
	own      *heldSpan // of this process
	starting sync.WaitGroup

	mu       sync.Mutex // guards what follows
	children []*child   // the other stages, in order, and what has replaced them
	spares   map[shard.PeerID]*spare
}

// A child is one member process.
type child struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	pipe   *os.File // what the member writes, for out
	out    *bufio.Reader
	peer   shard.PeerID
	ready  childReady
	exited chan struct{} // closed when the process is gone
}

// What parent and child say to each other, one JSON object a line.
type (
	// childHello is the child's first line.
	childHello struct {
		Public []byte `json:"public"`
	}
	// childOrder is the parent's answer.
	childOrder struct {
		Name       string     `json:"name"`
		Membership []byte     `json:"membership"`
		Model      string     `json:"model"`
		ModelID    []byte     `json:"model_id"`
		Span       shard.Span `json:"span"`
		Threads    int        `json:"threads"`
		Memory     int64      `json:"memory_bytes"`
		KVBytes    int64      `json:"kv_bytes"`
		Settled    bool       `json:"settled,omitempty"`
		KVType     string     `json:"kv_type"`
		Link       string     `json:"link"`
		PackedDir  string     `json:"packed_dir,omitempty"`
		Packed     int64      `json:"packed_bytes,omitempty"`
	}
	// childReady is the child's second line, when it can serve or can't.
	childReady struct {
		Error       string        `json:"error,omitempty"`
		Hint        string        `json:"hint,omitempty"`
		Addr        string        `json:"addr,omitempty"`
		WeightBytes int64         `json:"weight_bytes"`
		Decode      time.Duration `json:"decode_ns"`
		Prefill     time.Duration `json:"prefill_ns"`
		Head        time.Duration `json:"head_ns"`
	}
)

// membershipLife is how long the members of one command are members.
const membershipLife = 24 * time.Hour

// familyLinger is how long the workers of a member stay awake for their next
// turn: longer than a token takes on the models that such members are tried with.
const familyLinger = 10 * time.Millisecond

// familyChunk is how many tokens of a prompt travel in one frame between members
// of one machine: as many as one process computes at once. Each of them can use
// all processors, so there is nothing to gain by small chunks, each of which
// reads all weights once.
const familyChunk = 256

// childNames are what the members of one command are called.
var childNames = []string{"ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "willow"}

// openFamily starts n members and gives each its layers.
func (p *place) openFamily(ctx context.Context, c placeConfig, n int) error {
	spans, err := p.planFamily(c, n)
	if err != nil {
		return err
	}
	f := &family{key: transport.NewSwarmKey(), identity: transport.NewIdentity()}
	closeFile := p.close
	p.close = func() {
		f.close()
		closeFile()
	}
	if err := f.start(ctx, c, spans, p.file); err != nil {
		return p.explainLoad(err, c)
	}
	p.self, p.modelID = f.identity.ID(), f.modelID(p.file.ref)
	p.route = append(p.route, pipeline.Stage{
		Neighbour: hop.Neighbour{Peer: p.self, Name: childName(0), Addrs: []string{f.node.Addr().String()}}, Span: spans[0],
	})
	p.speeds = append(p.speeds, f.own.loaded.Speed)
	for i, ch := range f.children {
		p.route = append(p.route, pipeline.Stage{
			Neighbour: hop.Neighbour{Peer: ch.peer, Name: ch.name, Addrs: []string{ch.ready.Addr}}, Span: spans[i+1],
		})
		p.speeds = append(p.speeds, ch.speed())
		p.pids = append(p.pids, ch.cmd.Process.Pid)
	}
	evenSpeeds(p.speeds)
	remote := transportDial(f.node)
	p.dial = func(ctx context.Context, to hop.Neighbour) (io.ReadWriteCloser, error) {
		if to.Peer == p.self {
			return f.own.node.Local(), nil
		}
		return remote(ctx, to)
	}
	p.kill = f.kill
	p.repair = func(ctx context.Context, b pipeline.Broken) ([]pipeline.Stage, error) {
		return f.repair(ctx, c, p.file.ref, b)
	}
	p.healed = func(r pipeline.Recovery) { c.notify("%s", healedText(r)) }
	link, err := parseLink(c.link)
	if err != nil {
		return err
	}
	if c.link == "" {
		p.chunk = familyChunk
	}
	p.link = scheduler.Link{LatencyMS: loopbackHopMS + link.latencyMS(), Mbit: link.mbit()}
	p.predict(1)
	return nil
}

// evenSpeeds gives every member the best speed that one of them measured: they
// run on one machine and measured at the same time, in each other's way.
func evenSpeeds(speeds []engine.Speed) {
	best := speeds[0]
	for _, s := range speeds {
		best.DecodePerLayer = min(best.DecodePerLayer, s.DecodePerLayer)
		best.PrefillPerLayer = min(best.PrefillPerLayer, s.PrefillPerLayer)
	}
	for i := range speeds {
		speeds[i].DecodePerLayer, speeds[i].PrefillPerLayer = best.DecodePerLayer, best.PrefillPerLayer
	}
}

// loopbackHopMS is what a small frame takes between two processes of a
// machine, cold (research/transport.md §2: 175 µs).
const loopbackHopMS = 0.175

// planFamily decides who of n equal members holds which layers.
func (p *place) planFamily(c placeConfig, n int) ([]shard.Span, error) {
	res, params, err := p.familyLayout(c, n)
	if err != nil {
		return nil, p.explainFamily(err, c, n)
	}
	if len(res.Layout) != n {
		return nil, fmt.Errorf("the planner uses %d of %d members: give --split to decide yourself", len(res.Layout), n)
	}
	p.reasons = []string{familyReason(res.Layout, params)}
	spans := make([]shard.Span, n)
	for i, a := range res.Layout {
		spans[i] = a.Span
	}
	return spans, nil
}

// familyLayout plans for n equal members.
func (p *place) familyLayout(c placeConfig, n int) (scheduler.Result, scheduler.Params, error) {
	v := scheduler.View{Model: member.PlanModel(p.name, p.file.Index, p.config, p.kv)}
	v.Links.Default.LatencyMS = loopbackHopMS
	for i := range n {
		v.Peers = append(v.Peers, scheduler.Peer{
			ID: scheduler.ID(childName(i)), Name: childName(i), MemoryBytes: cmp.Or(c.memory, freeMemory()/int64(n)),
			// All run on this machine. Only the ratios matter here; what is
			// predicted comes from what the members measure.
			DecodeMS: []scheduler.Timing{{Batch: 1, MS: 1}}, PrefillMSPerToken: 0.2,
		})
	}
	params := scheduler.Params{Goal: scheduler.Spread, ContextTokens: p.planTokens(), Split: c.sizes(p.config.Layers)}
	res, err := scheduler.Plan(v, params)
	return res, params, err
}

// familyReason says why the layers are shared as they are.
func familyReason(l scheduler.Layout, p scheduler.Params) string {
	if len(p.Split) > 0 {
		return "the layers are shared as --split says"
	}
	first, last := l[0].Span.Len(), l[len(l)-1].Span.Len()
	if last < first {
		return "the members are equal, so each gets an even part of the time of a token; the last has fewer layers because it computes the head too"
	}
	return "the members are equal, so each gets an even part of the time of a token"
}

func childName(i int) string {
	if i < len(childNames) {
		return childNames[i]
	}
	return fmt.Sprintf("%s%d", childNames[i%len(childNames)], i/len(childNames)+1)
}

// modelID names the model among the members of one command: they all open the
// same file, so that nothing has to be hashed.
func (f *family) modelID(ref string) shard.ModelID { return localModelID(f.key.ID(), ref) }

// start serves the first span here, starts a member for each other, and waits
// until all can serve.
func (f *family) start(ctx context.Context, c placeConfig, spans []shard.Span, file *modelFile) error {
	membership, err := f.key.Issue(f.identity.Public(), transport.RoleServe|transport.RoleClient, membershipLife)
	if err != nil {
		return err
	}
	if f.node, err = listenFamily(f.identity, membership, c.link); err != nil {
		return err
	}
	for i := range spans[1:] {
		ch, err := startChild(childName(i + 1))
		if err != nil {
			return err
		}
		f.children = append(f.children, ch)
	}
	errs := make([]error, len(spans))
	var wg sync.WaitGroup
	wg.Go(func() {
		f.own, errs[0] = serveSpan(ctx, f.node, childName(0), member.LoadConfig{
			Source: file, Model: f.modelID(file.ref), Span: spans[0], Threads: c.threads, Linger: familyLinger,
			MemoryBytes: c.memory, KVBytes: c.kvBytes, KV: c.kv, Packs: c.packs, Settled: c.settled, Logger: zerolog.Nop(),
		})
	})
	for i, ch := range f.children {
		wg.Go(func() { errs[i+1] = f.bringUp(ctx, c, ch, spans[i+1], file.ref) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

// listenFamily opens the UDP port of one member, behind the emulated link if
// one is given.
func listenFamily(identity transport.Identity, membership transport.Membership, linkText string) (*transport.Node, error) {
	link, err := parseLink(linkText)
	if err != nil {
		return nil, err
	}
	return transport.Listen(transport.Config{
		Identity: identity, Membership: membership, Wrap: link.wrap(), Logger: zerolog.Nop(),
	})
}

// startChild starts a member process.
func startChild(name string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start member %s: %w", name, err)
	}
	ch := &child{name: name, cmd: exec.Command(exe, memberVerb), exited: make(chan struct{})}
	ch.cmd.Stderr = os.Stderr
	if ch.stdin, err = ch.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start member %s: %w", name, err)
	}
	// The reading end stays ours after the process has gone, so that its last
	// line is not lost.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start member %s: %w", name, err)
	}
	ch.pipe, ch.out, ch.cmd.Stdout = r, bufio.NewReader(r), w
	err = ch.cmd.Start()
	_ = w.Close() // the process has its own
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("start member %s: %w", name, err)
	}
	go func() {
		_ = ch.cmd.Wait() // its exit code says nothing that its last line does not
		close(ch.exited)
	}()
	return ch, nil
}

// bringUp admits a member, gives it its layers, and waits until it serves.
func (f *family) bringUp(ctx context.Context, c placeConfig, ch *child, span shard.Span, ref string) error {
	stop := context.AfterFunc(ctx, func() { _ = ch.stdin.Close() })
	defer stop()
	var hello childHello
	if err := ch.read(&hello); err != nil {
		return err
	}
	membership, err := f.key.Issue(hello.Public, transport.RoleServe|transport.RoleClient, membershipLife)
	if err != nil {
		return err
	}
	ch.peer = shard.PeerIDOf(hello.Public)
	encoded, err := membership.Bytes()
	if err != nil {
		return err
	}
	id := f.modelID(ref)
	order := childOrder{
		Name: ch.name, Membership: encoded, Model: ref, ModelID: id[:], Span: span,
		Threads: c.threads, Memory: c.memory, KVBytes: c.kvBytes, KVType: c.kv.String(), Link: c.link, Settled: c.settled,
	}
	if c.packs != nil {
		order.PackedDir, order.Packed = c.packs.Dir(), c.packs.BudgetBytes()
	}
	if err := json.NewEncoder(ch.stdin).Encode(order); err != nil {
		return ch.lost()
	}
	if err := ch.read(&ch.ready); err != nil {
		return err
	}
	if ch.ready.Error != "" {
		err := fmt.Errorf("member %s, layers %v: %s", ch.name, span, ch.ready.Error)
		if ch.ready.Hint != "" {
			return hint(err, "%s", ch.ready.Hint)
		}
		return err
	}
	addr, err := netip.ParseAddrPort(ch.ready.Addr)
	if err != nil {
		return fmt.Errorf("member %s: address: %w", ch.name, err)
	}
	f.node.SetAddrs(ch.peer, []netip.AddrPort{addr})
	return nil
}

// read reads the child's next line.
func (ch *child) read(into any) error {
	line, err := ch.out.ReadBytes('\n')
	if err != nil {
		return ch.lost()
	}
	if err := json.Unmarshal(line, into); err != nil {
		return fmt.Errorf("member %s says %.80q: %w", ch.name, line, err)
	}
	return nil
}

func (ch *child) lost() error { return fmt.Errorf("member %s ended while it was starting", ch.name) }

// kill ends the member of a stage other than the first with SIGKILL.
func (f *family) kill(stage int) error {
	if stage < 1 || stage > len(f.children) {
		return fmt.Errorf("stage %d is this process: it takes two members to kill one", stage)
	}
	return f.children[stage-1].cmd.Process.Kill()
}

// close ends every member and waits until all are gone.
func (f *family) close() {
	if f.own != nil {
		f.own.close()
	}
	if f.node != nil {
		_ = f.node.Close() // everything ends here
	}
	f.starting.Wait() // nobody asks for more
	for _, ch := range f.children {
		_ = ch.stdin.Close() // what a member ends with
	}
	for _, ch := range f.children {
		patience := time.AfterFunc(3*time.Second, func() { _ = ch.cmd.Process.Kill() })
		<-ch.exited
		patience.Stop()
		_ = ch.pipe.Close() // nobody reads it any more
	}
}
