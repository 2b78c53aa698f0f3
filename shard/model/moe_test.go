package model

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/model/modeltest"
	"github.com/shardnode/shardnode/tensorio"
)

// rename makes src a model of another architecture with the same numbers.
func rename(src *modeltest.Model, arch string) {
	src.Text["general.architecture"] = arch
	for key, n := range maps.Clone(src.Numbers) {
		src.Numbers[strings.Replace(key, "llama.", arch+".", 1)] = n
	}
	for key, x := range maps.Clone(src.Reals) {
		src.Reals[strings.Replace(key, "llama.", arch+".", 1)] = x
	}
}

// filled is a float32 tensor of one number.
func filled(x float32, shape ...int) tensorio.Tensor {
	t := tensorio.Tensor{Type: tensorio.F32, Shape: shape}
	for range t.Elements() {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(x))
	}
	return t
}

// scaled is t times f.
func scaled(t tensorio.Tensor, f float32) tensorio.Tensor {
	var data []byte
	for at := 0; at < len(t.Data); at += 4 {
		x := math.Float32frombits(binary.LittleEndian.Uint32(t.Data[at:]))
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x*f))
	}
	return tensorio.Tensor{Name: t.Name, Type: t.Type, Shape: t.Shape, Data: data}
}

// stack is the tensor of several experts.
func stack(experts ...tensorio.Tensor) tensorio.Tensor {
	t := tensorio.Tensor{Type: tensorio.F32, Shape: append([]int{len(experts)}, experts[0].Shape...)}
	for _, e := range experts {
		t.Data = append(t.Data, e.Data...)
	}
	return t
}

// mixed gives src experts that add up to its own MLPs: four, of which the router
// takes the first two, and a shared one, of which half is taken. part is how
// much of the MLP the routed ones give. The others are NaN: they must not count.
func mixed(src *modeltest.Model, part float32) {
	rename(src, "qwen2moe")
	src.Numbers["qwen2moe.expert_count"] = 4
	src.Numbers["qwen2moe.expert_used_count"] = 2
	src.Numbers["qwen2moe.expert_feed_forward_length"] = modeltest.FFNDim
	src.Numbers["qwen2moe.expert_shared_feed_forward_length"] = modeltest.FFNDim
	nan := float32(math.NaN())
	for l := range 2 {
		of := func(what string) string { return fmt.Sprintf("blk.%d.%s.weight", l, what) }
		gate, up, down := src.Tensors[of("ffn_gate")], src.Tensors[of("ffn_up")], src.Tensors[of("ffn_down")]
		none := filled(nan, gate.Shape...)
		src.Tensors[of("ffn_gate_exps")] = stack(gate, gate, none, none)
		src.Tensors[of("ffn_up_exps")] = stack(up, up, none, none)
		half := scaled(down, 2*part) // two experts of a weight of a quarter
		src.Tensors[of("ffn_down_exps")] = stack(half, half, filled(nan, down.Shape...), filled(nan, down.Shape...))
		src.Tensors[of("ffn_gate_inp")] = filled(0, 4, modeltest.Dim)
		src.Tensors[of("ffn_gate_shexp")], src.Tensors[of("ffn_up_shexp")] = gate, up
		src.Tensors[of("ffn_down_shexp")] = scaled(down, 2*(1-part))
		src.Tensors[of("ffn_gate_inp_shexp")] = filled(0, modeltest.Dim)
		for _, what := range []string{"ffn_gate", "ffn_up", "ffn_down"} {
			delete(src.Tensors, of(what))
		}
	}
}

func TestExpertsAddUpToTheMLPThatTheyWereMadeOf(t *testing.T) {
	prompt := []shard.Token{1, 5, 9, 2, 96}
	logits := func(src *modeltest.Model) [][]float32 {
		cfg, err := ReadConfig(src)
		if err != nil {
			t.Fatal(err)
		}
		return newChainOf(t, src, cfg, how{rounding: RoundNone}).run(t, 0, prompt, len(prompt))
	}
	dense := modeltest.New(2, 3)
	rename(dense, "qwen2")
	want := logits(dense)
	for _, part := range []float32{1, 0, 0.75} {
		src := modeltest.New(2, 3)
		mixed(src, part)
		for i, got := range logits(src) {
			if d := furthest(got, want[i]); !(d < 1e-4) {
				t.Errorf("routed experts give %v of the MLP: logits at position %d differ by %g, want 1e-4 at most", part, i, d)
			}
		}
	}
}

