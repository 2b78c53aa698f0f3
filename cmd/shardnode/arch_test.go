package main_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// ours is the import path of the house; its packages are named below without it.
const ours = "github.com/shardnode/shardnode/"

// floors says on which floor each package stands. A package imports only
// packages of lower floors, never one of its own. A new package goes on the
// lowest floor that works. Only floors 3 and up may touch the disk, only floors
// 4 and up may log or touch the network.
var floors = map[string]int{
	"cmd/shardnode": 9,
	"tools/compare": 9,
	"tools/kill":    9,

	"shard/member": 8,
	"shard/openai": 8,
	"shard/web":    8,

	"shard/generate": 7,

	"shard/node":     6,
	"shard/pipeline": 6,

	"scheduler/gossip":        5,
	"shard/engine":            5,
	"shard/hop":               5,
	"transport/transporttest": 5,

	"shard/model":       4,
	"transport":         4,
	"transport/emulate": 4,

	"shard/hub":            3,
	"shard/hub/hubtest":    3,
	"shard/weights":        3,
	"shard/weights/dice":   3,
	"shard/weights/folder": 3,

	"shard/reply":          2,
	"tensorio/gguf":        2,
	"tensorio/safetensors": 2,
	"tensorio/wire":        2,

	"scheduler":             1,
	"shard/chat":            1,
	"shard/grammar":         1,
	"shard/kvcache":         1,
	"shard/model/modeltest": 1,
	"shard/sample":          1,
	"shard/tokenizer":       1,
	"tensorio/quant":        1,

	"shard":                 0,
	"shard/kvcache/offheap": 0,
	"shard/nearest":         0,
	"shard/weights/story":   0,
	"tensorio":              0,
	"tensorio/par":          0,
	"tensorio/vec":          0,
	"transport/wirepb":      0,
}

// logFloor is the lowest floor that logs.
const logFloor = 4

// A door says which packages may import a third-party module.
type door struct {
	module   string
	packages []string // these may
	floor    int      // and these, where packages is nil: this floor and up
	tests    []string // packages whose tests may
	closed   bool     // no type of the module in an exported signature
}

var doors = []door{
	{module: "github.com/quic-go/quic-go", packages: []string{"transport"}, closed: true},
	{module: "github.com/hashicorp/memberlist", packages: []string{"scheduler/gossip"}, closed: true},
	{module: "github.com/klauspost/compress", packages: []string{"tensorio/wire"}, closed: true},
	{module: "google.golang.org/protobuf", packages: []string{
		"scheduler/gossip", "shard/hop", "tensorio/wire", "transport", "transport/wirepb",
	}},
	{module: "github.com/rs/zerolog", floor: logFloor},
	{module: "golang.org/x/sys", packages: []string{
		"cmd/shardnode", "shard/hub", "shard/kvcache/offheap", "shard/weights", "tensorio/par", "tensorio/quant", "tensorio/vec",
	}, closed: true},
	{module: "golang.org/x/text", packages: []string{"shard/tokenizer"}, closed: true},
	{module: "go.yaml.in/yaml/v3", packages: []string{"scheduler"}, closed: true},
	{module: "github.com/spf13/cobra", packages: []string{"cmd/shardnode"}},
	{module: "github.com/spf13/pflag", packages: []string{"cmd/shardnode"}},
	{module: "github.com/prometheus/client_golang", packages: []string{"cmd/shardnode"}},
	{module: "github.com/BurntSushi/toml", packages: []string{"cmd/shardnode"}},
	{module: "golang.org/x/term", packages: []string{"cmd/shardnode"}},
	{module: "github.com/openai/openai-go", packages: []string{}, tests: []string{"shard/openai"}},
	{module: "github.com/santhosh-tekuri/jsonschema", packages: []string{}, tests: []string{"shard/grammar", "shard/openai"}},
}

const (
	maxLines       = 500 // of a file written by hand
	maxTestLines   = 800 // of a test file
	maxDesignLines = 200 // of a DESIGN.md
)

