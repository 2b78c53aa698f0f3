package transport

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport/wirepb"
)

const (
	swarmFolder = "swarm"
	swarmFile   = "key"
	swarmPEM    = "SHARDNODE SWARM KEY"

	membershipFile = "membership"
)

// clockSkew is how far the clocks of two members may differ. Memberships are
// dated back by it.
const clockSkew = 10 * time.Minute

const (
	kindMembership = "membership v1"
	kindInvitation = "invitation v1"
)

// ErrNoSwarm means that the home holds no swarm key or membership.
var ErrNoSwarm = errors.New("this home belongs to no swarm: join one with an invitation")

// A SwarmID is a swarm's ed25519 public key.
type SwarmID [ed25519.PublicKeySize]byte

// String returns the first 16 hexadecimal digits of the swarm's key, enough for people.
func (s SwarmID) String() string { return hex.EncodeToString(s[:8]) }

// A Role is a set of things a member may do.
type Role uint32

// The roles of a member.
const (
	// RoleServe may hold layers and answer for them.
	RoleServe Role = 1 << iota
	// RoleClient may drive sessions.
	RoleClient
)

const allRoles = RoleServe | RoleClient

// String returns the role as it is written in `--role`.
func (r Role) String() string {
	switch r {
	case RoleServe:
		return "serve"
	case RoleClient:
		return "client"
	case allRoles:
		return "serve,client"
	}
	return fmt.Sprintf("role %d", uint32(r))
}

// A SwarmKey is the key of a swarm, held by its founder. It signs memberships
// and invitations.
type SwarmKey struct {
	key ed25519.PrivateKey
}

// NewSwarmKey founds a swarm that is stored nowhere.
func NewSwarmKey() SwarmKey { return SwarmKey{key: NewIdentity().key} }

// LoadSwarmKey reads the swarm key in home, or returns [ErrNoSwarm].
func LoadSwarmKey(home string) (SwarmKey, error) {
	path := filepath.Join(home, swarmFolder, swarmFile)
	b, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return SwarmKey{}, ErrNoSwarm
	}
	if err != nil {
		return SwarmKey{}, fmt.Errorf("read swarm key: %w", err)
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != swarmPEM || len(block.Bytes) != ed25519.SeedSize || len(rest) != 0 {
		return SwarmKey{}, fmt.Errorf("swarm key %s is damaged: restore it from a backup, or remove it and found a new swarm", path)
	}
	return SwarmKey{key: ed25519.NewKeyFromSeed(block.Bytes)}, nil
}

// Save stores k in home, for its owner only.
func (k SwarmKey) Save(home string) error {
	text := pem.EncodeToMemory(&pem.Block{Type: swarmPEM, Bytes: k.key.Seed()})
	return writeSecret(filepath.Join(home, swarmFolder, swarmFile), text)
}

// ID returns the public half of k, which names the swarm.
func (k SwarmKey) ID() SwarmID {
	pub, _ := k.key.Public().(ed25519.PublicKey)
	return SwarmID(pub)
}

// secret returns the secret that members share for their packets. It follows
// from the key, one way, so that a founder stores nothing else.
func (k SwarmKey) secret() [32]byte {
	b, err := hkdf.Key(sha256.New, k.key.Seed(), nil, "shardnode packet secret v1", 32)
	if err != nil {
		panic("transport: derive secret: " + err.Error())
	}
	return [32]byte(b)
}

// Issue makes the owner of the ed25519 key pub a member for the given time.
func (k SwarmKey) Issue(pub []byte, role Role, lifetime time.Duration) (Membership, error) {
	if len(pub) != ed25519.PublicKeySize {
		return Membership{}, fmt.Errorf("member key has %d bytes, want %d", len(pub), ed25519.PublicKeySize)
	}
	if role == 0 || role&^allRoles != 0 {
		return Membership{}, fmt.Errorf("%v is no role, want serve or client or both", role)
	}
	var serial [8]byte
	rand.Read(serial[:])
	now := time.Now()
	body, err := proto.Marshal(&wirepb.Membership{
		Version: 1, Member: pub, Role: uint32(role), Serial: binary.BigEndian.Uint64(serial[:]),
		NotBefore: now.Add(-clockSkew).Unix(), NotAfter: now.Add(lifetime).Unix(),
	})
	if err != nil {
		return Membership{}, fmt.Errorf("encode membership: %w", err)
	}
	signed, err := proto.Marshal(&wirepb.Signed{Body: body, Signature: ed25519.Sign(k.key, signedText(kindMembership, body))})
	if err != nil {
		return Membership{}, fmt.Errorf("encode membership: %w", err)
	}
	member, err := parseMember(k.ID(), signed)
	if err != nil {
		return Membership{}, err
	}
	return Membership{Member: member, swarm: k.ID(), secret: k.secret(), signed: signed}, nil
}

// A Member is what a swarm's signature says about a peer.
type Member struct {
	Peer     shard.PeerID
	Role     Role
	NotAfter time.Time
	Serial   uint64

	key       [ed25519.PublicKeySize]byte
	notBefore time.Time
}

