package par

import (
	"runtime"
	"time"
)

// A Program is a sequence of operations, each of which needs all of the one
// before it.
type Program interface {
	// Op returns operation i, or nil after the last. It is called once for each
	// i in ascending order, on any worker, when the operations before are done.
	Op(i int) *Op
}

// An Op is an operation of a [Program]. Make it with [Repeatable] or [Once]. It
// must not change while the pool is in use.
type Op struct {
	kernel Kernel
	once   Sized // if kernel is nil
}

// A Kernel computes tiles that may be done again. When a worker loses its core,
// another one does its tile over, and the first to finish commits it. The late
// one finds that out only when it comes back: then the operation, and others
// after it, may be long over. So Begin and Tile write nothing but the worker's
// own memory; and what they read of memory that anybody writes they copy first,
// may be anything, and be used for nothing but values: the result of a late
// worker is thrown away.
type Kernel interface {
	// Tiles returns the number of tiles, at most [MaxTiles].
	Tiles() int
	// Begin prepares a worker. It is called before its first tile of each
	// run of the operation.
	Begin(worker int)
	// Tile computes one tile.
	Tile(worker, tile int)
	// Commit hands out what the worker's last Tile computed. It is called once
	// for each tile, while the operation runs.
	Commit(worker, tile int)
}

// A Sized is a [Task] that knows how many tiles it has.
type Sized interface {
	Task
	Tiles() int
}

// MaxTiles is the most tiles of a [Kernel].
const MaxTiles = 512

// Repeatable returns an operation whose tiles may be done again.
func Repeatable(k Kernel) *Op { return &Op{kernel: k} }

// Once returns an operation each of whose tiles is done once: everybody waits
// for a worker that holds one.
func Once(t Sized) *Op { return &Op{once: t} }

// sized is the task of Run.
type sized struct {
	task  Task
	tiles int
}

// Tiles returns the number of tiles.
func (s *sized) Tiles() int { return s.tiles }

// Tile does a tile of the task.
func (s *sized) Tile(worker, tile int) { s.task.Tile(worker, tile) }

// onlyOne is the program of Run.
type onlyOne Pool

// Op returns the operation of Run.
func (p *onlyOne) Op(i int) *Op {
	if i > 0 {
		return nil
	}
	return &p.single
}

// Steps does the operations of a program, and returns when all are done. It
// allocates nothing. No worker is needed for another to go on, the caller
// neither, but for those that hold a tile of an operation made by [Once]. After
// Close it does all the work itself.
func (p *Pool) Steps(program Program) {
	if p.threads > 1 {
		p.choose()
		p.run(program)
		return
	}
	for i := 0; ; i++ {
		op := program.Op(i)
		if op == nil {
			return
		}
		op.alone()
	}
}

// alone does all tiles of an operation.
func (o *Op) alone() {
	k := o.kernel
	if k == nil {
		for i := range o.once.Tiles() {
			o.once.Tile(0, i)
		}
		return
	}
	k.Begin(0)
	for i := range k.Tiles() {
		k.Tile(0, i)
		k.Commit(0, i)
	}
}

// Settle returns when no worker is in a tile any more, so that what a late one
// may still read can be freed. No program runs meanwhile.
func (p *Pool) Settle() {
	for i := range p.workers {
		for w := &p.workers[i]; w.busy.Load(); {
			runtime.Gosched()
			w.offer()
		}
	}
}

// A cursor has the number of an operation in its upper bits and its tiles that
// nobody has taken, plus leftBias, in the others: workers that come too late
// lower it below that, each once at most. Forty bits of numbers last for 300 days
// of forty operations a millisecond.
const (
	leftBits = 24
	leftBias = 1 << 23
)

func cursorOf(seq uint64, left int) uint64 { return seq<<leftBits | uint64(leftBias+left) }

func cursorSeq(c uint64) uint64 { return c >> leftBits }

func cursorLeft(c uint64) int { return int(c&(1<<leftBits-1)) - leftBias }

// run does a program with all workers.
func (p *Pool) run(program Program) {
	p.program, p.next = program, 0
	p.over.Store(false)
	if p.resting.Load() {
		p.resting.Store(false)
		p.spread()
	}
	p.open()
	if p.manned.Load() {
		for !p.over.Load() { // a worker of an earlier run may rouse it too early
			p.caller.sleep(p.over.Load)
		}
	} else {
		p.lead()
	}
	p.program = nil
}

// spread keeps workers that linger off the processor of worker 0, be it the
// caller or its deputy. Nobody wakes them, so that nobody would steer them
// elsewhere; and to the system two that linger on one processor, beside two of
// another process on the next one, are in balance.
func (p *Pool) spread() {
	if p.linger == 0 {
		return
	}
	first := p.workers[0].where()
	if !p.manned.Load() {
		first = here()
	}
	for i := 1; i < p.threads; i++ {
		p.workers[i].avoid(&p.harbour, first)
	}
}

const (
	// roughness is how far Pool.rough goes up, by a late worker at once. The
	// deputy stands in above half of it, so for half as many programs.
	roughness = 64
	// lateness is what a program with a late worker adds where workers linger,
	// and one without takes 1 off: the deputy stands in when more than one in four
	// has one. Members that take turns are late for each other now and then.
	lateness = 3
)

