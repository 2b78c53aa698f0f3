package node

import (
	"time"

	"github.com/shardnode/shardnode/tensorio/wire"
)

// leastPacked is the smallest frame that is packed when the stage chooses: below
// it the tables cost as much as they save.
const leastPacked = 16 << 10

// What packing is taken to cost and give before it has been measured: as on a
// Zen 3 with hidden states of SmolLM2.
const (
	typicalCoding = 8e-9 // seconds a byte
	typicalRatio  = 0.7
)

// A sendCost is what sending hidden states to the next stage takes, measured as
// it goes. The transport takes a large frame at the pace at which the link lets
// it go. It belongs to one goroutine; the zero sendCost is ready.
type sendCost struct {
	sending float64 // seconds a byte on the link; 0 while it is not known
	coding  float64 // seconds a byte to pack, less typicalCoding
	ratio   float64 // of packed to raw bytes, less typicalRatio
}

// codec returns how to send a frame of so many raw bytes: packed when the bytes
// saved take longer on the link than packing here and unpacking there. Both give
// the same bits.
func (c *sendCost) codec(rawBytes int) wire.Codec {
	saved := (1 - typicalRatio - c.ratio) * c.sending
	if rawBytes >= leastPacked && saved > 2*(typicalCoding+c.coding) {
		return wire.Planes
	}
	return wire.Raw
}

// packed notes that packing so many bytes took a time and gave fewer. What is
// known of packing fades when there is none, so that it gets another chance.
func (c *sendCost) packed(rawBytes, bytes int, took time.Duration, codec wire.Codec) {
	if rawBytes < leastPacked {
		return
	}
	if codec != wire.Planes {
		c.coding -= c.coding / 64
		c.ratio -= c.ratio / 64
		return
	}
	c.coding += (took.Seconds()/float64(rawBytes) - typicalCoding - c.coding) / 4
	c.ratio += (float64(bytes)/float64(rawBytes) - typicalRatio - c.ratio) / 4
}

// sent notes that the link took so many bytes in a time.
func (c *sendCost) sent(bytes int, took time.Duration) {
	if bytes < leastPacked/2 {
		return
	}
	per := took.Seconds() / float64(bytes)
	if c.sending == 0 {
		c.sending = per
	}
	// A busy processor only adds to what the link takes.
	c.sending = min(per, c.sending*17/16)
}