// vagueNames are names that say nothing about what is inside.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "base", "manager"}

// A source is one Go file of the house.
type source struct {
	path      string // from the root of the repository
	dir       string // its folder, which is its package's name in floors
	test      bool
	generated bool
	nested    bool // part of a module of its own: a generator
	lines     int
	fset      *token.FileSet
	syntax    *ast.File
}

// at says where n is, for people and editors.
func (s *source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(n.Pos()).Line)
}

// A house is all that the rules look at.
type house struct {
	sources []*source
	designs map[string]int // lines of each DESIGN.md
}

// rules are the rules of the house. Each returns a sentence per violation that
// says what to do.
var rules = map[string]func(*house) []string{
	"ImportsGoDown":       importsGoDown,
	"ModulesHaveADoor":    modulesHaveADoor,
	"DoorsStayClosed":     doorsStayClosed,
	"OnePackageComment":   onePackageComment,
	"ExportedIsExplained": exportedIsExplained,
	"FilesAreShort":       filesAreShort,
	"NamesSayWhat":        namesSayWhat,
	"NothingHidden":       nothingHidden,
	"DebtsNameAnIssue":    debtsNameAnIssue,
	"TestsAreHonest":      testsAreHonest,
}

// TestArchitecture holds the tree against the rules.
func TestArchitecture(t *testing.T) {
	h, err := readHouse(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.sources) < len(floors) {
		t.Fatalf("found %d Go files for %d packages: is the test run in its folder?", len(h.sources), len(floors))
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		t.Run(name, func(t *testing.T) {
			for _, finding := range rules[name](h) {
				t.Error(finding)
			}
		})
	}
}

// readHouse parses every Go file below root, whatever system it is for.
func readHouse(root fs.FS) (*house, error) {
	h := &house{designs: map[string]int{}}
	var modules []string
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && strings.ContainsRune("._", rune(d.Name()[0])) ||
				slices.Contains([]string{"testdata", "bin", "dist"}, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		isGo := strings.HasSuffix(p, ".go")
		if d.Name() == "go.mod" && p != "go.mod" {
			modules = append(modules, path.Dir(p)+"/")
		}
		if !isGo && d.Name() != "DESIGN.md" {
			return nil
		}
		text, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		lines := strings.Count(string(text), "\n")
		if !isGo {
			h.designs[p] = lines
			return nil
		}
		s := &source{path: p, dir: path.Dir(p), lines: lines, fset: token.NewFileSet()}
		s.test = strings.HasSuffix(p, "_test.go")
		s.syntax, err = parser.ParseFile(s.fset, p, text, parser.ParseComments)
		if err != nil {
			return err
		}
		s.generated = ast.IsGenerated(s.syntax)
		h.sources = append(h.sources, s)
		return nil
	})
	for _, s := range h.sources {
		s.nested = slices.ContainsFunc(modules, func(m string) bool { return strings.HasPrefix(s.path, m) })
	}
	return h, err
}

// imported returns the path of an import.
func imported(i *ast.ImportSpec) string {
	p, _ := strconv.Unquote(i.Path.Value) // the parser has checked it
	return p
}

// forTests says whether a package exists for the tests of others.
func forTests(dir string) bool { return strings.HasSuffix(dir, "test") }

