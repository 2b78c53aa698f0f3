// Command gen writes the amd64 kernels of tensorio/quant. From this folder:
//
//	go run . -out ../quant/mul_amd64.s -stubs ../quant/mul_amd64.go -pkg quant
//
// The kernels read the layouts that tensorio/quant's DESIGN.md draws and
// compute what its ref*.go define. target.go says what an instruction set
// decides; the rest knows only its vectors.
package main

import (
	"github.com/mmcloughlin/avo/build"
)

func main() {
	t := target{name: "AVX2", lanes: 8}
	for _, f := range blockFormats {
		for _, n := range tiles {
			genBlock(t, f, n)
		}
	}
	for _, f := range superFormats {
		for _, n := range tiles {
			genSuper(t, f, n)
		}
	}
	for _, f := range []string{"F32", "F16", "BF16"} {
		for _, n := range tiles {
			genFloat(t, f, n)
		}
	}
	genQuantize("quantizeBlocks", false)
	genQuantize("quantizeBytes", true)
	genQuantizeSuper()
	build.Generate()
}

// tiles are the numbers of tokens that kernels exist for.
var tiles = []int{1, 2, 3, 4, 6}
