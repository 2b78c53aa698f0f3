package main

import (
	"strings"
	"testing"
	"time"
)

func TestASchedule(t *testing.T) {
	for _, c := range []struct {
		schedule string
		in, out  string // times of the day
	}{
		{"22:00-07:00", "22:00 23:59 00:00 06:59", "07:00 12:00 21:59"},
		{"09:00-17:30", "09:00 17:29", "08:59 17:30 00:00"},
		{"12:00-13:00, 22:00-24:00", "12:59 23:59", "00:00 13:00 21:59"},
	} {
		var s scheduleFlag
		if err := s.Set(c.schedule); err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]bool{c.in: true, c.out: false} {
			for _, clock := range strings.Fields(text) {
				at, err := time.ParseInLocation("15:04:05", clock+":30", time.Local)
				if err != nil {
					t.Fatal(err)
				}
				if got := s.has(at); got != want {
					t.Errorf("%s at %s: %v, want %v", c.schedule, clock, got, want)
				}
			}
		}
	}
	for _, text := range []string{"", "22:00", "22:00-22:00", "25:00-07:00", "22-7", "22:00-07:00,", "now"} {
		if err := new(scheduleFlag).Set(text); err == nil {
			t.Errorf("schedule %q is taken", text)
		}
	}
}

func TestAnOwnersWorkPausesAfterSecondsAndEndsAfterAMinute(t *testing.T) {
	var w idleWatch
	now, others := time.Now(), time.Hour
	after := func(seconds int, share float64) bool {
		busy := false
		for range seconds {
			now = now.Add(time.Second)
			others += time.Duration(share * 4 * float64(time.Second))
			busy = w.see(now, others, 4)
		}
		return busy
	}
	for i, c := range []struct {
		seconds int
		share   float64
		busy    bool
	}{
		{60, 0.05, false},
		{5, 0.9, false}, // a program starts
		{3, 0.02, false},
		{5, 0.9, false},
		{5, 0.5, true},
		{50, 0.02, true},
		{3, 0.15, true}, // neither busy nor idle: it stays as it is
		{55, 0.02, true},
		{10, 0.02, false},
	} {
		if busy := after(c.seconds, c.share); busy != c.busy {
			t.Errorf("step %d: busy is %v, want %v", i, busy, c.busy)
		}
	}
}

func TestProcessorTimesAreRead(t *testing.T) {
	all, own, ok := cpuTime()
	if !ok {
		t.Skip("this system has no /proc")
	}
	if own <= 0 && all <= 0 || own > all {
		t.Errorf("processor time of all programs %v, of this one %v", all, own)
	}
}

func TestUploadRates(t *testing.T) {
	var u uploadFlag
	if err := u.Set("20mbit"); err != nil || u.bytesPerSec() != 2.5e6 {
		t.Errorf("20mbit is %v bytes a second, %v", u.bytesPerSec(), err)
	}
	for _, text := range []string{"", "20", "1kbit", "fast", "20mbit,loss=1%"} {
		if err := new(uploadFlag).Set(text); err == nil {
			t.Errorf("rate %q is taken", text)
		}
	}
}
