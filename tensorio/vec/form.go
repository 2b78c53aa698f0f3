package vec

import (
	"fmt"
	"os"
)

// form names one implementation of the kernels.
type form string

const (
	ref  form = "ref"
	avx2 form = "avx2"
)

// chosen is the form that runs, picked once when the program starts. This is
// the only place that chooses; package quant asks [Form].
var chosen, errForm = choose(os.Getenv("SHARDNODE_SIMD"), hasAVX2)

// choose returns the form that the processor and the user's wish allow. A
// wish that cannot be met gives the plain form and an error.
func choose(wish string, canAVX2 bool) (form, error) {
	switch {
	case wish == string(ref):
		return ref, nil
	case wish == "" || wish == string(avx2):
		if canAVX2 {
			return avx2, nil
		}
		if wish != "" {
			return ref, fmt.Errorf("SHARDNODE_SIMD is %q, which this processor lacks: unset it or set it to %q", wish, ref)
		}
		return ref, nil
	}
	return ref, fmt.Errorf("SHARDNODE_SIMD is %q, want %q or %q", wish, ref, avx2)
}

// Form returns the name of the form that runs: "ref" for plain Go, or "avx2"
// (which takes FMA and F16C with it). The error says that SHARDNODE_SIMD asked
// for something else that cannot be had; the name is right all the same.
func Form() (string, error) {
	return string(chosen), errForm
}
