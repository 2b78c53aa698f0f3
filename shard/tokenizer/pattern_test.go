package tokenizer

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

// pieces splits text with p alone.
func pieces(p *pattern, text string) []string {
	return (&patternSplit{p: p}).split(nil, text, true, &work{})
}

func mustCompile(tb testing.TB, text string) *pattern {
	tb.Helper()
	p, err := compile(text)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// machineOnly compiles text for the machine even if it is simple.
func machineOnly(tb testing.TB, text string) *pattern {
	tb.Helper()
	tree, err := parsePattern(text)
	if err != nil {
		tb.Fatal(err)
	}
	prog, err := newProgram(tree)
	if err != nil {
		tb.Fatal(err)
	}
	return &pattern{prog: prog}
}

func TestPatternsSplitAsTheirDialectSays(t *testing.T) {
	for _, c := range []struct{ pattern, text, want string }{
		{gpt2Pattern, "it's  a test\n\nof 12 3", "it|'s| | a| test|\n|\n|of| 12| 3"},
		{`\s+(?!\S)|\s+|\S+`, "a   b  ", "a|  | |b|  "},
		{`\d{1,3}(?=(?:\d{3})*\b)`, "1234567 12", "1|234|567| |12"},
		{`\p{N}{1,3}`, "12345", "123|45"},
		{`(?i:'s|'t)`, "x'S'ſ't", "x|'S|'ſ|'t"},
		{`(?i)abc`, "xABCx", "x|ABC|x"},
		{`[^\r\n\p{L}\p{N}]?+\p{L}+`, "!ab!!c", "!ab|!|!c"},
		{`a++b|a+`, "aaac", "aaa|c"},
		{`(?>a+)b|c`, "aabc", "aab|c"},
		{`a+?b?`, "aab", "a|ab"},
		{`(?<=a)b+|x`, "bbabbx", "bba|bb|x"},
		{`\bfoo\b`, "foo foot", "foo| foot"},
		{`[\p{L}&&[^\p{Han}]]+`, "ab語c", "ab|語|c"},
		{`[[:alpha:]-]+`, "a-b1", "a-b|1"},
		{`(IMGIMG)((A|B){1,4})Z`, "xIMGIMGABZy", "x|IMGIMGABZ|y"},
		{`\x41|\u0042|\x{43}`, "ABCD", "A|B|C|D"},
		{`(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`, "a b c1", "a b c|1"},
		{`^a|b$`, "aab", "a|a|b"},
		{`.`, "a\nb", "a|\n|b"},
	} {
		if got := strings.Join(pieces(mustCompile(t, c.pattern), c.text), "|"); got != c.want {
			t.Errorf("%s splits %q into %q, want %q", c.pattern, c.text, got, c.want)
		}
		if got := strings.Join(pieces(machineOnly(t, c.pattern), c.text), "|"); got != c.want {
			t.Errorf("%s splits %q into %q on the machine, want %q", c.pattern, c.text, got, c.want)
		}
	}
}

func TestPatternErrorsSayWhatIsWrong(t *testing.T) {
	for _, bad := range []string{
		"(", ")", "[a", "a{2", "a{3,1}", "a{5000}", "*a", `\p{Klingon}`, `\q`, `[z-a]`, `(?<=ab)c`, `(?P<x>a)`, `(a*)*`, `\`,
		`a|*`, `\xZZ`, `\u{110000}`, `[[:nope:]]`, `(?=a)+`, strings.Repeat("(", 100), strings.Repeat("a", 20000),
		"((((((a{1000}){1000}){1000}){1000}){1000}){1000})",
	} {
		if _, err := compile(bad); err == nil {
			t.Errorf("compile(%.40q) succeeded, want an error", bad)
		}
	}
}

// awkward are texts that make naive matchers take quadratic time.
func awkward(size int) map[string]string {
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	return map[string]string{
		"letters": fill("a"), "spaces": fill(" "), "spaces and a letter": fill(" ") + "x", "newlines": fill("\n"),
		"newlines and spaces": fill("\n ") + "x", "capitals": fill("A"), "capitals and a mark": fill("A") + "!",
		"digits": fill("7"), "digits and a letter": fill("7") + "x", "quotes": fill("'"), "angles": fill("<"),
		"marks": fill("!") + "a", "zeros": fill("\x00"), "wrong bytes": fill("\xe2"), "tabs and letters": fill("\t\ta"),
		"ideographs": fill("語"), "emoji": fill("🙂"), "metaspaces": fill("▁"), "half a special": fill("<|im_"),
		"long s": fill("'ſ"), "combining": "e" + fill("\u0301"), "spaces then line": fill("    \n"),
		"spaced letters": fill("a "), "images": fill("IMGIMGA"), "sentinel": "<sentinel:" + fill("1"),
	}
}

func TestNoPresetIsSlowOnAnyText(t *testing.T) {
	const limit = 10 * time.Second // each takes some 50 ms alone
	texts := awkward(1 << 15)
	for name, p := range presets() {
		stages, err := p.stages()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		start := time.Now()
		for about, text := range texts {
			w := &work{}
			parts := []string{text}
			for _, s := range stages {
				var next []string
				for _, part := range parts {
					next = s.split(next, part, false, w)
				}
				parts = next
			}
			if took := time.Since(start); took > limit {
				t.Fatalf("%s: %s: %v for texts of 32 KB, want at most %v", name, about, took, limit)
			}
		}
	}
}

// FuzzPattern compares the two ways to run a pattern with each other.
func FuzzPattern(f *testing.F) {
	f.Add(gpt2Pattern, "it's a  test")
	f.Add(`\s*[\r\n]+|\s+(?!\S)|\s+`, "  \n \n  x")
	f.Add(`[a-c]*b+c|a+`, "aabbcabb")
	f.Add(`(a|ab)(c|bcd)(d*)`, "abcd")
	f.Fuzz(func(t *testing.T, text, on string) {
		if len(text) > 200 || len(on) > 2000 {
			return
		}
		p, err := compile(text)
		if err != nil {
			return
		}
		got := pieces(p, on)
		if strings.Join(got, "") != on {
			t.Fatalf("%q splits %q into %q, which is not all of it", text, on, got)
		}
		tree, err := parsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		if prog, err := newProgram(tree); err == nil {
			if want := pieces(&pattern{prog: prog}, on); strings.Join(got, "\x01") != strings.Join(want, "\x01") {
				t.Fatalf("%q splits %q into %q, on the machine into %q", text, on, got, want)
			}
		}
	})
}

// TestMatchersAgreeWithRegexp compares matches with package regexp on random
// patterns that both understand.
func TestMatchersAgreeWithRegexp(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	atoms := []string{"a", "b", "[ab]", "[^a]", "c", `\s`, "(?:ab|b)", "(?:a|bc|c)"}
	quants := []string{"", "", "*", "+", "?", "{1,2}", "{2,}", "*?"}
	for range 3000 {
		var b strings.Builder
		for k := range 1 + rng.IntN(3) {
			if k > 0 {
				b.WriteByte('|')
			}
			for range 1 + rng.IntN(4) {
				b.WriteString(atoms[rng.IntN(len(atoms))] + quants[rng.IntN(len(quants))])
			}
		}
		re, err := regexp.Compile(b.String())
		if err != nil {
			continue
		}
		var text strings.Builder
		for range rng.IntN(20) {
			text.WriteByte("abc \n"[rng.IntN(5)])
		}
		var want []string
		last := 0
		for i := 0; i < text.Len(); {
			m := re.FindStringIndex(text.String()[i:])
			if m == nil {
				break
			}
			if m[0] == m[1] { // an empty match is no piece; go on behind it
				i += m[0] + 1
				continue
			}
			if i+m[0] > last {
				want = append(want, text.String()[last:i+m[0]])
			}
			want = append(want, text.String()[i+m[0]:i+m[1]])
			i += m[1]
			last = i
		}
		if last < text.Len() {
			want = append(want, text.String()[last:])
		}
		for name, p := range map[string]*pattern{"direct": mustCompile(t, b.String()), "machine": machineOnly(t, b.String())} {
			if got := pieces(p, text.String()); strings.Join(got, "|") != strings.Join(want, "|") {
				t.Fatalf("seed %d: %s splits %q into %q (%s), regexp into %q", seed, b.String(), text.String(), got, name, want)
			}
		}
	}
}
