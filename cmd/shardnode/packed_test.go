package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPackedCacheIsBoundedAndCanBeSwitchedOff(t *testing.T) {
	a := &app{home: filepath.Join(t.TempDir(), "not", "there", "yet")}
	quiet := func(string, ...any) {}
	for text, want := range map[string]int64{"auto": -1, "off": 0, "0": 0, "3GiB": 3 << 30, "1kb": 1000} {
		var f packedFlag
		if err := f.Set(text); err != nil {
			t.Fatal(err)
		}
		packs := a.packs(f, quiet)
		switch {
		case want == 0 && packs != nil:
			t.Errorf("--packed-cache %s keeps up to %d bytes, want nothing", text, packs.BudgetBytes())
		case want > 0 && (packs == nil || packs.BudgetBytes() != want):
			t.Errorf("--packed-cache %s is not a budget of %d bytes", text, want)
		case want < 0 && (packs == nil || packs.BudgetBytes() > packedMost):
			t.Errorf("--packed-cache %s is not a budget of at most %d bytes", text, int64(packedMost))
		}
	}
	if _, err := os.Stat(a.home); err == nil {
		t.Error("a home was made before anything is kept")
	}
	var f packedFlag
	if f.Set("much") == nil {
		t.Error(`--packed-cache much is taken`)
	}
}
