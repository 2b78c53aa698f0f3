// Package transport connects the members of a swarm: identity, admission, and
// streams and sealed packets between peers, all on one UDP port.
//
// Start with [Listen], which returns a [Node]. A node has an [Identity], an
// ed25519 key whose hash is its [shard.PeerID], and a [Membership], the swarm's
// signature over that key. Both sides of every connection check the other's
// membership in the TLS 1.3 handshake; who has none gets a closed connection.
// The one exception is the protocol "shard-join/1", which takes an
// [Invitation] and answers with a membership ([Join], [Admitter]).
//
// A protocol is an ALPN name. [Node.Handle] serves one, [Node.Open] opens a
// stream of one to a peer. Connections are dialed once, kept, dialed again
// when they died, and shared by the streams of one protocol. Protocols named
// in [SessionProtocols] notice a silent peer within [Config.SessionSilence].
//
// [Node.SendPacket] sends small sealed packets that need no connection; gossip
// lives on them. They start with a byte below 0x40, which QUIC never uses.
//
// What the bytes of a stream mean is for others to say. Everything is safe for
// concurrent use, but a [Stream] has one reader and one writer at a time.
//
// Goroutines, all ended and waited for by [Node.Close]: one accepts
// connections, one accepts the streams of each connection, one runs each
// handler, one reads packets, one closes unused connections, one watches those
// that carry sessions, with one more for each silent peer; a dial has two
// per address tried.
//
// Lock order: Node.mu, then peerBook.mu. Neither is held across I/O.
package transport
