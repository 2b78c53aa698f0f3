package emulate

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A recorder is a packet connection that keeps what is sent and when.
type recorder struct {
	net.PacketConn // nil: only what is below is called

	mu     sync.Mutex // guards what follows
	sent   []string
	at     []time.Time
	closed bool
}

func (r *recorder) WriteTo(b []byte, _ net.Addr) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent, r.at = append(r.sent, string(b)), append(r.at, time.Now())
	return len(b), nil
}

func (r *recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

// send sends packets of the given length, all at once, and returns how long
// after that each arrived that did. The first bytes of each are its number.
func send(t *testing.T, link Link, seed uint64, packets, bytes int) (r *recorder, after []time.Duration) {
	t.Helper()
	r = &recorder{}
	c := wrap(r, link, seed)
	began := time.Now()
	b := make([]byte, bytes)
	for i := range packets {
		b[0], b[1] = byte(i>>8), byte(i)
		if k, err := c.WriteTo(b, nil); k != len(b) || err != nil {
			t.Fatalf("WriteTo = %d, %v", k, err)
		}
	}
	time.Sleep(time.Minute)
	if err := c.Close(); err != nil || !r.closed {
		t.Fatalf("Close = %v, socket closed: %v", err, r.closed)
	}
	for i, at := range r.at {
		after = append(after, at.Sub(began))
		if i > 0 && r.sent[i] <= r.sent[i-1] {
			t.Fatalf("packet %x arrives after %x", r.sent[i][:2], r.sent[i-1][:2])
		}
	}
	return r, after
}

func TestLatencyIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, after := send(t, Link{Latency: 20 * time.Millisecond}, 1, 100, 1200)
		if len(after) != 100 || after[0] != 20*time.Millisecond || after[99] != 20*time.Millisecond {
			t.Errorf("%d packets arrive, first and last after %v and %v, want 100 after 20 ms", len(after), after[0], after[len(after)-1])
		}
		_, after = send(t, Link{}, 1, 10, 2)
		if len(after) != 10 || after[9] != 0 {
			t.Errorf("the zero link: %v, want ten zeros", after)
		}
	})
}

func TestJitterStaysInBoundsAndOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const latency, jitter = 10 * time.Millisecond, 4 * time.Millisecond
		r := &recorder{}
		c := wrap(r, Link{Latency: latency, Jitter: jitter}, 7)
		var sent []time.Time
		for i := range 1000 {
			sent = append(sent, time.Now())
			_, _ = c.WriteTo([]byte{byte(i >> 8), byte(i)}, nil)
			time.Sleep(5 * time.Millisecond) // longer than the jitter: none waits for another
		}
		time.Sleep(time.Second)
		_ = c.Close()
		if len(r.at) != len(sent) {
			t.Fatalf("%d packets arrive, want %d", len(r.at), len(sent))
		}
		sum := time.Duration(0)
		for i, at := range r.at {
			d := at.Sub(sent[i])
			if d < latency || d >= latency+jitter {
				t.Fatalf("packet %d took %v, want 10 to 14 ms", i, d)
			}
			sum += d
		}
		if mean := sum / 1000; mean < 11800*time.Microsecond || mean > 12200*time.Microsecond {
			t.Errorf("mean %v, want about 12 ms", mean)
		}
	})
}

func TestRateSpacesPacketsAndDropsBeyondItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 1000 bytes take 1 ms. A packet is taken while at most 100 ms wait.
		_, after := send(t, Link{RateBits: 8e6}, 1, 300, 1000)
		if len(after) != 101 {
			t.Fatalf("%d packets arrive, want 101", len(after))
		}
		for i, d := range after {
			if want := time.Duration(i+1) * time.Millisecond; d != want {
				t.Fatalf("packet %d after %v, want %v", i, d, want)
			}
		}
	})
}

func TestWaitingPacketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, after := send(t, Link{Latency: time.Second}, 1, maxWaiting+100, 2)
		if len(after) != maxWaiting {
			t.Errorf("%d packets arrive, want %d", len(after), maxWaiting)
		}
	})
}

func TestLossIsItsShareAndFollowsTheSeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := Link{LossChance: 0.1}
		one, _ := send(t, link, 3, 10000, 2)
		same, _ := send(t, link, 3, 10000, 2)
		other, _ := send(t, link, 4, 10000, 2)
		if lost := 10000 - len(one.sent); lost < 880 || lost > 1120 { // four deviations
			t.Errorf("%d of 10000 packets lost, want about 1000", lost)
		}
		if strings.Join(one.sent, "") != strings.Join(same.sent, "") {
			t.Error("the same seed loses other packets")
		}
		if strings.Join(one.sent, "") == strings.Join(other.sent, "") {
			t.Error("another seed loses the same packets")
		}
	})
}

func TestCloseLosesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		r := &recorder{}
		c := Wrap(r, Link{Latency: time.Second})
		began := time.Now()
		for range 10 {
			_, _ = c.WriteTo([]byte("x"), nil)
		}
		synctest.Wait()
		for range 2 {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 || len(r.sent) != 0 {
			t.Errorf("Close took %v and sent %d packets, want neither", took, len(r.sent))
		}
		if _, err := c.WriteTo([]byte("x"), nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteTo after Close = %v, want %v", err, net.ErrClosed)
		}
	})
}

func TestManySendersAtOnce(t *testing.T) {
	r := &recorder{}
	c := Wrap(r, Link{Jitter: time.Millisecond})
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for range 500 {
				_, _ = c.WriteTo([]byte("hello"), nil)
				runtime.Gosched()
			}
		})
	}
	senders.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]Link{
		"":             {},
		"latency=20ms": {Latency: 20 * time.Millisecond},
		"latency=20ms,rate=100mbit,loss=0.5%,jitter=2ms": {Latency: 20 * time.Millisecond, Jitter: 2 * time.Millisecond, RateBits: 1e8, LossChance: 0.005},
		"rate=1.5Gbit, loss=0.01":                        {RateBits: 1.5e9, LossChance: 0.01},
		"rate=10kbit,loss=0":                             {RateBits: 1e4},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"fast":              "want key=value",
		"speed=1":           "unknown key",
		"latency=20":        "no delay",
		"latency=-1ms":      "no delay",
		"jitter=11s":        "no delay",
		"rate=100":          "no rate",
		"rate=1kbit":        "no rate",
		"rate=nanmbit":      "no rate",
		"rate=infgbit":      "no rate",
		"loss=100%":         "no loss",
		"loss=-1%":          "no loss",
		"loss=nan":          "no loss",
		"latency=1ms,":      "want key=value",
		"loss=1%,loss=2%":   "given twice",
		"latency=1ms,loss=": "no loss",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "for example") {
			t.Errorf("Parse(%q) = %v, want %q and an example", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("latency=20ms,rate=100mbit,loss=0.5%,jitter=2ms")
	f.Add("loss=0x1p-3")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text)
		if err != nil {
			return
		}
		if l.Latency < 0 || l.Latency > maxDelay || l.Jitter < 0 || l.Jitter > maxDelay || !(l.LossChance >= 0 && l.LossChance < 1) ||
			l.RateBits != 0 && !(l.RateBits >= 1e4 && l.RateBits <= 1e12) {
			t.Errorf("Parse(%q) = %+v", text, l)
		}
	})
}
