package model

import (
	"math"

	"github.com/shardnode/shardnode/tensorio/vec"
)

// mul sets gate = act(gate) * up.
func (a activation) mul(gate, up []float32) {
	switch a {
	case geluTanh:
		vec.GeluMul(gate, gate, up)
	case gelu:
		for i, x := range gate {
			gate[i] = geluErf(x) * up[i]
		}
	case relu2:
		for i, x := range gate {
			x = max(x, 0)
			gate[i] = float32(x*x) * up[i]
		}
	default:
		vec.SiluMul(gate, gate, up)
	}
}

// ones are what an activation without gate is multiplied with, some at a time.
var ones = func() (x [256]float32) {
	for i := range x {
		x[i] = 1
	}
	return x
}()

// bend sets x = act(x + bias), of an MLP without gate.
func (m *Model) bend(x, bias []float32) {
	addBias(x, bias)
	for len(x) > 0 {
		n := min(len(x), len(ones))
		m.cfg.arch.act.mul(x[:n], ones[:n])
		x = x[n:]
	}
}

// geluErf is x/2 (1 + erf(x/sqrt(2))).
func geluErf(x float32) float32 {
	return float32(float64(x) * 0.5 * (1 + erf(float64(x)/math.Sqrt2)))
}

// erf is the error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26). The
// library's own may give other bits on other processors: products must not be
// fused with sums.
func erf(x float64) float64 {
	z := math.Abs(x)
	t := 1 / (1 + float64(0.3275911*z))
	p := float64(t * 1.061405429)
	for _, c := range [...]float64{-1.453152027, 1.421413741, -0.284496736, 0.254829592} {
		p = float64(t * (p + c))
	}
	return math.Copysign(1-float64(p*vec.ExpF64(-float64(z*z))), x)
}
