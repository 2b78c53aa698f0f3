package transport

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport/wirepb"
)

const (
	removalsFile    = "removals"
	kindRemoval     = "removal v1"
	maxRemovalBytes = 160
	maxRemovals     = 192 // all of them fit MaxRemovalsBytes
)

// MaxRemovalsBytes bounds what [Node.Removals] returns.
const MaxRemovalsBytes = 0x7fff

// A Removal says, by the swarm's signature, that a peer is no member any more,
// or is one again. It has no end: the peer's own key never changes.
type Removal struct {
	Peer shard.PeerID
	Name string // what people called it
	At   time.Time
	Back bool // it is a member again

	signed []byte
}

// Signed returns the encoded removal. The caller must not change it.
func (r Removal) Signed() []byte { return r.signed }

// remove signs what is said of a peer.
func (k SwarmKey) remove(peer shard.PeerID, name string, back bool) (Removal, error) {
	body, err := proto.Marshal(&wirepb.Removal{Version: 1, Peer: peer[:], At: time.Now().UnixNano(), Back: back, Name: clip(name)})
	if err != nil {
		return Removal{}, fmt.Errorf("encode removal: %w", err)
	}
	signed, err := proto.Marshal(&wirepb.Signed{Body: body, Signature: ed25519.Sign(k.key, signedText(kindRemoval, body))})
	if err != nil {
		return Removal{}, fmt.Errorf("encode removal: %w", err)
	}
	return parseRemoval(k.ID(), signed)
}

// Remove takes the membership of a peer away. name is for people.
func (k SwarmKey) Remove(peer shard.PeerID, name string) (Removal, error) {
	return k.remove(peer, name, false)
}

// Readmit gives a peer that was removed its membership back.
func (k SwarmKey) Readmit(peer shard.PeerID, name string) (Removal, error) {
	return k.remove(peer, name, true)
}

// maxRemovalName is the longest name in a removal.
const maxRemovalName = 32

func clip(name string) string {
	for len(name) > maxRemovalName {
		_, last := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-last]
	}
	return strings.ToValidUTF8(name, "")
}

func parseRemoval(swarm SwarmID, signed []byte) (Removal, error) {
	body, err := openSigned(signed, maxRemovalBytes, swarm[:], kindRemoval)
	if err != nil {
		return Removal{}, fmt.Errorf("removal: %w", err)
	}
	var pb wirepb.Removal
	if err := proto.Unmarshal(body, &pb); err != nil {
		return Removal{}, fmt.Errorf("removal: %w", err)
	}
	switch {
	case pb.GetVersion() != 1:
		return Removal{}, fmt.Errorf("removal has version %d, want 1: update shardnode", pb.GetVersion())
	case len(pb.GetPeer()) != len(shard.PeerID{}):
		return Removal{}, fmt.Errorf("removal: peer has %d bytes, want %d", len(pb.GetPeer()), len(shard.PeerID{}))
	case len(pb.GetName()) > maxRemovalName || strings.ContainsFunc(pb.GetName(), isControl):
		return Removal{}, errors.New("removal: name is not plain text")
	}
	return Removal{
		Peer: shard.PeerID(pb.GetPeer()), Name: pb.GetName(), At: time.Unix(0, pb.GetAt()), Back: pb.GetBack(),
		signed: bytes.Clone(signed),
	}, nil
}

// Removals are the removals that a member has heard of, kept in its home.
type Removals struct {
	swarm SwarmID
	home  string // "" keeps nothing

	mu  sync.Mutex // guards what follows; held while the file is written, so that it holds what was decided last
	all map[shard.PeerID]Removal
}

// LoadRemovals reads what is kept in home of the swarm's removals; "" keeps
// them in memory. Those of another swarm are left out.
func LoadRemovals(home string, swarm SwarmID) (*Removals, error) {
	r := &Removals{swarm: swarm, home: home, all: map[shard.PeerID]Removal{}}
	if home == "" {
		return r, nil
	}
	path := filepath.Join(home, swarmFolder, removalsFile)
	b, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	var pb wirepb.Removals
	if err == nil {
		err = proto.Unmarshal(b, &pb)
	}
	if err != nil {
		return nil, fmt.Errorf("read removals %s: remove it to hear of them from other members: %w", path, err)
	}
	for _, signed := range pb.GetSigned() {
		if one, err := parseRemoval(swarm, signed); err == nil {
			r.all[one.Peer] = one
		}
	}
	return r, nil
}

