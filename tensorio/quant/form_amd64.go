package quant

import (
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/shardnode/shardnode/tensorio"
)

// machineForms returns the fast forms of this machine, best first.
func machineForms() []choice {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA || !cpu.X86.HasF16C {
		return nil
	}
	return []choice{{form: "avx2", kernels: avx2Kernels()}}
}

// avx2Kernels returns the kernels for AVX2, FMA and F16C.
func avx2Kernels() kernels {
	k := kernels{quantizeBlocks: quantizeBlocks, quantizeBytes: quantizeBytes, quantizeSupers: quantizeSupers}
	k.mul[tensorio.F32] = tiled(&tileFuncs{1: mulAVX2F32x1, 2: mulAVX2F32x2, 3: mulAVX2F32x3, 4: mulAVX2F32x4, 6: mulAVX2F32x6})
	k.mul[tensorio.F16] = tiled(&tileFuncs{1: mulAVX2F16x1, 2: mulAVX2F16x2, 3: mulAVX2F16x3, 4: mulAVX2F16x4, 6: mulAVX2F16x6})
	k.mul[tensorio.BF16] = tiled(&tileFuncs{1: mulAVX2BF16x1, 2: mulAVX2BF16x2, 3: mulAVX2BF16x3, 4: mulAVX2BF16x4, 6: mulAVX2BF16x6})
	k.mul[tensorio.Q8_0] = tiled(&tileFuncs{1: mulAVX2Q8_0x1, 2: mulAVX2Q8_0x2, 3: mulAVX2Q8_0x3, 4: mulAVX2Q8_0x4, 6: mulAVX2Q8_0x6})
	k.mul[tensorio.Q4_0] = tiled(&tileFuncs{1: mulAVX2Q4_0x1, 2: mulAVX2Q4_0x2, 3: mulAVX2Q4_0x3, 4: mulAVX2Q4_0x4, 6: mulAVX2Q4_0x6})
	k.mul[tensorio.Q4_1] = tiled(&tileFuncs{1: mulAVX2Q4_1x1, 2: mulAVX2Q4_1x2, 3: mulAVX2Q4_1x3, 4: mulAVX2Q4_1x4, 6: mulAVX2Q4_1x6})
	k.mul[tensorio.Q5_0] = tiled(&tileFuncs{1: mulAVX2Q5_0x1, 2: mulAVX2Q5_0x2, 3: mulAVX2Q5_0x3, 4: mulAVX2Q5_0x4, 6: mulAVX2Q5_0x6})
	k.mul[tensorio.Q5_1] = tiled(&tileFuncs{1: mulAVX2Q5_1x1, 2: mulAVX2Q5_1x2, 3: mulAVX2Q5_1x3, 4: mulAVX2Q5_1x4, 6: mulAVX2Q5_1x6})
	k.mul[tensorio.Q4_K] = tiled(&tileFuncs{1: mulAVX2Q4_Kx1, 2: mulAVX2Q4_Kx2, 3: mulAVX2Q4_Kx3, 4: mulAVX2Q4_Kx4, 6: mulAVX2Q4_Kx6})
	k.mul[tensorio.Q5_K] = tiled(&tileFuncs{1: mulAVX2Q5_Kx1, 2: mulAVX2Q5_Kx2, 3: mulAVX2Q5_Kx3, 4: mulAVX2Q5_Kx4, 6: mulAVX2Q5_Kx6})
	k.mul[tensorio.Q6_K] = tiled(&tileFuncs{1: mulAVX2Q6_Kx1, 2: mulAVX2Q6_Kx2, 3: mulAVX2Q6_Kx3, 4: mulAVX2Q6_Kx4, 6: mulAVX2Q6_Kx6})
	return k
}

// quantizeBlocks is refQuantizeBlocks.
func quantizeBlocks(dst []actBlock, x []float32) {
	n := len(x) / 32
	if n > 0 {
		quantizeBlocksAVX2((*byte)(unsafe.Pointer(&dst[:n][0])), &x[0], uint64(n))
	}
	clear(dst[n:])
}

// quantizeBytes is refQuantizeBytes.
func quantizeBytes(dst []actByte, x []float32) {
	n := len(x) / 32
	if n > 0 {
		quantizeBytesAVX2((*byte)(unsafe.Pointer(&dst[:n][0])), &x[0], uint64(n))
	}
	clear(dst[n:])
}

// quantizeSupers is refQuantizeSupers.
func quantizeSupers(dst []actSuper, x []float32) {
	if len(dst) > 0 {
		quantizeSupersAVX2((*byte)(unsafe.Pointer(&dst[0])), &x[:256*len(dst)][0], uint64(len(dst)))
	}
}
