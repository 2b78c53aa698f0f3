package model

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

// benchModel returns a real model's file, or skips.
func benchModel(b *testing.B) string {
	dir := os.Getenv("SHARDNODE_MODELS")
	if dir == "" {
		b.Skip("SHARDNODE_MODELS does not name a folder with the real models")
	}
	return filepath.Join(dir, "smollm2-135m-instruct-q4_1.gguf")
}

func BenchmarkDecode(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			c := newChain(b, benchModel(b), how{threads: threads})
			prompt := ids(64)
			c.run(b, 0, prompt, 0)
			parts := []Part{{KV: c.kv[0], Tokens: []shard.Token{1}, Logits: 1}}
			i := 0
			for b.Loop() {
				parts[0].Pos = shard.Pos(64 + i%64)
				c.models[0].Forward(parts, discard{})
				i++
			}
			c.models[0].Rest()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tok/s")
		})
	}
}

func BenchmarkPrefill(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			c := newChain(b, benchModel(b), how{threads: threads})
			parts := []Part{{KV: c.kv[0], Tokens: ids(256), Logits: 1}}
			for b.Loop() {
				parts[0].Pos = 0
				c.models[0].Forward(parts, discard{})
				parts[0].Pos = 256
				c.models[0].Forward(parts, discard{})
			}
			c.models[0].Rest()
			b.ReportMetric(float64(b.N)*512/b.Elapsed().Seconds(), "tok/s")
		})
	}
}
