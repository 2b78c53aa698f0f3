// Package par runs the tiles of one operation on a fixed set of workers.
//
// Start with [New] and [Pool.Run]. The caller of Run is worker 0; the other
// workers are goroutines that end in [Pool.Close]. Between the Runs of one
// step they spin for some tens of microseconds, because a wake-up costs as
// much as a small operation; after that, and at once after [Pool.Rest], they
// sleep and use no processor. See DESIGN.md for why late workers do no harm.
//
// What a tile is, and how large, is left to the callers.
package par

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A Task is work that is cut into tiles.
type Task interface {
	// Tile does one tile. It is called once for each tile, on any worker, with
	// 0 <= worker < Threads; calls with the same worker never overlap.
	Tile(worker, tile int)
}

const (
	// spinTime is how long a worker looks for work before it sleeps. It covers
	// the gaps between the operations of a step, a few microseconds each.
	spinTime = 50 * time.Microsecond
	// waitTime is how long the caller of Run looks for the end of the last
	// tiles before it sleeps: a tile takes tens of microseconds, so longer
	// means that its worker has lost its core.
	waitTime = 200 * time.Microsecond
	// pauses is the number of PAUSE instructions between two looks, about
	// 0.1 us together.
	pauses = 4
	// looks is the number of looks between two that read the clock and let
	// other goroutines run.
	looks = 64
	// fanOut is how many sleepers whoever has found work wakes itself; those
	// wake the next.
	fanOut = 2
)

// cacheLine separates words that different workers write.
type cacheLine [64]byte

// A Pool runs tasks on its workers. Run, Rest and Close are for one goroutine
// at a time.
type Pool struct {
	threads int
	linger  time.Duration // see NewLingering
	workers []worker      // [threads-1], workers 1 and up
	harbour harbour
	ended   sync.WaitGroup

	// task and tiles belong to the current Run. They are written while no tile
	// is left and all are done, and read only by who holds a tile.
	task  Task
	tiles int

	_ cacheLine
	// left is the number of tiles of the current Run that nobody has taken; it
	// may be below zero. Whoever lowers it to n >= 0 holds tile tiles-1-n.
	left atomic.Int64
	_    cacheLine
	// done is the number of finished tiles of the current Run.
	done     atomic.Int64
	_        cacheLine
	sleepers atomic.Int32 // workers with asleep set
	resting  atomic.Bool  // no spinning until the next Run
	closed   atomic.Bool
	caller   sleeper
}

// A sleeper is a place to sleep for one goroutine.
type sleeper struct {
	asleep atomic.Bool
	wake   chan struct{} // capacity 1; one value for each time another clears asleep
}

type worker struct {
	berth
	_ cacheLine
}

// New returns a pool of so many threads, 1 at least. The caller of Run is one
// of them.
func New(threads int) *Pool { return NewLingering(threads, 0) }

// NewLingering is [New] for processes that take turns on the processors of one
// machine: after Rest a worker stays awake for up to linger, offering its
// processor to any other thread all the while (sched_yield(2)), so that the
// next turn finds it awake. It costs power, and nobody's time.
func NewLingering(threads int, linger time.Duration) *Pool {
	p := &Pool{threads: max(threads, 1), linger: linger}
	p.harbour = newHarbour(p.threads)
	p.caller.wake = make(chan struct{}, 1)
	p.workers = make([]worker, p.threads-1)
	for i := range p.workers {
		p.ended.Go(func() { p.work(i + 1) })
	}
	return p
}

// Threads returns the number of workers, the caller of Run included.
func (p *Pool) Threads() int { return p.threads }

// Run does tiles 0 to tiles-1 of t and returns when all are done. It takes
// tiles in ascending order, allocates nothing, and waits for no worker that
// holds no tile. After Close it does all the work itself.
func (p *Pool) Run(tiles int, t Task) {
	if tiles <= 1 || p.threads == 1 {
		for i := range tiles {
			t.Tile(0, i)
		}
		return
	}
	if p.resting.Load() {
		p.resting.Store(false)
	}
	p.task, p.tiles = t, tiles
	p.done.Store(0)
	p.left.Store(int64(tiles)) // the run is open
	p.wakeSome(min(fanOut, tiles-1))
	for p.runTile(0) {
	}
	p.await(int64(tiles))
	p.task = nil
}

