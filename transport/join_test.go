package transport

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// founder starts a node that admits joiners, with its admitter.
func founder(t testing.TB, home string) (*Node, *Admitter) {
	t.Helper()
	key := NewSwarmKey()
	adm, err := NewAdmitter(home, key)
	if err != nil {
		t.Fatal(err)
	}
	return member(t, key, func(c *Config) { c.Admitter = adm }), adm
}

func makeInvite(t testing.TB, n *Node, adm *Admitter, spec InviteSpec) Invitation {
	t.Helper()
	spec.Inviter, spec.Addrs = n.ID(), []netip.AddrPort{n.Addr()}
	inv, err := adm.Invite(spec)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func join(t testing.TB, id Identity, inv Invitation) (Membership, error) {
	return Join(testContext(t), JoinConfig{Identity: id, Invitation: inv, Name: "nuc"})
}

func TestJoinedPeerIsAMember(t *testing.T) {
	home := t.TempDir()
	n, adm := founder(t, home)
	n.Handle(HopProtocol, echo)
	inv, err := ParseInvitation("  " + makeInvite(t, n, adm, InviteSpec{Model: "story", Role: RoleServe}).String() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	id := NewIdentity()
	m, err := join(t, id, inv)
	if err != nil {
		t.Fatal(err)
	}
	if m.Role != RoleServe || m.Swarm() != adm.key.ID() || inv.Model != "story" {
		t.Errorf("role %v swarm %v model %q", m.Role, m.Swarm(), inv.Model)
	}
	mine := t.TempDir()
	if err := m.Save(mine); err != nil {
		t.Fatal(err)
	}
	if m, err = LoadMembership(mine); err != nil {
		t.Fatal(err)
	}
	me, err := Listen(Config{Identity: id, Membership: m})
	if err != nil {
		t.Fatal(err)
	}
	defer me.Close()
	introduce(me, n)
	s, err := me.Open(testContext(t), n.ID(), HopProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(s, "hello"); err != nil {
		t.Fatal(err)
	}
}

func refusal(err error) Refusal {
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return r.Reason
	}
	return 99
}

func TestJoinIsRefusedWithTheReason(t *testing.T) {
	home := t.TempDir()
	n, adm := founder(t, home)
	once := makeInvite(t, n, adm, InviteSpec{Uses: 1})
	first := NewIdentity()
	for range 2 { // the second time stands for a lost answer
		if _, err := join(t, first, once); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := join(t, NewIdentity(), once); refusal(err) != RefusedUsedUp {
		t.Errorf("second user: %v, want used up", err)
	}
	again, err := NewAdmitter(home, adm.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.admit(NewIdentity().Public(), once.signed); refusal(err) != RefusedUsedUp {
		t.Errorf("second user after a restart: %v, want used up", err)
	}
	revoked := makeInvite(t, n, adm, InviteSpec{})
	if err := adm.Revoke(revoked.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := join(t, NewIdentity(), revoked); refusal(err) != RefusedRevoked {
		t.Errorf("revoked: %v", err)
	}
	short := makeInvite(t, n, adm, InviteSpec{Expires: time.Nanosecond})
	if _, err := join(t, NewIdentity(), short); refusal(err) != RefusedExpired {
		t.Errorf("expired: %v", err)
	}
	if _, err := ParseInvitation(short.String()); refusal(err) != RefusedExpired {
		t.Errorf("parse expired: %v", err)
	}
	other, otherAdm := founder(t, "")
	foreign := makeInvite(t, other, otherAdm, InviteSpec{})
	foreign.Addrs = []netip.AddrPort{n.Addr()}
	if _, err := join(t, NewIdentity(), foreign); err == nil || !strings.Contains(err.Error(), "not who it should be") {
		t.Errorf("another swarm's inviter: %v", err)
	}
	if _, err := adm.admit(NewIdentity().Public(), foreign.signed); refusal(err) != RefusedSwarm {
		t.Errorf("another swarm's invitation: %v", err)
	}
}

func TestInvitationErrorsSayWhatIsWrong(t *testing.T) {
	n, adm := founder(t, "")
	text := makeInvite(t, n, adm, InviteSpec{Model: "story", ModelID: shard.ModelID{1}}).String()
	t.Logf("%d characters", len(text))
	for name, c := range map[string]struct{ text, want string }{
		"other":     {"hello", "starts with"},
		"version":   {"shard2" + text[6:], "version 2"},
		"truncated": {text[:len(text)-7], "copy it again"},
		"typo":      {text[:40] + map[bool]string{true: "B", false: "A"}[text[40] == 'A'] + text[41:], "wrong or missing character"},
		"long":      {text + strings.Repeat("A", 2000), "too long"},
		"symbols":   {text[:50] + "!" + text[51:], "damaged"},
	} {
		if _, err := ParseInvitation(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestHomeErrorsSayWhatToDo(t *testing.T) {
	home := filepath.Join(t.TempDir(), "new")
	id, err := LoadIdentity(home)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := LoadIdentity(home); err != nil || again.ID() != id.ID() {
		t.Errorf("second load gives %v, %v, want the same peer", again.ID(), err)
	}
	path := filepath.Join(home, identityFile)
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("identity has mode %v, %v, want 0600", info.Mode(), err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(home); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("readable by others: %v", err)
		}
	}
	if err := os.WriteFile(path, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(home); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("junk: %v", err)
	}
	if _, err := LoadIdentity(path); err == nil {
		t.Error("a file as home was taken")
	}
	if _, err := LoadSwarmKey(home); !errors.Is(err, ErrNoSwarm) {
		t.Errorf("no swarm: %v", err)
	}
}

func FuzzParseInvitation(f *testing.F) {
	n, adm := founder(f, "")
	f.Add(makeInvite(f, n, adm, InviteSpec{}).String())
	f.Add("shard1AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		inv, err := ParseInvitation(text)
		if err == nil && (len(inv.Addrs) == 0 || inv.Uses < 1) {
			t.Errorf("parsed %q to %+v", text, inv)
		}
		_, _ = parseSignedInvitation([]byte(text))
		_, _ = parseMember(adm.key.ID(), []byte(text))
	})
}
