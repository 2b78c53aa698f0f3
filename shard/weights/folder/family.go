package folder

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard/nearest"
)

// A family is how models of one or more model_type become those of an
// architecture of GGUF files. The zero value, with a name, is Llama's.
type family struct {
	arch string // general.architecture
	// names are names of a layer's tensors beside or in place of those in layerNames;
	// "" leaves a tensor out.
	names map[string]string
	// permute brings the rows of q and k into the order of neighbouring pairs.
	permute bool
	// plusOne adds 1 to norms.
	plusOne bool
	// tied drops a head of its own.
	tied bool
	// defaults are what configs leave out.
	defaults map[string]float64
	// more adds metadata, and tensors that are not one of the folder's each.
	more func(b *builder)
	// take makes tensors of one of the folder's, and reports whether it did.
	take func(b *builder, l int, rest string, s *source) bool
}

// layerNames are the names of a layer's tensors, without .weight or .bias.
var layerNames = map[string]string{
	"input_layernorm":          "attn_norm",
	"self_attn.q_proj":         "attn_q",
	"self_attn.k_proj":         "attn_k",
	"self_attn.v_proj":         "attn_v",
	"self_attn.qkv_proj":       "attn_qkv",
	"self_attn.o_proj":         "attn_output",
	"self_attn.q_norm":         "attn_q_norm",
	"self_attn.k_norm":         "attn_k_norm",
	"post_attention_layernorm": "ffn_norm",
	"mlp.gate_proj":            "ffn_gate",
	"mlp.up_proj":              "ffn_up",
	"mlp.down_proj":            "ffn_down",
	"mlp.gate_up_proj":         "ffn_up",
	"mlp.gate":                 "ffn_gate_inp",
	"block_sparse_moe.gate":    "ffn_gate_inp",

	"mlp.shared_expert.gate_proj":  "ffn_gate_shexp",
	"mlp.shared_expert.up_proj":    "ffn_up_shexp",
	"mlp.shared_expert.down_proj":  "ffn_down_shexp",
	"mlp.shared_expert_gate":       "ffn_gate_inp_shexp",
	"mlp.shared_experts.gate_proj": "ffn_gate_shexp",
	"mlp.shared_experts.up_proj":   "ffn_up_shexp",
	"mlp.shared_experts.down_proj": "ffn_down_shexp",
}

// behind is the norm before the MLP, by its place behind attention.
var behind = map[string]string{"post_attention_layernorm": "post_attention_norm"}

// around are norms behind attention and MLP, as Gemma 2 and 3 call them.
var around = map[string]string{
	"post_attention_layernorm":   "post_attention_norm",
	"pre_feedforward_layernorm":  "ffn_norm",
	"post_feedforward_layernorm": "post_ffw_norm",
}

// families are the kinds of folders that can be read, by model_type.
var families = map[string]family{
	"llama":      {arch: "llama", permute: true, more: llama},
	"mistral":    {arch: "llama", permute: true, more: llama},
	"mixtral":    {arch: "llama", permute: true, more: llama},
	"smollm3":    {arch: "smollm3", permute: true, more: llama},
	"granite":    {arch: "granite", permute: true, more: granite},
	"granitemoe": {arch: "granitemoe", permute: true, more: granite, take: takeGranite},

	"granitemoeshared": {arch: "granitemoe", permute: true, more: granite, take: takeGranite},

	"qwen2":       {arch: "qwen2", more: plain},
	"qwen2_moe":   {arch: "qwen2moe", more: experts},
	"qwen3":       {arch: "qwen3", more: plain},
	"qwen3_moe":   {arch: "qwen3moe", more: experts},
	"phi3":        {arch: "phi3", more: phi3},
	"olmoe":       {arch: "olmoe", more: experts},
	"stablelm":    {arch: "stablelm", more: neox},
	"arcee":       {arch: "arcee", permute: true, more: llama},
	"seed_oss":    {arch: "seed_oss", more: plain, names: behind},
	"glm4_moe":    {arch: "glm4moe", more: glmExperts, take: takeDeepSeek, names: behind},
	"gemma":       {arch: "gemma", plusOne: true, tied: true, more: plain},
	"gemma2":      {arch: "gemma2", plusOne: true, tied: true, names: around, more: gemma},
	"gemma3":      {arch: "gemma3", plusOne: true, tied: true, names: around, more: gemma, defaults: gemma3},
	"gemma3_text": {arch: "gemma3", plusOne: true, tied: true, names: around, more: gemma, defaults: gemma3},
	"olmo2":       {arch: "olmo2", names: around, more: windowed},
	"olmo3":       {arch: "olmo2", names: around, more: windowed},
	"cohere":      {arch: "command-r", tied: true, more: cohere},
	"cohere2":     {arch: "cohere2", tied: true, more: cohere},
	"starcoder2": {arch: "starcoder2", more: plain, names: map[string]string{
		"mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
	}},
	"gpt_neox": {arch: "gptneox", more: neox, take: takeNeoX, names: map[string]string{
		"post_attention_layernorm": "ffn_norm",
		"attention.dense":          "attn_output",
		"mlp.dense_h_to_4h":        "ffn_up",
		"mlp.dense_4h_to_h":        "ffn_down",
		"attention.bias":           "",
		"attention.masked_bias":    "",
	}},
	"glm4": {arch: "glm4", more: plain, names: map[string]string{
		"post_self_attn_layernorm": "post_attention_norm",
		"post_mlp_layernorm":       "post_ffw_norm",
	}},
	"gpt_oss": {arch: "gpt-oss", more: experts, take: takeOSS, names: map[string]string{
		"post_attention_layernorm": "post_attention_norm",
		"mlp.router":               "ffn_gate_inp",
	}},
	"deepseek_v2": {arch: "deepseek2", more: deepseek, take: takeDeepSeek, names: latentNames},
	"deepseek_v3": {arch: "deepseek2", more: deepseek, take: takeDeepSeek, names: latentNames},
}

// gemma3 is what configs of Gemma 3 leave out (transformers, Gemma3TextConfig).
var gemma3 = map[string]float64{
	"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
	"rms_norm_eps": 1e-6, "rope_theta": 1e6, "rope_local_base_freq": 1e4, "query_pre_attn_scalar": 256, "sliding_window": 4096,
}

// latentNames are those of latent attention.
var latentNames = map[string]string{
	"self_attn.q_a_proj":           "attn_q_a",
	"self_attn.q_a_layernorm":      "attn_q_a_norm",
	"self_attn.q_b_proj":           "attn_q_b",
	"self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
	"self_attn.kv_a_layernorm":     "attn_kv_a_norm",
}

// An UnknownTypeError says that folders with a model_type can't be read.
type UnknownTypeError struct {
	Type    string
	Nearest string
}

// Error names the nearest type, and all of them.
func (e *UnknownTypeError) Error() string {
	if e.Type == "" {
		return "config.json: model_type is missing: this is no folder of a language model"
	}
	return fmt.Sprintf("config.json: model_type %q can't be read: the nearest that can, is %q (all: %s); use a model of one of these",
		e.Type, e.Nearest, strings.Join(slices.Sorted(maps.Keys(families)), ", "))
}

// findFamily returns the family of a config.
func findFamily(c *conf) (family, error) {
	var top struct {
		Type string `json:"model_type"`
	}
	top.Type = c.text("model_type")
	if f, ok := families[top.Type]; ok {
		return f, c.err
	}
	name := top.Type[:min(len(top.Type), 64)]
	return family{}, &UnknownTypeError{Type: name, Nearest: nearest.Of(name, slices.Collect(maps.Keys(families)))}
}
