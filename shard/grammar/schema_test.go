package grammar

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/shardnode/shardnode/shard"
)

// validator returns a function that says whether a JSON text meets schema.
func validator(t testing.TB, schema string) func(string) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatalf("%v in %s", err, schema)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("s.json", doc); err != nil {
		t.Fatalf("%v in %s", err, schema)
	}
	s, err := c.Compile("s.json")
	if err != nil {
		t.Fatalf("%v in %s", err, schema)
	}
	return func(text string) error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return err
		}
		return s.Validate(v)
	}
}

// answer draws an answer of the form, token by token. Tokens that close are
// preferred more and more, so that it ends.
func answer(t testing.TB, v *Vocabulary, f *Form, r *rand.Rand) string {
	t.Helper()
	m := f.Start()
	var b strings.Builder
	for n := 0; ; n++ {
		mask, err := m.Mask()
		if err != nil {
			t.Fatal(err)
		}
		ids := allowed(mask)
		if len(ids) == 0 {
			t.Fatalf("nothing may come after %q", b.String())
		}
		id := ids[r.IntN(len(ids))]
		if r.IntN(40) < n && r.IntN(4) > 0 {
			id = closing(mask, id)
		}
		if err := m.Accept(id); err != nil {
			t.Fatal(err)
		}
		if id == endToken {
			return b.String()
		}
		b.WriteString(v.piece[id])
		if n > 5000 {
			t.Fatalf("no end in sight: %.200q", b.String())
		}
	}
}

// closing returns a token of mask that ends something, or id if none does. In a
// string, where q may come, only the quote does.
func closing(mask []uint64, id shard.Token) shard.Token {
	may := func(c byte) bool { t := int(c) + 2; return mask[t/64]>>(t%64)&1 != 0 }
	switch {
	case mask[0]&1 != 0:
		return endToken
	case may('"') && may('q'):
		return '"' + 2
	case may('}'):
		return '}' + 2
	case may(']'):
		return ']' + 2
	case may('"'):
		return '"' + 2
	}
	return id
}

var plainSchemas = []string{
	`{}`, `true`, `{"type":"object"}`, `{"type":"array"}`, `{"type":["string","null"]}`,
	`{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"],"additionalProperties":false}`,
	`{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"number"},"c":{"type":"boolean"}},"required":["b"]}`,
	`{"type":"object","properties":{"a":{},"ab":{},"":{"type":"null"}},"additionalProperties":{"type":"integer"}}`,
	`{"type":"object","additionalProperties":{"type":"string"},"minProperties":1,"maxProperties":3}`,
	`{"type":"object","propertyNames":{"pattern":"^[a-z]{2}$"},"additionalProperties":{"type":"integer"}}`,
	`{"type":"object","properties":{"a":{"type":"integer"}},"required":["z","a"]}`,
	`{"enum":["a","b c","\"q\"",1,2.5,null,true,{"x":[1]},[1,2]]}`, `{"const":"é\n"}`, `{"type":"string","enum":["a","bcd",3],"maxLength":2}`,
	`{"type":"string","minLength":3,"maxLength":7}`, `{"type":"string","maxLength":100}`, `{"type":"string","minLength":2}`,
	`{"type":"string","pattern":"^[A-Z]{2}-\\d+$"}`, `{"type":"string","pattern":"ab+c?"}`, `{"type":"string","pattern":"^(\\w|\"|\\\\)*$"}`,
	`{"type":"string","pattern":"^(?i:yes|no)$","maxLength":3}`, `{"type":"string","pattern":"^[^a-z]{1,5}x$|^b"}`,
	`{"type":"integer","minimum":-5,"maximum":123}`, `{"type":"integer","exclusiveMinimum":10}`, `{"type":"integer","maximum":-3}`,
	`{"type":"integer","minimum":0.5,"maximum":1.5}`, `{"type":"integer","multipleOf":7,"minimum":-50,"maximum":50}`,
	`{"type":"number","minimum":-1.5,"maximum":2.25}`, `{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1}`, `{"type":"number","minimum":1.5}`,
	`{"type":"number","multipleOf":0.01,"minimum":0,"maximum":10}`, `{"type":"number","maximum":0}`, `{"type":"number","minimum":0.1,"maximum":0.1}`,
	`{"type":"number","exclusiveMinimum":99.95,"maximum":100.05}`, `{"minimum":3}`,
	`{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":5}`, `{"type":"array","maxItems":0}`, `{"type":"array","items":{"enum":["x"]},"minItems":1}`,
	`{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"items":false}`, `{"type":"array","prefixItems":[{"type":"string"}],"items":{"type":"null"},"minItems":3,"maxItems":4}`,
	`{"anyOf":[{"type":"string"},{"type":"integer"},false]}`, `{"oneOf":[{"type":"null"},{"type":"object","properties":{"k":{"const":"a"}},"required":["k"]}]}`,
	`{"oneOf":[{"type":"object","properties":{"kind":{"const":"cat"},"lives":{"type":"integer"}},"required":["kind"]},{"type":"object","properties":{"kind":{"const":"dog"}},"required":["kind"]}]}`,
	`{"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"a":{"minimum":3},"b":{"type":"string"}},"required":["b"]}]}`,
	`{"type":"object","properties":{"x":{"type":"integer"}},"anyOf":[{"required":["x"]},{"required":["y"],"properties":{"y":{"type":"null"}}}]}`,
	`{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"],"additionalProperties":false}}}`,
	`{"type":"object","properties":{"kids":{"type":"array","items":{"$ref":"#"}}},"required":["kids"]}`,
	`{"definitions":{"a b":{"type":"integer"}},"properties":{"x":{"$ref":"#/definitions/a b","minimum":4}},"required":["x"]}`,
	`{"type":"string","format":"date"}`, `{"type":"string","format":"date-time"}`, `{"type":"string","format":"time"}`, `{"type":"string","format":"uuid"}`,
	`{"type":"string","format":"ipv4"}`, `{"type":"string","format":"ipv6"}`, `{"type":"string","format":"email"}`, `{"type":"string","format":"hostname"}`,
	`{"type":"string","format":"uri"}`, `{"type":"string","format":"duration"}`,
	`{"title":"T","description":"d","$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"a":{"type":"string","default":"x","examples":["y"]}},"required":["a"],"x-other":1}`,
}

