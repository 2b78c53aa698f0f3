// Package vec holds the float32 kernels of the engine: sums, norms,
// activations, rotary positions, 16-bit conversions and the product
// that both halves of attention are ([Product]).
//
// Every function has one meaning down to the bit, written in plain Go in
// ref.go. Faster forms give the same bits on every processor, so that peers
// of different hardware agree. To make that possible, products that are added
// are fused explicitly with [FMA], other operations are kept apart by
// conversions that forbid fusing, and sums run in 16 virtual lanes: element i
// goes to lane i mod 16, the input is extended with zeros to a multiple of 16,
// and the lanes are folded 8 to 8, 4 to 4, 2 to 2, 1 to 1.
// NaN results are NaN everywhere; their payloads may differ.
//
// [Form] tells which form runs; the environment variable SHARDNODE_SIMD
// (ref, avx2, avx512, ...) forces one.
//
// Slices are borrowed for the call and nothing is kept or allocated. The
// functions are safe for concurrent use on disjoint destinations. They panic
// when a slice is shorter than the others demand.
package vec

//go:generate sh -c "cd gen && go run . -pkg vec -out ../kernels_amd64.s -stubs ../kernels_amd64.go"
