package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

func TestAJoinerFetchesPinnedLayersOnly(t *testing.T) {
	h := onHub(t)
	h.Add("org/long", "long-F32.gguf", longModel(t), true)
	s := &server{
		app: &app{stdout: io.Discard, stderr: io.Discard}, flags: &serveFlags{model: "hf:org/long"}, pinned: shard.Span{Start: 1, End: 2},
	}
	file, err := s.openOwn(t.Context(), transport.Invitation{Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	if span, ok := file.IsPart(); !ok || span != s.pinned {
		t.Errorf("the file has the layers %v, %v, want %v", span, ok, s.pinned)
	}
	s.file = file
	if err := s.checkModel(); err == nil || !strings.Contains(fmt.Sprint(err), "layers [1,2) only") {
		t.Errorf("checkModel of it = %v, want an error that names its layers", err)
	}
	_ = file.Close()
	if file, err = s.openOwn(t.Context(), transport.Invitation{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := file.IsPart(); ok || file.Layers() != 4 {
		t.Errorf("the founder's file has %d layers, want all 4", file.Layers())
	}
	_ = file.Close()
}
