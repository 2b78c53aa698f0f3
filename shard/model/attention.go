package model

import (
	"sync/atomic"

	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// storeOp finishes the queries and keys of a layer (biases, norms, rotation),
// and stores keys and values in the cache.
type storeOp struct {
	m     *Model
	layer *layer
	index int // of the layer in the span
}

func (o *storeOp) run(l *layer, index int) {
	o.enter(l, index)
	o.m.eachRow(o)
}

// enter turns to a layer.
func (o *storeOp) enter(l *layer, index int) { o.layer, o.index = l, index }

// Tile finishes and stores row r.
func (o *storeOp) Tile(_, r int) {
	c, s, l := &o.m.cfg, &o.m.s, o.layer
	nq, nk, nv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, c.KVHeads*c.ValDim
	q, k, v := s.q[r*nq:][:nq], s.k[r*nk:][:nk], s.v[r*nv:][:nv]
	addBias(q, l.bq)
	addBias(k, l.bk)
	addBias(v, l.bv)
	l.qNorm.apply(c, q)
	l.kNorm.apply(c, k)
	o.rotate(q, r)
	o.rotate(k, r)
	if row := &s.of[r]; row.kv != nil && row.kv.Put(o.index, row.pos, k, v) != nil {
		row.bad = true
	}
}

// rotate turns each head of x by the position of row r.
func (o *storeOp) rotate(x []float32, r int) {
	if !o.layer.rotates {
		return
	}
	c := &o.m.cfg
	cos, sin := o.m.s.global.row(o.m.rope, r)
	if o.layer.local {
		cos, sin = o.m.s.local.row(o.m.ropeLocal, r)
	}
	if c.arch.halves {
		vec.RopeHalf(x, c.HeadDim, cos, sin)
	} else {
		vec.RopePairs(x, c.HeadDim, cos, sin)
	}
}

// addBias adds a bias, which may be nil for none.
func addBias(x, bias []float32) {
	if bias != nil {
		vec.Add(x, bias)
	}
}

// segment is the number of positions that one softmax covers. Segments lie at
// absolute positions. Longer ones need fewer merges; the scores of a tile, some
// tens of rows, are to stay in the cache.
const segment = 256

// tileHeads is about how many heads of how many rows a tile does together.
// Each key and value that it loads is used for all of them.
const tileHeads = 64

// maxTileRows bounds the rows of a tile where heads share no keys: a tile
// computes what its last row sees for all of them.
const maxTileRows = 32

// attendOp is causal attention over the cached positions of each row's session:
// for each head, att = softmax(q k / sqrt(headDim)) v.
//
// The positions that a row sees, from 0 or the start of its window to its own,
// are cut into segments. Each gives a partial result by itself, in a fixed
// order (see segmentOf), and partial results are merged in the order of the
// segments (see merge). So a row's result depends on its session's history
// alone, whoever computes a segment, and with which other rows.
type attendOp struct {
	m       *Model
	layer   int // in the span
	local   bool
	sinks   []float32 // of the layer
	scale   float32   // 1 / sqrt(headDim)
	workers []attendWorker
	blocks  []rowBlock
	all     attendPlan // for layers that see all positions
	window  attendPlan // for local layers
	partial []float32  // [slots, tile's heads of rows, valDim up to 16, and 2]
	slot    int        // floats of a slot of partial
}

// A rowBlock is rows of one session that follow each other, in the batch and
// in the session.
type rowBlock struct {
	kv    *kvcache.Session
	first int // row of the batch
	rows  int
	pos   int // of the first
}

// seen returns the positions [lo, hi) that row r of b sees, of the last window
// ones, or of all if window is 0.
func (b *rowBlock) seen(r, window int) (lo, hi int) {
	hi = b.pos + r + 1
	if window > 0 {
		lo = max(0, hi-window)
	}
	return lo, hi
}

// segments returns the segments [lo, hi) that the rows of b see.
func (b *rowBlock) segments(window int) (lo, hi int) {
	lo, _ = b.seen(0, window)
	_, hi = b.seen(b.rows-1, window)
	return lo / segment, (hi-1)/segment + 1
}

// An attendPlan is the tiles of a batch for one kind of layers.
type attendPlan struct {
	window int // positions that a row sees; 0 for all
	heads  int // of each row in a tile; they share keys and values
	tiles  []attendTile
	left   []atomic.Int32 // by group: segments that are not done, of a split plan
}

// An attendTile is some heads of the rows of a block, for the segments [lo, hi).
type attendTile struct {
	block  int
	head   int // the first
	lo, hi int // segments
	// group is the index of the block's heads among all, and slot where their
	// first partial result goes, if the segments are tiles of their own.
	// Otherwise slot is -1.
	group, slot int
}

// blocksOf groups rows that tiles can do together.
func (o *attendOp) blocksOf(c *Config, rows []row) {
	o.blocks = o.blocks[:0]
	most := min(max(1, tileHeads*c.KVHeads/c.Heads), maxTileRows)
	for r := range rows {
		row := &rows[r]
		if row.kv == nil {
			continue // its part has failed: nobody reads its result
		}
		if n := len(o.blocks); n > 0 {
			b := &o.blocks[n-1]
			if b.kv == row.kv && b.first+b.rows == r && b.pos+b.rows == int(row.pos) && b.rows < most {
				b.rows++
				continue
			}
		}
		o.blocks = append(o.blocks, rowBlock{kv: row.kv, first: r, rows: 1, pos: int(row.pos)})
	}
}

// begin chooses the tiles.
func (o *attendOp) begin(m *Model, rows []row) {
	c := &m.cfg
	o.scale = c.scoreScale()
	o.blocksOf(c, rows)
	slots := o.all.make(o, 0)
	if c.Window > 0 {
		slots = max(slots, o.window.make(o, c.Window))
	}
	if n := slots * o.slot; cap(o.partial) < n {
		o.partial = make([]float32, 2*n)
	}
}

// splitTiles is how many tiles a thread should find at least, and maxSplitRows
// the most rows of a block that is split into segments to get there.
const (
	splitTiles   = 8
	maxSplitRows = 4
)

// make lays out the tiles of o's blocks, and returns how many slots for partial
// results they need. What it chooses depends on the number of threads; the
// results do not.
func (p *attendPlan) make(o *attendOp, window int) (slots int) {
	c, threads := &o.m.cfg, o.m.pool.Threads()
	p.window, p.heads, p.tiles = window, c.Heads/c.KVHeads, p.tiles[:0]
	split, most := len(o.blocks)*c.KVHeads < splitTiles*threads, 0
	tiles := 0
	for i := range o.blocks {
		lo, hi := o.blocks[i].segments(window)
		most = max(most, hi-lo)
		tiles += hi - lo
		split = split && o.blocks[i].rows <= maxSplitRows
	}
	split = split && most > 1
	if !split {
		tiles = len(o.blocks)
	}
	if tiles*c.KVHeads < threads {
		p.heads = 1 // else threads would wait for others
	}
	group := 0
	for i := range o.blocks {
		lo, hi := o.blocks[i].segments(window)
		for head := 0; head < c.Heads; head += p.heads {
			if !split {
				p.tiles = append(p.tiles, attendTile{block: i, head: head, lo: lo, hi: hi, slot: -1})
				continue
			}
			p.expect(group, hi-lo)
			for s := lo; s < hi; s++ {
				p.tiles = append(p.tiles, attendTile{block: i, head: head, lo: s, hi: s + 1, group: group, slot: slots})
			}
			slots += hi - lo
			group++
		}
	}
	return slots
}

// expect notes that a group consists of n tiles.
func (p *attendPlan) expect(group, n int) {
	if group == len(p.left) {
		p.left = append(p.left, atomic.Int32{})
	}
	p.left[group].Store(int32(n))
}

func (o *attendOp) run(l *layer, layer int) {
	o.enter(l, layer)
	o.m.pool.Run(o.tiles(), o)
}

// enter turns to a layer.
func (o *attendOp) enter(l *layer, layer int) { o.layer, o.local, o.sinks = layer, l.local, l.sinks }

// tiles returns the number of tiles for the current layer.
func (o *attendOp) tiles() int { return len(o.plan().tiles) }

// plan returns the plan for the current layer.
func (o *attendOp) plan() *attendPlan {
	if o.local {
		return &o.window
	}
	return &o.all
}
