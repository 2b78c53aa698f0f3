package main

import (
	_ "embed" // for catalogue.txt
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/shardnode/shardnode/shard/hub"
)

//go:embed catalogue.txt
var catalogueText string

// A catalogued model is one that people know by name. Sizes are estimates.
type catalogued struct {
	name    string
	params  float64 // in billions
	active  float64 // of them, for one token
	layers  int
	kvDim   int // width of the keys of one layer
	bytes   int64
	license string
	repo    string
	file    string
}

// catalogue returns the models of catalogue.txt, in its order.
var catalogue = sync.OnceValue(func() []catalogued {
	list, err := parseCatalogue(catalogueText)
	if err != nil {
		panic("main: catalogue.txt: " + err.Error()) // a test reads it
	}
	return list
})

// parseCatalogue reads the form of catalogue.txt.
func parseCatalogue(text string) ([]catalogued, error) {
	var list []catalogued
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 9 {
			return nil, fmt.Errorf("%q has %d fields, want 9", strings.TrimSpace(line), len(f))
		}
		var n [5]float64
		for i := range n {
			var err error
			if n[i], err = strconv.ParseFloat(f[i+1], 64); err != nil || n[i] <= 0 {
				return nil, fmt.Errorf("%s: %q is no size", f[0], f[i+1])
			}
		}
		list = append(list, catalogued{
			name: f[0], params: n[0], active: n[1], layers: int(n[2]), kvDim: int(n[3]), bytes: int64(n[4] * 1e9),
			license: f[6], repo: f[7], file: f[8],
		})
	}
	return list, nil
}

// kvBytesPerToken returns the KV cache of a position, keys and values as float16.
func (c *catalogued) kvBytesPerToken() int64 { return int64(c.layers) * int64(c.kvDim) * 2 * 2 }

// catalogueNames returns all names.
func catalogueNames() []string {
	var names []string
	for _, c := range catalogue() {
		names = append(names, c.name)
	}
	return names
}

// lookUpName returns what the catalogue has for a name. A name may end in a
// quantisation, as in qwen2.5:7b-q4_K_M, which is then asked for in the file's place.
func lookUpName(name string) (hub.Ref, bool) {
	for _, c := range catalogue() {
		rest, ok := strings.CutPrefix(strings.ToLower(name), c.name)
		switch {
		case !ok:
		case rest == "":
			return hub.Ref{Repo: hub.Repo{ID: c.repo}, File: c.file}, true
		case rest[0] == '-' && quantName.MatchString(rest[1:]):
			return hub.Ref{Repo: hub.Repo{ID: c.repo}, File: name[len(c.name)+1:]}, true
		}
	}
	return hub.Ref{}, false
}

// namesOf returns the names that the catalogue has for a file on the hub.
func namesOf(repo, file string) []string {
	var names []string
	for _, c := range catalogue() {
		if c.repo == repo && c.file == file {
			names = append(names, c.name)
		}
	}
	return slices.Clip(names)
}
