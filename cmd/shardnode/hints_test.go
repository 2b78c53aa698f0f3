package main

import (
	"os"
	"path/filepath"
	"strings"
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
