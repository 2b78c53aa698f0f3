package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shardnode/shardnode/shard/web"
)

// defaultColumns is the width of what is no terminal.
const defaultColumns = 100

// leastColumns is the width below which lines are cut.
const leastColumns = 80

// A topView is what a person has chosen to see.
type topView struct {
	width, height int // of the terminal; height 0: no bound
	colour        bool
	filter        string
	scroll        int // events that are passed over
	paused        bool
	typing        bool // the filter
	asking        bool // whether to drain
	drain         bool // the answer was yes
	help          bool
	note          string
}

// Colours (ECMA-48, SGR).
const (
	plain  = "\x1b[0m"
	bold   = "\x1b[1m"
	faint  = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[36m"
)

// paint gives text a colour where there are colours.
func (v *topView) paint(colour, text string) string {
	if !v.colour || text == "" {
		return text
	}
	return colour + text + plain
}

// frame draws p, a line an entry.
func (v *topView) frame(p *web.Picture) []string {
	width := max(v.width, leastColumns)
	var out []string
	add := func(format string, args ...any) { out = append(out, cut(fmt.Sprintf(format, args...), width)) }
	s := &p.Swarm
	v.heading(s, add)
	v.members(s, width, add)
	v.links(s, add)
	v.sessions(s, add)
	head := len(out)
	foot := v.foot()
	room := 12
	if v.height > 0 {
		room = v.height - head - len(foot) - 1
	}
	v.events(p.Log, room, add)
	if v.height > 0 {
		for len(out) < v.height-len(foot) {
			out = append(out, "")
		}
		out = out[:max(0, v.height-len(foot))]
	}
	return append(out, foot...)
}

func (v *topView) heading(s *web.Swarm, add func(string, ...any)) {
	model := "no model yet"
	state := v.paint(yellow, s.Doing)
	if m := s.Model; m != nil {
		model = fmt.Sprintf("%s, %s, %s", m.Name, count(m.Layers, "layer"), mib(m.Bytes))
		state = v.paint(green, fmt.Sprintf("answers, %s of the rarest layer", count(m.MinHolders, "holder")))
		if m.MinHolders == 0 {
			state = v.paint(red, "some layers have no holder: no answers")
		}
	}
	add("%s", v.paint(bold, model))
	add("%s", state)
	add("%s: %.1f tok/s now, %s, %d answered in %v; %s", "this member", s.Totals.TokS, count(len(s.Sessions), "session"), s.Totals.Answers,
		time.Duration(s.Totals.UptimeMS*1e6).Round(time.Second), s.Doing)
	add("")
}

// members draws a bar of layers for each member.
func (v *topView) members(s *web.Swarm, width int, add func(string, ...any)) {
	layers := 0
	if s.Model != nil {
		layers = s.Model.Layers
	}
	const name, state, facts = 14, 9, 31
	bar := max(20, min(width-name-state-facts-4, 80))
	add("%s", v.paint(faint, fmt.Sprintf("%-*s %-*s %-*s %8s %6s %6s %7s", name, "MEMBER", state, "STATE", bar, "LAYERS", "A LAYER", "MEM", "RTT", "SESSION")))
	for i := range s.Peers {
		p := &s.Peers[i]
		if !v.shows(p.Name + " " + p.State) {
			continue
		}
		called := p.Name
		if p.Peer == s.Self {
			called = "*" + called
		}
		colour := map[string]string{"serving": green, "joining": blue, "draining": yellow, "lost": red}[p.State]
		used := ""
		if p.MemoryBytes > 0 && p.Alive {
			used = fmt.Sprintf("%d %%", 100*(p.MemoryBytes-p.FreeBytes)/p.MemoryBytes)
		}
		add("%s %s %s %8s %6s %6s %7s", pad(called, name), v.paint(colour, pad(p.State, state)), v.layerBar(p, layers, bar),
			timeText(p.DecodeMS, p.Alive), used, timeText(p.RTTms, p.Alive), nonZero(p.Sessions))
		if p.Alive && p.WantBytes > 0 {
			rate := ""
			if p.BytesPerSec > 0 {
				rate = fmt.Sprintf(", %s/s, %v left", mib(int64(p.BytesPerSec)), time.Duration(float64(p.WantBytes-p.DoneBytes)/p.BytesPerSec*1e9).Round(time.Second))
			}
			add("%s loads layers [%d,%d): %d %%, %s of %s%s", strings.Repeat(" ", name), p.Planned[0], p.Planned[1], p.Ready, mib(p.DoneBytes), mib(p.WantBytes), rate)
		}
	}
}

// layerBar draws which layers p holds and which it loads.
func (v *topView) layerBar(p *web.Peer, layers, width int) string {
	if layers == 0 {
		return strings.Repeat("·", width)
	}
	held := '█'
	switch {
	case !p.Alive:
		held = '╳'
	case p.State == "draining":
		held = '▓'
	}
	var b strings.Builder
	arrived := p.Planned[0] + (p.Planned[1]-p.Planned[0])*p.Ready/100
	for x := range width {
		switch l := x * layers / width; {
		case l >= p.Span[0] && l < p.Span[1]:
			b.WriteRune(held)
		case p.Alive && l >= p.Planned[0] && l < arrived:
			b.WriteRune('▒')
		case p.Alive && l >= p.Planned[0] && l < p.Planned[1]:
			b.WriteRune('░')
		default:
			b.WriteRune('·')
		}
	}
	return b.String()
}

func (v *topView) links(s *web.Swarm, add func(string, ...any)) {
	names := map[string]string{}
	for _, p := range s.Peers {
		names[p.Peer] = p.Name
	}
	shown := false
	for _, l := range s.Links {
		if l.From == l.To || l.Steps == 0 || !v.shows(names[l.From]+" "+names[l.To]) {
			continue
		}
		if !shown {
			add("")
			add("%s", v.paint(faint, fmt.Sprintf("%-31s %9s %9s %10s %10s  %s", "LINK, AS OF THE LAST SESSION", "HOP", "99 OF 100", "A STEP", "RATE", "CODEC")))
			shown = true
		}
		add("%s %6.2f ms %6.2f ms %8d B %6.0f KB/s  %s", pad(names[l.From]+" → "+names[l.To], 31), l.P50ms, l.P99ms, l.Bytes/l.Steps, l.BytesPS/1e3, l.Codec)
	}
}

func (v *topView) sessions(s *web.Swarm, add func(string, ...any)) {
	if len(s.Sessions) == 0 {
		return
	}
	add("")
	add("%s", v.paint(faint, fmt.Sprintf("%-10s %9s %13s %8s  %s", "SESSION", "TOK/S", "POSITIONS", "AGE", "ROUTE")))
	for _, x := range s.Sessions {
		var route []string
		for _, st := range x.Route {
			route = append(route, fmt.Sprintf("%s [%d,%d)", st.Name, st.Start, st.End))
		}
		text := strings.Join(route, " → ")
		if x.Paused != "" {
			text = v.paint(yellow, x.Paused)
		}
		add("%-10.8s %9.1f %6d/%6d %6.1f s  %s", x.ID, x.TokS, x.Pos, x.Room, x.AgeMS/1000, text)
	}
}

// events draws the newest events that room has lines for, the newest last.
func (v *topView) events(log []web.Event, room int, add func(string, ...any)) {
	var shown []web.Event
	for _, e := range log {
		if v.shows(e.Text + " " + e.Kind) {
			shown = append(shown, e)
		}
	}
	v.scroll = min(v.scroll, max(0, len(shown)-1))
	shown = shown[:len(shown)-v.scroll]
	if room < 2 || len(shown) == 0 {
		return
	}
	add("")
	for _, e := range shown[max(0, len(shown)-room+1):] {
		colour := map[string]string{web.KindHeal: green, web.KindPlan: blue, web.KindPeer: bold}[e.Kind]
		add("%s %s", v.paint(faint, time.UnixMilli(e.At).Format(time.TimeOnly)), v.paint(colour, e.Text))
	}
}

// foot is what keys do, or what is asked.
func (v *topView) foot() []string {
	if v.height == 0 {
		return nil
	}
	text := "q end  d drain  f filter  p pause  j k events  ? help"
	switch {
	case v.note != "":
		text = v.note
	case v.asking:
		text = "let this member finish its sessions and leave? y for yes"
	case v.typing:
		text = "show only: " + v.filter + "▏ (Enter keeps it, Esc shows all)"
	case v.help:
		text = "█ held  ▒ arrived  ░ to come  ▓ draining  ╳ lost  * this member; filter: " + v.filter
	case v.paused:
		text = "stopped; p goes on"
	case v.filter != "":
		text = "only: " + v.filter + "   f changes it"
	}
	return []string{v.paint(faint, cut(text, max(v.width, leastColumns)))}
}

// shows reports whether the filter lets text through.
func (v *topView) shows(text string) bool {
	return v.filter == "" || strings.Contains(strings.ToLower(text), strings.ToLower(v.filter))
}

// timeText shows milliseconds in 8 columns.
func timeText(ms float64, alive bool) string {
	switch {
	case ms <= 0 || !alive:
		return ""
	case ms < 10:
		return fmt.Sprintf("%.2fms", ms)
	}
	return fmt.Sprintf("%.0fms", ms)
}

func nonZero(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// pad makes text as wide as width, in characters.
func pad(text string, width int) string {
	text = cut(text, width)
	return text + strings.Repeat(" ", width-utf8.RuneCountInString(text))
}

// cut shortens a line to width characters; escape sequences take none.
func cut(text string, width int) string {
	n, inEscape := 0, false
	for i, r := range text {
		switch {
		case r == '\x1b':
			inEscape = true
		case inEscape:
			inEscape = r != 'm'
		default:
			if n++; n > width {
				return text[:i] + strings.Repeat(plain, strings.Count(text[:i], "\x1b")%2)
			}
		}
	}
	return text
}