// importsGoDown binds packages, and tests inside of them. A test may import
// packages that exist for tests from any floor, and a test from outside
// (package x_test) may import all: the compiler forbids the circles.
func importsGoDown(h *house) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range h.sources {
		if s.nested {
			continue
		}
		from, known := floors[s.dir]
		if !known && !seen[s.dir] {
			out = append(out, fmt.Sprintf("package %s has no floor: put it into floors in cmd/shardnode/arch_test.go, on the lowest floor above all that it imports", s.dir))
		}
		seen[s.dir] = true
		if !known || strings.HasSuffix(s.syntax.Name.Name, "_test") {
			continue
		}
		for _, i := range s.syntax.Imports {
			to, isOurs := strings.CutPrefix(imported(i), ours)
			if !isOurs {
				continue
			}
			floor, known := floors[to]
			switch {
			case forTests(to) && (s.test || forTests(s.dir)):
			case forTests(to):
				out = append(out, fmt.Sprintf("%s imports %s, which is for tests: move what is needed to a package that is not", s.at(i), to))
			case known && floor >= from:
				out = append(out, fmt.Sprintf("%s: %s (floor %d) imports %s (floor %d), but imports go down: take it as a parameter, a function or an interface declared here, or move one of them",
					s.at(i), s.dir, from, to, floor))
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(floors)) {
		if !seen[dir] {
			out = append(out, fmt.Sprintf("package %s is in floors but not in the tree: delete its row in cmd/shardnode/arch_test.go", dir))
		}
	}
	return out
}

// doorOf returns the door of an import, nil if it needs none or has none.
func doorOf(p string) *door {
	for i := range doors {
		if p == doors[i].module || strings.HasPrefix(p, doors[i].module+"/") {
			return &doors[i]
		}
	}
	return nil
}

// opens says whether s may import the module of d.
func (d *door) opens(s *source) bool {
	if d.packages == nil {
		return floors[s.dir] >= d.floor
	}
	return slices.Contains(d.packages, s.dir) || s.test && slices.Contains(d.tests, s.dir)
}

func modulesHaveADoor(h *house) []string {
	var out []string
	for _, s := range h.sources {
		if s.nested {
			continue
		}
		for _, i := range s.syntax.Imports {
			p := imported(i)
			first, _, _ := strings.Cut(p, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(p, ours) {
				continue
			}
			d := doorOf(p)
			switch {
			case d == nil:
				out = append(out, fmt.Sprintf("%s imports %s, which has no door: do without it, or add it to doors in cmd/shardnode/arch_test.go and say in the commit what we would have to write otherwise", s.at(i), p))
			case !d.opens(s):
				where := strings.Join(slices.Concat(d.packages, d.tests), ", ")
				if d.packages == nil {
					where = fmt.Sprintf("the packages of floor %d and up", d.floor)
				}
				out = append(out, fmt.Sprintf("%s: %s imports %s, whose door is %s: ask that package for what you need", s.at(i), s.dir, p, where))
			}
		}
	}
	return out
}

// doorsStayClosed looks at exported functions, methods and struct fields.
func doorsStayClosed(h *house) []string {
	var out []string
	for _, s := range h.sources {
		if s.nested || s.test || s.generated {
			continue
		}
		closed := map[string]string{} // by the name that the file uses
		for _, i := range s.syntax.Imports {
			if d := doorOf(imported(i)); d != nil && d.closed {
				name := path.Base(imported(i))
				if regexp.MustCompile(`^v\d+$`).MatchString(name) {
					name = path.Base(path.Dir(imported(i)))
				}
				if i.Name != nil {
					name = i.Name.Name
				}
				closed[strings.TrimSuffix(name, "-go")] = d.module
			}
		}
		if len(closed) == 0 {
			continue
		}
		for _, signature := range exportedSignatures(s.syntax) {
			ast.Inspect(signature, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && closed[x.Name] != "" {
						out = append(out, fmt.Sprintf("%s shows %s.%s of %s to importers of %s: return a type of our own", s.at(sel), x.Name, sel.Sel.Name, closed[x.Name], s.dir))
					}
				}
				return true
			})
		}
	}
	return out
}

// exportedSignatures returns what importers see of f's functions and structs.
func exportedSignatures(f *ast.File) []ast.Node {
	var out []ast.Node
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if exportedFunc(d) {
				out = append(out, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				ts, ok := spec.(*ast.TypeSpec)
				if !ok || !ts.Name.IsExported() {
					continue
				}
				fields := &ast.FieldList{}
				switch typ := ts.Type.(type) {
				case *ast.StructType:
					fields = typ.Fields
				case *ast.InterfaceType:
					fields = typ.Methods
				default:
					out = append(out, typ)
				}
				for _, field := range fields.List {
					if len(field.Names) == 0 || slices.ContainsFunc(field.Names, (*ast.Ident).IsExported) {
						out = append(out, field.Type)
					}
				}
			}
		}
	}
	return out
}

