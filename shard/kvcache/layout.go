package kvcache

import (
	"cmp"
	"fmt"
	"unsafe"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// width is the number of positions, or of columns, that lie side by side: a
// page is made of the panels that [vec.Product] multiplies with.
const width = vec.PanelWidth

// A layout says where the keys and values of one head of one layer lie in a
// page: a part for each head, the heads of a layer together, the layers in
// order. Within a part, all in bytes:
//
//	keys       [pageTokens/16, keyDim, 16], panels of positions
//	values     [valDim/16, pageTokens, 16], panels of columns
//	keyScales  [pageTokens] float32, if the precision is Int8
//	valScales  [pageTokens] float32, likewise
//
// Numbers that 16 does not divide are rounded up. Positions that were not put
// hold anything; columns that do not exist hold 0.
type layout struct {
	keys, vals int // elements of both
	scales     int // of each
	vals0      int // where the values begin
	scales0    int // where the scales begin
	part       int // a multiple of 64
}

// up returns n rounded up to a multiple of m.
func up(n, m int) int { return (n + m - 1) / m * m }

// layout returns that of c, which has its defaults.
func (c *Config) layout() layout {
	l := layout{keys: up(c.PageTokens, width) * c.KeyDim, vals: up(c.ValDim, width) * c.PageTokens}
	if c.Precision == Int8 {
		l.scales = c.PageTokens
	}
	size := c.Precision.bytes()
	l.vals0 = up(l.keys*size, 64)
	l.scales0 = up(l.vals0+l.vals*size, 64)
	l.part = up(l.scales0+2*4*l.scales, 64)
	return l
}

// pageBytes returns the memory of a page. c has its defaults.
func (c *Config) pageBytes() int64 {
	return int64(c.Layers) * int64(c.KVHeads) * int64(c.layout().part)
}

// TokenBytes returns what one position costs in all layers: its part of a page.
func (c Config) TokenBytes() int64 {
	c.PageTokens = cmp.Or(c.PageTokens, defaultPageTokens)
	n := int64(c.PageTokens)
	return (c.pageBytes() + n - 1) / n
}

// elements returns n elements of mem.
func elements[T any](mem []byte, at, n int) []T {
	var one T
	end := at + n*int(unsafe.Sizeof(one))
	return unsafe.Slice((*T)(unsafe.Pointer(&mem[at:end:end][0])), n)
}

// part returns the keys and values of one head of one layer in a page.
func part[T any](s *Session, layer, head, page int) (keys, vals []T) {
	l := &s.store.layout
	mem := s.pages[page].mem
	at := (layer*s.store.cfg.KVHeads + head) * l.part
	return elements[T](mem, at, l.keys), elements[T](mem, at+l.vals0, l.vals)
}

// Page returns the keys, [pageTokens/16, keyDim, 16], and the values,
// [valDim/16, pageTokens, 16], as float16 bits, of one head of one layer at the
// positions from page * PageTokens on: panels for [vec.Product]. The caller
// must not change them. Positions that were not put hold anything.
func (s *Session) Page(layer, head, page int) (keys, vals []uint16) {
	return part[uint16](s, layer, head, page)
}

// PageFloat32 is [Session.Page] for a store of precision [Float32].
func (s *Session) PageFloat32(layer, head, page int) (keys, vals []float32) {
	return part[float32](s, layer, head, page)
}

// PageInt8 is [Session.Page] for a store of precision [Int8].
func (s *Session) PageInt8(layer, head, page int) (keys, vals []int8) {
	return part[int8](s, layer, head, page)
}

// Scales returns what the keys and the values of [Session.PageInt8] are
// multiples of, both [pageTokens].
func (s *Session) Scales(layer, head, page int) (keys, vals []float32) {
	l := &s.store.layout
	at := (layer*s.store.cfg.KVHeads+head)*l.part + l.scales0
	both := elements[float32](s.pages[page].mem, at, 2*l.scales)
	return both[:l.scales:l.scales], both[l.scales:]
}

// Put stores the key k, [kvHeads, keyDim], and the value v, [kvHeads, valDim],
// of one position in the layer with index layer of the span. The position has
// been made room for. It returns [ErrOverflow], having stored what it could,
// if a value is not a number or beyond the range of the store's precision.
func (s *Session) Put(layer int, at shard.Pos, k, v []float32) error {
	c := &s.store.cfg
	if at < 0 || int(at) >= s.room {
		panic(fmt.Sprintf("kvcache: put at %d, room for %d positions", at, s.room))
	}
	page, row := int(at)/c.PageTokens, int(at)%c.PageTokens
	good := true
	for h := range c.KVHeads {
		key, val := k[h*c.KeyDim:][:c.KeyDim], v[h*c.ValDim:][:c.ValDim]
		switch c.Precision {
		case Float32:
			keys, vals := s.PageFloat32(layer, h, page)
			putRow(c, keys, vals, row, key, val)
		case Int8:
			good = s.putInt8(layer, h, page, row, key, val) && good
		default:
			good = s.putHalf(layer, h, page, row, key, val) && good
		}
	}
	if !good {
		return ErrOverflow
	}
	return nil
}

// putRow stores the key and value of one position, row of its page.
func putRow[T any](c *Config, keys, vals []T, row int, key, val []T) {
	putKey(c, keys, row, 0, key)
	putVal(c, vals, row, 0, val)
}

// putKey stores the elements of a key from column d on.
func putKey[T any](c *Config, keys []T, row, d int, key []T) {
	dst := keys[(row/width*c.KeyDim+d)*width+row%width:]
	for i, x := range key {
		dst[i*width] = x
	}
}

// putVal stores the elements of a value from column d on, a multiple of 16.
func putVal[T any](c *Config, vals []T, row, d int, val []T) {
	for ; len(val) > 0; d += width {
		n := min(width, len(val))
		copy(vals[(d/width*c.PageTokens+row)*width:][:n], val)
		val = val[n:]
	}
}

// chunk is how many values are converted at a time.
const chunk = 8 * width

// putHalf is Put of one head as float16.
func (s *Session) putHalf(layer, head, page, row int, key, val []float32) bool {
	c := &s.store.cfg
	keys, vals := s.Page(layer, head, page)
	overflow := false
	var half [chunk]uint16
	for d := 0; d < len(key); d += chunk {
		n := min(chunk, len(key)-d)
		overflow = vec.ToF16(half[:n], key[d:][:n]) || overflow
		putKey(c, keys, row, d, half[:n])
	}
	for d := 0; d < len(val); d += chunk {
		n := min(chunk, len(val)-d)
		overflow = vec.ToF16(half[:n], val[d:][:n]) || overflow
		putVal(c, vals, row, d, half[:n])
	}
	return !overflow
}

// putInt8 is Put of one head as whole numbers.
func (s *Session) putInt8(layer, head, page, row int, key, val []float32) bool {
	c := &s.store.cfg
	keys, vals := s.PageInt8(layer, head, page)
	keyScales, valScales := s.Scales(layer, head, page)
	var whole [chunk]int8
	scale, inverse, goodKey := int8Scale(key)
	keyScales[row] = scale
	for d := 0; d < len(key); d += chunk {
		n := min(chunk, len(key)-d)
		toInt8(whole[:n], key[d:][:n], inverse)
		putKey(c, keys, row, d, whole[:n])
	}
	scale, inverse, goodVal := int8Scale(val)
	valScales[row] = scale
	for d := 0; d < len(val); d += chunk {
		n := min(chunk, len(val)-d)
		toInt8(whole[:n], val[d:][:n], inverse)
		putVal(c, vals, row, d, whole[:n])
	}
	return goodKey && goodVal
}
