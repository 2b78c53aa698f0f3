package gguf

import (
	"encoding/binary"
	"fmt"

	"github.com/shardnode/shardnode/tensorio"
)

// Header returns the header of the file that [Write] makes of m and tensors,
// with the padding behind it, and where each tensor's data begins in that file.
// Tensors need no Data.
func Header(m *Meta, tensors []tensorio.Tensor) (header []byte, offsets []int64, err error) {
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
	offsets = make([]int64, len(tensors))
	at := int64(0)
	for i, t := range tensors {
		var size int64
		if b, size, err = appendTensorInfo(b, t, at); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		offsets[i] = at
		at += padded(size, align)
	}
	start := padded(int64(len(b)), align)
	b = append(b, make([]byte, start-int64(len(b)))...)
	for i := range offsets {
		offsets[i] += start
	}
	return b, offsets, nil
}
