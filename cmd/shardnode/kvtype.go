package main

import (
	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/shard/kvcache"
)

// kvTypeFlag is --kv-type: how keys and values are kept. It changes results, so
// all members that a session runs through have the same.
type kvTypeFlag kvcache.Precision

func (k *kvTypeFlag) add(f *pflag.FlagSet) {
	f.Var(k, "kv-type", "how keys and values are kept: f16, int8 (half the memory) or f32; it changes results a little, and members that differ share no sessions")
}

// Set reads the flag.
func (k *kvTypeFlag) Set(text string) error {
	p, err := kvcache.ParsePrecision(text)
	*k = kvTypeFlag(p)
	return err
}

// String returns the flag as Set takes it.
func (k *kvTypeFlag) String() string { return kvcache.Precision(*k).String() }

// kvTypeName returns how JSON output names kv: not at all if it is the usual one.
func kvTypeName(kv kvcache.Precision) string {
	if kv == kvcache.Float16 {
		return ""
	}
	return kv.String()
}

// Type names the values in help texts.
func (k *kvTypeFlag) Type() string { return "type" }
