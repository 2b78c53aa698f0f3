package weights

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// copied is a made model: rows are copies of what a file would have. The first
// tensor lies in memory.
type copied struct {
	meta    *gguf.Meta
	tensors []tensorio.Tensor
	closed  int
}

func (c *copied) Meta() *gguf.Meta { return c.meta }

func (c *copied) Tensors() []tensorio.Tensor {
	out := append([]tensorio.Tensor(nil), c.tensors...)
	for i := range out[1:] {
		out[i+1].Data = nil
	}
	return out
}

func (c *copied) Rows(i, lo, n int) []byte {
	t := c.tensors[i]
	row := len(t.Data) / (t.Elements() / t.Shape[len(t.Shape)-1])
	return bytes.Clone(t.Data[lo*row : (lo+n)*row])
}

func (c *copied) Sources(i, _, _ int) [][]byte { return [][]byte{c.tensors[i].Data} }
func (c *copied) Mapped() [][]byte             { return nil }
func (c *copied) Changed() time.Time           { return time.Unix(1, 0) }
func (c *copied) How() string                  { return "copied" }
func (c *copied) Close() error                 { c.closed++; return nil }

// newCopied returns a model with tensors that pieces cut within rows.
func newCopied(t *testing.T) *copied {
	t.Helper()
	c := &copied{meta: gguf.NewMeta()}
	if err := c.meta.Set("general.architecture", "llama"); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, x := range []tensorio.Tensor{
		{Name: EmbedName, Type: tensorio.BF16, Shape: []int{100, 64}},
		{Name: "blk.0.attn_q.weight", Type: tensorio.BF16, Shape: []int{2111, 1009}}, // a bit over one piece
		{Name: "blk.0.attn_norm.weight", Type: tensorio.F32, Shape: []int{64}},
		{Name: "blk.0.ffn_up_exps.weight", Type: tensorio.Q8_0, Shape: []int{3, 1500, 1024}},
	} {
		n, err := x.Type.RowBytes(x.Shape[len(x.Shape)-1])
		if err != nil {
			t.Fatal(err)
		}
		x.Data = make([]byte, n*x.Elements()/x.Shape[len(x.Shape)-1])
		for i := range x.Data {
			x.Data[i] = byte(rng.Uint32())
		}
		c.tensors = append(c.tensors, x)
	}
	return c
}

func TestAMadeModelIsTheFileThatItLooksLike(t *testing.T) {
	c := newCopied(t)
	made, err := OpenMade("folder", c)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := gguf.Write(&b, c.meta, c.tensors); err != nil {
		t.Fatal(err)
	}
	file, err := OpenBytes("file", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want, err := NewManifest(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := NewManifest(t.Context(), made, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID() != want.ID() {
		t.Errorf("its model id is %v, the file's %v", got.ID(), want.ID())
	}
	if made.SizeBytes() != int64(b.Len()) {
		t.Errorf("it has %d bytes, the file %d", made.SizeBytes(), b.Len())
	}
	for _, x := range c.tensors {
		m, err := made.Tensor(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		if whole := x.Name == EmbedName || x.Type == tensorio.F32; whole != (m.Data != nil) || whole && !bytes.Equal(m.Data, x.Data) {
			t.Errorf("tensor %s has %d bytes of data, want them: %v", x.Name, len(m.Data), whole)
		}
		rows := x.Elements() / x.Shape[len(x.Shape)-1]
		if _, err := made.Rows(x.Name, rows-1, 2); err == nil {
			t.Errorf("tensor %s has a row behind its last", x.Name)
		}
		if last, err := made.Rows(x.Name, rows-1, 1); err != nil || !bytes.HasSuffix(x.Data, last) || len(last) == 0 {
			t.Errorf("the last row of tensor %s is another: %v", x.Name, err)
		}
	}
	if err := made.Close(); err != nil || c.closed != 1 {
		t.Errorf("it was closed %d times: %v", c.closed, err)
	}
	if key, ok := made.ContentKey(); !ok || key == "" {
		t.Error("it has no key for what is kept of it")
	}
}
