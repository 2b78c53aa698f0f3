// Package tokenizer turns text into the tokens of a model's vocabulary, and
// tokens back into text.
//
// Start with [LoadJSON] for a tokenizer.json, or [FromMetadata] for the
// metadata of a GGUF file; both give a [Tokenizer]. It knows byte-level BPE,
// SentencePiece BPE and Unigram, with the normalizers, pre-tokenizers and
// decoders that generative models use.
//
// What a chat looks like (templates, roles) is left to package chat; this
// package never adds a begin or end token on its own, it only says which they
// are and whether the model wants them.
//
// A Tokenizer never changes after it was made and is safe for concurrent use.
// A [Decoder] is not. No text takes more than near-linear time, whatever the
// vocabulary; how that is done is told in DESIGN.md.
package tokenizer
