// Package wire turns what travels between neighbours into bytes and back:
// frames (a small prefix, a protobuf header, a raw payload) and hidden states
// (16-bit values, raw or losslessly packed).
//
// Start with [Append] and [Reader] for frames, [Encode] and [Decode] for
// hidden states. The package knows no connections and keeps no state but what
// a [Reader] or a [Packer] holds; those belong to one goroutine each.
package wire
