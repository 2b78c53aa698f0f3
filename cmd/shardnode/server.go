package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/openai"
	"github.com/shardnode/shardnode/shard/web"
	"github.com/shardnode/shardnode/transport"
)

// A server is a member that runs in this process: its place in the swarm, the
// HTTP API, and the control socket by which other commands of the home reach
// it.
type server struct {
	app    *app
	flags  *serveFlags
	log    zerolog.Logger
	pinned shard.Span
	link   linkFlag
	named  func(flag string) bool // whether the user gave a flag

	identity transport.Identity
	admitter *transport.Admitter // nil unless this home founded the swarm
	removals *transport.Removals
	twin     chan *transport.TwinError // another process with this identity
	node     *transport.Node
	file     *modelFile // nil without an own copy
	member   *member.Member
	api      net.Listener
	control  net.Listener
	keyFile  string
	drives   drives
	began    time.Time
	pages    atomic.Pointer[web.Handler] // nil before the API answers
	plans    atomic.Uint64               // decisions that were told
	weights  atomic.Pointer[weighed]
	rates    loadRates
	drain    chan struct{} // closed when `drain` asks to leave
	drained  sync.Once
	https    []*http.Server
	servers  sync.WaitGroup
	closers  []func()
}

// Files in the home.
const (
	controlFile = "control.sock"
	apiKeyFile  = "api-key"
	seedsFile   = "swarm/seeds.json"
	listenFile  = "swarm/listen"
	cacheFolder = "cache"
)

// start brings everything up; the member loads its layers after that.
func (s *server) start(ctx context.Context, inv transport.Invitation) error {
	s.drain, s.twin, s.began = make(chan struct{}), make(chan *transport.TwinError, 1), time.Now()
	s.drives.metrics = newMetrics(s)
	if err := s.app.makeHome(); err != nil {
		return err
	}
	if f := s.flags.readyFile; f != "" {
		_ = os.Remove(f) // of an earlier member
		if err := canWrite(filepath.Dir(f)); err != nil {
			return hint(fmt.Errorf("--ready-file %s: %w", f, unwrapPath(err)), "name a file in a folder that is there and can be written")
		}
	}
	// The control socket first: it says whether a member runs here already.
	if err := s.openControl(); err != nil {
		return err
	}
	var err error
	if s.identity, err = transport.LoadIdentity(s.app.home); err != nil {
		return err
	}
	if s.flags.model != "" {
		if s.file, err = s.openOwn(ctx, inv); err != nil {
			return err
		}
		s.onClose(func() { _ = s.file.Close() })
		if err := s.checkModel(); inv.Uses == 0 && err != nil {
			return err // one who joins can do without
		}
	}
	membership, err := s.belong(ctx, inv)
	if err != nil {
		return err
	}
	if membership.Role&transport.RoleServe == 0 && !s.flags.client {
		s.notify("this member was invited with the role %v: it uses the swarm and holds no layers", membership.Role)
		s.flags.client = true
	}
	if err := s.openPorts(membership); err != nil {
		return err
	}
	return s.startMember(ctx, inv)
}

// checkModel reports a model of one's own that can't be served as asked, before
// anybody is invited to it.
func (s *server) checkModel() error {
	if span, ok := s.file.IsPart(); ok {
		return hint(fmt.Errorf("%s has the layers %v only", s.file.name(), span), "join a swarm with it: shardnode join INVITE --model FILE")
	}
	cfg, err := model.ReadConfig(s.file.Meta())
	if err != nil {
		return err
	}
	if span := s.pinned; int(span.End) > cfg.Layers {
		return usage("--layers %d:%d: the model has %d layers", span.Start, span.End, cfg.Layers)
	}
	if _, err := model.MemoryBytes(cfg, s.file, shard.Span{End: shard.Layer(cfg.Layers)}); err != nil {
		return err
	}
	return nil
}

