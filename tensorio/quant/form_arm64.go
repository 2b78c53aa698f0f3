package quant

import (
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/shardnode/shardnode/tensorio"
)

// machineForms returns the fast forms of this machine, best first. Every arm64
// has NEON; the form neondot takes the dot-product extension.
func machineForms() []choice {
	forms := []choice{{form: "neon", kernels: neonKernels()}}
	if cpu.ARM64.HasASIMDDP {
		forms = append([]choice{{form: "neondot", kernels: neondotKernels()}}, forms...)
	}
	return forms
}

// A neonFunc multiplies one panel with a few tokens. stride is the bytes from
// one token's activations to the next one's, ldy those between outputs, values
// what the codes stand for, n the number of units of the panel, rows that of its
// rows.
type neonFunc func(w, a *byte, stride uint64, y *float32, ldy uint64, values *int8, n, rows uint64)

// neonFuncs are the kernels of a type by number of tokens: 1 and 2, or 1 to 4.
// The one at 0 does two panels for one token: stride is from panel to panel
// then, ldy from the results of one panel to those of the next.
type neonFuncs [5]neonFunc

// valuesQ3K are the codes of Q3_K less 4.
var valuesQ3K = [16]int8{-4, -3, -2, -1, 0, 1, 2, 3}

// neonKernels returns the kernels of a form.
func neonKernels() kernels {
	k := kernels{quantizeBlocks: quantizeBlocks, quantizeBytes: quantizeBytes, quantizeSupers: quantizeSupers}
	k.mul[tensorio.F32] = neonTiled(&neonFuncs{0: mulNeonF32x1p2, 1: mulNeonF32x1, 2: mulNeonF32x2, 3: mulNeonF32x3, 4: mulNeonF32x4}, nil)
	k.mul[tensorio.F16] = neonTiled(&neonFuncs{0: mulNeonF16x1p2, 1: mulNeonF16x1, 2: mulNeonF16x2, 3: mulNeonF16x3, 4: mulNeonF16x4}, nil)
	k.mul[tensorio.BF16] = neonTiled(&neonFuncs{0: mulNeonBF16x1p2, 1: mulNeonBF16x1, 2: mulNeonBF16x2, 3: mulNeonBF16x3, 4: mulNeonBF16x4}, nil)
	k.mul[tensorio.Q4_0] = neonTiled(&neonFuncs{1: mulNeonQ4_0x1, 2: mulNeonQ4_0x2}, nil)
	k.mul[tensorio.Q4_1] = neonTiled(&neonFuncs{1: mulNeonQ4_1x1, 2: mulNeonQ4_1x2}, nil)
	k.mul[tensorio.Q5_0] = neonTiled(&neonFuncs{1: mulNeonQ5_0x1, 2: mulNeonQ5_0x2}, nil)
	k.mul[tensorio.Q5_1] = neonTiled(&neonFuncs{1: mulNeonQ5_1x1, 2: mulNeonQ5_1x2}, nil)
	k.mul[tensorio.Q4_K] = neonTiled(&neonFuncs{1: mulNeonQ4_Kx1, 2: mulNeonQ4_Kx2}, nil)
	k.mul[tensorio.Q5_K] = neonTiled(&neonFuncs{1: mulNeonQ5_Kx1, 2: mulNeonQ5_Kx2}, nil)
	k.mul[tensorio.Q6_K] = neonTiled(&neonFuncs{1: mulNeonQ6_Kx1, 2: mulNeonQ6_Kx2}, nil)
	k.mul[tensorio.Q2_K] = neonTiled(&neonFuncs{1: mulNeonQ2_Kx1, 2: mulNeonQ2_Kx2}, nil)
	k.mul[tensorio.Q8_0] = neonTiled(&neonFuncs{1: mulNeonQ8_0x1, 2: mulNeonQ8_0x2}, nil)
	k.mul[tensorio.IQ4_NL] = neonTiled(&neonFuncs{1: mulNeonIQ4_NLx1, 2: mulNeonIQ4_NLx2}, &valuesIQ4)
	k.mul[tensorio.MXFP4] = neonTiled(&neonFuncs{1: mulNeonMXFP4x1, 2: mulNeonMXFP4x2}, &valuesMXFP4)
	k.mul[tensorio.Q3_K] = neonTiled(&neonFuncs{1: mulNeonQ3_Kx1, 2: mulNeonQ3_Kx2}, &valuesQ3K)
	for _, t := range []tensorio.Type{tensorio.IQ4_XS, tensorio.IQ3_XXS, tensorio.IQ3_S} {
		k.mul[t] = neonTiled(&neonFuncs{1: mulNeon4_32x1, 2: mulNeon4_32x2}, valuesOf(t))
	}
	for _, t := range []tensorio.Type{tensorio.IQ2_XXS, tensorio.IQ1_S} {
		k.mul[t] = neonTiled(&neonFuncs{1: mulNeon3_32x1, 2: mulNeon3_32x2}, valuesOf(t))
	}
	for _, t := range []tensorio.Type{tensorio.IQ2_XS, tensorio.IQ2_S, tensorio.IQ1_M} {
		k.mul[t] = neonTiled(&neonFuncs{1: mulNeon3_16x1, 2: mulNeon3_16x2}, valuesOf(t))
	}
	for _, t := range []tensorio.Type{tensorio.TQ1_0, tensorio.TQ2_0} {
		k.mul[t] = neonTiled(&neonFuncs{1: mulNeonTQx1, 2: mulNeonTQx2}, &valuesTQ)
	}
	return k
}

