package model

import (
	"math"

	"github.com/shardnode/shardnode/tensorio/vec"
)

// normalize writes the norm of x, times w, plus b, which may be nil, to dst. It
// is the architecture's: RMSNorm or LayerNorm; none without w. dst may be x.
func (c *Config) normalize(dst, x, w, b []float32) {
	switch {
	case w == nil:
		copy(dst, x)
	case c.arch.layerNorm:
		layerNorm(dst, x, w, b, c.Eps)
	default:
		vec.RMSNorm(dst, x, w, c.Eps)
	}
}

// layerNorm sets dst[i] = (x[i] - mean) / sqrt(variance + eps) * w[i] + b[i] (Ba et
// al., "Layer Normalization", 2016).
func layerNorm(dst, x, w, b []float32, eps float32) {
	shift := float32(-total(x) / float64(len(x)))
	for i, v := range x {
		dst[i] = v + shift
	}
	dst = dst[:len(x)]
	variance := vec.SumSquares(dst) / float32(len(x))
	vec.Scale(dst, 1/float32(math.Sqrt(float64(variance+eps))))
	vec.Mul(dst, w)
	addBias(dst, b)
}

// total returns the sum of x, in four lanes.
func total(x []float32) float64 {
	var lanes [4]float64
	for ; len(x) >= len(lanes); x = x[len(lanes):] {
		for i := range lanes {
			lanes[i] += float64(x[i])
		}
	}
	for _, v := range x {
		lanes[0] += float64(v)
	}
	return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

// A headNorm normalises queries or keys before they are rotated. The zero
// headNorm does nothing.
type headNorm struct {
	w    []float32 // [span], or [heads, headDim] where each head has its own
	span int       // values that are normalised together
}

// headNorm reads a norm of so many heads: of each head with the same weights
// (Qwen 3), of each with its own (Command R+), or of all together (OLMo 2). The
// shape of the weights tells.
func (l *loader) headNorm(name string, heads int) headNorm {
	c := &l.cfg
	t, err := l.src.Tensor(name)
	switch {
	case err == nil && len(t.Shape) == 2:
		return headNorm{w: l.vector(name, heads, c.HeadDim), span: c.HeadDim}
	case err == nil && len(t.Shape) == 1 && t.Shape[0] == heads*c.HeadDim:
		return headNorm{w: l.vector(name, heads*c.HeadDim), span: heads * c.HeadDim}
	}
	return headNorm{w: l.vector(name, c.HeadDim), span: c.HeadDim}
}

// apply normalises x, all heads of a row.
func (n *headNorm) apply(c *Config, x []float32) {
	if n.w == nil {
		return
	}
	for at := 0; at < len(x); at += n.span {
		part := x[at:][:n.span]
		c.normalize(part, part, n.w[at%len(n.w):][:n.span], nil)
	}
}
