package model

import (
	"fmt"
	"math"

	"github.com/shardnode/shardnode/tensorio/vec"
)

// Metadata is the metadata of a model, by the keys of GGUF files. The second
// result is false if the key is missing or of another type.
type Metadata interface {
	Str(key string) (string, bool)
	Uint(key string) (uint64, bool)
	Float(key string) (float64, bool)
	Strs(key string) ([]string, bool)
}

// Config is what the metadata say about a model.
type Config struct {
	Arch    string
	Layers  int
	Dim     int // of the hidden state
	Heads   int
	KVHeads int
	HeadDim int // of a query and key
	ValDim  int // of a value
	FFNDim  int
	Vocab   int
	Context int // tokens of the longest session

	Experts      int // of a layer; 0: its MLP is one
	ExpertsUsed  int // of them, for a row
	ExpertFFNDim int
	SharedFFNDim int // of the expert that sees every row; 0 if there is none

	Eps       float32
	RopeDim   int // values of a head that are rotated, from the first
	RopeBase  float64
	RopeScale float64 // what positions are divided by; 1 for none
	// RopeContext is how long the sessions were that a model with longrope was
	// first trained with, and RopeAmplitude what its cosines and sines are
	// multiplied with.
	RopeContext   int
	RopeAmplitude float32
	YarnAmplitude float32 // the same with YaRN; 0: as long as YaRN's paper has it
	YarnFactor    float64 // by which YaRN divides low frequencies; 0 without YaRN
	YarnFast      float64 // rotations within RopeContext above which a frequency stays
	YarnSlow      float64 // and below which it is divided

	// ScoreCap bounds the scores of attention softly, as vec.SoftCap; 0 for no bound.
	ScoreCap float32
	// LogitCap bounds logits in the same way.
	LogitCap float32

	Window        int     // positions that a local layer sees, its own included; 0 if none is local
	RopeLocalBase float64 // of local layers

	EmbedScale    float32 // of embeddings; 1 for none
	ResidualScale float32 // of what a layer adds to the hidden state; 1 for none
	ScoreScale    float32 // of scores; 0 for 1/sqrt(headDim)
	LogitScale    float32 // of logits; 1 for none

	latent  latentShape
	route   routing
	local   []bool // layers that see a window; nil: as arch says
	turning []bool // layers that rotate; nil: as arch says
	arch    arch
}

// Limits on what a file may say. They bound memory, and are far above any
// model that exists.
const (
	maxLayers = 1 << 12
	maxDim    = 1 << 20
	maxVocab  = 1 << 24
)

// ReadConfig reads and checks the configuration in meta. The error names the
// key, or is an [*UnknownArchError].
func ReadConfig(meta Metadata) (Config, error) {
	name, ok := meta.Str("general.architecture")
	if !ok {
		return Config{}, fmt.Errorf("model metadata: key \"general.architecture\" is missing: this is not a language model")
	}
	a, err := findArch(name)
	if err != nil {
		return Config{}, err
	}
	c := Config{Arch: name, arch: a}
	r := keys{meta: meta, arch: name}
	c.Layers = r.count("block_count", 0, maxLayers)
	// Layers that guess further tokens are counted, and come last.
	if n, ok := r.meta.Uint(name + ".nextn_predict_layers"); ok && n < uint64(c.Layers) {
		c.Layers -= int(n) //nolint:gosec // less than Layers
	}
	c.Dim = r.count("embedding_length", 0, maxDim)
	c.FFNDim = r.count("feed_forward_length", 0, maxDim)
	c.Heads = r.count("attention.head_count", 0, maxDim)
	c.KVHeads = r.count("attention.head_count_kv", c.Heads, maxDim)
	c.HeadDim = r.count("attention.key_length", c.Dim/max(1, c.Heads), maxDim)
	c.ValDim = r.count("attention.value_length", c.HeadDim, maxDim)
	c.Context = r.count("context_length", 0, math.MaxInt32)
	c.RopeDim = r.count("rope.dimension_count", c.HeadDim, maxDim)
	c.route.scale = 1
	r.readExperts(&c)
	if a.capped {
		c.ScoreCap = float32(r.real("attn_logit_softcapping", 50))
		c.LogitCap = float32(r.real("final_logit_softcapping", 30))
	}
	c.Vocab = r.vocab()
	c.Eps = float32(r.real("attention.layer_norm_rms_epsilon", 1e-5))
	if a.layerNorm {
		c.Eps = float32(r.real("attention.layer_norm_epsilon", 1e-5))
	}
	r.readScales(&c)
	r.readLatent(&c)
	c.RopeBase = r.real("rope.freq_base", 10000)
	c.RopeScale = r.ropeScale()
	r.readYarn(&c)
	c.RopeContext = r.count("rope.scaling.original_context_length", c.Context, math.MaxInt32)
	c.RopeAmplitude = float32(r.real("rope.scaling.attn_factor", longAmplitude(c.Context, c.RopeContext)))
	r.readWindow(&c)
	if r.err != nil {
		return Config{}, r.err
	}
	return c, c.check()
}

