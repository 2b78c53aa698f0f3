package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// When other programs use a machine. Pausing is quick, for the owner waits;
// coming back is slow, for loading and moving sessions costs the swarm.
const (
	busyShare = 0.25 // of all processors
	idleShare = 0.10
	busyTime  = 8 * time.Second
	idleTime  = time.Minute
)

// An idleWatch decides whether other programs use the machine.
type idleWatch struct {
	at     time.Time
	others time.Duration // processor time of other programs until then

	busy  bool
	since time.Time // since when it looks otherwise; zero: it does not
}

// look takes the processor times and reports whether others use the machine.
func (w *idleWatch) look(now time.Time) bool {
	all, own, ok := cpuTime()
	if !ok {
		return false
	}
	return w.see(now, all-own, runtime.NumCPU())
}

// see is look for given processor time of other programs.
func (w *idleWatch) see(now time.Time, others time.Duration, processors int) bool {
	// Monotonic clocks: setting the clock changes nothing.
	dt, used := now.Sub(w.at), others-w.others
	first := w.at.IsZero()
	w.at, w.others = now, others
	if first || dt <= 0 {
		return w.busy
	}
	share := used.Seconds() / (dt.Seconds() * float64(processors))
	otherwise, long := share >= busyShare, busyTime
	if w.busy {
		otherwise, long = share < idleShare, idleTime
	}
	switch {
	case !otherwise:
		w.since = time.Time{}
	case w.since.IsZero():
		w.since = now
	case now.Sub(w.since) >= long:
		w.busy, w.since = !w.busy, time.Time{}
	}
	return w.busy
}

// jiffy is the unit of /proc/stat: USER_HZ is 100 on all that we run on.
const jiffy = 10 * time.Millisecond

// cpuTime returns the processor time that all programs have used since the
// system started, and that of this one; false where the system does not say so
// in /proc (proc(5)).
func cpuTime() (all, own time.Duration, ok bool) {
	stat, err1 := os.ReadFile("/proc/stat")
	self, err2 := os.ReadFile("/proc/self/stat")
	if err1 != nil || err2 != nil {
		return 0, 0, false
	}
	first, _, _ := strings.Cut(string(stat), "\n")
	// cpu user nice system idle iowait irq softirq steal
	f := strings.Fields(first)
	// The name in parentheses may hold spaces: fields are counted behind it,
	// where utime and stime are the 12th and 13th.
	_, rest, _ := strings.Cut(string(self[max(0, strings.LastIndexByte(string(self), ')')):]), ")")
	g := strings.Fields(rest)
	if len(f) < 9 || f[0] != "cpu" || len(g) < 13 {
		return 0, 0, false
	}
	return jiffies(f[1], f[2], f[3], f[6], f[7], f[8]), jiffies(g[11], g[12]), true
}

func jiffies(texts ...string) time.Duration {
	sum := int64(0)
	for _, t := range texts {
		n, err := strconv.ParseInt(t, 10, 53)
		if err == nil {
			sum += n
		}
	}
	return time.Duration(sum) * jiffy
}
