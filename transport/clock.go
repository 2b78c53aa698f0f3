package transport

import "time"

// A steadyClock tells the time without regard to the clock being set back: a
// sender's times must never repeat. It follows when the clock is set far
// forward, as on a machine that starts without knowing the time.
type steadyClock struct {
	began time.Time
	wall  int64 // what the clock said then, Unix nanoseconds
}

func newSteadyClock() steadyClock {
	now := time.Now()
	return steadyClock{began: now, wall: now.UnixNano()}
}

// now returns the time.
func (c *steadyClock) now() time.Time {
	now := time.Now()
	steady := time.Unix(0, c.wall).Add(now.Sub(c.began)) // by the monotonic clock
	if now.Sub(steady) > clockSkew/2 {
		c.began, c.wall = now, now.UnixNano()
		return now
	}
	return steady
}
