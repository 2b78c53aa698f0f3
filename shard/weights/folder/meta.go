package folder

import (
	"fmt"
	"math"
	"strings"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// set sets a key of the architecture.
func (b *builder) set(key string, value any) { b.setKey(b.family.arch+"."+key, value) }

// setKey sets a key.
func (b *builder) setKey(key string, value any) {
	if err := b.meta.Set(key, value); err != nil {
		b.conf.fail(err)
	}
}

// setNumber sets a key to a number of the config, if it is there.
func (b *builder) setNumber(key string, names ...string) {
	if x, ok := b.conf.number(names...); ok {
		b.set(key, float32(x))
	}
}

// setCount sets a key to a whole number of the config, if it is there.
func (b *builder) setCount(key string, names ...string) {
	if n, ok := b.conf.count(names...); ok {
		b.setInt(key, n)
	}
}

// setInt sets a key to a whole number, which is not negative.
func (b *builder) setInt(key string, n int) {
	b.set(key, uint32(max(0, min(n, math.MaxInt32)))) //nolint:gosec // within
}

// common sets what most architectures have (llama.cpp, TextModel.set_gguf_parameters).
func (b *builder) common() {
	c := b.conf
	b.setKey("general.architecture", b.family.arch)
	b.setKey("general.type", "model")
	b.setInt("block_count", b.layers)
	b.setInt("context_length", c.need("max_position_embeddings", "n_positions", "max_sequence_length"))
	b.setInt("embedding_length", b.dim)
	b.setCount("feed_forward_length", "intermediate_size", "n_inner")
	b.setInt("attention.head_count", b.heads)
	b.setInt("attention.head_count_kv", b.kvHeads)
	b.setInt("attention.key_length", b.headDim)
	b.setInt("attention.value_length", b.headDim)
	b.setNumber("attention.layer_norm_rms_epsilon", "rms_norm_eps", "norm_eps")
	b.setNumber("attention.layer_norm_epsilon", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")
	b.setCount("expert_count", "num_local_experts", "num_experts", "n_routed_experts")
	b.setCount("expert_used_count", "num_experts_per_tok", "num_experts_per_token")
	b.setCount("vocab_size", "vocab_size")
	b.setNumber("attention.scale", "attention_multiplier")
	b.activation()
	b.rope()
}

// activation says which GELU is meant, where GGUF files leave it to the reader, and
// refuses what the architecture does not compute.
func (b *builder) activation() {
	act := b.conf.text("hidden_activation", "hidden_act")
	known := act == ""
	switch b.family.arch {
	case "gemma", "gemma2", "gemma3": // "gelu" means the approximation, too
		known = known || strings.HasPrefix(act, "gelu")
	case "gptneox", "starcoder2":
		usual := b.family.arch == "gptneox" // the error function
		switch act {
		case "":
		case "gelu":
			if known = true; !usual {
				b.set("feed_forward_activation", "gelu")
			}
		case "gelu_new", "gelu_fast", "gelu_pytorch_tanh":
			if known = true; usual {
				b.set("feed_forward_activation", "gelu_tanh")
			}
		}
	case "arcee":
		known = act == "relu2"
	default:
		known = known || act == "silu" || act == "swish"
	}
	if !known {
		b.conf.fail(fmt.Errorf("config.json: hidden_act %q can't be computed in the architecture %s", act[:min(len(act), 40)], b.family.arch))
	}
}

// ropeDim returns how many values of a head are rotated.
func (b *builder) ropeDim() int {
	share := 1.0
	switch {
	case b.r.Partial != nil:
		share = *b.r.Partial
	case strings.HasPrefix(b.family.arch, "glm4"):
		share = 0.5
	case b.family.arch == "gptneox" || b.family.arch == "stablelm":
		share = 0.25
	}
	if !(share > 0 && share <= 1) {
		b.conf.fail(fmt.Errorf("config.json: partial_rotary_factor is %v, want more than 0 and at most 1", share))
		return 2
	}
	return int(share * float64(b.headDim))
}

// rope sets what concerns rotary embedding.
func (b *builder) rope() {
	r := &b.r
	dim := b.ropeDim()
	b.setInt("rope.dimension_count", dim)
	if r.Theta != nil {
		b.set("rope.freq_base", float32(*r.Theta))
	}
	if r.local != nil {
		b.set("rope.freq_base_swa", float32(*r.local))
	}
	switch r.Type {
	case "", "default", "none", "mrope", "proportional":
	case "linear":
		b.set("rope.scaling.type", "linear")
		b.set("rope.scaling.factor", float32(r.Factor))
	case "yarn":
		b.yarn()
	case "llama3":
		b.bands(dim)
	case "longrope", "su":
		b.long(dim)
	default:
		b.conf.fail(fmt.Errorf("config.json: rope_type %q can't be computed: want default, linear, yarn, llama3 or longrope", r.Type[:min(len(r.Type), 40)]))
	}
}

func (b *builder) yarn() {
	r := &b.r
	b.set("rope.scaling.type", "yarn")
	b.set("rope.scaling.factor", float32(r.Factor))
	b.setInt("rope.scaling.original_context_length", int(max(0, min(r.Original, math.MaxInt32))))
	if r.Fast != nil {
		b.set("rope.scaling.yarn_beta_fast", float32(*r.Fast))
	}
	if r.Slow != nil {
		b.set("rope.scaling.yarn_beta_slow", float32(*r.Slow))
	}
	// llama.cpp rounds the borders of all models; GPT-OSS wants them as they are.
	if fine := r.Truncate != nil && !*r.Truncate; fine != (b.family.arch == "gpt-oss") {
		b.set("rope.scaling.yarn_truncate", !fine)
	}
	switch {
	case r.Attn != nil:
		b.set("rope.scaling.yarn_attn_factor", float32(*r.Attn))
	case r.MScale != nil && r.MScaleAt != nil && *r.MScale != *r.MScaleAt:
		// transformers, _compute_yarn_parameters
		grown := 0.1 * vec.LogF64(max(1, r.Factor))
		// Products are not to be fused with sums: a model id is the same everywhere.
		b.set("rope.scaling.yarn_attn_factor", float32((1+float64(*r.MScale*grown))/(1+float64(*r.MScaleAt*grown))))
	}
}

// bands adds the factors of Llama 3.1 (transformers, _compute_llama3_parameters).
func (b *builder) bands(dim int) {
	r := &b.r
	or := func(x *float64, def float64) float64 {
		if x == nil {
			return def
		}
		return *x
	}
	low, high, theta := or(r.Low, 1), or(r.High, 4), or(r.Theta, 10000)
	factor, original := r.Factor, r.Original
	if factor == 0 {
		factor = 8
	}
	if original == 0 {
		original = 8192
	}
	factors := make([]float32, dim/2)
	for i := range factors {
		// Converters compute this in float32.
		freq := float32(1 / vec.PowF64(theta, float64(2*i)/float64(dim)))
		length := 2 * math.Pi / float64(freq)
		switch {
		case length < original/high:
			factors[i] = 1
		case length > original/low:
			factors[i] = float32(factor)
		default:
			smooth := (original/length - low) / (high - low)
			factors[i] = float32(1 / ((1-smooth)/factor + smooth))
		}
	}
	b.addFloats("rope_freqs.weight", factors)
}

// long adds the factors of longrope.
func (b *builder) long(dim int) {
	r := &b.r
	if len(r.Long) != dim/2 || len(r.Short) != dim/2 {
		b.conf.fail(fmt.Errorf("config.json: long_factor and short_factor have %d and %d numbers, want %d", len(r.Long), len(r.Short), dim/2))
		return
	}
	b.set("rope.scaling.type", "longrope")
	b.addFloats("rope_factors_long.weight", floats(r.Long))
	b.addFloats("rope_factors_short.weight", floats(r.Short))
	context := float64(b.conf.need("max_position_embeddings"))
	b.setInt("rope.scaling.original_context_length", int(max(0, min(r.Original, math.MaxInt32))))
	amplitude := 1.0
	switch scale := context / max(r.Original, 1); {
	case r.Attn != nil:
		amplitude = *r.Attn
	case scale > 1:
		amplitude = math.Sqrt(1 + vec.LogF64(scale)/vec.LogF64(r.Original))
	}
	b.set("rope.scaling.attn_factor", float32(amplitude))
}

func floats(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

// addFloats adds a vector that the folder does not have.
func (b *builder) addFloats(name string, x []float32) {
	b.add(made{Tensor: tensorio.Tensor{Name: name, Type: tensorio.F32, Shape: []int{len(x)}, Data: encode(nil, x, tensorio.F32)}})
}

// The metadata of families, beside what common sets.

func plain(b *builder) {
	switch {
	case b.family.arch == "starcoder2":
		b.setCount("attention.sliding_window", "sliding_window")
	case b.conf.flag(false, "use_sliding_window"):
		windowed(b)
	}
}

func llama(b *builder) {
	var turning []int
	if b.family.arch == "smollm3" && b.conf.read(&turning, "no_rope_layers") && len(turning) == b.layers {
		usual, turns := true, make([]bool, b.layers)
		for i, n := range turning {
			turns[i] = n != 0
			usual = usual && turns[i] == ((i+1)%4 != 0)
		}
		if !usual {
			b.set("attention.rope_pattern", turns)
		}
	}
	if b.conf.flag(true, "use_sliding_window") {
		b.setCount("attention.sliding_window", "sliding_window")
	}
}

func windowed(b *builder) {
	b.setCount("attention.sliding_window", "sliding_window")
	b.pattern()
	if first, ok := b.conf.count("max_window_layers"); ok && b.conf.raw["layer_types"] == nil { // Qwen 2 and 3
		local := make([]bool, b.layers)
		for i := range local {
			local[i] = i >= first
		}
		b.set("attention.sliding_window_pattern", local)
	}
}

// pattern says which layers see a window, where the config does.
func (b *builder) pattern() {
	var kinds []string
	if !b.conf.read(&kinds, "layer_types") || len(kinds) != b.layers {
		return
	}
	local := make([]bool, len(kinds))
	for i, kind := range kinds {
		local[i] = kind == "sliding_attention"
	}
	b.set("attention.sliding_window_pattern", local)
}

func granite(b *builder) {
	b.setNumber("embedding_scale", "embedding_multiplier")
	b.setNumber("residual_scale", "residual_multiplier")
	b.setNumber("logit_scale", "logits_scaling")
	b.setCount("expert_shared_feed_forward_length", "shared_intermediate_size")
}

func experts(b *builder) {
	// Converters leave this out, and llama.cpp takes what the family has as a rule.
	switch normed := b.conf.flag(b.family.arch != "qwen2moe", "norm_topk_prob"); {
	case b.family.arch == "qwen2moe" && normed:
		b.set("expert_weights_norm", true)
	case b.family.arch == "qwen3moe" && !normed:
		b.setInt("expert_gating_func", 1) // softmax over all, not over the chosen
	}
	b.setCount("expert_feed_forward_length", "moe_intermediate_size", "intermediate_size")
	b.setCount("expert_shared_feed_forward_length", "shared_expert_intermediate_size")
	if b.family.arch == "gpt-oss" {
		windowed(b)
	}
}

func phi3(b *builder) {
	b.setInt("attention.sliding_window", b.conf.def(0, "sliding_window")) // llama.cpp wants it
	if b.r.Original > 0 {
		b.setInt("rope.scaling.original_context_length", int(min(b.r.Original, math.MaxInt32)))
	}
}

func gemma(b *builder) {
	for _, name := range []string{"attn_logit_softcapping", "final_logit_softcapping"} {
		if _, ok := b.conf.number(name); ok {
			b.setNumber(name, name)
		} else if b.family.arch == "gemma2" {
			b.set(name, float32(0))
		}
	}
	windowed(b)
	// Converters leave this out, and llama.cpp takes the size of a head.
	if x, ok := b.conf.number("query_pre_attn_scalar"); ok && x > 0 && x != float64(b.headDim) {
		b.set("attention.scale", float32(1/math.Sqrt(x)))
	}
}

func cohere(b *builder) {
	b.set("rope.scaling.type", "none")
	b.setNumber("logit_scale", "logit_scale")
	if b.family.arch == "cohere2" {
		windowed(b)
	}
}

func neox(b *builder) {
	b.set("use_parallel_residual", b.conf.flag(b.family.arch == "gptneox", "use_parallel_residual"))
}

func glmExperts(b *builder) {
	b.setCount("expert_feed_forward_length", "moe_intermediate_size")
	b.setInt("expert_shared_count", b.conf.def(0, "n_shared_experts"))
	b.setInt("leading_dense_block_count", min(b.conf.def(0, "first_k_dense_replace"), b.layers))
	b.setInt("expert_gating_func", 2) // sigmoid
	b.setNumber("expert_weights_scale", "routed_scaling_factor")
	b.set("expert_weights_norm", b.conf.flag(true, "norm_topk_prob"))
	b.setCount("expert_group_count", "n_group")
	b.setCount("expert_group_used_count", "topk_group")
}

func deepseek(b *builder) {
	c := b.conf
	nope, rot, value := c.need("qk_nope_head_dim"), c.need("qk_rope_head_dim"), c.need("v_head_dim")
	rank := c.need("kv_lora_rank")
	b.setInt("attention.head_count_kv", 1)
	b.setInt("attention.kv_lora_rank", rank)
	b.setCount("attention.q_lora_rank", "q_lora_rank")
	b.setInt("attention.key_length", rank+rot)
	b.setInt("attention.value_length", rank)
	b.setInt("attention.key_length_mla", nope+rot)
	b.setInt("attention.value_length_mla", value)
	b.setInt("rope.dimension_count", rot)
	b.setInt("leading_dense_block_count", min(c.def(0, "first_k_dense_replace"), b.layers))
	b.setCount("expert_feed_forward_length", "moe_intermediate_size")
	b.setInt("expert_shared_count", c.def(0, "n_shared_experts"))
	b.setNumber("expert_weights_scale", "routed_scaling_factor")
	v3 := c.text("model_type") == "deepseek_v3"
	b.set("expert_weights_norm", v3 && c.flag(true, "norm_topk_prob"))
	gating := uint32(1) // softmax
	if c.text("scoring_func") == "sigmoid" || v3 && c.text("scoring_func") == "" {
		gating = 2
	}
	b.set("expert_gating_func", gating)
	if v3 || c.text("topk_method") != "greedy" {
		b.setCount("expert_group_count", "n_group")
		b.setCount("expert_group_used_count", "topk_group")
	}
	if b.r.MScaleAt != nil {
		b.set("rope.scaling.yarn_log_multiplier", float32(0.1**b.r.MScaleAt))
	}
}
