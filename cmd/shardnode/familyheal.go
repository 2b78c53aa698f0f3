package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/pipeline"
)

// A spare is a member that is started in the place of one that was lost.
type spare struct {
	up    chan struct{} // closed when stage or err is there
	stage pipeline.Stage
	err   error
}

// repair returns b's route with a new member process for each that was lost:
// nobody else of the command holds its layers.
func (f *family) repair(ctx context.Context, c placeConfig, ref string, b pipeline.Broken) ([]pipeline.Stage, error) {
	out := slices.Clone(b.Route)
	for i, st := range b.Route {
		if b.Kept[i] {
			continue
		}
		if st.Peer == f.identity.ID() {
			return nil, fmt.Errorf("layers %v: this process can't serve them: %w", st.Span, b.Cause)
		}
		sp := f.replace(ctx, c, ref, st)
		select {
		case <-sp.up:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a new member with layers %v", st.Span)
		}
		if sp.err != nil {
			return nil, sp.err
		}
		out[i] = sp.stage
	}
	return out, nil
}

// replace starts a member in the place of the one that was stage st, once.
func (f *family) replace(ctx context.Context, c placeConfig, ref string, st pipeline.Stage) *spare {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sp := f.spares[st.Peer]; sp != nil {
		return sp
	}
	sp := &spare{up: make(chan struct{})}
	if f.spares == nil {
		f.spares = map[shard.PeerID]*spare{}
	}
	f.spares[st.Peer] = sp
	ch, err := startChild(childName(len(f.children) + 1))
	if err != nil {
		sp.err = err
		close(sp.up)
		return sp
	}
	f.children = append(f.children, ch)
	f.starting.Go(func() {
		defer close(sp.up)
		if sp.err = f.bringUp(ctx, c, ch, st.Span, ref); sp.err == nil {
			sp.stage = pipeline.Stage{Neighbour: hop.Neighbour{Peer: ch.peer, Name: ch.name, Addrs: []string{ch.ready.Addr}}, Span: st.Span}
		}
	})
	return sp
}

// healedText says what a loss cost.
func healedText(r pipeline.Recovery) string {
	var names []string
	for _, st := range r.Replacement {
		names = append(names, st.Name)
	}
	return fmt.Sprintf("%s lost; layers %d–%d moved to %s in %.1f s (%d tokens replayed)",
		r.Lost.Name, r.Lost.Span.Start, r.Lost.Span.End, strings.Join(names, " and "), r.Pause.Seconds(), r.ReplayedTokens)
}

// recoveries returns what was healed, for JSON, of an answer to a prompt of so
// many tokens.
func recoveries(all []pipeline.Recovery, prompt int) []recoveryJSON {
	out := []recoveryJSON{}
	for _, r := range all {
		var to []string
		for _, st := range r.Replacement {
			to = append(to, peerText(st.Peer))
		}
		out = append(out, recoveryJSON{
			AtToken: max(0, int(r.At)-prompt+1), Lost: peerText(r.Lost.Peer), Replacement: strings.Join(to, ","),
			PauseMS: millis(r.Pause), ReplayedTokens: r.ReplayedTokens,
		})
	}
	return out
}