// exportedFunc says whether importers can name d. A method counts if its type
// does.
func exportedFunc(d *ast.FuncDecl) bool {
	return d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d)))
}

// receiver returns the name of the type that d is a method of.
func receiver(d *ast.FuncDecl) string {
	name := ""
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			name = cmp.Or(name, id.Name)
		}
		return true
	})
	return name
}

func onePackageComment(h *house) []string {
	files := map[string][]string{}
	for _, s := range h.sources {
		if s.test || s.nested {
			continue
		}
		files[s.dir] = append(files[s.dir], "")
		if s.syntax.Doc != nil && strings.TrimSpace(s.syntax.Doc.Text()) != "" {
			files[s.dir] = append(files[s.dir], s.path)
		}
	}
	var out []string
	for _, dir := range slices.Sorted(maps.Keys(files)) {
		with := slices.DeleteFunc(files[dir], func(p string) bool { return p == "" })
		switch {
		case len(with) == 0:
			out = append(out, fmt.Sprintf("package %s has no package comment: say in doc.go what it is for, which type to start with, what it leaves to others, and whether it is safe for concurrent use", dir))
		case len(with) > 1:
			out = append(out, fmt.Sprintf("package %s has %d package comments (%s): keep one, and put an empty line between the others and their package clause", dir, len(with), strings.Join(with, ", ")))
		}
	}
	return out
}

func exportedIsExplained(h *house) []string {
	var out []string
	missing := func(s *source, n ast.Node, name string) {
		out = append(out, fmt.Sprintf("%s: %s is exported without a comment: say what its signature cannot, or make it lower-case", s.at(n), name))
	}
	for _, s := range h.sources {
		if s.test || s.nested || s.generated {
			continue
		}
		for _, d := range s.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if exportedFunc(d) && d.Doc == nil {
					missing(s, d, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if name := unexplained(d, spec); name != "" {
						missing(s, spec, name)
					}
				}
			}
		}
	}
	return out
}

// unexplained returns the name of what spec exports without a comment, "" if
// nothing. A comment above a group, or behind the line, explains too.
func unexplained(d *ast.GenDecl, spec ast.Spec) string {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() && cmp.Or(spec.Doc, spec.Comment, d.Doc) == nil {
			return spec.Name.Name
		}
	case *ast.ValueSpec:
		if spec.Names[0].IsExported() && cmp.Or(spec.Doc, spec.Comment, d.Doc) == nil {
			return spec.Names[0].Name
		}
	}
	return ""
}

func filesAreShort(h *house) []string {
	var out []string
	for _, s := range h.sources {
		limit := maxLines
		if s.test {
			limit = maxTestLines
		}
		if s.lines > limit && !s.generated {
			out = append(out, fmt.Sprintf("%s has %d lines, at most %d are readable: find the second idea in it and give it a file of its own", s.path, s.lines, limit))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(h.designs)) {
		if h.designs[p] > maxDesignLines {
			out = append(out, fmt.Sprintf("%s has %d lines, at most %d are read: keep the decisions and their reasons, delete what the code says", p, h.designs[p], maxDesignLines))
		}
	}
	return out
}

func namesSayWhat(h *house) []string {
	var out []string
	for _, s := range h.sources {
		file := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test")
		if slices.Contains(vagueNames, file) {
			out = append(out, fmt.Sprintf("%s could hold anything: name it after the one idea in it", s.path))
		}
		if slices.Contains(vagueNames, path.Base(s.dir)) || slices.Contains(vagueNames, s.syntax.Name.Name) {
			out = append(out, fmt.Sprintf("package of %s could hold anything: name it after what it is for", s.path))
		}
	}
	return out
}

// nothingHidden forbids code that runs before main: init functions and
// packages imported for what they do when imported.
func nothingHidden(h *house) []string {
	var out []string
	for _, s := range h.sources {
		if s.generated {
			continue
		}
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				out = append(out, fmt.Sprintf("%s is an init function: make it a function that main, or the first that needs it, calls", s.at(f)))
			}
		}
		for _, i := range s.syntax.Imports {
			if i.Name != nil && i.Name.Name == "_" && imported(i) != "embed" {
				out = append(out, fmt.Sprintf("%s imports %s for its side effects: call it, and pass what it makes", s.at(i), imported(i)))
			}
		}
	}
	return out
}

