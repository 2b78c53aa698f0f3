package transport

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// A sealed packet is
//
//	0x02 | tag 8 | time 8 | salt 4 | length 1 | membership | ciphertext
//
// tag is the start of an HMAC-SHA256 over all that follows it, under the
// secret of the swarm: a stranger's packet costs one hash. time is the
// sender's clock in nanoseconds, higher in each packet; with the salt of its
// process it is the nonce of AES-128-GCM, whose key comes from the X25519
// exchange of both identities, the secret, and the direction.
const (
	packetSealed = 0x02 // below 0x40, where QUIC's packets begin (RFC 9443)

	sealTagBytes   = 8
	sealNonceBytes = 12
	sealHeadBytes  = 1 + sealTagBytes + sealNonceBytes + 1
	gcmTagBytes    = 16
)

// MaxPacketBytes bounds what [Node.SendPacket] takes: with all overhead it
// fits the 1232 bytes that IPv6 guarantees.
const MaxPacketBytes = 1024

// replayWindow is how much older than the newest packet of its sender a packet
// may be, and replayKeep the number of packets remembered to find copies.
const (
	replayWindow = 10 * time.Second
	replayKeep   = 128
)

// maxSealPeers bounds the peers whose keys are kept ready; an arbitrary one
// makes room. Its replay record goes with it.
const maxSealPeers = maxKnownPeers

// Errors of a packet that does not open.
var (
	errPacket  = errors.New("packet is not ours")
	errReplay  = errors.New("packet was seen before or is too old")
	errSkew    = errors.New("packet's time is too far from our clock")
	errFlood   = errors.New("packet is one of too many of its sender")
	errTooLong = fmt.Errorf("packet has more than %d bytes", MaxPacketBytes)
)

// A sealer seals packets to members and opens those that they sealed to us.
type sealer struct {
	self Membership
	priv *ecdh.PrivateKey
	salt [4]byte

	mu    sync.Mutex // guards what follows
	clock steadyClock
	last  uint64
	peers map[shard.PeerID]*sealedPeer
}

// A sealedPeer is what opening and sealing need of one peer.
type sealedPeer struct {
	signed  string // the membership that was checked
	member  Member
	tx, rx  cipher.AEAD
	floor   uint64 // packets up to here are refused
	highest uint64
	seen    []uint64 // ring of the last replayKeep times
	next    int

	room  float64 // packets that may come at once
	since time.Time
}

func newSealer(id Identity, self Membership) (*sealer, error) {
	h := sha512.Sum512(id.key.Seed()) // RFC 8032, section 5.1.5
	priv, err := ecdh.X25519().NewPrivateKey(h[:32])
	if err != nil {
		return nil, fmt.Errorf("packet key: %w", err)
	}
	s := &sealer{self: self, priv: priv, clock: newSteadyClock(), peers: map[shard.PeerID]*sealedPeer{}}
	rand.Read(s.salt[:])
	return s, nil
}

var (
	fieldP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19)) // of Curve25519
	bigOne = big.NewInt(1)
)

// montgomery maps an ed25519 public key to the X25519 key of the same secret:
// u = (1+y)/(1-y) (RFC 7748, section 4.1). It reports false for y = 1.
func montgomery(pub []byte) ([]byte, bool) {
	b := slices.Clone(pub)
	b[31] &= 0x7f
	slices.Reverse(b)
	y := new(big.Int).SetBytes(b)
	d := new(big.Int).Sub(bigOne, y)
	if d.ModInverse(d.Mod(d, fieldP), fieldP) == nil {
		return nil, false
	}
	u := y.Add(y, bigOne)
	u.Mod(u.Mul(u, d), fieldP)
	out := u.FillBytes(make([]byte, 32))
	slices.Reverse(out)
	return out, true
}

// pair returns the ciphers of packets to and from the owner of pub.
func (s *sealer) pair(pub []byte) (tx, rx cipher.AEAD, err error) {
	u, ok := montgomery(pub)
	if !ok {
		return nil, nil, errPacket
	}
	theirs, err := ecdh.X25519().NewPublicKey(u)
	if err != nil {
		return nil, nil, err
	}
	shared, err := s.priv.ECDH(theirs)
	if err != nil {
		return nil, nil, err
	}
	direction := func(from []byte) (cipher.AEAD, error) {
		key, err := hkdf.Key(sha256.New, shared, s.self.secret[:], "shardnode packet v1 "+string(from), 16)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	}
	if tx, err = direction(s.self.key[:]); err != nil {
		return nil, nil, err
	}
	rx, err = direction(pub)
	return tx, rx, err
}

// peerOf returns the record of m, making it if needed.
func (s *sealer) peerOf(m Member, signed string) (*sealedPeer, error) {
	s.mu.Lock()
	p := s.peers[m.Peer]
	if p != nil && signed != "" {
		p.signed, p.member = signed, m
	}
	s.mu.Unlock()
	if p != nil {
		return p, nil
	}
	tx, rx, err := s.pair(m.key[:])
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[m.Peer]; p != nil {
		return p, nil
	}
	if len(s.peers) >= maxSealPeers {
		for old := range s.peers {
			delete(s.peers, old)
			break
		}
	}
	p = &sealedPeer{signed: signed, member: m, tx: tx, rx: rx}
	s.peers[m.Peer] = p
	return p, nil
}

// tick returns the time of the next packet.
func (s *sealer) tick() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := uint64(s.clock.now().UnixNano()) //nolint:gosec // after 1970
	s.last = max(s.last+1, now)
	return s.last
}

