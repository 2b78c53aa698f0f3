package vec

import "math"

const (
	// halfBits are the 29 bits of a float64 mantissa that a float32 lacks.
	halfBits = 1<<29 - 1
	// halfWay is what those bits hold when the value lies exactly between two float32.
	halfWay = 1 << 28
	expMask = 0x7ff << 52
	// minNormal is the exponent field of 2^-126, the smallest normal float32.
	minNormal = (1023 - 126) << 52
)

// FMA returns a*b + c rounded once, as the fused multiply-add of IEEE 754 does.
//
// The product of two float32 is exact in float64, so the sum s is the exact
// result rounded to 53 bits. Rounding s again to 24 bits is right unless s
// lies exactly between two float32 values; then what was lost decides.
func FMA(a, b, c float32) float32 {
	s := float64(float64(a)*float64(b)) + float64(c)
	u := math.Float64bits(s)
	if u&halfBits != halfWay && u&expMask >= minNormal {
		return float32(s)
	}
	return fmaOdd(a, b, c)
}

// fmaOdd is FMA for the results that a plain second rounding may spoil: it
// rounds the sum to odd first (Boldo and Melquiond, "Emulation of FMA and
// correctly rounded sums: proved algorithms using rounding to odd", 2008).
func fmaOdd(a, b, c float32) float32 {
	p := float64(float64(a) * float64(b))
	z := float64(c)
	// TwoSum (Knuth, TAOCP 2, 4.2.2): s + e is p + z exactly. The conversion above
	// keeps the product from being fused into it.
	s := p + z
	v := s - p
	e := (p - (s - v)) + (z - v)
	u := math.Float64bits(s)
	if u&1 == 0 && (e < 0 || e > 0) { // false when e is NaN, that is for infinities
		if (e > 0) == (s > 0) {
			u++
		} else {
			u--
		}
	}
	return float32(math.Float64frombits(u))
}
