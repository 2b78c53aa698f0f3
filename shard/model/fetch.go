//go:build !race

package model

// fetch copies what others may be writing: a late worker reads anything, which
// does no harm (package par, Kernel).
func fetch(dst, src []float32) { copy(dst, src) }
