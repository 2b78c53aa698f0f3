package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// newFolder returns a folder with safetensors and a tokenizer of letters.
func newFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	if err := os.CopyFS(dir, os.DirFS("../../shard/weights/folder/testdata/glm4")); err != nil {
		t.Fatal(err)
	}
	vocab := map[string]int{}
	for i := range 96 { // as many as the embedding has rows
		vocab[string(rune('!'+i))] = i
	}
	b, err := json.Marshal(map[string]any{
		"model":         map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{}},
		"pre_tokenizer": map[string]any{"type": "ByteLevel"}, "decoder": map[string]any{"type": "ByteLevel"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// folderScore is what `score` says of some tokens.
func folderScore(t *testing.T, args ...string) []*float64 {
	t.Helper()
	var got scoreJSON
	if err := json.Unmarshal([]byte(mustCommand(t, append([]string{"score", "--ids", "1,2,3,4,5,6", "--json"}, args...)...)), &got); err != nil {
		t.Fatal(err)
	}
	return got.NLL
}

// alike reports whether two scores are the same.
func alike(a, b []*float64) bool {
	return slices.EqualFunc(a, b, func(x, y *float64) bool { return (x == nil) == (y == nil) && (x == nil || *x == *y) })
}

func TestAFolderScoresLikeTheFileOfIt(t *testing.T) {
	testFolder := newFolder(t)
	var before []*float64
	for _, quant := range []string{"", "q8_0", "q4_0", "q4_k"} {
		file := filepath.Join(t.TempDir(), "model.gguf")
		args := []string{"convert", testFolder, "-o", file, "--json"}
		folderArgs := []string{testFolder}
		if quant != "" {
			args, folderArgs = append(args, "--quant", quant), append(folderArgs, "--quant", quant)
		}
		var made convertJSON
		if err := json.Unmarshal([]byte(mustCommand(t, args...)), &made); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Size() != made.Bytes || made.Quant != quant || made.Tensors == 0 {
			t.Errorf("convert says %+v of a file of %v bytes: %v", made, info, err)
		}
		whole := folderScore(t, folderArgs...)
		if !alike(whole, folderScore(t, file)) {
			t.Errorf("--quant %q: the folder and its file score differently", quant)
		}
		if alike(whole, before) {
			t.Errorf("--quant %q: scores are those of the type before", quant)
		}
		before = whole
	}
}

func TestMembersShareAFolder(t *testing.T) {
	testFolder := newFolder(t)
	if !alike(folderScore(t, testFolder, "--quant", "q8_0", "--peers", "2"), folderScore(t, testFolder, "--quant", "q8_0")) {
		t.Error("two members score a folder differently")
	}
}

func TestInspectSaysWhatAFolderIs(t *testing.T) {
	testFolder := newFolder(t)
	var got inspectJSON
	if err := json.Unmarshal([]byte(mustCommand(t, "inspect", testFolder, "--json", "--quant", "q8_0")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "tiny-q8_0" || got.Architecture != "glm4" || got.Layers != 4 || got.Types["Q8_0"] == 0 || got.Memory == nil || !got.Runs {
		t.Errorf("inspect says %+v", got)
	}
}

func TestWhatCannotBeConvertedIsSaid(t *testing.T) {
	testFolder, file := newFolder(t), filepath.Join(t.TempDir(), "model.gguf")
	wantFailure(t, exitFailed, []string{"convert", t.TempDir(), "-o", file}, "config.json")
	wantFailure(t, exitFailed, []string{"convert", "story", "-o", file}, "only folders")
	wantFailure(t, exitUsage, []string{"convert", testFolder}, "-o is missing")
	wantFailure(t, exitUsage, []string{"convert", testFolder, "-o", file, "--quant", "q5_1"}, "q4_k")
	wantFailure(t, exitFailed, []string{"score", "story", "--quant", "q8_0", "--ids", "1,2"}, "only folders with safetensors")
	mustCommand(t, "convert", testFolder, "-o", file)
	wantFailure(t, exitFailed, []string{"convert", testFolder, "-o", file}, "there already")
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
