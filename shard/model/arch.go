package model

import (
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/shard/nearest"
)

// An arch is what makes an architecture differ from Llama. The zero value,
// with a name, is Llama: RMSNorm, rotary embedding of neighbouring pairs,
// grouped attention, SwiGLU. Biases need no entry: they are used where the
// file has them.
type arch struct {
	name string // general.architecture of GGUF files, prefix of the keys
	like string // a published family, for people

	// halves rotates the pairs (i, i+ropeDim/2) of a head; otherwise (2i, 2i+1).
	halves bool
	// qkNorm normalises q and k before rotation: each head or all heads together, as
	// the shape of the weights says; qkNormIfAny does if the file has weights for it.
	qkNorm, qkNormIfAny bool
	// layerNorm is LayerNorm (less the mean, with a bias where the file has one)
	// in place of RMSNorm.
	layerNorm bool
	// postNorms normalises what attention and MLP give before it is added.
	postNorms bool
	// noPreNorms feeds attention and MLP with the hidden state as it is.
	noPreNorms bool
	// parallel feeds attention and MLP with the same hidden state, that before the
	// layer. A file may have one norm for both; parallelKey names a key that says
	// whether it is so.
	parallel    bool
	parallelKey string
	// plainMLP has no gate: act(up) in place of act(gate) * up.
	plainMLP bool
	// act is the activation of the MLP.
	act activation
	// scaledEmbed multiplies embeddings with sqrt(dim).
	scaledEmbed bool
	// globalEvery makes every so many-th layer attend to all positions; the
	// others see a sliding window and rotate by a base of their own. 0: all do.
	globalEvery int
	// oneRope makes these layers rotate like the others.
	oneRope bool
	// localRope rotates in layers that see a window only.
	localRope bool
	// latent is attention over a latent (see latent.go).
	latent bool
	// capped bounds scores and logits softly.
	capped bool
	// divides makes logit_scale what logits are divided by, not multiplied with.
	divides bool
	// wideLayers is how many layers the one model of a family has that divides
	// scores by sqrt(dim/heads) where others divide by sqrt(headDim); no key of the
	// file says so. 0: none does.
	wideLayers int
	// windowed makes all layers see a sliding window, if the file has one.
	windowed bool
	// fineYarn leaves YaRN's borders between pairs; otherwise they are pairs.
	fineYarn bool
	// oaiGate takes the gate of GPT-OSS in experts (see gateOAI).
	oaiGate bool
	// mixture is how a mixture of experts weighs those that it chooses, where the
	// file has one; sharedExpert says that one more sees every row.
	mixture      mixture
	sharedExpert bool
	// sharedAlways says that it has the MLP's size where the file says none.
	sharedAlways bool
	// noRopeEvery leaves every so many-th layer without rotation; 0 for none.
	noRopeEvery int
}

// An activation is what an MLP bends its values with.
type activation uint8

const (
	silu     activation = iota // x * sigmoid(x)
	geluTanh                   // GELU by its approximation with tanh
	gelu                       // GELU by the error function
	relu2                      // the square of what is above 0
)

// few reports whether steps of few rows run as a program (few.go).
func (a *arch) few() bool { return !a.latent }