// perExpert is a source as files of before April 2024 were: a tensor for each
// expert.
type perExpert struct{ Source }

// split returns the tensor of all experts for the name of one's.
func (perExpert) split(name string) (all string, expert int, ok bool) {
	words := strings.Split(name, ".") // blk.0.ffn_gate.3.weight
	if len(words) != 5 {
		return "", 0, false
	}
	expert, err := strconv.Atoi(words[3])
	return strings.Join([]string{words[0], words[1], words[2] + "_exps", words[4]}, "."), expert, err == nil
}

func (p perExpert) Has(name string) bool {
	if all, _, ok := p.split(name); ok {
		return p.Source.Has(all)
	}
	return p.Source.Has(name) && !strings.Contains(name, "_exps")
}

func (p perExpert) Tensor(name string) (tensorio.Tensor, error) {
	all, e, ok := p.split(name)
	if !ok {
		return p.Source.Tensor(name)
	}
	t, err := p.Source.Tensor(all)
	n := len(t.Data) / t.Shape[0]
	t.Name, t.Shape, t.Data = name, t.Shape[1:], t.Data[e*n:(e+1)*n]
	return t, err
}

func TestExpertsWithTensorsOfTheirOwnGiveTheSameBits(t *testing.T) {
	f, cfg := openFile(t, shared(t, "data/zoo/zoo/mixtral/mixtral-bf16.gguf"))
	want := newChainOf(t, f, cfg, how{}).run(t, 0, ids(20), 20)
	got := newChainOf(t, perExpert{f}, cfg, how{threads: 2}).run(t, 0, ids(20), 20)
	for i := range want {
		if !same(got[i], want[i]) {
			t.Errorf("logits at position %d differ by %g from those of the file with one tensor for all experts", i, furthest(got[i], want[i]))
		}
	}
}

func TestExpertsAreChosenByTheHighestLogitsTheLowerIndexOnATie(t *testing.T) {
	m := &Model{cfg: Config{Dim: 1, Experts: 6, ExpertsUsed: 3, route: routing{mixture: weighChosen, scale: 1}}}
	o := &expertsOp{m: m, x: &experts{}, used: 3, chosen: make([]choice, 3)}
	nan := float32(math.NaN())
	for _, c := range []struct {
		logits []float32
		want   []int
	}{
		{[]float32{1, 2, 3, 4, 5, 6}, []int{3, 4, 5}},
		{[]float32{7, 2, 7, 7, 9, 7}, []int{0, 2, 4}},
		{[]float32{0, 0, 0, 0, 0, 0}, []int{0, 1, 2}},
		{[]float32{nan, nan, nan, nan, nan, nan}, []int{0, 1, 2}},
	} {
		o.logits = slices.Clone(c.logits)
		(*chooseOp)(o).Tile(0, 0)
		got, sum := []int{}, float32(0)
		for _, chosen := range o.chosen {
			got, sum = append(got, chosen.expert), sum+chosen.weight
		}
		if !slices.Equal(got, c.want) || math.Abs(float64(sum)-1) > 1e-6 {
			t.Errorf("of logits %v the experts are %v, their weights add up to %v; want %v and 1", c.logits, got, sum, c.want)
		}
	}
}

func TestADecodeStepThroughExpertsAllocatesNothing(t *testing.T) {
	c := newChain(t, shared(t, "data/zoo/zoo/qwen3moe/qwen3moe-bf16.gguf"), how{threads: 2})
	c.run(t, 0, ids(16), 0)
	m, kv := c.models[0], c.kv[0]
	parts := []Part{{KV: kv, Tokens: ids(1), Logits: 1}}
	sink := nothing{}
	step := func() {
		parts[0].Pos = 16
		m.Forward(parts, sink)
		if parts[0].Err != nil {
			t.Fatal(parts[0].Err)
		}
	}
	step()
	if n := testing.AllocsPerRun(20, step); n > 0 {
		t.Errorf("a decode step allocates %v times, want 0", n)
	}
}

// nothing is a sink that keeps nothing.
type nothing struct{}

func (nothing) Logits(int, int, []float32) {}
