package gossip

import (
	"testing"
	"time"
)

func TestAdvertSaysTheSameWhateverItsSeq(t *testing.T) {
	a := Advert{Name: "nuc", Seq: 1, Decode: time.Millisecond}
	b := a
	b.Seq = 2
	if !a.says(b) {
		t.Error("adverts that differ in Seq alone say different things, want the same")
	}
	b.Sessions = 1
	if a.says(b) {
		t.Error("adverts with 0 and 1 sessions say the same, want not")
	}
}