// belong returns this peer's membership: from the invitation, from the home,
// or of a swarm that is founded now.
func (s *server) belong(ctx context.Context, inv transport.Invitation) (transport.Membership, error) {
	home := s.app.home
	if inv.Uses > 0 {
		return s.join(ctx, inv)
	}
	m, err := transport.LoadMembership(home)
	if err == nil {
		key, keyErr := transport.LoadSwarmKey(home)
		if keyErr == nil && key.ID() == m.Swarm() {
			return m, s.admit(key)
		}
		return m, nil
	}
	if !errors.Is(err, transport.ErrNoSwarm) {
		return m, err
	}
	key, err := transport.LoadSwarmKey(home)
	if errors.Is(err, transport.ErrNoSwarm) {
		key = transport.NewSwarmKey()
		err = key.Save(home)
	}
	if err != nil {
		return m, err
	}
	if m, err = key.Issue(s.identity.Public(), transport.RoleServe|transport.RoleClient, founderLife); err != nil {
		return m, err
	}
	return m, errors.Join(m.Save(home), s.admit(key))
}

// founderLife is how long a founder's own membership lasts.
const founderLife = 10 * 365 * 24 * time.Hour

func (s *server) admit(key transport.SwarmKey) error {
	var err error
	s.admitter, err = transport.NewAdmitter(s.app.home, key)
	return err
}

// explainJoin adds to the error of a join what to do.
func explainJoin(err error, inv transport.Invitation) error {
	if refused, ok := errors.AsType[*transport.RefusedError](err); ok {
		return hint(fmt.Errorf("the swarm refused: %w", refused), "ask the member that invited you for a new invitation")
	}
	return hint(fmt.Errorf("no member answered at %v: %w", inv.Addrs, err),
		"is the inviting member running, and reachable from here? One on loopback is reached from its own machine only: serve --listen 0.0.0.0:PORT there")
}

// openPorts opens the UDP port of the swarm and the TCP port of the API.
func (s *server) openPorts(membership transport.Membership) error {
	var err error
	if s.api, err = listenTCP(s.flags.api, s.named("api")); err != nil {
		return err
	}
	s.onClose(func() { _ = s.api.Close() })
	if s.removals, err = transport.LoadRemovals(s.app.home, membership.Swarm()); err != nil {
		return err
	}
	cfg := transport.Config{
		Removals: s.removals, OnTwin: s.meetTwin, Identity: s.identity, Membership: membership, ListenAddr: s.flags.listen, Admitter: s.admitter, Wrap: s.link.wrap(), Logger: s.log,
	}
	// Others know the port of last time; it is taken again if nobody else has.
	if last := s.lastListen(); last != "" && !s.named("listen") {
		cfg.ListenAddr = last
		s.node, err = transport.Listen(cfg)
		cfg.ListenAddr = s.flags.listen
	}
	if s.node == nil || err != nil {
		s.node, err = transport.Listen(cfg)
	}
	if errors.Is(err, transport.ErrRemoved) {
		return hint(err, "its founder can take it back (`shardnode remove --undo`) and give a new invitation for `shardnode join`")
	}
	if err != nil {
		return hint(err, "choose another address with --listen")
	}
	s.keepListen()
	s.onClose(func() { _ = s.node.Close() })
	return nil
}

