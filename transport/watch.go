package transport

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
)

// Times of the watch over links that carry sessions; DESIGN.md says why.
const (
	sessionKeepAlive = 150 * time.Millisecond // who dialed asks for a sign of life after so much silence
	sessionIdle      = 5 * time.Second        // QUIC's own bound, should the watch fail

	watchTick     = 50 * time.Millisecond
	watchIdleTick = 250 * time.Millisecond // while no session is open

	unansweredAfter = 100 * time.Millisecond // and a round trip: what was sent should have been answered
	quietAfter      = 300 * time.Millisecond // and a round trip: two keep-alives are missing
	deadAfter       = 200 * time.Millisecond // with deadRefusals, a peer is dead after so much silence
	deadRefusals    = 3
)

// A watch is what is remembered of a link to notice that its peer is silent.
// Only the watch's own goroutine uses it, but for refusals and probing.
type watch struct {
	received, sent uint64        // packets, at the last sign of life
	silent         time.Duration // since then, without the time that we ourselves stood still

	refusals atomic.Int32 // of the peer's machine: nothing listens at its port
	probing  atomic.Bool
}

// tick takes note of dt more and reports how long the peer has been silent and
// whether something that was sent has had no answer.
func (w *watch) tick(s quic.ConnectionStats, dt time.Duration) (silent time.Duration, unanswered bool) {
	if s.PacketsReceived != w.received || w.sent == 0 {
		w.received, w.sent, w.silent = s.PacketsReceived, s.PacketsSent, 0
		w.refusals.Store(0)
		return 0, false
	}
	w.silent += dt
	return w.silent, s.PacketsSent > w.sent+1 // the one is our acknowledgement of what came last
}

// pto is when QUIC sends again what was not acknowledged (RFC 9002, section 6.2.1).
func pto(s quic.ConnectionStats) time.Duration {
	return s.SmoothedRTT + 4*s.MeanDeviation + 25*time.Millisecond
}

// limit returns how long a peer may be silent where ticks are so late. Over a
// long way, keep-alives are rarer, and a lost one is sent again after a PTO, then
// after two.
func (n *Node) limit(s quic.ConnectionStats, late lateness) time.Duration {
	slack := min(3*late.worst, n.cfg.SessionSilence)
	return max(n.cfg.SessionSilence, s.SmoothedRTT+4*pto(s)) + slack
}

// A lateness is how late ticks have been lately. Where ours wait for a
// processor, those of peers on the same machine, or on one as busy, do too.
type lateness struct{ worst time.Duration }

// lateHalf is how long it takes until a late tick counts half.
const lateHalf = 4 * time.Second

// tick notes that dt went by where every was meant to.
func (l *lateness) tick(dt, every time.Duration) {
	l.worst = time.Duration(float64(l.worst) * math.Exp2(-dt.Seconds()/lateHalf.Seconds()))
	l.worst = max(l.worst, dt-every)
}

// sessionLinks returns the links of session protocols, and whether one of them
// has a stream.
func (n *Node) sessionLinks() (out []*link, busy bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, ls := range n.links {
		if slices.Contains(SessionProtocols(), key.proto) {
			out = append(out, ls...)
			busy = busy || slices.ContainsFunc(ls, func(l *link) bool { return l.streams > 0 })
		}
	}
	return out, busy
}

// watchLinks closes links that carry sessions when their peer is silent for
// too long, whoever dialed. It sleeps while there are none.
func (n *Node) watchLinks() {
	var late lateness
	last, every, waited := time.Now(), watchIdleTick, false
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		links, busy := n.sessionLinks()
		now := time.Now()
		// One who is late to look may not have read what had arrived either.
		dt := now.Sub(last)
		if waited {
			late.tick(dt, every)
		}
		for _, l := range links {
			n.look(l, min(dt, every*3/2), late)
		}
		last = now
		var next <-chan time.Time
		if len(links) > 0 {
			if every = watchIdleTick; busy {
				every = watchTick
			}
			timer.Reset(every)
			next = timer.C
		}
		select {
		case <-n.life.Done():
			return
		case <-n.sessions:
			waited = false
		case <-next:
			waited = true
		}
	}
}

// look decides about one link.
func (n *Node) look(l *link, dt time.Duration, late lateness) {
	s := l.q.ConnectionStats()
	silent, unanswered := l.watch.tick(s, dt)
	refused := l.watch.refusals.Load() >= deadRefusals && silent >= max(deadAfter, 2*pto(s))
	if silent >= n.limit(s, late) || refused {
		n.start(func() { _ = l.q.CloseWithError(codeSilent, "nothing was heard") }) // waits until its packet is sent
		return
	}
	way := s.SmoothedRTT * 3 / 2
	if n.probe != nil && (silent >= quietAfter+way || unanswered && silent >= unansweredAfter+way) &&
		l.watch.probing.CompareAndSwap(false, true) {
		if !n.start(func() { n.suspect(l) }) {
			l.watch.probing.Store(false)
		}
	}
}

// suspect asks the machine of a silent peer, until it is heard again or given
// up, whether anything listens at the peer's port.
func (n *Node) suspect(l *link) {
	defer l.watch.probing.Store(false)
	heard := l.q.ConnectionStats().PacketsReceived
	ask, err := n.probe(addrPort(l.q.RemoteAddr()))
	if err != nil {
		return // only a hint is missing
	}
	defer ask.close()
	again := time.NewTicker(watchTick)
	defer again.Stop()
	for l.q.ConnectionStats().PacketsReceived == heard {
		if ask.refused(watchTick * 4 / 5) {
			l.watch.refusals.Add(1)
		}
		select {
		case <-l.q.Context().Done():
			return
		case <-again.C:
		}
	}
}

// errNobody is why a dial is given up before its time.
var errNobody = errors.New("nobody listens there")

// giveUp ends the dialing of a when the machine there says that nothing
// listens at the port, as long as ctx lasts.
func (n *Node) giveUp(ctx context.Context, a netip.AddrPort, stop context.CancelCauseFunc) {
	if n.probe == nil || !sleep(ctx, watchTick) { // most are answered by then
		return
	}
	ask, err := n.probe(a)
	if err != nil {
		return // only a hint is missing
	}
	defer ask.close()
	for refusals := 0; refusals < deadRefusals; {
		if ask.refused(watchTick * 4 / 5) {
			refusals++
		}
		if !sleep(ctx, watchTick) {
			return
		}
	}
	stop(errNobody)
}

// sleep waits for d and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// A portProbe asks a machine whether anything listens at a UDP port. It sends
// from a port of its own, so that whoever wants to forge the answer has to
// guess that port.
type portProbe struct{ c *net.UDPConn }

// probePacket begins no packet that a node reads.
var probePacket = []byte{0x01}

func newPortProbe(a netip.AddrPort) (*portProbe, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(a))
	if err != nil {
		return nil, err
	}
	return &portProbe{c}, nil
}

// refused reports whether the machine says within d that nothing listens. The
// system gives us its ICMP message as the error of a connected socket.
func (p *portProbe) refused(d time.Duration) bool {
	_, err := p.c.Write(probePacket)
	if err == nil {
		_ = p.c.SetReadDeadline(time.Now().Add(d)) // fails only on a closed socket
		_, err = p.c.Read(make([]byte, 1))
	}
	return err != nil && isRefusal(err)
}

func (p *portProbe) close() { _ = p.c.Close() }

// isRefusal knows Windows' own word for it as well.
func isRefusal(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(err.Error(), "forcibly closed")
}
