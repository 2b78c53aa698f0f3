package shard

import (
	"fmt"
	"testing"
)

func TestPeerIDTextRoundTrips(t *testing.T) {
	id := PeerIDOf([]byte("some public key"))
	got, err := ParsePeerID(id.String())
	if err != nil || got != id {
		t.Fatalf("ParsePeerID(%q) = %v, %v, want the same id", id.String(), got, err)
	}
	for _, bad := range []string{"", "abc", id.String() + "a", "0189" + id.String()[4:]} {
		if _, err := ParsePeerID(bad); err == nil {
			t.Errorf("ParsePeerID(%q) succeeded, want an error", bad)
		}
	}
}

func TestSpanArithmetic(t *testing.T) {
	s := Span{Start: 2, End: 5}
	if s.Len() != 3 || !s.Has(2) || s.Has(5) || s.String() != "[2,5)" {
		t.Errorf("%v: Len %d Has(2) %v Has(5) %v", s, s.Len(), s.Has(2), s.Has(5))
	}
	if got := s.Overlap(Span{Start: 5, End: 9}); got.Len() != 0 {
		t.Errorf("overlap of neighbours = %v, want empty", got)
	}
	if !s.Covers(Span{Start: 3, End: 5}) || s.Covers(Span{Start: 1, End: 3}) {
		t.Error("Covers is wrong about [3,5) or [1,3)")
	}
}

func TestStageErrorNamesPeerAndKeepsCode(t *testing.T) {
	err := fmt.Errorf("answer: %w", &StageError{Name: "nuc", Peer: PeerIDOf([]byte("k")), Span: Span{0, 4}, Code: NoCapacity})
	if CodeOf(err) != NoCapacity {
		t.Errorf("CodeOf = %v, want NoCapacity", CodeOf(err))
	}
	if CodeOf(fmt.Errorf("other")) != Internal || CodeOf(nil) != CodeUnknown {
		t.Error("CodeOf of a plain error or nil is wrong")
	}
}
