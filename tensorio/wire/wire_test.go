package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/transport/wirepb"
)

// hiddenLike returns n bfloat16 values distributed as hidden states are: a
// normal distribution with a few large outliers.
func hiddenLike(n int, seed uint64) []uint16 {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]uint16, n)
	for i := range out {
		v := float32(rng.NormFloat64())
		if i%97 == 0 {
			v *= 200
		}
		out[i] = uint16(math.Float32bits(v) >> 16)
	}
	return out
}

func TestHiddenStatesSurviveEveryCodec(t *testing.T) {
	var p Packer
	cases := map[string][]uint16{
		"none":     {},
		"one":      {0x3f80},
		"few":      hiddenLike(511, 1),
		"row":      hiddenLike(576, 2),
		"chunk":    hiddenLike(64*576, 3),
		"blocks":   hiddenLike(3*blockBytes+17, 4),
		"constant": slices.Repeat([]uint16{0x4049}, 5000),
	}
	for name, hidden := range cases {
		for _, c := range []Codec{Raw, Planes} {
			payload, chosen, err := p.Encode(nil, c, hidden)
			if err != nil {
				t.Fatalf("%s: Encode with %v: %v", name, c, err)
			}
			if len(payload) > 2*len(hidden) {
				t.Errorf("%s: %v takes %d bytes, want at most %d", name, c, len(payload), 2*len(hidden))
			}
			got := make([]uint16, len(hidden))
			if err := p.Decode(got, chosen, payload); err != nil {
				t.Fatalf("%s: Decode of %v: %v", name, chosen, err)
			}
			if !slices.Equal(got, hidden) {
				t.Errorf("%s: %v gives other values", name, c)
			}
		}
	}
}

func TestPlanesAreShorterForHiddenStates(t *testing.T) {
	var p Packer
	hidden := hiddenLike(64*576, 7)
	payload, chosen, err := p.Encode(nil, Planes, hidden)
	if err != nil || chosen != Planes {
		t.Fatalf("Encode chose %v, %v, want planes", chosen, err)
	}
	if bits := 8 * float64(len(payload)) / float64(len(hidden)); bits > 12 {
		t.Errorf("planes take %.2f bits a value, want under 12", bits)
	}
}

func TestDecodeRefusesDamagedPayloads(t *testing.T) {
	var p Packer
	hidden := hiddenLike(2048, 9)
	good, _, err := p.Encode(nil, Planes, hidden)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]uint16, len(hidden))
	for name, bad := range map[string][]byte{
		"empty":     {},
		"cut":       good[:len(good)-1],
		"long":      append(slices.Clone(good), 0),
		"form":      append([]byte{1, 0, 0, 9}, good...),
		"too large": append([]byte{0xff, 0xff, 0xff, formHuff}, good...),
	} {
		if err := p.Decode(got, Planes, bad); !errors.Is(err, ErrCodec) {
			t.Errorf("%s: Decode = %v, want ErrCodec", name, err)
		}
	}
	if err := p.Decode(got, Raw, good); !errors.Is(err, ErrCodec) {
		t.Errorf("raw of the wrong length: %v, want ErrCodec", err)
	}
	if err := p.Decode(got, Codec(77), good); !errors.Is(err, ErrCodec) {
		t.Errorf("unknown codec: %v, want ErrCodec", err)
	}
}

func TestReaderGivesFramesBack(t *testing.T) {
	var stream []byte
	var err error
	payloads := [][]byte{nil, []byte("abc"), bytes.Repeat([]byte{7}, 3<<20)}
	for i, payload := range payloads {
		stream, err = Append(stream, KindStep, &wirepb.Step{Epoch: 1, Pos: uint32(i)}, payload)
		if err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(iotest.HalfReader(bytes.NewReader(stream)), 0)
	for i, want := range payloads {
		f, err := r.Next()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		var step wirepb.Step
		if err := proto.Unmarshal(f.Header, &step); err != nil {
			t.Fatal(err)
		}
		if f.Kind != KindStep || step.GetPos() != uint32(i) || !bytes.Equal(f.Payload, want) {
			t.Errorf("frame %d: kind %d, pos %d, %d bytes, want step, %d, %d", i, f.Kind, step.GetPos(), len(f.Payload), i, len(want))
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last frame: %v, want EOF", err)
	}
}

func TestReaderTakesNoMemoryForALengthAlone(t *testing.T) {
	prefix := []byte{0, 0, 0, 4, 0, 0, byte(KindStep), 0} // 64 MiB of payload
	r := NewReader(bytes.NewReader(prefix), 0)
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("Next = %v, want ErrUnexpectedEOF", err)
	}
	if cap(r.buf) > 2*readStepBytes {
		t.Errorf("took %d bytes for a payload that never came", cap(r.buf))
	}
}

func TestReaderRefusesWhatIsNoFrame(t *testing.T) {
	for name, b := range map[string][]byte{
		"kind 0":   {0, 0, 0, 0, 0, 0, 0, 0},
		"flags":    {0, 0, 0, 0, 0, 0, 5, 1},
		"too long": {1, 0, 0, 4, 0, 0, 5, 0},
		"http":     []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		if _, err := NewReader(bytes.NewReader(b), 0).Next(); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v, want ErrFrame", name, err)
		}
	}
}

