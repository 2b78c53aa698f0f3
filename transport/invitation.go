package transport

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// Bounds of an invitation.
const (
	maxInvitationBytes = 1024 // decoded
	maxInviteAddrs     = 6
	maxInviteName      = 64
	maxInviteUses      = 10_000

	invitePrefix   = "shard1"
	inviteChecksum = 4
)

// An InviteID names an invitation.
type InviteID [8]byte

// String returns id in hexadecimal.
func (id InviteID) String() string { return hex.EncodeToString(id[:]) }

// ParseInviteID reads the text form of an [InviteID].
func ParseInviteID(text string) (InviteID, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(InviteID{}) {
		return InviteID{}, fmt.Errorf("invitation id %q: want 16 hexadecimal digits", text)
	}
	return InviteID(b), nil
}

// An Invitation lets its bearer join a swarm. Whoever has its text has it.
type Invitation struct {
	Swarm   SwarmID
	ID      InviteID
	Inviter shard.PeerID     // who answers the join
	Addrs   []netip.AddrPort // where, at most 6
	Expires time.Time
	Uses    int // members that may join with it
	Role    Role
	Model   string        // name of the swarm's model, a hint
	ModelID shard.ModelID // a hint, may be zero

	signed []byte
}

// String returns the line to give to somebody.
func (inv Invitation) String() string {
	sum := sha256.Sum256(inv.signed)
	return invitePrefix + base64.RawURLEncoding.EncodeToString(append(sum[:inviteChecksum], inv.signed...))
}

// sign encodes inv and signs it.
func (inv *Invitation) sign(key SwarmKey) error {
	pb := &wirepb.Invitation{
		Version: 1, Swarm: inv.Swarm[:], Id: inv.ID[:], Inviter: inv.Inviter[:],
		Expires: inv.Expires.Unix(), Uses: uint32(inv.Uses), Role: uint32(inv.Role), Model: inv.Model, //nolint:gosec // Uses is checked
	}
	for _, a := range inv.Addrs {
		pb.Addrs = append(pb.Addrs, AppendAddr(nil, a))
	}
	if !inv.ModelID.IsZero() {
		pb.ModelId = inv.ModelID[:]
	}
	body, err := proto.Marshal(pb)
	if err != nil {
		return fmt.Errorf("encode invitation: %w", err)
	}
	signed, err := proto.Marshal(&wirepb.Signed{Body: body, Signature: ed25519.Sign(key.key, signedText(kindInvitation, body))})
	if err != nil {
		return fmt.Errorf("encode invitation: %w", err)
	}
	parsed, err := parseSignedInvitation(signed) // also checks all bounds
	if err != nil {
		return err
	}
	*inv = parsed
	return nil
}

