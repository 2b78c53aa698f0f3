// Package sample turns logits into tokens, for the driver of a session.
//
// The last stage of a route calls [Summarize], which keeps of a vocabulary's
// logits what the driver needs: the highest, those of named ids, and the
// log-sum-exp of all (ARCHITECTURE §2). The driver makes one [Sampler] per
// session with [New], asks it by [Sampler.Request] what to ask of the stage,
// and gets the token from [Sampler.Next]. When the answer depends on logits
// that were not sent, Next returns [ErrNeedFull], and the driver calls it
// again with all of them: the token is the one that all logits would have
// given in the first place.
//
// The order of operations: bias, repetition penalty, frequency and presence
// penalties, allowed ids, temperature, top-k, top-p, min-p, draw. See
// [Params] for each. A token is a function of the logits, the history, the
// parameters and the seed: the draw at a position depends on seed and position
// alone, so a session that is replayed or moved gives the same text.
//
// Arithmetic is + - * / on float64 in a fixed order with the
// exp and log of package vec, so all machines agree.
//
// [Stops] looks for stop strings in streamed text. Text is otherwise left to
// package generate. Values are not safe for concurrent use, except that
// Summarize may be called from many goroutines.
package sample
