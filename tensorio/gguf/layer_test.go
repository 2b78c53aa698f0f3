package gguf

import "testing"

func TestLayerNamesAreReadStrictly(t *testing.T) {
	for name, want := range map[string]int{
		"blk.0.x": 0, "blk.12.attn_q.weight": 12, "blk.x.y": -1, "blk.-1.y": -1, "blk.01.y": -1,
		"blk.1": -1, "output.weight": -1, "blk.99999999999.y": -1, "v.blk.1.x": -1,
	} {
		if l, ok := LayerOf(name); ok != (want >= 0) || ok && l != want {
			t.Errorf("LayerOf(%q) = %d, %v, want %d", name, l, ok, want)
		}
	}
}
