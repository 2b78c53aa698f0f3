// Package par runs the tiles of operations on a fixed set of workers.
//
// Start with [New]. [Pool.Run] does the tiles of one operation, [Pool.Steps]
// those of a sequence of them, which any worker carries on. The caller is
// worker 0; the other workers are goroutines that end in [Pool.Close]. Between
// two operations they spin for some tens of microseconds, because a wake-up
// costs as much as a small operation; after that, and at once after
// [Pool.Rest], they sleep and use no processor. See DESIGN.md for why late
// workers do no harm.
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
	// waitTime is how long the caller looks for the end of the last tiles
	// before it offers its processor to others: a tile takes tens of
	// microseconds, so longer means that its worker has lost its core.
	waitTime = 200 * time.Microsecond
	// pauses is the number of PAUSE instructions between two looks, about
	// 0.1 us together.
	pauses = 4
	// looks is the number of looks between two that read the clock.
	looks = 16
	// yields is the number of looks between two that let other goroutines run.
	yields = 64
	// fanOut is how many sleepers whoever has found work wakes itself; those
	// wake the next.
	fanOut = 2
)

// cacheLine separates words that different workers write.
type cacheLine [64]byte

// A Pool runs operations on its workers. Run, Steps, Rest, Settle and Close are
// for one goroutine at a time.
type Pool struct {
	threads int
	linger  time.Duration // see NewLingering
	workers []worker      // [threads]
	harbour harbour
	ended   sync.WaitGroup
	born    time.Time // the clock of now

	// These belong to whoever opens the next operation: see Pool.open.
	program Program
	next    int    // operation of program to open next
	seq     uint64 // of the operation that was opened last
	single  Op     // the operation of Run, task
	task    sized

	_ cacheLine
	// cursor is what is left of the operation that was opened last: its number
	// and its tiles that nobody has taken. See cursorOf.
	cursor atomic.Uint64
	_      cacheLine
	// done is the number of finished tiles of the open operation.
	done atomic.Int64
	_    cacheLine
	over atomic.Bool // the program has ended
	// manned says that the deputy is worker 0, not the caller. See Pool.choose.
	manned atomic.Bool
	helped atomic.Bool // a worker was late in this program, and another helped
	rough  int         // how often workers were late; see Pool.choose
	caller sleeper
	// ops and tiles are of the operation that was opened last and of the one
	// before, by their numbers modulo 2.
	ops   [2]atomic.Pointer[Op]
	tiles [2]atomic.Int64

	_        cacheLine
	sleepers atomic.Int32 // workers that sleep, but for the deputy
	resting  atomic.Bool  // no spinning until the next Run
	closed   atomic.Bool
	living   atomic.Int32 // workers that have not ended

	// won[i] is the number of the last repeatable operation whose tile i is
	// finished.
	won [MaxTiles]struct {
		seq atomic.Uint64
		_   [8]byte
	}
}

// A sleeper is a place to sleep for one goroutine.
type sleeper struct {
	asleep atomic.Bool
	wake   chan struct{} // capacity 1; one value for each time another clears asleep
}

type worker struct {
	berth
	busy  atomic.Bool   // it may be in a tile
	begun uint64        // the operation that it has called Begin for
	pace  time.Duration // of a tile, in the last operation that it took part in
	_     cacheLine
}

// New returns a pool of so many threads, 1 at least. The caller of Run is one
// of them.
func New(threads int) *Pool { return NewLingering(threads, 0) }

// NewLingering is [New] for processes that take turns on the processors of one
// machine: after Rest a worker stays awake for up to linger, offering its
// processor to any other thread all the while (sched_yield(2)), so that the
// next turn finds it awake. It costs power, and nobody's time.
func NewLingering(threads int, linger time.Duration) *Pool {
	p := &Pool{threads: max(threads, 1), linger: linger, born: time.Now()}
	p.harbour = newHarbour(p.threads)
	p.single.once = &p.task
	p.workers = make([]worker, p.threads)
	if p.threads > 1 {
		p.living.Store(int32(p.threads))
		for i := range p.workers {
			p.ended.Go(func() { p.work(i) })
		}
	}
	p.caller.wake = make(chan struct{}, 1)
	return p
}

// Threads returns the number of workers, the caller included.
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
	p.man(false)
	p.task = sized{task: t, tiles: tiles}
	p.run((*onlyOne)(p))
	p.task = sized{}
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
	p.manned.Store(true) // so that the deputy is woken too
	for p.living.Load() > 0 {
		p.wakeSome(p.threads)
		runtime.Gosched()
	}
	p.ended.Wait()
	p.manned.Store(false)
}