func TestEveryAnswerOfASchemaIsValid(t *testing.T) {
	v := testVocabulary(testTokens())
	for i, src := range plainSchemas {
		e, err := FromSchema([]byte(src))
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		f := mustForm(t, v, e, nil)
		valid := validator(t, src)
		r := rand.New(rand.NewPCG(*seed, uint64(i)))
		for range 30 {
			text := answer(t, v, f, r)
			if err := valid(text); err != nil {
				t.Errorf("%s gave %s\n%v (seed %d)", src, text, err, *seed)
				break
			}
		}
	}
}

// A schemaMaker draws schemas as clients send them.
type schemaMaker struct{ *rand.Rand }

func (g schemaMaker) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g schemaMaker) schema(depth int) string {
	kinds := 9
	if depth <= 0 {
		kinds = 6
	}
	switch g.IntN(kinds) {
	case 0:
		return g.pick(`{"type":"string"}`, `{"type":"boolean"}`, `{"type":"null"}`, `{"type":["string","integer","null"]}`, `{"type":["number","boolean"]}`)
	case 1:
		lo := g.IntN(4)
		return fmt.Sprintf(`{"type":"string","minLength":%d,"maxLength":%d,"description":"some"}`, lo, lo+g.IntN(30))
	case 2:
		return g.pick(`{"type":"string","pattern":"^[a-f0-9]{4,8}$"}`, `{"type":"string","pattern":"^(\\([0-9]{3}\\))?[0-9]{3}-[0-9]{4}$"}`,
			`{"type":"string","format":"date"}`, `{"type":"string","format":"email"}`, `{"type":"string","pattern":"[0-9]+$"}`)
	case 3:
		lo := g.IntN(2000) - 1000
		return fmt.Sprintf(`{"type":"integer","minimum":%d,"exclusiveMaximum":%d}`, lo, lo+1+g.IntN(5000))
	case 4:
		lo := g.Float64()*200 - 100
		return fmt.Sprintf(`{"type":"number","exclusiveMinimum":%.3f,"maximum":%.4f}`, lo, lo+0.01+g.Float64()*g.Float64()*100)
	case 5:
		return g.pick(`{"enum":["red","green","blue"]}`, `{"enum":[1,2.5,"x",null]}`, `{"const":{"a":[1,true]}}`, `{"type":"string","enum":["only"]}`)
	case 6:
		lo := g.IntN(3)
		return fmt.Sprintf(`{"type":"array","items":%s,"minItems":%d,"maxItems":%d}`, g.schema(depth-1), lo, lo+g.IntN(6))
	case 7:
		return fmt.Sprintf(`{"anyOf":[%s,%s]}`, g.schema(depth-1), g.schema(depth-1))
	}
	return g.object(depth)
}

