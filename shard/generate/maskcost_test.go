package generate_test

import (
	"os"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/tokenizer"
	"github.com/shardnode/shardnode/shard/weights"
)

// BenchmarkMasks makes the masks of an answer in JSON over a real vocabulary:
// SHARDNODE_TEST_MODEL names a GGUF file.
func BenchmarkMasks(b *testing.B) {
	path := os.Getenv("SHARDNODE_TEST_MODEL")
	if path == "" {
		b.Skip("SHARDNODE_TEST_MODEL names no model")
	}
	f, err := weights.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	text, err := generate.ReadText(f.Meta())
	if err != nil {
		b.Fatal(err)
	}
	const schema = `{"type":"object","properties":{"name":{"type":"string"},"summary":{"type":"string","maxLength":200},"tags":{"type":"array","items":{"type":"string"}},
		"kind":{"enum":["a","b"]},"n":{"type":"integer"}},"required":["name","summary","tags","kind","n"],"additionalProperties":false}`
	answer := `{"name": "The brown fox", "summary": "` + strings.Repeat("A fox that jumps over dogs. ", 7) + `", "tags": ["quick", "brown and lazy"], "kind": "a", "n": 12}`
	ids := text.Tokenizer.Encode(answer, tokenizer.PlainText)
	for _, name := range []string{"first", "again"} {
		b.Run(name, func(b *testing.B) {
			if _, err := text.Form(generate.Constraint{Grammar: `root ::= "a"`}); err != nil { // sorts the vocabulary
				b.Fatal(err)
			}
			b.ResetTimer()
			for n := 0; b.Loop(); n++ {
				c := generate.Constraint{Schema: schema}
				if name == "first" {
					c.Schema += strings.Repeat(" ", n%1000) // another form
				}
				form, err := text.Form(c)
				if err != nil {
					b.Fatal(err)
				}
				m := form.Start()
				for i, id := range ids {
					if _, err := m.Mask(); err != nil {
						b.Fatal(err)
					}
					if err := m.Accept(id); err != nil {
						b.Skipf("the tokenizer cuts the answer otherwise: token %d of %v", i, ids)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(ids)), "us/token")
		})
	}
}