// now returns the time since the pool was made: it reads one clock, where
// time.Now reads two.
func (p *Pool) now() time.Duration { return time.Since(p.born) }

// lead makes the caller work as worker 0 until the program has ended. It says
// nothing of being busy: it is here when anybody could ask.
func (p *Pool) lead() {
	w := &p.workers[0]
	idle := p.now()
	for i := 1; !p.over.Load(); i++ {
		if p.takeTiles(0) {
			i, idle = 0, p.now()
			continue
		}
		pause(pauses)
		if i%looks != 0 {
			continue
		}
		waited := p.now() - idle
		switch {
		case waited > w.patience() && p.help(0):
			i, idle = 0, p.now()
		case waited > waitTime:
			w.offer()
			fallthrough
		case i%yields == 0:
			runtime.Gosched() // the holder of a tile may be waiting for this thread
		}
	}
}

// work is the life of a worker: it ends with Close.
func (p *Pool) work(id int) {
	w := &p.workers[id]
	w.settle()
	defer p.living.Add(-1)
	ready := func() bool { return p.calls(id) }
	for !p.closed.Load() {
		if p.calls(id) && p.enter(id) {
			p.takeTiles(id)
			p.leave(id)
		}
		if p.spin(id) {
			continue
		}
		if id == 0 { // it mostly sleeps, and is not missed
			w.sleep(ready)
			continue
		}
		p.sleepers.Add(1)
		w.sleep(ready)
		p.sleepers.Add(-1)
		if n := cursorLeft(p.cursor.Load()); n > 0 {
			p.wakeSome(min(n, fanOut))
		}
	}
}

// takeTiles does tiles until nobody has to take one, and reports whether it
// did any.
func (p *Pool) takeTiles(id int) bool {
	if cursorLeft(p.cursor.Load()) <= 0 {
		return false
	}
	w := &p.workers[id]
	began, n := p.now(), 0
	for p.takeTile(id) {
		n++
	}
	if n > 0 {
		w.pace = min((p.now()-began)/time.Duration(n), 2*w.pace+time.Microsecond) // it may have lost its core
	}
	return n > 0
}

// calls reports whether a worker has something to do.
func (p *Pool) calls(id int) bool {
	return cursorLeft(p.cursor.Load()) > 0 && p.mans(id) || p.closed.Load()
}

// mans reports whether the goroutine of a worker takes part: the deputy does
// only in place of the caller.
func (p *Pool) mans(id int) bool { return id > 0 || p.manned.Load() }

// enter makes the goroutine of a worker busy, for Settle and choose, and reports
// whether it takes part. It must leave then.
func (p *Pool) enter(id int) bool {
	w := &p.workers[id]
	w.busy.Store(true) // before it looks
	if p.mans(id) {
		return true
	}
	w.busy.Store(false)
	return false
}

func (p *Pool) leave(id int) { p.workers[id].busy.Store(false) }

// spin looks for work for a while and reports whether there is some.
func (p *Pool) spin(id int) bool {
	w := &p.workers[id]
	idle := p.now()
	for i := 1; ; i++ {
		if p.calls(id) {
			return true
		}
		if !p.mans(id) {
			return false
		}
		if p.resting.Load() {
			return p.lingers(id)
		}
		pause(pauses)
		if i%looks != 0 {
			continue
		}
		waited := p.now() - idle
		if !p.over.Load() && waited > leastPatience && p.enter(id) {
			helped := waited > w.patience() && p.help(id)
			p.leave(id)
			if helped {
				return true
			}
		}
		if waited > spinTime && (p.over.Load() || waited > w.patience()) { // not before it has tried to help
			return false
		}
		if i%yields == 0 {
			w.yield()
		}
	}
}

// lingers offers the processor to others until there is work or p.linger is
// over, and reports whether there is work.
func (p *Pool) lingers(id int) bool {
	if p.linger == 0 {
		return false
	}
	for until := time.Now().Add(p.linger); time.Now().Before(until); {
		p.workers[id].note()
		for range offers {
			if p.calls(id) {
				return true
			}
			p.workers[id].offer()
		}
	}
	return false
}

// offers is how often a lingering worker offers its processor between two
// looks at the clock.
const offers = 4

// wakeSome wakes up to n sleeping workers.
func (p *Pool) wakeSome(n int) {
	if p.sleepers.Load() <= 0 && !p.manned.Load() {
		return
	}
	for i := range p.workers {
		if n == 0 {
			return
		}
		if p.mans(i) && p.workers[i].rouse(&p.harbour, !p.manned.Load()) {
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
