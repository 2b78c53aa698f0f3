package engine

import (
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
)

func TestASessionIsDueWhenItShouldBeBack(t *testing.T) {
	const ms = time.Millisecond
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		name string
		away []time.Duration // what it took before
		at   time.Duration   // after its last token
		due  bool
	}{
		{"one that is new may come at once", nil, 0, true},
		{"one that came at once", []time.Duration{0, 0}, 0, true},
		{"a little late", []time.Duration{0, 0}, 5 * ms, true},
		{"it seems to be gone", []time.Duration{0, 0}, 10 * ms, false},
		{"far away", []time.Duration{80 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms}, 0, false},
		{"far away, and soon here", []time.Duration{80 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms}, 70 * ms, true},
		{"a person thought in between", []time.Duration{0, time.Minute}, 0, true},
	} {
		var r rhythm
		now := start
		for _, away := range c.away {
			r.answer(now)
			now = now.Add(away)
			r.arrive(now)
		}
		if r.due(now, time.Hour) || r.decodes(now) {
			t.Errorf("%s: it is due while it is here", c.name)
		}
		r.answer(now)
		if got := r.due(now.Add(c.at), 10*ms); got != c.due {
			t.Errorf("%s: due %v ago with away %v: %v, want %v", c.name, c.at, r.away, got, c.due)
		}
		if !r.decodes(now) || r.decodes(now.Add(decodingTime)) {
			t.Errorf("%s: it decodes for another time than %v", c.name, decodingTime)
		}
	}
}

func TestTheLoopWaitsOnlyForCompany(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		name        string
		due, queued int
		want        bool
	}{
		{"nobody", 0, 0, false},
		{"one alone", 1, 0, false},
		{"two", 2, 0, true},
		{"one, and one in the queue", 1, 1, true},
		{"all are here", 0, 5, false},
	} {
		e := &Engine{sessions: map[shard.SessionID]*session{}}
		for range c.due {
			e.sessions[shard.NewSessionID()] = &session{rhythm: rhythm{answered: now}}
		}
		for range c.queued {
			s := &session{waiting: 1}
			e.sessions[shard.NewSessionID()] = s
			e.queue = append(e.queue, &job{session: s})
		}
		if got := e.worthWaiting(now, time.Millisecond); got != c.want {
			t.Errorf("%s: waits %v, want %v", c.name, got, c.want)
		}
		if got := e.decoding(now); got != (c.due > 0) {
			t.Errorf("%s: decoding %v, want %v", c.name, got, c.due > 0)
		}
	}
}
