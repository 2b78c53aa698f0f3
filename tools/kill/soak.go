//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// A use is what a member takes of its machine.
type use struct {
	Goroutines int   `json:"goroutines"`
	HeapBytes  int64 `json:"heap_bytes"` // live, after a collection
	Files      int   `json:"files"`      // open descriptors
}

// spared is the member, beside the driver, that is stopped only, so that what it
// takes can be compared.
const spared = 1

// soak lets members go in all ways, one after the other, until the time is
// over, and compares what the driver and another that stays take of their
// machine at the end of the first quarter and at the very end, each time when
// nothing is under way.
func soak(ctx context.Context, cfg config, s *swarm, qs []question, rng *rand.Rand, t *tally) (bool, error) {
	began := time.Now()
	var first, last []use
	ways := []way{byKill, byStop, byDrain}
	for time.Since(began) < cfg.soak {
		if err := disturb(ctx, cfg, s, qs, rng, t, ways[rng.IntN(len(ways))]); err != nil {
			return false, fmt.Errorf("seed %d: %w", cfg.seed, err)
		}
		if first == nil && time.Since(began) > cfg.soak/4 {
			var err error
			if first, err = s.rest(ctx); err != nil {
				return false, err
			}
		}
	}
	last, err := s.rest(ctx)
	if err != nil {
		return false, err
	}
	ok := t.report(os.Stdout)
	for i := range first {
		for _, c := range []struct {
			what        string
			first, last int64
			slack       int64
		}{
			{"goroutines", int64(first[i].Goroutines), int64(last[i].Goroutines), 10},
			{"heap bytes", first[i].HeapBytes, last[i].HeapBytes, 8 << 20},
			{"descriptors", int64(first[i].Files), int64(last[i].Files), 5},
		} {
			verdict := "flat"
			if c.last > c.first*11/10+c.slack {
				verdict, ok = "GROWS", false
			}
			fmt.Printf("%s's %s: %d after a quarter of the time, %d at the end: %s\n", s.members[i].name, c.what, c.first, c.last, verdict)
		}
	}
	return ok, nil
}

// restTime is how long the swarm does nothing before it is measured: unused
// connections close after a minute.
const restTime = 75 * time.Second

// rest waits until the swarm is whole and idle, and measures those that stay.
func (s *swarm) rest(ctx context.Context) ([]use, error) {
	if err := s.waitWhole(ctx); err != nil {
		return nil, err
	}
	select {
	case <-time.After(restTime):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	driver, err := s.use(ctx, 0)
	if err != nil {
		return nil, err
	}
	other, err := s.use(ctx, spared)
	return []use{driver, other}, err
}

// use asks a member what it takes.
func (s *swarm) use(ctx context.Context, i int) (use, error) {
	path := filepath.Join(s.members[i].home, "control.sock")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://member/use", nil)
	if err != nil {
		return use{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return use{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return use{}, err
	}
	var u use
	if err := json.Unmarshal(b, &u); err != nil || u.Goroutines == 0 {
		return use{}, fmt.Errorf("%s answers %.100q", s.members[i].name, b)
	}
	return u, nil
}
