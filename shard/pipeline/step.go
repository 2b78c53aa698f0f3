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
	if err := s.settle(ctx); err != nil {
		return Result{}, err
	}
	if st.Summary.Full { // the rest of the summary does not matter then
		st.Summary.K, st.Summary.Named = 0, nil
	}
	if err := s.check(st); err != nil {
		return Result{}, err
	}
	var out Result
	chunk := s.chunkTokens(st)
	sent, done := 0, 0
	for done < len(st.Tokens) {
		if sent < len(st.Tokens) && s.owed < hop.MaxInFlight {
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
		n := min(chunk, len(st.Tokens)-done)
		if err := s.collect(&out, r, expected{
			pos: st.Pos + shard.Pos(done), count: n, logits: wanted(st, done+n, n), full: st.full(),
		}); err != nil {
			return out, err
		}
		done += n
		if st.Progress != nil {
			st.Progress(done, len(st.Tokens))
		}
	}
	return out, nil
}

// full reports whether st wants all logits.
func (st *Step) full() bool { return st.Full || st.Summary.Full }

// wanted returns how many of the n tokens of st before index end want logits.
func wanted(st Step, end, n int) int {
	switch {
	case st.All:
		return n
	case end == len(st.Tokens):
		return 1
	}
	return 0
}

// check refuses what a stage would, which would end the session.
func (s *Session) check(st Step) error {
	switch {
	case st.Pos < 0 || len(st.Tokens) == 0 || len(st.Tokens) > s.cfg.MaxTokens-int(st.Pos):
		return fmt.Errorf("step of %d tokens at position %d: the session has %d positions", len(st.Tokens), st.Pos, s.cfg.MaxTokens)
	case st.Pos > s.held:
		return fmt.Errorf("step at position %d: the session holds %d", st.Pos, s.held)
	case math.IsNaN(st.Summary.Temperature) || math.IsInf(st.Summary.Temperature, 0):
		return fmt.Errorf("step with temperature %v: want a finite number", st.Summary.Temperature)
	case hop.SummaryRows(st.Summary) == 0 || len(st.Summary.Named) > hop.MaxNamed || st.Summary.K > hop.MaxTopK && !st.full():
		return fmt.Errorf("step wants the %d highest logits and %d named ones: that is too many, ask for all", st.Summary.K, len(st.Summary.Named))
	}
	for _, t := range st.Tokens {
		if t < 0 || int(t) >= s.vocab {
			return fmt.Errorf("token %d: the model has %d", t, s.vocab)
		}
	}
	return nil
}

// maxFullBytes bounds the full logits of one result; what is more travels in
// several.
const maxFullBytes = 16 << 20

// chunkTokens returns how many tokens of st travel in one frame. All logits
// of a frame must fit one result.
func (s *Session) chunkTokens(st Step) int {
	n := s.cfg.ChunkTokens
	if st.All {
		n = min(n, hop.SummaryRows(st.Summary))
	}
	if st.All && st.full() {
		n = min(n, maxFullBytes/4/s.vocab)
	}
	return max(1, n)
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
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	m := &wirepb.Step{Epoch: uint32(s.epoch), Pos: uint32(st.Pos) + uint32(lo), Count: uint32(n)}
	switch {
	case st.All:
		m.Want = wirepb.Want_WANT_ALL
	case lo+n == len(st.Tokens):
		m.Want = wirepb.Want_WANT_LAST
	}
	if m.Want != wirepb.Want_WANT_NONE {
		m.TopK, m.Named = uint32(min(max(st.Summary.K, 0), hop.MaxTopK)), hop.Uint32s(st.Summary.Named)
		m.Temperature, m.Full = st.Summary.Temperature, st.full()
	}
	m.Chain = s.prefix.put(shard.Pos(m.Pos), st.Tokens[lo:lo+n])
	m.SentUnixUs = time.Now().UnixMicro()
	err := s.sendTo(ctx, 0, func(c *hop.Conn) (int, error) { return c.Send(wire.KindStep, m, payload) })
	if err != nil {
		return err
	}
	s.held, s.gave = st.Pos+shard.Pos(lo+n), true
	return nil
}

// sendPatience is how long a send may block after its caller has given up.
// Stages queue hop.MaxInFlight steps, so only one that is stuck, or a network
// that is, blocks a send at all.
const sendPatience = time.Second