// TestReleasedFramesKeepParsing reads the bytes of every released version in
// testdata/wire, one hexadecimal frame a line: "kind hex".
func TestReleasedFramesKeepParsing(t *testing.T) {
	names, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(names) == 0 {
		t.Fatalf("golden frames: %v, %d files, want at least one", err, len(names))
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			b, err := hex.DecodeString(line)
			if err != nil {
				t.Fatalf("%s line %d: %v", name, i+1, err)
			}
			f, n, err := Parse(b)
			if err != nil || n != len(b) {
				t.Fatalf("%s line %d: parsed %d of %d bytes: %v", name, i+1, n, len(b), err)
			}
			checkGolden(t, f)
		}
	}
}

// goldenStep is the step whose frames were recorded.
func goldenStep() *wirepb.Step {
	return &wirepb.Step{
		Epoch: 3, Pos: 17, Count: 2, Codec: uint32(Raw), Want: wirepb.Want_WANT_LAST, TopK: 64,
		Named: []uint32{5, 6}, Temperature: 0.75, Times: []*wirepb.StageTime{{ComputeUs: 11, QueueUs: 22}},
	}
}

func checkGolden(t *testing.T, f Frame) {
	t.Helper()
	switch f.Kind {
	case KindStep:
		var step wirepb.Step
		if err := proto.Unmarshal(f.Header, &step); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(&step, goldenStep()) {
			t.Errorf("golden step = %v, want %v", &step, goldenStep())
		}
		var p Packer
		got := make([]uint16, 4)
		if err := p.Decode(got, Codec(step.GetCodec()), f.Payload); err != nil || !slices.Equal(got, []uint16{1, 2, 0xffff, 0x3f80}) {
			t.Errorf("golden payload = %v, %v", got, err)
		}
	case KindError:
		var e wirepb.Error
		if err := proto.Unmarshal(f.Header, &e); err != nil || e.GetCode() != 2 || e.GetText() != "no room" {
			t.Errorf("golden error = %v, %v", &e, err)
		}
	default:
		t.Errorf("golden frame of kind %d, want a step or an error", f.Kind)
	}
}

func FuzzParse(f *testing.F) {
	frame, err := Append(nil, KindStep, goldenStep(), []byte{1, 0, 2, 0})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame)
	f.Add([]byte("GET / HTTP/1.1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, n, err := Parse(b)
		streamed, serr := NewReader(bytes.NewReader(b), 0).Next()
		if (err == nil) != (serr == nil) {
			t.Fatalf("Parse: %v, Reader: %v", err, serr)
		}
		if err != nil {
			return
		}
		if n > len(b) || got.Kind != streamed.Kind || !bytes.Equal(got.Header, streamed.Header) || !bytes.Equal(got.Payload, streamed.Payload) {
			t.Fatalf("Parse and Reader differ on %x", b)
		}
	})
}

func FuzzDecode(f *testing.F) {
	var p Packer
	good, _, err := p.Encode(nil, Planes, hiddenLike(1024, 5))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(1024), good)
	f.Add(uint16(3), []byte{1, 0, 0, 2, 9})
	f.Fuzz(func(t *testing.T, n uint16, payload []byte) {
		var p Packer
		hidden := make([]uint16, n)
		if err := p.Decode(hidden, Planes, payload); err != nil && !errors.Is(err, ErrCodec) {
			t.Fatalf("Decode: %v, want nil or ErrCodec", err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for name, n := range map[string]int{"row576": 576, "row2048": 2048, "chunk64x576": 64 * 576} {
		hidden := hiddenLike(n, 1)
		b.Run(name, func(b *testing.B) {
			var p Packer
			var buf []byte
			b.SetBytes(int64(2 * n))
			for b.Loop() {
				buf, _, _ = p.Encode(buf[:0], Planes, hidden)
			}
			b.ReportMetric(8*float64(len(buf))/float64(n), "bits/value")
		})
	}
}
