package gguf

import (
	"bytes"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

func TestHeaderIsThatOfWrite(t *testing.T) {
	m := NewMeta()
	for key, value := range map[string]any{"general.architecture": "llama", alignmentKey: uint32(64)} {
		if err := m.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	tensors := []tensorio.Tensor{
		{Name: "a", Type: tensorio.F32, Shape: []int{3}, Data: make([]byte, 12)},
		{Name: "b", Type: tensorio.F32, Shape: []int{2, 2}, Data: bytes.Repeat([]byte{7}, 16)},
	}
	var whole bytes.Buffer
	if err := Write(&whole, m, tensors); err != nil {
		t.Fatal(err)
	}
	header, offsets, err := Header(m, tensors)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(whole.Bytes(), header) {
		t.Error("Header differs from what Write writes")
	}
	for i, at := range offsets {
		if end := at + int64(len(tensors[i].Data)); !bytes.Equal(whole.Bytes()[at:end], tensors[i].Data) {
			t.Errorf("tensor %q is not at byte %d", tensors[i].Name, at)
		}
	}
}
