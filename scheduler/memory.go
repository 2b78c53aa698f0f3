package scheduler

import (
	"fmt"
)

// A MemoryError says that the peers are too small together for the model.
type MemoryError struct {
	// MissingBytes is what is missing at least.
	MissingBytes int64
	// MorePeers is how many more peers like Biggest would do; 0: no number of
	// them would, for not a single layer fits.
	MorePeers int
	// Biggest is the peer with the most memory.
	Biggest ID
	// Text says all that for people.
	Text string
}

// Error says how much is missing and what would do.
func (e *MemoryError) Error() string { return e.Text }

// tooSmall returns the error for peers that cannot hold the model.
func (pl *planner) tooSmall() error {
	big := 0
	held := 0
	for i, p := range pl.peers {
		held += pl.most[i]
		if p.MemoryBytes > pl.peers[big].MemoryBytes {
			big = i
		}
	}
	p := pl.peers[big]
	e := &MemoryError{Biggest: p.ID}
	layer := int64(0)
	for l := range pl.layers {
		layer = max(layer, pl.prefix[l+1]-pl.prefix[l]+pl.kvTok)
	}
	most := pl.most[big]
	if most == 0 {
		e.MissingBytes = max(1, layer-p.MemoryBytes)
		e.Text = fmt.Sprintf("no peer has room for one layer with its KV cache of %d tokens (%s): the biggest, %s, has %s; give one at least %d bytes more",
			pl.p.ContextTokens, bytesText(layer), p.called(), bytesText(p.MemoryBytes), e.MissingBytes)
		return e
	}
	missing := pl.layers - held
	e.MissingBytes = int64(max(missing, 1)) * layer
	if missing <= 0 { // the ends do not fit, or pins leave holes
		ends := max(pl.v.Model.EmbedBytes, pl.v.Model.HeadBytes)
		e.MissingBytes = max(layer, ends)
	}
	e.MorePeers = max(1, (missing+most-1)/most)
	all := pl.needBytes(0, pl.layers)
	e.Text = fmt.Sprintf("the model with its KV cache of %d tokens takes %s; %s short of %d bytes (%s): %d more like %s would do",
		pl.p.ContextTokens, bytesText(all), peersAre(len(pl.peers)), e.MissingBytes, bytesText(e.MissingBytes), e.MorePeers, p.called())
	if len(pl.pins) > 0 {
		e.Text += "; pinned spans may also stand in the way"
	}
	return e
}

// peersAre begins a sentence about n peers.
func peersAre(n int) string {
	if n == 1 {
		return "the one peer is"
	}
	return fmt.Sprintf("the %d peers are", n)
}

// shownID is how much of a long id people are shown.
const shownID = 8

// called returns what people call p in an error.
func (p Peer) called() string {
	id := string(p.ID)
	if len(id) > 3*shownID {
		id = id[:shownID]
	}
	if p.Name == "" || p.Name == id {
		return id
	}
	return p.Name + " (" + id + ")"
}
