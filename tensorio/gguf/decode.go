package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/shardnode/shardnode/tensorio"
)

// extent is the place of some bytes in the header.
type extent struct{ lo, hi int64 }

func (e extent) of(b []byte) string { return alias(b[e.lo:e.hi]) }

// rawEntry is an entry of the metadata by its places.
type rawEntry struct {
	key, value extent
	kind, elem valueKind
	count      int64
}

// rawTensor is a tensor info as the header has it.
type rawTensor struct {
	name   extent
	dims   [maxDims]uint64 // [innermost, ..., outermost]
	rank   uint32
	typ    tensorio.Type
	offset uint64 // from the start of the data
}

// rawHeader is what the decoder found; its extents point into the header.
type rawHeader struct {
	version uint32
	entries []rawEntry
	tensors []TensorInfo // offsets count from the start of the data
}

// decoder walks a header through a small window. Once err is set, its methods
// return zeros.
type decoder struct {
	r *bufio.Reader
	// at is the offset of the next byte.
	//
	// Invariant: at <= limit.
	at, limit int64
	buf       [8]byte
	// header is nil on a first walk, which keeps nothing and finds the header's
	// end, and the header on the second walk.
	header []byte
	err    error
}

// windowBytes is the decoder's window on the file.
const windowBytes = 32 << 10

func newDecoder(r io.ReaderAt, limit int64) *decoder {
	return &decoder{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, limit), int(min(windowBytes, max(limit, 16)))), limit: limit}
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("byte %d: "+format, append([]any{d.at}, args...)...)
	}
}

// need reports whether n bytes are left, and fails if not.
func (d *decoder) need(n uint64, what string) bool {
	if d.err != nil {
		return false
	}
	if n > uint64(d.limit-d.at) {
		d.fail("%s wants %d bytes, %d are left: the file is truncated or damaged; download it again", what, n, d.limit-d.at)
		return false
	}
	return true
}

func (d *decoder) uint(n int, what string) uint64 {
	if !d.need(uint64(n), what) {
		return 0
	}
	d.buf = [8]byte{}
	if _, err := io.ReadFull(d.r, d.buf[:n]); err != nil {
		d.fail("read %s: %w", what, err)
		return 0
	}
	d.at += int64(n)
	return binary.LittleEndian.Uint64(d.buf[:])
}

func (d *decoder) u32(what string) uint32 { return uint32(d.uint(4, what)) }
func (d *decoder) u64(what string) uint64 { return d.uint(8, what) }

// skip steps over n bytes.
func (d *decoder) skip(n uint64, what string) extent {
	if !d.need(n, what) {
		return extent{}
	}
	e := extent{d.at, d.at + int64(n)}
	for d.at < e.hi {
		part := min(e.hi-d.at, math.MaxInt32)
		if _, err := d.r.Discard(int(part)); err != nil {
			d.fail("read %s: %w", what, err)
			return extent{}
		}
		d.at += part
	}
	return e
}

// count reads a count of things that take at least each bytes.
func (d *decoder) count(each uint64, what string) int64 {
	n := d.u64(what)
	if d.err != nil {
		return 0
	}
	if hi, lo := bits.Mul64(n, each); hi != 0 || lo > uint64(d.limit-d.at) {
		d.fail("%s is %d, more than the file can hold: it is damaged; download it again", what, n)
		return 0
	}
	return int64(n)
}

func (d *decoder) name(what string) extent {
	n := d.u64(what)
	if d.err == nil && (n == 0 || n > maxName) {
		d.fail("%s of %d bytes, 1 to %d are allowed: the file is damaged; download it again", what, n, maxName)
		return extent{}
	}
	return d.skip(n, what)
}

// walk goes over all up to the end of the tensor infos.
func (d *decoder) walk() rawHeader {
	var h rawHeader
	d.skip(4, "magic")
	h.version = d.u32("version")
	if d.err == nil && (h.version < 2 || h.version > 3) {
		d.err = versionError(h.version)
	}
	tensors := d.count(24, "number of tensors")
	keys := d.count(13, "number of keys")
	if tensors > maxTensors || keys > maxKeys {
		d.fail("%d tensors and %d keys, at most %d and %d are allowed", tensors, keys, maxTensors, maxKeys)
	}
	d.walkEntries(&h, keys, tensors)
	return h
}

// walkEntries goes over the keys and the tensor infos, and keeps them in h when
// the header is there.
func (d *decoder) walkEntries(h *rawHeader, keys, tensors int64) {
	keep := d.header != nil
	if keep && d.err == nil {
		h.entries, h.tensors = make([]rawEntry, keys), make([]TensorInfo, tensors)
	}
	for i := int64(0); i < keys && d.err == nil; i++ {
		if e := d.entry(); keep {
			h.entries[i] = e
		}
	}
	for i := int64(0); i < tensors && d.err == nil; i++ {
		t := d.tensor()
		if !keep || d.err != nil {
			continue
		}
		if h.tensors[i], d.err = t.info(d.header); d.err != nil {
			return
		}
	}
}

