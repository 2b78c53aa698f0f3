package transport

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// A Refusal says why a join was refused. Refusals cross the network: they are
// numbered, and never reordered.
type Refusal uint32

// The reasons of a [RefusedError].
const (
	RefusedOther   Refusal = 0 // see the text
	RefusedExpired Refusal = 1
	RefusedUsedUp  Refusal = 2
	RefusedRevoked Refusal = 3
	RefusedSwarm   Refusal = 4 // invitation of another swarm, or forged
	RefusedBusy    Refusal = 5 // try again
	RefusedVersion Refusal = 6
	RefusedRemoved Refusal = 7
)

// A RefusedError is the answer to a joiner that is not admitted, in one line.
type RefusedError struct {
	Reason Refusal
	Text   string
}

// Error returns the line.
func (e *RefusedError) Error() string { return e.Text }

func refuse(reason Refusal, format string, args ...any) *RefusedError {
	return &RefusedError{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

const (
	invitationsFile = "invitations.json"

	// maxInvitations bounds the invitations kept; those that expired go first,
	// then no new one is made.
	maxInvitations = 1024

	defaultLifetime = 365 * 24 * time.Hour
)

// An Admitter makes invitations and honours them, for a peer that holds the
// swarm's key. It keeps count in the home, so that a restart honours no
// invitation twice.
type Admitter struct {
	key  SwarmKey
	home string // "" keeps nothing

	mu      sync.Mutex // guards what follows; held while the file is written, for the count must not run ahead of it
	invites []*invite
}

// An invite is what is kept of an invitation.
type invite struct {
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"`
	Role    Role      `json:"role"`
	Revoked bool      `json:"revoked,omitempty"`
	Peers   []string  `json:"peers,omitempty"` // who joined with it, at most Uses
}

// NewAdmitter returns the admitter for key with the invitations kept in home;
// "" keeps them in memory.
func NewAdmitter(home string, key SwarmKey) (*Admitter, error) {
	a := &Admitter{key: key, home: home}
	if home == "" {
		return a, nil
	}
	path := filepath.Join(home, swarmFolder, invitationsFile)
	b, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &a.invites)
	}
	if err == nil && slices.Contains(a.invites, nil) {
		err = errors.New("an invitation is null")
	}
	if err != nil {
		return nil, fmt.Errorf("read invitations %s: remove it to void all invitations: %w", path, err)
	}
	return a, nil
}

// An InviteSpec says what an invitation is to be. Zero values: one use, a day,
// both roles.
type InviteSpec struct {
	Inviter shard.PeerID     // who answers; needed
	Addrs   []netip.AddrPort // where; needed, the first 6 count
	Uses    int
	Expires time.Duration
	Role    Role
	Model   string
	ModelID shard.ModelID
}

// Invite makes an invitation.
func (a *Admitter) Invite(spec InviteSpec) (Invitation, error) {
	if spec.Expires < 0 {
		return Invitation{}, fmt.Errorf("invitation would have expired %v ago, want a time from now", -spec.Expires)
	}
	inv := Invitation{
		Swarm: a.key.ID(), Inviter: spec.Inviter, Addrs: spec.Addrs[:min(len(spec.Addrs), maxInviteAddrs)],
		Uses: cmp.Or(spec.Uses, 1), Role: cmp.Or(spec.Role, allRoles), Model: spec.Model, ModelID: spec.ModelID,
		Expires: time.Now().Add(cmp.Or(spec.Expires, 24*time.Hour)),
	}
	if inv.Uses < 1 || inv.Uses > maxInviteUses {
		return Invitation{}, fmt.Errorf("invitation is for %d members, want 1 to %d", inv.Uses, maxInviteUses)
	}
	rand.Read(inv.ID[:])
	if err := inv.sign(a.key); err != nil {
		return Invitation{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.invites = slices.DeleteFunc(a.invites, func(i *invite) bool { return now.After(i.Expires.Add(clockSkew)) })
	if len(a.invites) >= maxInvitations {
		return Invitation{}, fmt.Errorf("%d invitations are open, revoke some", len(a.invites))
	}
	a.invites = append(a.invites, &invite{ID: inv.ID.String(), Expires: inv.Expires, Uses: inv.Uses, Role: inv.Role})
	if err := a.saveLocked(); err != nil {
		a.invites = a.invites[:len(a.invites)-1]
		return Invitation{}, err
	}
	return inv, nil
}

// Revoke voids an invitation. Who joined with it stays a member; see
// [SwarmKey.Remove].
func (a *Admitter) Revoke(id InviteID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.findLocked(id)
	if i == nil {
		return fmt.Errorf("invitation %v is not known here, or has expired", id)
	}
	was := i.Revoked
	i.Revoked = true
	if err := a.saveLocked(); err != nil {
		i.Revoked = was
		return err
	}
	return nil
}

// An InviteState is an invitation as its maker sees it.
type InviteState struct {
	ID      InviteID
	Expires time.Time
	Uses    int
	Used    int
	Role    Role
	Revoked bool
}

// List returns the invitations that are kept, oldest first.
func (a *Admitter) List() []InviteState {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []InviteState
	for _, i := range a.invites {
		id, err := ParseInviteID(i.ID)
		if err != nil {
			continue // a damaged entry honours nothing
		}
		out = append(out, InviteState{ID: id, Expires: i.Expires, Uses: i.Uses, Used: len(i.Peers), Role: i.Role, Revoked: i.Revoked})
	}
	return out
}

func (a *Admitter) findLocked(id InviteID) *invite {
	text := id.String()
	for _, i := range a.invites {
		if i.ID == text {
			return i
		}
	}
	return nil
}

func (a *Admitter) saveLocked() error {
	if a.home == "" {
		return nil
	}
	b, err := json.MarshalIndent(a.invites, "", "\t")
	if err != nil {
		return fmt.Errorf("encode invitations: %w", err)
	}
	return writeSecret(filepath.Join(a.home, swarmFolder, invitationsFile), b)
}

// admit honours a signed invitation for the owner of the key pub. A peer that
// joins again with the invitation it used, because the answer was lost, is not
// counted again.
func (a *Admitter) admit(pub, signed []byte) (Membership, error) {
	inv, err := parseSignedInvitation(signed)
	if err != nil {
		return Membership{}, refuse(RefusedSwarm, "%v", err)
	}
	if inv.Swarm != a.key.ID() {
		return Membership{}, refuse(RefusedSwarm, "invitation is for another swarm (%v)", inv.Swarm)
	}
	if time.Now().After(inv.Expires) {
		return Membership{}, refuse(RefusedExpired, "invitation expired on %s: ask for a new one", inv.Expires.UTC().Format(time.DateTime))
	}
	peer := shard.PeerIDOf(pub).String()
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.findLocked(inv.ID)
	if i == nil || i.Revoked {
		return Membership{}, refuse(RefusedRevoked, "invitation was revoked: ask for a new one")
	}
	if !slices.Contains(i.Peers, peer) {
		if len(i.Peers) >= i.Uses {
			return Membership{}, refuse(RefusedUsedUp, "invitation is used up (%d of %d): ask for a new one", len(i.Peers), i.Uses)
		}
		i.Peers = append(i.Peers, peer)
		if err := a.saveLocked(); err != nil {
			i.Peers = i.Peers[:len(i.Peers)-1]
			return Membership{}, err
		}
	}
	return a.key.Issue(pub, inv.Role, defaultLifetime)
}
