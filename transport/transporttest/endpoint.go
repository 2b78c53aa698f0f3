package transporttest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

var _ net.PacketConn = (*Endpoint)(nil)

// An Endpoint is a peer's socket on a [Network].
type Endpoint struct {
	net  *Network
	addr netip.AddrPort

	// Guarded by Network.mu:
	link     Link
	up, down pipe
	dead     bool

	ready    chan struct{}
	moved    chan struct{} // the deadline was set
	closed   chan struct{}
	once     sync.Once
	mu       sync.Mutex // guards what follows
	packets  []packet
	deadline time.Time
}

type packet struct {
	data []byte
	from netip.AddrPort
}

// Listen puts an endpoint at addr. It returns an error if one is there.
func (n *Network) Listen(addr netip.AddrPort) (*Endpoint, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.endpoints[addr] != nil {
		return nil, fmt.Errorf("listen %v: address is in use", addr)
	}
	e := &Endpoint{
		net: n, addr: addr, link: n.link,
		ready: make(chan struct{}, 1), moved: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	n.endpoints[addr] = e
	return e, nil
}

// SetLink changes the endpoint's link for what is sent from now on.
func (e *Endpoint) SetLink(link Link) {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	e.link = link
}

// Kill makes the endpoint deaf and dumb, as kill -9 or a pulled cable do: its
// owner notices nothing, the others hear nothing.
func (e *Endpoint) Kill() {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	e.dead = true
}

// Wake undoes [Endpoint.Kill], as SIGCONT does after SIGSTOP.
func (e *Endpoint) Wake() {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	e.dead = false
}

// WriteTo sends b to a, a *net.UDPAddr. It never blocks.
func (e *Endpoint) WriteTo(b []byte, a net.Addr) (int, error) {
	select {
	case <-e.closed:
		return 0, net.ErrClosed
	default:
	}
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("write to %v: want a UDP address", a)
	}
	to := u.AddrPort()
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	e.net.sendLocked(e, to, b)
	return len(b), nil
}

// put queues a packet for the reader; it reports false when the queue is full.
func (e *Endpoint) put(p packet) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.packets) >= maxEndpointQueue {
		return false
	}
	e.packets = append(e.packets, p)
	signal(e.ready)
	return true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take returns the first packet waiting, and the deadline.
func (e *Endpoint) take() (p packet, ok bool, deadline time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.packets) == 0 {
		return packet{}, false, e.deadline
	}
	p = e.packets[0]
	e.packets = e.packets[1:]
	return p, true, e.deadline
}

// ReadFrom waits for a packet.
func (e *Endpoint) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		p, ok, deadline := e.take()
		if ok {
			return copy(b, p.data), net.UDPAddrFromAddrPort(p.from), nil
		}
		if err := e.wait(deadline); err != nil {
			return 0, nil, err
		}
	}
}

func (e *Endpoint) wait(deadline time.Time) error {
	var late <-chan time.Time
	if !deadline.IsZero() {
		left := time.Until(deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-e.ready:
	case <-late:
	case <-e.moved:
	case <-e.closed:
		return net.ErrClosed
	}
	return nil
}

// LocalAddr returns the endpoint's address.
func (e *Endpoint) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(e.addr) }

// Close takes the endpoint off the network.
func (e *Endpoint) Close() error {
	e.once.Do(func() {
		close(e.closed)
		e.net.mu.Lock()
		defer e.net.mu.Unlock()
		delete(e.net.endpoints, e.addr)
		e.dead = true
	})
	return nil
}

// SetDeadline bounds reads; writes never wait.
func (e *Endpoint) SetDeadline(t time.Time) error { return e.SetReadDeadline(t) }

// SetReadDeadline bounds reads.
func (e *Endpoint) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deadline = t
	signal(e.moved)
	return nil
}

// SetWriteDeadline does nothing: writes never wait.
func (e *Endpoint) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer does nothing; quic-go asks for it.
func (e *Endpoint) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing; quic-go asks for it.
func (e *Endpoint) SetWriteBuffer(int) error { return nil }
