package node

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/kvcache"
)

// A keyring makes the keys under which the pages of one stage are kept. They
// name all that keys and values depend on (the model's bytes, the layers, the
// tokens, the peers that computed the input), and the driver: only its own
// sessions get what they left, whatever hashes a driver sends. The numerics
// class is not in them, for an engine has one and keeps its pages to itself.
type keyring struct{ root [sha256.Size]byte }

// newKeyring returns the keys of a driver's stage.
func newKeyring(driver shard.PeerID, model shard.ModelID, span shard.Span, lineage hop.Hash) *keyring {
	b := append([]byte("shardnode prefix root 1\x00"), driver[:]...)
	b = append(b, model[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(span.Start))
	b = binary.LittleEndian.AppendUint32(b, uint32(span.End))
	return &keyring{root: sha256.Sum256(append(b, lineage[:]...))}
}

// keys returns the keys of hashes. A nil keyring has none.
func (r *keyring) keys(hashes []hop.Hash) []kvcache.Key {
	if r == nil || len(hashes) == 0 {
		return nil
	}
	out := make([]kvcache.Key, len(hashes))
	var b [sha256.Size + hop.HashBytes]byte
	copy(b[:], r.root[:])
	for i, h := range hashes {
		copy(b[sha256.Size:], h[:])
		out[i] = sha256.Sum256(b[:])
	}
	return out
}

// openEngine reserves the session's memory and returns the keys of its prefix,
// and how many positions of that are there already.
func (st *stage) openEngine() (keys []kvcache.Key, ready shard.Pos, err error) {
	o := &st.open
	if o.Prefix != nil {
		st.keyring = newKeyring(st.control.Peer(), o.Model, o.Span, o.Prefix.Lineage)
		keys = st.keyring.keys(o.Prefix.Chain)
	}
	ready, err = st.held.Engine.OpenShared(st.id, o.Span, o.MaxTokens, keys)
	return keys, ready, err
}
