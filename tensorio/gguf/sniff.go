package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// magic starts every GGUF file.
const magic = "GGUF"

// ErrEmpty says that a file has no bytes.
var ErrEmpty = errors.New("file is empty: download it again")

// sniffBytes is what the kind of a file can be told from.
const sniffBytes = 64

// sniff returns nil if r starts as a GGUF file does, and otherwise an error
// that says what r looks like.
func sniff(r io.ReaderAt, size int64) error {
	if size <= 0 {
		return ErrEmpty
	}
	b := make([]byte, min(size, sniffBytes))
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return fmt.Errorf("read the first %d bytes: %w", len(b), err)
	}
	if bytes.HasPrefix(b, []byte(magic)) {
		return nil
	}
	if len(b) < len(magic) {
		return fmt.Errorf("file has only %d bytes: download it again", size)
	}
	return fmt.Errorf("not a GGUF file: %s", looksLike(b))
}

// What files start with that are no GGUF files.
const (
	oldGGML    = "it is a GGML file of before August 2023; download the model as GGUF"
	pytorch    = "it looks like a PyTorch checkpoint; download the model as GGUF, or convert it"
	webPage    = "it is a web page, so the download went wrong; use the link of the file itself"
	compressed = "it is compressed; unpack it first"
)

// signatures says what a file is by its first bytes.
var signatures = []struct{ start, what string }{
	{"FUGG", "its bytes are swapped; convert the model again on a little-endian machine"},
	{"ggml", oldGGML},
	{"ggmf", oldGGML},
	{"ggjt", oldGGML},
	{"ggla", oldGGML},
	{"lmgg", oldGGML},
	{"fmgg", oldGGML},
	{"tjgg", oldGGML},
	{"algg", oldGGML},
	{"PK\x03\x04", pytorch},
	{"\x80\x02", pytorch}, // pickle protocols 2 and 4
	{"\x80\x04", pytorch},
	{"version https://git-lfs", "it is a Git LFS pointer; run `git lfs pull`, or download the file itself"},
	{"\x1f\x8b", compressed},         // gzip
	{"\x28\xb5\x2f\xfd", compressed}, // zstd
	{"BZh", compressed},
	{"\xfd7zXZ", compressed},
	{"7z\xbc\xaf", compressed},
}

// texts says what a text is by its first characters in lower case.
var texts = []struct{ start, what string }{
	{"<!doctype", webPage},
	{"<html", webPage},
	{"<?xml", webPage},
	{"{", "it looks like JSON; name the model file, which ends in .gguf"},
}

// looksLike says what a file that starts with b is, and what to do with it.
func looksLike(b []byte) string {
	for _, s := range signatures {
		if bytes.HasPrefix(b, []byte(s.start)) {
			return s.what
		}
	}
	// A safetensors file has the length of its JSON first (its README, "Format").
	if len(b) > 9 && b[8] == '{' && b[7] == 0 {
		return "it looks like a safetensors file; name the folder that it is in, or download the model as GGUF"
	}
	text := bytes.ToLower(bytes.TrimLeft(b, "\ufeff \t\r\n"))
	for _, s := range texts {
		if bytes.HasPrefix(text, []byte(s.start)) {
			return s.what
		}
	}
	if len(bytes.Trim(b, "\x00")) == 0 {
		return "it starts with zeros, so the download did not finish; download it again"
	}
	return fmt.Sprintf("it starts with %q; name a model file, which ends in .gguf", b[:4])
}

// versionError says why a version is not read.
func versionError(v uint32) error {
	switch {
	case v == 1:
		return errors.New("GGUF version 1 of August 2023 is not supported: download a newer file of the model")
	case v&0xffff == 0 && bits.ReverseBytes32(v) <= 3:
		return errors.New("file is big-endian GGUF: convert the model again for little-endian machines")
	}
	return fmt.Errorf("GGUF version %d is unknown, 2 and 3 are supported: the file is damaged or newer than this program", v)
}
