// Package story holds the embedded model: a Llama of 4.07 million parameters
// that tells small stories, so that the first command works without a
// download.
//
// [Bytes] returns the GGUF file (F16), for weights.OpenBytes. Where the model
// comes from and what it can do is in README.md. Safe for concurrent use.
package story

import (
	_ "embed"
	"unsafe"
)

// Name is what the commands call the model.
const Name = "story"

// file is a string, so that the linker keeps it in read-only memory and no
// copy of it is made.
//
//go:embed story-f16.gguf
var file string

// Bytes returns the model file. It is the program's read-only memory: writing
// to it ends the process.
func Bytes() []byte { return unsafe.Slice(unsafe.StringData(file), len(file)) }
