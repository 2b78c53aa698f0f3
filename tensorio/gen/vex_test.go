package main

import "testing"

// TestEncodingIsThatOfTheGNUAssembler has what `as` makes of {vex} vpdpbusd and
// {vex} vpdpwssd, checked with objdump.
func TestEncodingIsThatOfTheGNUAssembler(t *testing.T) {
	for _, c := range []struct {
		opcode, a, w, sum byte
		want              [5]byte
	}{
		{vexBytes, 1, 2, 3, [5]byte{0xc4, 0xe2, 0x6d, 0x50, 0xd9}},
		{vexBytes, 9, 10, 11, [5]byte{0xc4, 0x42, 0x2d, 0x50, 0xd9}},
		{vexWords, 1, 15, 8, [5]byte{0xc4, 0x62, 0x05, 0x52, 0xc1}},
	} {
		if got := encodeVEX(c.opcode, c.a, c.w, c.sum); got != c.want {
			t.Errorf("encodeVEX(%#x, %d, %d, %d) = %x, want %x", c.opcode, c.a, c.w, c.sum, got, c.want)
		}
	}
}