// ParseInvitation reads the line that [Invitation.String] wrote. The error
// says whether it was mistyped, is of another version, or forged; an expired
// one is a [RefusedError] with reason [RefusedExpired].
func ParseInvitation(text string) (Invitation, error) {
	text = strings.TrimSpace(text)
	rest, ok := strings.CutPrefix(text, invitePrefix)
	if !ok {
		if len(text) > len(invitePrefix) && strings.HasPrefix(text, "shard") && text[5] >= '0' && text[5] <= '9' {
			return Invitation{}, fmt.Errorf("invitation is of version %c, this program reads version 1: update shardnode", text[5])
		}
		return Invitation{}, errors.New("that is no invitation: it starts with \"shard1\"")
	}
	if base64.RawURLEncoding.DecodedLen(len(rest)) > maxInvitationBytes+inviteChecksum {
		return Invitation{}, errors.New("invitation is too long: copy it again, one line and nothing else")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(b) <= inviteChecksum {
		return Invitation{}, errors.New("invitation is damaged: copy it again, all of the line")
	}
	signed := b[inviteChecksum:]
	if sum := sha256.Sum256(signed); string(sum[:inviteChecksum]) != string(b[:inviteChecksum]) {
		return Invitation{}, errors.New("invitation has a wrong or missing character: copy it again, all of the line")
	}
	inv, err := parseSignedInvitation(signed)
	if err != nil {
		return Invitation{}, err
	}
	if now := time.Now(); now.After(inv.Expires) {
		return Invitation{}, refuse(RefusedExpired, "invitation expired on %s: ask for a new one", inv.Expires.UTC().Format(time.DateTime))
	}
	return inv, nil
}

// parseSignedInvitation reads and checks all but the clock.
func parseSignedInvitation(signed []byte) (Invitation, error) {
	if len(signed) > maxInvitationBytes {
		return Invitation{}, fmt.Errorf("invitation has %d bytes, want at most %d", len(signed), maxInvitationBytes)
	}
	var outer wirepb.Signed
	var pb wirepb.Invitation
	if err := errors.Join(proto.Unmarshal(signed, &outer), proto.Unmarshal(outer.GetBody(), &pb)); err != nil {
		return Invitation{}, fmt.Errorf("invitation is malformed: %w", err)
	}
	if pb.GetVersion() != 1 {
		return Invitation{}, fmt.Errorf("invitation is of version %d, this program reads version 1: update shardnode", pb.GetVersion())
	}
	if !Verify(pb.GetSwarm(), kindInvitation, outer.GetBody(), outer.GetSignature()) {
		return Invitation{}, errors.New("invitation is forged: its swarm did not sign it")
	}
	return invitationOf(&pb, signed)
}

func invitationOf(pb *wirepb.Invitation, signed []byte) (Invitation, error) {
	inv := Invitation{
		Swarm: SwarmID(pb.GetSwarm()), Expires: time.Unix(pb.GetExpires(), 0), Uses: int(pb.GetUses()),
		Role: Role(pb.GetRole()), Model: pb.GetModel(), signed: signed,
	}
	if err := inv.validate(); err != nil {
		return Invitation{}, err
	}
	switch {
	case len(pb.GetId()) != len(inv.ID):
		return Invitation{}, fmt.Errorf("invitation: id has %d bytes, want %d", len(pb.GetId()), len(inv.ID))
	case len(pb.GetInviter()) != len(inv.Inviter):
		return Invitation{}, fmt.Errorf("invitation: inviter has %d bytes, want %d", len(pb.GetInviter()), len(inv.Inviter))
	case len(pb.GetAddrs()) == 0 || len(pb.GetAddrs()) > maxInviteAddrs:
		return Invitation{}, fmt.Errorf("invitation names %d addresses, want 1 to %d", len(pb.GetAddrs()), maxInviteAddrs)
	case len(pb.GetModelId()) != 0 && len(pb.GetModelId()) != len(inv.ModelID):
		return Invitation{}, fmt.Errorf("invitation: model id has %d bytes, want %d", len(pb.GetModelId()), len(inv.ModelID))
	}
	inv.ID, inv.Inviter = InviteID(pb.GetId()), shard.PeerID(pb.GetInviter())
	copy(inv.ModelID[:], pb.GetModelId())
	for _, b := range pb.GetAddrs() {
		a, err := ParseAddr(b)
		if err != nil {
			return Invitation{}, fmt.Errorf("invitation: %w", err)
		}
		inv.Addrs = append(inv.Addrs, a)
	}
	return inv, nil
}

// validate rejects an offer that means nothing.
func (inv Invitation) validate() error {
	switch {
	case inv.Uses < 1 || inv.Uses > maxInviteUses:
		return fmt.Errorf("invitation is for %d members, want 1 to %d", inv.Uses, maxInviteUses)
	case inv.Role == 0 || inv.Role&^allRoles != 0:
		return fmt.Errorf("invitation: %v is no role, want serve or client or both", inv.Role)
	case len(inv.Model) > maxInviteName || !utf8.ValidString(inv.Model) || strings.ContainsFunc(inv.Model, isControl):
		return fmt.Errorf("invitation: model name is not %d bytes of plain text at most", maxInviteName)
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }
