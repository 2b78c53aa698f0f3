// Package model computes the layers of one span of a transformer for a batch
// of rows of many sessions.
//
// Start with [Load], then [Model.Forward]. An architecture is a row of the
// table in arch.go; the forward pass has one optional step for each thing in
// which they differ. [ReadConfig] and [MemoryBytes] say what a model is and
// needs before anything is loaded.
//
// The result of a row is a function of the model file and the tokens of its
// session alone, bit for bit: not of the span's borders, the chunks in which a
// prompt comes, the other rows of a batch, or the number of threads. DESIGN.md
// says how.
//
// A Model is used by one goroutine at a time; inside, it spreads its work over
// the worker pool it was loaded with. Batching, sessions' lifetimes and
// networking are left to others.
package model
