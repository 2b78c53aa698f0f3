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

func TestMemoryOnHugePagesHoldsWhatItHeld(t *testing.T) {
	b, err := Alloc(9<<20 + 4097)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = byte(i * 167 >> 3)
	}
	for lo := 0; lo < len(b); lo += 4 << 20 {
		Collapse(b[lo:min(lo+4<<20, len(b))])
	}
	for i := range b {
		if b[i] != byte(i*167>>3) {
			t.Fatalf("byte %d is %d, want %d", i, b[i], byte(i*167>>3))
		}
	}
	b[0], b[len(b)-1] = 1, 2
	if err := Free(b); err != nil {
		t.Error(err)
	}
}
