package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/transport"
)

// memberVerb is what a command starts its own members with. It is not for
// people.
const memberVerb = "family-member"

func (a *app) memberCommand() *cobra.Command {
	return &cobra.Command{
		Use:    memberVerb,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runMember(cmd.Context())
		},
	}
}

// maxOrderBytes bounds the parent's order.
const maxOrderBytes = 1 << 20

// runMember serves the layers that the parent orders until its standard input
// ends. Failures are the parent's to print.
func (a *app) runMember(ctx context.Context) error {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole family; the parent decides
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := json.NewEncoder(a.stdout)
	identity := transport.NewIdentity()
	if err := out.Encode(childHello{Public: identity.Public()}); err != nil {
		return err
	}
	in := bufio.NewReader(a.stdin)
	var order childOrder
	if err := json.NewDecoder(io.LimitReader(in, maxOrderBytes)).Decode(&order); err != nil {
		return nil // the parent is gone or has given up
	}
	go func() {
		_, _ = io.Copy(io.Discard, in) // returns when the parent is gone or wants us gone
		cancel()
	}()
	err := a.serveOrder(ctx, identity, order, out)
	if err != nil && ctx.Err() == nil {
		ready := childReady{Error: err.Error()}
		if h, ok := errors.AsType[*hintError](err); ok {
			ready.Hint = h.hint
		}
		return out.Encode(ready)
	}
	return nil
}

// serveOrder loads what order says, tells the parent, and serves until ctx ends.
func (a *app) serveOrder(ctx context.Context, identity transport.Identity, order childOrder, out *json.Encoder) error {
	if len(order.ModelID) != len(shard.ModelID{}) {
		return fmt.Errorf("order: model id of %d bytes", len(order.ModelID))
	}
	kv, err := kvcache.ParsePrecision(order.KVType)
	if err != nil {
		return err
	}
	membership, err := transport.ParseMembership(order.Membership)
	if err != nil {
		return err
	}
	tn, err := listenFamily(identity, membership, order.Link)
	if err != nil {
		return err
	}
	defer tn.Close() //nolint:errcheck // the process ends
	file, err := openModel(order.Model)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // the process ends
	var packs *weights.Packs
	if order.PackedDir != "" {
		packs = weights.OpenPacks(weights.PacksConfig{Dir: order.PackedDir, BudgetBytes: order.Packed})
	}
	held, err := serveSpan(ctx, tn, order.Name, member.LoadConfig{
		Source: file, Model: shard.ModelID(order.ModelID), Span: order.Span, Threads: order.Threads, Linger: familyLinger,
		MemoryBytes: order.Memory, KVBytes: order.KVBytes, KV: kv, Packs: packs, Settled: order.Settled, Logger: zerolog.Nop(),
	})
	if err != nil {
		return (&place{}).explainLoad(err, placeConfig{memory: order.Memory})
	}
	defer held.close()
	loaded := held.loaded
	err = out.Encode(childReady{
		Addr: tn.Addr().String(), WeightBytes: loaded.WeightBytes,
		Decode: loaded.Speed.DecodePerLayer, Prefill: loaded.Speed.PrefillPerLayer, Head: loaded.Speed.Head,
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// A heldSpan is a span that this process serves to the members of its family.
type heldSpan struct {
	loaded *member.Loaded
	node   *node.Node
}

// serveSpan loads what c says and serves it on tn.
func serveSpan(ctx context.Context, tn *transport.Node, name string, c member.LoadConfig) (*heldSpan, error) {
	loaded, err := member.Load(ctx, c)
	if err != nil {
		return nil, err
	}
	n, err := node.New(node.Config{Self: tn.ID(), Name: name, Dial: transportDial(tn), Logger: zerolog.Nop()})
	if err != nil {
		loaded.Close()
		return nil, err
	}
	n.Hold(loaded.Held())
	tn.Handle(hop.Protocol, func(ctx context.Context, s *transport.Stream) { n.Serve(ctx, s, s.Peer()) })
	return &heldSpan{loaded: loaded, node: n}, nil
}

// close ends the sessions of h and frees its memory.
func (h *heldSpan) close() {
	h.node.Close()
	h.loaded.Close()
}
