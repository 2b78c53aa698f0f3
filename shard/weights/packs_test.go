package weights

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// packData is made-up packed weights.
func packData(n int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// whole reports whether a pack holds data, after a look at every slab.
func whole(t *testing.T, k *Pack, data []byte) bool {
	t.Helper()
	defer func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range k.Slabs() {
		if !k.Check(i) {
			return false
		}
	}
	return bytes.Equal(k.Data(), data)
}

func TestPacksGiveBackWhatWasKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "packed")
	p := OpenPacks(PacksConfig{Dir: dir, BudgetBytes: 64 << 20})
	if p.Map("a", 5) != nil {
		t.Error("an empty cache has something")
	}
	for _, n := range []int{1, 4096, packSlab, 2*packSlab + 77} {
		data := packData(n, uint64(n))
		if err := p.Keep(t.Context(), "key", data); err != nil {
			t.Fatal(err)
		}
		k := OpenPacks(PacksConfig{Dir: dir}).Map("key", int64(n))
		if k == nil || !whole(t, k, data) {
			t.Errorf("%d bytes do not come back", n)
		}
		if p.Map("key", int64(n+1)) != nil || p.Map("other", int64(n)) != nil {
			t.Errorf("%d bytes come back for another size or key", n)
		}
	}
}

func TestADamagedPackIsNeverTakenForWhole(t *testing.T) {
	dir := t.TempDir()
	p := OpenPacks(PacksConfig{Dir: dir, BudgetBytes: 64 << 20})
	data := packData(packSlab+5000, 1)
	if err := p.Keep(t.Context(), "key", data); err != nil {
		t.Fatal(err)
	}
	path := p.path("key")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head := packHeader("key", int64(len(data)))
	for _, at := range []int{0, 9, packHead - 1, packHead, head.sumsEnd - 1, head.sumsEnd, head.dataAt, head.dataAt + packSlab, len(good) - 1} {
		bad := bytes.Clone(good)
		bad[at] ^= 4
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if k := p.Map("key", int64(len(data))); k != nil && whole(t, k, data) {
			t.Errorf("a pack with another byte at %d was taken for whole", at)
		}
	}
	for _, n := range []int{0, 10, head.dataAt, len(good) - 1} {
		if err := os.WriteFile(path, good[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if p.Map("key", int64(len(data))) != nil {
			t.Errorf("a pack of %d bytes of %d was mapped", n, len(good))
		}
	}
	zeros := append(bytes.Clone(good[:head.dataAt]), make([]byte, len(data))...) // after a power cut
	if err := os.WriteFile(path, zeros, 0o600); err != nil {
		t.Fatal(err)
	}
	k := p.Map("key", int64(len(data)))
	if k == nil || whole(t, k, data) {
		t.Fatal("a pack of zeros was taken for whole")
	}
	k.Remove()
	if p.Map("key", int64(len(data))) != nil {
		t.Error("a pack that was removed is there")
	}
}

func TestPacksThatWereNotUsedForLongestMakeRoom(t *testing.T) {
	dir := t.TempDir()
	const n = 1 << 20
	p := OpenPacks(PacksConfig{Dir: dir, BudgetBytes: 3*n + 3*2*packAlign})
	age := func(name string, by time.Duration) {
		at := time.Now().Add(-by)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for i, key := range []string{"a", "b", "c"} {
		if err := p.Keep(t.Context(), key, packData(n, 1)); err != nil {
			t.Fatal(err)
		}
		age(p.path(key), time.Duration(9-i)*time.Hour)
	}
	if k := p.Map("a", n); k == nil || k.Close() != nil { // it is used again
		t.Fatal("a is gone")
	}
	for _, name := range []string{".pack-old", "somebody's file"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		age(filepath.Join(dir, name), 2*time.Hour)
	}
	if err := p.Keep(t.Context(), "d", packData(n, 2)); err != nil {
		t.Fatal(err)
	}
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	for key, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
		if there(p.path(key)) != want {
			t.Errorf("pack %q is there: %t, want %t", key, !want, want)
		}
	}
	if there(filepath.Join(dir, ".pack-old")) || !there(filepath.Join(dir, "somebody's file")) {
		t.Error("want the unfinished pack of an earlier process gone, and other files left alone")
	}
	age(p.path("c"), packIdle+time.Hour)
	if err := p.Keep(t.Context(), "e", packData(10, 3)); err != nil {
		t.Fatal(err)
	}
	if there(p.path("c")) {
		t.Error("a pack that nobody used for a month is there")
	}
	if err := p.Keep(t.Context(), "f", packData(4*n, 4)); !errors.Is(err, errNoRoom) {
		t.Errorf("keeping more than there is room for gives %v", err)
	}
	if p.Wants(2*leastPacked, 1) {
		t.Error("weights are wanted that have no room")
	}
}

func TestKeepLeavesNothingWhenItIsStopped(t *testing.T) {
	dir := t.TempDir()
	p := OpenPacks(PacksConfig{Dir: dir, BudgetBytes: 64 << 20})
	why := errors.New("enough")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(why)
	if err := p.Keep(ctx, "key", packData(2*packSlab, 1)); !errors.Is(err, why) {
		t.Errorf("error is %v, want %v", err, why)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v, want nothing", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := OpenPacks(PacksConfig{Dir: file, BudgetBytes: 1 << 20}).Keep(t.Context(), "key", []byte{1}); err == nil {
		t.Error("kept something in a file that is no folder")
	}
}
