package dice

import (
	"bytes"
	"crypto/sha256"
	"math"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
	"github.com/shardnode/shardnode/tensorio/quant"
)

func TestWeightsHaveTheSpread(t *testing.T) {
	for _, r := range recipes {
		t.Run(r.typ.String(), func(t *testing.T) {
			const rows, cols = 64, 1024
			row, err := r.typ.RowBytes(cols)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, rows*row)
			if err := fill(buf, tensorio.Tensor{Name: "x", Type: r.typ, Shape: []int{rows, cols}}); err != nil {
				t.Fatal(err)
			}
			x := make([]float32, rows*cols)
			if err := quant.Dequantize(x, r.typ, buf); err != nil {
				t.Fatal(err)
			}
			var sum, squares float64
			for _, v := range x {
				sum += float64(v)
				squares += float64(v) * float64(v)
			}
			mean := sum / float64(len(x))
			sd := math.Sqrt(squares/float64(len(x)) - mean*mean)
			if math.Abs(sd-spread) > spread/8 || math.Abs(mean) > spread/8 {
				t.Errorf("mean %v and standard deviation %v, want 0 and %v", mean, sd, spread)
			}
		})
	}
}

// tiny is a model that is written in no time.
var tiny = shape{name: "tiny", layers: 8, dim: 256, heads: 4, kvHeads: 2, headDim: 64, ff: 512, vocab: 1024, context: 128, ropeBase: 1e4}

func TestWrite(t *testing.T) {
	for _, types := range Types() {
		m, err := mixtureOf(types)
		if err != nil {
			t.Fatal(err)
		}
		p, err := tiny.plan(m)
		if err != nil {
			t.Fatal(err)
		}
		first, again := sha256.New(), &bytes.Buffer{}
		if err := p.Write(first); err != nil {
			t.Fatal(types, err)
		}
		if err := p.Write(again); err != nil {
			t.Fatal(types, err)
		}
		if got := sha256.Sum256(again.Bytes()); !bytes.Equal(got[:], first.Sum(nil)) {
			t.Errorf("%s: another file the second time", types)
		}
		f, err := gguf.Read(bytes.NewReader(again.Bytes()), int64(again.Len()))
		if err != nil {
			t.Fatal(types, err)
		}
		var bytesOf int64
		for _, info := range f.Tensors {
			bytesOf += info.Bytes
		}
		if bytesOf != p.Bytes() {
			t.Errorf("%s: %d bytes of tensors, the plan said %d", types, bytesOf, p.Bytes())
		}
		like, err := Like(f.Meta, f.Tensors, types)
		if err != nil {
			t.Fatal(types, err)
		}
		var copied bytes.Buffer
		if err := like.Write(&copied); err != nil {
			t.Fatal(types, err)
		}
		if !bytes.Equal(copied.Bytes(), again.Bytes()) {
			t.Errorf("%s: a plan like a file gives another file", types)
		}
	}
}

func TestMixture(t *testing.T) {
	m, err := mixtureOf("q4_k_m")
	if err != nil {
		t.Fatal(err)
	}
	dims := []int{512, 512}
	for name, want := range map[string]tensorio.Type{
		"token_embd.weight":     tensorio.Q6_K,
		"blk.0.ffn_down.weight": tensorio.Q6_K,
		"blk.2.ffn_down.weight": tensorio.Q4_K,
		"blk.4.attn_v.weight":   tensorio.Q6_K,
		"blk.15.attn_v.weight":  tensorio.Q6_K,
		"blk.0.attn_q.weight":   tensorio.Q4_K,
	} {
		if got := m.of(name, dims, 16); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := m.of("blk.0.attn_q.weight", []int{512, 96}, 16); got != tensorio.F16 {
		t.Errorf("rows of 96 are %v, want F16", got)
	}
}

func TestUnknownNames(t *testing.T) {
	if _, err := Named("llama-3.2-2b", "Q8_0"); err == nil || !strings.Contains(err.Error(), "llama-3.2-") {
		t.Errorf("error %v, want one that names the nearest shape", err)
	}
	if _, err := Named("llama-3.2-1b", "Q4_5"); err == nil || !strings.Contains(err.Error(), `"Q4_`) {
		t.Errorf("error %v, want one that names the nearest type", err)
	}
}

func TestVocabulary(t *testing.T) {
	tokens, types, merges := vocabulary(128256)
	if len(tokens) != 128256 || len(types) != len(tokens) || len(merges) != len(tokens)-256-specials {
		t.Fatalf("%d tokens, %d types, %d merges", len(tokens), len(types), len(merges))
	}
	seen := map[string]bool{}
	for _, s := range tokens {
		if seen[s] {
			t.Fatalf("token %q is there twice", s)
		}
		seen[s] = true
	}
}
