package transport

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport/wirepb"
)

func FuzzParseRemoval(f *testing.F) {
	// A fixed key, so that each process of the fuzzer opens what another found.
	key := SwarmKey{key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	r, err := key.Remove(shard.PeerID{1}, "nuc")
	if err != nil {
		f.Fatal(err)
	}
	var outer wirepb.Signed
	if err := proto.Unmarshal(r.Signed(), &outer); err != nil {
		f.Fatal(err)
	}
	f.Add(outer.GetBody())
	f.Fuzz(func(t *testing.T, body []byte) {
		// With a good signature, so that what lies behind it is reached.
		signed, err := proto.Marshal(&wirepb.Signed{Body: body, Signature: ed25519.Sign(key.key, signedText(kindRemoval, body))})
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseRemoval(key.ID(), signed)
		if err != nil {
			return
		}
		if len(got.Name) > maxRemovalName || !bytes.Equal(got.Signed(), signed) {
			t.Errorf("parsed to a name of %d bytes, and other bytes", len(got.Name))
		}
		if _, err := parseRemoval(NewSwarmKey().ID(), signed); err == nil {
			t.Error("another swarm takes it")
		}
	})
}
