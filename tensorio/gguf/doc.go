// Package gguf reads and writes the headers of GGUF model files, versions 2
// and 3, little-endian (the format is described in ggml's docs/gguf.md).
//
// Start with [Read]. It checks every count against the bytes that are left
// before it takes memory, so a file from a stranger gives a [File] or an
// error, and nothing else. It keeps the header's bytes once and cuts values
// out of them when asked, since vocabularies have 150,000 strings.
//
// Tensor data is never read: [TensorInfo] says where it lies. Mapping files
// and split files is shard/weights' business, the meaning of keys is
// shard/model's and shard/tokenizer's. A [File] is safe for concurrent use; a
// [Meta] is too as long as nobody calls Set.
package gguf
