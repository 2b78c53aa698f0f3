package grammar

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// testTokens are all bytes, an end, a control token, and pieces of JSON and
// English, some of which cross what a grammar has borders in.
func testTokens() []string {
	out := []string{"<end>", "<|tool|>"}
	for b := range 256 {
		out = append(out, string([]byte{byte(b)}))
	}
	out = append(out, `{"`, `":`, `": `, `", "`, `",`, `"}`, `"}}`, `}`, `},`, `[]`, `{}`, `["`, `"]`, `]}`, ` "`, `, "`, "\n", "\n  ",
		`true`, `false`, `null`, ` true`, `: true`, `\"`, `\n`, `\u00`, `","`, "é", "日本", "日", "の", "\xe6\x97", "😀", "\xf0\x9f")
	for w := range strings.FieldsSeq("name age city the a is of to in and x y z list value items red green blue Paris 12 2024 100 00 3.14 -1 -0") {
		out = append(out, w, " "+w, w+`"`, w+`":`)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		var b strings.Builder
		if r.IntN(2) == 0 {
			b.WriteByte(' ')
		}
		for range 1 + r.IntN(12) {
			b.WriteByte(byte('a' + r.IntN(26)))
		}
		out = append(out, b.String())
	}
	return out
}

const endToken, toolToken = 0, 1

func testVocabulary(pieces []string) *Vocabulary {
	return NewVocabulary(Tokens{
		Len: len(pieces), Ends: []shard.Token{endToken},
		Piece:   func(id shard.Token) string { return pieces[id] },
		Control: func(id shard.Token) bool { return id <= toolToken },
	})
}

// allowed returns the tokens of a mask.
func allowed(mask []uint64) []shard.Token {
	var out []shard.Token
	for i := range len(mask) * 64 {
		if mask[i/64]>>(i%64)&1 != 0 {
			out = append(out, shard.Token(i))
		}
	}
	return out
}

