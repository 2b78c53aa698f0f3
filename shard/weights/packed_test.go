package weights

import (
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

func TestPackedBytesAreThoseOfWholePanels(t *testing.T) {
	f := openToy(t)
	// 512 rows of Q8_0, and a norm of 512 numbers.
	if got, want := f.PackedLayerBytes(1), int64(512/16*(512/64)*1088+4*512); got != want {
		t.Errorf("a layer takes %d bytes, want %d", got, want)
	}
	// The tied head: 9000 rows are 563 panels.
	if got, want := f.PackedHeadBytes(), int64(563*16*512*2+4*512); got != want {
		t.Errorf("the head takes %d bytes, want %d", got, want)
	}
	if f.PackedLayerBytes(3) != 0 || f.PackedLayerBytes(-1) != 0 {
		t.Error("a layer that is not there takes memory")
	}
	if f.tensors[0].Type != tensorio.F16 {
		t.Error("the toy has changed")
	}
}
