package gguf

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"unsafe"
)

// A valueKind is the type of a metadata value (gguf_metadata_value_type).
type valueKind uint32

const (
	kindUint8   valueKind = 0
	kindInt8    valueKind = 1
	kindUint16  valueKind = 2
	kindInt16   valueKind = 3
	kindUint32  valueKind = 4
	kindInt32   valueKind = 5
	kindFloat32 valueKind = 6
	kindBool    valueKind = 7
	kindString  valueKind = 8
	kindArray   valueKind = 9
	kindUint64  valueKind = 10
	kindInt64   valueKind = 11
	kindFloat64 valueKind = 12
)

// kinds has the name and the least bytes of a value of each kind.
var kinds = [...]struct {
	name  string
	bytes uint64
}{
	{"u8", 1},
	{"i8", 1},
	{"u16", 2},
	{"i16", 2},
	{"u32", 4},
	{"i32", 4},
	{"f32", 4},
	{"bool", 1},
	{"str", 8},
	{"arr", 12},
	{"u64", 8},
	{"i64", 8},
	{"f64", 8},
}

func (k valueKind) known() bool      { return int64(k) < int64(len(kinds)) }
func (k valueKind) minBytes() uint64 { return kinds[k].bytes }

// String returns the short name of k, such as "u32".
func (k valueKind) String() string {
	if k.known() {
		return kinds[k].name
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// A Value is a metadata value in the file's own bytes.
type Value struct {
	kind  valueKind
	elem  valueKind // of an array
	count int       // of an array
	raw   string    // without the type; without type and length of an array
}

// entry is a key with its value.
type entry struct {
	key string
	Value
}

// Meta is the metadata of a model: keys in the file's order, with values. The
// second result of its getters is false when the key is missing or its value
// is of another sort.
type Meta struct {
	index   map[string]int32
	entries []entry
}

// Len returns the number of keys.
func (m *Meta) Len() int { return len(m.entries) }

// Keys returns the keys in the file's order.
func (m *Meta) Keys() []string {
	keys := make([]string, len(m.entries))
	for i, e := range m.entries {
		keys[i] = e.key
	}
	return keys
}

// All yields the keys with their values in the file's order.
func (m *Meta) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for _, e := range m.entries {
			if !yield(e.key, e.Value) {
				return
			}
		}
	}
}

// Value returns the value of key.
func (m *Meta) Value(key string) (Value, bool) {
	i, ok := m.index[key]
	if !ok {
		return Value{}, false
	}
	return m.entries[i].Value, true
}

// Str returns the string of key.
func (m *Meta) Str(key string) (string, bool) {
	v, ok := m.Value(key)
	if !ok || v.kind != kindString {
		return "", false
	}
	return v.raw[8:], true
}

// Bool returns the boolean of key.
func (m *Meta) Bool(key string) (bool, bool) {
	v, ok := m.Value(key)
	if !ok || v.kind != kindBool {
		return false, false
	}
	return v.raw[0] != 0, true
}

// Uint returns the integer of key, of any width, if it is not negative.
func (m *Meta) Uint(key string) (uint64, bool) {
	v, ok := m.Value(key)
	if !ok {
		return 0, false
	}
	return v.uint()
}

// Int returns the integer of key, of any width, if an int64 holds it.
func (m *Meta) Int(key string) (int64, bool) {
	v, ok := m.Value(key)
	if !ok {
		return 0, false
	}
	return v.int()
}

// Float returns the number of key; integers count as numbers.
func (m *Meta) Float(key string) (float64, bool) {
	v, ok := m.Value(key)
	if !ok {
		return 0, false
	}
	return v.float()
}

// Strs returns the strings of key. They share the header's memory; the slice
// is made anew, so keep it.
func (m *Meta) Strs(key string) ([]string, bool) {
	v, ok := m.Value(key)
	if !ok || v.kind != kindArray || v.elem != kindString {
		return nil, false
	}
	out := make([]string, v.count)
	rest := v.raw
	for i := range out {
		n := 8 + int(le64(rest))
		out[i], rest = rest[8:n], rest[n:]
	}
	return out, true
}

// Floats returns the floating-point array of key as a new slice.
func (m *Meta) Floats(key string) ([]float32, bool) {
	v, ok := m.Value(key)
	if !ok || v.kind != kindArray || (v.elem != kindFloat32 && v.elem != kindFloat64) {
		return nil, false
	}
	out := make([]float32, v.count)
	for i := range out {
		x, _ := v.at(i).float()
		out[i] = float32(x)
	}
	return out, true
}

