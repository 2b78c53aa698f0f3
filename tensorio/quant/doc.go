// Package quant multiplies matrices, held in the quantised form that their
// file has, with float32 activations.
//
// Start with [NewMatrix]: it lays a matrix out in a buffer of the caller in
// the order the kernels read. [Acts.Prepare] brings the activations of a step
// into the form the kernels want, [Matrix.Mul] multiplies. [Dequantize] gives
// the exact values of a file's blocks.
//
// The files ref*.go define every result bit for bit; DESIGN.md says in words
// what they compute and why. Faster forms (see [Form]) give the same bits, for
// any number of tokens and any division of the rows among threads.
//
// A Matrix is safe for concurrent use once packed; an Acts may be read by many
// goroutines at once while nobody prepares it. What this package leaves to
// others: files, memory maps, threads.
package quant
