package hop

import (
	"net/netip"
	"time"
)

// A Path is what is known of the way between the ends of a stream.
type Path struct {
	// RTT is the round trip; 0 if it is not known.
	RTT time.Duration
	// SameClock says that both ends are on one machine, so that the time that
	// one of them wrote means something to the other.
	SameClock bool
}

// PathOf returns what stream knows of its path. One that knows neither a round
// trip nor an address is a pipe within this process.
func PathOf(stream any) Path {
	p := Path{SameClock: true}
	if s, ok := stream.(interface{ RTT() time.Duration }); ok {
		p.RTT, p.SameClock = s.RTT(), false
	}
	if s, ok := stream.(interface{ RemoteAddr() netip.AddrPort }); ok {
		p.SameClock = s.RemoteAddr().Addr().Unmap().IsLoopback()
	}
	return p
}
