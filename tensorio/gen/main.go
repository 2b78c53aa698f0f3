// Command gen writes the amd64 kernels of tensorio/quant, one form at a time.
// From this folder:
//
//	go run . -form avx2 -out ../quant/mul_avx2_amd64.s -stubs ../quant/mul_avx2_amd64.go \
//		-table ../quant/tiles_avx2_amd64.go -pkg quant
//
// The kernels read the layouts that tensorio/quant's DESIGN.md draws and
// compute what its ref*.go define. target.go says what an instruction set
// decides; the rest knows only its vectors. -table is the list of kernels in Go.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"

	"github.com/mmcloughlin/avo/build"
)

func main() {
	form := flag.String("form", "avx2", "instruction set to write kernels for")
	table := flag.String("table", "", "Go file to list the kernels in")
	flag.Parse()
	i := slices.IndexFunc(targets, func(t target) bool { return t.form == *form })
	if i < 0 {
		fmt.Fprintf(os.Stderr, "gen: there is no form %q\n", *form)
		os.Exit(2)
	}
	t := targets[i]
	kernels := generate(t)
	if t.form == "avx2" {
		genQuantize("quantizeBlocks", blockRecord)
		genQuantize("quantizeBytes", byteRecord)
		genQuantize("quantizeWide", wideRecord)
		genQuantizeSuper()
	}
	build.Generate()
	if *table != "" {
		if err := writeTable(*table, t, kernels); err != nil {
			fmt.Fprintln(os.Stderr, "gen:", err)
			os.Exit(1)
		}
	}
}

// generate writes the kernels of a target and returns which.
func generate(t target) []kernel {
	var ks []kernel
	for _, f := range blockFormats(t) {
		entry := kernel{typ: f.name, tiles: t.blockTiles}
		for _, n := range t.blockTiles {
			genBlock(t, f, n)
		}
		if t.expand && f.bits < 8 {
			genExpandedBlock(t, f)
			entry.expanded = f.expandedBytes()
		}
		ks = append(ks, entry)
	}
	ks = append(ks, generateValues(t)...)
	for _, f := range superFormats {
		entry := kernel{typ: f.name, tiles: t.superTiles}
		for _, n := range t.superTiles {
			genSuper(t, f, n)
		}
		if t.expand {
			genExpandedSuper(t, f)
			entry.expanded = f.expandedBytes()
		}
		ks = append(ks, entry)
	}
	if t.floatTiles == nil {
		return ks
	}
	for _, f := range floatFormats {
		ks = append(ks, kernel{typ: f, tiles: t.floatTiles})
		for _, n := range t.floatTiles {
			genFloat(t, f, n)
		}
	}
	return ks
}

// generateValues writes the kernels of the types whose codes stand for numbers,
// and of those with two or three bits.
func generateValues(t target) []kernel {
	var ks []kernel
	for _, f := range valueFormats {
		entry := kernel{typ: f.name, tiles: t.blockTiles}
		for _, n := range t.blockTiles {
			genValueBlock(t, f, n)
		}
		if t.expand {
			genExpandedValues(t, f)
			entry.expanded = 2 * 8 * 64
		}
		ks = append(ks, entry)
	}
	for _, f := range smallFormats {
		entry := kernel{typ: f.name, tiles: t.superTiles, alike: f.alike}
		for _, n := range t.superTiles {
			genSmall(t, f, n)
		}
		if t.expand {
			genExpandedSmall(t, f)
			entry.expanded = f.expandedBytes()
		}
		ks = append(ks, entry)
	}
	return ks
}
