package generate_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/sample"
)

const petSchema = `{"type":"object","properties":{"name":{"type":"string","maxLength":12},"age":{"type":"integer","minimum":1,"maximum":20},
	"mood":{"enum":["happy","sad"]}},"required":["name","age","mood"],"additionalProperties":false}`

// TestAnswersAreOfTheForm lets the story model answer in JSON, which it has
// never seen, with the logits that a driver asks for, and with all of them.
func TestAnswersAreOfTheForm(t *testing.T) {
	text, open := storyNode(t)
	form, err := text.Form(generate.Constraint{Schema: petSchema})
	if err != nil {
		t.Fatal(err)
	}
	prompt := text.RawPrompt("Once upon a time")
	for seed := range uint64(6) {
		p := sample.Params{Seed: seed}
		if seed > 0 {
			p.Temperature = 0.5 + 0.3*float64(seed)
		}
		var ids [2][]shard.Token
		for i := range ids {
			p.TopLogprobs = i * 128 // more logits than the token needs
			sess := open(200)
			a, err := generate.NewTimeline(text, sess, 200).Run(t.Context(), generate.Request{Prompt: prompt, MaxTokens: 150, Sampling: p, Form: form}, func(generate.Token) error { return nil })
			sess.Close(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var pet struct {
				Name, Mood string
				Age        int
			}
			if err := json.Unmarshal([]byte(a.Text), &pet); err != nil || pet.Age < 1 || pet.Mood == "" || a.Finish != generate.Stopped {
				t.Errorf("seed %d: %v in %q, which ended by %s", seed, err, a.Text, a.Finish)
			}
			ids[i] = a.IDs
		}
		if !slices.Equal(ids[0], ids[1]) {
			t.Errorf("seed %d: tokens %v with few logits, %v with more", seed, ids[0], ids[1])
		}
	}
}

func TestFormsAreKept(t *testing.T) {
	text := storyText(t)
	a, err := text.Form(generate.Constraint{Grammar: `root ::= "a"`})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := text.Form(generate.Constraint{Grammar: `root ::= "a"`}); a != b {
		t.Error("the same grammar was made twice")
	}
	for i := range 40 {
		if _, err := text.Form(generate.Constraint{Grammar: `root ::= "b"{` + string(rune('1'+i%9)) + `} "c"{` + string(rune('1'+i/9)) + `}`}); err != nil {
			t.Fatal(err)
		}
	}
	if b, _ := text.Form(generate.Constraint{Grammar: `root ::= "a"`}); a == b {
		t.Error("a form of 40 grammars ago is still kept: the cache has no bound")
	}
	if _, err := text.Form(generate.Constraint{Grammar: "x", Schema: "{}"}); err == nil {
		t.Error("a grammar and a schema at once are taken")
	}
}
