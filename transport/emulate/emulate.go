// Package emulate makes a packet connection behave like a worse link: with
// latency, jitter, a rate and loss, on what it sends. `--link` uses it between
// real processes. Packets keep their order, as on most real paths: jitter that
// reorders would look like loss to QUIC, and slow it down as loss does.
//
// Start with [Parse] and [Wrap]. A [Conn] is safe for concurrent use; it runs
// one goroutine, which ends with Close.
package emulate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Link says how a link behaves, one way. The zero Link changes nothing.
type Link struct {
	Latency    time.Duration
	Jitter     time.Duration // a packet takes up to this much longer, or waits for those before it
	RateBits   float64       // bits a second; 0: no limit
	LossChance float64       // 0 to 1
}

// Parse reads "latency=20ms,rate=100mbit,loss=0.5%,jitter=2ms". The empty
// text is the zero Link.
func Parse(text string) (Link, error) {
	var l Link
	if text == "" {
		return l, nil
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		var err error
		switch {
		case !ok:
			err = errors.New("want key=value")
		case seen[key]:
			err = errors.New("given twice")
		case key == "latency":
			l.Latency, err = parseDelay(value)
		case key == "jitter":
			l.Jitter, err = parseDelay(value)
		case key == "rate":
			l.RateBits, err = parseRate(value)
		case key == "loss":
			l.LossChance, err = parseLoss(value)
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return Link{}, fmt.Errorf("link %.80q: %.40q: %w: for example latency=20ms,rate=100mbit,loss=0.5%%,jitter=2ms", text, part, err)
		}
		seen[key] = true
	}
	return l, nil
}

// maxDelay bounds latency and jitter.
const maxDelay = 10 * time.Second

func parseDelay(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > maxDelay {
		return 0, fmt.Errorf("%q is no delay of 0 to %v", value, maxDelay)
	}
	return d, nil
}

func parseRate(value string) (float64, error) {
	units := []struct {
		name string
		bits float64
	}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}}
	for _, u := range units {
		if number, ok := strings.CutSuffix(strings.ToLower(value), u.name); ok {
			n, err := strconv.ParseFloat(number, 64)
			if err == nil && n*u.bits >= 1e4 && n*u.bits <= 1e12 {
				return n * u.bits, nil
			}
		}
	}
	return 0, fmt.Errorf("%q is no rate of 10kbit to 1000gbit", value)
}

func parseLoss(value string) (float64, error) {
	number, percent := strings.CutSuffix(value, "%")
	n, err := strconv.ParseFloat(number, 64)
	if percent {
		n /= 100
	}
	if err != nil || !(n >= 0 && n < 1) {
		return 0, fmt.Errorf("%q is no loss of 0%% to under 100%%", value)
	}
	return n, nil
}

// What waits is bounded twice: by the rate, as in a router whose queue holds so
// much time, and by count. Packets on top are dropped.
const (
	queueTime  = 100 * time.Millisecond
	maxWaiting = 1 << 15
)

// A Conn is a packet connection behind an emulated link.
type Conn struct {
	net.PacketConn

	link Link
	wake chan struct{} // capacity 1
	done chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	rng     *rand.Rand
	waiting []packet  // in the order of their times
	free    time.Time // when the link has sent all that it was given
	last    time.Time // when the last packet arrives
	closed  bool
}

// packet is one under way.
type packet struct {
	at   time.Time
	data []byte
	to   net.Addr
}

// Wrap returns pc behind link. Closing it closes pc.
func Wrap(pc net.PacketConn, link Link) *Conn {
	return wrap(pc, link, rand.Uint64())
}

// wrap is Wrap with a seed that loss and jitter follow from.
func wrap(pc net.PacketConn, link Link, seed uint64) *Conn {
	c := &Conn{
		PacketConn: pc, link: link, wake: make(chan struct{}, 1), done: make(chan struct{}),
		rng: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // an emulation
	}
	c.wg.Go(c.run)
	return c
}

// WriteTo sends a copy of b to addr, later, or never.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	at, ok := c.arrivalLocked(now, len(b))
	if !ok {
		return len(b), nil
	}
	c.waiting = append(c.waiting, packet{at: at, data: append([]byte(nil), b...), to: addr})
	select {
	case c.wake <- struct{}{}:
	default: // it has been woken already
	}
	return len(b), nil
}

// arrivalLocked returns when a packet arrives, false if it never does.
func (c *Conn) arrivalLocked(now time.Time, bytes int) (time.Time, bool) {
	if len(c.waiting) >= maxWaiting {
		return now, false
	}
	if c.free.Before(now) {
		c.free = now
	}
	if c.link.RateBits > 0 {
		if c.free.Sub(now) > queueTime {
			return now, false
		}
		c.free = c.free.Add(time.Duration(8 * float64(bytes) / c.link.RateBits * float64(time.Second)))
	}
	if c.rng.Float64() < c.link.LossChance {
		return now, false // on the way: it has used the link
	}
	at := c.free.Add(c.link.Latency)
	if c.link.Jitter > 0 {
		at = at.Add(time.Duration(c.rng.Int64N(int64(c.link.Jitter))))
	}
	if at.Before(c.last) {
		at = c.last
	}
	c.last = at
	return at, true
}

// Close ends the link; packets under way are lost.
func (c *Conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if first {
		close(c.done)
	}
	err := c.PacketConn.Close()
	c.wg.Wait()
	return err
}

// SetReadBuffer sets the size of the socket's buffer, if it has one. quic-go
// asks for it.
func (c *Conn) SetReadBuffer(bytes int) error {
	if s, ok := c.PacketConn.(interface{ SetReadBuffer(bytes int) error }); ok {
		return s.SetReadBuffer(bytes)
	}
	return nil
}

// SetWriteBuffer is as SetReadBuffer.
func (c *Conn) SetWriteBuffer(bytes int) error {
	if s, ok := c.PacketConn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		return s.SetWriteBuffer(bytes)
	}
	return nil
}

// run sends packets when their time has come.
func (c *Conn) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-c.wake:
		case <-timer.C:
		case <-c.done:
			return
		}
		for {
			p, wait, ok := c.next(time.Now())
			if !ok {
				timer.Reset(wait)
				break
			}
			_, _ = c.PacketConn.WriteTo(p.data, p.to) // a packet that can't be sent is a lost one
		}
	}
}

// next takes the next packet whose time has come, or returns how long to wait
// for it.
func (c *Conn) next(now time.Time) (p packet, wait time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.waiting) == 0 || c.closed:
		return packet{}, time.Hour, false
	case c.waiting[0].at.After(now):
		return packet{}, c.waiting[0].at.Sub(now), false
	}
	p = c.waiting[0]
	c.waiting[0] = packet{} // its bytes are free once sent
	c.waiting = c.waiting[1:]
	return p, 0, true
}
