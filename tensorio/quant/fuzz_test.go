package quant

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

// extremes are activations that have gone wrong elsewhere.
var extremes = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, math.MaxFloat32, -math.MaxFloat32, 0x1p-149, 0x1p-126, 0x1p-100, 0x1p-101, -0x1p-100,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 0.5, 127, -127, 126.5, 0x1p127, 1e-30,
}

// compareQuantized quantises x in every form and compares all bytes.
func compareQuantized(t *testing.T, x []float32) {
	t.Helper()
	blocks, supers := make([]actBlock, (len(x)+63)/64*2), make([]actSuper, len(x)/256)
	short, wide := make([]actByte, len(blocks)), make([]actWide, len(blocks))
	refQuantizeBlocks(blocks, x)
	refQuantizeBytes(short, x)
	refQuantizeWide(wide, x)
	refQuantizeSupers(supers, x)
	for _, c := range machineForms() {
		got, gotBytes, gotSupers := make([]actBlock, len(blocks)), make([]actByte, len(blocks)), make([]actSuper, len(supers))
		for i := range got { // what an earlier step left
			got[i].q[3], gotBytes[i].q[31], got[i].sum8 = 99, 99, 99
		}
		for i := range gotSupers {
			gotSupers[i].sum32[7], gotSupers[i].q[200], gotSupers[i].sum16[15] = 99, 99, 99
		}
		c.kernels.quantizeBlocks(got, x)
		c.kernels.quantizeBytes(gotBytes, x)
		if c.kernels.quantizeWide != nil {
			gotWide := make([]actWide, len(blocks))
			c.kernels.quantizeWide(gotWide, x)
			equal(t, c.form, gotWide, wide)
		}
		c.kernels.quantizeSupers(gotSupers, x)
		equal(t, c.form, got, blocks)
		equal(t, c.form, gotBytes, short)
		equal(t, c.form, gotSupers, supers)
	}
}

// equal compares the bytes of two slices of plain numbers.
func equal[E any](t *testing.T, form string, got, want []E) {
	t.Helper()
	for i := range got {
		g, w := new(bytes.Buffer), new(bytes.Buffer)
		if err := binary.Write(g, binary.LittleEndian, got[i]); err != nil {
			t.Fatal(err)
		}
		if err := binary.Write(w, binary.LittleEndian, want[i]); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(g.Bytes(), w.Bytes()) {
			t.Fatalf("%s: block %d is\n%+v, want\n%+v", form, i, got[i], want[i])
		}
	}
}

func TestQuantizedActivationsAreTheSameInEveryForm(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	x, rounds := make([]float32, 512), 500
	if testing.Short() { // an emulated processor
		rounds = 30
	}
	for range rounds {
		scale := float32(math.Ldexp(1, rng.IntN(250)-120))
		odd := rng.IntN(3)
		for i := range x {
			x[i] = float32(rng.NormFloat64()) * scale
			if odd > 0 && rng.IntN(100) == 0 {
				x[i] = extremes[rng.IntN(len(extremes))]
			}
			if odd == 2 && i < 256 {
				x[i] = float32(rng.IntN(255)-127) / 2 // ties
			}
		}
		compareQuantized(t, x[:256*(1+rng.IntN(2))])
		compareQuantized(t, x[:32*(1+rng.IntN(16))])
	}
}

// FuzzMul compares the forms on any bytes: weights, their scales, activations.
func FuzzMul(f *testing.F) {
	for i, typ := range computed() {
		f.Add(uint8(i), uint8(17), uint8(2), uint8(7), randomBlocks(rand.New(rand.NewPCG(1, uint64(i))), typ, 2, true))
	}
	var all []byte
	for _, v := range extremes {
		all = binary.LittleEndian.AppendUint32(all, math.Float32bits(v))
	}
	f.Add(uint8(5), uint8(33), uint8(3), uint8(6), all)
	f.Fuzz(func(t *testing.T, which, rows, blocks, tokens uint8, data []byte) {
		types := computed()
		typ := types[int(which)%len(types)]
		r, n, tok := 1+int(rows)%50, 1+int(blocks)%5, 1+int(tokens)%32
		if len(data) == 0 {
			data = []byte{0}
		}
		cols := n * typ.BlockLen()
		src := make([]byte, r*n*typ.BlockBytes())
		for i := range src {
			src[i] = data[i%len(data)]
		}
		x := make([]float32, tok*cols)
		for i := range x {
			var b [4]byte
			for j := range b {
				b[j] = data[(4*i+j+7)%len(data)]
			}
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[:]))
		}
		compareQuantized(t, x[:len(x)/32*32])
		compare(t, newMatrix(t, typ, r, cols, src), x, tok)
	})
}

