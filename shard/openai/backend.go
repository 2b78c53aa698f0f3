package openai

import (
	"context"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/pipeline"
)

// A Backend has models and opens sessions on them. Its methods are called
// from many goroutines at once.
type Backend interface {
	// Models returns the models that may be asked for. It is called for every
	// request and must not block.
	Models() []Model

	// Open opens a session as o says. It may wait for layers to load, and
	// returns at once when ctx ends. An [*UnavailableError] says that nobody
	// serves the model now; a [shard.StageError] that a peer refused.
	Open(ctx context.Context, o OpenRequest) (Session, error)
}

// A Model is one that may be asked for.
type Model struct {
	ID      string
	Created time.Time // when it came to this member
	// Text is the model's tokenizer and template; nil while it is not there yet.
	Text *generate.Text
	// ContextTokens is the longest session that the model can have.
	ContextTokens int
	// Learn, if set, brings Text and ContextTokens of a model that nobody has
	// asked for yet. It must bound how long it takes.
	Learn func() (text *generate.Text, contextTokens int, err error)
}

// An OpenRequest says what session is wanted.
type OpenRequest struct {
	Model string // Model.ID
	// Tokens is the number of positions that the session needs: prompt and
	// answer.
	Tokens int
	// Prompt is what the session begins with. The backend must not change it.
	Prompt []shard.Token
	// Waiting, never nil, may be called with what is being waited for, such as
	// "layers 10-20 (nuc joins, 61 %)". Streams show it to the client.
	Waiting func(what string)
}

// A Session is one timeline of tokens; [*pipeline.Session] is one. It is used
// by one goroutine at a time.
type Session interface {
	// Ready returns how many tokens of [OpenRequest.Prompt] need not be computed.
	Ready() shard.Pos
	Step(ctx context.Context, st pipeline.Step) (pipeline.Result, error)
	More(ctx context.Context, pos shard.Pos) ([]float32, error)
	Close(ctx context.Context) pipeline.Stats
}

// An UnavailableError says that a model can't be used now. The client gets
// status 503 and is told when to come again.
type UnavailableError struct {
	Reason     string        // for people: "layers 10 to 20 are held by nobody"
	RetryAfter time.Duration // Default: 5 s.
}

// Error returns the reason.
func (e *UnavailableError) Error() string { return e.Reason }
