package member

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/pipeline"
)

// left is a route of stages "name lo hi", of which those with a star are lost.
func left(stages ...string) pipeline.Broken {
	b := pipeline.Broken{Tokens: 100}
	for _, text := range stages {
		var name string
		var lo, hi int
		lost := strings.HasPrefix(text, "*")
		if _, err := fmt.Sscan(strings.TrimPrefix(text, "*"), &name, &lo, &hi); err != nil {
			panic(err)
		}
		b.Route = append(b.Route, pipeline.Stage{Neighbour: hop.Neighbour{Peer: peerOf(name), Name: name}, Span: span(lo, hi)})
		b.Kept = append(b.Kept, !lost)
		if lost {
			b.Lost = append(b.Lost, peerOf(name))
		}
	}
	return b
}

func TestBridge(t *testing.T) {
	for _, c := range []struct {
		name    string
		members []one
		left    pipeline.Broken
		want    string // stages, or the error
	}{
		{
			"one for one",
			[]one{{name: "a", memory: big, holds: span(0, 6)}, {name: "b", memory: big, holds: span(6, 12)}, {name: "c", memory: big, holds: span(4, 12)}},
			left("a 0 6", "*b 6 12"), "a 0-6, c 6-12",
		},
		{
			"two for one",
			[]one{{name: "a", memory: big, holds: span(0, 4)}, {name: "c", memory: big, holds: span(4, 6)}, {name: "d", memory: big, holds: span(6, 8)}, {name: "e", memory: big, holds: span(8, 12)}},
			left("a 0 4", "*b 4 8", "e 8 12"), "a 0-4, c 4-6, d 6-8, e 8-12",
		},
		{
			"one for two",
			[]one{{name: "a", memory: big, holds: span(0, 4)}, {name: "x", memory: big, holds: span(4, 12)}},
			left("a 0 4", "*b 4 8", "*c 8 12"), "a 0-4, x 4-12",
		},
		{
			"a survivor takes over",
			[]one{{name: "a", memory: big, holds: all()}, {name: "c", memory: big, holds: span(8, 12)}},
			left("a 0 4", "*b 4 8", "c 8 12"), "a 0-4, a 4-8, c 8-12",
		},
		{
			"first and last",
			[]one{{name: "b", memory: big, holds: span(4, 8)}, {name: "x", memory: big, holds: all()}},
			left("*a 0 4", "b 4 8", "*c 8 12"), "x 0-4, b 4-8, x 8-12",
		},
		{"all", []one{{name: "x", memory: big, holds: all()}}, left("*a 0 6", "*b 6 12"), "x 0-12"},
		{
			"nobody",
			[]one{{name: "a", memory: big, holds: span(0, 6)}, {name: "c", memory: big, holds: span(8, 12)}},
			left("a 0 6", "*b 6 12"), "waiting for layers 6–12",
		},
		{
			"only the lost one",
			[]one{{name: "a", memory: big, holds: span(0, 6)}, {name: "b", memory: big, holds: span(6, 12)}},
			left("a 0 6", "*b 6 12"), "waiting for layers 6–12",
		},
		{
			"who leaves takes nothing",
			[]one{{name: "a", memory: big, holds: span(0, 6)}, {name: "c", memory: big, holds: all(), state: gossip.Draining}},
			left("a 0 6", "*b 6 12"), "waiting for layers 6–12",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			stages, err := makeView("z", c.members...).bridge(c.left, c.left.Lost)
			var got []string
			for _, st := range stages {
				got = append(got, fmt.Sprintf("%s %d-%d", st.Name, st.Span.Start, st.Span.End))
			}
			text := strings.Join(got, ", ")
			if err != nil {
				text = err.Error()
			}
			if !strings.HasPrefix(text, c.want) {
				t.Errorf("got %q, want %q", text, c.want)
			}
		})
	}
}

func TestLossesOfAMomentAreToldInOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		m := &Member{cfg: Config{Notify: func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }}}
		nuc := hop.Neighbour{Peer: peerOf("n"), Name: "nuc"}
		desk := pipeline.Stage{Neighbour: hop.Neighbour{Peer: peerOf("d"), Name: "desk"}, Span: span(10, 11)}
		r := pipeline.Recovery{
			Lost: pipeline.Stage{Neighbour: nuc, Span: span(10, 12)}, Pause: 500 * time.Millisecond, ReplayedTokens: 12,
			// It is back with a part, so that it is not avoided.
			Replacement: []pipeline.Stage{desk, {Neighbour: nuc, Span: span(11, 12)}},
		}
		m.healed(r)
		r.Pause, r.ReplayedTokens = 800*time.Millisecond, 200
		m.healed(r)
		m.healed(r)
		r.Planned, r.Replacement = true, r.Replacement[:1]
		m.healed(r)
		time.Sleep(time.Second)
		synctest.Wait()
		slices.Sort(told)
		want := []string{
			"nuc leaves; layers 10–12 of 1 session moved to desk in 0.8 s (200 tokens replayed)",
			"nuc lost; layers 10–12 of 3 sessions moved to desk and nuc in 0.8 s (412 tokens replayed)",
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}