// choose decides who is worker 0 in the next program: the caller, which costs
// the least, or its deputy. When others use the processors, all workers lose
// theirs now and then, and the work goes on without them; but nobody can do
// what the caller does after the program. So it sleeps meanwhile, and wakes
// when that is to be done.
func (p *Pool) choose() {
	if p.helped.Swap(false) {
		more := roughness
		if p.linger > 0 {
			more = lateness
		}
		p.rough = min(p.rough+more, roughness)
	} else {
		p.rough = max(0, p.rough-1)
	}
	p.man(p.rough > roughness/2 && !p.closed.Load())
}

// man makes the deputy worker 0, or the caller unless the deputy is late: two
// cannot use the memory of one worker.
func (p *Pool) man(deputy bool) {
	p.manned.Store(deputy)
	if !deputy && p.workers[0].busy.Load() {
		p.manned.Store(true)
	}
}

// open opens the next operation, or ends the program. It is called by the
// caller of run, and then by whoever finishes the last tile of an operation.
func (p *Pool) open() {
	for {
		op := p.program.Op(p.next)
		p.next++
		if op == nil {
			manned := p.manned.Load()
			if manned {
				p.resting.Store(true) // the caller needs a processor
			}
			p.over.Store(true)
			if manned {
				p.caller.rouse()
			}
			return
		}
		tiles := 0
		if op.kernel != nil {
			tiles = op.kernel.Tiles()
		} else {
			tiles = op.once.Tiles()
		}
		if tiles == 0 {
			continue
		}
		p.seq++
		p.done.Store(0)
		p.ops[p.seq%2].Store(op)
		p.tiles[p.seq%2].Store(int64(tiles))
		p.cursor.Store(cursorOf(p.seq, tiles))
		if p.manned.Load() {
			p.wakeSome(min(fanOut, tiles)) // the caller does none
		} else {
			p.wakeSome(min(fanOut, tiles-1))
		}
		return
	}
}

// takeTile takes a tile and does it, and reports false if none was left.
func (p *Pool) takeTile(worker int) bool {
	if cursorLeft(p.cursor.Load()) <= 0 {
		return false
	}
	c := p.cursor.Add(^uint64(0))
	left := cursorLeft(c)
	if left < 0 {
		return false
	}
	seq := cursorSeq(c)
	if op, tiles, open := p.current(seq); open {
		p.do(worker, op, seq, tiles-1-left, tiles)
	}
	return true
}

// current returns operation seq and its number of tiles, if no later one has
// been opened: otherwise a worker that claimed a tile of it was so late that
// another did that.
func (p *Pool) current(seq uint64) (op *Op, tiles int, open bool) {
	// Both are overwritten for seq+2, that is after cursor has gone to seq+1.
	op, tiles = p.ops[seq%2].Load(), int(p.tiles[seq%2].Load())
	return op, tiles, cursorSeq(p.cursor.Load()) == seq
}

// do does a tile, and reports false if another worker has done it before. If it
// may be repeated, the operation may be over by now.
func (p *Pool) do(worker int, op *Op, seq uint64, tile, tiles int) bool {
	if k := op.kernel; k == nil {
		op.once.Tile(worker, tile)
	} else {
		if w := &p.workers[worker]; w.begun != seq {
			k.Begin(worker)
			w.begun = seq
		}
		k.Tile(worker, tile)
		if !p.wins(tile, seq) {
			return false
		}
		k.Commit(worker, tile)
	}
	// The operation was open until here: its tile was not done.
	if p.done.Add(1) == int64(tiles) {
		p.open()
	}
	return true
}

// wins reports whether the caller is the first to finish a tile of operation
// seq. Once that operation is over nobody is: all its tiles are won.
func (p *Pool) wins(tile int, seq uint64) bool {
	won := &p.won[tile].seq
	for {
		last := won.Load()
		if last >= seq {
			return false
		}
		if won.CompareAndSwap(last, seq) {
			return true
		}
	}
}

// help does a tile that another worker holds, if the open operation has one
// that may be repeated, and reports whether it did or there was something else
// to do.
func (p *Pool) help(worker int) bool {
	c := p.cursor.Load()
	if cursorLeft(c) > 0 {
		return true
	}
	seq := cursorSeq(c)
	op, tiles, open := p.current(seq)
	if !open {
		return true
	}
	if op == nil || op == &p.single || op.kernel == nil {
		return false
	}
	for i := range tiles {
		// The workers start at different places, so that they help different ones.
		if tile := (i + worker*tiles/p.threads) % tiles; p.won[tile].seq.Load() < seq {
			if p.do(worker, op, seq, tile, tiles) && !p.helped.Load() {
				p.helped.Store(true)
			}
			return true
		}
	}
	return false
}

// patience is how long a worker waits for the others' last tiles before it
// does them over: in quiet they take about as long as its own.
func (w *worker) patience() time.Duration { return max(leastPatience, 2*w.pace) }

// leastPatience is a few times what a worker needs to see what others did.
const leastPatience = 3 * time.Microsecond
