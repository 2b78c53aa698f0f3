package weights

import (
	"fmt"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// IndexHeaders returns the index of a model whose files are elsewhere, from
// their headers, in the order of its parts. Offsets are those in each file;
// [Index.FileOf] says which.
func IndexHeaders(files ...*gguf.File) (*Index, error) {
	if len(files) == 0 {
		return nil, fmt.Errorf("index of no files")
	}
	return newIndex(files)
}

// FileOf returns which of the model's files holds a tensor, from 0; -1 for a
// tensor that the model does not have.
func (x *Index) FileOf(name string) int {
	i, ok := x.byName[name]
	if !ok {
		return -1
	}
	return x.tensors[i].part
}

// The keys that a file of some layers has, which was made of a whole one: the
// first of its layers, and that behind the last.
const (
	PartStartKey = "shardnode.part.start"
	PartEndKey   = "shardnode.part.end"
)

// IsPart returns the layers of a file that has some of them only.
func (x *Index) IsPart() (shard.Span, bool) {
	lo, ok1 := x.meta.Uint(PartStartKey)
	hi, ok2 := x.meta.Uint(PartEndKey)
	if !ok1 || !ok2 || lo >= hi || hi > maxLayers {
		return shard.Span{}, false
	}
	return shard.Span{Start: shard.Layer(lo), End: shard.Layer(hi)}, true //nolint:gosec // at most maxLayers
}