// Bools returns an array of truth values.
func (m *Meta) Bools(key string) ([]bool, bool) {
	v, ok := m.Value(key)
	if !ok || v.kind != kindArray || v.elem != kindBool {
		return nil, false
	}
	out := make([]bool, v.count)
	for i := range out {
		out[i] = v.at(i).raw[0] != 0
	}
	return out, true
}

// Ints returns the integer array of key, of any width, as a new slice, if
// every element fits an int32.
func (m *Meta) Ints(key string) ([]int32, bool) {
	v, ok := m.Value(key)
	if !ok || v.kind != kindArray || v.elem == kindString || v.elem == kindArray {
		return nil, false
	}
	out := make([]int32, v.count)
	for i := range out {
		x, ok := v.at(i).int()
		if !ok || int64(int32(x)) != x {
			return nil, false
		}
		out[i] = int32(x)
	}
	return out, true
}

// alignment returns the value of general.alignment.
func (m *Meta) alignment() (int64, error) {
	v, ok := m.Value(alignmentKey)
	if !ok {
		return defaultAlignment, nil
	}
	n, ok := v.int()
	if !ok || n <= 0 || n&(n-1) != 0 || n > maxAlignment {
		return 0, fmt.Errorf("%s is %v, want a power of two, at most 1 GiB: the file is damaged; download it again", alignmentKey, v)
	}
	return n, nil
}

// at returns element i of an array of numbers.
func (v Value) at(i int) Value {
	n := int(v.elem.minBytes())
	return Value{kind: v.elem, raw: v.raw[i*n : (i+1)*n]}
}

func (v Value) uint() (uint64, bool) {
	switch v.kind {
	case kindUint8, kindUint16, kindUint32, kindUint64:
		return le64(v.raw), true
	}
	n, ok := v.int()
	return uint64(n), ok && n >= 0
}

func (v Value) int() (int64, bool) {
	switch v.kind {
	case kindUint8, kindUint16, kindUint32, kindUint64:
		n := le64(v.raw)
		return int64(n), n <= math.MaxInt64
	case kindInt8:
		return int64(int8(le64(v.raw))), true
	case kindInt16:
		return int64(int16(le64(v.raw))), true
	case kindInt32:
		return int64(int32(le64(v.raw))), true
	case kindInt64:
		return int64(le64(v.raw)), true
	}
	return 0, false
}

func (v Value) float() (float64, bool) {
	switch v.kind {
	case kindFloat32:
		return float64(math.Float32frombits(uint32(le64(v.raw)))), true
	case kindFloat64:
		return math.Float64frombits(le64(v.raw)), true
	}
	if n, ok := v.int(); ok {
		return float64(n), true
	}
	n, ok := v.uint()
	return float64(n), ok
}

// String returns the value for people, one line, at most some 60 characters.
func (v Value) String() string {
	switch v.kind {
	case kindString:
		return quote(v.raw[8:])
	case kindBool:
		return strconv.FormatBool(v.raw[0] != 0)
	case kindArray:
		return v.list()
	case kindFloat32:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(le64(v.raw)))), 'g', -1, 32)
	case kindFloat64:
		return strconv.FormatFloat(math.Float64frombits(le64(v.raw)), 'g', -1, 64)
	}
	if n, ok := v.int(); ok {
		return strconv.FormatInt(n, 10)
	}
	n, _ := v.uint()
	return strconv.FormatUint(n, 10)
}

// list shows the type, the length and the first elements of an array.
func (v Value) list() string {
	const shown = 4
	var b strings.Builder
	fmt.Fprintf(&b, "%v[%d]", v.elem, v.count)
	if v.elem == kindArray {
		return b.String()
	}
	rest := v.raw
	for i := range min(v.count, shown) {
		b.WriteByte(' ')
		if v.elem == kindString {
			n := 8 + int(le64(rest))
			b.WriteString(quote(rest[8:n]))
			rest = rest[n:]
			continue
		}
		b.WriteString(v.at(i).String())
	}
	if v.count > shown {
		b.WriteString(" ...")
	}
	return b.String()
}

// quote returns s quoted, cut to 48 bytes.
func quote(s string) string {
	const most = 48
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "..."
	}
	return strconv.Quote(s)
}

// le64 returns the little-endian number at the start of s, which may be
// shorter than 8 bytes.
func le64(s string) uint64 {
	var b [8]byte
	copy(b[:], s)
	return binary.LittleEndian.Uint64(b[:])
}

// alias returns b as a string without a copy; b must not change any more.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
