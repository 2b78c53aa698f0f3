package par

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// sequence is a program of these operations.
type sequence []*Op

func (s sequence) Op(i int) *Op {
	if i == len(s) {
		return nil
	}
	return s[i]
}

// adding is an operation that adds all numbers of the operation before and puts
// tile + sum into each of its own: what any late write or early read changes.
type adding struct {
	from, to []atomic.Uint64
	own      []struct{ sum, value uint64 } // of each worker
	commits  []atomic.Int32
	delay    func(worker, tile int)
}

func newAdding(threads, tiles int, from []atomic.Uint64, delay func(worker, tile int)) *adding {
	return &adding{
		from: from, to: make([]atomic.Uint64, tiles), commits: make([]atomic.Int32, tiles),
		own: make([]struct{ sum, value uint64 }, threads), delay: delay,
	}
}

func (a *adding) Tiles() int { return len(a.to) }

func (a *adding) Begin(worker int) {
	a.own[worker].sum = 0
	for i := range a.from {
		a.own[worker].sum += a.from[i].Load()
	}
}

func (a *adding) Tile(worker, tile int) {
	a.delay(worker, tile)
	a.own[worker].value = a.own[worker].sum + uint64(tile)
}

func (a *adding) Commit(worker, tile int) {
	a.commits[tile].Add(1)
	a.to[tile].Store(a.own[worker].value)
}

// addingOnce is the same with tiles that cannot be repeated.
type addingOnce struct{ *adding }

func (a addingOnce) Tile(worker, tile int) {
	a.Begin(worker)
	a.adding.Tile(worker, tile)
	a.Commit(worker, tile)
}

// check runs the operations again by itself and compares.
func check(t *testing.T, ops []*adding) {
	t.Helper()
	var sum uint64
	for _, a := range ops {
		next := uint64(0)
		for tile := range a.to {
			if n := a.commits[tile].Load(); n != 1 {
				t.Fatalf("tile %d of %d was committed %d times, want once", tile, len(a.to), n)
			}
			if got := a.to[tile].Load(); got != sum+uint64(tile) {
				t.Fatalf("tile %d of %d is %d, want %d", tile, len(a.to), got, sum+uint64(tile))
			}
			next += sum + uint64(tile)
		}
		if sum = next; len(a.to) == 0 {
			sum = 0
		}
	}
}

func TestStepsWithDelayedWorkers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, threads := range []int{1, 2, 3, 7} {
		p := New(threads)
		var late atomic.Int64
		delay := func(worker, tile int) {
			if n := late.Add(1) * 7919 % 13; n < 2 { // now and then a worker is late by far
				for range 200 * n {
					runtime.Gosched()
				}
			}
		}
		for range 150 {
			var ops []*adding
			var program sequence
			var from []atomic.Uint64
			for range rng.IntN(12) {
				a := newAdding(threads, rng.IntN(20), from, delay)
				ops, from = append(ops, a), a.to
				if rng.IntN(4) == 0 {
					program = append(program, Once(addingOnce{a}))
				} else {
					program = append(program, Repeatable(a))
				}
			}
			p.Steps(program)
			check(t, ops)
			switch rng.IntN(4) {
			case 0:
				p.Rest()
			case 1:
				c := newCount(threads, 9)
				p.Run(9, c)
				c.check(t)
			case 2:
				p.Settle()
			}
		}
		p.Settle()
		p.Close()
	}
}

// absent returns a delay that holds one worker in the first tile it takes until
// gone ends, and the others until it is held.
func absent(held int, gone chan struct{}) (delay func(worker, tile int), back *atomic.Bool) {
	var in atomic.Bool
	back = new(atomic.Bool)
	return func(worker, _ int) {
		if worker == held && !back.Load() {
			in.Store(true)
			<-gone
			back.Store(true)
		}
		for !in.Load() {
			runtime.Gosched()
		}
	}, back
}

func TestAProgramEndsWithoutALateWorker(t *testing.T) {
	p := New(2)
	defer p.Close()
	for range 20 {
		gone := make(chan struct{})
		delay, back := absent(1, gone)
		var ops []*adding
		var program sequence
		var from []atomic.Uint64
		for range 8 {
			a := newAdding(2, 5, from, delay)
			ops, from, program = append(ops, a), a.to, append(program, Repeatable(a))
		}
		p.Steps(program) // a hang here is the failure
		check(t, ops)
		if back.Load() {
			t.Fatal("the late worker was not late")
		}
		close(gone)
		p.Settle()
		if !back.Load() {
			t.Fatal("Settle returned while a worker was in a tile")
		}
		check(t, ops) // what it computed is thrown away
	}
}

