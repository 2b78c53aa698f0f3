package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// answerOf runs the program, which must succeed, and reads its JSON answer.
func answerOf[T any](t *testing.T, stdin string, args ...string) (answer T) {
	t.Helper()
	stdout, stderr, code := command(t, stdin, args...)
	if code != exitDone {
		t.Fatalf("shardnode %s: exit status %d\n%s", strings.Join(args, " "), code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
		t.Fatalf("shardnode %s prints %q: %v", strings.Join(args, " "), stdout, err)
	}
	return answer
}

func TestTokenizeTakesTextFromEverywhere(t *testing.T) {
	const text = "Once upon a time <|endoftext|>\n"
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := answerOf[tokensJSON](t, "", "tokenize", "story", "--json", "--text", text)
	if len(want.IDs) < 8 || strings.Join(want.Pieces, "") != text {
		t.Errorf("tokens %v, pieces %q of %q", want.IDs, want.Pieces, text)
	}
	for name, got := range map[string]tokensJSON{
		"file":            answerOf[tokensJSON](t, "", "tokenize", "story", "--json", "--file", file),
		"stdin":           answerOf[tokensJSON](t, text, "tokenize", "story", "--json"),
		"stdin as a file": answerOf[tokensJSON](t, text, "tokenize", "story", "--json", "--file", "-"),
	} {
		if !slices.Equal(got.IDs, want.IDs) {
			t.Errorf("%s: %v, want %v", name, got.IDs, want.IDs)
		}
	}
	special := answerOf[tokensJSON](t, text, "tokenize", "story", "--json", "--special")
	if slices.Equal(special.IDs, want.IDs) || !slices.Contains(special.IDs, 0) || slices.Contains(want.IDs, 0) {
		t.Errorf("--special: %v, without: %v", special.IDs, want.IDs)
	}
	if bos := answerOf[tokensJSON](t, text, "tokenize", "story", "--json", "--bos"); bos.IDs[0] != 0 || !slices.Equal(bos.IDs[1:], want.IDs) {
		t.Errorf("--bos: %v, want 0 and %v", bos.IDs, want.IDs)
	}
	if none := mustCommand(t, "tokenize", "story", "--json", "--text", ""); none != `{"ids":[],"pieces":[]}`+"\n" {
		t.Errorf("an empty text: %s", none)
	}
}

func TestTokenizeDecodes(t *testing.T) {
	want := "Once <|endoftext|>upon\n ünï"
	ids := answerOf[tokensJSON](t, want, "tokenize", "story", "--json", "--special").IDs
	list, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	flag := strings.Trim(string(list), "[]")
	if got := answerOf[textJSON](t, "", "tokenize", "story", "--decode", "--json", "--ids", flag); got.Text != want {
		t.Errorf("decoded %q, want %q", got.Text, want)
	}
	if got := mustCommand(t, "tokenize", "story", "--decode", "--ids", flag); got != want {
		t.Errorf("decoded without --json %q, want %q", got, want)
	}
	if got := answerOf[textJSON](t, string(list), "tokenize", "story", "--decode", "--lines"); got.Text != want {
		t.Errorf("decoded from a line %q, want %q", got.Text, want)
	}
}

func TestTokenizeAnswersEveryLine(t *testing.T) {
	stdout, stderr, code := command(t, "\"one\\ntwo\"\n\"\"\n\"a\u0085b\"", "tokenize", "story", "--lines", "--json")
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if code != exitDone || len(lines) != 3 || lines[1] != `{"ids":[],"pieces":[]}` || strings.Contains(stdout, "\u0085") {
		t.Errorf("exit status %d, %q, %s", code, stdout, stderr)
	}
	stdout, stderr, code = command(t, "\"one\"\nnull\n", "tokenize", "story", "--lines")
	if code != exitFailed || strings.Count(stdout, "\n") != 1 || !strings.Contains(stderr, "line 2") {
		t.Errorf("a line that is no string: exit status %d, %q, %s", code, stdout, stderr)
	}
	if _, stderr, code = command(t, "[1,99999]\n", "tokenize", "story", "--decode", "--lines"); code != exitFailed || !strings.Contains(stderr, "99999") {
		t.Errorf("an unknown token: exit status %d, %s", code, stderr)
	}
}

func TestTokenizeRefusesWhatMakesNoSense(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"--decode"},
		{"--ids", "1"},
		{"--text", "x", "--file", "y"},
		{"--decode", "--ids", "x"},
		{"--decode", "--ids", "1,99999"},
		{"--decode", "--text", "x"},
		{"--lines", "--text", "x"},
		{"--decode", "--ids", "1", "--special"},
	} {
		model := []string{"story"}
		if len(args) == 0 {
			model = nil
		}
		wantFailure(t, exitUsage, slices.Concat([]string{"tokenize"}, model, args))
	}
	wantFailure(t, exitFailed, []string{"tokenize", "storyy", "--text", "x"}, `"story"`)
	wantFailure(t, exitFailed, []string{"tokenize", t.TempDir(), "--text", "x"}, "tokenizer.json")
	wantFailure(t, exitFailed, []string{"tokenize", "story", "--file", "/nonexistent"}, "/nonexistent")
}

func TestTokenizeReadsFoldersWithoutWeights(t *testing.T) {
	want := answerOf[tokensJSON](t, "Once upon", "tokenize", "story", "--json")
	dir := filepath.Dir(sharedFile(t, "kit/storymodel/hf/tokenizer.json"))
	for _, ref := range []string{dir, filepath.Join(dir, "tokenizer.json")} {
		if got := answerOf[tokensJSON](t, "Once upon", "tokenize", ref, "--json"); !slices.Equal(got.IDs, want.IDs) {
			t.Errorf("%s: %v, want %v", ref, got.IDs, want.IDs)
		}
	}
}
