package par

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// count is a task that counts how often each tile is done and whether two
// calls of one worker overlap.
type count struct {
	tiles []atomic.Int32
	busy  []atomic.Int32
	yield int // up to so many Gosched in a tile
	bad   atomic.Int32
}

func (c *count) Tile(worker, tile int) {
	if c.busy[worker].Add(1) != 1 {
		c.bad.Add(1)
	}
	if c.yield > 0 {
		for range (tile*7 + worker) % c.yield {
			runtime.Gosched()
		}
	}
	c.tiles[tile].Add(1)
	c.busy[worker].Add(-1)
}

func newCount(threads, tiles int) *count {
	return &count{tiles: make([]atomic.Int32, tiles), busy: make([]atomic.Int32, threads)}
}

func (c *count) check(t *testing.T) {
	t.Helper()
	for i := range c.tiles {
		if n := c.tiles[i].Load(); n != 1 {
			t.Fatalf("tile %d of %d was done %d times, want once", i, len(c.tiles), n)
		}
	}
	if n := c.bad.Load(); n != 0 {
		t.Fatalf("%d calls overlapped on one worker, want none", n)
	}
}

func TestEveryTileIsDoneOnce(t *testing.T) {
	for _, threads := range []int{-1, 0, 1, 2, 3, 8} {
		p := New(threads)
		for tiles := range 40 {
			c := newCount(p.Threads(), tiles)
			p.Run(tiles, c)
			c.check(t)
		}
		p.Close()
	}
}

func TestRandomRunsWithDelayedWorkers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, threads := range []int{2, 3, 7} {
		p := New(threads)
		for range 2000 {
			c := newCount(threads, rng.IntN(20))
			c.yield = rng.IntN(5)
			p.Run(len(c.tiles), c)
			c.check(t)
			switch rng.IntN(4) {
			case 0:
				p.Rest()
			case 1:
				for range rng.IntN(50) {
					runtime.Gosched()
				}
			}
		}
		p.Close()
		p.Close()
	}
}

func TestFewerProcessorsThanThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := New(6)
	defer p.Close()
	for range 500 {
		c := newCount(6, 13)
		c.yield = 3
		p.Run(13, c)
		c.check(t)
	}
}

func TestRunAfterCloseWorksAlone(t *testing.T) {
	p := New(3)
	p.Close()
	c := newCount(3, 9)
	p.Run(9, c)
	c.check(t)
	if n := p.sleepers.Load(); n != 0 {
		t.Errorf("%d workers sleep after Close, want none", n)
	}
}

func TestCloseEndsWorkersInEveryState(t *testing.T) {
	before := runtime.NumGoroutine()
	for i := range 200 {
		p := New(4)
		if i%2 == 0 {
			p.Run(8, newCount(4, 8))
		}
		if i%3 == 0 {
			p.Rest()
		}
		for range i % 60 {
			runtime.Gosched()
		}
		p.Close()
	}
	// A goroutine that called WaitGroup.Done may take a moment to go.
	for i := 0; i < 1e6 && runtime.NumGoroutine() > before; i++ {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines after Close, want %d", n, before)
	}
}

// hold is a task whose first tile waits until all others are done, which only
// other workers can do.
type hold struct{ others atomic.Int32 }

func (h *hold) Tile(_, tile int) {
	if tile > 0 {
		h.others.Add(1)
		return
	}
	for h.others.Load() != 3 {
		runtime.Gosched()
	}
}

func TestSleepingWorkersComeToHelp(t *testing.T) {
	p := New(2)
	defer p.Close()
	for range 300 {
		p.Rest()
		for p.sleepers.Load() == 0 {
			runtime.Gosched()
		}
		p.Run(4, &hold{})
	}
}

func TestRestLetsAllWorkersSleep(t *testing.T) {
	p := New(4)
	defer p.Close()
	for range 100 {
		p.Run(16, newCount(4, 16))
		p.Rest()
		for p.sleepers.Load() != 3 { // a hang here is the failure
			runtime.Gosched()
		}
	}
}

type nothing struct{}

func (*nothing) Tile(int, int) {}

func TestRunDoesNotAllocate(t *testing.T) {
	p := New(3)
	defer p.Close()
	task := &nothing{}
	if n := testing.AllocsPerRun(500, func() { p.Run(12, task); p.Rest() }); n != 0 {
		t.Errorf("Run allocates %v times, want 0", n)
	}
}

func BenchmarkRunHot(b *testing.B) {
	for _, threads := range []int{1, 2, 4} {
		for _, tiles := range []int{2, 16} {
			b.Run(fmt.Sprintf("threads=%d/tiles=%d", threads, tiles), func(b *testing.B) {
				p := New(threads)
				defer p.Close()
				task := &nothing{}
				for b.Loop() {
					p.Run(tiles, task)
				}
			})
		}
	}
}

// BenchmarkRunAfterIdle measures until a sleeping worker has joined.
func BenchmarkRunAfterIdle(b *testing.B) {
	p := New(2)
	defer p.Close()
	var total time.Duration
	n := 0
	for b.Loop() {
		p.Rest()
		for p.sleepers.Load() == 0 {
			runtime.Gosched()
		}
		start := time.Now()
		p.Run(4, &hold{})
		total += time.Since(start)
		n++
	}
	b.ReportMetric(float64(total.Nanoseconds())/float64(n), "ns/wake")
}

// meet is a task of two tiles that wait for each other, so that two workers
// must take part.
type meet struct{ in atomic.Int32 }

func (m *meet) Tile(int, int) {
	m.in.Add(1)
	for m.in.Load() != 2 {
		pause(1)
	}
}

// BenchmarkForkJoin is a Run in which a spinning worker has to take part. The
// median says what it costs while both have a core; the mean, what other
// processes on the machine make of it.
func BenchmarkForkJoin(b *testing.B) {
	p := New(2)
	defer p.Close()
	m := &meet{}
	var took []time.Duration
	for b.Loop() {
		m.in.Store(0)
		start := time.Now()
		p.Run(2, m)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "median-ns/op")
}

func TestLingeringWorkersDoTheirWorkAndEnd(t *testing.T) {
	p := NewLingering(3, time.Hour) // far longer than the test: Close must end it
	for range 50 {
		c := newCount(p.Threads(), 40)
		p.Run(len(c.tiles), c)
		c.check(t)
		p.Rest()
	}
	p.Close()
}
