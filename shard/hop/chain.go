package hop

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// ChainTokens is how many tokens a [Hash] covers beyond those of the one before.
// Peers with another number share nothing with us.
const ChainTokens = kvcache.KeyTokens

// MaxChain bounds the hashes of one message: they must fit its header. What of a
// prompt lies beyond is computed again.
const MaxChain = 3 << 10

// HashBytes is the length of a [Hash] on the wire. Who makes two texts of one
// hash would need 2^64 tries, each with a secret that only the driver has.
const HashBytes = 16

// A Hash names the tokens of a session from the first one on. Stages keep what
// they computed under it. It is salted with a secret of the driver, so that
// nobody else can tell, or try out, which tokens it stands for.
type Hash [HashBytes]byte

// A Secret salts the hashes of a driver. The zero Secret stands for none.
type Secret [32]byte

// A Chain holds the tokens of a session and their hashes. It belongs to one
// goroutine.
type Chain struct {
	seed   [sha256.Size]byte
	tokens []shard.Token
	sums   [][sha256.Size]byte // sums[i] is of the first (i+1)*ChainTokens tokens
	buf    [sha256.Size + 4*ChainTokens]byte
}

// NewChain returns the empty chain of a session of model.
func NewChain(secret Secret, model shard.ModelID) *Chain {
	return &Chain{seed: digest("prefix chain", secret[:], model[:])}
}

// digest hashes parts, of which all but the last have a fixed length.
func digest(name string, parts ...[]byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte("shardnode " + name + " 1\x00"))
	for _, p := range parts {
		h.Write(p)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Put replaces the tokens at pos, which is not beyond the end, and after, and
// returns the hashes of the blocks that end within the new ones.
func (c *Chain) Put(pos shard.Pos, tokens []shard.Token) []Hash {
	first := int(pos) / ChainTokens
	c.tokens = append(c.tokens[:pos], tokens...)
	c.sums = c.sums[:min(first, len(c.sums))]
	for lo := len(c.sums) * ChainTokens; lo+ChainTokens <= len(c.tokens); lo += ChainTokens {
		before := c.seed
		if n := len(c.sums); n > 0 {
			before = c.sums[n-1]
		}
		copy(c.buf[:], before[:])
		for i, t := range c.tokens[lo : lo+ChainTokens] {
			binary.LittleEndian.PutUint32(c.buf[sha256.Size+4*i:], uint32(t))
		}
		c.sums = append(c.sums, sha256.Sum256(c.buf[:]))
	}
	return c.hashes(first, MaxChain)
}

// hashes returns the hashes from index first on, at most most.
func (c *Chain) hashes(first, most int) []Hash {
	var out []Hash
	for _, sum := range c.sums[first:min(len(c.sums), first+most)] {
		out = append(out, Hash(sum[:HashBytes]))
	}
	return out
}

// A Prefix is what a driver says of the tokens that a session will begin with.
type Prefix struct {
	Chain   []Hash
	Lineage Hash // of the stages before this one
}

// LineageOf returns what distinguishes the stage after those before: what it
// computed depends on them, so that what one peer made of a prompt serves only
// sessions through the same peers.
func LineageOf(before []shard.PeerID, spans []shard.Span) Hash {
	var b []byte
	for i, p := range before {
		b = append(b, p[:]...)
		b = binary.LittleEndian.AppendUint32(b, uint32(spans[i].Start))
		b = binary.LittleEndian.AppendUint32(b, uint32(spans[i].End))
	}
	sum := digest("lineage", b)
	return Hash(sum[:HashBytes])
}

// HashBlock returns hashes as they are sent.
func HashBlock(hashes []Hash) []byte {
	var b []byte
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// ParseHashes reads what HashBlock wrote.
func ParseHashes(b []byte) ([]Hash, error) {
	if len(b)%HashBytes != 0 || len(b) > MaxChain*HashBytes {
		return nil, refuse(shard.Invalid, "hashes of %d bytes: want at most %d of %d", len(b), MaxChain, HashBytes)
	}
	var out []Hash
	for ; len(b) > 0; b = b[HashBytes:] {
		out = append(out, Hash(b))
	}
	return out, nil
}

// parsePrefix reads the prefix of m, nil if there is none that we can use.
func parsePrefix(m *wirepb.Open) (*Prefix, error) {
	chain, err := ParseHashes(m.GetChain())
	if err != nil || len(m.GetLineage()) == 0 || m.GetChainTokens() != ChainTokens {
		return nil, err // without a prefix, or with blocks of another version
	}
	if len(m.GetLineage()) != HashBytes {
		return nil, refuse(shard.Invalid, "lineage of %d bytes, want %d", len(m.GetLineage()), HashBytes)
	}
	return &Prefix{Chain: chain, Lineage: Hash(m.GetLineage())}, nil
}

// checkChain checks the hashes of a step whose counts are checked: none, or one for each block that ends
// within it.
func checkChain(m *wirepb.Step) error {
	pos, count := int(m.GetPos()), int(m.GetCount())
	want := kvcache.KeysWithin(pos, count)
	if n := len(m.GetChain()); n > 0 && n != want*HashBytes {
		return refuse(shard.Invalid, "step of %d tokens at position %d with hashes of %d bytes, want %d", count, pos, n, want*HashBytes)
	}
	return nil
}
