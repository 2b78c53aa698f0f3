package pipeline

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// A Step is new tokens at a position. Everything at Pos and after is replaced.
type Step struct {
	Pos    shard.Pos
	Tokens []shard.Token
	// All asks for logits of every position, not just the last.
	All bool
	// Summary says what of the logits is wanted.
	Summary sample.Request
	// Full asks for all logits as well.
	Full bool
	// Progress, if set, is called as chunks of a long step are done.
	Progress func(done, total int)
}

// A Result is what a step gave, one entry for each wanted position in order.
type Result struct {
	Dists  []sample.Dist
	Logits [][]float32 // each [vocab]; only of a Full step
}

// Step pushes st through the route and returns the logits it asked for. It
// blocks until they are there. When ctx ends it returns at once and the session
// stays usable; when a stage fails, that is the session's end.
func (s *Session) Step(ctx context.Context, st Step) (Result, error) {
	if len(st.Tokens) == 0 || int(st.Pos)+len(st.Tokens) > s.cfg.MaxTokens {
		return Result{}, fmt.Errorf("step of %d tokens at position %d: the session has %d positions", len(st.Tokens), st.Pos, s.cfg.MaxTokens)
	}
	if err := s.settle(ctx); err != nil {
		return Result{}, err
	}
	var out Result
	chunk := s.chunkTokens(st)
	sent, done := 0, 0
	for done < len(st.Tokens) {
		if sent < len(st.Tokens) && s.owed < maxInFlight {
			n := min(chunk, len(st.Tokens)-sent)
			if err := s.send(ctx, st, sent, n); err != nil {
				return out, err
			}
			sent += n
			continue
		}
		r, err := s.await(ctx)
		if err != nil {
			return out, err
		}
		if err := s.collect(&out, r, st.Pos+shard.Pos(done)); err != nil {
			return out, err
		}
		done += int(r.m.GetCount())
		if st.Progress != nil {
			st.Progress(done, len(st.Tokens))
		}
	}
	return out, nil
}

// chunkTokens returns how many tokens of st travel in one frame. All logits
// of a frame must fit one result.
func (s *Session) chunkTokens(st Step) int {
	n := s.cfg.ChunkTokens
	if st.Full && st.All && s.vocab > 0 {
		n = max(1, min(n, wire.MaxPayloadBytes/4/s.vocab))
	}
	return n
}

// settle waits for the results of a step that was given up.
func (s *Session) settle(ctx context.Context) error {
	for s.owed > 0 {
		if _, err := s.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// send sends n tokens of st from index lo on to the first stage.
func (s *Session) send(ctx context.Context, st Step, lo, n int) error {
	payload := make([]byte, 0, 4*n)
	for _, t := range st.Tokens[lo : lo+n] {
		payload = binary.LittleEndian.AppendUint32(payload, uint32(t))
	}
	m := &wirepb.Step{Epoch: uint32(s.epoch), Pos: uint32(st.Pos) + uint32(lo), Count: uint32(n)}
	last := lo+n == len(st.Tokens)
	switch {
	case st.All:
		m.Want = wirepb.Want_WANT_ALL
	case last:
		m.Want = wirepb.Want_WANT_LAST
	}
	if m.Want != wirepb.Want_WANT_NONE {
		m.TopK, m.Named = uint32(st.Summary.K), hop.Uint32s(st.Summary.Named)
		m.Temperature, m.Full = st.Summary.Temperature, st.Full || st.Summary.Full
	}
	m.SentUnixUs = time.Now().UnixMicro()
	// A send blocks only while the first stage reads nothing. If the caller
	// gives up meanwhile, the stream has half a frame and the session is over.
	stop := context.AfterFunc(ctx, func() { s.stages[0].Close() })
	_, err := s.stages[0].Send(wire.KindStep, m, payload)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return s.why(0, err)
	}
	s.owed++
	return nil
}

// await returns the next result of the last stage.
func (s *Session) await(ctx context.Context) (result, error) {
	timeout := time.NewTimer(s.cfg.StepTimeout)
	defer timeout.Stop()
	select {
	case r := <-s.results:
		s.owed--
		s.stats.result(r)
		return r, nil
	case <-s.ctx.Done():
		return result{}, context.Cause(s.ctx)
	case <-ctx.Done():
		return result{}, context.Cause(ctx)
	case <-timeout.C:
		last := len(s.stages) - 1
		err := s.name(last, &shard.StageError{
			Peer: s.cfg.Route[last].Peer, Code: shard.TimedOut,
			Text: fmt.Sprintf("no result within %v, though every peer of the route is connected", s.cfg.StepTimeout),
		})
		s.cancel(err)
		return result{}, err
	}
}

// why returns the reason of the session's end, or err of stage i if there is
// none yet. A broken stream and the peer's own report of what went wrong race;
// the report is waited for a moment.
func (s *Session) why(i int, err error) error {
	select {
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	case <-time.After(100 * time.Millisecond):
		err = s.name(i, err)
		s.cancel(err)
		return err
	}
}

// collect adds what r carries to out. It must begin at pos.
func (s *Session) collect(out *Result, r result, pos shard.Pos) error {
	last := len(s.stages) - 1
	m := r.m
	if shard.Epoch(m.GetEpoch()) != s.epoch || shard.Pos(m.GetPos()) != pos || m.GetCount() == 0 {
		err := s.name(last, s.stages[last].Invalid("result of %d tokens at position %d, want position %d", m.GetCount(), m.GetPos(), pos))
		s.cancel(err)
		return err
	}
	for _, dm := range m.GetDists() {
		d, err := hop.ParseDist(dm)
		if err == nil && d.Vocab != s.vocab {
			err = s.stages[last].Invalid("logits of a vocabulary of %d, want %d", d.Vocab, s.vocab)
		}
		if err != nil {
			return s.name(last, err)
		}
		out.Dists = append(out.Dists, d)
	}
	rows, err := s.floats(r)
	if err != nil {
		return s.name(last, err)
	}
	out.Logits = append(out.Logits, rows...)
	return nil
}

// floats returns the full logits that r carries.
func (s *Session) floats(r result) ([][]float32, error) {
	rows := int(r.m.GetRows())
	if rows > hop.MaxStepTokens || len(r.payload) != 4*rows*s.vocab {
		return nil, s.stages[len(s.stages)-1].Invalid("logits of %d rows in %d bytes", rows, len(r.payload))
	}
	out := make([][]float32, rows)
	for i := range out {
		out[i] = make([]float32, s.vocab)
		for j := range out[i] {
			at := 4 * (i*s.vocab + j)
			out[i][j] = math.Float32frombits(binary.LittleEndian.Uint32(r.payload[at:]))
		}
	}
	return out, nil
}

// More returns all logits of pos, which must be the last position of the last
// step.
func (s *Session) More(ctx context.Context, pos shard.Pos) ([]float32, error) {
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	last := len(s.stages) - 1
	if _, err := s.stages[last].Send(wire.KindMore, &wirepb.More{Epoch: uint32(s.epoch), Pos: uint32(pos)}, nil); err != nil {
		return nil, s.why(last, err)
	}
	s.owed++
	r, err := s.await(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.floats(r)
	if err == nil && len(rows) != 1 {
		err = s.stages[last].Invalid("%d rows of logits, want one", len(rows))
	}
	if err != nil {
		return nil, s.name(last, err)
	}
	return rows[0], nil
}
