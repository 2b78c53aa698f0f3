package main

import (
	"strings"
	"testing"
)

func TestEndsAreKept(t *testing.T) {
	home, second := newHome(t), newHome(t)
	s := startServe(t, home, "serve", "story", "--name", "desk", "--layers", "0:2", "--keep-ends", "--peer-timeout", "1s")
	s.says(t, "serving layers")
	inv := inJSON[invitedJSON](t, "invite", "--json", "--home", home)
	j := startServe(t, second, "join", inv.Invitation, "--name", "nuc", "--layers", "2:6")
	j.says(t, "serving layers")
	s.says(t, "serving layers [0,2)\n")
	ask := []string{"run", "story", "Once", "--raw", "--temperature", "0", "--max-tokens", "4", "--json", "--home"}
	if _, stderr, code := command(t, "", append(ask, home)...); code != exitFailed || !strings.Contains(stderr, "the first and last layers are to be kept") {
		t.Errorf("with nobody for the last layer: exit status %d, %s", code, stderr)
	}
	mustCommand(t, append(ask, second)...) // it keeps nothing

	nuc := inJSON[statusJSON](t, "ps", "--json", "--home", second).Self
	s.leave()
	s.ends(t, exitDone)
	again := startServe(t, home, "serve", "story", "--name", "desk", "--layers", "0:2", "--keep-ends="+nuc)
	again.says(t, "serving layers") // the answer waits for nuc
	mustCommand(t, append(ask, home)...)

	for _, text := range []string{"nuc", "here,nuc"} {
		wantFailure(t, exitUsage, []string{"serve", "story", "--home", newHome(t), "--keep-ends=" + text}, "is no peer id")
	}
}
