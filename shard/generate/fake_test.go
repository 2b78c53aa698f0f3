package generate_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/story"
)

// storyText returns the text side of the embedded model.
func storyText(tb testing.TB) *generate.Text {
	tb.Helper()
	f, err := weights.OpenBytes(story.Name, story.Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	text, err := generate.ReadText(f.Meta())
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// fakeSession is a session whose logits are a function of the history.
type fakeSession struct {
	vocab  int
	logits func(history []shard.Token) []float32
	seen   []shard.Token
	steps  []int // tokens of each step
	more   int
	fail   error // of the next step
}

func (f *fakeSession) Step(ctx context.Context, st pipeline.Step) (pipeline.Result, error) {
	if err := ctx.Err(); err != nil {
		return pipeline.Result{}, context.Cause(ctx)
	}
	if f.fail != nil {
		return pipeline.Result{}, f.fail
	}
	if int(st.Pos) > len(f.seen) {
		return pipeline.Result{}, fmt.Errorf("step at position %d, the session has %d", st.Pos, len(f.seen))
	}
	f.seen = append(f.seen[:st.Pos], st.Tokens...)
	f.steps = append(f.steps, len(st.Tokens))
	logits := f.logits(f.seen)
	if st.Full {
		return pipeline.Result{Logits: [][]float32{logits}}, nil
	}
	return pipeline.Result{Dists: []sample.Dist{sample.Summarize(logits, st.Summary)}}, nil
}

func (f *fakeSession) More(_ context.Context, pos shard.Pos) ([]float32, error) {
	if int(pos) != len(f.seen)-1 {
		return nil, fmt.Errorf("more of position %d, the last is %d", pos, len(f.seen)-1)
	}
	f.more++
	return f.logits(f.seen), nil
}

// saying returns a session whose model answers a prompt of that many tokens
// with the given ones.
func saying(text *generate.Text, prompt int, answer []shard.Token) *fakeSession {
	vocab := text.Tokenizer.Len()
	return &fakeSession{vocab: vocab, logits: func(history []shard.Token) []float32 {
		l := make([]float32, vocab)
		if i := len(history) - prompt; i >= 0 && i < len(answer) {
			l[answer[i]] = 10
		}
		return l
	}}
}

// flat returns a session whose logits are nearly alike, so that draws fall
// everywhere.
func flat(vocab int) *fakeSession {
	return &fakeSession{vocab: vocab, logits: func(history []shard.Token) []float32 {
		l := make([]float32, vocab)
		h := uint32(2166136261)
		for _, t := range history {
			h = (h ^ uint32(t)) * 16777619
		}
		for i := range l {
			h ^= h << 13
			h ^= h >> 17
			h ^= h << 5
			l[i] = float32(h) / math.MaxUint32
		}
		return l
	}}
}

// runAll answers req and returns the answer and the texts as they came.
func runAll(t *testing.T, tl *generate.Timeline, req generate.Request) (generate.Answer, []string) {
	t.Helper()
	var texts []string
	ids := []shard.Token{}
	a, err := tl.Run(t.Context(), req, func(tok generate.Token) error {
		texts = append(texts, tok.Text)
		if tok.ID >= 0 {
			ids = append(ids, tok.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ids, a.IDs) {
		t.Errorf("streamed ids %v, answered %v", ids, a.IDs)
	}
	return a, texts
}
