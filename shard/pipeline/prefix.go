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
	asked []hop.Hash // of the tokens that new stages are to begin with
}

// newPrefix returns the prefix of a session that begins with cfg.Prefix.
func newPrefix(cfg *Config) *prefix {
	if cfg.Secret == (hop.Secret{}) {
		return nil
	}
	p := &prefix{chain: hop.NewChain(cfg.Secret, cfg.Model)}
	// One token at least is left to compute, for its logits.
	if n := min(len(cfg.Prefix)-1, cfg.MaxTokens); n > 0 {
		p.asked = p.chain.Put(0, cfg.Prefix[:n])
	}
	return p
}

// of returns what stage i is told of the prefix.
func (p *prefix) of(legs []*leg, i int) *hop.Prefix {
	if p == nil {
		return nil
	}
	return &hop.Prefix{Chain: p.asked, Lineage: *p.lineage(legs, i)}
}

// lineage returns the lineage of stage i, nil in a driver that shares nothing.
func (p *prefix) lineage(legs []*leg, i int) *hop.Hash {
	if p == nil {
		return nil
	}
	var peers []shard.PeerID
	var spans []shard.Span
	for _, l := range legs[:i] {
		peers, spans = append(peers, l.Peer), append(spans, l.Span)
	}
	out := hop.LineageOf(peers, spans)
	return &out
}

// takeReady notes what the stage l says that it has of the prefix it was told of.
func takeReady(l *leg, asked *hop.Prefix, opened *wirepb.Opened) error {
	ready, most := opened.GetReady(), 0
	if asked != nil {
		most = len(asked.Chain) * hop.ChainTokens
	}
	if uint64(ready) > uint64(most) {
		return l.conn.Invalid("the stage says that it has %d positions, which is more than it was told of", ready)
	}
	l.held.Store(int32(ready))
	l.logFrom = shard.Pos(ready)
	return nil
}

// begin returns how many positions all stages have: where the session begins.
func (p *prefix) begin(legs []*leg) shard.Pos {
	if p == nil {
		return 0
	}
	least := legs[0].held.Load()
	for _, l := range legs {
		least = min(least, l.held.Load())
	}
	p.chain.Put(shard.Pos(least), nil) // the rest is to come
	return shard.Pos(least)
}

// upto has stages that are opened from now on begin with what they have of the
// first n tokens.
func (p *prefix) upto(n shard.Pos) {
	if p != nil {
		p.asked = p.chain.Upto(int(n))
	}
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