// debt matches the marks of work put off, and what must follow them.
var (
	debt   = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
	issued = regexp.MustCompile(`\bTODO\(#\d+\): \S`)
)

func debtsNameAnIssue(h *house) []string {
	var out []string
	for _, s := range h.sources {
		if path.Base(s.path) == "arch_test.go" {
			continue
		}
		for _, group := range s.syntax.Comments {
			for _, c := range group.List {
				if debt.MatchString(c.Text) && !issued.MatchString(c.Text) {
					out = append(out, fmt.Sprintf("%s puts work off without an issue: do it, file one and write TODO(#issue): what, or delete the comment", s.at(c)))
				}
			}
		}
	}
	return out
}

// testsAreHonest forbids tests that wait for real time and tests that are left
// out without a word.
func testsAreHonest(h *house) []string {
	var out []string
	for _, s := range h.sources {
		bubble := slices.ContainsFunc(s.syntax.Imports, func(i *ast.ImportSpec) bool { return imported(i) == "testing/synctest" })
		if !s.test {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, _ := sel.X.(*ast.Ident)
			switch {
			case x != nil && x.Name == "time" && sel.Sel.Name == "Sleep" && !bubble:
				out = append(out, fmt.Sprintf("%s sleeps for real: wait for what must happen, or run the test in a testing/synctest bubble", s.at(call)))
			case sel.Sel.Name == "SkipNow", sel.Sel.Name == "Skip" && len(call.Args) == 0:
				out = append(out, fmt.Sprintf("%s skips a test without a reason: say what it lacks", s.at(call)))
			}
			return true
		})
	}
	return out
}

