package quant

import (
	"unsafe"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// machineForms returns the fast forms of this machine, best first.
func machineForms() []choice {
	var cs []choice
	for _, form := range vec.Forms() {
		switch form {
		case "avx512":
			cs = append(cs, choice{form: form, kernels: amd64Kernels(nil, tilesAVX512)})
		case "avxvnni":
			cs = append(cs, choice{form: form, kernels: amd64Kernels(nil, tilesAVX2, tilesAVXVNNI)})
		case "avx2":
			c := choice{form: form, kernels: amd64Kernels(expandedAVX2, tilesAVX2)}
			c.kernels.quantizeWide = quantizeWide
			cs = append(cs, c)
		}
	}
	return cs
}

// amd64Kernels returns the kernels of tables: later ones go before earlier ones.
func amd64Kernels(es map[tensorio.Type]*expanded, tables ...map[tensorio.Type]*tileFuncs) kernels {
	k := kernels{quantizeBlocks: quantizeBlocks, quantizeBytes: quantizeBytes, quantizeSupers: quantizeSupers}
	for _, table := range tables {
		for t, fs := range table {
			k.mul[t] = tiled(fs, es[t])
		}
	}
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

// quantizeWide is refQuantizeWide.
func quantizeWide(dst []actWide, x []float32) {
	n := len(x) / 32
	if n > 0 {
		quantizeWideAVX2((*byte)(unsafe.Pointer(&dst[:n][0])), &x[0], uint64(n))
	}
	clear(dst[n:])
}

// quantizeSupers is refQuantizeSupers.
func quantizeSupers(dst []actSuper, x []float32) {
	if len(dst) > 0 {
		quantizeSupersAVX2((*byte)(unsafe.Pointer(&dst[0])), &x[:256*len(dst)][0], uint64(len(dst)))
	}
}
