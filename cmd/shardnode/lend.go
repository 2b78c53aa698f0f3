package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/transport/emulate"
)

// lendFlags are for people who lend a machine that they also use.
type lendFlags struct {
	schedule scheduleFlag
	whenIdle bool
	upload   uploadFlag
}

func (l *lendFlags) add(f *pflag.FlagSet) {
	f.Var(&l.schedule, "schedule", "hold layers only at these times of the day, for example 22:00-07:00 or 12:00-13:00,22:00-07:00 (default: always)")
	f.BoolVar(&l.whenIdle, "when-idle", false, "hold layers only while other programs leave this machine alone (Linux)")
	f.Var(&l.upload, "upload", "how much of the model to send to other members, at most: 20mbit a second, for example (default: no bound)")
}

// check reports what can't be had here.
func (l *lendFlags) check() error {
	if _, _, ok := cpuTime(); l.whenIdle && !ok {
		return usage("--when-idle: this system does not tell how busy it is; --schedule gives fixed hours instead")
	}
	return nil
}

// lendEvery is how often it is asked whether the machine is to be lent.
const lendEvery = time.Second

// lend pauses and resumes the member as the owner wishes, until ctx ends.
func (s *server) lend(ctx context.Context) {
	f := &s.flags.lendFlags
	if s.flags.client || f.schedule.empty() && !f.whenIdle {
		return
	}
	var busy idleWatch
	was := ""
	look := func(now time.Time) {
		why := ""
		if f.whenIdle && busy.look(now) {
			why = "other programs use this machine (--when-idle)"
		}
		if !f.schedule.has(now) {
			why = fmt.Sprintf("it is %s, and --schedule says %v", now.Format("15:04"), &f.schedule)
		}
		switch {
		case why == "" && was != "":
			s.notify("this machine is lent again")
			s.member.Resume()
		case why != "" && was == "":
			s.member.Pause(why)
		}
		was = why
	}
	look(time.Now())
	tick := time.NewTicker(lendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			look(time.Now()) // not the ticker's time: the clock may have been set
		}
	}
}

// uploadFlag is a number of bytes a second, written as bits.
type uploadFlag struct{ bitsPerSec float64 }

// minUpload lets each of several clients see something coming.
const minUpload = 256e3

// String returns the flag's value.
func (u *uploadFlag) String() string {
	if u.bitsPerSec == 0 {
		return ""
	}
	return fmt.Sprintf("%gkbit", u.bitsPerSec/1e3)
}

// Type names the flag's kind in help.
func (u *uploadFlag) Type() string { return "rate" }

// Set reads a rate.
func (u *uploadFlag) Set(text string) error {
	l, err := emulate.Parse("rate=" + text)
	if err != nil || strings.Contains(text, ",") || l.RateBits < minUpload {
		return fmt.Errorf("%q is no rate: want 256kbit or more, for example 20mbit or 1gbit (a second)", text)
	}
	u.bitsPerSec = l.RateBits
	return nil
}

// bytesPerSec returns the bound, 0 if there is none.
func (u *uploadFlag) bytesPerSec() float64 { return u.bitsPerSec / 8 }
