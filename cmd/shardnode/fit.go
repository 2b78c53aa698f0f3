package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/model"
)

// explainLoad adds to an error of loading what a person can do. c is what was
// asked for.
func (p *place) explainLoad(err error, c placeConfig) error {
	_, big := member.IsTooBig(err)
	switch {
	case !big:
		return err
	case c.memory == 0:
		return hint(err, "use a smaller quantisation, or share the model with other machines: `shardnode serve` there and here")
	case p.file == nil: // a member of a family, whose parent knows more
		return hint(err, "raise --memory, or use more --peers")
	}
	return hint(err, "%s", p.fitHint(c, p.leastMemory(c, max(1, c.peers, len(c.sizes(p.config.Layers))))))
}

// explainFamily adds to an error of planning for n members what a person can do.
func (p *place) explainFamily(err error, c placeConfig, n int) error {
	small, ok := errors.AsType[*scheduler.MemoryError](err)
	switch {
	case !ok:
		return err
	case len(c.sizes(p.config.Layers)) > 0 && c.memory > 0:
		if n = p.leastPeers(c); n > 0 {
			return hint(err, "raise --memory, or leave the sizes to the planner: --peers %d does with as much memory each", n)
		}
		return hint(err, "raise --memory: no number of members with %s each does", mib(c.memory))
	}
	each := cmp.Or(c.memory, freeMemory()/int64(n))
	err = fmt.Errorf("%s with %s of memory each don't hold %s: they are short of %s", count(n, "member"), mib(each), p.name, mib(small.MissingBytes))
	if c.memory == 0 {
		return hint(err, "they share what is free on this machine: use a smaller quantisation, or other machines too (`shardnode serve` there and here)")
	}
	return hint(err, "%s", p.fitHint(c, p.leastMemory(c, n)))
}

// fitHint says how many members with c.memory hold the model, or why no number
// of them does. enough is the memory that would do for the number asked for.
func (p *place) fitHint(c placeConfig, enough int64) string {
	raise := "raise --memory to " + mib(enough)
	if n := p.leastPeers(c); n > 0 {
		return fmt.Sprintf("%s, or use more members: --peers %d does with as much memory each", raise, n)
	}
	m := member.PlanModel(p.name, p.file.Index, p.config, p.kv)
	last := m.HeadBytes + m.LayerBytes[len(m.LayerBytes)-1]
	first := m.EmbedBytes + m.LayerBytes[0]
	what, need := "the head with the last layer", last
	if first > last {
		what, need = "the embedding with the first layer", first
	}
	return fmt.Sprintf("%s; no number of members with %s each does: %s alone takes %s, and --peers %d needs %s each", raise, mib(c.memory), what, mib(need),
		p.config.Layers, mib(p.leastMemory(c, p.config.Layers)))
}

// leastPeers returns the smallest number of members that hold the model with
// c.memory each; 0: no number does.
func (p *place) leastPeers(c placeConfig) int {
	if !p.fits(c, p.config.Layers, c.memory) {
		return 0
	}
	from := max(2, int(p.file.TotalBytes()/max(1, c.memory)))
	for n := from; n < p.config.Layers; n++ {
		if p.fits(c, n, c.memory) {
			return n
		}
	}
	return p.config.Layers
}

// leastMemory returns the least memory, in whole MiB, with which n members
// hold the model.
func (p *place) leastMemory(c placeConfig, n int) int64 {
	lo, hi := int64(0), 2*p.file.TotalBytes()>>20+1
	for !p.fits(c, n, hi<<20) && hi < 1<<30 {
		lo, hi = hi, 2*hi
	}
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; p.fits(c, n, mid<<20) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi << 20
}

// fits reports whether n members with so much memory each hold the model, by
// the plan and by what loading takes.
func (p *place) fits(c placeConfig, n int, memory int64) bool {
	c.split, c.memory = "", memory
	res, _, err := p.familyLayout(c, n)
	if err != nil || len(res.Layout) != n {
		return false
	}
	for _, a := range res.Layout {
		need, err := model.MemoryBytes(p.config, p.file, a.Span)
		if err != nil || need+p.leastKV(a.Span) > memory {
			return false
		}
	}
	return true
}

// leastKV returns the KV cache that a span is planned with.
func (p *place) leastKV(s shard.Span) int64 {
	m := member.PlanModel(p.name, p.file.Index, p.config, p.kv)
	return int64(s.Len()) * m.KVBytesPerTokenLayer * int64(p.planTokens())
}

// planTokens is the KV cache that members of one command are planned with.
func (p *place) planTokens() int { return min(p.config.Context, 2048) }

// sizes returns the layers of each stage that --split names; none if it leaves
// that to the planner.
func (c placeConfig) sizes(layers int) []int {
	if c.split == "" || c.split == "auto" {
		return nil
	}
	sizes, err := scheduler.ParseSplit(c.split, layers)
	if err != nil {
		return nil // stageCount has said so
	}
	return sizes
}
