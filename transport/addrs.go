package transport

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// A Scope says from where an address can be reached.
type Scope string

// The scopes of an address.
const (
	ScopeMachine  Scope = "this machine"
	ScopeNetwork  Scope = "the local network"
	ScopeInternet Scope = "the internet, if no firewall is in the way"
)

// A Reach is an address of a node and from where it can be reached.
type Reach struct {
	Addr  netip.AddrPort
	Scope Scope
}

func scopeOf(a netip.Addr) Scope {
	switch {
	case a.IsLoopback():
		return ScopeMachine
	case a.IsPrivate(), a.IsLinkLocalUnicast(), sharedSpace.Contains(a):
		return ScopeNetwork
	}
	return ScopeInternet
}

// sharedSpace is the address space of carriers and overlay networks (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// reachable expands the bound address to those that others can dial: itself,
// or for a wildcard those of the machine's interfaces. Loopback comes last.
func reachable(bound netip.AddrPort, interfaces []net.Addr) []Reach {
	ip := bound.Addr()
	if !ip.IsUnspecified() {
		return []Reach{{Addr: bound, Scope: scopeOf(ip)}}
	}
	var out, loop []Reach
	for _, a := range interfaces {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		addr = addr.Unmap()
		if addr.IsLinkLocalUnicast() || addr.IsMulticast() || ip.Is4() && !addr.Is4() {
			continue
		}
		r := Reach{Addr: netip.AddrPortFrom(addr, bound.Port()), Scope: scopeOf(addr)}
		if r.Scope == ScopeMachine {
			loop = append(loop, r)
		} else {
			out = append(out, r)
		}
	}
	return append(out, loop...)
}

// AppendAddr appends the wire form of a: 4 or 16 bytes of IP, 2 of port.
func AppendAddr(dst []byte, a netip.AddrPort) []byte {
	dst = append(dst, a.Addr().Unmap().AsSlice()...)
	return binary.BigEndian.AppendUint16(dst, a.Port())
}

// ParseAddr reads what [AppendAddr] wrote.
func ParseAddr(b []byte) (netip.AddrPort, error) {
	if len(b) != 6 && len(b) != 18 {
		return netip.AddrPort{}, fmt.Errorf("address has %d bytes, want 6 or 18", len(b))
	}
	ip, _ := netip.AddrFromSlice(b[:len(b)-2])
	port := binary.BigEndian.Uint16(b[len(b)-2:])
	if ip = ip.Unmap(); ip.IsUnspecified() || ip.IsMulticast() || port == 0 {
		return netip.AddrPort{}, fmt.Errorf("address %v port %d cannot be dialed", ip, port)
	}
	return netip.AddrPortFrom(ip, port), nil
}

// addrPort returns a as an unmapped address and port, not valid if it is no
// UDP address.
func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// maxPeerAddrs bounds the addresses kept for one peer; more are dropped.
const maxPeerAddrs = 8

// An address is where a peer may be: what it says, and where it was seen.
type address struct {
	said []netip.AddrPort // at most maxPeerAddrs
	seen netip.AddrPort   // source of its last good packet or connection
}

// order returns the addresses to dial, likeliest first.
func (a address) order() []netip.AddrPort {
	out := slices.Clone(a.said)
	if a.seen.IsValid() && !slices.Contains(out, a.seen) {
		out = append(out, a.seen)
	} else if i := slices.Index(out, a.seen); i > 0 {
		out[0], out[i] = out[i], out[0]
	}
	return out
}