// Public returns the peer's ed25519 public key.
func (m Member) Public() []byte { return m.key[:] }

// maxMembershipBytes bounds an encoded membership; one of today has about 130.
const maxMembershipBytes = 256

// parseMember reads a signed membership and checks the swarm's signature. It
// does not look at the clock.
func parseMember(swarm SwarmID, signed []byte) (Member, error) {
	body, err := openSigned(signed, maxMembershipBytes, swarm[:], kindMembership)
	if err != nil {
		return Member{}, fmt.Errorf("membership: %w", err)
	}
	var pb wirepb.Membership
	if err := proto.Unmarshal(body, &pb); err != nil {
		return Member{}, fmt.Errorf("membership: %w", err)
	}
	if pb.GetVersion() != 1 {
		return Member{}, fmt.Errorf("membership has version %d, want 1: update shardnode", pb.GetVersion())
	}
	if len(pb.GetMember()) != ed25519.PublicKeySize {
		return Member{}, fmt.Errorf("membership: member key has %d bytes, want %d", len(pb.GetMember()), ed25519.PublicKeySize)
	}
	return Member{
		Peer: shard.PeerIDOf(pb.GetMember()), Role: Role(pb.GetRole()), Serial: pb.GetSerial(),
		NotAfter: time.Unix(pb.GetNotAfter(), 0), notBefore: time.Unix(pb.GetNotBefore(), 0),
		key: [ed25519.PublicKeySize]byte(pb.GetMember()),
	}, nil
}

// current reports whether m holds at one of the given times, else why not at
// the first: the clock may have been set since the process started.
func (m Member) current(now ...time.Time) error {
	if slices.ContainsFunc(now, func(t time.Time) bool { return !t.After(m.NotAfter) && !t.Before(m.notBefore) }) {
		return nil
	}
	if now[0].After(m.NotAfter) {
		return fmt.Errorf("membership of %s expired on %s: ask for a new invitation", m.Peer.Short(), m.NotAfter.UTC().Format(time.DateTime))
	}
	return fmt.Errorf("membership of %s begins on %s: set the clock", m.Peer.Short(), m.notBefore.UTC().Format(time.DateTime))
}

// openSigned reads an encoded Signed of at most limit bytes and returns its
// body if pub signed it as the given kind.
func openSigned(b []byte, limit int, pub []byte, kind string) ([]byte, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("has %d bytes, want at most %d", len(b), limit)
	}
	var pb wirepb.Signed
	if err := proto.Unmarshal(b, &pb); err != nil {
		return nil, err
	}
	if !Verify(pub, kind, pb.GetBody(), pb.GetSignature()) {
		return nil, errors.New("signature is wrong")
	}
	return pb.GetBody(), nil
}

// A Membership is a peer's own proof that it belongs to a swarm, with the
// secret that members share.
type Membership struct {
	Member

	swarm  SwarmID
	secret [32]byte
	signed []byte
}

// Swarm returns the swarm that m belongs to.
func (m Membership) Swarm() SwarmID { return m.swarm }

// Signed returns the encoded proof, which may be shown to anybody in the
// swarm. The caller must not change it.
func (m Membership) Signed() []byte { return m.signed }

// Save stores m in home, for its owner only.
func (m Membership) Save(home string) error {
	b, err := proto.Marshal(&wirepb.MembershipFile{Swarm: m.swarm[:], Secret: m.secret[:], Membership: m.signed})
	if err != nil {
		return fmt.Errorf("encode membership: %w", err)
	}
	return writeSecret(filepath.Join(home, swarmFolder, membershipFile), b)
}

// LoadMembership reads the membership in home, or returns [ErrNoSwarm]. It
// returns one that has expired; [Listen] refuses that.
func LoadMembership(home string) (Membership, error) {
	path := filepath.Join(home, swarmFolder, membershipFile)
	b, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Membership{}, ErrNoSwarm
	}
	if err != nil {
		return Membership{}, fmt.Errorf("read membership: %w", err)
	}
	var pb wirepb.MembershipFile
	if err := proto.Unmarshal(b, &pb); err != nil {
		return Membership{}, fmt.Errorf("membership %s is damaged: join again with an invitation: %w", path, err)
	}
	m, err := newMembership(pb.GetSwarm(), pb.GetSecret(), pb.GetMembership())
	if err != nil {
		return Membership{}, fmt.Errorf("membership %s is damaged: join again with an invitation: %w", path, err)
	}
	return m, nil
}

func newMembership(swarm, secret, signed []byte) (Membership, error) {
	if len(swarm) != ed25519.PublicKeySize || len(secret) != 32 {
		return Membership{}, fmt.Errorf("swarm key has %d bytes and secret %d, want 32 each", len(swarm), len(secret))
	}
	member, err := parseMember(SwarmID(swarm), signed)
	if err != nil {
		return Membership{}, err
	}
	return Membership{Member: member, swarm: SwarmID(swarm), secret: [32]byte(secret), signed: signed}, nil
}
