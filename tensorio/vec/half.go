package vec

// ToF16 rounds x to half precision, to nearest even. It reports whether a
// value of dst is infinite or NaN: x had one, or one of 65520 or more.
func ToF16(dst []uint16, x []float32) (overflow bool) {
	return toF16(dst[:len(x)], x)
}

// FromF16 widens half precision; every value is exact.
func FromF16(dst []float32, x []uint16) {
	fromF16(dst[:len(x)], x)
}

// ToBF16 rounds x to bfloat16, to nearest even.
func ToBF16(dst []uint16, x []float32) {
	toBF16(dst[:len(x)], x)
}

// FromBF16 widens bfloat16; every value is exact.
func FromBF16(dst []float32, x []uint16) {
	fromBF16(dst[:len(x)], x)
}

// RoundBF16 rounds x in place to values that bfloat16 holds, to nearest even.
func RoundBF16(x []float32) {
	roundBF16(x)
}
