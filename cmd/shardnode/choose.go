package main

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/shardnode/shardnode/shard/nearest"
)

var (
	// quantName is what file names call a quantisation.
	quantName = regexp.MustCompile(`(?i)^(ud-)?(i?q[1-8](_[a-z0-9]+)*|tq[12]_0|f16|f32|bf16|fp16|mxfp4(_moe)?)$`)
	// quantInName finds it in the name of a file.
	quantInName = regexp.MustCompile(`(?i)(?:^|[-._/])((?:ud-)?(?:i?q[1-8](?:_[a-z0-9]+)*|tq[12]_0|f16|f32|bf16|fp16|mxfp4(?:_moe)?))(?:[-.]|$)`)
	// partOfModel is the end of the names of split files (llama-gguf-split, and
	// transformers' save_pretrained).
	partOfModel = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})(\.gguf|\.safetensors)$`)
)

// preferred are quantisations in the order in which one is taken when none was
// asked for: good and small first.
var preferred = []string{"q4_k_m", "q4_k_s", "mxfp4", "q4_0", "iq4_nl", "q4_1", "q5_k_m", "q5_0", "q6_k", "q8_0", "q3_k_m", "bf16", "f16", "f32"}

// textFiles are the files of a folder model besides weights.
var textFiles = []string{
	"config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json",
	"merges.txt", "added_tokens.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
	safetensorsIndex,
}

const (
	safetensorsIndex = "model.safetensors.index.json"
	folderConfig     = "config.json"
)

// A choice is the files of a repository that make one model.
type choice struct {
	files  []string // the first is the one to open, unless folder
	folder bool     // all files together are the model
	others []string // quantisations that could be had instead
}

// complete reports whether all parts of a split file are there.
func (c *choice) complete() bool {
	for _, name := range c.files {
		m := partOfModel.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if n, err := strconv.Atoi(m[3]); err != nil || n != countOf(c.files, m[1]+"-", "-of-"+m[3]+m[4]) {
			return false
		}
	}
	return true
}

// countOf returns how many names begin and end so.
func countOf(names []string, prefix, suffix string) int {
	n := 0
	for _, name := range names {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			n++
		}
	}
	return n
}

// chooseFiles returns the files to have of names for want: a file's name, a
// quantisation, or "" for what suits best.
func chooseFiles(names []string, want string) (choice, error) {
	if slices.Contains(names, want) {
		return choice{files: withParts(names, want)}, nil
	}
	var heads []string // GGUF files, of split ones the first
	for _, name := range names {
		base := strings.ToLower(path.Base(name))
		if !strings.HasSuffix(base, ".gguf") || strings.HasPrefix(base, "mmproj") || strings.Contains(base, "imatrix") {
			continue
		}
		if m := partOfModel.FindStringSubmatch(name); m == nil || m[2] == "00001" {
			heads = append(heads, name)
		}
	}
	slices.Sort(heads)
	if want != "" {
		return chooseByQuant(names, heads, want)
	}
	if len(heads) == 0 {
		return chooseFolder(names)
	}
	best, rank := heads[0], len(preferred)+1
	for _, head := range heads {
		at := slices.Index(preferred, strings.ToLower(quantOf(head)))
		if at < 0 {
			at = len(preferred)
		}
		if at < rank {
			best, rank = head, at
		}
	}
	c := choice{files: withParts(names, best)}
	for _, head := range heads {
		if head != best {
			c.others = append(c.others, quantOf(head))
		}
	}
	return c, nil
}

// chooseByQuant returns the files of the quantisation want.
func chooseByQuant(names, heads []string, want string) (choice, error) {
	wanted := want
	if q := quantOf(want); !quantName.MatchString(want) && q != "" {
		wanted = q // a file that is not there under this very name
	}
	var found []string
	for _, head := range heads {
		if strings.EqualFold(quantOf(head), wanted) {
			found = append(found, head)
		}
	}
	switch {
	case len(found) == 1 && quantName.MatchString(want), len(found) == 1 && path.Ext(want) == ".gguf":
		return choice{files: withParts(names, found[0])}, nil
	case len(found) > 1:
		return choice{}, fmt.Errorf("%q could be any of %s", want, strings.Join(found, ", "))
	case len(names) == 0:
		return choice{}, fmt.Errorf("there is no file %q", want)
	}
	return choice{}, fmt.Errorf("there is no file %q; the nearest is %q", want, nearest.Of(want, names))
}

// chooseFolder returns the files of a model that is a folder.
func chooseFolder(names []string) (choice, error) {
	c := choice{folder: true}
	if !slices.Contains(names, folderConfig) {
		return c, fmt.Errorf("it has neither a .gguf file nor %s: it is no language model that can be run", folderConfig)
	}
	weightFiles := 0
	for _, name := range names {
		base, isWeights := strings.CutSuffix(name, ".safetensors")
		switch {
		case slices.Contains(textFiles, name):
			c.files = append(c.files, name)
		case isWeights && !strings.Contains(name, "/") && (base == "model" || partOfModel.MatchString(name) && strings.HasPrefix(base, "model")):
			c.files = append(c.files, name)
			weightFiles++
		}
	}
	if weightFiles == 0 {
		return c, fmt.Errorf("it has no weights as .safetensors or .gguf")
	}
	return c, nil
}

// quantOf returns the quantisation that a file's name tells, "" if none.
func quantOf(name string) string {
	m := quantInName.FindAllStringSubmatch(strings.TrimSuffix(path.Base(name), ".gguf"), -1)
	if len(m) == 0 {
		return ""
	}
	return m[len(m)-1][1]
}

// withParts returns name, and the other parts when it is the first of a split
// file.
func withParts(names []string, name string) []string {
	m := partOfModel.FindStringSubmatch(name)
	if m == nil || m[2] != "00001" {
		return []string{name}
	}
	out := []string{name}
	for _, other := range names {
		o := partOfModel.FindStringSubmatch(other)
		if o != nil && o[1] == m[1] && o[3] == m[3] && o[4] == m[4] && other != name {
			out = append(out, other)
		}
	}
	slices.Sort(out)
	return out
}
