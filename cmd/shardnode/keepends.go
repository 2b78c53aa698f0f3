package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/shard"
)

// keepEndsFlag is --keep-ends: the members, beside this one, that may see what
// goes into a model and what comes out. They are named by their whole peer ids,
// for anybody can take a name.
type keepEndsFlag struct {
	given bool
	peers []shard.PeerID
}

// keepEndsHere is the value of --keep-ends without one: this member alone.
const keepEndsHere = "here"

func (k *keepEndsFlag) add(f *pflag.FlagSet) {
	f.Var(k, "keep-ends", "run the first and last layers of what is asked here on this member and these peers only, so that no other sees prompt or answer; "+
		"give them the layers with --layers (--keep-ends=PEER,PEER: ids of ps --json)")
	f.Lookup("keep-ends").NoOptDefVal = keepEndsHere
}

// String returns the flag's value.
func (k *keepEndsFlag) String() string {
	if !k.given {
		return ""
	}
	out := []string{keepEndsHere}
	for _, p := range k.peers {
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}

// Type names the flag's kind in help.
func (k *keepEndsFlag) Type() string { return "peers" }

// Set reads peer ids; "here" is this member, which is always among them.
func (k *keepEndsFlag) Set(text string) error {
	var peers []shard.PeerID
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == keepEndsHere || part == "true" {
			continue
		}
		p, err := shard.ParsePeerID(part)
		if err != nil {
			return fmt.Errorf("%.64q is no peer id: `shardnode ps --json` has them; %q is this member", part, keepEndsHere)
		}
		peers = append(peers, p)
	}
	k.given, k.peers = true, peers
	return nil
}
