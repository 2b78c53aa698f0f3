package pipeline

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
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
// stays usable; when a stage is lost, so it does if the route can be repaired.
func (s *Session) Step(ctx context.Context, st Step) (Result, error) {
	if err := s.take(ctx); err != nil {
		return Result{}, err
	}
	defer s.give()
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
	at, done := 0, 0
	for done < len(st.Tokens) {
		if at < len(st.Tokens) && len(s.sent) < hop.MaxInFlight {
			n := min(chunk, len(st.Tokens)-at)
			if err := s.send(ctx, st, at, n); err != nil {
				return out, err
			}
			at += n
			continue
		}
		n := min(chunk, len(st.Tokens)-done)
		if err := s.collect(ctx, &out, expected{
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
	for len(s.sent) > 0 {
		if _, err := s.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// send sends n tokens of st from index lo on to the first stage.
func (s *Session) send(ctx context.Context, st Step, lo, n int) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	pos, tokens := st.Pos+shard.Pos(lo), st.Tokens[lo:lo+n]
	m := &wirepb.Step{Pos: uint32(pos), Count: uint32(n)}
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
	m.Chain = s.prefix.put(pos, tokens)
	if pos < s.held {
		s.mover.spoil() // what a stage to come was filled with
	}
	s.mu.Lock() // the mover reads
	s.history = append(s.history[:pos], tokens...)
	s.held, s.gave = pos+shard.Pos(n), true
	s.mu.Unlock()
	return s.ask(ctx, sent{step: m, tokens: s.history[pos:s.held:s.held]})
}

// ask sends a frame that the last stage answers. A stage that can't be sent to
// is lost: that is not an error if the route can be repaired, which await does.
func (s *Session) ask(ctx context.Context, f sent) error {
	if len(s.sent) == 0 {
		s.pace.began = time.Now()
	}
	s.sent = append(s.sent, f)
	if !s.whole {
		return nil // it is sent when the route is there
	}
	return s.sendFrame(ctx, f)
}

// sendFrame sends f on the route as it is now.
func (s *Session) sendFrame(ctx context.Context, f sent) error {
	legs, epoch := s.legsNow(), s.epoch.Load()
	if f.step == nil {
		m := &wirepb.More{Epoch: epoch, Pos: uint32(s.held - 1)}
		return s.sendTo(ctx, legs[len(legs)-1], func(c *hop.Conn) (int, error) { return c.Send(wire.KindMore, m, nil) })
	}
	f.step.Epoch, f.step.SentUnixUs = epoch, time.Now().UnixMicro()
	payload := tokenBytes(f.tokens)
	return s.sendTo(ctx, legs[0], func(c *hop.Conn) (int, error) { return c.Send(wire.KindStep, f.step, payload) })
}

// tokenBytes returns tokens as they are sent.
func tokenBytes(tokens []shard.Token) []byte {
	out := make([]byte, 0, 4*len(tokens))
	for _, t := range tokens {
		out = binary.LittleEndian.AppendUint32(out, uint32(t))
	}
	return out
}

// sendPatience is how long a send may block after its caller has given up.
// Stages queue hop.MaxInFlight steps, so only one that is stuck, or a network
// that is, blocks a send at all.
const sendPatience = time.Second

// sendTo sends a frame to stage l. When ctx ends, a send that blocks has some
// time left; then the stream has half a frame, and the stage is lost.
func (s *Session) sendTo(ctx context.Context, l *leg, send func(*hop.Conn) (int, error)) error {
	sent := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-sent:
		case <-time.After(sendPatience):
			_ = l.conn.Close()
		}
	})
	_, err := send(l.conn)
	close(sent)
	stop()
	if err != nil {
		return s.broke(l, err)
	}
	return nil
}

// broke says that err, which l gave, breaks the route. It returns why the
// session has ended; nil if it can be repaired.
func (s *Session) broke(l *leg, err error) error {
	s.fault(l, err)
	select {
	case <-s.blame.state():
	case <-s.ctx.Done():
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

// await returns the next result of the last stage. It repairs the route when a
// stage is lost.
func (s *Session) await(ctx context.Context) (result, error) {
	timeout := time.NewTimer(s.patience())
	defer timeout.Stop()
	for {
		if !s.whole {
			if err := s.heal(ctx); err != nil {
				return result{}, err
			}
		}
		select {
		case r := <-s.results:
			if r.m.GetEpoch() < s.epoch.Load() {
				continue // it was asked for again
			}
			s.answered(r)
			return r, nil
		case <-s.blame.state():
			if err := s.heal(ctx); err != nil {
				return result{}, err
			}
		case f := <-s.mover.tasks:
			f()
		case <-s.filled: // a sign of life
		case <-s.ctx.Done():
			return result{}, context.Cause(s.ctx)
		case <-ctx.Done():
			return result{}, context.Cause(ctx)
		case <-timeout.C:
			if err := s.late(ctx); err != nil {
				return result{}, err
			}
		}
		timeout.Reset(s.patience())
	}
}

// answered notes that r answers the oldest frame that has no answer.
func (s *Session) answered(r result) {
	if len(s.sent) == 0 {
		return // collect refuses it
	}
	tokens := max(1, len(s.sent[0].tokens))
	if m := s.sent[0].step; m != nil {
		s.mu.Lock()
		s.done = shard.Pos(m.GetPos() + m.GetCount())
		s.mu.Unlock()
	}
	s.sent = slices.Delete(s.sent, 0, 1)
	s.pace.add(tokens, r.at)
	s.stats.result(s.legsNow(), r)
	if tokens == 1 {
		s.stats.observe(s.legsNow(), r, s.cfg.Observed)
	}
	s.healed(r.at)
}

// expected says what a result must be.
type expected struct {
	pos    shard.Pos
	count  int
	logits int  // positions that want logits
	full   bool // all of them
	bare   bool // and no summary
}

// collect waits for a result and adds what it carries to out. One that is not
// what was asked for is the fault of the last stage, and is asked for again of
// the one that takes its place.
func (s *Session) collect(ctx context.Context, out *Result, want expected) error {
	for {
		var first sent
		if len(s.sent) > 0 {
			first = s.sent[0]
		}
		r, err := s.await(ctx)
		if err != nil {
			return err
		}
		before := *out
		if err = s.parse(out, r, want); err == nil {
			return nil
		}
		*out = before
		s.sent = slices.Insert(s.sent, 0, first)
		legs := s.legsNow()
		if err := s.broke(legs[len(legs)-1], err); err != nil {
			return err
		}
	}
}

func (s *Session) parse(out *Result, r result, want expected) error {
	legs := s.legsNow()
	conn, m := legs[len(legs)-1].conn, r.m
	rows, summaries := 0, want.logits
	if want.full {
		rows = want.logits
	}
	if want.bare {
		summaries = 0
	}
	switch {
	case m.GetEpoch() != s.epoch.Load() || int64(m.GetPos()) != int64(want.pos) || int64(m.GetCount()) != int64(want.count):
		return conn.Invalid("a result of %d tokens at position %d, want %d at %d", m.GetCount(), m.GetPos(), want.count, want.pos)
	case len(m.GetDists()) != summaries:
		return conn.Invalid("logits of %d positions, want %d", len(m.GetDists()), want.logits)
	case int64(m.GetRows()) != int64(rows) || len(r.payload) != 4*rows*s.vocab:
		return conn.Invalid("all logits of %d positions in %d bytes, want %d", m.GetRows(), len(r.payload), rows)
	}
	for _, dm := range m.GetDists() {
		d, err := hop.ParseDist(dm)
		if err != nil {
			return conn.Invalid("%v", err)
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
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	defer s.give()
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	if !s.gave || pos != s.held-1 {
		return nil, fmt.Errorf("more logits of position %d: the last stage keeps those of %d", pos, s.held-1)
	}
	if err := s.ask(ctx, sent{}); err != nil {
		return nil, err
	}
	var out Result
	if err := s.collect(ctx, &out, expected{pos: pos, count: 1, logits: 1, full: true, bare: true}); err != nil {
		return nil, err
	}
	return out.Logits[0], nil
}
