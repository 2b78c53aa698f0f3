package member

import (
	"context"

	"github.com/shardnode/shardnode/shard"
)

// A stock is where a member's model and layers come from: files, other
// members, and the memory of this machine. [Member] is the real one.
type stock interface {
	// learn finds out what the model is, and sets it.
	learn(ctx context.Context) error
	// source brings the bytes of span to this machine.
	source(ctx context.Context, span shard.Span) (Source, error)
	// bring reads span into memory, which must not be more than memoryBytes
	// with its KV cache, and measures it.
	bring(ctx context.Context, src Source, span shard.Span, memoryBytes int64) (*Loaded, error)
}