// neondotKernels returns the kernels of a form.
func neondotKernels() kernels {
	k := kernels{quantizeBlocks: quantizeBlocks, quantizeBytes: quantizeBytes, quantizeSupers: quantizeSupers}
	k.mul[tensorio.F32] = neonTiled(&neonFuncs{0: mulNeonF32x1p2, 1: mulNeonF32x1, 2: mulNeonF32x2, 3: mulNeonF32x3, 4: mulNeonF32x4}, nil)
	k.mul[tensorio.F16] = neonTiled(&neonFuncs{0: mulNeonF16x1p2, 1: mulNeonF16x1, 2: mulNeonF16x2, 3: mulNeonF16x3, 4: mulNeonF16x4}, nil)
	k.mul[tensorio.BF16] = neonTiled(&neonFuncs{0: mulNeonBF16x1p2, 1: mulNeonBF16x1, 2: mulNeonBF16x2, 3: mulNeonBF16x3, 4: mulNeonBF16x4}, nil)
	k.mul[tensorio.Q4_0] = neonTiled(&neonFuncs{1: mulDotQ4_0x1, 2: mulDotQ4_0x2, 3: mulDotQ4_0x3, 4: mulDotQ4_0x4}, nil)
	k.mul[tensorio.Q4_1] = neonTiled(&neonFuncs{1: mulDotQ4_1x1, 2: mulDotQ4_1x2, 3: mulDotQ4_1x3, 4: mulDotQ4_1x4}, nil)
	k.mul[tensorio.Q5_0] = neonTiled(&neonFuncs{1: mulDotQ5_0x1, 2: mulDotQ5_0x2, 3: mulDotQ5_0x3, 4: mulDotQ5_0x4}, nil)
	k.mul[tensorio.Q5_1] = neonTiled(&neonFuncs{1: mulDotQ5_1x1, 2: mulDotQ5_1x2, 3: mulDotQ5_1x3, 4: mulDotQ5_1x4}, nil)
	k.mul[tensorio.Q4_K] = neonTiled(&neonFuncs{1: mulDotQ4_Kx1, 2: mulDotQ4_Kx2, 3: mulDotQ4_Kx3, 4: mulDotQ4_Kx4}, nil)
	k.mul[tensorio.Q5_K] = neonTiled(&neonFuncs{1: mulDotQ5_Kx1, 2: mulDotQ5_Kx2, 3: mulDotQ5_Kx3, 4: mulDotQ5_Kx4}, nil)
	k.mul[tensorio.Q6_K] = neonTiled(&neonFuncs{1: mulDotQ6_Kx1, 2: mulDotQ6_Kx2, 3: mulDotQ6_Kx3, 4: mulDotQ6_Kx4}, nil)
	k.mul[tensorio.Q2_K] = neonTiled(&neonFuncs{1: mulDotQ2_Kx1, 2: mulDotQ2_Kx2, 3: mulDotQ2_Kx3, 4: mulDotQ2_Kx4}, nil)
	k.mul[tensorio.Q8_0] = neonTiled(&neonFuncs{1: mulDotQ8_0x1, 2: mulDotQ8_0x2, 3: mulDotQ8_0x3, 4: mulDotQ8_0x4}, nil)
	k.mul[tensorio.IQ4_NL] = neonTiled(&neonFuncs{1: mulDotIQ4_NLx1, 2: mulDotIQ4_NLx2, 3: mulDotIQ4_NLx3, 4: mulDotIQ4_NLx4}, &valuesIQ4)
	k.mul[tensorio.MXFP4] = neonTiled(&neonFuncs{1: mulDotMXFP4x1, 2: mulDotMXFP4x2, 3: mulDotMXFP4x3, 4: mulDotMXFP4x4}, &valuesMXFP4)
	k.mul[tensorio.Q3_K] = neonTiled(&neonFuncs{1: mulDotQ3_Kx1, 2: mulDotQ3_Kx2, 3: mulDotQ3_Kx3, 4: mulDotQ3_Kx4}, &valuesQ3K)
	for _, t := range []tensorio.Type{tensorio.IQ4_XS, tensorio.IQ3_XXS, tensorio.IQ3_S} {
		k.mul[t] = neonTiled(&neonFuncs{1: mulDot4_32x1, 2: mulDot4_32x2, 3: mulDot4_32x3, 4: mulDot4_32x4}, valuesOf(t))
	}
	for _, t := range []tensorio.Type{tensorio.IQ2_XXS, tensorio.IQ1_S} {
		k.mul[t] = neonTiled(&neonFuncs{1: mulDot3_32x1, 2: mulDot3_32x2, 3: mulDot3_32x3, 4: mulDot3_32x4}, valuesOf(t))
	}
	for _, t := range []tensorio.Type{tensorio.IQ2_XS, tensorio.IQ2_S, tensorio.IQ1_M} {
		k.mul[t] = neonTiled(&neonFuncs{1: mulDot3_16x1, 2: mulDot3_16x2, 3: mulDot3_16x3, 4: mulDot3_16x4}, valuesOf(t))
	}
	for _, t := range []tensorio.Type{tensorio.TQ1_0, tensorio.TQ2_0} {
		k.mul[t] = neonTiled(&neonFuncs{1: mulDotTQx1, 2: mulDotTQx2, 3: mulDotTQx3, 4: mulDotTQx4}, &valuesTQ)
	}
	return k
}