// readWindow reads which layers see a sliding window, and how long it is.
func (r *keys) readWindow(c *Config) {
	a := &c.arch
	switch {
	case a.globalEvery > 0 && !a.windowed:
		c.Window = r.count("attention.sliding_window", 0, math.MaxInt32)
		c.RopeLocalBase = r.real("rope.freq_base_swa", 10000)
		if a.oneRope {
			c.RopeLocalBase = c.RopeBase
		}
	case a.windowed:
		c.Window = r.window()
		c.RopeLocalBase = c.RopeBase
	}
	if c.Window > 0 {
		c.local = r.bools("attention.sliding_window_pattern")
	}
	c.turning = r.bools("attention.rope_pattern")
	if n, ok := r.meta.Uint(r.arch + ".attention.sliding_window_pattern"); ok && n > 0 && n <= maxLayers && a.globalEvery > 0 {
		c.arch.globalEvery = int(n)
	}
}

// moreMetadata are kinds of values that few architectures ask for.
type moreMetadata interface {
	Bool(key string) (bool, bool)
	Bools(key string) ([]bool, bool)
}

// bool returns a truth value; a missing key gives def.
func (r *keys) bool(key string, def bool) bool {
	if more, ok := r.meta.(moreMetadata); ok {
		if x, ok := more.Bool(r.arch + "." + key); ok {
			return x
		}
	}
	return def
}

// bools returns truth values, one a layer; nil if the key is missing.
func (r *keys) bools(key string) []bool {
	if more, ok := r.meta.(moreMetadata); ok {
		x, _ := more.Bools(r.arch + "." + key)
		return x
	}
	return nil
}

// readScales reads numbers that some families multiply with.
func (r *keys) readScales(c *Config) {
	c.EmbedScale = float32(r.real("embedding_scale", 1))
	c.ResidualScale = float32(r.real("residual_scale", 1))
	c.ScoreScale = float32(r.real("attention.scale", 0))
	c.LogitScale = float32(r.real("logit_scale", 1))
	if c.arch.divides && c.LogitScale != 0 {
		c.LogitScale = 1 / c.LogitScale
	}
	if c.arch.scaledEmbed {
		c.EmbedScale = float32(math.Sqrt(float64(c.Dim)))
	}
	if key := c.arch.parallelKey; key != "" {
		c.arch.parallel = r.bool(key, c.arch.parallel)
	}
	// What GGUF files of others don't say, and those of package folder do.
	c.arch.fineYarn = !r.bool("rope.scaling.yarn_truncate", !c.arch.fineYarn)
	switch act, _ := r.meta.Str(r.arch + ".feed_forward_activation"); act {
	case "gelu":
		c.arch.act = gelu
	case "gelu_tanh":
		c.arch.act = geluTanh
	}
}

// isLocal reports whether a layer sees a window only.
func (c *Config) isLocal(layer int) bool {
	switch {
	case c.Window == 0:
		return false
	case layer < len(c.local):
		return c.local[layer]
	}
	return c.arch.globalEvery == 0 || (layer+1)%c.arch.globalEvery != 0
}

// rotates reports whether a layer rotates its queries and keys.
func (c *Config) rotates(layer int) bool {
	a := &c.arch
	if layer < len(c.turning) {
		return c.turning[layer]
	}
	if a.localRope && !c.isLocal(layer) {
		return false
	}
	return a.noRopeEvery == 0 || (layer+1)%a.noRopeEvery != 0
}