// Rest lets the workers sleep at once; the next Run wakes them. Call it when a
// step is over.
func (p *Pool) Rest() {
	if !p.resting.Load() {
		p.resting.Store(true)
	}
}

// Close ends the workers and returns when they are gone. It may be called again.
func (p *Pool) Close() {
	p.closed.Store(true)
	for p.sleepers.Load() > 0 {
		p.wakeSome(p.threads)
	}
	p.ended.Wait()
}

// runTile takes a tile and does it, and reports false if none was left.
func (p *Pool) runTile(worker int) bool {
	if p.left.Load() <= 0 {
		return false
	}
	n := p.left.Add(-1)
	if n < 0 {
		return false
	}
	// Holding a tile keeps the run open, so task and tiles stay.
	tiles := p.tiles
	p.task.Tile(worker, tiles-1-int(n))
	if p.done.Add(1) == int64(tiles) && p.caller.asleep.Load() {
		p.caller.rouse()
	}
	return true
}

// await returns when all tiles of the run are done.
func (p *Pool) await(tiles int64) {
	var since time.Time
	for i := 1; p.done.Load() != tiles; i++ {
		pause(pauses)
		if i%looks != 0 {
			continue
		}
		runtime.Gosched() // the holder of a tile may be waiting for this thread
		if since.IsZero() {
			since = time.Now()
		} else if time.Since(since) > waitTime {
			// A worker of an earlier run that comes late to rouse may end this
			// sleep too early: the loop looks again.
			p.caller.sleep(func() bool { return p.done.Load() == tiles })
		}
	}
}

// work is the life of a worker: it ends with Close.
func (p *Pool) work(id int) {
	s := &p.workers[id-1].berth
	s.settle()
	ready := func() bool { return p.left.Load() > 0 || p.closed.Load() }
	for !p.closed.Load() {
		for p.runTile(id) {
		}
		if p.spin(s) {
			continue
		}
		p.sleepers.Add(1)
		s.sleep(ready)
		p.sleepers.Add(-1)
		if n := p.left.Load(); n > 0 {
			p.wakeSome(int(min(n, fanOut)))
		}
	}
}

// spin looks for work for a while and reports whether there is some.
func (p *Pool) spin(s *berth) bool {
	var since time.Time
	for i := 1; ; i++ {
		if p.left.Load() > 0 || p.closed.Load() {
			return true
		}
		if p.resting.Load() {
			return p.lingers(s)
		}
		pause(pauses)
		if i%looks != 0 {
			continue
		}
		s.yield()
		if since.IsZero() {
			since = time.Now()
		} else if time.Since(since) > spinTime {
			return false
		}
	}
}

// lingers offers the processor to others until there is work or p.linger is
// over, and reports whether there is work.
func (p *Pool) lingers(s *berth) bool {
	if p.linger == 0 {
		return false
	}
	for until := time.Now().Add(p.linger); time.Now().Before(until); {
		for range offers {
			if p.left.Load() > 0 || p.closed.Load() {
				return true
			}
			s.offer()
		}
	}
	return false
}

// offers is how often a lingering worker offers its processor between two
// looks at the clock.
const offers = 4

// wakeSome wakes up to n sleeping workers.
func (p *Pool) wakeSome(n int) {
	if p.sleepers.Load() <= 0 {
		return
	}
	for i := range p.workers {
		if n == 0 {
			return
		}
		if p.workers[i].rouse(&p.harbour) {
			n--
		}
	}
}

// sleep blocks until somebody rouses s, unless ready says true. It may return
// early.
func (s *sleeper) sleep(ready func() bool) {
	s.asleep.Store(true)
	// Whoever makes ready true does so before it looks at asleep.
	if ready() && s.asleep.CompareAndSwap(true, false) {
		return
	}
	<-s.wake
}

// rouse ends the sleep of s and reports whether it slept.
func (s *sleeper) rouse() bool {
	if !s.asleep.Load() || !s.asleep.CompareAndSwap(true, false) {
		return false
	}
	s.wake <- struct{}{} // never blocks: each sleep takes one value
	return true
}
