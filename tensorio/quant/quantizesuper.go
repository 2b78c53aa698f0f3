package quant

import (
	"math"
)

// The quantisers of blocks of 256 weights search for the scale and the offset of
// each group of 32 or 16 that cost least (ggml-quants.c). Names are those of there.

// round is what is added to a number below 2^22 and taken away again to have the
// nearest whole one, half to even (nearest_int).
const round = 12582912

// nearest returns the whole number that is nearest to x.
func nearest(x float32) int { return int(float32(x+round) - round) }

// code returns the nearest whole number within [lo, hi].
func code(x, lo, hi float32) float32 {
	x = float32(x+round) - round
	if x < lo {
		return lo
	}
	if x > hi {
		return hi
	}
	return x
}

// search says how the scale of a group with an offset is searched for.
type search struct {
	nmax         float32 // the largest code
	rmin, rdelta float32
	nstep        int
}

// A group32 is 32 values, or their codes or weights.
type group32 [32]float32

// group finds scale and offset, which is not negative, and codes 0 to nmax of the
// values of x: x is about scale * code - offset (make_qkx2_quants).
func (s *search) group(codes, x, weights *group32) (scale, offset float32) {
	lowest, highest := x[0], x[0]
	sumW, sumX := weights[0], float32(weights[0]*x[0])
	for i := 1; i < len(x); i++ {
		v, w := x[i], weights[i]
		if v < lowest {
			lowest = v
		}
		if v > highest {
			highest = v
		}
		sumW += w
		sumX += float32(w * v)
	}
	low := min(lowest, 0)
	if highest == low {
		*codes = group32{}
		return 0, -low
	}
	iscale := s.nmax / (highest - low)
	scale = 1 / iscale
	for i, v := range x {
		codes[i] = code(float32(iscale*(v-low)), 0, s.nmax)
	}
	best := cost(codes, x, weights, scale, low)
	var tried group32
	for is := range s.nstep + 1 {
		iscale = (float32(s.rdelta*float32(is)) + s.rmin + s.nmax) / (highest - low)
		sumL, sumL2, sumXL := float32(0), float32(0), float32(0)
		for i, v := range x {
			l := code(float32(iscale*(v-low)), 0, s.nmax)
			tried[i] = l
			wl := float32(weights[i] * l)
			sumL += wl
			sumL2 += float32(wl * l)
			sumXL += float32(wl * v)
		}
		d := float32(sumW*sumL2) - float32(sumL*sumL)
		if !(d > 0) {
			continue
		}
		thisScale := (float32(sumW*sumXL) - float32(sumX*sumL)) / d
		thisLow := (float32(sumL2*sumX) - float32(sumL*sumXL)) / d
		if thisLow > 0 {
			thisLow, thisScale = 0, sumXL/sumL2
		}
		if c := cost(&tried, x, weights, thisScale, thisLow); c < best {
			*codes = tried
			best, scale, low = c, thisScale, thisLow
		}
	}
	return scale, -low
}

// cost returns the weighted squares of what codes leave of x.
func cost(codes, x, weights *group32, scale, low float32) float32 {
	sum := float32(0)
	for i, v := range x {
		diff := float32(scale*codes[i]) + low - v
		sum += float32(weights[i] * float32(diff*diff))
	}
	return sum
}

// groups32 finds the scales and offsets of the 8 groups of a block, and writes them:
// d, dmin and 6 bits each (Q4_K and Q5_K). It returns the codes.
func (s *search) groups32(dst []byte, x []float32) (codes [256]uint8) {
	var scales, offsets [8]float32
	var found, weights group32
	maxScale, maxOffset := float32(0), float32(0)
	for j := range scales {
		part := (*group32)(x[32*j:])
		sum := float32(0)
		for _, v := range part {
			sum += float32(v * v)
		}
		mean := float32(math.Sqrt(float64(sum / 32)))
		for l, v := range part {
			weights[l] = mean + abs(v)
		}
		scales[j], offsets[j] = s.group(&found, part, &weights)
		for l, c := range found {
			codes[32*j+l] = uint8(c)
		}
		maxScale, maxOffset = max(maxScale, scales[j]), max(maxOffset, offsets[j])
	}
	invScale, invOffset := float32(0), float32(0)
	if maxScale > 0 {
		invScale = 63 / maxScale
	}
	if maxOffset > 0 {
		invOffset = 63 / maxOffset
	}
	packed := dst[4:16]
	clear(packed)
	for j := range scales {
		ls := min(63, uint8(nearest(float32(invScale*scales[j]))))   //nolint:gosec // as C does
		lm := min(63, uint8(nearest(float32(invOffset*offsets[j])))) //nolint:gosec // as C does
		if j < 4 {
			packed[j], packed[j+4] = ls, lm
			continue
		}
		packed[j+4] = ls&15 | lm&15<<4
		packed[j-4] |= ls >> 4 << 6
		packed[j] |= lm >> 4 << 6
	}
	d, dmin := putHalf(dst, maxScale/63), putHalf(dst[2:], maxOffset/63)
	for j := range scales {
		sc, m := scaleMinK4(j, packed)
		scale := float32(d * float32(sc))
		if scale == 0 {
			continue // with the codes of the search
		}
		offset := float32(dmin * float32(m))
		for i, v := range x[32*j:][:32] {
			codes[32*j+i] = uint8(code((v+offset)/scale, 0, s.nmax))
		}
	}
	return codes
}

