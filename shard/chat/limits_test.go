package chat

import (
	"errors"
	"strings"
	"testing"
)

// testSteps is a budget that keeps the tests short, and is still above what any
// real template takes.
const testSteps = 300_000

func TestGreedyTemplatesEndInALimitError(t *testing.T) {
	for name, src := range map[string]string{
		"repetition":         `{{ 'x' * 10**9 }}`,
		"huge repetition":    `{{ 'xy' * 9223372036854775807 }}`,
		"list repetition":    `{{ [1] * 10**9 }}`,
		"range":              `{% for i in range(10**9) %}x{% endfor %}`,
		"nested loops":       `{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}`,
		"output":             `{% set x = 'x' * 1000000 %}{% for a in range(1000) %}{{ x }}{% endfor %}`,
		"doubling a string":  `{% set ns = namespace(s='x') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`,
		"doubling with ~":    `{% set ns = namespace(s='x') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}`,
		"doubling a list":    `{% set ns = namespace(s=[1]) %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`,
		"sharing a list":     `{% set ns = namespace(s=[1]) %}{% for a in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}`,
		"sharing to JSON":    `{% set ns = namespace(s=[1]) %}{% for a in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}`,
		"comparing shared":   `{% set ns = namespace(s=[1], u=[1]) %}{% for a in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.u = [ns.u, ns.u] %}{% endfor %}{{ ns.s == ns.u }}`,
		"deep list":          `{% set ns = namespace(s=[1]) %}{% for a in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}`,
		"deep key":           `{% set ns = namespace(s=(1,)) %}{% for a in range(9999) %}{% set ns.s = (ns.s,) %}{% endfor %}{{ {ns.s: 1} }}`,
		"recursion":          `{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}`,
		"recursive loop":     `{% set ns = namespace(s=[1]) %}{% for a in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}{% for i in ns.s recursive %}{{ loop(i) if i is iterable }}{% endfor %}`,
		"replace":            `{{ ('x' * 10000).replace('x', 'y' * 10000) }}`,
		"replace filter":     `{{ ('x' * 10000)|replace('x', 'y' * 10000) }}`,
		"join":               `{{ range(100000)|join('y' * 10000) }}`,
		"center":             `{{ 'x'.center(10**12) }}`,
		"expandtabs":         `{{ ('\t' * 100).expandtabs(10**6) }}`,
		"zfill":              `{{ 'x'.zfill(10**9) }}`,
		"format width":       `{{ '%1000000000d' % 1 }}`,
		"format digits":      `{{ '%.1000000000f' % 1 }}`,
		"str.format width":   `{{ '{:1000000000}'.format(1) }}{{ '{:^1000000000}'.format(1) }}`,
		"indent":             `{{ ('\n' * 10000)|indent(10000, blank=true) }}`,
		"indent width":       `{{ 'x'|indent(10**12) }}`,
		"nesting":            "{{ " + strings.Repeat("(", 100000) + "1" + strings.Repeat(")", 100000) + " }}",
		"nested blocks":      strings.Repeat("{% if x %}", 100000),
		"nested not":         "{{ " + strings.Repeat("not ", 100000) + "x }}",
		"nested minus":       "{{ " + strings.Repeat("- ", 100000) + "1 }}",
		"chain":              "{{ 1" + strings.Repeat(" + 1", 100000) + " }}",
		"chain of dots":      "{{ a" + strings.Repeat(".b", 100000) + " }}",
		"chain of filters":   "{{ a" + strings.Repeat("|e", 100000) + " }}",
		"source":             strings.Repeat("x", maxSourceBytes+1),
		"escape":             `{% set ns = namespace(s='&' * 1000000) %}{% for a in range(99) %}{% set ns.s = ns.s|forceescape %}{% endfor %}`,
		"strftime":           `{{ strftime_now('%c' * 5000000) }}`,
		"sorting":            `{% for a in range(100000) %}{{ (range(100000)|list)|sort }}{% endfor %}`,
		"tojson with indent": `{% set ns = namespace(s=[1]) %}{% for a in range(400) %}{% set ns.s = [ns.s, 1] %}{% endfor %}{{ ns.s|tojson(indent=1000) }}`,
		"power":              `{% set ns = namespace(s='x') %}{% for a in range(10**5) %}{% for b in range(10**5) %}{% set ns.s = 2 ** 1 %}{% endfor %}{% endfor %}`,
	} {
		t.Run(name, func(t *testing.T) {
			var out string
			tmpl, err := Parse(src)
			if err == nil {
				out, err = tmpl.render(Vars{Now: referenceNow}, testSteps)
			}
			if _, ok := errors.AsType[*LimitError](err); !ok {
				t.Errorf("Render = %.40q, %v, want a LimitError", out, err)
			}
		})
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for src, line := range map[string]int{
		"a\n{% if %}":    2,
		"a\n\n{{ x.y }}": 3,
		"{% for i in [1] %}\n{{ i }}\n{{ i + '' }}\n":         3,
		"{#\n\n#}\n{{ 1 + }}":                                 4,
		"{{ 'a\nb' }}\n{{ x.y }}":                             3,
		"{{\n 1 +\n x.y }}":                                   3,
		"{% raw %}\n\n{% endraw %}\n{{ x.y }}":                4,
		"{% macro m() %}\n{{ x.y }}{% endmacro %}\n{{ m() }}": 2,
		"{%- if true -%}\n\n\n{{ x.y }}{% endif %}":           4,
	} {
		_, err := render1(src, Vars{})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Line != line {
			t.Errorf("%q: %v, want an error in line %d", src, err, line)
		}
	}
	_, err := render1("\n\n{{ raise_exception('no system role') }}", Vars{})
	if e, ok := errors.AsType[*RaiseError](err); !ok || e.Line != 3 || e.Message != "no system role" {
		t.Errorf("raise_exception: %v, want its message and line 3", err)
	}
}

func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(_ *testing.T, src string) { _, _ = Parse(src) })
}

func FuzzParseAndRender(f *testing.F) {
	seed(f)
	vars := caseVars(f)
	messages := FromMessages([]Message{{"system", "be brief"}, {"user", "hi"}, {"assistant", "ho"}, {"user", "<b>"}})
	f.Fuzz(func(t *testing.T, src string) {
		tmpl, err := Parse(src)
		if err != nil {
			return
		}
		v := Vars{Messages: messages, BOS: "<s>", AddGenerationPrompt: true, Now: referenceNow, Extra: vars}
		a, err := tmpl.render(v, testSteps)
		b, again := tmpl.render(v, testSteps)
		if a != b || (err == nil) != (again == nil) {
			t.Errorf("two renders differ: %q, %v and %q, %v", a, err, b, again)
		}
	})
}

func FuzzFromJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,null,true,"x"]}`, `[`, `1e999`, `{"a":1}{}`, `"\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := FromJSON(b)
		if err != nil {
			return
		}
		x := &Dict{}
		x.Set("v", v)
		out, err := render1("{{ v|tojson }}", Vars{Extra: x})
		if err != nil {
			return
		}
		if _, err := FromJSON([]byte(out)); err != nil {
			t.Errorf("tojson of %q gives %q: %v", b, out, err)
		}
	})
}

func seed(f *testing.F) {
	f.Helper()
	for _, src := range caseSources(f) {
		f.Add(src)
	}
	for _, src := range sources(f) {
		f.Add(src)
	}
	f.Add(ChatML)
}