func TestAProgramGoesOnWithoutItsCaller(t *testing.T) {
	p := New(2)
	defer p.Close()
	for range 20 {
		gone := make(chan struct{})
		delay, _ := absent(0, gone)
		var ops []*adding
		var from []atomic.Uint64
		for range 8 {
			a := newAdding(2, 5, from, delay)
			ops, from = append(ops, a), a.to
		}
		var program sequence
		for _, a := range ops {
			program = append(program, Repeatable(a))
		}
		// The last operation lets the caller go: others must have come there.
		program = append(program, Once(&release{gone: gone}))
		p.Steps(program) // a hang here is the failure
		check(t, ops)
	}
}

// release is an operation of one tile that closes gone.
type release struct{ gone chan struct{} }

func (*release) Tiles() int { return 1 }

func (r *release) Tile(int, int) { close(r.gone) }

// still is a kernel that does nothing.
type still struct{}

func (still) Tiles() int      { return 6 }
func (still) Begin(int)       {}
func (still) Tile(int, int)   {}
func (still) Commit(int, int) {}

func TestAClosedOperationIsKnown(t *testing.T) {
	p := New(2)
	defer p.Close()
	op := Repeatable(still{})
	p.Steps(sequence{op, op, op})
	for seq := uint64(1); seq <= 3; seq++ {
		if _, _, open := p.current(seq); open != (seq == 3) {
			t.Errorf("operation %d of 3 is open: %v", seq, open)
		}
	}
}

func TestStepsDoNotAllocate(t *testing.T) {
	p := New(3)
	defer p.Close()
	op := Repeatable(still{})
	var program Program = sequence{op, op, op}
	if n := testing.AllocsPerRun(500, func() { p.Steps(program); p.Rest() }); n != 0 {
		t.Errorf("Steps allocates %v times, want 0", n)
	}
}

func TestCursorKeepsItsParts(t *testing.T) {
	for _, seq := range []uint64{0, 1, 1<<40 - 1} {
		for _, left := range []int{-500, -1, 0, 1, 1 << 22} {
			if c := cursorOf(seq, left); cursorSeq(c) != seq || cursorLeft(c) != left {
				t.Errorf("cursorOf(%d, %d) is read as %d, %d", seq, left, cursorSeq(c), cursorLeft(c))
			}
		}
	}
}

func BenchmarkSteps(b *testing.B) {
	p := New(2)
	defer p.Close()
	program := make(sequence, 100)
	for i := range program {
		program[i] = Repeatable(still{})
	}
	for b.Loop() {
		p.Steps(program)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/operation")
}

// late runs programs with a late worker.
func late(t *testing.T, p *Pool, programs int) {
	t.Helper()
	for range programs {
		gone := make(chan struct{})
		delay, back := absent(1, gone)
		a := newAdding(2, 5, nil, delay)
		p.Steps(sequence{Repeatable(a)})
		close(gone)
		p.Settle()
		if !back.Load() {
			t.Fatal("the late worker was not late")
		}
	}
}

func TestTheDeputyStandsInWhileWorkersAreLate(t *testing.T) {
	for _, c := range []struct {
		linger time.Duration
		late   int // programs with a late worker that it takes
	}{{0, 1}, {time.Microsecond, roughness/2/lateness + 1}} {
		p := NewLingering(2, c.linger)
		done := newCount(2, 7)
		calm := sequence{Once(&sized{task: done, tiles: 7})} // nobody can help there
		late(t, p, c.late-1)
		if p.choose(); p.manned.Load() {
			t.Errorf("linger %v: workers were late in %d programs, and the deputy is worker 0", c.linger, c.late-1)
		}
		late(t, p, 2)
		p.Steps(calm)
		if !p.manned.Load() {
			t.Errorf("linger %v: workers were late in %d programs, but the caller is still worker 0", c.linger, c.late+1)
		}
		for range roughness {
			p.Steps(calm)
		}
		if p.manned.Load() {
			t.Errorf("linger %v: nobody was late in %d programs, but the deputy is still worker 0", c.linger, roughness)
		}
		for i := range done.tiles {
			if n := done.tiles[i].Load(); n != 1+roughness || done.bad.Load() != 0 {
				t.Fatalf("tile %d was done %d times in %d programs; %d calls overlapped", i, n, 1+roughness, done.bad.Load())
			}
		}
		p.Close()
	}
}