func (g schemaMaker) object(depth int) string {
	var props, required []string
	for i := range 1 + g.IntN(6) {
		name := fmt.Sprintf("%s%d", g.pick("name", "a\\\"b", "größe", "x y", "id"), i)
		props = append(props, fmt.Sprintf(`"%s":%s`, name, g.schema(depth-1)))
		if g.IntN(3) > 0 {
			required = append(required, `"`+name+`"`)
		}
	}
	more := g.pick(`,"additionalProperties":false`, "", `,"additionalProperties":{"type":"integer"}`, `,"additionalProperties":true`)
	return fmt.Sprintf(`{"type":"object","properties":{%s},"required":[%s]%s}`, strings.Join(props, ","), strings.Join(required, ","), more)
}

func TestEveryAnswerOfARandomSchemaIsValid(t *testing.T) {
	v := testVocabulary(testTokens())
	schemas, answers := 200, 5
	if testing.Short() {
		schemas = 30
	}
	for i := range schemas {
		r := rand.New(rand.NewPCG(*seed, uint64(i)))
		src := schemaMaker{r}.object(3)
		e, err := FromSchema([]byte(src))
		f := mustForm(t, v, e, err)
		valid := validator(t, src)
		for range answers {
			text := answer(t, v, f, r)
			if err := valid(text); err != nil {
				t.Fatalf("schema %d of seed %d: %s gave %s\n%v", i, *seed, src, text, err)
			}
		}
	}
}

func TestValuesThatASchemaMeansAreOfTheForm(t *testing.T) {
	v := testVocabulary(testTokens()[:300])
	for _, c := range []struct{ schema, yes, no string }{
		{`{"type":"number","minimum":1.5}`, `1.5;1.501;2;17.25;1.50`, `1.4;1.49;1;0;-2;01.5`},
		{`{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1}`, `0.5;0.001;0.99`, `0;1;0.0;1.0;-0.5`},
		{`{"type":"number","minimum":-1.5,"maximum":2.25}`, `-1.5;-1;0;-0.3;2;2.25;1.9999`, `-1.6;2.26;3;-2`},
		{`{"type":"integer","minimum":-5,"maximum":123}`, `-5;-1;0;9;10;99;100;123`, `-6;124;1.0;007`},
		{`{"type":"integer"}`, `0;-7;123456789`, `01;1.5;1e3`},
		{`{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"required":["b"]}`, `{"b":1};{"a":1,"b":2};{ "a": 1, "b": 2 };{` + "\n  \"b\": 3\n" + `}`, `{};{"a":1};{"b":1,"a":2};{"b":1,"c":2}`},
		{`{"type":"object","properties":{"ab":{"type":"integer"}},"additionalProperties":{"type":"null"}}`, `{"ab":1};{"a":null};{"abc":null};{"ab":2,"x":null};{}`, `{"ab":null};{"x":1}`},
		{`{"type":"array","items":{"type":"integer"},"minItems":1}`, `[1];[1, 2,3];[ 1 ]`, `[];[1,];["a"]`},
		{`{"type":"string","pattern":"b\"c"}`, `"ab\"cd"`, `"abcd"`},
		{`{"type":"string","maxLength":2}`, `"ab";"\u00e9\n";"日本";""`, `"abc";"\ud800"`},
		{`{}`, `1;"a";null;[1,{"a":[]}];{"x":{"y":-1.5e7}}`, `nul;{a:1};'a'`},
	} {
		e, err := FromSchema([]byte(c.schema))
		f := mustForm(t, v, e, err)
		for text := range strings.SplitSeq(c.yes, ";") {
			if !accepts(f, text) {
				t.Errorf("%s does not take %s", c.schema, text)
			}
		}
		for text := range strings.SplitSeq(c.no, ";") {
			if accepts(f, text) {
				t.Errorf("%s takes %s", c.schema, text)
			}
		}
	}
}

