package node

import (
	"testing"
	"time"

	"github.com/shardnode/shardnode/tensorio/wire"
)

func TestHiddenStatesArePackedWhereTheLinkIsSlowerThanPacking(t *testing.T) {
	const frame = 256 << 10
	for _, c := range []struct {
		name   string
		mbit   float64       // of the link
		coding time.Duration // to pack a frame
		bytes  int           // of a packed frame
		want   wire.Codec
	}{
		{"100 Mbit/s", 100, 2 * time.Millisecond, frame * 7 / 10, wire.Planes},
		{"10 Gbit/s", 10000, 2 * time.Millisecond, frame * 7 / 10, wire.Raw},
		{"a busy processor", 100, 40 * time.Millisecond, frame * 7 / 10, wire.Raw},
		{"noise", 100, 2 * time.Millisecond, frame - 1, wire.Raw},
	} {
		var s sendCost
		if s.codec(frame) != wire.Raw {
			t.Errorf("%s: the first frame is packed", c.name)
		}
		packed := 0
		for i := range 200 {
			codec, bytes := s.codec(frame), frame
			if codec == wire.Planes {
				packed++
				bytes = c.bytes
			}
			s.packed(frame, bytes, c.coding, codec)
			took := time.Duration(float64(bytes) * 8e3 / c.mbit)
			if i%3 == 0 {
				took *= 50 // another process had the processor
			}
			s.sent(bytes, took)
		}
		// Where it does not pay it is tried now and then.
		if (packed > 150) != (c.want == wire.Planes) || c.want == wire.Raw && packed > 40 {
			t.Errorf("%s: %d of 200 frames were packed, want %v", c.name, packed, c.want)
		}
		if s.codec(1000) != wire.Raw {
			t.Errorf("%s: a small frame is packed", c.name)
		}
	}
}
