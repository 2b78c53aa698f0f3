package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard/hub/hubtest"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/story"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
	"github.com/shardnode/shardnode/tensorio/safetensors"
)

// onHub gives the commands of a test a hub, and an empty cache.
func onHub(t *testing.T) *hubtest.Hub {
	t.Helper()
	h := hubtest.New()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	t.Setenv("HF_TOKEN", "hf_secret")
	t.Setenv("HF_HUB_OFFLINE", "")
	return h
}

func TestPullFetchesAndRunFinds(t *testing.T) {
	h := onHub(t)
	h.Add("org/tales", "tales-F16.gguf", story.Bytes(), true)
	h.Add("org/tales", "README.md", []byte("# Tales\n"), false)
	_, stderr, code := command(t, "", "tokenize", "hf:org/tales:F16", "--text", "x")
	if code != exitFailed || !strings.Contains(stderr, "is not on this machine") || !strings.Contains(stderr, "shardnode pull hf:org/tales:F16") {
		t.Errorf("tokenize before pull: exit status %d, %s", code, stderr)
	}
	h.Requests()
	if got, want := mustCommand(t, "inspect", "hf:org/tales", "--json"), mustCommand(t, "inspect", "story", "--json"); !strings.Contains(got, want[strings.Index(want, `"architecture"`):strings.Index(want, `"license"`)]) {
		t.Errorf("inspect of a model on the hub says\n%s\nwant what it says of the same model here\n%s", got, want)
	}
	path := strings.TrimSpace(mustCommand(t, "pull", "hf:org/tales"))
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, story.Bytes()) {
		t.Fatalf("pull printed %q: %v", path, err)
	}
	for _, ref := range []string{"hf:org/tales", "hf:org/tales:f16", "hf:org/tales@main:tales-F16.gguf", path} {
		out := mustCommand(t, "inspect", ref)
		if !strings.Contains(out, "model          tales-F16\n") {
			t.Errorf("inspect %s says\n%s", ref, out)
		}
	}
	h.Requests()
	want := mustCommand(t, "run", "story", "--raw", "--temperature", "0", "--max-tokens", "5", "Once")
	if got := mustCommand(t, "run", "hf:org/tales", "--raw", "--temperature", "0", "--max-tokens", "5", "Once"); got != want {
		t.Errorf("run of what was pulled says %q, want %q", got, want)
	}
	if r := h.Requests(); len(r) > 0 {
		t.Errorf("run asked the hub for what is here: %v", r)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	mustCommand(t, "pull", "hf:org/tales")
}

func TestRunPullsWhatIsNotHere(t *testing.T) {
	h := onHub(t)
	h.Add("org/tales", "tales.gguf", story.Bytes(), true)
	if out := mustCommand(t, "run", "hf:org/tales", "--raw", "--max-tokens", "3", "Once"); out == "" {
		t.Error("run says nothing")
	}
}

func TestPullTakesTheFileMeant(t *testing.T) {
	h := onHub(t)
	for _, q := range []string{"Q8_0", "Q4_K_M", "IQ2_XS"} {
		h.Add("org/m", "m-"+q+".gguf", append(slices.Clone(story.Bytes()), q...), true)
	}
	h.Add("org/m", "mmproj-m-F16.gguf", []byte("x"), true)
	for i := 1; i <= 2; i++ {
		h.Add("org/m", fmt.Sprintf("BF16/m-BF16-%05d-of-00002.gguf", i), []byte{byte(i)}, true)
	}
	for ref, want := range map[string][]string{
		"hf:org/m": {"m-Q4_K_M.gguf"}, "hf:org/m:q8_0": {"m-Q8_0.gguf"}, "hf:org/m:m-IQ2_XS.gguf": {"m-IQ2_XS.gguf"},
		"hf:org/m:bf16": {"BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"},
	} {
		var got pullJSON
		if err := json.Unmarshal([]byte(mustCommand(t, "pull", ref, "--json")), &got); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range got.Files {
			names = append(names, f.Name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("pull %s fetches %v, want %v", ref, names, want)
		}
		if got.License != "mit" || got.Fetched != got.Bytes || len(got.Commit) != 40 {
			t.Errorf("pull %s says %+v", ref, got)
		}
	}
	for ref, want := range map[string]string{
		"hf:org/m:m-Q5_0.gguf": "nearest is \"m-Q8_0.gguf\"", "hf:org/none": "no such repository", "org/m": "write hf:org/m",
		"hf:org/m/x": "usage", "lama3.2:3b": "llama3.2:3b", "qwen3": "qwen3:8b",
	} {
		_, stderr, code := command(t, "", "pull", ref)
		if code == exitDone || !strings.Contains(stderr, want) && want != "usage" || want == "usage" && code != exitUsage {
			t.Errorf("pull %s: exit status %d, %s, want it to say %s", ref, code, stderr, want)
		}
	}
}

func TestPullOfAFolderTakesItsFiles(t *testing.T) {
	h := onHub(t)
	for _, name := range []string{"config.json", "tokenizer.json", "README.md", "onnx/model.safetensors", "pytorch_model.bin"} {
		h.Add("org/f", name, []byte("{}"), false)
	}
	h.Add("org/f", "model.safetensors", []byte("weights"), true)
	dir := strings.TrimSpace(mustCommand(t, "pull", "hf:org/f"))
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"config.json", "model.safetensors", "tokenizer.json"}; !slices.Equal(names, want) {
		t.Errorf("the folder has %v, want %v", names, want)
	}
}

