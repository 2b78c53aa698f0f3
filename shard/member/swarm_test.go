package member

import (
	"bufio"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/transport/transporttest"
)

var (
	updateFlag = flag.Bool("update", false, "rewrite the expected output of scenarios")
	peersFlag  = flag.Int("swarm", 50, "members of the largest scenario")
)

// TestSwarmScenarios plays the scenarios in testdata/swarm: lines that begin
// with "> " are commands, what follows is their output. -update rewrites it.
func TestSwarmScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/swarm/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			synctest.Test(t, func(t *testing.T) { got = play(t, string(want)) })
			if got == string(want) {
				return
			}
			if *updateFlag {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s says\n%s\nwant\n%s", file, got, want)
		})
	}
}

// play carries out the commands of a scenario and returns it with their output.
func play(t *testing.T, script string) string {
	var b strings.Builder
	p := &player{t: t}
	lines := bufio.NewScanner(strings.NewReader(script))
	for lines.Scan() {
		line := lines.Text()
		command, is := strings.CutPrefix(line, "> ")
		switch {
		case is:
			fmt.Fprintf(&b, "%s\n%s", line, p.do(strings.Fields(command)))
		case strings.HasPrefix(line, "#") || line == "":
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// A player carries out commands.
type player struct {
	t *testing.T
	w *town
}

// args reads name=value, and returns what is not of that form as well.
func args(fields []string) (named map[string]string, rest []string) {
	named = map[string]string{}
	for _, f := range fields {
		if k, v, ok := strings.Cut(f, "="); ok {
			named[k] = v
		} else {
			rest = append(rest, f)
		}
	}
	return named, rest
}

func (p *player) number(text string, or int) int {
	if text == "" {
		return or
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		p.t.Fatalf("%q: %v", text, err)
	}
	return n
}

func (p *player) time(text string, or time.Duration) time.Duration {
	if text == "" {
		return or
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		p.t.Fatalf("%q: %v", text, err)
	}
	return d
}

func (p *player) home(name string) *home {
	h := p.w.find(name)
	if h == nil {
		p.t.Fatalf("there is no %s", name)
	}
	return h
}

// do carries out a command and returns what it says.
func (p *player) do(fields []string) string {
	named, rest := args(fields[1:])
	name := ""
	if len(rest) > 0 {
		name = rest[0]
	}
	switch fields[0] {
	case "swarm":
		peers := p.number(named["places"], 12)
		if name == "large" {
			peers = *peersFlag
		}
		p.w = newTown(p.t, peers, p.number(named["layers"], 30), transporttest.Link{Latency: p.time(named["latency"], 5*time.Millisecond), Loss: 0.002})
		p.w.fetch = p.time(named["fetch"], p.w.fetch)
	case "join":
		p.join(named, rest)
	case "kill":
		for _, n := range rest {
			p.w.kill(p.home(n))
		}
	case "leave":
		p.w.leave(p.home(name))
	case "restart":
		p.w.restart(p.home(name))
	case "stop":
		p.w.swarm.Endpoints[p.home(name).at].Kill()
	case "wake":
		p.w.swarm.Endpoints[p.home(name).at].Wake()
	case "partition":
		group := p.w.swarm.Endpoints[:0:0]
		for _, n := range rest {
			group = append(group, p.w.swarm.Endpoints[p.home(n).at])
		}
		p.partition(group)
	case "heal":
		p.w.swarm.Net.Partition()
	case "speed":
		p.w.mu.Lock()
		p.home(name).speed = p.time(rest[1], 0)
		p.w.mu.Unlock()
	case "sees":
		p.home(name).member.observe(p.w.swarm.ID(p.home(rest[1]).at), p.time(rest[2], 0))
	case "wait":
		time.Sleep(p.time(name, 0))
	default:
		return p.ask(fields[0], name, named, rest)
	}
	return ""
}

// ask answers a question about the town.
func (p *player) ask(question, name string, named map[string]string, rest []string) string {
	limit := p.time(named["within"], time.Minute)
	switch question {
	case "layout":
		return p.w.layout()
	case "route":
		return p.w.route(p.home(name)) + "\n"
	case "doing":
		return p.home(name).member.Status().Doing + "\n"
	case "covered":
		least := p.number(named["twice"], 1)
		if took, ok := p.w.within(limit, func() bool { return slices.Min(p.w.holders()) >= least }); !ok {
			return fmt.Sprintf("NOT after %v: %v\n%s%s", took, p.w.holders(), p.w.layout(), p.w.doings())
		}
		return fmt.Sprintf("every layer has %d holders or more within %v\n", least, limit)
	case "rest":
		return p.rest(p.time(named["within"], 5*time.Minute))
	case "moved":
		return p.moved(named)
	case "outage":
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		defer func() { p.w.outage = 0 }()
		if most := p.time(named["most"], 0); p.w.outage > most {
			return fmt.Sprintf("layers were without a holder for %v\n", p.w.outage)
		} else if most == 0 {
			return "no layer was without a holder\n"
		}
		return fmt.Sprintf("no layer was without a holder for longer than %s\n", named["most"])
	case "balance":
		return p.balance(named)
	}
	p.t.Fatalf("%s %v: no such command", question, rest)
	return ""
}

// join starts one member, or n of them one right after the other or after a
// time.
func (p *player) join(named map[string]string, names []string) {
	n := len(p.w.byID) - len(p.w.homes)
	if named["n"] != "all" {
		n = p.number(named["n"], 1)
	}
	lo, hi, ranged := strings.Cut(named["memory"], "..")
	least := p.number(lo, p.w.layers)
	most := least
	if ranged {
		most = p.number(hi, least)
	}
	for i := range n {
		name := names[0]
		if n > 1 {
			name = fmt.Sprintf("%s%d", name, i)
		}
		p.w.join(&home{
			name: name, memory: p.w.room(least + i%(most-least+1)), speed: p.time(named["speed"], time.Millisecond), claims: p.time(named["claims"], 0),
		})
		time.Sleep(p.time(named["every"], 25*time.Second)) // one after the other has settled, or what comes is chance
	}
}

func (p *player) partition(group []*transporttest.Endpoint) {
	var side []netip.AddrPort
	for _, e := range group {
		for i, x := range p.w.swarm.Endpoints {
			if x == e {
				side = append(side, transporttest.Addr(i))
			}
		}
	}
	p.w.swarm.Net.Partition(side)
}

// rest waits until nobody has moved for a while.
func (p *player) rest(limit time.Duration) string {
	const quiet = 60 * time.Second
	was, since := "", time.Now()
	_, ok := p.w.within(limit, func() bool {
		if now := p.w.layout(); now != was {
			was, since = now, time.Now()
		}
		return time.Since(since) > quiet
	})
	if !ok {
		return "NO rest:\n" + was
	}
	return "at rest\n"
}

// moved says how many layers were fetched and loaded since the last time.
func (p *player) moved(named map[string]string) string {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	defer func() { p.w.fetched = 0 }()
	if most := named["most"]; most != "" {
		if p.w.fetched > p.number(most, 0) {
			return fmt.Sprintf("%d layers were fetched\n", p.w.fetched)
		}
		return fmt.Sprintf("%s layers were fetched at most\n", most)
	}
	return fmt.Sprintf("%d layers were fetched\n", p.w.fetched)
}

// balance says whether the slowest stage of a route is about as fast as can be
// hoped for.
func (p *player) balance(named map[string]string) string {
	var first *home
	rate := 0.0 // layers a ms of all members
	stages := 0
	for _, h := range p.w.homes {
		if h.member == nil {
			continue
		}
		if first == nil {
			first = h
		}
		rate += 1 / msOf(h.speed)
	}
	route, err := first.member.route(first.member.Status().Model, 256, 0, nil)
	if err != nil {
		return err.Error() + "\n"
	}
	slowest := 0.0
	for _, s := range route.Stages {
		stages++
		for _, h := range p.w.homes {
			if p.w.swarm.ID(h.at) == s.Peer {
				slowest = max(slowest, float64(s.Span.Len())*msOf(h.speed))
			}
		}
	}
	best := max(float64(p.w.layers)/rate, float64(p.w.layers)/float64(stages)*0.5)
	if most := p.number(named["percent"], 30); slowest > best*(1+float64(most)/100)+1 {
		return fmt.Sprintf("the slowest of %d stages takes %.1f ms, %.1f ms would be possible\n%s", stages, slowest, best, p.w.layout())
	}
	return "the stages are even\n"
}