// sendTo sends a frame that a result answers to stage i. When ctx ends, a send
// that blocks has some time left; then the stream has half a frame, and the
// session is over.
func (s *Session) sendTo(ctx context.Context, i int, send func(*hop.Conn) (int, error)) error {
	sent := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-sent:
		case <-time.After(sendPatience):
			_ = s.stages[i].Close()
		}
	})
	_, err := send(s.stages[i])
	close(sent)
	stop()
	if err != nil {
		return s.end(i, err)
	}
	s.owed++
	return nil
}

// end ends the session because of err, which stage i gave, and returns the
// reason that turns out.
func (s *Session) end(i int, err error) error {
	s.fail(i, err)
	<-s.ctx.Done()
	return context.Cause(s.ctx)
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
		return result{}, s.end(last, &shard.StageError{
			Peer: s.cfg.Route[last].Peer, Code: shard.TimedOut,
			Text: fmt.Sprintf("no result within %v, though every peer of the route is connected", s.cfg.StepTimeout),
		})
	}
}

// expected says what a result must be.
type expected struct {
	pos    shard.Pos
	count  int
	logits int  // positions that want logits
	full   bool // all of them
}

// collect adds what r carries to out. A result that is not what was asked for
// ends the session.
func (s *Session) collect(out *Result, r result, want expected) error {
	if err := s.parse(out, r, want); err != nil {
		return s.end(len(s.stages)-1, err)
	}
	return nil
}

func (s *Session) parse(out *Result, r result, want expected) error {
	conn, m := s.stages[len(s.stages)-1], r.m
	rows := 0
	if want.full {
		rows = want.logits
	}
	switch {
	case shard.Epoch(m.GetEpoch()) != s.epoch || int64(m.GetPos()) != int64(want.pos) || int64(m.GetCount()) != int64(want.count):
		return conn.Invalid("a result of %d tokens at position %d, want %d at %d", m.GetCount(), m.GetPos(), want.count, want.pos)
	case len(m.GetDists()) != want.logits:
		return conn.Invalid("logits of %d positions, want %d", len(m.GetDists()), want.logits)
	case int64(m.GetRows()) != int64(rows) || len(r.payload) != 4*rows*s.vocab:
		return conn.Invalid("all logits of %d positions in %d bytes, want %d", m.GetRows(), len(r.payload), rows)
	}
	for _, dm := range m.GetDists() {
		d, err := hop.ParseDist(dm)
		if err != nil {
			return err
		}
		if d.Vocab != s.vocab {
			return conn.Invalid("logits of a vocabulary of %d, want %d", d.Vocab, s.vocab)
		}
		out.Dists = append(out.Dists, d)
	}
	out.Logits = append(out.Logits, s.floats(r.payload)...)
	return nil
}

// floats returns the rows of full logits in a payload of the right length.
func (s *Session) floats(payload []byte) [][]float32 {
	var out [][]float32
	for ; len(payload) > 0; payload = payload[4*s.vocab:] {
		row := make([]float32, s.vocab)
		for j := range row {
			row[j] = math.Float32frombits(binary.LittleEndian.Uint32(payload[4*j:]))
		}
		out = append(out, row)
	}
	return out
}

// More returns all logits of pos, which must be the last position of the last
// step.
func (s *Session) More(ctx context.Context, pos shard.Pos) ([]float32, error) {
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	if !s.gave || pos != s.held-1 {
		return nil, fmt.Errorf("more logits of position %d: the last stage keeps those of %d", pos, s.held-1)
	}
	last := len(s.stages) - 1
	m := &wirepb.More{Epoch: uint32(s.epoch), Pos: uint32(pos)}
	err := s.sendTo(ctx, last, func(c *hop.Conn) (int, error) { return c.Send(wire.KindMore, m, nil) })
	if err != nil {
		return nil, err
	}
	r, err := s.await(ctx)
	if err != nil {
		return nil, err
	}
	if len(r.payload) != 4*s.vocab {
		return nil, s.end(last, s.stages[last].Invalid("all logits of a position in %d bytes, want %d", len(r.payload), 4*s.vocab))
	}
	return s.floats(r.payload)[0], nil
}