// longModel returns a file with four layers of 1 MiB.
func longModel(t *testing.T) []byte {
	t.Helper()
	meta := gguf.NewMeta()
	if err := meta.Set("general.architecture", "llama"); err != nil {
		t.Fatal(err)
	}
	var tensors []tensorio.Tensor
	add := func(name string, n int) {
		data := make([]byte, 4*n)
		for i := range data {
			data[i] = byte(len(tensors)*31 + i>>8)
		}
		tensors = append(tensors, tensorio.Tensor{Name: name, Type: tensorio.F32, Shape: []int{n}, Data: data})
	}
	add(weights.EmbedName, 1<<18)
	for l := range 4 {
		add(fmt.Sprintf("blk.%d.ffn_up.weight", l), 1<<18)
		add(fmt.Sprintf("blk.%d.attn_norm.weight", l), 3)
	}
	add(weights.HeadNormName, 64)
	add(weights.HeadName, 1<<18)
	var b bytes.Buffer
	if err := gguf.Write(&b, meta, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPullOfLayersFetchesTheirBytesOnly(t *testing.T) {
	h := onHub(t)
	data := longModel(t)
	h.Add("org/long", "long-F32.gguf", data, true)
	whole, err := weights.OpenBytes("long", data)
	if err != nil {
		t.Fatal(err)
	}
	for layers, want := range map[string][]string{
		"1:3": {"blk.1.ffn_up.weight", "blk.1.attn_norm.weight", "blk.2.ffn_up.weight", "blk.2.attn_norm.weight"},
		"0:1": {"token_embd.weight", "blk.0.ffn_up.weight", "blk.0.attn_norm.weight"},
		"3:4": {"blk.3.ffn_up.weight", "blk.3.attn_norm.weight", "output_norm.weight", "output.weight"},
	} {
		h.Requests()
		path := strings.TrimSpace(mustCommand(t, "pull", "hf:org/long", "--layers", layers))
		part, err := weights.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, info := range part.Tensors() {
			names = append(names, info.Name)
			a, err1 := part.Tensor(info.Name)
			b, err2 := whole.Tensor(info.Name)
			if err1 != nil || err2 != nil || !bytes.Equal(a.Data, b.Data) {
				t.Errorf("--layers %s: %s differs, %v, %v", layers, info.Name, err1, err2)
			}
		}
		if !slices.Equal(names, want) {
			t.Errorf("--layers %s has %v, want %v", layers, names, want)
		}
		if span, ok := part.IsPart(); !ok || fmt.Sprintf("%d:%d", span.Start, span.End) != layers {
			t.Errorf("--layers %s says that it has the layers %v, %v", layers, span, ok)
		}
		_ = part.Close()
		asked := 0
		for _, r := range h.Requests() {
			var lo, hi int
			if n, _ := fmt.Sscanf(r.Range, "bytes=%d-%d", &lo, &hi); n == 2 && r.CDN {
				asked += hi + 1 - lo
			}
		}
		if limit := 2<<20 + 600<<10; asked > limit || asked == 0 {
			t.Errorf("--layers %s asks for %d bytes of %d, want at most %d", layers, asked, len(data), limit)
		}
	}
	if _, stderr, code := command(t, "", "pull", "hf:org/long", "--layers", "2:5"); code != exitUsage || !strings.Contains(stderr, "has 4 layers") {
		t.Errorf("layers that are not there: exit status %d, %s", code, stderr)
	}
}

// safetensorsFile returns a file of the tensors, 512 KiB each.
func safetensorsFile(t *testing.T, names ...string) []byte {
	t.Helper()
	const size = 512 << 10
	header := map[string]any{}
	var data []byte
	for i, name := range names {
		header[name] = map[string]any{"dtype": "BF16", "shape": []int{size / 2}, "data_offsets": []int{len(data), len(data) + size}}
		data = append(data, bytes.Repeat([]byte{byte(i + len(name))}, size)...)
	}
	b, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(b))), b, data)
}

