package vec

import "math"

// Dot returns the sum of x[i]*y[i] over the length of x, in 16 lanes of [FMA].
func Dot(x, y []float32) float32 {
	y = y[:len(x)]
	return dot(x, y)
}

// SumSquares returns Dot(x, x).
func SumSquares(x []float32) float32 {
	return Dot(x, x)
}

// RMSNorm sets dst[i] = (x[i]*r)*w[i] with r = 1/sqrt(SumSquares(x)/len(x) + eps)
// (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
// dst may be x.
func RMSNorm(dst, x, w []float32, eps float32) {
	mean := float32(SumSquares(x) / float32(len(x)))
	// The square root of a float32, rounded to float64 and then to float32,
	// is rounded right: 53 >= 2*24 + 2.
	root := float32(math.Sqrt(float64(mean + eps)))
	mulScale(dst[:len(x)], x, w[:len(x)], 1/root)
}

// Max returns the largest value of x, and minus infinity if x is empty. NaN
// is passed over.
func Max(x []float32) float32 {
	return largest(x)
}

// ExpSum sets x[i] = Exp(x[i] - shift) and returns their sum in 16 lanes: the
// piece of a softmax that an online softmax needs for each page.
func ExpSum(x []float32, shift float32) float32 {
	return expSum(x, shift)
}

// Softmax replaces x by e^x divided by the sum of all e^x: [Max], [ExpSum],
// then a product with the reciprocal of the sum. One value at least must be
// finite.
func Softmax(x []float32) {
	if len(x) == 0 {
		return
	}
	s := ExpSum(x, Max(x))
	Scale(x, 1/s)
}