func (d *decoder) entry() rawEntry {
	e := rawEntry{key: d.name("key")}
	e.kind = valueKind(d.u32("type of a value"))
	if e.kind == kindArray {
		e.elem, e.count = d.arrayHead()
		lo := d.at
		d.elements(e.elem, e.count, 1)
		e.value = extent{lo, d.at}
		return e
	}
	lo := d.at
	d.elements(e.kind, 1, 0)
	e.value = extent{lo, d.at}
	return e
}

func (d *decoder) arrayHead() (valueKind, int64) {
	elem := valueKind(d.u32("type of an array"))
	if d.err == nil && !elem.known() {
		d.fail("array of values of type %d, which is unknown: the file is damaged or newer than this program", elem)
		return 0, 0
	}
	return elem, d.count(elem.minBytes(), "length of an array")
}

// elements steps over n values of kind k.
func (d *decoder) elements(k valueKind, n int64, depth int) {
	switch {
	case d.err != nil:
	case !k.known():
		d.fail("value of type %d, which is unknown: the file is damaged or newer than this program", k)
	case k == kindString:
		for i := int64(0); i < n && d.err == nil; i++ {
			d.skip(d.u64("length of a string"), "string")
		}
	case k == kindArray:
		if depth >= maxDepth {
			d.fail("arrays nested deeper than %d: the file is damaged", maxDepth)
			return
		}
		for i := int64(0); i < n && d.err == nil; i++ {
			elem, count := d.arrayHead()
			d.elements(elem, count, depth+1)
		}
	default:
		d.skip(uint64(n)*k.minBytes(), "value") // count checked the product
	}
}

func (d *decoder) tensor() rawTensor {
	t := rawTensor{name: d.name("name of a tensor")}
	t.rank = d.u32("number of dimensions")
	if d.err == nil && (t.rank == 0 || t.rank > maxDims) {
		d.fail("tensor of %d dimensions, 1 to %d are allowed: the file is damaged; download it again", t.rank, maxDims)
		return t
	}
	for i := range min(t.rank, maxDims) {
		t.dims[i] = d.u64("dimension")
	}
	t.typ = tensorio.Type(d.u32("type of a tensor"))
	t.offset = d.u64("offset of a tensor")
	return t
}

// meta cuts the metadata out of the header b.
func (h *rawHeader) meta(b []byte) (*Meta, error) {
	m := &Meta{index: make(map[string]int32, len(h.entries)), entries: make([]entry, len(h.entries))}
	for i, e := range h.entries {
		key := e.key.of(b)
		if _, twice := m.index[key]; twice {
			return nil, fmt.Errorf("key %q is there twice: the file is damaged; download it again", key)
		}
		m.index[key] = int32(i)
		m.entries[i] = entry{key: key, Value: Value{kind: e.kind, elem: e.elem, count: int(e.count), raw: e.value.of(b)}}
	}
	return m, nil
}

// info gives t, whose header is b, a size; its offset counts from the data.
func (t *rawTensor) info(b []byte) (TensorInfo, error) {
	info := TensorInfo{Name: t.name.of(b), Type: t.typ, Shape: make([]int, t.rank)}
	size, err := t.size(info.Shape)
	if err != nil {
		return TensorInfo{}, fmt.Errorf("tensor %q: %w", info.Name, err)
	}
	if t.offset > uint64(math.MaxInt64/2-size) {
		return TensorInfo{}, fmt.Errorf("tensor %q starts at byte %d of the data, which is out of range: the file is damaged; download it again", info.Name, t.offset)
	}
	info.Offset, info.Bytes = int64(t.offset), size
	return info, nil
}

// size fills shape, and returns the bytes of the tensor, at most a quarter of
// what an int64 holds.
func (t *rawTensor) size(shape []int) (int64, error) {
	rows, cols := uint64(1), uint64(1)
	for i, n := range t.dims[:t.rank] {
		if n == 0 || n > math.MaxInt {
			return 0, fmt.Errorf("dimension %d is %d: the file is damaged; download it again", i, n)
		}
		shape[int(t.rank)-1-i] = int(n)
		if i == 0 {
			cols = n
			continue
		}
		hi, lo := bits.Mul64(rows, n)
		if hi != 0 {
			return 0, fmt.Errorf("dimensions %v overflow: the file is damaged; download it again", t.dims[:t.rank])
		}
		rows = lo
	}
	row, err := t.typ.RowBytes(int(cols))
	if err != nil {
		return 0, err
	}
	hi, lo := bits.Mul64(rows, uint64(row))
	if hi != 0 || lo > math.MaxInt64/4 {
		return 0, fmt.Errorf("dimensions %v overflow: the file is damaged; download it again", t.dims[:t.rank])
	}
	return int64(lo), nil
}
