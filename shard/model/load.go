package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/kvcache/offheap"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/par"
	"github.com/shardnode/shardnode/tensorio/quant"
)

// A Source has the tensors of a model, by the names of GGUF files.
type Source interface {
	// Has reports whether the model has the tensor, be it here or elsewhere.
	Has(name string) bool
	// Tensor returns the tensor. The embedding's data must stay readable until
	// the model is closed.
	Tensor(name string) (tensorio.Tensor, error)
}

// A releaser is a [Source] whose tensors take memory of the process once they
// were read, as mapped files do.
type releaser interface {
	// Release says that data, of a tensor or part of it, will not be read again
	// soon. They stay valid.
	Release(data []byte)
	// WillNeed says that data will be read soon.
	WillNeed(data []byte)
}

// A maker is a [Source] that makes tensors from others, some rows at a time: those
// whose Data it does not give.
type maker interface {
	Makes(name string) bool
	// Rows returns rows [lo, lo+n) of a tensor. It is called by several goroutines.
	Rows(name string, lo, n int) ([]byte, error)
	// ReleaseRows says that these rows will not be read again soon.
	ReleaseRows(name string, lo, n int)
}

// Names of tensors that belong to no layer.
const (
	embedName    = "token_embd.weight"
	headName     = "output.weight"
	headNormName = "output_norm.weight"

	headNormBiasName = "output_norm.bias"
)

// Options are the settings of [Load]. Only Pool must be set.
type Options struct {
	// Pool computes. The model is its only user while it loads or computes.
	Pool *par.Pool
	// MemoryBytes bounds what the packed weights may take; a model that needs
	// more is a [*TooBigError]. Default: no bound.
	MemoryBytes int64
	// Progress is called after each layer and the head with the packed bytes
	// so far and in all. Default: none.
	Progress func(done, total int64)
	// Packs keeps what was packed for the next start, and has what was kept
	// before. Weights that came from there are not counted twice when several
	// processes hold them. Default: nothing is kept.
	Packs *weights.Packs
	// Settled makes Load wait until the weights are where they stay. Otherwise
	// they are moved to huge pages, and kept in Packs, while they are used: at the
	// lowest priority, but for some seconds steps take up to a fifth longer.
	Settled bool
	// Rounding says how hidden states leave a layer. Default: [RoundBF16].
	Rounding Rounding
	// KV is how keys and values are kept. Default: [kvcache.Float16], or
	// [kvcache.Float32] with RoundNone. All spans of a session must have the same.
	KV kvcache.Precision
}

// Rounding is what a model's numerics round: hidden states where they leave a
// layer.
type Rounding uint8

const (
	// RoundBF16 rounds them to bfloat16, the form of the wire, so that borders
	// between peers change nothing.
	RoundBF16 Rounding = iota
	// RoundNone keeps float32 there, and in the KV cache, to compare with other
	// implementations. Borders between spans lose bits then.
	RoundNone
)

// A TooBigError says that a span does not fit the memory that it may take.
type TooBigError struct {
	Span       shard.Span
	NeedBytes  int64
	LimitBytes int64
}

// Error says how much is missing.
func (e *TooBigError) Error() string {
	return fmt.Sprintf("layers %v need %d MiB of memory, %d MiB are allowed: %d MiB are missing; serve fewer layers here, or use a smaller quantisation",
		e.Span, ceilMiB(e.NeedBytes), e.LimitBytes>>20, ceilMiB(e.NeedBytes-e.LimitBytes))
}

