package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

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

// kindOf returns the kind of a plain value, or of the elements of a slice.
func kindOf(value any) (kind valueKind, count int, ok bool) {
	switch x := value.(type) {
	case uint8:
		return kindUint8, 1, true
	case int8:
		return kindInt8, 1, true
	case uint16:
		return kindUint16, 1, true
	case int16:
		return kindInt16, 1, true
	case uint32:
		return kindUint32, 1, true
	case int32:
		return kindInt32, 1, true
	case uint64:
		return kindUint64, 1, true
	case int64:
		return kindInt64, 1, true
	case float32:
		return kindFloat32, 1, true
	case float64:
		return kindFloat64, 1, true
	case bool:
		return kindBool, 1, true
	case []uint8:
		return kindUint8, len(x), true
	case []int8:
		return kindInt8, len(x), true
	case []uint16:
		return kindUint16, len(x), true
	case []int16:
		return kindInt16, len(x), true
	case []uint32:
		return kindUint32, len(x), true
	case []int32:
		return kindInt32, len(x), true
	case []uint64:
		return kindUint64, len(x), true
	case []int64:
		return kindInt64, len(x), true
	case []float32:
		return kindFloat32, len(x), true
	case []float64:
		return kindFloat64, len(x), true
	case []bool:
		return kindBool, len(x), true
	}
	return 0, 0, false
}

// valueOf encodes a Go value.
func valueOf(value any) (Value, error) {
	switch x := value.(type) {
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
	kind, count, ok := kindOf(value)
	if !ok {
		return Value{}, fmt.Errorf("value of Go type %T: want a string, bool, float, fixed-width integer or a slice of these", value)
	}
	raw, err := binary.Append(nil, binary.LittleEndian, value)
	if err != nil {
		return Value{}, err
	}
	if uint64(len(raw)) == kind.minBytes() && !isSlice(value) {
		return Value{kind: kind, raw: alias(raw)}, nil
	}
	return Value{kind: kindArray, elem: kind, count: count, raw: alias(raw)}, nil
}

// isSlice reports whether a value that kindOf knows is a slice.
func isSlice(value any) bool {
	switch value.(type) {
	case uint8, int8, uint16, int16, uint32, int32, uint64, int64, float32, float64, bool:
		return false
	}
	return true
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
	align, err := m.alignment()
	if err != nil {
		return err
	}
	b := append([]byte(nil), magic...)
	b = binary.LittleEndian.AppendUint32(b, writeVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(m.entries)))
	for _, e := range m.entries {
		b = appendEntry(b, e)
	}
	at := int64(0)
	for _, t := range tensors {
		if b, err = appendTensorInfo(b, t, at); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		at += padded(int64(len(t.Data)), align)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	write := func(data []byte) {
		_, _ = out.Write(data) // bufio keeps the error for Flush
		for range padded(int64(len(data)), align) - int64(len(data)) {
			_ = out.WriteByte(0)
		}
	}
	write(b)
	for _, t := range tensors {
		write(t.Data)
	}
	return out.Flush()
}

// appendTensorInfo checks t and appends its info; at is its offset in the data.
func appendTensorInfo(b []byte, t tensorio.Tensor, at int64) ([]byte, error) {
	if len(t.Name) == 0 || len(t.Name) > maxName || len(t.Shape) > maxDims {
		return nil, fmt.Errorf("name of %d bytes and %d dimensions, want 1 to %d and at most %d", len(t.Name), len(t.Shape), maxName, maxDims)
	}
	raw := rawTensor{rank: uint32(len(t.Shape)), typ: t.Type}
	for i, n := range t.Shape {
		raw.dims[len(t.Shape)-1-i] = uint64(n)
	}
	size, err := raw.size(make([]int, len(t.Shape)))
	if err != nil {
		return nil, err
	}
	if size != int64(len(t.Data)) || at > math.MaxInt64-size {
		return nil, fmt.Errorf("%v of shape %v takes %d bytes, its data has %d", t.Type, t.Shape, size, len(t.Data))
	}
	b = appendString(b, t.Name)
	b = binary.LittleEndian.AppendUint32(b, raw.rank)
	for _, n := range raw.dims[:raw.rank] {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
	return binary.LittleEndian.AppendUint64(b, uint64(at)), nil
}

// padded returns n rounded up to a multiple of align.
func padded(n, align int64) int64 { return (n + align - 1) / align * align }
