package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestEveryWrongUseHasAHint(t *testing.T) {
	for text, args := range map[string][]string{
		`shardnode: --temperature: "abc" is no number`:      {"run", "story", "x", "--temperature", "abc"},
		`shardnode: --max-tokens: "1.5" is no whole number`: {"run", "story", "x", "-n", "1.5"},
		`--top-k: "99999999999999999999" is too large`:      {"run", "story", "x", "--top-k", "99999999999999999999"},
		`--peer-timeout: "soon" is no time: want`:           {"serve", "--peer-timeout", "soon"},
		`--raw: "perhaps": want true or false`:              {"run", "story", "x", "--raw=perhaps"},
		"unknown flag: --nonsense":                          {"run", "story", "x", "--nonsense"},
		"split":                                             {"run", "story", "x", "--split", "1,x"},
		"--peers is 99":                                     {"run", "story", "x", "--peers", "99"},
		"is no token id":                                    {"run", "story", "--ids", "1,x"},
		"unknown command":                                   {"frobnicate"},
	} {
		_, stderr, code := command(t, "", args...)
		if code != exitUsage || !strings.Contains(stderr, text) || !strings.Contains(stderr, "shardnode: hint: ") {
			t.Errorf("%v: exit status %d, %q, want %q and a hint", args, code, stderr, text)
		}
		if strings.Contains(stderr, "strconv") {
			t.Errorf("%v says %q", args, stderr)
		}
	}
	t.Setenv("SHARDNODE_TEMPERATURE", "warm")
	wantFailure(t, exitUsage, []string{"run", "story", "x"}, `SHARDNODE_TEMPERATURE: "warm" is no number`, "hint: ")
}

func TestAModelByNameIsElsewhere(t *testing.T) {
	for _, ref := range []string{"smollm2:135m", "hf:a/b", "qwen2.5:7b-q4_K_M"} {
		wantFailure(t, exitFailed, []string{"tokenize", ref, "--text", "x"}, "is not on this machine", "hint: fetch it with `shardnode pull "+ref+"`")
		wantFailure(t, exitFailed, []string{"run", ref, "x"}, "HF_HUB_OFFLINE forbids", "hint: unset HF_HUB_OFFLINE")
	}
	wantFailure(t, exitFailed, []string{"inspect", "stori"}, `did you mean "story"?`)
	wantFailure(t, exitFailed, []string{"inspect", "/none/a:b.gguf"}, "no such file")
}

// full is standard output on a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestAnErrorOfPrintingIsSaidOnce(t *testing.T) {
	for _, args := range [][]string{{}, {"--json"}, {"--json", "--stream"}} {
		var errs strings.Builder
		args = append([]string{"run", "story", "Once", "--raw", "-n", "3", "--threads", "1"}, args...)
		code := run(t.Context(), args, strings.NewReader(""), full{}, &errs)
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		if code != exitFailed || len(lines) != 2 || !strings.HasPrefix(lines[0], "shardnode: ") || !strings.HasPrefix(lines[1], "shardnode: hint: ") {
			t.Errorf("%v: exit status %d, %q, want an error and a hint", args, code, lines)
		}
	}
}

func TestJSONKeepsAngleBrackets(t *testing.T) {
	b, err := jsonLine(map[string]string{"text": "<|im_end|> & \u0085\u2028"})
	if want := "{\"text\":\"<|im_end|> & \\u0085\\u2028\"}\n"; err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
}

func TestAHomeThatCannotBeReadHasAHint(t *testing.T) {
	home := t.TempDir()
	config := filepath.Join(home, configFile)
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(config, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(config); err == nil {
		t.Skip("this user may read everything")
	}
	wantFailure(t, exitFailed, []string{"run", "story", "x", "--home", home}, "permission denied", "hint: ", "--home")
}