// startMember starts the member, the API and the control socket's answers.
func (s *server) startMember(ctx context.Context, inv transport.Invitation) error {
	seeds, err := s.seeds()
	if err != nil {
		return err
	}
	cfg := member.Config{
		Node: s.node, Name: memberName(s.flags.name), Seeds: seeds, Model: inv.ModelID, ModelName: inv.Model,
		CacheDir: filepath.Join(s.app.home, cacheFolder), Pinned: s.pinned,
		MemoryBytes: cmp.Or(int64(s.flags.memory), freeMemory()), KVBytes: int64(s.flags.kv), KV: kvcache.Precision(s.flags.kvType), Threads: s.flags.threads,
		Packs: s.app.packs(s.flags.packed, s.notify), Client: s.flags.client, UploadBytesPerSec: s.flags.upload.bytesPerSec(),
		KeepsEnds: s.flags.keepEnds.given, KeepEnds: s.flags.keepEnds.peers, Notify: s.notify, Logger: s.log,
	}
	if s.file != nil {
		cfg.File, cfg.FileName = s.file.File, s.file.name()
	}
	if s.member, err = member.Start(background(ctx), cfg); err != nil {
		return err
	}
	s.onClose(s.member.Close)
	if err := s.serveAPI(ctx); err != nil {
		return err
	}
	s.serveControl()
	if s.file != nil && inv.Uses == 0 { // nobody is invited to what can't be served
		// A large vocabulary takes a second: pages and ports are there by now.
		if _, err := generate.ReadText(s.file.Meta()); err != nil {
			return err
		}
	}
	s.hello()
	return nil
}

// serveAPI answers HTTP with the key in the home: the API, and pages.
func (s *server) serveAPI(ctx context.Context) error {
	s.keyFile = filepath.Join(s.app.home, apiKeyFile)
	key, err := apiKey(s.keyFile)
	if err != nil {
		return err
	}
	h, err := openai.New(openai.Config{Backend: backend{s}, Key: key, AllowOrigins: s.flags.allowOrigins, Logger: s.log})
	if err != nil {
		return err
	}
	pages, err := s.withPages(background(ctx), h, key)
	if err != nil {
		return err
	}
	s.serveHTTP(openai.NewServer(pages, s.log), s.api)
	return nil
}

// serveHTTP serves on l until the server closes.
func (s *server) serveHTTP(srv *http.Server, l net.Listener) {
	s.servers.Go(func() {
		if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.log.Error().Err(err).Msg("http server ended")
		}
	})
	s.https = append(s.https, srv)
	s.onClose(func() { _ = srv.Close() })
}

// apiKey returns the key in the file, and makes both when they are missing.
func apiKey(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(b)) != "" {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("API key %s: %w", path, unwrapPath(err))
	}
	var random [24]byte
	rand.Read(random[:])
	key := "sk-" + hex.EncodeToString(random[:])
	return key, writeWhole(path, []byte(key+"\n"), 0o600)
}

// hello says what runs where, and how others get in.
func (s *server) hello() {
	for _, r := range s.node.Addrs() {
		s.say("member %s (%s) listens on udp %v, reachable from %s", memberName(s.flags.name), s.identity.ID().Short(), r.Addr, r.Scope)
	}
	s.say("HTTP API on http://%v/v1, key in %s", s.api.Addr(), s.keyFile)
	s.helloPages()
	if s.admitter == nil {
		return
	}
	inv, err := s.invite(transport.InviteSpec{Uses: 8})
	if err != nil {
		s.say("no invitation: %v", err)
		return
	}
	s.say("to let others in, within a day, up to %d of them: shardnode join, and this line:", inv.Uses)
	fmt.Fprintf(s.app.stdout, "%v\n", inv)
}

// invite makes an invitation with this member's addresses and model.
func (s *server) invite(spec transport.InviteSpec) (transport.Invitation, error) {
	if s.admitter == nil {
		return transport.Invitation{}, hint(errors.New("this member did not found the swarm, and only the founder can invite"),
			"ask on the machine where the swarm was founded")
	}
	spec.Inviter = s.identity.ID()
	for _, r := range s.node.Addrs() {
		spec.Addrs = append(spec.Addrs, r.Addr)
	}
	if about := s.member.Status().Model; about != nil {
		spec.Model, spec.ModelID = about.Name, about.ID
	}
	return s.admitter.Invite(spec)
}

// notify tells a person something that happened.
func (s *server) notify(format string, args ...any) {
	s.noteEvent(fmt.Sprintf(format, args...))
	s.say(format, args...)
}

// say tells a person something.
func (s *server) say(format string, args ...any) {
	if s.flags.logFormat == "json" {
		s.log.Info().Msg(fmt.Sprintf(format, args...))
		return
	}
	s.app.notify(format, args...)
}

