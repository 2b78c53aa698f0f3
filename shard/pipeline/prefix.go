package pipeline

import (
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// A prefix is what a driver knows of its session's tokens, so that the stages
// begin with what they still have of them and keep what they compute. It is nil
// in a driver that shares nothing.
type prefix struct {
	chain *hop.Chain
	asked []hop.Hash // of the tokens that the session will begin with
	ready []uint32   // positions of these that each stage has, in order of the route
}

// newPrefix returns the prefix of a session that begins with cfg.Prefix.
func newPrefix(cfg *Config) *prefix {
	if cfg.Secret == (hop.Secret{}) {
		return nil
	}
	p := &prefix{chain: hop.NewChain(cfg.Secret, cfg.Model), ready: make([]uint32, len(cfg.Route))}
	// One token at least is left to compute, for its logits.
	if n := min(len(cfg.Prefix)-1, cfg.MaxTokens); n > 0 {
		p.asked = p.chain.Put(0, cfg.Prefix[:n])
	}
	return p
}

// of returns what stage i is told of the prefix.
func (p *prefix) of(route []Stage, i int) *hop.Prefix {
	if p == nil {
		return nil
	}
	var peers []shard.PeerID
	var spans []shard.Span
	for _, st := range route[:i] {
		peers, spans = append(peers, st.Peer), append(spans, st.Span)
	}
	return &hop.Prefix{Chain: p.asked, Lineage: hop.LineageOf(peers, spans)}
}

// take notes what stage i says that it has.
func (p *prefix) take(conn *hop.Conn, i int, opened *wirepb.Opened) error {
	ready := opened.GetReady()
	if p == nil && ready > 0 || p != nil && uint64(ready) > uint64(len(p.asked)*hop.ChainTokens) {
		return conn.Invalid("the stage says that it has %d positions, which is more than it was told of", ready)
	}
	if p != nil {
		p.ready[i] = ready
	}
	return nil
}

// begin returns how many positions all stages have: where the session begins.
func (p *prefix) begin() shard.Pos {
	if p == nil {
		return 0
	}
	least := p.ready[0]
	for _, n := range p.ready {
		least = min(least, n)
	}
	p.chain.Put(shard.Pos(least), nil) // the rest is to come
	return shard.Pos(least)
}

// put notes tokens that are sent and returns the hashes that go with them.
func (p *prefix) put(pos shard.Pos, tokens []shard.Token) []byte {
	if p == nil {
		return nil
	}
	return hop.HashBlock(p.chain.Put(pos, tokens))
}

// Ready returns the position where the session begins: the stages have computed
// so many tokens of Config.Prefix before, for another session.
func (s *Session) Ready() shard.Pos { return s.ready }
