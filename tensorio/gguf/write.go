package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"

	"github.com/shardnode/shardnode/tensorio"
)

// writeVersion is the version that [Write] writes.
const writeVersion = 3

// NewMeta returns metadata without keys, to be filled with Set.
func NewMeta() *Meta { return &Meta{index: make(map[string]int32)} }

// Set gives key a value, at the end of the order if key is new. The value is a
// [Value] of another file, a string, a bool, a float32 or float64, an integer
// of fixed width, or a slice of one of these. Set copies slices.
func (m *Meta) Set(key string, value any) error {
	if len(key) == 0 || len(key) > maxName {
		return fmt.Errorf("key %q has %d bytes, want 1 to %d", key, len(key), maxName)
	}
	v, err := valueOf(value)
	if err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	if i, ok := m.index[key]; ok {
		m.entries[i].Value = v
		return nil
	}
	m.index[key] = int32(len(m.entries))
	m.entries = append(m.entries, entry{key: key, Value: v})
	return nil
}

// kindOf has the kind of a plain Go value, or of an element of a slice.
var kindOf = map[reflect.Kind]valueKind{
	reflect.Uint8: kindUint8, reflect.Int8: kindInt8, reflect.Uint16: kindUint16, reflect.Int16: kindInt16,
	reflect.Uint32: kindUint32, reflect.Int32: kindInt32, reflect.Uint64: kindUint64, reflect.Int64: kindInt64,
	reflect.Float32: kindFloat32, reflect.Float64: kindFloat64, reflect.Bool: kindBool,
}

// valueOf encodes a Go value.
func valueOf(value any) (Value, error) {
	switch x := value.(type) {
	case nil:
		return Value{}, errors.New("value is nil")
	case Value:
		return x, nil
	case string:
		return Value{kind: kindString, raw: alias(appendString(nil, x))}, nil
	case []string:
		var raw []byte
		for _, s := range x {
			raw = appendString(raw, s)
		}
		return Value{kind: kindArray, elem: kindString, count: len(x), raw: alias(raw)}, nil
	}
	rv := reflect.ValueOf(value)
	typ, slice := rv.Type(), rv.Kind() == reflect.Slice
	if slice {
		typ = typ.Elem()
	}
	kind, ok := kindOf[typ.Kind()]
	if !ok {
		return Value{}, fmt.Errorf("value of Go type %T: want a string, bool, float, fixed-width integer or a slice of these", value)
	}
	raw, err := binary.Append(nil, binary.LittleEndian, value)
	if err != nil {
		return Value{}, err
	}
	if slice {
		return Value{kind: kindArray, elem: kind, count: rv.Len(), raw: alias(raw)}, nil
	}
	return Value{kind: kind, raw: alias(raw)}, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendEntry appends e as files have it.
func appendEntry(b []byte, e entry) []byte {
	b = appendString(b, e.key)
	b = binary.LittleEndian.AppendUint32(b, uint32(e.kind))
	if e.kind == kindArray {
		b = binary.LittleEndian.AppendUint32(b, uint32(e.elem))
		b = binary.LittleEndian.AppendUint64(b, uint64(e.count))
	}
	return append(b, e.raw...)
}

// Write writes a GGUF file of version 3 with the tensors in the order given,
// aligned as general.alignment says, to 32 bytes if it is not set. Every
// tensor's Data must have the length that its type and shape give.
func Write(w io.Writer, m *Meta, tensors []tensorio.Tensor) error {
	return WriteEach(w, m, tensors, func(i int) ([]byte, error) { return tensors[i].Data, nil })
}

// WriteEach is [Write] for files larger than memory: it asks data for the bytes
// of each tensor, in order, when it writes them, and not for Data. What data
// returned may be changed at its next call.
func WriteEach(w io.Writer, m *Meta, tensors []tensorio.Tensor, data func(i int) ([]byte, error)) error {
	b, sizes, err := appendHeader(m, tensors)
	if err != nil {
		return err
	}
	align, err := m.alignment()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<20)
	write := func(data []byte) {
		_, _ = out.Write(data) // bufio keeps the error for Flush
		for range padded(int64(len(data)), align) - int64(len(data)) {
			_ = out.WriteByte(0)
		}
	}
	write(b)
	for i, t := range tensors {
		raw, err := data(i)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if int64(len(raw)) != sizes[i] {
			return fmt.Errorf("tensor %q: %v of shape %v takes %d bytes, its data has %d", t.Name, t.Type, t.Shape, sizes[i], len(raw))
		}
		write(raw)
	}
	return out.Flush()
}

// Layout returns the header of the file that [Write] would write, with the
// places of its tensors: what [Read] would return of it. Their Data are not read.
func Layout(m *Meta, tensors []tensorio.Tensor) (*File, error) {
	b, sizes, err := appendHeader(m, tensors)
	if err != nil {
		return nil, err
	}
	align, err := m.alignment()
	if err != nil {
		return nil, err
	}
	size := padded(int64(len(b)), align)
	for _, n := range sizes {
		size += padded(n, align)
	}
	return ReadHeader(b, size)
}

// appendHeader returns the header of a file, and the lengths of its tensors.
func appendHeader(m *Meta, tensors []tensorio.Tensor) ([]byte, []int64, error) {
	align, err := m.alignment()
	if err != nil {
		return nil, nil, err
	}
	b := append([]byte(nil), magic...)
	b = binary.LittleEndian.AppendUint32(b, writeVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(m.entries)))
	for _, e := range m.entries {
		b = appendEntry(b, e)
	}
	sizes, at := make([]int64, len(tensors)), int64(0)
	for i, t := range tensors {
		if b, sizes[i], err = appendTensorInfo(b, t, at); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		at += padded(sizes[i], align)
	}
	return b, sizes, nil
}

// appendTensorInfo checks t, appends its info and returns the length of its
// data; at is its offset in the data of the file.
func appendTensorInfo(b []byte, t tensorio.Tensor, at int64) ([]byte, int64, error) {
	if len(t.Name) == 0 || len(t.Name) > maxName || len(t.Shape) > maxDims {
		return nil, 0, fmt.Errorf("name of %d bytes and %d dimensions, want 1 to %d and at most %d", len(t.Name), len(t.Shape), maxName, maxDims)
	}
	raw := rawTensor{rank: uint32(len(t.Shape)), typ: t.Type}
	for i, n := range t.Shape {
		raw.dims[len(t.Shape)-1-i] = uint64(n)
	}
	size, err := raw.size(make([]int, len(t.Shape)))
	if err != nil {
		return nil, 0, err
	}
	if at > math.MaxInt64-size {
		return nil, 0, fmt.Errorf("its %d bytes begin at %d: too much for one file", size, at)
	}
	b = appendString(b, t.Name)
	b = binary.LittleEndian.AppendUint32(b, raw.rank)
	for _, n := range raw.dims[:raw.rank] {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
	return binary.LittleEndian.AppendUint64(b, uint64(at)), size, nil
}

// padded returns n rounded up to a multiple of align.
func padded(n, align int64) int64 { return (n + align - 1) / align * align }
