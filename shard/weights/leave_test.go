package weights

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

// mappedBytes returns how much of the process's memory is of mapped files.
func mappedBytes(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("this system does not say how much memory is of mapped files")
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "RssFile:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Skip("this system does not say how much memory is of mapped files")
	return 0
}

func TestReleasedTensorsLeaveTheMemoryAndStayReadable(t *testing.T) {
	const size = 64 << 20
	want := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
	f, err := Open(write(t, filepath.Join(t.TempDir(), "big.gguf"), []tensorio.Tensor{
		{Name: EmbedName, Type: tensorio.F32, Shape: []int{size / 4 / 64, 64}, Data: want},
	}, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := f.Tensor(EmbedName)
	if err != nil {
		t.Fatal(err)
	}
	read := func() {
		f.WillNeed(w.Data)
		if !bytes.Equal(w.Data, want) {
			t.Error("the tensor's data is not what was written")
		}
	}
	read()
	before := mappedBytes(t)
	f.Release(w.Data)
	if got := before - mappedBytes(t); got < size/2 {
		t.Errorf("releasing %d bytes took %d out of memory, want all", size, got)
	}
	f.Release(want[:4096]) // memory of somebody else, who wants to keep it
	read()
	before = mappedBytes(t)
	if _, err := NewManifest(context.Background(), f, nil); err != nil {
		t.Fatal(err)
	}
	if got := before - mappedBytes(t); got < size/2 {
		t.Errorf("hashing left %d bytes fewer in memory, want the %d of the tensor", got, size)
	}
}