func mustForm(t testing.TB, v *Vocabulary, e *Expr, err error) *Form {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	f, err := v.Compile(e)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// accepts reports whether text is of the form, byte by byte.
func accepts(f *Form, text string) bool {
	s := f.machine.first()
	for i := range len(text) {
		s = f.machine.move(s, text[i])
	}
	return f.machine.done(s)
}

func TestGrammarsTakeTheirTextsAndNoOthers(t *testing.T) {
	v := testVocabulary(testTokens())
	for _, c := range []struct{ src, yes, no string }{
		{`root ::= "a" | "bc"`, "a bc", "b abc  c"},
		{`root ::= [a-c]+ "x"?`, "a abcx bx", "x axx d"},
		{`root ::= [^a-c]{2}`, "dé日本 xy 日é", "ab x xyz"},
		{"root ::= \"(\" root \")\" | \"x\"", "x (x) ((x))", "(x ((x) )"},
		{"root ::= (\n  \"a\" |  # one\n  \"b\"\n){1,3}\n", "a ab bbb", "abab c"},
		{"root ::= item{2,5}\nitem ::= [0-9] |\n  [a-f]", "12 1a2b3", "1 123456"},
		{`root ::= "\x41\u00e9\U0001F600"`, "Aé😀", "A Aé"},
		{`root ::= "a"{,2} "b"{3,} `, "bbb aabbbb", "aaabbb bb"},
		{`root ::= ("a" | "b"?){0,4}`, "a abab", "ababa"},
		{`root ::= ([a-z]{1,3} "."){1,4}`, "a. abc.de.", "abcd. a.b.c.d.e."},
		{`root ::= . "-" [\]\-x]`, "é-] a-- 日-x", "aa-x a-y"},
		{`root-a ::= "x"` + "\n" + `root ::= root-a root-a`, "xx", "x"},
	} {
		e, err := ParseGBNF(c.src)
		f := mustForm(t, v, e, err)
		for yes := range strings.FieldsSeq(c.yes) {
			for part := range strings.SplitSeq(yes, "|") {
				if c.src == `root ::= [^a-c]{2}` {
					continue
				}
				if !accepts(f, part) {
					t.Errorf("%s does not take %q", c.src, part)
				}
			}
		}
		for _, no := range strings.Split(c.no, " ") {
			if no != "" && accepts(f, no) {
				t.Errorf("%s takes %q", c.src, no)
			}
		}
	}
}

func TestGrammarsThatCannotBeAreRefused(t *testing.T) {
	v := testVocabulary(testTokens())
	for src, want := range map[string]string{
		"":                               "no rule root",
		"x ::= \"a\"":                    "no rule root",
		"root ::= a":                     "not defined",
		"root ::= root \"a\" | \"b\"":    "begin with itself",
		"root ::= \"a\" root":            "ends",
		"root ::= [":                     "want ]",
		"root ::= \"a":                   "no end",
		"root ::= (\"a\"":                "want )",
		"root ::= \"a\" )":               "want the end",
		"root ::= \"a\"{3,2}":            "more than",
		"root ::= \"a\"{99999999}":       "up to",
		"root ::= [z-a]":                 "backwards",
		"root ::= \"\\q\"":               "escape",
		"root ::= \"a\"\nroot ::= \"b\"": "twice",
		"root = \"a\"":                   "::=",
		"root ::= <|nope|>":              "no control token",
		"root ::= a\na ::= b? a \"x\" | \"y\"\nb ::= \"z\"":                          "begin with itself",
		"root ::= " + strings.Repeat("(", 300) + "\"a\"":                             "parentheses",
		"root ::= \"abcdefghij\"{100000} (\"" + strings.Repeat("a", 200_000) + "\")": "too large",
	} {
		e, err := ParseGBNF(src)
		if err == nil {
			_, err = v.Compile(e)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: error %v, want one with %q", src, err, want)
		}
	}
}

// TestMasksAreWhatTheBytesSay compares masks with a walk of every token's bytes.
func TestMasksAreWhatTheBytesSay(t *testing.T) {
	pieces := testTokens()
	v := testVocabulary(pieces)
	for i, src := range []string{
		`root ::= "\"" [^"\\]{0,40} "\"" ", " root | "."`,
		`root ::= ("\"" ([^"\\] | "\\" ["\\nu]){3,17} "\"" ws){2,4}` + "\n" + `ws ::= " "? | "\n" [ ]{0,20}`,
		`root ::= ([a-z]{1,4} " "){0,9} "end"`,
		`root ::= " " [a-z ]* "."`,
		`root ::= "[" (root ("," root){0,5})? "]" | [0-9]+ | "\"" [a-z"]{0,12} "\""`,
		`root ::= [a-z]+ | [a-m ]{2,30} "!"`,
		`root ::= (([a-z] [a-z]?){1,7} " "?){1,5}`,
		`root ::= <|tool|> "{" [^}]* "}" | [^<]{5,} `,
	} {
		e, err := ParseGBNF(src)
		f := mustForm(t, v, e, err)
		r := rand.New(rand.NewPCG(*seed, uint64(i)))
		for range 12 {
			m := f.Start()
			for range 25 {
				mask, err := m.Mask()
				if err != nil {
					t.Fatal(err)
				}
				checkMask(t, v, m, mask, src)
				ids := allowed(mask)
				if len(ids) == 0 {
					t.Fatalf("%s: nothing may come", src)
				}
				if err := m.Accept(ids[r.IntN(len(ids))]); err != nil {
					t.Fatal(err)
				}
				if m.ended {
					break
				}
			}
		}
	}
}

func checkMask(t *testing.T, v *Vocabulary, m *Matcher, mask []uint64, src string) {
	t.Helper()
	for id, p := range v.piece {
		to := m.at
		for i := range len(p) {
			to = m.machine.move(to, p[i])
		}
		want := p != "" && to != stateDead
		if id == endToken {
			want = m.machine.done(m.at)
		}
		if got := mask[id/64]>>(id%64)&1 != 0; got != want {
			t.Fatalf("%s: token %d %q is allowed: %v, want %v (seed %d)", src, id, p, got, want, *seed)
		}
	}
}

func TestAFullMachineIsReplacedWithoutLosingItsPlace(t *testing.T) {
	v := testVocabulary(testTokens())
	e, err := ParseGBNF(`root ::= "(" root ")" | "x"`)
	f := mustForm(t, v, e, err)
	m := f.Start()
	open, shut, x := shard.Token('('+2), shard.Token(')'+2), shard.Token('x'+2)
	const deep = maxStates + 100
	for i := range deep {
		if err := m.Accept(open); err != nil {
			t.Fatalf("( %d: %v", i, err)
		}
	}
	if err := m.Accept(x); err != nil {
		t.Fatal(err)
	}
	for i := range deep {
		if m.CanEnd() {
			t.Fatalf("may end with %d open", deep-i)
		}
		if err := m.Accept(shut); err != nil {
			t.Fatalf(") %d: %v", i, err)
		}
	}
	if !m.Complete() {
		t.Error("is not complete at the end")
	}
}

func FuzzGBNF(f *testing.F) {
	f.Add(`root ::= "a" [b-c]{1,9} | (x)*` + "\nx ::= <|tool|> . root?")
	f.Add(`root ::= ([a-z]{1,3} "."){1,4}`)
	v := testVocabulary(testTokens()[:300])
	f.Fuzz(func(t *testing.T, src string) {
		e, err := ParseGBNF(src)
		if err != nil || len(src) > 200 {
			return
		}
		form, err := v.Compile(e)
		if err != nil {
			return
		}
		m := form.Start()
		for i := 0; i < 6 && !m.ended; i++ {
			mask, err := m.Mask()
			if err != nil {
				return
			}
			checkMask(t, v, m, mask, src)
			ids := allowed(mask)
			if len(ids) == 0 {
				t.Fatalf("%q: nothing may come", src)
			}
			if err := m.Accept(ids[i*7%len(ids)]); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func ExampleParseGBNF() {
	e, _ := ParseGBNF(`root ::= "yes" | "no"`)
	v := testVocabulary([]string{"<end>", "<tool>", "y", "n", "yes", "o", "es"})
	f, _ := v.Compile(e)
	m := f.Start()
	mask, _ := m.Mask()
	fmt.Println(allowed(mask))
	_ = m.Accept(2) // y
	mask, _ = m.Mask()
	fmt.Println(allowed(mask))
	// Output:
	// [2 3 4]
	// [6]
}

func TestHostileGrammarsEndInTime(t *testing.T) {
	v := testVocabulary(testTokens())
	for name, src := range map[string]string{
		"many readings":  `root ::= (([a-z]? [a-z]? [a-z]?){1,9} [a-z]?){1,30} "!"`,
		"nested loops":   `root ::= ((([a-z]{0,9}){0,9}){0,9}){0,9} "."`,
		"nested counts":  `root ::= ((([a-z]{1,999} " "?){1,999} ","?){1,999} ";"?){1,999}`,
		"wide":           "root ::= " + strings.Repeat(`[a-z]{1,50} | `, 400) + `"x"`,
		"deep recursion": "root ::= a\na ::= [a-z] a? a? a? a?",
	} {
		began := time.Now()
		e, err := ParseGBNF(src)
		if err != nil {
			t.Fatal(err)
		}
		f, err := v.Compile(e)
		if err != nil {
			continue // refused is as well
		}
		m := f.Start()
		for range 6 {
			mask, err := m.Mask()
			if err != nil {
				break
			}
			ids := allowed(mask)
			if err := m.Accept(ids[len(ids)-1]); err != nil {
				break
			}
		}
		t.Logf("%s: %v, work %d", name, time.Since(began), f.machine.work)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("%s took %v", name, took)
		}
	}
}