// TestArchitectureSeesViolations shows each rule a house that breaks it in one
// place, so that no rule passes because it looks at nothing.
func TestArchitectureSeesViolations(t *testing.T) {
	const doc = "// Package p is for something.\n"
	for _, c := range []struct {
		rule, path, text string
		want             string // part of the finding
	}{
		{"ImportsGoDown", "shard/model/a.go", `package model; import _ "github.com/shardnode/shardnode/shard/engine"`, "imports go down"},
		{"ImportsGoDown", "shard/model/a.go", `package model; import _ "github.com/shardnode/shardnode/transport"`, "imports go down"},
		{"ImportsGoDown", "shard/model/a_test.go", `package model; import _ "github.com/shardnode/shardnode/shard/engine"`, "imports go down"},
		{"ImportsGoDown", "shard/model/a.go", `package model; import _ "github.com/shardnode/shardnode/shard/model/modeltest"`, "is for tests"},
		{"ImportsGoDown", "shard/attic/a.go", `package attic`, "has no floor"},
		{"ModulesHaveADoor", "shard/a.go", `package shard; import _ "github.com/quic-go/quic-go"`, "whose door is transport"},
		{"ModulesHaveADoor", "tensorio/vec/a.go", `package vec; import _ "github.com/rs/zerolog"`, "floor 4 and up"},
		{"ModulesHaveADoor", "shard/a_test.go", `package shard; import _ "github.com/stretchr/testify/assert"`, "has no door"},
		{"ModulesHaveADoor", "shard/openai/a.go", `package openai; import _ "github.com/openai/openai-go/v3"`, "whose door is shard/openai"},
		{"DoorsStayClosed", "transport/a.go", `package transport; import "github.com/quic-go/quic-go"; func F(c *quic.Conn) {}`, "shows quic.Conn"},
		{"DoorsStayClosed", "transport/a.go", `package transport; import q "github.com/quic-go/quic-go"; type T struct { C []q.Conn }`, "shows q.Conn"},
		{"OnePackageComment", "shard/a.go", "package shard\n", "no package comment"},
		{"ExportedIsExplained", "shard/a.go", "package shard\nfunc F() {}\n", "F is exported without"},
		{"ExportedIsExplained", "shard/a.go", "package shard\nconst F = 1\n", "F is exported without"},
		{"FilesAreShort", "shard/a.go", "package shard\n" + strings.Repeat("//\n", maxLines), "second idea"},
		{"FilesAreShort", "shard/a_test.go", "package shard\n" + strings.Repeat("//\n", maxTestLines), "second idea"},
		{"FilesAreShort", "shard/DESIGN.md", strings.Repeat("\n", maxDesignLines+1), "keep the decisions"},
		{"NamesSayWhat", "shard/util_test.go", "package shard\n", "one idea"},
		{"NamesSayWhat", "shard/common/a.go", "package common\n", "what it is for"},
		{"NothingHidden", "shard/a.go", "package shard\nfunc init() {}\n", "init function"},
		{"NothingHidden", "shard/a.go", `package shard; import _ "net/http/pprof"`, "side effects"},
		{"DebtsNameAnIssue", "shard/a.go", doc + "package shard // TODO: more\n", "without an issue"},
		{"DebtsNameAnIssue", "shard/a.go", doc + "package shard // FIXME(#3): more\n", "without an issue"},
		{"TestsAreHonest", "shard/a_test.go", `package shard; import "time"; func f() { time.Sleep(1) }`, "sleeps for real"},
		{"TestsAreHonest", "shard/a_test.go", `package shard; import "testing"; func f(t *testing.T) { t.Skip() }`, "without a reason"},
	} {
		h, err := readHouse(fstest.MapFS{c.path: {Data: []byte(c.text)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(rules[c.rule](h), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s of %s with %q = %q, want a finding with %q", c.rule, c.path, c.text, got, c.want)
		}
	}
}

// TestArchitectureLeavesGoodCodeAlone shows the rules what they must not mind.
func TestArchitectureLeavesGoodCodeAlone(t *testing.T) {
	files := fstest.MapFS{
		"tensorio/gen/go.mod":     {Data: []byte("module gen\n")},
		"tensorio/gen/main.go":    {Data: []byte(`package main; import "github.com/mmcloughlin/avo/build"`)},
		"transport/wirepb/doc.go": {Data: []byte("// Package wirepb is the wire.\npackage wirepb\n")},
		"transport/wirepb/w.pb.go": {Data: []byte("// Code generated by protoc-gen-go. DO NOT EDIT.\n\npackage wirepb\nfunc init() {}\n" +
			strings.Repeat("//\n", maxLines))},
		"shard/doc.go":               {Data: []byte("// Package shard is shared.\npackage shard\n")},
		"shard/testdata/a.go":        {Data: []byte("package broken {")},
		"shard/tokenizer/doc.go":     {Data: []byte("// Package tokenizer cuts text.\npackage tokenizer\n// TODO(#4): faster\n")},
		"shard/tokenizer/up_test.go": {Data: []byte(`package tokenizer_test; import "github.com/shardnode/shardnode/tensorio/gguf"`)},
		"shard/kvcache/doc.go":       {Data: []byte("// Package kvcache keeps.\npackage kvcache\nimport \"github.com/shardnode/shardnode/shard\"\n\n// A T is explained.\ntype T = shard.Pos\n")},
	}
	h, err := readHouse(files)
	if err != nil {
		t.Fatal(err)
	}
	for name, rule := range rules {
		for _, finding := range rule(h) {
			if !strings.Contains(finding, "is in floors but not in the tree") {
				t.Errorf("%s: %s", name, finding)
			}
		}
	}
}
