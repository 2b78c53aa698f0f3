package vec

// Exp returns e^x within 2 units in the last place; 0 below -104, +Inf above 89.
func Exp(x float32) float32 {
	return expRef(x)
}

// ExpTo sets dst[i] = Exp(x[i]). dst may be x.
func ExpTo(dst, x []float32) {
	expTo(dst[:len(x)], x)
}

// SiluMul sets dst[i] = gate[i]/(1+Exp(-gate[i])) * up[i]. dst may be gate or up.
func SiluMul(dst, gate, up []float32) {
	siluMul(dst[:len(gate)], gate, up[:len(gate)])
}

// GeluMul sets dst[i] = gelu(gate[i]) * up[i] with the tanh form of gelu. dst
// may be gate or up.
func GeluMul(dst, gate, up []float32) {
	geluMul(dst[:len(gate)], gate, up[:len(gate)])
}

// SoftCap sets x[i] = limit*tanh(x[i]/limit), for a limit above 0, as
// limit - 2*limit/(1+Exp(2*x[i]/limit)) (Gemma 2's report, section 2).
func SoftCap(x []float32, limit float32) {
	scale(x, 2/limit)
	expTo(x, x)
	for i, e := range x {
		x[i] = limit - 2*limit/(1+e)
	}
}

// Add sets dst[i] += x[i] over the length of x.
func Add(dst, x []float32) {
	AddTo(dst, dst, x)
}

// AddTo sets dst[i] = x[i] + y[i] over the length of y. dst may be x or y.
func AddTo(dst, x, y []float32) {
	add(dst[:len(y)], x[:len(y)], y)
}

// Scale sets x[i] *= s.
func Scale(x []float32, s float32) {
	scale(x, s)
}

// Axpy sets y[i] = FMA(a, x[i], y[i]) over the length of x.
func Axpy(a float32, x, y []float32) {
	axpy(a, x, y[:len(x)])
}
