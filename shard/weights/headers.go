package weights

import (
	"fmt"

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
