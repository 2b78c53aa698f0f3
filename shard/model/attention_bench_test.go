package model

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard/kvcache"
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