// readyJSON is what --ready-file gets.
type readyJSON struct {
	Peer       string `json:"peer"`
	Name       string `json:"name"`
	PID        int    `json:"pid"`
	Addr       string `json:"addr"`
	API        string `json:"api"`
	APIKeyFile string `json:"api_key_file"`
}

// run waits until the member must leave, and leaves well.
func (s *server) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the goroutine
	failed := make(chan error, 1)
	s.servers.Go(func() {
		if err := s.whenReady(ctx); err != nil && ctx.Err() == nil {
			failed <- err
			return
		}
		failed <- s.member.Failed(ctx)
	})
	s.servers.Go(func() { s.lend(ctx) })
	if err := s.stay(ctx, failed); err != nil {
		return err
	}
	s.tellService("STOPPING=1", "STATUS=sessions finish")
	s.notify("leaving: %d sessions are handed over or finish first, Ctrl-C leaves at once", s.member.Status().Sessions)
	bounded, stop := context.WithTimeout(background(ctx), s.flags.drainTimeout)
	defer stop()
	s.saveView()
	if err := s.member.Drain(bounded); err != nil {
		s.notify("left with sessions cut off: %v", err)
	}
	// Sessions that this member drives end with the requests that they are for.
	if h := s.pages.Load(); h != nil {
		h.Close()
	}
	for _, srv := range s.https {
		_ = srv.Shutdown(bounded) // what is left is cut off
	}
	return nil
}

// saveEvery is how often the members to join through are kept.
const saveEvery = 30 * time.Second

// stay returns when the member is to leave; an error is why it can't stay.
func (s *server) stay(ctx context.Context, failed <-chan error) error {
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	for {
		select {
		case err := <-failed:
			if ctx.Err() == nil {
				return s.explainFailure(err)
			}
			return nil
		case <-ctx.Done():
			return nil
		case <-s.drain:
			return nil
		case twin := <-s.twin:
			return hint(twin, "a home is for one member: give this one its own with --home, and join with an invitation; or stop the other one")
		case <-save.C:
			s.saveView()
		}
	}
}

// whenReady writes the ready file once the member can serve.
func (s *server) whenReady(ctx context.Context) error {
	var err error
	if s.flags.client {
		_, err = s.member.WaitAbout(ctx)
	} else {
		err = s.member.WaitServing(ctx)
	}
	if err != nil {
		return err
	}
	s.saveView()
	s.tellService("READY=1", "STATUS="+s.member.Status().Doing)
	if s.flags.readyFile == "" {
		return nil
	}
	b, err := json.Marshal(readyJSON{
		Peer: s.identity.ID().String(), Name: memberName(s.flags.name), PID: os.Getpid(),
		Addr: dialable(s.node.Addr()), API: "http://" + s.api.Addr().String() + "/v1", APIKeyFile: s.keyFile,
	})
	if err != nil {
		return err
	}
	if err := writeWhole(s.flags.readyFile, append(b, '\n'), 0o644); err != nil {
		return err
	}
	s.log.Info().Msg("ready")
	return nil
}

// dialable returns addr with loopback in place of "any address".
func dialable(addr netip.AddrPort) string {
	if addr.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), addr.Port()).String()
	}
	return addr.String()
}

// explainFailure adds to why a member can't serve what to do.
func (s *server) explainFailure(err error) error {
	if errors.Is(err, transport.ErrRemoved) {
		return hint(err, "its founder can take it back (`shardnode remove --undo`) and give a new invitation for `shardnode join`")
	}
	if big, ok := member.IsTooBig(err); ok {
		return hint(err, "raise --memory by %s, or let more members join: each takes a share", mib(big.NeedBytes-big.LimitBytes))
	}
	return err
}

// onClose adds something to undo.
func (s *server) onClose(f func()) { s.closers = append(s.closers, f) }

// close undoes everything, last first.
func (s *server) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
	s.servers.Wait()
}
