package weights

import (
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
	"github.com/shardnode/shardnode/tensorio/quant"
)

// PackedBytes returns what a matrix, or several of one tensor, take as they are
// packed for their kernel. ok is false if t is no matrix, or nothing computes
// with it.
func PackedBytes(t gguf.TensorInfo) (n int64, ok bool) {
	if len(t.Shape) < 2 {
		return 0, false
	}
	cols := t.Shape[len(t.Shape)-1]
	packed, err := quant.PackedBytes(t.Type, tensorio.Tensor{Shape: t.Shape}.Elements()/max(1, cols), cols)
	return int64(packed), err == nil
}

// memoryBytes returns what a tensor takes in memory: a matrix packed, anything
// else as it is in the file.
func memoryBytes(t gguf.TensorInfo) int64 {
	if n, ok := PackedBytes(t); ok {
		return n
	}
	return t.Bytes // or it can't be loaded, and loading says why
}

// PackedLayerBytes returns what layer l takes in memory, 0 if there is no such
// layer. Some types take more there than in the file.
func (x *Index) PackedLayerBytes(l shard.Layer) int64 {
	if l < 0 || int(l) >= len(x.layers) {
		return 0
	}
	n := int64(0)
	for _, i := range x.layers[l] {
		n += memoryBytes(x.tensors[i].TensorInfo)
	}
	return n
}

// PackedHeadBytes returns what a last stage takes in memory besides its layers.
func (x *Index) PackedHeadBytes() int64 {
	n := int64(0)
	for _, i := range x.pick(Part{Head: true}) {
		n += memoryBytes(x.tensors[i].TensorInfo)
	}
	return n
}
