// Package emulate makes a packet connection behave like a worse link: with
// latency, jitter, a rate and loss, on what it sends. `--link` uses it between
// real processes.
//
// Start with [Parse] and [Wrap]. A [Conn] is safe for concurrent use; it runs
// one goroutine, which ends with Close.
package emulate

import (
	"container/heap"
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
	Jitter     time.Duration // each packet takes up to this much longer
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
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		var err error
		switch {
		case !ok:
			err = fmt.Errorf("want key=value")
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
			return Link{}, fmt.Errorf("link %q: %q: %w: for example latency=20ms,rate=100mbit,loss=0.5%%,jitter=2ms", text, part, err)
		}
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

// queueTime bounds the packets that wait for the rate: more are dropped, as a
// router with a queue of that length does.
const queueTime = 100 * time.Millisecond

// A Conn is a packet connection behind an emulated link.
type Conn struct {
	net.PacketConn
	link Link
	wake chan struct{} // capacity 1
	done chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	queue  packets
	sent   time.Time // when the link has sent all that it was given
	serial uint64
	closed bool
}

// Wrap returns pc behind link. Closing it closes pc.
func Wrap(pc net.PacketConn, link Link) *Conn {
	c := &Conn{PacketConn: pc, link: link, wake: make(chan struct{}, 1), done: make(chan struct{})}
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
	if rand.Float64() < c.link.LossChance {
		return len(b), nil
	}
	if c.sent.Before(now) {
		c.sent = now
	}
	if c.link.RateBits > 0 {
		if c.sent.Sub(now) > queueTime {
			return len(b), nil
		}
		c.sent = c.sent.Add(time.Duration(8 * float64(len(b)) / c.link.RateBits * float64(time.Second)))
	}
	at := c.sent.Add(c.link.Latency)
	if c.link.Jitter > 0 {
		at = at.Add(rand.N(c.link.Jitter))
	}
	c.serial++
	heap.Push(&c.queue, packet{at: at, serial: c.serial, data: append([]byte(nil), b...), to: addr})
	select {
	case c.wake <- struct{}{}:
	default: // it has been woken already
	}
	return len(b), nil
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

// run sends packets when their time has come.
func (c *Conn) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.wake:
		case <-timer.C:
		case <-c.done:
			return
		}
		now := time.Now()
		c.mu.Lock()
		for len(c.queue) > 0 && !c.queue[0].at.After(now) {
			p := heap.Pop(&c.queue).(packet)
			c.mu.Unlock()
			_, _ = c.PacketConn.WriteTo(p.data, p.to) // a packet that can't be sent is a lost one
			c.mu.Lock()
		}
		if len(c.queue) > 0 {
			timer.Reset(c.queue[0].at.Sub(now))
		}
		c.mu.Unlock()
	}
}

// packet is one under way.
type packet struct {
	at     time.Time
	serial uint64 // keeps the order of packets of the same time
	data   []byte
	to     net.Addr
}

// packets is a heap, earliest first. It is bounded by queueTime at the link's
// rate, and by what QUIC has in flight without one.
type packets []packet

func (p packets) Len() int { return len(p) }
func (p packets) Less(i, j int) bool {
	if p[i].at.Equal(p[j].at) {
		return p[i].serial < p[j].serial
	}
	return p[i].at.Before(p[j].at)
}
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)   { *p = append(*p, x.(packet)) }
func (p *packets) Pop() any {
	old := *p
	x := old[len(old)-1]
	*p = old[:len(old)-1]
	return x
}