// FuzzDequantize checks that wrong lengths give errors and right ones do not.
func FuzzDequantize(f *testing.F) {
	f.Add(uint32(12), uint16(256), make([]byte, 144))
	f.Add(uint32(99), uint16(1), []byte{1})
	f.Fuzz(func(t *testing.T, typ uint32, values uint16, src []byte) {
		tt := tensorio.Type(typ)
		want, err := tt.RowBytes(int(values))
		ok := err == nil && tt.Supported() == nil && len(src) == want
		if err := Dequantize(make([]float32, values), tt, src); (err == nil) != ok {
			t.Errorf("%d values of %v from %d bytes: %v", values, tt, len(src), err)
		}
	})
}

// TestBitsAreTheSameOnEveryMachine pins the results of a fixed product: this
// test must pass unchanged on every architecture and in every form.
func TestBitsAreTheSameOnEveryMachine(t *testing.T) {
	for _, typ := range computed() {
		rng := rand.New(rand.NewPCG(41, uint64(typ)))
		const rows, tokens = 37, 3
		cols := 4 * max(typ.BlockLen(), 32)
		src := make([]byte, rows*cols/typ.BlockLen()*typ.BlockBytes())
		for i := range src {
			src[i] = byte(rng.Uint32())
		}
		tame(typ, src)
		x := make([]float32, tokens*cols)
		for i := range x {
			x[i] = float32(int32(rng.Uint32())) * 0x1p-29
		}
		m := newMatrix(t, typ, rows, cols, src)
		var a Acts
		a.Prepare(x, tokens, cols, m)
		y := make([]float32, tokens*rows)
		m.Mul(y, rows, &a, 0, m.Panels())
		var b []byte
		for _, v := range y {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		if got := crc32.ChecksumIEEE(b); got != pinned[typ] {
			t.Errorf("%v: CRC-32 of the results is %#08x, want %#08x", typ, got, pinned[typ])
		}
	}
}

// tame clears the exponents' highest bit, so that no scale is infinite or NaN.
func tame(typ tensorio.Type, src []byte) {
	size := typ.BlockBytes()
	for ; len(src) > 0; src = src[size:] {
		if typ == tensorio.F32 {
			src[3] &= 0xbf
			continue
		}
		switch typ {
		case tensorio.MXFP4:
			src[0] &= 0x7f
		case tensorio.IQ1_M:
			src[55] &= 0xbf
		default:
			for _, at := range scalesAt(typ) {
				src[at+1] &= 0xbf
			}
		}
	}
}

// pinned has the CRC-32 of the little-endian results by type.
var pinned = map[tensorio.Type]uint32{
	tensorio.F32:     0x9855d9c7,
	tensorio.F16:     0x671186b8,
	tensorio.Q4_0:    0xef5e64fa,
	tensorio.Q4_1:    0xb7f6adfa,
	tensorio.Q5_0:    0x81ad79e3,
	tensorio.Q5_1:    0x32e3a934,
	tensorio.Q8_0:    0x3cf96a4b,
	tensorio.Q2_K:    0xd85c5754,
	tensorio.Q3_K:    0x5c3372a3,
	tensorio.Q4_K:    0x9c29692a,
	tensorio.Q5_K:    0x9a30b364,
	tensorio.Q6_K:    0x6679fe14,
	tensorio.BF16:    0x0f8fc7c6,
	tensorio.IQ2_XXS: 0x7553d74f,
	tensorio.IQ2_XS:  0x00bfbad0,
	tensorio.IQ3_XXS: 0x8118f193,
	tensorio.IQ1_S:   0xbef7ecab,
	tensorio.IQ4_NL:  0xfba6ed10,
	tensorio.IQ3_S:   0x26f9fbf3,
	tensorio.IQ2_S:   0xb37f7656,
	tensorio.IQ4_XS:  0x2c6613d1,
	tensorio.IQ1_M:   0xb554fd94,
	tensorio.TQ1_0:   0x2f2c7737,
	tensorio.TQ2_0:   0x5bf9b71b,
	tensorio.MXFP4:   0xb13080d0,
}
