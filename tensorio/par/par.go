// Package par runs the tiles of one operation on a fixed set of workers.
package par

// A Task is work that is cut into tiles.
type Task interface {
	// Tile does one tile. It is called once for each tile, on any worker, with
	// 0 <= worker < Threads; calls with the same worker never overlap.
	Tile(worker, tile int)
}

// A Pool runs tasks on its workers. Its methods are for one goroutine at a time.
type Pool struct {
	threads int
}

// New returns a pool of so many threads, 1 at least; the caller of Run is one of them.
func New(threads int) *Pool { return &Pool{threads: max(threads, 1)} }

// Threads returns the number of workers, the caller of Run included.
func (p *Pool) Threads() int { return p.threads }

// Run does tiles 0 to tiles-1 of t and returns when all are done.
func (p *Pool) Run(tiles int, t Task) {
	for i := range tiles {
		t.Tile(0, i)
	}
}

// Rest lets the workers sleep at once; the next Run wakes them.
func (p *Pool) Rest() {}

// Close ends the workers and waits for them.
func (p *Pool) Close() {}
