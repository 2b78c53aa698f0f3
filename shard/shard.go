// Package shard holds the value types that every part of shardnode shares:
// layers and spans, positions, tokens, the names of peers, sessions and
// models, and the error that a stage returns across the network.
//
// It does nothing. Start with [Span] and [StageError]. All values are safe to
// copy and to use from several goroutines.
package shard

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A Layer is the index of a transformer layer, from 0.
type Layer int32

// A Pos is the index of a token in its session, from 0.
type Pos int32

// A Token is the id of a token in its model's vocabulary.
type Token int32

// An Epoch counts the routes of a session, from 1. Frames of an older epoch
// are dropped (ARCHITECTURE §3.2).
type Epoch uint32

// A Span is the half-open range of layers [Start, End).
type Span struct {
	Start, End Layer
}

// Len returns the number of layers in s, 0 for an empty or inverted span.
func (s Span) Len() int { return int(max(0, s.End-s.Start)) }

// Has reports whether layer l lies in s.
func (s Span) Has(l Layer) bool { return s.Start <= l && l < s.End }

// Covers reports whether every layer of o lies in s.
func (s Span) Covers(o Span) bool { return o.Len() == 0 || s.Start <= o.Start && o.End <= s.End }

// Overlap returns the layers that s and o share; its Len is 0 if there are none.
func (s Span) Overlap(o Span) Span {
	return Span{Start: max(s.Start, o.Start), End: min(s.End, o.End)}
}

// String returns s as people write it: "[0,10)".
func (s Span) String() string { return fmt.Sprintf("[%d,%d)", s.Start, s.End) }

// peerIDLen is the number of bytes of the key's hash that name a peer.
const peerIDLen = 20

// A PeerID names a peer: the first 20 bytes of the SHA-256 of its ed25519
// public key. Its text is 32 characters of lower-case base32.
type PeerID [peerIDLen]byte

var peerText = base32.StdEncoding.WithPadding(base32.NoPadding)

// PeerIDOf returns the name of the peer with the ed25519 public key pub.
func PeerIDOf(pub []byte) PeerID {
	sum := sha256.Sum256(pub)
	return PeerID(sum[:peerIDLen])
}

// ParsePeerID reads the text form of a [PeerID].
func ParsePeerID(text string) (PeerID, error) {
	b, err := peerText.DecodeString(strings.ToUpper(text))
	if err != nil || len(b) != peerIDLen || PeerID(b).String() != text {
		return PeerID{}, fmt.Errorf("peer id %q: want 32 characters of base32", text)
	}
	return PeerID(b), nil
}

// String returns the 32 characters that name p.
func (p PeerID) String() string { return strings.ToLower(peerText.EncodeToString(p[:])) }

// Short returns the first 8 characters of p, enough for people.
func (p PeerID) Short() string { return p.String()[:8] }

// IsZero reports whether p names nobody.
func (p PeerID) IsZero() bool { return p == PeerID{} }

// A SessionID names a session in a swarm. It is random.
type SessionID [16]byte

// NewSessionID returns a random [SessionID].
func NewSessionID() SessionID {
	var id SessionID
	rand.Read(id[:]) // never fails since Go 1.24
	return id
}

// String returns id in hexadecimal.
func (id SessionID) String() string { return hex.EncodeToString(id[:]) }

// A ModelID names the exact bytes of a model: the SHA-256 of its manifest
// (package shard/weights), which lists the hash of every tensor.
type ModelID [32]byte

// String returns id in hexadecimal.
func (id ModelID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id names no model.
func (id ModelID) IsZero() bool { return id == ModelID{} }

// A Code says what kind of failure a stage had, and so what its caller should
// do. Codes cross the network: they are numbered, and never reordered.
type Code uint16

// The codes of [StageError].
const (
	// CodeUnknown: no code was sent; treat as [Internal].
	CodeUnknown Code = 0
	// Invalid: the message breaks the protocol or names what cannot be. Do not retry.
	Invalid Code = 1
	// NoCapacity: the peer has no room for the session. Try another peer.
	NoCapacity Code = 2
	// NotServing: the peer does not hold the span (any more), or drains. Route anew.
	NotServing Code = 3
	// Stale: the frame belongs to an older epoch or session. Drop it.
	Stale Code = 4
	// Gap: positions before the frame are missing. Replay from the position named.
	Gap Code = 5
	// Internal: the stage failed on its own. Try another peer.
	Internal Code = 6
	// WrongModel: the peer serves other bytes than asked for. Route anew.
	WrongModel Code = 7
	// Unreachable: the connection to the peer broke or could not be made.
	Unreachable Code = 8
	// TimedOut: the peer did not answer in time.
	TimedOut Code = 9
	// TooLong: the session is longer than the model's context or the reservation.
	TooLong Code = 10
	// Version: the peer speaks no version of the protocol that we speak. Update one.
	Version Code = 11
)

var codeNames = map[Code]string{
	CodeUnknown: "unknown", Invalid: "invalid", NoCapacity: "no capacity", NotServing: "not serving",
	Stale: "stale", Gap: "gap", Internal: "internal", WrongModel: "wrong model",
	Unreachable: "unreachable", TimedOut: "timed out", TooLong: "too long", Version: "version",
}

// String returns the name of c.
func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return fmt.Sprintf("code %d", uint16(c))
}

// A StageError is the failure of one stage of a route. It names the peer, and
// its code survives the network.
type StageError struct {
	Peer PeerID
	Name string // what people call the peer, "" if unknown
	Span Span
	Code Code
	Text string // what happened, for people
}

// Error says which peer failed, with which layers, and how.
func (e *StageError) Error() string {
	who := e.Name
	switch {
	case who != "" && !e.Peer.IsZero():
		who += " (" + e.Peer.Short() + ")"
	case who == "":
		who = e.Peer.Short()
	}
	if e.Span.Len() > 0 {
		who += fmt.Sprintf(", layers %v", e.Span)
	}
	if e.Text == "" {
		return fmt.Sprintf("peer %s: %v", who, e.Code)
	}
	return fmt.Sprintf("peer %s: %v: %s", who, e.Code, e.Text)
}

// CodeOf returns the code of the [StageError] in err's chain, [Internal] if
// err has none, [CodeUnknown] if err is nil.
func CodeOf(err error) Code {
	if err == nil {
		return CodeUnknown
	}
	if stage, ok := errors.AsType[*StageError](err); ok {
		return stage.Code
	}
	return Internal
}