func TestPullOfAFoldersLayersFetchesTheirBytesOnly(t *testing.T) {
	h := onHub(t)
	h.Add("org/f", "config.json", []byte("{}"), false)
	h.Add("org/f", safetensorsIndex, []byte("{}"), false)
	parts := [][]byte{
		safetensorsFile(t, "model.embed_tokens.weight", "model.layers.0.a", "model.layers.1.a", "model.layers.10.a"),
		safetensorsFile(t, "model.layers.2.a", "model.norm.weight", "lm_head.weight", "model.layers.3.a"),
	}
	for i, b := range parts {
		h.Add("org/f", fmt.Sprintf("model-%05d-of-00002.safetensors", i+1), b, true)
	}
	for layers, want := range map[string][]string{
		"0:1": {"model.embed_tokens.weight", "model.layers.0.a"}, "1:3": {"model.layers.1.a", "model.layers.2.a"},
		"3:11": {"lm_head.weight", "model.layers.10.a", "model.layers.3.a", "model.norm.weight"},
	} {
		var got pullJSON
		if err := json.Unmarshal([]byte(mustCommand(t, "pull", "hf:org/f", "--layers", layers, "--json")), &got); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(got.Path, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, x := range f.Tensors {
			names = append(names, x.Name)
			if !slices.ContainsFunc(parts, func(p []byte) bool { return bytes.Contains(p, b[x.Offset:x.Offset+x.Bytes]) }) {
				t.Errorf("--layers %s: %s has other bytes", layers, x.Name)
			}
		}
		if slices.Sort(names); !slices.Equal(names, want) {
			t.Errorf("--layers %s has %v, want %v", layers, names, want)
		}
		if got.Fetched != int64(len(want))*512<<10 {
			t.Errorf("--layers %s fetched %d bytes", layers, got.Fetched)
		}
		if _, err := os.Stat(filepath.Join(got.Path, "config.json")); err != nil {
			t.Error(err)
		}
	}
}

func TestModelsListsAndRmRemoves(t *testing.T) {
	h := onHub(t)
	const repo, file = "bartowski/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct-Q4_K_M.gguf"
	h.Add(repo, file, story.Bytes(), true)
	list := func() map[string]listedJSON {
		t.Helper()
		var got modelsJSON
		if err := json.Unmarshal([]byte(mustCommand(t, "models", "--json")), &got); err != nil {
			t.Fatal(err)
		}
		byName := map[string]listedJSON{}
		for _, m := range got.Models {
			byName[m.Name] = m
		}
		return byName
	}
	if m := list()["smollm2:135m"]; m.Local || m.Repo != repo || m.Bytes == 0 {
		t.Errorf("before pull: %+v", m)
	}
	mustCommand(t, "pull", "smollm2:135m")
	m := list()["smollm2:135m"]
	if !m.Local || filepath.Base(m.Path) != file || m.Fits != "machine" || m.DecodeTokS <= 0 || m.Params != 4066560 {
		t.Errorf("after pull: %+v", m)
	}
	if s := list()["story"]; !s.Local || s.Fits != "machine" {
		t.Errorf("story: %+v", s)
	}
	if out := mustCommand(t, "models", "smollm2:135"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "yes") {
		t.Errorf("models smollm2:135 prints\n%s", out)
	}
	mustCommand(t, "rm", "smollm2:135m")
	if m := list()["smollm2:135m"]; m.Local {
		t.Errorf("after rm: %+v", m)
	}
	if _, stderr, code := command(t, "", "rm", "smollm2:135m"); code != exitFailed || !strings.Contains(stderr, "not on this machine") {
		t.Errorf("rm again: exit status %d, %s", code, stderr)
	}
}

func TestCatalogueIsSound(t *testing.T) {
	list, err := parseCatalogue(catalogueText)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 40 {
		t.Errorf("%d models, want 40 or more", len(list))
	}
	seen := map[string]bool{}
	for _, m := range list {
		r, ok := lookUpName(m.name)
		switch {
		case seen[m.name]:
			t.Errorf("%s is there twice", m.name)
		case !ok || r.ID != m.repo || r.File != m.file:
			t.Errorf("%s leads to %v", m.name, r)
		case m.active > m.params, quantOf(m.file) == "", m.name != strings.ToLower(m.name):
			t.Errorf("%s: %+v is not sound", m.name, m)
		}
		seen[m.name] = true
		// Files have four to seven bits a weight, small models more for their embedding.
		if bits := float64(m.bytes) * 8 / (m.params * 1e9); bits < 4 || bits > 8 {
			t.Errorf("%s: %.1f bits a weight", m.name, bits)
		}
	}
	if r, ok := lookUpName("qwen2.5:7b-q4_K_M"); !ok || r.File != "q4_K_M" || r.ID != "bartowski/Qwen2.5-7B-Instruct-GGUF" {
		t.Errorf("a name with a quantisation leads to %v", r)
	}
}
