package pipeline_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// secret is that of a driver.
var secret = hop.Secret{1, 2, 3}

// sharing opens a session that begins with tokens, as cfg has it otherwise.
func sharing(t *testing.T, cfg pipeline.Config, tokens []shard.Token) *pipeline.Session {
	t.Helper()
	cfg.Prefix = tokens
	s, err := pipeline.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// finish computes what s lacks of tokens and compares all logits from there on.
func finish(t *testing.T, s *pipeline.Session, tokens []shard.Token, want [][]float32) {
	t.Helper()
	at := int(s.Ready())
	res, err := s.Step(t.Context(), pipeline.Step{Pos: s.Ready(), Tokens: tokens[at:], All: true, Full: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range res.Logits {
		if !slices.Equal(got, want[at+i]) {
			t.Fatalf("a session that begins at %d: logits of position %d = %v, want %v", at, at+i, got, want[at+i])
		}
	}
}

func TestASecondSessionBeginsAtItsFirstNewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tokens := newRing(t, 1, 3, 2), toyTokens(150)
		cfg, want := r.config(), truth(t, tokens)
		cfg.Secret = secret
		first := sharing(t, cfg, tokens)
		if first.Ready() != 0 {
			t.Fatalf("the first session begins at %d, want 0", first.Ready())
		}
		finish(t, first, tokens, want)
		beside := sharing(t, cfg, tokens)
		if _, err := beside.More(t.Context(), beside.Ready()-1); err == nil {
			t.Error("More before the first step: no error, but nobody has the logits")
		}
		finish(t, beside, tokens, want)
		first.Close(t.Context())
		beside.Close(t.Context())
		after := sharing(t, cfg, tokens[:129])
		exact := sharing(t, cfg, tokens[:128]) // the last token must be computed
		for what, c := range map[string]struct {
			s    *pipeline.Session
			want shard.Pos
		}{"beside": {beside, 128}, "after": {after, 128}, "exact": {exact, 96}} {
			if c.s.Ready() != c.want {
				t.Errorf("%s: the session begins at %d, want %d", what, c.s.Ready(), c.want)
			}
		}
		finish(t, after, tokens[:129], want)
		finish(t, exact, tokens[:128], want)
		for i, e := range r.engines {
			if n := 150 + 22 + 1 + 32; e.computed != n {
				t.Errorf("stage %d computed %d positions, want %d", i, e.computed, n)
			}
		}
		after.Close(t.Context())
		exact.Close(t.Context())
	})
}

func TestAPrefixIsOnlyForThoseThatMayHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tokens := newRingBeside(t, 2, 2, 2), toyTokens(100)
		cfg, want := r.config(), truth(t, tokens)
		cfg.Secret = secret
		s := sharing(t, cfg, tokens)
		finish(t, s, tokens, want)
		s.Close(t.Context())
		for what, c := range map[string]struct {
			change func(c *pipeline.Config)
			want   shard.Pos
		}{
			"the same":       {func(*pipeline.Config) {}, 96},
			"another secret": {func(c *pipeline.Config) { c.Secret[0]++ }, 0},
			"no secret":      {func(c *pipeline.Config) { c.Secret = hop.Secret{} }, 0},
			"another driver": {func(c *pipeline.Config) { c.Dial = r.dial(4) }, 0},
		} {
			cfg := cfg
			c.change(&cfg)
			s := sharing(t, cfg, tokens)
			if s.Ready() != c.want {
				t.Errorf("%s: the session begins at %d, want %d", what, s.Ready(), c.want)
			}
			finish(t, s, tokens, want)
			s.Close(t.Context())
		}
	})
}

func TestWhatAWrongPeerMadeReachesNobodyWhoDoesNotPassIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tokens := newRingBeside(t, 2, 2, 2), toyTokens(100) // a fourth peer has the layers of the first
		r.engines[3].wrong = true
		good, want := r.config(), truth(t, tokens)
		good.Secret = secret
		bad := good
		bad.Route = slices.Clone(good.Route)
		bad.Route[0].Neighbour = hop.Neighbour{Peer: r.ID(4), Name: "peer4"}
		spoilt := sharing(t, bad, tokens)
		if _, err := spoilt.Step(t.Context(), pipeline.Step{Tokens: tokens}); err != nil {
			t.Fatal(err)
		}
		spoilt.Close(t.Context())
		for i, at := range []shard.Pos{0, 96} { // now the first peer has something too
			s := sharing(t, good, tokens)
			if s.Ready() != at {
				t.Errorf("session %d without the wrong peer begins at %d, want %d", i, s.Ready(), at)
			}
			finish(t, s, tokens, want)
			s.Close(t.Context())
		}
	})
}

