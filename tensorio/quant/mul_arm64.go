package quant

//go:noescape
func mulDotQ4_0x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_0x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_0x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_0x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_1x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_1x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_1x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_1x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_0x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_0x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_0x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_0x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_1x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_1x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_1x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_1x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ8_0x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ8_0x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ8_0x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ8_0x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotIQ4_NLx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotIQ4_NLx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotIQ4_NLx3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotIQ4_NLx4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotMXFP4x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotMXFP4x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotMXFP4x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotMXFP4x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_Kx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_Kx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_Kx3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ4_Kx4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_Kx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_Kx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_Kx3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ5_Kx4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ6_Kx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ6_Kx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ6_Kx3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ6_Kx4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ2_Kx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ2_Kx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ2_Kx3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ2_Kx4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ3_Kx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ3_Kx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ3_Kx3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotQ3_Kx4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot3_16x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot3_16x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot3_16x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot3_16x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot3_32x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot3_32x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot3_32x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot3_32x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot4_32x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot4_32x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot4_32x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDot4_32x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotTQx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotTQx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotTQx3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulDotTQx4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ4_0x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ4_0x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ4_1x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ4_1x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ5_0x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ5_0x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ5_1x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ5_1x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ8_0x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ8_0x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonIQ4_NLx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonIQ4_NLx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonMXFP4x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonMXFP4x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ4_Kx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ4_Kx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ5_Kx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ5_Kx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ6_Kx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ6_Kx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ2_Kx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ2_Kx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ3_Kx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonQ3_Kx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeon3_16x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeon3_16x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeon3_32x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeon3_32x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeon4_32x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeon4_32x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonTQx1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonTQx2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonF32x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonF32x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonF32x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonF32x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonF16x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonF16x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonF16x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonF16x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonBF16x1(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonBF16x2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonBF16x3(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonBF16x4(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonF32x1p2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonF16x1p2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

//go:noescape
func mulNeonBF16x1p2(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

// quantizeBlocksNEON is refQuantizeBlocks for n whole blocks, n > 0.
//
//go:noescape
func quantizeBlocksNEON(dst *byte, x *float32, n uint64)

// quantizeBytesNEON is refQuantizeBytes for n whole blocks, n > 0.
//
//go:noescape
func quantizeBytesNEON(dst *byte, x *float32, n uint64)

// quantizeSupersNEON is refQuantizeSupers for n blocks, n > 0.
//
//go:noescape
func quantizeSupersNEON(dst *byte, x *float32, n uint64)