// check reports what cannot be computed.
func (c Config) check() error {
	switch {
	case c.Vocab < 1:
		return fmt.Errorf("model metadata: the size of the vocabulary is missing: want %s.vocab_size or tokenizer.ggml.tokens", c.Arch)
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("model metadata: %d attention heads over %d key/value heads: want a multiple", c.Heads, c.KVHeads)
	case c.RopeDim%2 != 0 || c.RopeDim > c.HeadDim:
		return fmt.Errorf("model metadata: rope.dimension_count is %d, want an even number up to the head's %d", c.RopeDim, c.HeadDim)
	case c.Heads*max(c.HeadDim, c.ValDim) > maxDim:
		return fmt.Errorf("model metadata: %d heads of %d values: want %d values at most", c.Heads, max(c.HeadDim, c.ValDim), maxDim)
	}
	for _, n := range []struct {
		key       string
		x         float64
		low, high float64
	}{
		{"attention.layer_norm_rms_epsilon", float64(c.Eps), 1e-12, 1},
		{"rope.freq_base", c.RopeBase, 1, 1e12},
		{"rope.freq_base_swa", max(c.RopeLocalBase, 1), 1, 1e12},
		{"rope.scaling.factor", c.RopeScale, 1e-3, 1e6},
		{"rope.scaling.factor", max(c.YarnFactor, 1), 1, 1e6},
		{"rope.scaling.yarn_beta_fast", c.YarnFast, 0, 1e6},
		{"rope.scaling.yarn_beta_slow", c.YarnSlow, 0, 1e6},
		{"attn_logit_softcapping", float64(c.ScoreCap), 0, 1e6},
		{"final_logit_softcapping", float64(c.LogitCap), 0, 1e6},
		{"rope.scaling.attn_factor", float64(c.RopeAmplitude), 1e-3, 1e3},
		{"rope.scaling.yarn_attn_factor", float64(c.YarnAmplitude), 0, 1e3},
		{"embedding_scale", float64(c.EmbedScale), 1e-6, 1e6},
		{"residual_scale", float64(c.ResidualScale), 1e-6, 1e6},
		{"attention.scale", float64(c.ScoreScale), 0, 1e6},
		{"logit_scale", float64(c.LogitScale), 1e-6, 1e6},
		{"expert_weights_scale", float64(c.route.scale), 1e-6, 1e6},
	} {
		if !(n.x >= n.low && n.x <= n.high) {
			return fmt.Errorf("model metadata: %s is %v, want %v to %v", n.key, n.x, n.low, n.high)
		}
	}
	return nil
}

// scoreScale returns what scores are multiplied with.
func (c *Config) scoreScale() float32 {
	switch n := c.arch.wideLayers; {
	case c.ScoreScale > 0:
		return c.ScoreScale
	case n > 0 && c.Layers == n:
		return 1 / float32(math.Sqrt(float64(c.Dim/c.Heads)))
	case c.arch.latent:
		return c.latentScale()
	}
	return 1 / float32(math.Sqrt(float64(c.HeadDim)))
}

// longAmplitude is longrope's amplitude where the file has none (arXiv
// 2402.13753; transformers, _compute_longrope_parameters).
func longAmplitude(context, original int) float64 {
	if context <= original || original < 2 {
		return 1
	}
	return math.Sqrt(1 + vec.LogF64(float64(context)/float64(original))/vec.LogF64(float64(original)))
}

// keys reads the keys of one architecture and keeps the first error.
type keys struct {
	meta Metadata
	arch string
	err  error
}

// count returns a positive number up to most; a missing key gives def, or is
// an error if def is 0.
func (r *keys) count(key string, def, most int) int {
	key = r.arch + "." + key
	n, ok := r.meta.Uint(key)
	switch {
	case r.err != nil:
		return 1
	case !ok && def > 0:
		return def
	case !ok:
		r.err = fmt.Errorf("model metadata: key %q is missing or not one whole number", key)
		return 1
	case n < 1 || n > uint64(most):
		r.err = fmt.Errorf("model metadata: %q is %d, want 1 to %d", key, n, most)
		return 1
	}
	return int(n)
}

// real returns a number; a missing key gives def.
func (r *keys) real(key string, def float64) float64 {
	if x, ok := r.meta.Float(r.arch + "." + key); ok {
		return x
	}
	return def
}

// window returns the sliding window, 0 if there is none.
func (r *keys) window() int {
	n, _ := r.meta.Uint(r.arch + ".attention.sliding_window")
	return int(min(n, math.MaxInt32))
}

// vocab returns the number of tokens, 0 if the metadata do not say.
func (r *keys) vocab() int {
	if n, ok := r.meta.Uint(r.arch + ".vocab_size"); ok && n <= maxVocab {
		return int(n)
	}
	if words, ok := r.meta.Strs("tokenizer.ggml.tokens"); ok {
		return len(words)
	}
	return 0
}

// ropeScale returns what positions are divided by. Llama 3's scaling is not
// here: converters write it as a tensor, rope_freqs.weight.
func (r *keys) ropeScale() float64 {
	kind, _ := r.meta.Str(r.arch + ".rope.scaling.type")
	switch kind {
	case "", "none":
		return r.real("rope.scale_linear", 1)
	case "longrope", "yarn":
		return 1
	case "linear":
		return r.real("rope.scaling.factor", 1)
	}
	if r.err == nil {
		r.err = fmt.Errorf("model metadata: %q is %q, which is not supported: want none, linear, yarn or longrope",
			r.arch+".rope.scaling.type", clip(kind, 64))
	}
	return 1
}
