package web

import (
	"fmt"
	"slices"
)

// differences returns what happened between two looks at the swarm, for
// people. was is nil at the first.
func differences(was, now *Swarm) []Event {
	var out []Event
	say := func(kind, format string, args ...any) {
		out = append(out, Event{Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	if was == nil {
		return nil // all of it was there before anybody looked
	}
	before := map[string]*Peer{}
	for i := range was.Peers {
		before[was.Peers[i].Peer] = &was.Peers[i]
	}
	for i := range now.Peers {
		p := &now.Peers[i]
		old := before[p.Peer]
		if p.Peer == now.Self {
			continue // it tells of itself
		}
		if text := changeOf(old, p); text != "" {
			say(KindPeer, "%s %s", p.Name, text)
		}
		if old != nil && p.Alive && p.Planned != old.Planned && p.Planned != p.Span && p.Planned != [2]int{} {
			say(KindPlan, "%s is to hold %s", p.Name, layersText(p.Planned))
		}
	}
	if text := coverage(was.Model, now.Model); text != "" {
		say(KindNotice, "%s", text)
	}
	return out
}

// changeOf says what became of a peer; "" if nothing did.
func changeOf(old, p *Peer) string {
	switch {
	case old == nil && !p.Alive:
		return ""
	case old == nil || p.Alive && !old.Alive:
		return "is here"
	case !p.Alive && old.Alive:
		return map[string]string{"left": "has left"}[p.State] + map[bool]string{true: "is lost"}[p.State != "left"]
	case p.State == "draining" && old.State != "draining":
		return "finishes its sessions and leaves"
	case p.Alive && p.Span != old.Span && p.Span[1] > p.Span[0]:
		return "serves " + layersText(p.Span)
	case p.Alive && p.Span != old.Span:
		return "holds no layers any more"
	}
	return ""
}

// coverage says when the model comes to have a holder for every layer, or
// ceases to.
func coverage(was, now *Model) string {
	if now == nil {
		return ""
	}
	had := was != nil && was.MinHolders > 0
	switch {
	case now.MinHolders > 0 && !had:
		return "every layer of " + now.Name + " has a holder: answers can begin"
	case now.MinHolders == 0 && had:
		lo := slices.Index(now.Holders, 0)
		if lo < 0 {
			return ""
		}
		hi := lo
		for hi < len(now.Holders) && now.Holders[hi] == 0 {
			hi++
		}
		return layersText([2]int{lo, hi}) + " of " + now.Name + " have no holder: answers wait until one comes"
	}
	return ""
}

// layersText names layers as the rest of the program does.
func layersText(span [2]int) string { return fmt.Sprintf("layers [%d,%d)", span[0], span[1]) }
