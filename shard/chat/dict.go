package chat

import "strings"

// A Dict maps keys to values and keeps the order in which keys came, as
// Python's does and as templates print it. The zero Dict is empty and usable.
type Dict struct {
	keys   []any
	values []any
	index  map[any]int // hash of a key to its place in keys and values
}

// Len returns the number of keys. A nil Dict has none.
func (d *Dict) Len() int {
	if d == nil {
		return 0
	}
	return len(d.keys)
}

// Set stores v under key: a new key comes last, a known one keeps its place.
// v may be nil, bool, int, int64, float64, string, *List or *Dict.
func (d *Dict) Set(key string, v any) { d.put(key, key, fromGo(v)) }

// Get returns the value stored under key.
func (d *Dict) Get(key string) (any, bool) {
	if d == nil {
		return nil, false
	}
	i, ok := d.index[key]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

// Keys returns the keys that are strings, in order.
func (d *Dict) Keys() []string {
	var out []string
	for i := range d.Len() {
		if s, ok := text(d.keys[i]); ok {
			out = append(out, s)
		}
	}
	return out
}

func (d *Dict) put(hash, key, v any) {
	if i, ok := d.index[hash]; ok {
		d.values[i] = v
		return
	}
	if d.index == nil {
		d.index = make(map[any]int)
	}
	d.index[hash] = len(d.keys)
	d.keys = append(d.keys, key)
	d.values = append(d.values, v)
}

// set stores v under any hashable key.
func (d *Dict) set(r *render, key, v any) { d.put(r.hash(key), key, v) }

// lookup returns the value under any hashable key.
func (d *Dict) lookup(r *render, key any) (any, bool) {
	i, ok := d.index[r.hash(key)]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

// pairs returns the dict's items as tuples.
func (d *Dict) pairs(r *render) []any {
	r.growItems(d.Len())
	a := make([]any, d.Len())
	for i, k := range d.keys {
		a[i] = tuple(k, d.values[i])
	}
	return a
}

// tupleHash is the hash of a tuple: its repr, of hashable items.
type tupleHash string

// hash returns what tells key apart from other keys: 1, 1.0 and True are one
// key, as in Python. An unhashable key is an error.
func (r *render) hash(key any) any { return r.hashAt(key, 0) }

func (r *render) hashAt(key any, depth int) any {
	r.deeper(depth)
	switch k := key.(type) {
	case markup:
		return string(k)
	case bool:
		n, _ := integer(k)
		return n
	case float64:
		if whole(k) {
			return int64(k)
		}
	case undefined:
		return undefined{}
	case function, *Dict:
		r.fail("unhashable type: '%s'", typeName(key))
	case *List:
		if k.kind != kindTuple {
			r.fail("unhashable type: '%s'", typeName(key))
		}
		var b strings.Builder
		for _, x := range k.items {
			h := r.repr(r.hashAt(x, depth+1))
			r.grow(b.Len() + len(h))
			b.WriteString(h)
			b.WriteByte(',')
		}
		return tupleHash(b.String())
	}
	return key
}