// archs are the architectures that Forward computes.
var archs = []arch{
	{name: "llama", like: "Llama 2 and 3, Mistral, Mixtral, SmolLM2", mixture: weighChosen, windowed: true},
	{name: "qwen2", like: "Qwen 2 and 2.5", halves: true, windowed: true},
	{name: "qwen3", like: "Qwen 3", halves: true, qkNorm: true, windowed: true},
	{name: "qwen2moe", like: "Qwen 1.5 and 2 with experts", halves: true, mixture: weighAll, sharedExpert: true, sharedAlways: true},
	{name: "qwen3moe", like: "Qwen 3 with experts", halves: true, qkNorm: true, mixture: weighChosen},
	{name: "smollm3", like: "SmolLM3", noRopeEvery: 4},
	{name: "phi3", like: "Phi 3 and 4", halves: true, windowed: true},
	{name: "glm4", like: "GLM 4", postNorms: true},
	{name: "olmo2", like: "OLMo 2 and 3", halves: true, qkNorm: true, noPreNorms: true, postNorms: true, windowed: true, globalEvery: 4},
	{name: "granite", like: "Granite 3", divides: true},
	{name: "granitemoe", like: "Granite 3 with experts", divides: true, mixture: weighChosen, sharedExpert: true},
	{name: "command-r", like: "Command R, Aya", layerNorm: true, parallel: true, qkNormIfAny: true},
	{name: "cohere2", like: "Command R7B", layerNorm: true, parallel: true, globalEvery: 4, oneRope: true, localRope: true},
	{name: "starcoder2", like: "StarCoder 2", halves: true, layerNorm: true, plainMLP: true, act: geluTanh, windowed: true},
	{name: "gptneox", like: "Pythia, GPT-NeoX", halves: true, layerNorm: true, plainMLP: true, act: gelu, parallel: true, parallelKey: "use_parallel_residual"},
	{name: "olmoe", like: "OLMoE", halves: true, qkNorm: true, mixture: weighAll},
	{name: "stablelm", like: "StableLM 2", halves: true, layerNorm: true, parallelKey: "use_parallel_residual"},
	{name: "seed_oss", like: "Seed OSS", halves: true},
	{name: "arcee", like: "Arcee", plainMLP: true, act: relu2},
	{name: "glm4moe", like: "GLM 4.5", halves: true, qkNormIfAny: true, mixture: weighSigmoid, sharedExpert: true},
	{name: "gemma", like: "Gemma", halves: true, act: geluTanh, scaledEmbed: true},
	{
		name: "deepseek2", like: "DeepSeek V2 and V3", latent: true,
		mixture: weighAll, sharedExpert: true,
	},
	{
		name: "gemma2", like: "Gemma 2", halves: true, postNorms: true, act: geluTanh, scaledEmbed: true,
		globalEvery: 2, oneRope: true, capped: true, wideLayers: 46,
	},
	{
		name: "gpt-oss", like: "GPT-OSS", halves: true, mixture: weighChosen, globalEvery: 2, oneRope: true,
		oaiGate: true, fineYarn: true,
	},
	{
		name: "gemma3", like: "Gemma 3", halves: true, qkNorm: true,
		postNorms: true, act: geluTanh, scaledEmbed: true, globalEvery: 6, wideLayers: 62,
	},
}

// An UnknownArchError says that a model's architecture is not in the table.
type UnknownArchError struct {
	Name    string
	Nearest string // the supported name that is spelled most alike
	Missing string // what the architecture has that can't be computed, "" if that isn't known
}

// Error says what is missing, and names the nearest architecture and all of them.
func (e *UnknownArchError) Error() string {
	names := make([]string, len(archs))
	for i, a := range archs {
		names[i] = a.name + " (" + a.like + ")"
	}
	missing := ""
	if e.Missing != "" {
		missing = ", since " + e.Missing + " can't be computed"
	}
	return fmt.Sprintf("architecture %q is not supported%s: the nearest that is, is %q (supported: %s); use a model of one of these",
		e.Name, missing, e.Nearest, strings.Join(names, ", "))
}

// missing is what families have that is not here, by the beginnings of their names;
// the first that fits counts.
var missing = []struct{ names, what string }{
	{"qwen35 qwen3next kimi-linear", "linear attention (gated delta rule)"},
	{"mamba jamba falcon-h1 granitehybrid nemotron_h plamo2 bailingmoe3", "a state-space layer"},
	{"lfm2", "a short convolution"},
	{"rwkv arwkv", "a recurrent layer"},
	{"bert nomic-bert jina-bert modern-bert neo-bert eurobert gemma-embedding t5encoder", "an encoder, which gives no next token,"},
	{"t5", "cross attention"},
	{"qwen2vl qwen3vl", "a position of several dimensions"},
	{"clip", "a model of pictures"},
	{"gemma3n gemma4", "an embedding of each layer"},
	{"llama4", "attention in chunks and its choice of experts"},
	{"deepseek32 deepseek4 glm-dsa", "sparse attention by an indexer"},
	{"minicpm3", "its form of latent attention"},
	{"gpt2 starcoder bloom mpt falcon refact phi2", "its kind of positions, norms or MLP"},
}

// missingOf returns what an architecture has that is not here, as far as is known.
func missingOf(name string) string {
	for _, m := range missing {
		for prefix := range strings.FieldsSeq(m.names) {
			if strings.HasPrefix(name, prefix) {
				return m.what
			}
		}
	}
	return ""
}

// findArch returns the row of the architecture with the given name.
func findArch(name string) (arch, error) {
	var known []string
	for _, a := range archs {
		if a.name == name {
			return a, nil
		}
		known = append(known, a.name)
	}
	return arch{}, &UnknownArchError{Name: clip(name, 64), Nearest: nearest.Of(name, known), Missing: missingOf(name)}
}

// clip shortens s, which comes from a file, to at most n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}
