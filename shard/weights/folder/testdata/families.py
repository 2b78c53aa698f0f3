"""Makes the folders beside this file: tiny random models of transformers, and their logits.

python families.py  (torch 2.15.0, transformers 5.24.0)
"""
import base64, json, os, sys
import torch
import transformers as T

torch.set_num_threads(1)
base = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, bos_token_id=0, eos_token_id=0, pad_token_id=0)
rope = lambda **k: {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, **k}}
yarn = lambda **k: {"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0, "beta_fast": 32, "beta_slow": 1,
                                        "original_max_position_embeddings": 64, **k}}
granite = dict(attention_multiplier=0.1, embedding_multiplier=6.0, residual_multiplier=0.22, logits_scaling=0.5)
latent = dict(num_key_value_heads=4, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8, n_routed_experts=8,
              num_experts_per_tok=3, moe_intermediate_size=16, first_k_dense_replace=1, num_hidden_layers=3)
neox = {k: v for k, v in base.items() if k != "num_key_value_heads"}
models = {
    "olmo2": (T.Olmo2Config, {**base, **rope()}),
    "olmo3": (T.Olmo3Config, {**base, **yarn(factor=8.0, attention_factor=1.2), "sliding_window": 16}),
    "granite": (T.GraniteConfig, {**base, **rope(), **granite}),
    "granitemoe": (T.GraniteMoeConfig, {**base, **rope(), **granite, "num_local_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 2}),
    "cohere": (T.CohereConfig, {**base, **rope(), "logit_scale": 0.25}),
    "cohere-qknorm": (T.CohereConfig, {**base, **rope(), "logit_scale": 0.25, "use_qk_norm": True}),
    "cohere2": (T.Cohere2Config, {**base, **rope(), "logit_scale": 0.25, "sliding_window": 16, "head_dim": 8}),
    "gptneox": (T.GPTNeoXConfig, {**neox, **rope(partial_rotary_factor=0.25)}),
    "gptneox-serial": (T.GPTNeoXConfig, {**neox, **rope(partial_rotary_factor=0.5), "use_parallel_residual": False}),
    "glm4": (T.Glm4Config, {**base, **rope(partial_rotary_factor=0.5), "head_dim": 8, "attention_bias": True}),
    "gemma": (T.GemmaConfig, {**base, **rope(), "head_dim": 8}),
    "qwen2moe": (T.Qwen2MoeConfig, {**base, **rope(), "moe_intermediate_size": 16, "shared_expert_intermediate_size": 24, "num_experts": 6,
                                    "num_experts_per_tok": 3, "num_hidden_layers": 2}),
    "phi4-mini": (T.Phi3Config, {**base, **rope(partial_rotary_factor=0.75)}),
    "deepseek2-lite": (T.DeepseekV2Config, {**base, **yarn(mscale=0.707, mscale_all_dim=0.707), **latent, "q_lora_rank": None,
                                            "n_shared_experts": 2, "topk_method": "greedy", "n_group": None, "topk_group": None}),
    "deepseek2-groups": (T.DeepseekV2Config, {**base, **rope(), **latent, "q_lora_rank": 12, "n_shared_experts": 1, "n_group": 4, "topk_group": 2,
                                              "topk_method": "group_limited_greedy", "routed_scaling_factor": 4.0}),
    "deepseek3": (T.DeepseekV3Config, {**base, **yarn(mscale=1.0, mscale_all_dim=1.0), **latent, "q_lora_rank": 12, "n_shared_experts": 1,
                                       "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5}),
    "olmoe": (T.OlmoeConfig, {**base, **rope(), "num_experts": 6, "num_experts_per_tok": 3, "num_hidden_layers": 2, "intermediate_size": 24}),
    "stablelm": (T.StableLmConfig, {**base, **rope(partial_rotary_factor=0.25), "use_qkv_bias": True}),
    "stablelm-parallel": (T.StableLmConfig, {**base, **rope(partial_rotary_factor=0.5), "use_parallel_residual": True}),
    "seed-oss": (T.SeedOssConfig, {**base, **rope(), "head_dim": 8}),
    "arcee": (T.ArceeConfig, {**base, **rope()}),
    "glm4-moe": (T.Glm4MoeConfig, {**base, **rope(partial_rotary_factor=0.5), "head_dim": 8, "n_routed_experts": 6, "num_experts_per_tok": 3,
                                   "moe_intermediate_size": 16, "n_shared_experts": 1, "first_k_dense_replace": 1, "num_hidden_layers": 3,
                                   "attention_bias": True, "use_qk_norm": True, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.5}),
}
old = {"rotary_pct": ("gptneox", "gptneox-serial", "cohere2")}  # get the layout of transformers 4


def fill(name, p, g, tied):
    if p.dim() >= 2:
        scale = 0.3 if tied and "embed" in name else 1.0 if "embed" in name else 2.0 / p.shape[-1] ** 0.5
        return torch.randn(p.shape, generator=g) * scale
    if "bias" in name:
        return torch.randn(p.shape, generator=g) * 0.1
    return torch.randn(p.shape, generator=g) * 0.1 + (0 if "Gemma" in str(type(p)) else 1)


for name in sys.argv[1:] or models:
    cls, kw = models[name]
    tied = name not in ("olmo2", "glm4", "qwen2moe", "gptneox", "deepseek2-lite")
    cfg = cls(**{**kw, "tie_word_embeddings": tied})
    m = T.AutoModelForCausalLM.from_config(cfg, dtype=torch.float32, attn_implementation="eager").eval()
    g = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for n, p in list(m.named_parameters()) + [(n, b) for n, b in m.named_buffers() if "correction_bias" in n]:
            x = fill(n, p, g, tied)
            if name == "gemma" and p.dim() == 1:
                x = x - 1
            p.copy_(x.to(torch.bfloat16).float())
        ids = torch.randint(1, 96, (1, 40), generator=g)
        logits = m(ids).logits[0].float()
    m.to(torch.bfloat16).save_pretrained(name)
    os.remove(name + "/generation_config.json")
    if name in old["rotary_pct"]:
        c = json.load(open(name + "/config.json"))
        r = c.pop("rope_parameters")
        c["rotary_pct"] = r.get("partial_rotary_factor", 1.0)
        c["rotary_emb_base" if "neox" in name else "rope_theta"] = r["rope_theta"]
        json.dump(c, open(name + "/config.json", "w"), indent=1)
    at = [0, 1, 15, 16, 17, 31, 39]
    json.dump({"prompt_ids": ids[0].tolist(), "positions": at,
               "logits_f32le_base64": {str(p): base64.b64encode(logits[p].numpy().tobytes()).decode() for p in at}},
              open(name + "/golden.json", "w"))
    print(name, "deviation %.2f" % logits.std().item(), flush=True)
