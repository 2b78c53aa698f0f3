package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

func TestInspectSaysWhatTheStoryModelIs(t *testing.T) {
	var got inspectJSON
	if err := json.Unmarshal([]byte(mustCommand(t, "inspect", "story", "--json")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Architecture != "llama" || got.Layers != 6 || len(got.LayerBytes) != 6 || got.Context != 1024 || got.Vocab != 2048 {
		t.Errorf("inspect says %+v", got)
	}
	if got.Types["F16"] != 43 || got.Types["F32"] != 13 || got.Params != 4066560 {
		t.Errorf("inspect says types %v and %d parameters", got.Types, got.Params)
	}
	sum := got.EmbedBytes + got.HeadBytes
	if got.Tied {
		sum -= got.EmbedBytes
	}
	for _, n := range got.LayerBytes {
		sum += n
	}
	if sum != got.Bytes {
		t.Errorf("layers, embedding and head have %d bytes, all tensors %d", sum, got.Bytes)
	}
	if !got.Runs || got.Why != "" || got.Memory == nil || !got.ChatTemplate {
		t.Errorf("inspect says the model does not run: %+v", got)
	}
	if got.Tokenizer.Family != "byte-level BPE" && got.Tokenizer.Family != "SentencePiece BPE" || len(got.Tokenizer.Ends) == 0 {
		t.Errorf("inspect says of the tokenizer %+v", got.Tokenizer)
	}
	if got.Template == nil || got.Template.Bytes == 0 || got.Template.Error != "" {
		t.Errorf("inspect says of the template %+v", got.Template)
	}
	if n := len(got.PerPeer); n != 3 || got.PerPeer[0].Peers != 2 || got.PerPeer[0].MemoryBytes <= got.PerPeer[2].MemoryBytes {
		t.Errorf("inspect says that peers need %+v", got.PerPeer)
	}
	people := mustCommand(t, "inspect", "story", "--metadata")
	for _, text := range []string{"architecture   llama", "layers         6", "F16", "runs here      yes", "  general.architecture = "} {
		if !strings.Contains(people, text) {
			t.Errorf("inspect says\n%s\nwant it to mention %q", people, text)
		}
	}
}

// oddModel writes a model that can't run, and returns its path.
func oddModel(t *testing.T, keys map[string]any, tensors ...tensorio.Tensor) string {
	t.Helper()
	meta := gguf.NewMeta()
	for key, value := range keys {
		if err := meta.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "odd.gguf")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	err = gguf.Write(file, meta, append([]tensorio.Tensor{
		{Name: "token_embd.weight", Type: tensorio.F32, Shape: []int{3, 2}, Data: make([]byte, 24)},
		{Name: "blk.0.attn_norm.weight", Type: tensorio.F32, Shape: []int{2}, Data: make([]byte, 8)},
	}, tensors...))
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// oddKeys are the metadata of a model that would run but for its tensors.
func oddKeys(arch string) map[string]any {
	return map[string]any{
		"general.architecture": arch, arch + ".context_length": uint32(99), arch + ".block_count": uint32(1),
		arch + ".embedding_length": uint32(2), arch + ".feed_forward_length": uint32(2),
		arch + ".attention.head_count": uint32(1), arch + ".vocab_size": uint32(3),
	}
}

func TestInspectNamesWhatIsNotSupportedYet(t *testing.T) {
	mixture := oddKeys("qwen2")
	mixture["qwen2.expert_count"] = uint32(8)
	dynamic := oddKeys("llama")
	dynamic["llama.rope.scaling.type"] = "dynamic"
	for why, path := range map[string]string{
		"mixture of experts of this architecture is not supported yet": oddModel(t, mixture),
		"ffn_gate_exps.weight": oddModel(t, oddKeys("llama"), tensorio.Tensor{Name: "blk.0.ffn_gate_exps.weight", Type: tensorio.F32, Shape: []int{2}, Data: make([]byte, 8)}),
		"dynamic":              oddModel(t, dynamic),
	} {
		got := answerOf[inspectJSON](t, "", "inspect", path, "--json")
		if got.Runs || !strings.Contains(got.Why, why) {
			t.Errorf("inspect says it runs: %v, %q, want it to name %q", got.Runs, got.Why, why)
		}
		home := newHome(t)
		wantFailure(t, exitFailed, []string{"serve", path, "--home", home, "--api", "127.0.0.1:0"}, why)
	}
}

func TestInspectSaysWhichTypesTakeMoreMemory(t *testing.T) {
	path := oddModel(t, oddKeys("llama"),
		tensorio.Tensor{Name: "blk.0.attn_q.weight", Type: tensorio.IQ1_S, Shape: []int{512, 256}, Data: make([]byte, 512*50)},
		tensorio.Tensor{Name: "blk.0.attn_k.weight", Type: tensorio.Q4_K, Shape: []int{512, 256}, Data: make([]byte, 512*144)})
	people := mustCommand(t, "inspect", path)
	if !strings.Contains(people, "Q4_K 72 KiB in 1 tensor, IQ1_S 25 KiB in 1 tensor (54 KiB in memory), F32") {
		t.Errorf("inspect says\n%s\nwant IQ1_S, and no other, with what it takes in memory", people)
	}
	got := answerOf[inspectJSON](t, "", "inspect", path, "--json")
	if got.TypePackedBytes["IQ1_S"] != 512*108 || got.TypePackedBytes["Q4_K"] != 512*148 {
		t.Errorf("inspect says %v bytes packed, want 108 a row of IQ1_S and 148 of Q4_K", got.TypePackedBytes)
	}
}

func TestInspectNamesAModelThatCannotRun(t *testing.T) {
	path := oddModel(t, map[string]any{"general.architecture": "lama", "lama.context_length": uint32(99), "lama.block_count": uint32(1)})
	var got inspectJSON
	if err := json.Unmarshal([]byte(mustCommand(t, "inspect", path, "--json")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Runs || !strings.Contains(got.Why, "llama") || got.Context != 99 || got.Vocab != 3 || got.Layers != 1 || got.Memory != nil {
		t.Errorf("inspect says %+v, want a model that can't run and the nearest architecture", got)
	}
	if people := mustCommand(t, "inspect", path); !strings.Contains(people, "runs here      no: ") {
		t.Errorf("inspect says\n%s\nwant it to say that the model does not run here", people)
	}
}

func TestInspectRefusesADamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.gguf")
	if err := os.WriteFile(path, []byte("GGUF\x03\x00\x00\x00\xff\xff\xff\xff"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, exitFailed, []string{"inspect", path}, "bad.gguf")
	wantFailure(t, exitFailed, []string{"inspect", filepath.Join(t.TempDir(), "none.gguf")}, "none.gguf", "hint: ")
	wantFailure(t, exitUsage, []string{"inspect"}, "hint: ")
}

func TestWriteRandom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "random.gguf")
	write := []string{"inspect", "story", "--write-random", file, "--types", "q8_0"}
	mustCommand(t, write...)
	if got := mustCommand(t, "run", file, "--raw", "Once", "--max-tokens", "4", "--json"); !strings.Contains(got, `"finish_reason"`) {
		t.Errorf("run says %s", got)
	}
	wantFailure(t, 1, write, "there already")
	wantFailure(t, 2, []string{"inspect", "story", "--write-random", file + "2", "--types", "q9_0"}, "nearest is")
	wantFailure(t, 2, []string{"inspect", "llama-3.2", "--write-random", file + "2"}, "llama-3.2-1b")
}
