package quant

import (
	"bytes"
	"fmt"
	"go/constant"
	"go/token"
	"go/types"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A coded is an instruction that a header writes as a word, with the syntax of
// Arm's manual behind it.
type coded struct {
	name, params, word, syntax string
}

// readCoded returns the instructions of a header.
func readCoded(t *testing.T, path string) []coded {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cs []coded
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+)\(([^)]*)\) WORD \$\((.*)\) // (.*)$`).FindAllStringSubmatch(string(text), -1) {
		cs = append(cs, coded{m[1], m[2], m[3], m[4]})
	}
	if n := bytes.Count(text, []byte("WORD")); len(cs) != n || n < 20 {
		t.Fatalf("%s: %d of %d instructions have a comment that says what they are", path, len(cs), n)
	}
	return cs
}

// operands draws values for the parameters of c.
func (c coded) operands(rng *rand.Rand) map[string]int {
	v := map[string]int{}
	for p := range strings.SplitSeq(c.params, ", ") {
		switch {
		case p == "off":
			v[p] = 16 * rng.IntN(60)
		case p == "i":
			v[p] = rng.IntN(4)
		case p == "s":
			v[p] = 1 + rng.IntN(7)
		case p == "m" && strings.Contains(c.syntax, ".h[i]"):
			v[p] = rng.IntN(16)
		case p == "b": // not equal to a
			v[p] = v["a"] ^ 1
		default:
			v[p] = rng.IntN(29)
		}
	}
	return v
}

// encode returns the word, and the instruction for an assembler.
func (c coded) encode(t *testing.T, v map[string]int) (word uint64, text string) {
	t.Helper()
	expr := regexp.MustCompile(`\b[a-z]+\b`).ReplaceAllStringFunc(c.word, func(p string) string { return strconv.Itoa(v[p]) })
	got, err := types.Eval(token.NewFileSet(), nil, token.NoPos, expr)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	word, _ = constant.Uint64Val(got.Value)
	mnemonic, rest, _ := strings.Cut(c.syntax, " ")
	rest = regexp.MustCompile(`\b([vqdxhs])([abdnmr])\b`).ReplaceAllStringFunc(rest, func(r string) string {
		return r[:1] + strconv.Itoa(v[r[1:]])
	})
	rest = regexp.MustCompile(`\b(off|s|i)(\]|$)`).ReplaceAllStringFunc(rest, func(p string) string {
		name := strings.TrimSuffix(p, "]")
		return strconv.Itoa(v[name]) + p[len(name):]
	})
	return word, mnemonic + " " + rest
}

// TestInstructionsOfNEONAreWhatTheirCommentsSay asks LLVM's assembler.
func TestInstructionsOfNEONAreWhatTheirCommentsSay(t *testing.T) {
	assembler, err := exec.LookPath("llvm-mc")
	if err != nil {
		t.Skip("there is no llvm-mc here: apt-get install llvm")
	}
	rng := rand.New(rand.NewPCG(51, 52))
	for _, path := range []string{"neon_arm64.h", "../vec/neon_arm64.h"} {
		var want, source strings.Builder
		for _, c := range readCoded(t, path) {
			for range 8 {
				word, text := c.encode(t, c.operands(rng))
				fmt.Fprintln(&source, text)
				fmt.Fprintf(&want, "[0x%02x,0x%02x,0x%02x,0x%02x] %s\n", byte(word), byte(word>>8), byte(word>>16), byte(word>>24), text)
			}
		}
		cmd := exec.Command(assembler, "-triple=aarch64", "-mattr=+dotprod", "-show-encoding")
		cmd.Stdin = strings.NewReader(source.String())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("llvm-mc: %v\n%s", err, out)
		}
		encodings := regexp.MustCompile(`encoding: (\[.*\])`).FindAllStringSubmatch(string(out), -1)
		lines := strings.Split(strings.TrimSpace(want.String()), "\n")
		if len(encodings) != len(lines) {
			t.Fatalf("%s: llvm-mc assembled %d of %d instructions", path, len(encodings), len(lines))
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, encodings[i][1]) {
				t.Errorf("%s: a macro gives %s, llvm-mc %s", path, line, encodings[i][1])
			}
		}
	}
}
