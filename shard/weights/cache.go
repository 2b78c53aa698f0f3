package weights

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/shardnode/shardnode/shard"
)

// CachedManifest is [NewManifest] with a memory: manifests are kept in the
// folder dir by the path, size and time of change of the model's files, so
// that the second start hashes nothing. A folder that cannot be written makes
// it slower, not wrong, and is no error.
func CachedManifest(ctx context.Context, f *File, dir string, progress func(done, total int64)) (*Manifest, error) {
	key, ok := f.ContentKey()
	if !ok {
		return NewManifest(ctx, f, progress)
	}
	path := filepath.Join(dir, key+".manifest")
	if m, err := loadManifest(path); err == nil && m.Describes(f) {
		return m, nil
	}
	m, err := NewManifest(ctx, f, progress)
	if err != nil {
		return nil, err
	}
	_ = saveManifest(path, m) // next time is slow again, that is all
	return m, nil
}

// ContentKey returns a name for what the files hold: a hash of their paths, sizes
// and times of change. ok is false for a file that is in memory only.
func (f *File) ContentKey() (key string, ok bool) {
	h := sha256.New()
	for _, p := range f.parts {
		abs, err := filepath.Abs(p.path)
		if err != nil || p.changed.IsZero() {
			return "", false
		}
		b := append([]byte(abs), 0)
		b = binary.LittleEndian.AppendUint64(b, uint64(p.SizeBytes))
		b = binary.LittleEndian.AppendUint64(b, uint64(p.changed.UnixNano()))
		h.Write(b) // never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), true
}

// Describes reports whether m was made from a file with the headers of f: the
// same model, unless bytes of its tensors differ.
func (m *Manifest) Describes(f *File) bool {
	if len(m.files) != len(f.parts) {
		return false
	}
	for i, p := range f.parts {
		if m.files[i].SizeBytes != p.SizeBytes || string(m.files[i].Header()) != string(p.Header()) {
			return false
		}
	}
	return true
}

// loadManifest reads what saveManifest wrote: the id, then the encoding.
func loadManifest(path string) (*Manifest, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxManifestBytes+int64(len(shard.ModelID{})) {
		return nil, fmt.Errorf("%s has %d bytes, which is too long for a manifest: remove it", path, info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var id shard.ModelID
	if copy(id[:], b) < len(id) || sha256.Sum256(b[len(id):]) != id {
		return nil, fmt.Errorf("%s is damaged: remove it", path)
	}
	m, err := ParseManifest(b[len(id):])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// saveManifest writes m to path in one go: after a crash the file is whole,
// old or absent.
func saveManifest(path string, m *Manifest) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".manifest-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // it is gone after the rename
	_, err = tmp.Write(append(m.id[:], m.encoded...))
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
