package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// find returns the setting key of a verb.
func (c configJSON) find(t *testing.T, key, verb string) settingJSON {
	t.Helper()
	for _, s := range c.Settings {
		if s.Key == key && (len(s.Verbs) == 0 || strings.Contains(strings.Join(s.Verbs, " "), verb)) {
			return s
		}
	}
	t.Fatalf("no setting %s of %s", key, verb)
	return settingJSON{}
}

func TestConfigSaysWhereASettingCameFrom(t *testing.T) {
	home := t.TempDir()
	text := "max_tokens = 7\ntop_k = 5\nstop = [\"a\", \"b\"]\nnonsense = 1\n"
	if err := os.WriteFile(filepath.Join(home, configFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHARDNODE_TOP_K", "9")
	got := answerOf[configJSON](t, "", "config", "--json", "--home", home)
	for key, want := range map[string]settingJSON{
		"home": {Value: home, From: fromFlag}, "max_tokens": {Value: "7", From: fromConfig}, "top_k": {Value: "9", From: fromEnv},
		"temperature": {Value: "0.8", From: fromDefault}, "stop": {Value: "[a,b]", From: fromConfig},
	} {
		s := got.find(t, key, "run")
		if s.Value != want.Value || s.From != want.From {
			t.Errorf("%s is %q from %s, want %q from %s", key, s.Value, s.From, want.Value, want.From)
		}
	}
	if len(got.Unknown) != 1 || got.Unknown[0] != "nonsense" || got.Home != home {
		t.Errorf("unknown keys %q in %s, want nonsense in %s", got.Unknown, got.Home, home)
	}
	if s := got.find(t, "max_tokens", "run"); s.Flag != "--max-tokens" || s.Env != "SHARDNODE_MAX_TOKENS" {
		t.Errorf("names of max_tokens: %+v", s)
	}
	stdout, stderr, code := command(t, "", "config", "--home", home)
	if code != exitDone || !strings.Contains(stdout, "max_tokens") || !strings.Contains(stderr, "nonsense") {
		t.Errorf("exit status %d, %s, %s", code, stdout, stderr)
	}
	t.Setenv("SHARDNODE_TOP_K", "many")
	wantFailure(t, exitUsage, []string{"config", "--home", home}, "SHARDNODE_TOP_K", "many")
}

func TestVersionSaysWhatRuns(t *testing.T) {
	v := answerOf[versionJSON](t, "", "version", "--json")
	if v.Version == "" || v.Commit == "" || v.Go != runtime.Version() || v.Arch != runtime.GOARCH || v.Kernels == "" || v.Vectors == "" {
		t.Errorf("version: %+v", v)
	}
	if text := mustCommand(t, "version"); !strings.HasPrefix(text, "shardnode "+v.Version) {
		t.Errorf("version prints %q", text)
	}
}

func TestCompletionForEveryShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if script := mustCommand(t, "completion", shell); !strings.Contains(script, "shardnode") {
			t.Errorf("the script for %s does not name shardnode", shell)
		}
	}
	wantFailure(t, exitUsage, []string{"completion"})
	wantFailure(t, exitUsage, []string{"completion", "tcsh"}, "tcsh")
	if verbs := mustCommand(t, "__complete", "t"); !strings.Contains(verbs, "tokenize") || !strings.Contains(verbs, "template") {
		t.Errorf("t completes to %q", verbs)
	}
}