// neonTiled returns the Mul of a type from its kernels and the table they want.
func neonTiled(fs *neonFuncs, table *[16]int8) mulFunc {
	var values *int8
	if table != nil {
		values = &table[0]
	}
	return func(m *Matrix, y []float32, ldy int, a *Acts, lo, hi int) {
		base, stride := a.form(m)
		units := uint64(m.layout.units(m.cols))
		group := max(1, groupBytes/m.panelBytes)
		if a.tokens == 1 { // nothing passes twice
			group = hi - lo
		}
		for g := lo; g < hi; g += group {
			for t, n := 0, 0; t < a.tokens; t += n {
				n = fs.tokens(a.tokens - t)
				at := (*byte)(unsafe.Add(base, t*stride))
				for p := g; p < min(g+group, hi); p++ {
					if n == 1 && fs[0] != nil && p+1 < min(g+group, hi) && m.rows >= (p+2)*PanelRows {
						fs[0](&m.buf[p*m.panelBytes], at, uint64(m.panelBytes), &y[t*ldy+p*PanelRows], 4*PanelRows, values, units, PanelRows)
						p++
						continue
					}
					rows := uint64(min(m.rows-p*PanelRows, PanelRows))
					fs[n](&m.buf[p*m.panelBytes], at, uint64(stride), &y[t*ldy+p*PanelRows], uint64(4*ldy), values, units, rows)
				}
			}
		}
	}
}

// tokens returns how many of the tokens left the next tile takes.
func (fs *neonFuncs) tokens(left int) int {
	switch {
	case fs[4] == nil:
		return min(left, 2)
	case left == 5 || left == 6: // 3+2, 3+3
		return 3
	}
	return min(left, 4)
}

// quantizeBlocks is refQuantizeBlocks.
func quantizeBlocks(dst []actBlock, x []float32) {
	n := len(x) / 32
	if n > 0 {
		quantizeBlocksNEON((*byte)(unsafe.Pointer(&dst[:n][0])), &x[0], uint64(n))
	}
	clear(dst[n:])
}

// quantizeBytes is refQuantizeBytes.
func quantizeBytes(dst []actByte, x []float32) {
	n := len(x) / 32
	if n > 0 {
		quantizeBytesNEON((*byte)(unsafe.Pointer(&dst[:n][0])), &x[0], uint64(n))
	}
	clear(dst[n:])
}

// quantizeSupers is refQuantizeSupers.
func quantizeSupers(dst []actSuper, x []float32) {
	if len(dst) > 0 {
		quantizeSupersNEON((*byte)(unsafe.Pointer(&dst[0])), &x[:256*len(dst)][0], uint64(len(dst)))
	}
}
