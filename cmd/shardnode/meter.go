package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shardnode/shardnode/shard/hub"
)

// A meter tells a person how far a transfer is, with its rate and the time
// left: on a terminal in one line that changes, else in a line now and then.
type meter struct {
	notify func(format string, args ...any)
	line   io.Writer // of a terminal; nil: there is none

	file  string
	state hub.State
	began time.Time
	start int64 // bytes that were there when it began
	told  time.Time
	recent
	open bool // a line that changes is on the screen
}

// recent is what came lately, for a rate that follows changes.
type recent struct {
	at    time.Time
	bytes int64
	rate  float64 // bytes a second, smoothed
}

const (
	lineEvery  = 200 * time.Millisecond
	tellEvery  = 5 * time.Second
	rateWindow = time.Second
	rateWeight = 0.3 // of the latest second
)

// report is told of progress.
func (m *meter) report(p hub.Progress) {
	now := time.Now()
	if p.File != m.file || p.State != m.state {
		m.end()
		m.file, m.state, m.began, m.start = p.File, p.State, now, p.DoneBytes
		m.recent = recent{at: now, bytes: p.DoneBytes}
		m.told = now.Add(-tellEvery + time.Second) // the first line comes after a second
		if p.State == hub.Waiting {
			m.notify("%s: another process is fetching it; waiting", p.File)
		} else if p.State == hub.Fetching && p.DoneBytes > 0 {
			m.notify("%s: going on after %s", p.File, mib(p.DoneBytes))
		}
	}
	if since := now.Sub(m.at); since >= rateWindow {
		rate := float64(p.DoneBytes-m.bytes) / since.Seconds()
		if m.rate == 0 {
			m.rate = rate
		}
		m.rate += rateWeight * (rate - m.rate)
		m.at, m.bytes = now, p.DoneBytes
	}
	every := tellEvery
	if m.line != nil {
		every = lineEvery
	}
	if now.Sub(m.told) < every {
		return
	}
	m.told = now
	if m.line == nil {
		m.notify("%s", m.text(p))
		return
	}
	fmt.Fprintf(m.line, "\r%-78s", m.text(p))
	m.open = true
}

// text returns how far the transfer is.
func (m *meter) text(p hub.Progress) string {
	share := 100.0
	if p.TotalBytes > 0 {
		share = 100 * float64(p.DoneBytes) / float64(p.TotalBytes)
	}
	if p.State == hub.Checking {
		return fmt.Sprintf("%s: checking its hash, %.0f%%", p.File, share)
	}
	text := fmt.Sprintf("%s: %.0f%% of %s", p.File, share, mib(p.TotalBytes))
	if m.rate > 0 {
		left := time.Duration(float64(p.TotalBytes-p.DoneBytes) / m.rate * float64(time.Second))
		text += fmt.Sprintf(", %s/s, %v left", mib(int64(m.rate)), left.Round(time.Second))
	}
	return text
}

// end leaves the line that changes.
func (m *meter) end() {
	if m.open {
		fmt.Fprintln(m.line)
		m.open = false
	}
	m.file = ""
}

// fileSize returns the bytes of a file, 0 if that can't be told.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
