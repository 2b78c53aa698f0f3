package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

// wantNoAnswer checks the JSON of an answer that failed before it began: every
// list is one, and the model is named.
func wantNoAnswer(t *testing.T, stdout, why string) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%q: %v", stdout, err)
	}
	for _, key := range []string{"prompt_ids", "ids", "route", "hops", "stages", "recoveries"} {
		if _, ok := got[key].([]any); !ok {
			t.Errorf("%s is %v, want a list", key, got[key])
		}
	}
	said, _ := got["error"].(string)
	if got["model"] != "story" || got["finish_reason"] != "error" || !strings.Contains(said, why) {
		t.Errorf("model %v, finish reason %v, error %q, want story, error, %q", got["model"], got["finish_reason"], said, why)
	}
}

func TestRunInASwarmWithoutARoute(t *testing.T) {
	home := newHome(t)
	s := startServe(t, home, "serve", "story", "--layers", "0:3", "--peer-timeout", "1s")
	s.says(t, "serving layers")
	args := []string{"run", "story", "Once", "--raw", "--max-tokens", "4", "--home", home}
	wantFailure(t, exitFailed, args, "waiting up to 1s: no route: layers [3,6)", "shardnode: no route: layers [3,6)", "shardnode: hint: let a member")
	stdout, stderr, code := command(t, "", append(args, "--json")...)
	if code != exitFailed || strings.Count(stderr, "waiting up to 1s") != 1 {
		t.Errorf("exit status %d, %s", code, stderr)
	}
	wantNoAnswer(t, stdout, "no route")

	// What is wrong with the prompt is said without waiting.
	stdout, _, code = command(t, "", "run", "story", strings.Repeat("a ", 9000), "--raw", "--json", "--home", home)
	if code != exitFailed {
		t.Errorf("exit status %d for a prompt that is too long", code)
	}
	wantNoAnswer(t, stdout, "context")
}

func TestRunWithoutRoomForTheSession(t *testing.T) {
	stdout, stderr, code := command(t, "", "run", "story", "Once", "--raw", "--max-tokens", "1500", "--memory", "9MiB", "--threads", "1", "--json")
	if code != exitFailed || !strings.Contains(stderr, "shardnode: hint: ") {
		t.Errorf("exit status %d, %s", code, stderr)
	}
	wantNoAnswer(t, stdout, "no capacity")
}

func TestALostMemberHasAHint(t *testing.T) {
	for _, code := range []shard.Code{shard.Unreachable, shard.TimedOut, shard.NotServing, shard.NoCapacity, shard.TooLong} {
		err := explainAnswer(fmt.Errorf("answer: %w", &shard.StageError{Name: "nuc", Code: code}))
		if h, ok := errors.AsType[*hintError](err); !ok || h.hint == "" || !strings.Contains(err.Error(), "nuc") {
			t.Errorf("%v: %v has no hint", code, err)
		}
	}
	if err := explainAnswer(nil); err != nil {
		t.Errorf("no error becomes %v", err)
	}
}
