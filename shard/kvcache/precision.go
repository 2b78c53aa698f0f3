package kvcache

import (
	"fmt"
	"math"
	"strings"
)

// Precision is how keys and values are kept. It is part of a model's numerics:
// all members that a session runs through have the same.
type Precision uint8

const (
	// Float16 rounds them to half precision.
	Float16 Precision = iota
	// Float32 keeps them as they are, to compare with other implementations.
	Float32
	// Int8 keeps them as whole numbers of up to 127, with one scale for the key
	// and one for the value of each head and position: half the memory, and
	// another numerics class.
	Int8
)

var precisionNames = [...]string{Float16: "f16", Float32: "f32", Int8: "int8"}

// String returns the name that [ParsePrecision] takes.
func (p Precision) String() string {
	if int(p) < len(precisionNames) {
		return precisionNames[p]
	}
	return fmt.Sprintf("Precision(%d)", uint8(p))
}

// ParsePrecision returns the precision of that name: f16, f32 or int8.
func ParsePrecision(name string) (Precision, error) {
	for p, n := range precisionNames {
		if n == name {
			return Precision(p), nil
		}
	}
	return 0, fmt.Errorf("keys and values cannot be kept as %q: want one of %s", name, strings.Join(precisionNames[:], ", "))
}

// bytes returns the bytes of one value.
func (p Precision) bytes() int {
	switch p {
	case Float32:
		return 4
	case Int8:
		return 1
	}
	return 2
}

// roundMagic rounds to a whole number when it is added: 1.5 * 2^23.
const roundMagic float32 = 0x1.8p23

// int8Scale returns the scale of x, and its inverse: the largest magnitude over
// 127, or 0 if that is too small to matter. ok is false if a value is infinite
// or not a number.
func int8Scale(x []float32) (scale, inverse float32, ok bool) {
	most := float32(0)
	for _, v := range x {
		a := math.Float32frombits(math.Float32bits(v) &^ (1 << 31))
		if !(a <= math.MaxFloat32) {
			return 0, 0, false
		}
		most = max(most, a)
	}
	if most < 0x1p-100 {
		return 0, 0, true
	}
	return most / 127, 127 / most, true
}

// toInt8 sets dst to x divided by its scale, rounded to nearest even. The
// largest value becomes 127, so that nothing is cut off.
func toInt8(dst []int8, x []float32, inverse float32) {
	for i, v := range x {
		t := float32(v*inverse) + roundMagic
		dst[i] = int8(math.Float32bits(t) - math.Float32bits(roundMagic))
	}
}
