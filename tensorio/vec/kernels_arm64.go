package vec

// The functions in assembly. Those of panel_arm64.s are panelsRef for so many
// rows and a multiple of so many panels as their names say, above 0; add is 0 or
// 1.

//go:noescape
func panelsF32x1x1NEON(c *float32, cStride int, a *float32, aStride int, b *float32, bStride, depth, panels, add int)

//go:noescape
func panelsF32x2x1NEON(c *float32, cStride int, a *float32, aStride int, b *float32, bStride, depth, panels, add int)

//go:noescape
func panelsF32x3x1NEON(c *float32, cStride int, a *float32, aStride int, b *float32, bStride, depth, panels, add int)

//go:noescape
func panelsF32x4x1NEON(c *float32, cStride int, a *float32, aStride int, b *float32, bStride, depth, panels, add int)

//go:noescape
func panelsF32x1x2NEON(c *float32, cStride int, a *float32, aStride int, b *float32, bStride, depth, panels, add int)

//go:noescape
func panelsF32x2x2NEON(c *float32, cStride int, a *float32, aStride int, b *float32, bStride, depth, panels, add int)

//go:noescape
func panelsF16x1x1NEON(c *float32, cStride int, a *float32, aStride int, b *uint16, bStride, depth, panels, add int)

//go:noescape
func panelsF16x2x1NEON(c *float32, cStride int, a *float32, aStride int, b *uint16, bStride, depth, panels, add int)

//go:noescape
func panelsF16x3x1NEON(c *float32, cStride int, a *float32, aStride int, b *uint16, bStride, depth, panels, add int)

//go:noescape
func panelsF16x4x1NEON(c *float32, cStride int, a *float32, aStride int, b *uint16, bStride, depth, panels, add int)

//go:noescape
func panelsF16x1x2NEON(c *float32, cStride int, a *float32, aStride int, b *uint16, bStride, depth, panels, add int)

//go:noescape
func panelsF16x2x2NEON(c *float32, cStride int, a *float32, aStride int, b *uint16, bStride, depth, panels, add int)

//go:noescape
func panelsI8x1x1NEON(c *float32, cStride int, a *float32, aStride int, b *int8, bStride, depth, panels, add int)

//go:noescape
func panelsI8x2x1NEON(c *float32, cStride int, a *float32, aStride int, b *int8, bStride, depth, panels, add int)

//go:noescape
func panelsI8x3x1NEON(c *float32, cStride int, a *float32, aStride int, b *int8, bStride, depth, panels, add int)

//go:noescape
func panelsI8x4x1NEON(c *float32, cStride int, a *float32, aStride int, b *int8, bStride, depth, panels, add int)

//go:noescape
func panelsI8x1x2NEON(c *float32, cStride int, a *float32, aStride int, b *int8, bStride, depth, panels, add int)

//go:noescape
func panelsI8x2x2NEON(c *float32, cStride int, a *float32, aStride int, b *int8, bStride, depth, panels, add int)

// dotNEON sets the lanes of dotRef for a multiple of 16 elements, above 0.
//
//go:noescape
func dotNEON(x, y *float32, n int, sums *[lanes]float32)

// maxNEON sets those of maxRef.
//
//go:noescape
func maxNEON(x *float32, n int, sums *[lanes]float32)

// expSumNEON sets those of expSumRef.
//
//go:noescape
func expSumNEON(x *float32, n int, shift float32, sums *[lanes]float32)

// What follows is for a multiple of 4 elements, above 0.

//go:noescape
func addNEON(dst, x, y *float32, n int)

//go:noescape
func scaleNEON(x *float32, n int, s float32)

//go:noescape
func axpyNEON(x, y *float32, n int, a float32)

//go:noescape
func mulScaleNEON(dst, x, w *float32, n int, s float32)

//go:noescape
func expToNEON(dst, x *float32, n int)

//go:noescape
func siluMulNEON(dst, gate, up *float32, n int)

//go:noescape
func geluMulNEON(dst, gate, up *float32, n int)

//go:noescape
func ropeHalfNEON(a, b, cos, sin *float32, n int)

//go:noescape
func ropePairsNEON(x, cos, sin *float32, n int)

// What follows is for a multiple of 8 elements, above 0.

// toF16NEON returns 0 if no result is infinite or NaN.
//
//go:noescape
func toF16NEON(dst *uint16, x *float32, n int) uint64

//go:noescape
func fromF16NEON(dst *float32, x *uint16, n int)

//go:noescape
func toBF16NEON(dst *uint16, x *float32, n int)

//go:noescape
func fromBF16NEON(dst *float32, x *uint16, n int)

//go:noescape
func roundBF16NEON(x *float32, n int)

//go:noescape
func fromI8NEON(dst *float32, x *int8, n int)