func TestWhatASchemaCannotKeepIsNamed(t *testing.T) {
	for src, want := range map[string]string{
		`{`: "JSON", `1`: "want an object", `{"type":"text"}`: "text", `{"not":{}}`: "not is not supported",
		`{"type":"object","properties":{"a":{"if":{}}}}`:                                 "#",
		`{"type":"array","uniqueItems":true}`:                                            "uniqueItems",
		`{"type":"array","contains":{}}`:                                                 "contains",
		`{"patternProperties":{"a":{}}}`:                                                 "patternProperties",
		`{"type":"string","format":"fax"}`:                                               "fax",
		`{"type":"string","pattern":"(?=a)"}`:                                            "pattern",
		`{"type":"string","pattern":"a\\b"}`:                                             "pattern",
		`{"type":"string","pattern":"^a+$","maxLength":3}`:                               "maxLength",
		`{"oneOf":[{"type":"string"},{"type":"string","maxLength":3}]}`:                  "anyOf",
		`{"$ref":"http://example.org/x"}`:                                                "example.org",
		`{"$ref":"#/$defs/none"}`:                                                        "names nothing",
		`{"$ref":"#"}`:                                                                   "",
		`{"type":"integer","multipleOf":3}`:                                              "multipleOf",
		`{"type":"integer","minimum":3,"maximum":2}`:                                     "no value",
		`{"type":"string","minLength":3,"maxLength":2}`:                                  "no value",
		`{"allOf":[{"type":"string"},{"type":"integer"}]}`:                               "no value",
		`{"required":["a"],"additionalProperties":false}`:                                "no value",
		`{"type":"string","nullable":true}`:                                              "nullable",
		`{"type":"number","minimum":1e999999}`:                                           "range",
		`{"type":"string","minLength":-1}`:                                               "whole number",
		`{"properties":{"a":{"allOf":[{"$ref":"#"}],"type":"object"}},"required":["a"]}`: "",
	} {
		_, err := FromSchema([]byte(src))
		if want == "#" {
			want = "properties/a: if"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", src, err, want)
		}
	}
	if _, err := FromSchema([]byte(strings.Repeat(`{"items":`, 5000) + "1" + strings.Repeat("}", 5000))); err == nil {
		t.Error("a schema 5,000 deep is taken")
	}
}

func FuzzSchema(f *testing.F) {
	for _, s := range plainSchemas {
		f.Add([]byte(s))
	}
	v := testVocabulary(testTokens()[:300])
	f.Fuzz(func(t *testing.T, src []byte) {
		e, err := FromSchema(src)
		if err != nil || len(src) > 300 {
			return
		}
		form, err := v.Compile(e)
		if err != nil {
			return
		}
		m := form.Start()
		var text []byte
		for i := range 40 {
			mask, err := m.Mask()
			if err != nil {
				return
			}
			ids := allowed(mask)
			if len(ids) == 0 {
				t.Fatalf("%s: nothing may come after %q", src, text)
			}
			id := ids[(i*i+7)%len(ids)]
			if err := m.Accept(id); err != nil {
				t.Fatal(err)
			}
			text = append(text, v.piece[id]...)
			if id == endToken {
				if !json.Valid(text) {
					t.Fatalf("%s gave %q", src, text)
				}
				return
			}
		}
	})
}

// BenchmarkMask makes the masks of an answer of a schema, over a vocabulary of
// 128k tokens, with all that is remembered from one answer to the next.
func BenchmarkMask(b *testing.B) {
	pieces := testTokens()
	r := rand.New(rand.NewPCG(1, 2))
	for len(pieces) < 128_000 {
		var s strings.Builder
		if r.IntN(2) == 0 {
			s.WriteByte(' ')
		}
		for range 2 + r.IntN(8) {
			s.WriteByte("etaoinshrdlucmfw"[min(r.IntN(16), r.IntN(16))])
		}
		if r.IntN(30) == 0 {
			s.WriteString(`",`)
		}
		pieces = append(pieces, s.String())
	}
	v := testVocabulary(pieces)
	schema := `{"type":"object","properties":{"name":{"type":"string"},"notes":{"type":"array","items":{"type":"string","maxLength":60}},
		"tags":{"type":"array","items":{"enum":["a","b"]}},"n":{"type":"integer"}},"required":["name","notes","n"],"additionalProperties":false}`
	text := `{"name": "etain shone", "notes": ["the " , "rest ion sth", "on the tin", "a note on it"], "tags": ["a", "b"], "n": 123}`
	e, err := FromSchema([]byte(schema))
	f := mustForm(b, v, e, err)
	run := func() int {
		m := f.Start()
		n := 0
		for at := 0; at < len(text); n++ {
			if _, err := m.Mask(); err != nil {
				b.Fatal(err)
			}
			at += longest(b, v, m, text[at:])
		}
		return n
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			f = mustForm(b, v, e, nil)
			run()
		}
	})
	b.Run("again", func(b *testing.B) {
		n := 0
		for b.Loop() {
			clear(f.masks)
			n += run()
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "us/mask")
		b.ReportMetric(float64(len(f.units)), "units")
	})
}

// longest accepts the longest token that text begins with.
func longest(t testing.TB, v *Vocabulary, m *Matcher, text string) int {
	t.Helper()
	best, n := shard.Token(-1), int32(0)
	for i := int32(1); i < int32(len(v.nodes)); {
		d := int(v.nodes[i].depth)
		if d > len(text) || v.nodes[i].b != text[d-1] {
			i = v.nodes[i].next
			continue
		}
		if v.nodes[i].token >= 0 {
			best, n = v.nodes[i].token, int32(d)
		}
		i++
	}
	if err := m.Accept(best); err != nil {
		t.Fatalf("%q before %q: %v", v.piece[best], text, err)
	}
	return int(n)
}
