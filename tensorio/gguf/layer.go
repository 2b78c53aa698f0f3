package gguf

import (
	"strconv"
	"strings"
)

// LayerOf returns the layer of a tensor's name such as "blk.7.attn_q.weight". ok
// is false for a tensor of no layer.
func LayerOf(name string) (layer int, ok bool) {
	rest, ok := strings.CutPrefix(name, "blk.")
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, ".")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, false
	}
	return int(n), true
}
