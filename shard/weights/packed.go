package weights

import (
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/gguf"
	"github.com/shardnode/shardnode/tensorio/quant"
)

// packedBytes returns what a tensor takes in memory: a matrix as it is packed for
// its kernel, anything else as it is in the file.
func packedBytes(t gguf.TensorInfo) int64 {
	if len(t.Shape) < 2 {
		return t.Bytes
	}
	last := len(t.Shape) - 1
	rows := 1
	for _, n := range t.Shape[:last] {
		rows *= n
	}
	n, err := quant.PackedBytes(t.Type, rows, t.Shape[last])
	if err != nil {
		return t.Bytes // it can't be loaded, and loading says why
	}
	return int64(n)
}

// PackedLayerBytes returns what layer l takes in memory, 0 if there is no such
// layer. Some types take more there than in the file.
func (x *Index) PackedLayerBytes(l shard.Layer) int64 {
	if l < 0 || int(l) >= len(x.layers) {
		return 0
	}
	n := int64(0)
	for _, i := range x.layers[l] {
		n += packedBytes(x.tensors[i].TensorInfo)
	}
	return n
}

// PackedHeadBytes returns what a last stage takes in memory besides its layers.
func (x *Index) PackedHeadBytes() int64 {
	n := int64(0)
	for _, i := range x.pick(Part{Head: true}) {
		n += packedBytes(x.tensors[i].TensorInfo)
	}
	return n
}