func quantizeQ4_K(dst []byte, x []float32) {
	s := search{nmax: 15, rmin: -1, rdelta: 0.1, nstep: 20}
	codes := s.groups32(dst, x)
	qs := dst[16:]
	for j := 0; j < 256; j += 64 {
		for l := range 32 {
			qs[j/2+l] = codes[j+l] | codes[j+l+32]<<4
		}
	}
}

func quantizeQ5_K(dst []byte, x []float32) {
	s := search{nmax: 31, rmin: -0.5, rdelta: 0.1, nstep: 15}
	codes := s.groups32(dst, x)
	qh, qs := dst[16:48], dst[48:]
	clear(qh)
	for n := range 4 {
		for l := range 32 {
			lo, hi := codes[64*n+l], codes[64*n+l+32]
			qs[32*n+l] = lo&15 | hi&15<<4
			qh[l] |= lo>>4<<(2*n) | hi>>4<<(2*n+1)
		}
	}
}

// groupMaxEps is what a group of zeros stays below (GROUP_MAX_EPS).
const groupMaxEps = 1e-15

// symmetric finds the scale of a group without offset for codes -nmax to nmax-1
// (make_qx_quants with weights x*x), and the codes plus nmax.
func symmetric(codes []uint8, x []float32, nmax int) float32 {
	top := furthestFrom0(x)
	if abs(top) < groupMaxEps {
		clear(codes)
		return 0
	}
	lo, hi := float32(-nmax), float32(nmax-1)
	try := func(iscale float32) (sumLX, sumL2 float32) {
		for _, v := range x {
			l := code(float32(iscale*v), lo, hi)
			w := float32(v * v)
			sumLX += float32(float32(w*v) * l)
			sumL2 += float32(float32(w*l) * l)
		}
		return sumLX, sumL2
	}
	chosen := float32(-nmax) / top
	sumLX, sumL2 := try(chosen)
	scale := float32(0)
	if sumL2 != 0 {
		scale = sumLX / sumL2
	}
	best := float32(scale * sumLX)
	for is := -9; is <= 9; is++ {
		if is == 0 {
			continue
		}
		iscale := -(float32(0.1*float32(is)) + float32(nmax)) / top
		sumLX, sumL2 = try(iscale)
		if sumL2 > 0 && float32(sumLX*sumLX) > float32(best*sumL2) {
			chosen = iscale
			scale = sumLX / sumL2
			best = float32(scale * sumLX)
		}
	}
	for i, v := range x {
		codes[i] = uint8(float32(nmax) + code(float32(chosen*v), lo, hi))
	}
	return scale
}

func quantizeQ6_K(dst []byte, x []float32) {
	var codes [256]uint8
	var scales [16]float32
	top := float32(0)
	for j := range scales {
		scales[j] = symmetric(codes[16*j:][:16], x[16*j:][:16], 32)
		if abs(scales[j]) > abs(top) {
			top = scales[j]
		}
	}
	if abs(top) < groupMaxEps {
		clear(dst)
		return
	}
	iscale := -128 / top
	d := putHalf(dst[208:], 1/iscale)
	for j := range scales {
		sc := min(127, nearest(float32(iscale*scales[j])))
		dst[192+j] = byte(int8(sc))             //nolint:gosec // -128 to 127
		scale := float32(d * float32(int8(sc))) //nolint:gosec // -128 to 127
		if scale == 0 {
			continue
		}
		for i, v := range x[16*j:][:16] {
			codes[16*j+i] = uint8(code(v/scale, -32, 31) + 32)
		}
	}
	for j := 0; j < 256; j += 128 {
		ql, qh := dst[j/2:], dst[128+j/4:]
		for l := range 32 {
			a, b, c, e := codes[j+l], codes[j+l+32], codes[j+l+64], codes[j+l+96]
			ql[l], ql[l+32] = a&15|c&15<<4, b&15|e&15<<4
			qh[l] = a>>4 | b>>4<<2 | c>>4<<4 | e>>4<<6
		}
	}
}
