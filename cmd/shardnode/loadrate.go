package main

import (
	"sync"
	"time"
)

// loadRates are how fast the layers of members arrive. A member tells what
// percent is there; the rate follows from two looks.
type loadRates struct {
	mu   sync.Mutex // guards what follows
	seen map[string]loadSeen
}

// A loadSeen is what was seen of a member that loads.
type loadSeen struct {
	planned [2]int
	bytes   int64
	at      time.Time
	rate    float64
}

// rateGain is the weight of a new sample of a rate: adverts come every second
// or two, and a rate that jumps can't be read.
const rateGain = 0.4

// of returns the bytes a second of a member, 0 when it does not load.
func (l *loadRates) of(peer string, planned [2]int, bytes int64, now time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes == 0 {
		delete(l.seen, peer)
		return 0
	}
	if l.seen == nil {
		l.seen = map[string]loadSeen{}
	}
	was, ok := l.seen[peer]
	switch {
	case !ok || was.planned != planned || bytes < was.bytes:
		l.seen[peer] = loadSeen{planned: planned, bytes: bytes, at: now}
		return 0
	case bytes == was.bytes:
		return was.rate // nothing new was heard
	}
	rate := float64(bytes-was.bytes) / max(now.Sub(was.at).Seconds(), 1e-3)
	if was.rate > 0 {
		rate = was.rate + rateGain*(rate-was.rate)
	}
	l.seen[peer] = loadSeen{planned: planned, bytes: bytes, at: now, rate: rate}
	return rate
}
