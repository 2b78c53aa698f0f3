package model

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/tensorio/par"
)

// BenchmarkAttention is the attention of all 16 layers: of one token at several
// positions, and of chunks of a prompt. A token reads 32 KiB for each position
// at 16 bits. The best layer counts for all: what else the machine does only
// adds to a time.
func BenchmarkAttention(b *testing.B) {
	for _, p := range []kvcache.Precision{kvcache.Float16, kvcache.Int8} {
		for _, threads := range []int{1, 2} {
			for _, at := range []struct{ pos, rows int }{{0, 1}, {1023, 1}, {8191, 1}, {0, 512}, {7168, 512}} {
				b.Run(fmt.Sprintf("%v/threads=%d/pos=%d/rows=%d", p, threads, at.pos, at.rows), func(b *testing.B) {
					m := attendOnly(b, llama1B, threads)
					kv := m.session(b, p, 0, at.pos+at.rows)
					m.rowsAt(kv, at.pos, at.rows)
					l, best := &layer{}, time.Hour
					for b.Loop() {
						m.s.attend.begin(m, m.s.of)
						for i := range m.cfg.Layers {
							start := time.Now()
							m.s.attend.run(l, i)
							best = min(best, time.Since(start))
						}
					}
					m.Rest()
					b.ReportMetric(float64(best.Microseconds())*float64(m.cfg.Layers)/1e3/float64(at.rows), "best-ms/tok")
				})
			}
		}
	}
}

// BenchmarkDecodeDepth is a token of a whole model of the shape of Llama-3.2-1B
// (SHARDNODE_MODELS/1b-q4_0.gguf), by turns at the start of a session and after
// 8191 positions, and how much longer the second takes.
func BenchmarkDecodeDepth(b *testing.B) {
	dir := os.Getenv("SHARDNODE_MODELS")
	if dir == "" {
		b.Skip("SHARDNODE_MODELS does not name a folder with models")
	}
	f, cfg := openFile(b, filepath.Join(dir, "1b-q4_0.gguf"))
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			pool := par.New(threads)
			defer pool.Close()
			m, err := Load(b.Context(), cfg, f, shard.Span{End: shard.Layer(cfg.Layers)}, Options{Pool: pool})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			best := [2]time.Duration{time.Hour, time.Hour}
			short := []Part{{KV: m.session(b, kvcache.Float16, 0, 1), Tokens: []shard.Token{1}, Logits: 1}}
			long := []Part{{KV: m.session(b, kvcache.Float16, 0, 8192), Pos: 8191, Tokens: []shard.Token{1}, Logits: 1}}
			for b.Loop() {
				for i, parts := range [][]Part{short, long} {
					start := time.Now()
					m.Forward(parts, discard{})
					best[i] = min(best[i], time.Since(start))
				}
			}
			m.Rest()
			b.ReportMetric(float64(best[0].Microseconds())/1e3, "ms-at-0")
			b.ReportMetric(float64(best[1].Microseconds())/1e3, "ms-at-8k")
			b.ReportMetric(float64(best[1])/float64(best[0]), "x")
		})
	}
}
