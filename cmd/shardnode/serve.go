package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

// serveFlags are the flags of `serve` and `join`.
type serveFlags struct {
	listen, api, name, layers string
	memory, kv                sizeFlag
	packed                    packedFlag
	kvType                    kvTypeFlag
	quant                     quantFlag
	threads                   int
	readyFile, logFormat      string
	peerTimeout, drainTimeout time.Duration
	allowOrigins              []string
	client                    bool
	model                     string // join only: the own copy of the model
	link                      string
	keepEnds                  keepEndsFlag
	lendFlags
}

// The default addresses. A port that is taken is replaced by a free one unless
// the user named it.
const (
	defaultListen = "127.0.0.1:0"
	defaultAPI    = "127.0.0.1:7070"
)

func (s *serveFlags) add(f *pflag.FlagSet) {
	f.StringVar(&s.listen, "listen", defaultListen, "UDP address for other members; 0.0.0.0:4711 lets other machines in")
	f.StringVar(&s.api, "api", defaultAPI, "TCP address of the HTTP API")
	f.StringVar(&s.name, "name", "", "what people call this member (default: the machine's name)")
	f.StringVar(&s.layers, "layers", "", "hold exactly these layers, a:b for a up to but not b")
	f.Var(&s.memory, "memory", "bytes for weights and KV cache together, for example 4GiB (default: three quarters of what is free)")
	f.Var(&s.kv, "kv", "bytes for the KV cache alone (default: two sessions of the model's context, at most 1GiB)")
	s.kvType.add(f)
	s.quant.add(f)
	s.packed.add(f)
	f.IntVar(&s.threads, "threads", 0, "threads that compute (default: one a processor)")
	f.StringVar(&s.readyFile, "ready-file", "", "file that is written once this member can serve")
	f.StringVar(&s.logFormat, "log-format", "text", "log lines on standard error: text or json")
	f.DurationVar(&s.peerTimeout, "peer-timeout", 30*time.Second, "how long a request waits for layers that nobody serves")
	f.DurationVar(&s.drainTimeout, "drain-timeout", 30*time.Second, "how long a leaving member hands over or finishes its sessions")
	f.StringSliceVar(&s.allowOrigins, "api-allow-origin", nil, "web pages that may use the API, for example https://chat.example.org")
	s.keepEnds.add(f)
	s.lendFlags.add(f)
	f.StringVar(&s.link, "link", "", "make what this member sends travel like over such a link, to try things out: latency=20ms,rate=100mbit,loss=0.5%,jitter=2ms")
	f.BoolVar(&s.client, "client", false, "use the swarm and hold no layers")
}

func (a *app) serveCommand() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve [MODEL]",
		Short: "be a member: hold layers, and answer the HTTP API on loopback",
		Long: `serve makes this machine a member of its home's swarm, and founds one if the
home has none. It prints an invitation for others, holds the layers that the
plan gives it, and answers the OpenAI API. Ctrl-C hands running sessions over,
or finishes them, and leaves; a second Ctrl-C leaves at once.`,
		Example: `  shardnode serve model.gguf
  shardnode serve model.gguf --listen 0.0.0.0:4711 --memory 4GiB
  curl http://127.0.0.1:7070/v1/models -H "Authorization: Bearer $(cat KEYFILE)"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.model = args[0]
			}
			return a.serve(cmd, f, transport.Invitation{})
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (a *app) joinCommand() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "join INVITE",
		Short: "serve in a swarm that one was invited to",
		Long: `join takes the line that "serve" or "invite" printed on another machine, becomes
