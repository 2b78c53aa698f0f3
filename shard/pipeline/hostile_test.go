package pipeline_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// liar is the only stage of a route, and answers steps as it likes.
var liar = pipeline.Stage{Neighbour: hop.Neighbour{Peer: shard.PeerID{9}, Name: "liar"}, Span: shard.Span{End: toyLayers}}

// lie opens a session with a stage that says opened, then answers each frame
// with the frames of answer.
func lie(t *testing.T, opened *wirepb.Opened, answer func(c *hop.Conn, got wire.Frame)) (*pipeline.Session, error) {
	t.Helper()
	return pipeline.Open(t.Context(), pipeline.Config{
		Self: shard.PeerID{8}, Route: []pipeline.Stage{liar}, MaxTokens: 100, ChunkTokens: 10,
		Dial: func(context.Context, hop.Neighbour) (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			go func() {
				c := hop.NewConn(theirs, shard.PeerID{8}, 0)
				defer c.Close()
				_, _ = c.Recv()                             // the open
				_, _ = c.Send(wire.KindOpened, opened, nil) // the driver may refuse it
				for {
					f, err := c.Recv()
					if err != nil {
						return
					}
					answer(c, f)
				}
			}()
			return ours, nil
		},
	})
}

// dist returns a summary that is right.
func dist() *wirepb.Dist {
	return hop.DistMessage(sample.Summarize(make([]float32, toyVocab), sample.Request{K: 2}))
}

func TestResultsThatWereNotAskedForEndTheSession(t *testing.T) {
	good := func() *wirepb.Result { return &wirepb.Result{Epoch: 1, Count: 5, Dists: []*wirepb.Dist{dist()}} }
	for what, c := range map[string]struct {
		change  func(m *wirepb.Result)
		payload []byte
		times   int
	}{
		"other count":     {change: func(m *wirepb.Result) { m.Count = 4 }},
		"huge count":      {change: func(m *wirepb.Result) { m.Count = 1 << 31 }},
		"other position":  {change: func(m *wirepb.Result) { m.Pos = 1 }},
		"other epoch":     {change: func(m *wirepb.Result) { m.Epoch = 2 }},
		"no logits":       {change: func(m *wirepb.Result) { m.Dists = nil }},
		"too many logits": {change: func(m *wirepb.Result) { m.Dists = append(m.Dists, dist()) }},
		"other words":     {change: func(m *wirepb.Result) { m.Dists[0].Vocab++ }},
		"uneven":          {change: func(m *wirepb.Result) { m.Dists[0].Ids = m.Dists[0].Ids[1:] }},
		"uneven named":    {change: func(m *wirepb.Result) { m.Dists[0].NamedIds = []uint32{1} }},
		"rows":            {change: func(m *wirepb.Result) { m.Rows = 1 }},
		"payload":         {change: func(*wirepb.Result) {}, payload: make([]byte, 4*toyVocab)},
		"rows unasked":    {change: func(m *wirepb.Result) { m.Rows = 1 }, payload: make([]byte, 4*toyVocab)},
		"many results":    {change: func(*wirepb.Result) {}, times: 30},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := lie(t, &wirepb.Opened{Vocab: toyVocab}, func(conn *hop.Conn, _ wire.Frame) {
					m := good()
					c.change(m)
					for range max(1, c.times) {
						_, _ = conn.Send(wire.KindResult, m, c.payload)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				_, err = s.Step(t.Context(), pipeline.Step{Tokens: toyTokens(5)})
				if c.times > 0 && err == nil {
					_, _ = s.Step(t.Context(), pipeline.Step{Tokens: toyTokens(5)}) // the error may come with this step or the next
					time.Sleep(time.Second)
					_, err = s.Step(t.Context(), pipeline.Step{Tokens: toyTokens(5)})
				}
				if shard.CodeOf(err) != shard.Invalid {
					t.Errorf("error %v, want invalid", err)
				}
				s.Close(t.Context())
			})
		})
	}
}

func TestFramesThatNoStageSendsEndTheSession(t *testing.T) {
	for what, send := range map[string]func(c *hop.Conn){
		"a step": func(c *hop.Conn) { _, _ = c.Send(wire.KindStep, &wirepb.Step{}, nil) },
		"opened": func(c *hop.Conn) { _, _ = c.Send(wire.KindOpened, &wirepb.Opened{}, nil) },
		"closed": func(c *hop.Conn) { _, _ = c.Send(wire.KindClosed, &wirepb.Closed{}, nil) },
		"a kind": func(c *hop.Conn) { _, _ = c.Send(77, &wirepb.Closed{}, nil) },
		"an error": func(c *hop.Conn) {
			_, _ = c.Send(wire.KindError, &wirepb.Error{Code: 1, Peer: make([]byte, 20), Text: string(make([]byte, 50000))}, nil)
		},
		"an end": func(c *hop.Conn) { _ = c.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := lie(t, &wirepb.Opened{Vocab: toyVocab}, func(c *hop.Conn, _ wire.Frame) { send(c) })
				if err != nil {
					t.Fatal(err)
				}
				_, err = s.Step(t.Context(), pipeline.Step{Tokens: toyTokens(5)})
				if code := shard.CodeOf(err); code != shard.Invalid && code != shard.Unreachable || len(err.Error()) > 5000 {
					t.Errorf("error %v, want invalid or unreachable", err)
				}
				s.Close(t.Context())
			})
		})
	}
}

func TestAStageThatReadsNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		s, err := lie(t, &wirepb.Opened{Vocab: toyVocab}, func(*hop.Conn, wire.Frame) { <-block })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := s.Step(ctx, pipeline.Step{Tokens: toyTokens(50)}); err == nil {
			t.Error("the step succeeded")
		}
		s.Close(t.Context())
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("giving up took %v, want 5 s at most", took)
		}
		close(block)
	})
}

func TestAVocabularyThatCannotBeIsRefused(t *testing.T) {
	for _, vocab := range []uint32{0, 1 << 31} {
		synctest.Test(t, func(t *testing.T) {
			if _, err := lie(t, &wirepb.Opened{Vocab: vocab}, func(*hop.Conn, wire.Frame) {}); shard.CodeOf(err) != shard.Invalid {
				t.Errorf("a vocabulary of %d: %v, want invalid", vocab, err)
			}
		})
	}
}
