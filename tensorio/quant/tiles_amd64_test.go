package quant

import (
	"os"
	"regexp"
	"testing"

	"github.com/shardnode/shardnode/tensorio/vec"
)

// avo takes the registers of AVX-512 when 16 do not suffice.
func TestGeneratedCodeStaysWithinItsInstructionSet(t *testing.T) {
	beyond := regexp.MustCompile(`\b([XY](1[6-9]|2\d|3[01])|[ZK]\d+)\b|^\s+VPDP`)
	for _, form := range []string{"avx2", "avxvnni"} {
		name := "mul_" + form + "_amd64.s"
		code, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			t.Skip("the sources are not here")
		}
		if err != nil {
			t.Fatal(err)
		}
		if m := beyond.Find(code); m != nil {
			t.Errorf("%s has %q, which the form %s lacks", name, m, form)
		}
	}
}

// TestEveryFormOfTheMachineHasKernels would fail for a form that vec knows and
// this package does not.
func TestEveryFormOfTheMachineHasKernels(t *testing.T) {
	names := vec.Forms()
	t.Logf("this machine has %q", names)
	if got, want := len(machineForms()), len(names)-1; got != want {
		t.Fatalf("%d forms of %q", got, names)
	}
	for i, c := range machineForms() {
		if c.form != names[i] {
			t.Errorf("form %d is %q, want %q", i, c.form, names[i])
		}
	}
}

// TestTilesTakeAllTokensInFewSteps splits every number of tokens into tiles that
// there are.
func TestTilesTakeAllTokensInFewSteps(t *testing.T) {
	none := func(w, a *byte, stride uint64, y *float32, ldy uint64, tail *int32, n uint64) {}
	for _, fs := range []*tileFuncs{
		{1: none},
		{1: none, 2: none, 3: none, 4: none, 6: none},
		{1: none, 2: none, 3: none, 4: none, 6: none, 8: none, 12: none},
	} {
		largest := maxTile
		for fs[largest] == nil {
			largest--
		}
		for tokens := 1; tokens <= 100; tokens++ {
			steps := 0
			for left := tokens; left > 0; steps++ {
				n := fs.next(left)
				if n < 1 || n > left || fs[n] == nil {
					t.Fatalf("the next tile of %d tokens has %d", left, n)
				}
				left -= n
			}
			if limit := (tokens+largest-1)/largest + 1; steps > limit {
				t.Errorf("%d tokens in %d tiles of up to %d, want %d at most", tokens, steps, largest, limit)
			}
		}
	}
}
