package main

import (
	"testing"

	"github.com/shardnode/shardnode/scheduler"
)

func TestEvenNeedIsTheLeastThatDoes(t *testing.T) {
	m := scheduler.Model{Layers: 4, LayerBytes: []int64{10, 10, 10, 10}, EmbedBytes: 5, HeadBytes: 7, KVBytesPerTokenLayer: 1}
	for n, want := range map[int]int64{1: 52 + 8, 2: 31, 3: 24, 4: 19} {
		if got := evenNeed(m, n, 2); got != want {
			t.Errorf("evenNeed for %d members = %d, want %d", n, got, want)
		}
	}
}

func TestTemplateTextSaysWhatItKnows(t *testing.T) {
	var none *templateJSON
	if got := none.text(); got != "no" {
		t.Errorf("text of no template = %q", got)
	}
	if got := (&templateJSON{System: true, Thinking: true}).text(); got != "yes, with system messages, thinking" {
		t.Errorf("text = %q", got)
	}
}
