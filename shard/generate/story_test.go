package generate_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/story"
	"github.com/shardnode/shardnode/tensorio/par"
)

// storyNode loads the embedded model and returns what opens sessions of room
// positions on it.
func storyNode(t *testing.T) (text *generate.Text, open func(room int, prompt ...shard.Token) *pipeline.Session) {
	t.Helper()
	f, err := weights.OpenBytes(story.Name, story.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := model.ReadConfig(f.Meta())
	if err != nil {
		t.Fatal(err)
	}
	pool := par.New(2)
	t.Cleanup(pool.Close)
	span := shard.Span{End: shard.Layer(cfg.Layers)}
	m, err := model.Load(t.Context(), cfg, f, span, model.Options{Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	e, err := engine.New(engine.Config{Model: m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	n, err := node.New(node.Config{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	n.Hold(&node.Held{Span: span, Layers: cfg.Layers, Dim: cfg.Dim, Vocab: cfg.Vocab, Engine: e})
	return storyText(t), func(room int, prompt ...shard.Token) *pipeline.Session {
		sess, err := pipeline.Open(t.Context(), pipeline.Config{
			Prefix: prompt, Secret: hop.Secret{1}, Name: "test", MaxTokens: room, Route: []pipeline.Stage{{Neighbour: hop.Neighbour{Name: "test"}, Span: span}},
			Dial: func(context.Context, hop.Neighbour) (io.ReadWriteCloser, error) { return n.Local(), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sess.Close(context.Background()) })
		return sess
	}
}

func TestStoryModelTellsItsGoldenStory(t *testing.T) {
	b, err := os.ReadFile("../../../shared/kit/storymodel/golden.json")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no shared/kit/storymodel beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			IDs []shard.Token `json:"ids"`
			F32 struct {
				Greedy  []shard.Token `json:"greedy"`
				Margins []float64     `json:"margins"`
			} `json:"f32"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	text, open := storyNode(t)
	compared := 0
	for i, c := range golden.Cases {
		n := 0 // up to the first near tie, which rounding may decide
		for n < len(c.F32.Greedy) && c.F32.Margins[n] > 0.3 {
			n++
		}
		sess := open(256)
		a, _ := runAll(t, generate.NewTimeline(text, sess, 256),
			generate.Request{Prompt: c.IDs, MaxTokens: n, IgnoreEnd: true})
		sess.Close(t.Context())
		if !slices.Equal(a.IDs, c.F32.Greedy[:n]) {
			t.Errorf("case %d: %v, want %v", i, a.IDs, c.F32.Greedy[:n])
		}
		compared += n
	}
	if compared == 0 {
		t.Error("no token was compared")
	}
}

func TestStoryModelKeepsAConversation(t *testing.T) {
	text, open := storyNode(t)
	params := sample.Params{Temperature: 0.8, TopK: 40, Seed: 11}
	kept := generate.NewTimeline(text, open(256), 256)
	var messages []chat.Message
	before := 0 // tokens of the prompt of the turn before
	for turn, say := range []string{"Tell me a story about a fox.", "Tell me more.", "The end?"} {
		messages = append(messages, chat.Message{Role: "user", Content: say})
		ids, err := text.ChatPrompt(generate.Chat{Messages: chat.FromMessages(messages)})
		if err != nil {
			t.Fatal(err)
		}
		req := generate.Request{Prompt: ids, MaxTokens: 30, Sampling: params}
		got, parts := runAll(t, kept, req)
		sess := open(256)
		fresh, _ := runAll(t, generate.NewTimeline(text, sess, 256), req)
		sess.Close(t.Context())
		if !slices.Equal(got.IDs, fresh.IDs) || got.Text != fresh.Text {
			t.Errorf("turn %d: %q in the conversation, %q in a session of its own", turn, got.Text, fresh.Text)
		}
		if n := got.Times.PromptTokens; n > len(ids)-before {
			t.Errorf("turn %d computes %d of %d tokens, though %d were there", turn, n, len(ids), before)
		}
		shares := open(256, ids...)
		tl := generate.NewTimeline(text, shares, 256)
		tl.Holds(ids[:shares.Ready()])
		shared, _ := runAll(t, tl, req)
		shares.Close(t.Context())
		if !slices.Equal(shared.IDs, fresh.IDs) || turn > 0 && shared.Times.CachedTokens == 0 ||
			shared.Times.CachedTokens+shared.Times.PromptTokens != len(ids) {
			t.Errorf("turn %d: %v with %+v on pages of other sessions, want %v", turn, shared.IDs, shared.Times, fresh.IDs)
		}
		before = len(ids)
		if got.Text != strings.Join(parts, "") || got.Text == "" {
			t.Errorf("turn %d: text %q, streamed %q", turn, got.Text, strings.Join(parts, ""))
		}
		messages = append(messages, chat.Message{Role: "assistant", Content: got.Text})
	}
}
