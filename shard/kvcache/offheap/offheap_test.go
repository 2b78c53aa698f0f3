package offheap

import (
	"runtime"
	"testing"
)

func TestMemoryIsZeroWritableAndOffTheHeap(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b, err := Alloc(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.HeapAlloc - before.HeapAlloc; runtime.GOOS == "linux" && after.HeapAlloc > before.HeapAlloc && grown > 1<<20 {
		t.Errorf("the Go heap grew by %d bytes, want next to nothing", grown)
	}
	if len(b) != 64<<20 || b[0] != 0 || b[len(b)-1] != 0 {
		t.Fatalf("got %d bytes, first %d, last %d, want %d zeroes", len(b), b[0], b[len(b)-1], 64<<20)
	}
	b[0], b[len(b)-1] = 1, 2
	if err := Free(b); err != nil {
		t.Error(err)
	}
}

func TestSizesThatCannotBeAreErrors(t *testing.T) {
	if _, err := Alloc(-1); err == nil {
		t.Error("Alloc(-1) succeeded, want an error")
	}
	if b, err := Alloc(0); err != nil || len(b) != 0 || Free(b) != nil {
		t.Errorf("Alloc(0) = %d bytes, %v, want none and no error", len(b), err)
	}
	if _, err := Alloc(1 << 62); err == nil && runtime.GOOS == "linux" {
		t.Error("Alloc(1<<62) succeeded, want an error")
	}
}

func TestHugeMemoryIsZeroAndWritableToItsLastByte(t *testing.T) {
	for _, n := range []int64{1, hugeBytes - 1, hugeBytes + 4097, 9 << 20} {
		b, err := AllocHuge(n)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(b)) != n || b[0] != 0 || b[n-1] != 0 {
			t.Fatalf("got %d bytes, first %d, last %d, want %d zeroes", len(b), b[0], b[len(b)-1], n)
		}
		b[0], b[n-1] = 1, 2
		if err := Free(b); err != nil {
			t.Error(err)
		}
	}
}
