package folder

import "strings"

// What families do with tensors that are not simply renamed.

// takeOSS takes the experts of GPT-OSS: of gate and up even and odd rows, as MXFP4
// or, turned, as numbers.
func takeOSS(b *builder, layer int, rest string, s *source) bool {
	const experts = "mlp.experts."
	if rest == "self_attn.sinks" {
		b.put(layer, "attn_sinks.weight", as(s))
		return true
	}
	what, ok := strings.CutPrefix(rest, experts)
	if !ok {
		return false
	}
	switch what {
	case "gate_up_proj_bias":
		if !isMatrix(s, 2) || s.cols()%2 != 0 {
			b.shapeError(s, "[experts, an even number]")
			return true
		}
		b.put(layer, "ffn_gate_exps.bias", columns(s, 0, 2))
		b.put(layer, "ffn_up_exps.bias", columns(s, 1, 2))
	case "down_proj_bias":
		b.put(layer, "ffn_down_exps.bias", as(s))
	case "gate_up_proj", "down_proj":
		b.ossNumbers(layer, what == "down_proj", s)
	case "gate_up_proj_blocks", "down_proj_blocks":
		b.ossBlocks(layer, what == "down_proj_blocks", s)
	case "gate_up_proj_scales", "down_proj_scales":
	default:
		return false
	}
	return true
}

// ossNumbers takes experts that are numbers, [experts, in, out].
func (b *builder) ossNumbers(layer int, down bool, s *source) {
	switch {
	case !isMatrix(s, 3) || s.cols()%2 != 0:
		b.shapeError(s, "[experts, in, an even number] of numbers")
	case down:
		b.put(layer, "ffn_down_exps.weight", turned(s, 0, 1, s.cols()))
	default:
		b.put(layer, "ffn_gate_exps.weight", turned(s, 0, 2, s.cols()/2))
		b.put(layer, "ffn_up_exps.weight", turned(s, 1, 2, s.cols()/2))
	}
}

// ossBlocks takes experts in MXFP4.
func (b *builder) ossBlocks(layer int, down bool, s *source) {
	scales := b.sources[strings.TrimSuffix(s.name, "_blocks")+"_scales"]
	if !isBytes(s, 4) || s.cols() != 16 || !isBytes(scales, 3) || len(scales.data)*16 != len(s.data) || s.shape[1]%2 != 0 {
		b.shapeError(s, "[experts, an even number, blocks, 16] of U8, and a scale for each block")
		return
	}
	rows := s.shape[1]
	if down {
		b.put(layer, "ffn_down_exps.weight", mxfp4(s, scales, 0, 1, rows))
		return
	}
	b.put(layer, "ffn_gate_exps.weight", mxfp4(s, scales, 0, 2, rows/2))
	b.put(layer, "ffn_up_exps.weight", mxfp4(s, scales, 1, 2, rows/2))
}

// takeNeoX takes q, k and v of GPT-NeoX, which lie together head by head: [heads, 3,
// headDim] rows become [3, heads, headDim].
func takeNeoX(b *builder, layer int, rest string, s *source) bool {
	switch rest {
	case "attention.query_key_value.weight", "attention.query_key_value.bias":
	case "attention.rotary_emb.inv_freq":
		return true
	default:
		return false
	}
	heads, dim := b.heads, b.headDim
	if s.shape[0] != 3*heads*dim {
		b.shapeError(s, "three times heads times head_dim rows")
		return true
	}
	order := func(r int) int { return r/dim%heads*3*dim + r/(heads*dim)*dim + r%dim }
	if len(s.shape) == 2 {
		b.put(layer, "attn_qkv.weight", rowsOf(s, order))
		return true
	}
	x, n := as(s), len(s.data)/s.shape[0]
	x.Data = nil
	x.row = func(buf []byte, _ int) []byte {
		buf = buf[:0]
		for r := range s.shape[0] {
			buf = append(buf, s.data[order(r)*n:][:n]...)
		}
		return buf
	}
	b.put(layer, "attn_qkv.bias", x)
	return true
}

// takeGranite takes the experts of Granite, which lie together, gate and up in one.
func takeGranite(b *builder, layer int, rest string, s *source) bool {
	switch rest {
	case "block_sparse_moe.input_linear.weight":
		if !isMatrix(s, 3) {
			b.shapeError(s, "[experts, 2 n, dim]")
			return true
		}
		b.halves(layer, s, "ffn_gate_exps.weight", "ffn_up_exps.weight")
	case "block_sparse_moe.output_linear.weight":
		b.put(layer, "ffn_down_exps.weight", as(s))
	case "block_sparse_moe.router.layer.weight":
		b.put(layer, "ffn_gate_inp.weight", as(s))
	case "shared_mlp.input_linear.weight":
		b.halves(layer, s, "ffn_gate_shexp.weight", "ffn_up_shexp.weight")
	case "shared_mlp.output_linear.weight":
		b.put(layer, "ffn_down_shexp.weight", as(s))
	default:
		return false
	}
	return true
}

// takeDeepSeek takes what only choosing experts heeds, and the heads' own matrices of
// latent attention: that of the keys turned.
func takeDeepSeek(b *builder, layer int, rest string, s *source) bool {
	switch rest {
	case "mlp.gate.e_score_correction_bias":
		b.put(layer, "exp_probs_b.bias", as(s))
	case "self_attn.kv_b_proj.weight":
		own, value := b.conf.need("qk_nope_head_dim"), b.conf.need("v_head_dim")
		if !isMatrix(s, 2) || s.shape[0] != b.heads*(own+value) {
			b.shapeError(s, "heads times (qk_nope_head_dim + v_head_dim) rows")
			return true
		}
		each := *s
		each.shape = []int{b.heads, own + value, s.cols()}
		b.put(layer, "attn_v_b.weight", part(&each, own+value, own, value))
		keys := part(&each, own+value, 0, own)
		rank, size := s.cols(), len(s.data)/max(1, s.shape[0]*s.cols())
		turned := keys
		turned.Shape = []int{b.heads, rank, own}
		turned.row = func(buf []byte, r int) []byte {
			buf = buf[:0]
			for k := range own {
				row := keys.row(nil, r/rank*own+k)
				buf = append(buf, row[r%rank*size:][:size]...)
			}
			return buf
		}
		b.put(layer, "attn_k_b.weight", turned)
	default:
		return false
	}
	return true
}