func ceilMiB(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// MemoryBytes returns what the packed weights of a span will take, without KV
// cache and buffers. It reads only the descriptions of tensors.
func MemoryBytes(cfg Config, src Source, span shard.Span) (int64, error) {
	if span.Start < 0 || span.Len() < 1 || int(span.End) > cfg.Layers {
		return 0, fmt.Errorf("load layers %v: the model has [0,%d)", span, cfg.Layers)
	}
	if err := computable(cfg, src); err != nil {
		return 0, err
	}
	l := loader{cfg: cfg, src: src}
	total := int64(0)
	for i := span.Start; i < span.End; i++ {
		p := l.layerPlan(i)
		total += p.bytes
	}
	if int(span.End) == cfg.Layers {
		total += l.headPlan().bytes
	}
	return total, l.err
}

// noCount is why experts cannot be computed.
const noCount = "the model has experts, but its metadata do not say how many (expert_count): convert it anew"

// computable reports tensors that Forward would not heed.
func computable(cfg Config, src Source) error {
	for _, name := range []string{"blk.0.ffn_gate_exps.weight", "blk.0.ffn_gate.0.weight"} {
		if cfg.Experts == 0 && src.Has(name) {
			return fmt.Errorf("tensor %q: %s", name, noCount)
		}
	}
	return nil
}

// Load reads and packs the layers of span, with the embedding if it begins
// with layer 0 and the head if it ends with the last. It stops between tensors
// when ctx ends. Close the model to free its memory; src must outlive it.
func Load(ctx context.Context, cfg Config, src Source, span shard.Span, opts Options) (*Model, error) {
	if opts.Pool == nil {
		return nil, errors.New("model: Options.Pool is not set")
	}
	total, err := MemoryBytes(cfg, src, span)
	if err != nil {
		return nil, err
	}
	if opts.MemoryBytes > 0 && total > opts.MemoryBytes {
		return nil, &TooBigError{Span: span, NeedBytes: total, LimitBytes: opts.MemoryBytes}
	}
	m := &Model{cfg: cfg, span: span, pool: opts.Pool, rounding: opts.Rounding, kv: opts.KV, bytes: total}
	if err := m.load(ctx, src, opts); err != nil {
		m.Close()
		return nil, err
	}
	m.s.init(m)
	return m, nil
}

// load fills m's weights.
func (m *Model) load(ctx context.Context, src Source, opts Options) error {
	l := loader{cfg: m.cfg, src: src, pool: m.pool}
	m.embed = l.embedding(m.span)
	if err := m.loadRope(&l); err != nil {
		return err
	}
	plans := m.plans(&l)
	done, fresh := int64(0), []*plan(nil)
	for i, p := range plans {
		packed, err := l.obtain(ctx, plans[i:], opts.Packs)
		if err != nil {
			return err
		}
		if packed {
			fresh = append(fresh, p)
		}
		if at := m.span.Start + shard.Layer(i); at < m.span.End {
			m.layers = append(m.layers, l.layer(at, p))
		} else {
			m.head = head{
				mem: p.mem, norm: l.vector(headNormName, m.cfg.Dim), bias: l.optional(headNormBiasName, m.cfg.Dim), out: p.mats[0].packed,
			}
		}
		if done += p.bytes; opts.Progress != nil && l.err == nil {
			opts.Progress(done, m.bytes)
		}
	}
	l.pool.Rest()
	if l.err == nil {
		m.settle(opts.Packs, fresh, len(plans))
		if opts.Settled && m.settling != nil {
			m.settling.done.Wait()
		}
	}
	return l.err
}

// embedding returns the embedding, which spans that begin with layer 0 have.
func (l *loader) embedding(span shard.Span) (e embedding) {
	if span.Start > 0 {
		return e
	}
	e.Tensor = l.tensor(embedName, l.cfg.Vocab, l.cfg.Dim)
	e.src, _ = l.src.(releaser)
	if maker, ok := l.src.(maker); ok && maker.Makes(embedName) {
		e.made = maker
	}
	if l.err == nil && e.Data == nil && e.made == nil {
		l.fail(fmt.Errorf("tensor %q is not here: fetch it before loading", embedName))
	}
	return e
}

// plans returns the plans of m's layers, and of the head if m has it.
func (m *Model) plans(l *loader) []*plan {
	plans := make([]*plan, 0, m.span.Len()+1)
	for i := m.span.Start; i < m.span.End; i++ {
		plans = append(plans, l.layerPlan(i))
	}
	if m.HasHead() {
		plans = append(plans, l.headPlan())
	}
	return plans
}

// obtain brings the matrices of the first of plans to memory: from packs, or
// else by packing them.
func (l *loader) obtain(ctx context.Context, plans []*plan, packs *weights.Packs) (packed bool, err error) {
	p := plans[0]
	if l.err == nil && packs != nil {
		if p.key = l.packKey(p); l.mapped(p, packs) {
			return false, nil
		}
	}
	if len(plans) > 1 {
		l.willNeed(plans[1])
	}
	p.mem, err = l.fill(ctx, p)
	return true, err
}

// willNeed says that the tensors of a plan will be read soon: the disk works
// while others are packed.
func (l *loader) willNeed(p *plan) {
	if r, ok := l.src.(releaser); ok {
		for i := range p.mats {
			r.WillNeed(p.mats[i].data)
		}
	}
}

// release says that data, which are packed, are not read again soon: they would
// count twice in the memory of the process.
func (l *loader) release(data []byte) {
	if r, ok := l.src.(releaser); ok {
		r.Release(data)
	}
}

// A loader finds, checks and packs tensors. It keeps the first error.
type loader struct {
	cfg  Config
	src  Source
	pool *par.Pool
	err  error

	layouts map[tensorio.Type]string // see layoutOf
}

// fail keeps the first error.
func (l *loader) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// tensor returns a tensor and checks its shape.
func (l *loader) tensor(name string, want ...int) tensorio.Tensor {
	t, err := l.src.Tensor(name)
	if err != nil {
		l.fail(fmt.Errorf("tensor %q: %w", name, err))
		return tensorio.Tensor{}
	}
	if !slices.Equal(t.Shape, want) {
		l.fail(fmt.Errorf("tensor %q has shape %v, want %v by the model's metadata", name, t.Shape, want))
		return tensorio.Tensor{}
	}
	last := len(want) - 1
	rows, cols := 1, want[last]
	for _, n := range want[:last] {
		rows *= n
	}
	rowBytes, err := t.Type.RowBytes(cols)
	if err == nil {
		err = t.Type.Supported()
	}
	if err != nil {
		l.fail(fmt.Errorf("tensor %q: %w", name, err))
		return tensorio.Tensor{}
	}
	if need := rows * rowBytes; t.Data != nil && len(t.Data) != need {
		l.fail(fmt.Errorf("tensor %q has %d bytes, want %d", name, len(t.Data), need))
		return tensorio.Tensor{}
	}
	return t
}

// vector returns a tensor of the given shape as float32.
func (l *loader) vector(name string, shape ...int) []float32 {
	t := l.tensor(name, shape...)
	if l.err != nil {
		return nil
	}
	v := make([]float32, t.Elements())
	if err := quant.Dequantize(v, t.Type, t.Data); err != nil {
		l.fail(fmt.Errorf("tensor %q: %w", name, err))
	}
	return v
}

// optional is vector for a tensor that need not be there: nil if it is not.
func (l *loader) optional(name string, shape ...int) []float32 {
	if !l.src.Has(name) {
		return nil
	}
	return l.vector(name, shape...)
}

// alignBytes is where matrices begin: a cache line.
const alignBytes = 64

// A source is rows of a tensor to be packed as a matrix.
type matrixPlan struct {
	name       string
	row        int // of the tensor, the first one
	typ        tensorio.Type
	rows, cols int
	data       []byte // of the rows; nil if they are made
	at, bytes  int64  // in the plan's memory
	packed     *quant.Matrix
	made       maker // of the rows; nil if data has them
}

// A plan is matrices that are packed into one piece of memory.
type plan struct {
	mats  []matrixPlan
	bytes int64
	key   string // under which the packed form is kept; "" if it is not
	mem   memory // once it is there
}

// matrices makes the matrices of p over their memory.
func (p *plan) matrices(mem []byte) error {
	for i := range p.mats {
		mp := &p.mats[i]
		var err error
		if mp.packed, err = quant.NewMatrix(mp.typ, mp.rows, mp.cols, mem[mp.at:][:mp.bytes:mp.bytes]); err != nil {
			return fmt.Errorf("tensor %q: %w", mp.name, err)
		}
	}
	return nil
}

// add plans rows [lo, lo+rows) of the matrix [total, cols] with the given name.
func (l *loader) add(p *plan, name string, total, cols, lo, rows int) {
	l.addPart(p, l.tensor(name, total, cols), lo, rows, cols)
}

// addPart plans rows [lo, lo+rows) of t, whose innermost dimension is cols.
func (l *loader) addPart(p *plan, t tensorio.Tensor, lo, rows, cols int) {
	if l.err != nil {
		return
	}
	n, err := quant.PackedBytes(t.Type, rows, cols)
	if err != nil {
		l.fail(fmt.Errorf("tensor %q: %w", t.Name, err))
		return
	}
	mp := matrixPlan{name: t.Name, row: lo, typ: t.Type, rows: rows, cols: cols, at: p.bytes, bytes: int64(n)}
	if maker, ok := l.src.(maker); ok && t.Data == nil && maker.Makes(t.Name) {
		mp.made = maker
	}
	if t.Data != nil {
		rowBytes, _ := t.Type.RowBytes(cols) // checked with the shape
		mp.data = t.Data[lo*rowBytes : (lo+rows)*rowBytes]
	}
	p.mats = append(p.mats, mp)
	p.bytes += (int64(n) + alignBytes - 1) / alignBytes * alignBytes
}

// fill takes memory for a plan and packs its matrices there.
func (l *loader) fill(ctx context.Context, p *plan) (memory, error) {
	if l.err != nil {
		return memory{}, l.err
	}
	mem, err := offheap.Alloc(p.bytes)
	if err != nil {
		return memory{}, err
	}
	err = p.matrices(mem)
	for i := range p.mats {
		if err != nil {
			break
		}
		if err = l.pack(ctx, &p.mats[i]); err != nil && ctx.Err() == nil {
			err = fmt.Errorf("tensor %q: %w", p.mats[i].name, err)
		}
	}
	if err != nil {
		l.pool.Rest()
		return memory{}, errors.Join(err, offheap.Free(mem))
	}
	return memory{data: mem}, nil
}

// packTile and packSlab are how many bytes of a packed matrix are one worker's
// tile, and how many are packed before their source leaves the memory.
const (
	packTile = 256 << 10
	packSlab = 32 << 20
)

// pack packs a matrix, slab by slab.
func (l *loader) pack(ctx context.Context, mp *matrixPlan) error {
	panels := mp.packed.Panels()
	work := packing{matrixPlan: mp, panels: max(1, packTile/mp.packed.PanelBytes())}
	slab := max(1, packSlab/mp.packed.PanelBytes()/work.panels) * work.panels
	rowBytes := len(mp.data) / mp.rows
	for lo := 0; lo < panels; lo += slab {
		if err := ctx.Err(); err != nil {
			return err
		}
		work.lo, work.hi = lo, min(lo+slab, panels)
		l.pool.Run(tiles(work.hi-work.lo, work.panels), &work)
		if work.err != nil {
			return work.err
		}
		if mp.made != nil {
			mp.made.ReleaseRows(mp.name, mp.row+lo*quant.PanelRows, min(work.hi*quant.PanelRows, mp.rows)-lo*quant.PanelRows)
			continue
		}
		l.release(mp.data[lo*quant.PanelRows*rowBytes : min(work.hi*quant.PanelRows, mp.rows)*rowBytes])
	}
	return nil
}

// packing packs panels [lo, hi) of a matrix, so many panels a tile.
type packing struct {
	*matrixPlan
	lo, hi, panels int

	mu  sync.Mutex // guards what follows
	err error      // the last one
}

// Tile packs the panels of one tile.
func (p *packing) Tile(_, tile int) {
	lo := p.lo + tile*p.panels
	hi := min(lo+p.panels, p.hi)
	var err error
	if p.made != nil {
		err = p.makePanels(lo, hi)
	} else {
		err = p.packed.PackPanels(p.data, lo, hi)
	}
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err = err
	}
}

// makePanels packs panels whose rows have to be made first.
func (p *packing) makePanels(lo, hi int) error {
	part := p.packed.Part(lo, hi)
	rows, err := p.made.Rows(p.name, p.row+lo*quant.PanelRows, part.Rows())
	if err != nil {
		return err
	}
	return part.PackPanels(rows, 0, hi-lo)
}

// tiles returns how many tiles of so many items n items make.
func tiles(n, of int) int { return (n + of - 1) / of }

// bounds returns the items [lo, hi) of a tile.
func bounds(tile, of, n int) (lo, hi int) { return tile * of, min(n, (tile+1)*of) }
