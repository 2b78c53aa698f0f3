package gguf

import "github.com/shardnode/shardnode/tensorio"

// Header returns the header of the file that [Write] makes of m and tensors,
// with the padding behind it, and where each tensor's data begins in that file.
// Tensors need no Data.
func Header(m *Meta, tensors []tensorio.Tensor) (header []byte, offsets []int64, err error) {
	align, err := m.alignment()
	if err != nil {
		return nil, nil, err
	}
	b, sizes, err := appendHeader(m, tensors)
	if err != nil {
		return nil, nil, err
	}
	at := padded(int64(len(b)), align)
	b = append(b, make([]byte, at-int64(len(b)))...)
	offsets = make([]int64, len(sizes))
	for i, n := range sizes {
		offsets[i] = at
		at += padded(n, align)
	}
	return b, offsets, nil
}