a member of that swarm, gets the layers that the plan gives it, and serves them.
The bytes of its layers come from --model FILE if that is the swarm's model, else
from the other members; every piece is checked against the model's hashes. A file
of another model is served beside it. A member without a file helps the model of
the invitation until every layer of it is held twice, then the one that needs it
most.`,
		Example: `  shardnode join shard1ABC…
  shardnode join shard1ABC… --memory 2GiB --model model.gguf`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inv, err := transport.ParseInvitation(args[0])
			if _, real := errors.AsType[*transport.RefusedError](err); err != nil && !real {
				err = &usageError{err}
			}
			if err != nil {
				return hint(err, "ask for a new line: `shardnode invite` prints one where a member runs")
			}
			return a.serve(cmd, f, inv)
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&f.model, "model", "", "this machine's own copy of the model, or another model to serve")
	return cmd
}

// serve runs a member until it is told to leave. inv is zero for `serve`.
func (a *app) serve(cmd *cobra.Command, f *serveFlags, inv transport.Invitation) error {
	ctx := cmd.Context()
	log, err := a.logger(f.logFormat)
	if err != nil {
		return err
	}
	pinned, err := parseLayers(f.layers)
	if err != nil {
		return err
	}
	if f.threads < 0 || f.threads > maxThreads {
		return usage("--threads is %d, want 1 to %d", f.threads, maxThreads)
	}
	link, err := parseLink(f.link)
	if err != nil {
		return err
	}
	if err := f.lendFlags.check(); err != nil {
		return err
	}
	s := &server{app: a, flags: f, log: log, pinned: pinned, link: link, named: cmd.Flags().Changed}
	defer s.close()
	if err := s.start(ctx, inv); err != nil {
		return err
	}
	return s.run(ctx)
}

// logger returns what a member logs to on standard error.
func (a *app) logger(format string) (zerolog.Logger, error) {
	switch format {
	case "json":
		return zerolog.New(a.stderr).With().Timestamp().Logger().Level(zerolog.InfoLevel), nil
	case "text":
		w := zerolog.ConsoleWriter{Out: a.stderr, NoColor: !isTerminal(a.stderr) || os.Getenv("NO_COLOR") != "", TimeFormat: time.TimeOnly}
		return zerolog.New(w).With().Timestamp().Logger().Level(zerolog.WarnLevel), nil
	}
	return zerolog.Logger{}, usage("--log-format is %q, want text or json", format)
}

// parseLayers reads "a:b".
func parseLayers(text string) (shard.Span, error) {
	if text == "" {
		return shard.Span{}, nil
	}
	from, to, ok := strings.Cut(text, ":")
	lo, err1 := strconv.Atoi(from)
	hi, err2 := strconv.Atoi(to)
	if !ok || err1 != nil || err2 != nil || lo < 0 || hi <= lo || hi > 1<<12 {
		return shard.Span{}, usage("--layers is %q, want a:b, for example 0:15 for the first 15 layers", text)
	}
	return shard.Span{Start: shard.Layer(lo), End: shard.Layer(hi)}, nil
}

// memberName returns what people call this member.
func memberName(flag string) string {
	if flag != "" {
		return flag
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		return host
	}
	return "member"
}

// freeMemory returns three quarters of the memory that the system says is
// available, or 4 GiB where it does not say.
func freeMemory() int64 {
	if n := procKiB("/proc/meminfo", "MemAvailable"); n > 0 {
		return n / 4 * 3
	}
	return 4 << 30
}

// listenTCP listens on addr. When the default port is taken and the user did
// not ask for it, a free one is taken instead.
func listenTCP(addr string, asked bool) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l, nil
	}
	host, _, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		return nil, usage("--api is %q, want HOST:PORT, for example %s", addr, defaultAPI)
	}
	if !asked {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err == nil {
			return l, nil
		}
	}
	return nil, hint(fmt.Errorf("HTTP API: %w", err), "another program uses the port: choose another with --api, port 0 takes a free one")
}

// makeHome makes the home folder, for its owner alone.
func (a *app) makeHome() error {
	if err := os.MkdirAll(a.home, 0o700); err != nil {
		return hint(fmt.Errorf("home %s: %w", a.home, unwrapPath(err)), "give a folder that can be written with --home or SHARDNODE_HOME")
	}
	if err := canWrite(a.home); err != nil {
		return hint(fmt.Errorf("home %s can't be written: %w", a.home, unwrapPath(err)), "give a folder that can be written with --home or SHARDNODE_HOME")
	}
	return nil
}

// canWrite reports why no file can be made in a folder.
func canWrite(dir string) error {
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// writeWhole writes a file so that readers see all of it or none.
func writeWhole(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, unwrapPath(err))
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error counts
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// background is ctx without its end, for what must still be done after it.
func background(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
