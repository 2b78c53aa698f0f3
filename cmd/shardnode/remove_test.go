package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestARemovedMemberIsOutUntilItIsTakenBack(t *testing.T) {
	home, second := newHome(t), newHome(t)
	s := startServe(t, home, "serve", "story", "--name", "desk")
	s.says(t, "serving layers")
	inv := inJSON[invitedJSON](t, "invite", "--uses", "3", "--json", "--home", home)
	j := startServe(t, second, "join", inv.Invitation, "--name", "nuc")
	j.says(t, "serving layers")
	wantFailure(t, exitFailed, []string{"remove", "desk", "--home", second}, "only the founder can remove", "hint")
	wantFailure(t, exitFailed, []string{"remove", "nobody", "--home", home}, "no member is called", "hint")
	wantFailure(t, exitUsage, []string{"remove", "desk", "--home", home}, "founded the swarm")

	gone := inJSON[removedJSON](t, "remove", "nuc", "--json", "--home", home)
	if gone.Name != "nuc" || gone.Back {
		t.Errorf("removed %+v", gone)
	}
	j.says(t, "this member was removed from the swarm")
	j.ends(t, exitFailed)
	if got := mustCommand(t, "ps", "--home", home); strings.Contains(got, "nuc") {
		t.Errorf("ps still shows it:\n%s", got)
	}
	for _, args := range [][]string{
		{"serve", "story", "--home", second, "--api", "127.0.0.1:0"},
		{"join", inv.Invitation, "--home", second, "--api", "127.0.0.1:0"},
	} {
		wantFailure(t, exitFailed, args, "removed from the swarm", "hint")
	}
	if list := inJSON[[]removedJSON](t, "remove", "--list", "--json", "--home", home); len(list) != 1 || list[0].Peer != gone.Peer {
		t.Errorf("removed: %+v", list)
	}
	list := inJSON[[]invitationJSON](t, "invite", "--list", "--json", "--home", home)
	if last := list[len(list)-1]; last.ID != inv.ID || last.State != "open" || last.Used != 1 || last.Uses != 3 {
		t.Errorf("invitations %+v, want %s used once", list, inv.ID)
	}

	mustCommand(t, "remove", "--undo", "nuc", "--home", home)
	again := startServe(t, second, "join", inv.Invitation, "--name", "nuc")
	again.says(t, "serving layers")
}

func TestACopiedHomeIsRefusedWhileTheOriginalRuns(t *testing.T) {
	home, second := newHome(t), newHome(t)
	s := startServe(t, home, "serve", "story", "--name", "desk")
	s.says(t, "serving layers")
	inv := inJSON[invitedJSON](t, "invite", "--json", "--home", home)
	j := startServe(t, second, "join", inv.Invitation, "--name", "nuc")
	j.says(t, "serving layers")
	twin := newHome(t)
	for _, file := range []string{"identity", "swarm/membership", "swarm/seeds.json"} {
		b, err := os.ReadFile(filepath.Join(second, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(twin, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(twin, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := startServe(t, twin, "serve", "--name", "twin")
	k.says(t, "another member with this home's identity runs at")
	k.says(t, "hint: a home is for one member")
	k.ends(t, exitFailed)
	mustCommand(t, "ps", "--home", second) // the original goes on
}
