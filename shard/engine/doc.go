// Package engine batches the steps of many sessions over the span of one
// model.
//
// Start with [New]; [Engine.Open] admits a session or refuses it with code
// [shard.NoCapacity], [Engine.Step] runs new positions of it. Steps of
// different sessions that wait at the same time run as one batch: single
// tokens first, then chunks of prompts, within a budget of rows (batch.go).
// Results do not depend on which steps run together.
//
// All methods are safe for concurrent use. Errors are [*shard.StageError]
// without the peer, which the caller fills in, or the error of a context.
// Peers, epochs and the network are left to others.
//
// A session runs through all layers of the engine, or through some: then a batch
// has only sessions of the same layers, and spans take turns.
//
// One goroutine, started by New and ended by Close, runs the batches; while it
// has nothing to do it sleeps, and so do the threads of the pool.
package engine