// tag authenticates a packet to the swarm.
func (s *sealer) tag(rest []byte) []byte {
	mac := hmac.New(sha256.New, s.self.secret[:])
	mac.Write(rest)
	return mac.Sum(nil)[:sealTagBytes]
}

// Seal returns the packet that carries b to m.
func (s *sealer) Seal(m Member, b []byte) ([]byte, error) {
	if len(b) > MaxPacketBytes {
		return nil, errTooLong
	}
	p, err := s.peerOf(m, "")
	if err != nil {
		return nil, err
	}
	head := sealHeadBytes + len(s.self.signed)
	out := make([]byte, 1+sealTagBytes, head+len(b)+gcmTagBytes)
	out[0] = packetSealed
	out = binary.BigEndian.AppendUint64(out, s.tick())
	out = append(out, s.salt[:]...)
	out = append(out, byte(len(s.self.signed)))
	out = append(out, s.self.signed...)
	nonce := out[1+sealTagBytes:][:sealNonceBytes]
	out = p.tx.Seal(out, nonce, b, out[1+sealTagBytes:head])
	copy(out[1:], s.tag(out[1+sealTagBytes:]))
	return out, nil
}

// Open returns the sender and content of a packet that a member sealed to us
// and that was not opened before. It allocates nothing for a stranger's.
func (s *sealer) Open(b []byte, now time.Time) (Member, []byte, error) {
	if len(b) < sealHeadBytes+gcmTagBytes || b[0] != packetSealed {
		return Member{}, nil, errPacket
	}
	rest := b[1+sealTagBytes:]
	if !hmac.Equal(b[1:1+sealTagBytes], s.tag(rest)) {
		return Member{}, nil, errPacket
	}
	at := binary.BigEndian.Uint64(rest)
	s.mu.Lock()
	steady := s.clock.now()
	s.mu.Unlock()
	if !near(at, now) && !near(at, steady) {
		return Member{}, nil, errSkew
	}
	nonce := rest[:sealNonceBytes]
	head := sealNonceBytes + 1 + int(rest[sealNonceBytes])
	if len(rest) < head+gcmTagBytes {
		return Member{}, nil, errPacket
	}
	p, err := s.sender(rest[sealNonceBytes+1:head], now, steady)
	if err != nil {
		return Member{}, nil, err
	}
	text, err := p.rx.Open(nil, nonce, rest[head:], rest[:head])
	if err != nil {
		return Member{}, nil, errPacket
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.fresh(at) {
		return Member{}, nil, errReplay
	}
	if !p.admit(now) {
		return Member{}, nil, errFlood
	}
	return p.member, text, nil
}

// near reports whether a packet's time is about now.
func near(at uint64, now time.Time) bool {
	skew := int64(at) - now.UnixNano() //nolint:gosec // wraps to a refusal
	return -int64(clockSkew) <= skew && skew <= int64(clockSkew)
}

// sender returns the record of the member that shows the given membership. The
// swarm's signature is checked once for each.
func (s *sealer) sender(signed []byte, now ...time.Time) (*sealedPeer, error) {
	m, err := s.parseKnown(signed)
	if err != nil {
		return nil, err
	}
	if err := m.current(now...); err != nil {
		return nil, err
	}
	if m.Peer == s.self.Peer {
		return nil, errPacket
	}
	return s.peerOf(m, string(signed))
}

// parseKnown is parseMember without the cost of the signature for a membership
// that was checked before.
func (s *sealer) parseKnown(signed []byte) (Member, error) {
	if peer, ok := peekMember(signed); ok {
		s.mu.Lock()
		p := s.peers[peer]
		same := p != nil && p.signed == string(signed)
		var m Member
		if same {
			m = p.member
		}
		s.mu.Unlock()
		if same {
			return m, nil
		}
	}
	return parseMember(s.self.swarm, signed)
}

// fresh reports whether a packet of the given time is neither a copy nor too
// old, and remembers it.
func (p *sealedPeer) fresh(at uint64) bool {
	if at <= p.floor || at+uint64(replayWindow) < p.highest || slices.Contains(p.seen, at) {
		return false
	}
	p.highest = max(p.highest, at)
	if len(p.seen) < replayKeep {
		p.seen = append(p.seen, at)
		return true
	}
	p.floor = max(p.floor, p.seen[p.next])
	p.seen[p.next] = at
	p.next = (p.next + 1) % replayKeep
	return true
}

// A member's packets come at packetsPerSec at most, and packetBurst of them at
// once: half of what waits for the reader (packetQueue). Gossip sends a peer
// about ten a second.
const (
	packetsPerSec = 256
	packetBurst   = packetQueue / 2
)

// admit reports whether one more packet may come now.
func (p *sealedPeer) admit(now time.Time) bool {
	if p.since.IsZero() {
		p.room = packetBurst
	} else if dt := now.Sub(p.since).Seconds(); dt > 0 {
		p.room = min(packetBurst, p.room+dt*packetsPerSec)
	}
	p.since = now
	if p.room < 1 {
		return false
	}
	p.room--
	return true
}

// ed25519 keys stand at a fixed place in an encoded membership: after the tags
// and lengths of Signed.body, version and member. See wirepb/gossip.proto.
func peekMember(signed []byte) (shard.PeerID, bool) {
	at := 2 // tag and length of body, which is shorter than 128 bytes
	if len(signed) > 1 && signed[1] >= 0x80 {
		at++
	}
	at += 2 + 2 // version; tag and length of member
	if len(signed) < at+ed25519.PublicKeySize {
		return shard.PeerID{}, false
	}
	return shard.PeerIDOf(signed[at : at+ed25519.PublicKeySize]), true
}
