package transport

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/shardnode/shardnode/shard"
)

const (
	identityFile = "identity"
	identityPEM  = "SHARDNODE IDENTITY"
)

// An Identity is the ed25519 key that makes a peer itself. The zero Identity
// is nobody; use [NewIdentity] or [LoadIdentity].
type Identity struct {
	key ed25519.PrivateKey
	id  shard.PeerID
}

// NewIdentity returns a fresh identity that is stored nowhere.
func NewIdentity() Identity {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil { // the random source never fails since Go 1.24
		panic("transport: generate key: " + err.Error())
	}
	return identityOf(key)
}

func identityOf(key ed25519.PrivateKey) Identity {
	pub, _ := key.Public().(ed25519.PublicKey)
	return Identity{key: key, id: shard.PeerIDOf(pub)}
}

// LoadIdentity reads the identity in the file "identity" of the folder home,
// and makes both when they are missing. Errors say what is wrong with the
// home: not writable, readable by others, or a damaged key.
func LoadIdentity(home string) (Identity, error) {
	path := filepath.Join(home, identityFile)
	b, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := NewIdentity()
		text := pem.EncodeToMemory(&pem.Block{Type: identityPEM, Bytes: id.key.Seed()})
		return id, writeSecret(path, text)
	}
	if errors.Is(err, fs.ErrPermission) {
		return Identity{}, homeError(home, err)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("read identity: %w", err)
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != identityPEM || len(block.Bytes) != ed25519.SeedSize || len(rest) != 0 {
		return Identity{}, fmt.Errorf("identity %s is damaged: restore it from a backup, or remove it to become a new peer", path)
	}
	return identityOf(ed25519.NewKeyFromSeed(block.Bytes)), nil
}

// ID returns the peer's name.
func (i Identity) ID() shard.PeerID { return i.id }

// Public returns the peer's ed25519 public key, which the caller must not change.
func (i Identity) Public() []byte {
	pub, _ := i.key.Public().(ed25519.PublicKey)
	return pub
}

// Sign returns i's signature over text of the given kind. Kinds keep one
// message from passing for another.
func (i Identity) Sign(kind string, text []byte) []byte {
	return ed25519.Sign(i.key, signedText(kind, text))
}

// Verify reports whether signature is pub's over text of the given kind.
func Verify(pub []byte, kind string, text, signature []byte) bool {
	return len(pub) == ed25519.PublicKeySize && len(signature) == ed25519.SignatureSize &&
		ed25519.Verify(pub, signedText(kind, text), signature)
}

// signedText is what a signature covers: the kind, a zero byte, the text.
func signedText(kind string, text []byte) []byte {
	b := make([]byte, 0, len(kind)+16+len(text))
	b = append(b, "shardnode "...)
	b = append(b, kind...)
	b = append(b, 0)
	return append(b, text...)
}
