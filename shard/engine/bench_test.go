package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/tensorio/par"
)

// realEngine runs an engine for a whole real model, or skips.
func realEngine(b *testing.B, threads int) *Engine {
	dir := os.Getenv("SHARDNODE_MODELS")
	if dir == "" {
		b.Skip("SHARDNODE_MODELS does not name a folder with the real models")
	}
	f, err := weights.Open(filepath.Join(dir, "smollm2-135m-instruct-q4_1.gguf"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	cfg, err := model.ReadConfig(f.Meta())
	if err != nil {
		b.Fatal(err)
	}
	pool := par.New(threads)
	b.Cleanup(pool.Close)
	m, err := model.Load(context.Background(), cfg, f, shard.Span{End: shard.Layer(cfg.Layers)}, model.Options{Pool: pool})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Close)
	e, err := New(Config{Model: m})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(e.Close)
	return e
}

// BenchmarkSessions decodes with several sessions at once, as a driver does:
// each waits for its token before it asks for the next.
func BenchmarkSessions(b *testing.B) {
	for _, sessions := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			e := realEngine(b, 2)
			done := make(chan error, sessions)
			each := b.N/sessions + 1
			b.ResetTimer()
			for range sessions {
				id := open(b, e, 256)
				go func() {
					var err error
					for i := 0; i < each && err == nil; i++ {
						_, err = e.Step(context.Background(), Step{
							Session: id, Pos: shard.Pos(i % 200), Tokens: []shard.Token{shard.Token(i)},
							Want: LogitsLast, Summary: sample.Request{K: 64, Temperature: 1},
						})
					}
					done <- err
				}()
			}
			for range sessions {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(each*sessions)/b.Elapsed().Seconds(), "tok/s")
			s := e.Stats()
			b.ReportMetric(float64(s.Rows)/float64(s.Batches), "rows/batch")
			b.ReportMetric(float64(s.Busy.Microseconds())/float64(s.Batches), "us/batch")
		})
	}
}

func BenchmarkPromptStep(b *testing.B) {
	e := realEngine(b, 2)
	id := open(b, e, 600)
	for b.Loop() {
		step(b, e, Step{Session: id, Tokens: make([]shard.Token, 512), Want: LogitsLast})
	}
	b.ReportMetric(float64(b.N)*512/b.Elapsed().Seconds(), "tok/s")
}
