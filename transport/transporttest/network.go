// Package transporttest puts peers on a simulated network, for tests.
//
// [Network] is a virtual UDP network whose time is that of a testing/synctest
// bubble: latency, jitter, rate with a drop-tail queue, loss, MTU, partitions
// and kills. [NewSwarm] puts admitted nodes of package transport on one. It
// must be called inside the bubble, for certificates follow the bubble's clock.
//
// Everything is safe for concurrent use. A network has one goroutine, which
// delivers packets and ends with [Network.Close].
package transporttest

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// A Link is what stands between an endpoint and the network. The zero Link
// delivers everything at once.
type Link struct {
	Latency     time.Duration // one way, of what the endpoint sends
	Jitter      time.Duration // at most so much more, evenly; may reorder
	BytesPerSec int64         // each way; 0 is no limit
	QueueBytes  int           // what may wait at that rate, the rest is dropped; default 256 KiB
	Loss        float64       // share of sent packets that vanish
	MTU         int           // bytes with IP and UDP headers; larger ones vanish; default 1500
}

// udpHeaderBytes is what IPv4 and UDP add to a packet.
const udpHeaderBytes = 28

// maxEndpointQueue bounds the packets that wait for an endpoint's reader; more
// are dropped.
const maxEndpointQueue = 4096

// A Network delivers packets between its endpoints.
type Network struct {
	wake chan struct{}
	done chan struct{}
	once sync.Once
	wg   sync.WaitGroup

	mu        sync.Mutex // guards what follows, and the links of endpoints
	rng       *rand.Rand
	link      Link
	latency   func(from, to netip.AddrPort) time.Duration // adds to the links'; may be nil
	endpoints map[netip.AddrPort]*Endpoint
	side      map[netip.AddrPort]int // of the partition; absent is 0
	queue     events
	seq       uint64
	delivered int
	dropped   int
}

// NewNetwork returns a network whose endpoints have the given link. Loss and
// jitter follow from seed.
func NewNetwork(seed uint64, link Link) *Network {
	n := &Network{
		wake: make(chan struct{}, 1), done: make(chan struct{}), rng: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // a simulation
		link: link, endpoints: map[netip.AddrPort]*Endpoint{}, side: map[netip.AddrPort]int{},
	}
	n.wg.Go(n.deliver)
	return n
}

// Close stops the delivery of packets and returns when it has ended.
func (n *Network) Close() {
	n.once.Do(func() { close(n.done) })
	n.wg.Wait()
}

// SetLatency adds a one-way latency to each packet by its ends; nil adds none.
// f must not call the network.
func (n *Network) SetLatency(f func(from, to netip.AddrPort) time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency = f
}

// Partition splits the network: only endpoints of the same group reach each
// other. Those in no group form one more. No groups heal it.
func (n *Network) Partition(groups ...[]netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.side)
	for i, g := range groups {
		for _, a := range g {
			n.side[a] = i + 1
		}
	}
}

// Counts returns how many packets were delivered and dropped so far.
func (n *Network) Counts() (delivered, dropped int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.delivered, n.dropped
}

// An event is a packet that arrives somewhere at a time.
type event struct {
	at     time.Time
	seq    uint64 // order of those at the same time
	to     *Endpoint
	from   netip.AddrPort
	data   []byte
	atDoor bool // has passed the receiver's link
}

// events is a heap by time.
type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for package heap.
func (q *events) Push(x any) { *q = append(*q, x.(event)) } //nolint:forcetypeassert // only events are pushed

// Pop is for package heap.
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

func (n *Network) pushLocked(e event) {
	n.seq++
	e.seq = n.seq
	heap.Push(&n.queue, e)
}

// deliver moves packets as their time comes.
func (n *Network) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		n.mu.Lock()
		now := time.Now()
		for len(n.queue) > 0 && !n.queue[0].at.After(now) {
			n.stepLocked(heap.Pop(&n.queue).(event), now) //nolint:forcetypeassert // only events are pushed
		}
		next := time.Hour
		if len(n.queue) > 0 {
			next = n.queue[0].at.Sub(now)
		}
		n.mu.Unlock()
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-n.wake:
		case <-n.done:
			return
		}
	}
}

// stepLocked takes a packet through the receiver's link, then to its reader.
func (n *Network) stepLocked(e event, now time.Time) {
	switch {
	case e.to.dead || n.side[e.from] != n.side[e.to.addr]:
		n.dropped++
	case e.atDoor:
		if e.to.put(packet{e.data, e.from}) {
			n.delivered++
		} else {
			n.dropped++
		}
	default:
		at, ok := e.to.down.admit(now, len(e.data), e.to.link)
		if !ok {
			n.dropped++
			return
		}
		e.at, e.atDoor = at, true
		n.pushLocked(e)
	}
}

// sendLocked takes a packet through the sender's link and to the wire.
func (n *Network) sendLocked(from *Endpoint, to netip.AddrPort, b []byte) {
	now, link := time.Now(), from.link
	mtu := link.MTU
	if mtu == 0 {
		mtu = 1500
	}
	dst := n.endpoints[to]
	if from.dead || dst == nil || dst.dead || len(b)+udpHeaderBytes > mtu || n.side[from.addr] != n.side[to] {
		n.dropped++
		return
	}
	at, ok := from.up.admit(now, len(b), link)
	if !ok || link.Loss > 0 && n.rng.Float64() < link.Loss {
		n.dropped++
		return
	}
	at = at.Add(link.Latency)
	if n.latency != nil {
		at = at.Add(n.latency(from.addr, to))
	}
	if link.Jitter > 0 {
		at = at.Add(time.Duration(n.rng.Int64N(int64(link.Jitter))))
	}
	n.pushLocked(event{at: at, to: dst, from: from.addr, data: append([]byte(nil), b...)})
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// A pipe is one direction of a link with a rate.
type pipe struct{ free time.Time }

// admit returns when the last byte of a packet has passed, false if the queue
// is full.
func (p *pipe) admit(now time.Time, bytes int, link Link) (time.Time, bool) {
	if link.BytesPerSec == 0 {
		return now, true
	}
	if p.free.Before(now) {
		p.free = now
	}
	queue := link.QueueBytes
	if queue == 0 {
		queue = 256 << 10
	}
	rate := float64(link.BytesPerSec)
	if p.free.Sub(now).Seconds()*rate+float64(bytes) > float64(queue) {
		return now, false
	}
	p.free = p.free.Add(time.Duration(float64(bytes+udpHeaderBytes) / rate * float64(time.Second)))
	return p.free, true
}