// Removed reports whether peer is no member any more.
func (r *Removals) Removed(peer shard.PeerID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.all[peer]
	return ok && !one.Back
}

// List returns what counts for each peer, oldest first.
func (r *Removals) List() []Removal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listLocked()
}

func (r *Removals) listLocked() []Removal {
	out := make([]Removal, 0, len(r.all))
	for _, one := range r.all {
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Removal) int { return a.At.Compare(b.At) })
	return out
}

// Forget drops what is known of peer: its swarm has admitted it anew.
func (r *Removals) Forget(peer shard.PeerID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.all[peer]; !ok {
		return nil
	}
	delete(r.all, peer)
	return r.saveLocked()
}

// add keeps one and reports whether it is news.
func (r *Removals) add(one Removal) (news bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.all[one.Peer]
	switch {
	case known && !one.At.After(old.At):
		return false, nil
	case !known && len(r.all) >= maxRemovals:
		return false, fmt.Errorf("%d members were removed from this swarm, more are not kept: found a new one", len(r.all))
	}
	r.all[one.Peer] = one
	return true, r.saveLocked()
}

// encoded returns all in one message.
func (r *Removals) encoded() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := r.encodeLocked()
	if err != nil || len(b) > MaxRemovalsBytes {
		return nil // the bounds above do not let it come to that
	}
	return b
}

func (r *Removals) encodeLocked() ([]byte, error) {
	var pb wirepb.Removals
	for _, one := range r.listLocked() {
		pb.Signed = append(pb.Signed, one.signed)
	}
	return proto.Marshal(&pb)
}

func (r *Removals) saveLocked() error {
	if r.home == "" {
		return nil
	}
	b, err := r.encodeLocked()
	if err != nil {
		return fmt.Errorf("encode removals: %w", err)
	}
	return writeSecret(filepath.Join(r.home, swarmFolder, removalsFile), b)
}

// Removals returns the removals that this peer has heard of, encoded for
// [Node.HearRemovals] of another. It is empty if there are none.
func (n *Node) Removals() []byte { return n.cfg.Removals.encoded() }

// HearRemovals takes in what another member knows. Only what the swarm signed
// counts.
func (n *Node) HearRemovals(b []byte) error {
	var pb wirepb.Removals
	if len(b) > MaxRemovalsBytes {
		return fmt.Errorf("removals have %d bytes, want at most %d", len(b), MaxRemovalsBytes)
	}
	if err := proto.Unmarshal(b, &pb); err != nil {
		return fmt.Errorf("removals: %w", err)
	}
	var errs []error
	for _, signed := range pb.GetSigned() {
		errs = append(errs, n.HearRemoval(signed))
	}
	return errors.Join(errs...)
}

// HearRemoval takes in one removal: the peer is refused from now on, its
// connections close, and what [Node.OnRemoval] was given hears of it.
func (n *Node) HearRemoval(signed []byte) error {
	one, err := parseRemoval(n.cfg.Membership.swarm, signed)
	if err != nil {
		return err
	}
	news, err := n.cfg.Removals.add(one)
	if !news {
		return err
	}
	log := n.cfg.Logger.With().Stringer("peer", one.Peer).Str("name", one.Name).Logger()
	if one.Back {
		log.Info().Msg("member taken back")
	} else {
		log.Warn().Msg("member removed from the swarm")
		n.cut(one.Peer)
	}
	n.mu.Lock()
	hear := n.onRemoval
	n.mu.Unlock()
	if hear != nil {
		hear(one)
	}
	return err // of writing it to the home
}

// OnRemoval has f called for each removal that is heard of from now on. f must
// not block.
func (n *Node) OnRemoval(f func(Removal)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.onRemoval = f
}
