package main

import (
	"cmp"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/shard/weights"
)

// packedFlag is --packed-cache: how much of the disk packed weights may take, so
// that the next start maps them.
type packedFlag struct {
	given bool
	bytes sizeFlag
}

func (p *packedFlag) add(f *pflag.FlagSet) {
	f.Var(p, "packed-cache", "disk for packed weights in the home, which make the next start quick: auto, off or bytes (auto: an eighth of what is free, at most 16GiB)")
}

// String returns the flag's value.
func (p *packedFlag) String() string {
	switch {
	case !p.given:
		return "auto"
	case p.bytes == 0:
		return "off"
	}
	return p.bytes.String()
}

// Type names the flag's kind in help.
func (p *packedFlag) Type() string { return "bytes" }

// Set reads auto, off or a size.
func (p *packedFlag) Set(text string) error {
	p.bytes = 0
	switch text {
	case "auto":
		p.given = false
		return nil
	case "off", "0":
		p.given = true
		return nil
	}
	p.given = true
	return p.bytes.Set(text)
}

const (
	// packedFolder keeps packed weights, below the folder of caches.
	packedFolder = "packed"
	// packedShare is the part of the free disk that they may take unasked, as one in
	// so many: a command that is tried once must not fill a disk.
	packedShare = 8
	// packedMost is the most that they take unasked.
	packedMost = 16 << 30
)

// packs returns the cache of packed weights in the home, nil if it is off.
func (a *app) packs(f packedFlag, notify func(string, ...any)) *weights.Packs {
	if a.home == "" || f.given && f.bytes == 0 {
		return nil
	}
	c := weights.PacksConfig{
		Dir: filepath.Join(a.home, cacheFolder, packedFolder), BudgetBytes: int64(f.bytes),
		Failed: func(err error) { notify("%v; the next start packs them again", err) },
	}
	if !f.given {
		free, err := freeDisk(nearestFolder(c.Dir))
		if err != nil {
			return nil // nobody asked for it
		}
		c.BudgetBytes = min(free/packedShare, packedMost)
	}
	return weights.OpenPacks(c)
}

// nearestFolder returns dir, or the nearest folder above it that is there.
func nearestFolder(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return cmp.Or(up, ".")
		}
		dir = up
	}
}

// tellKept says that packed weights are being kept.
func tellKept(notify func(string, ...any), bytes int64) {
	if bytes > 0 {
		notify("keeping %s of packed weights in the home for the next start (--packed-cache off keeps none)", mib(bytes))
	}
}
