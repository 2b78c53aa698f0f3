package vec

import (
	"fmt"
	"os"
	"slices"
)

// form names one implementation of the kernels.
type form string

const (
	ref     form = "ref"
	avx2    form = "avx2"    // with FMA and F16C
	avxvnni form = "avxvnni" // avx2, and VPDPBUSD on 256 bits: it differs in package quant
	avx512  form = "avx512"  // avx2, and F, BW, DQ, VL and VNNI of AVX-512
	neon    form = "neon"
	neondot form = "neondot" // neon, and the dot-product extension: it differs in package quant
)

// known are the forms that there are, on any processor.
var known = []form{ref, avx2, avxvnni, avx512, neon, neondot}

// chosen is the form that runs, picked once when the program starts. This is
// the only place that chooses; package quant asks [Form].
var chosen, errForm = choose(os.Getenv("SHARDNODE_SIMD"), machineForms())

// choose returns the form that the processor and the user's wish allow: the
// wish, or the first of the fast forms that the processor has. A wish that
// cannot be met gives the plain form and an error.
func choose(wish string, have []form) (form, error) {
	have = append(slices.Clip(have), ref)
	switch {
	case wish == "":
		return have[0], nil
	case slices.Contains(have, form(wish)):
		return form(wish), nil
	case slices.Contains(known, form(wish)):
		return ref, fmt.Errorf("SHARDNODE_SIMD is %q, which this processor lacks: unset it or set it to one of %q", wish, have)
	}
	return ref, fmt.Errorf("SHARDNODE_SIMD is %q: unset it or set it to one of %q", wish, have)
}

// Form returns the name of the form that runs: "ref" for plain Go, "avx2"
// (which takes FMA and F16C with it), "avxvnni" or "avx512" (with VNNI), "neon",
// or "neondot" (with the dot-product extension). The error says that
// SHARDNODE_SIMD asked for something else that cannot be had; the name is right
// all the same.
func Form() (string, error) {
	return string(chosen), errForm
}

// Forms returns the names of the forms that this machine has, best first, "ref"
// at the end.
func Forms() []string {
	var names []string
	for _, f := range machineForms() {
		names = append(names, string(f))
	}
	return append(names, string(ref))
}