func TestTheStageThatHasLeastSaysWhereASessionBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tokens := newRing(t, 1, 3, 2), toyTokens(150)
		cfg, want := r.config(), truth(t, tokens)
		cfg.Secret = secret
		s := sharing(t, cfg, tokens)
		finish(t, s, tokens, want)
		s.Close(t.Context())
		for i, e := range r.engines { // memory was wanted
			for key, seen := range e.prefixes {
				if len(seen[0]) > 32*(4-i) {
					delete(e.prefixes, key)
				}
			}
		}
		s = sharing(t, cfg, tokens)
		if s.Ready() != 64 {
			t.Errorf("the session begins at %d, want 64", s.Ready())
		}
		finish(t, s, tokens, want)
		s.Close(t.Context())
	})
}

func TestAStageThatClaimsMoreThanItWasToldOfIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 2, 2, 2)
		r.engines[1].claim = 1
		cfg := r.config()
		_, err := pipeline.Open(t.Context(), cfg)
		r.wantBlame(err, 1, shard.Invalid)
		cfg.Secret, cfg.Prefix = secret, toyTokens(60)
		r.engines[1].claim = 33
		_, err = pipeline.Open(t.Context(), cfg)
		r.wantBlame(err, 1, shard.Invalid)
		if _, err := lie(t, &wirepb.Opened{Vocab: toyVocab, Ready: 1 << 31}, func(*hop.Conn, wire.Frame) {}); shard.CodeOf(err) != shard.Invalid {
			t.Errorf("a stage that has everything: %v, want invalid", err)
		}
	})
}

// TestSessionsThatBeginAlikeGetTheBitsOfFreshOnes has sessions go back and
// forth over real layers, in different splits, on one secret.
func TestSessionsThatBeginAlikeGetTheBitsOfFreshOnes(t *testing.T) {
	file := storyFile(t)
	for _, sizes := range [][]int{{6}, {2, 4}, {1, 2, 3}} {
		c, rng := newCrew(t, file, split(sizes...)), rand.New(rand.NewPCG(1, uint64(len(sizes))))
		shared := 0
		for round := range 5 {
			tokens := storyTokens(rng, 120)
			cfg := c.config()
			want := c.all(sharing(t, cfg, nil), tokens)
			cfg.Secret = secret
			s := sharing(t, cfg, tokens)
			at := int(s.Ready())
			shared += at
			got := c.all(s, tokens)
			for i := range got {
				if !slices.Equal(got[i], want[at+i]) {
					t.Fatalf("split %v, round %d, begun at %d: other logits of position %d", sizes, round, at, at+i)
				}
			}
		}
		if shared < 100 {
			t.Errorf("split %v: %d positions were shared in all, want many", sizes, shared)
		}
	}
}

// storyTokens returns n tokens that begin as those of other calls do.
func storyTokens(rng *rand.Rand, n int) []shard.Token {
	out := make([]shard.Token, n)
	keep := rng.IntN(n)
	for i := range out {
		out[i] = shard.Token(5 + i*37%400)
		if i >= keep {
			out[i] = shard.Token(5 + rng.IntN(400))
		}
	}
	return out
}

// config returns how sessions with the crew are opened.
func (c *crew) config() pipeline.Config {
	return pipeline.Config{
		Self: shard.PeerID{2}, Dial: c.dialFrom(shard.PeerID{2}), Route: c.route, MaxTokens: 128, ChunkTokens: 16,
	}
}

// all returns the logits of tokens from where s begins, computed in two steps
// between which it goes back, and closes s.
func (c *crew) all(s *pipeline.Session, tokens []shard.Token) [][]float32 {
	c.t.Helper()
	defer s.Close(c.t.Context())
	at := s.Ready()
	if _, err := s.Step(c.t.Context(), pipeline.Step{Pos: at, Tokens: slices.Repeat([]shard.Token{9}, len(tokens)-int(at))}); err != nil {
		c.t.Fatal(err)
	}
	res, err := s.Step(c.t.Context(), pipeline.Step{Pos: at, Tokens: tokens[at:], All: true, Full: true})
	if err != nil {
		c.t.Fatal(err)
	}
	return res.Logits
}
