package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

// small returns a file with one value of every kind and three tensors.
func small(t testing.TB) []byte {
	t.Helper()
	m := NewMeta()
	for _, kv := range []struct {
		key   string
		value any
	}{
		{"general.architecture", "llama"},
		{"u8", uint8(200)},
		{"i8", int8(-3)},
		{"u16", uint16(60000)},
		{"i16", int16(-300)},
		{"u32", uint32(4000000000)},
		{"i32", int32(-5)},
		{"u64", uint64(math.MaxUint64)},
		{"i64", int64(-7)},
		{"f32", float32(0.25)},
		{"f64", 1e-5},
		{"yes", true},
		{"strs", []string{"a", "", "▁the"}},
		{"f32s", []float32{1, -2}},
		{"i32s", []int32{1, -2, 3}},
		{"u32s", []uint32{7, 8}},
		{"none", []string{}},
		{"one", []uint8{9}},
	} {
		if err := m.Set(kv.key, kv.value); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	err := Write(&b, m, []tensorio.Tensor{
		{Name: "token_embd.weight", Type: tensorio.Q8_0, Shape: []int{3, 64}, Data: bytes.Repeat([]byte{1}, 3*68)},
		{Name: "blk.0.attn_norm.weight", Type: tensorio.F32, Shape: []int{5}, Data: bytes.Repeat([]byte{2}, 20)},
		{Name: "cube", Type: tensorio.F16, Shape: []int{2, 3, 4}, Data: bytes.Repeat([]byte{3}, 48)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mustRead(t testing.TB, b []byte) *File {
	t.Helper()
	f, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestReadGivesBackWhatWriteWrote(t *testing.T) {
	b := small(t)
	f := mustRead(t, b)
	if f.Version != 3 || f.Alignment != 32 || f.SizeBytes != int64(len(b)) || len(f.Header()) != int(f.HeaderBytes) {
		t.Errorf("version %d, alignment %d, size %d, header %d of %d, want 3, 32, %d", f.Version, f.Alignment,
			f.SizeBytes, len(f.Header()), f.HeaderBytes, len(b))
	}
	want := []TensorInfo{
		{Name: "token_embd.weight", Type: tensorio.Q8_0, Shape: []int{3, 64}, Offset: f.DataOffset, Bytes: 204},
		{Name: "blk.0.attn_norm.weight", Type: tensorio.F32, Shape: []int{5}, Offset: f.DataOffset + 224, Bytes: 20},
		{Name: "cube", Type: tensorio.F16, Shape: []int{2, 3, 4}, Offset: f.DataOffset + 256, Bytes: 48},
	}
	if !reflect.DeepEqual(f.Tensors, want) {
		t.Errorf("tensors = %+v, want %+v", f.Tensors, want)
	}
	for i, fill := range []byte{1, 2, 3} {
		ti := f.Tensors[i]
		if got := b[ti.Offset:ti.End()]; !bytes.Equal(got, bytes.Repeat([]byte{fill}, int(ti.Bytes))) {
			t.Errorf("data of %s = %v, want all %d", ti.Name, got, fill)
		}
	}
}

func TestGettersConvertAndRefuse(t *testing.T) {
	m := mustRead(t, small(t)).Meta
	check := func(name string, got any, ok bool, want any, wantOK bool) {
		t.Helper()
		if ok != wantOK || ok && !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %v, %v, want %v, %v", name, got, ok, want, wantOK)
		}
	}
	str, ok := m.Str("general.architecture")
	check("Str", str, ok, "llama", true)
	_, ok = m.Str("u8")
	check("Str of a number", nil, ok, nil, false)
	for key, want := range map[string]uint64{"u8": 200, "u16": 60000, "u32": 4000000000, "u64": math.MaxUint64} {
		n, ok := m.Uint(key)
		check("Uint "+key, n, ok, want, true)
	}
	for key, want := range map[string]int64{"i8": -3, "i16": -300, "i32": -5, "i64": -7, "u32": 4000000000} {
		n, ok := m.Int(key)
		check("Int "+key, n, ok, want, true)
	}
	_, ok = m.Uint("i32")
	check("Uint of -5", nil, ok, nil, false)
	_, ok = m.Int("u64")
	check("Int of 2^64-1", nil, ok, nil, false)
	for key, want := range map[string]float64{"f32": 0.25, "f64": 1e-5, "i32": -5} {
		x, ok := m.Float(key)
		check("Float "+key, x, ok, want, true)
	}
	yes, ok := m.Bool("yes")
	check("Bool", yes, ok, true, true)
	strs, ok := m.Strs("strs")
	check("Strs", strs, ok, []string{"a", "", "▁the"}, true)
	strs, ok = m.Strs("none")
	check("Strs of none", strs, ok, []string{}, true)
	_, ok = m.Strs("i32s")
	check("Strs of numbers", nil, ok, nil, false)
	floats, ok := m.Floats("f32s")
	check("Floats", floats, ok, []float32{1, -2}, true)
	ints, ok := m.Ints("i32s")
	check("Ints", ints, ok, []int32{1, -2, 3}, true)
	ints, ok = m.Ints("u32s")
	check("Ints of u32", ints, ok, []int32{7, 8}, true)
	ints, ok = m.Ints("one")
	check("Ints of one", ints, ok, []int32{9}, true)
	_, ok = m.Ints("f32s")
	check("Ints of floats", nil, ok, nil, false)
	_, ok = m.Str("missing")
	check("Str of a missing key", nil, ok, nil, false)
	if keys := m.Keys(); len(keys) != m.Len() || keys[0] != "general.architecture" || keys[len(keys)-1] != "one" {
		t.Errorf("keys = %v, want them in the order of the file", keys)
	}
}

func TestValuesPrintForPeople(t *testing.T) {
	m := mustRead(t, small(t)).Meta
	want := map[string]string{
		"general.architecture": `"llama"`, "i8": "-3", "u64": "18446744073709551615", "f32": "0.25", "f64": "1e-05",
		"yes": "true", "strs": `str[3] "a" "" "▁the"`, "i32s": "i32[3] 1 -2 3", "none": "str[0]",
	}
	for key, value := range m.All() {
		if w, ok := want[key]; ok && value.String() != w {
			t.Errorf("%s prints as %s, want %s", key, value, w)
		}
	}
}

func TestReadHeaderEqualsRead(t *testing.T) {
	b := small(t)
	f := mustRead(t, b)
	g, err := ReadHeader(f.Header(), f.SizeBytes)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f, g) {
		t.Errorf("from the header alone %+v, want %+v", g, f)
	}
	if _, err := ReadHeader(f.Header(), f.SizeBytes-40); err == nil {
		t.Error("a header of a file that is too short gives no error")
	}
	if _, err := ReadHeader(f.Header()[:f.HeaderBytes-1], f.SizeBytes); err == nil {
		t.Error("a header without its last byte gives no error")
	}
}

func TestVersion2Reads(t *testing.T) {
	b := small(t)
	binary.LittleEndian.PutUint32(b[4:], 2)
	if f := mustRead(t, b); f.Version != 2 || len(f.Tensors) != 3 {
		t.Errorf("version %d with %d tensors, want 2 with 3", f.Version, len(f.Tensors))
	}
}

func TestEveryPrefixIsAnError(t *testing.T) {
	b := small(t)
	f := mustRead(t, b)
	last := f.Tensors[len(f.Tensors)-1].End()
	for n := range last {
		_, err := Read(bytes.NewReader(b[:n]), n)
		if err == nil {
			t.Fatalf("the first %d of %d bytes give no error", n, len(b))
		}
	}
	_, err := Read(bytes.NewReader(b[:last-1]), last-1)
	want := `file is truncated: tensor "cube" ends at byte`
	if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "download it again") {
		t.Errorf("error %q, want %q and what to do", err, want)
	}
}

func TestWrongMagicSaysWhatTheFileIs(t *testing.T) {
	for start, want := range map[string]string{
		"":                   "empty",
		"GG":                 "only 2 bytes",
		"PK\x03\x04\x00\x00": "PyTorch",
		"\x80\x02\x8a\x0a":   "PyTorch",
		"\xa0\x01\x00\x00\x00\x00\x00\x00{\"__metadata__\":{}": "safetensors",
		"\n<!DOCTYPE html><html>":                              "web page",
		"<html><body>":                                         "web page",
		"tjgg\x03\x00\x00\x00":                                 "GGML",
		"lmgg\x00\x00":                                         "GGML",
		"version https://git-lfs.gith":                         "LFS",
		"{\"architectures\": []}":                              "JSON",
		"\x1f\x8b\x08\x00":                                     "compressed",
		"\x00\x00\x00\x00\x00":                                 "zeros",
		"hello world":                                          `"hell"`,
		"GGUF\x01\x00\x00\x00":                                 "version 1",
		"GGUF\x00\x00\x00\x03":                                 "big-endian",
		"GGUF\x09\x00\x00\x00":                                 "version 9",
	} {
		_, err := Read(strings.NewReader(start), int64(len(start)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", start, err, want)
		}
	}
}

// put returns a copy of b with the bytes at the place of old replaced.
func put(t *testing.T, b []byte, old, repl string) []byte {
	t.Helper()
	if bytes.Count(b, []byte(old)) != 1 || len(old) != len(repl) {
		t.Fatalf("%q is not once in the file, or %q is of other length", old, repl)
	}
	return bytes.Replace(b, []byte(old), []byte(repl), 1)
}

func le(n int, v uint64) string {
	return string(binary.LittleEndian.AppendUint64(nil, v)[:n])
}

func TestDamagedHeadersAreErrors(t *testing.T) {
	b := small(t)
	cube := "cube" + le(4, 3) + le(8, 4) + le(8, 3) + le(8, 2) + le(4, 1) + le(8, 256)
	info := func(rank, d0, d1, d2, typ, offset uint64) string {
		return "cube" + le(4, rank) + le(8, d0) + le(8, d1) + le(8, d2) + le(4, typ) + le(8, offset)
	}
	align := NewMeta()
	if err := align.Set(alignmentKey, uint32(32)); err != nil {
		t.Fatal(err)
	}
	var aligned bytes.Buffer
	if err := Write(&aligned, align, nil); err != nil {
		t.Fatal(err)
	}
	var twice bytes.Buffer
	one := tensorio.Tensor{Name: "a", Type: tensorio.F32, Shape: []int{1}, Data: make([]byte, 4)}
	if err := Write(&twice, NewMeta(), []tensorio.Tensor{one, one}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"five dimensions":   {put(t, b, cube, info(5, 4, 3, 2, 1, 256)), "5 dimensions"},
		"dimension 0":       {put(t, b, cube, info(3, 4, 0, 2, 1, 256)), "dimension 1 is 0"},
		"negative":          {put(t, b, cube, info(3, 4, math.MaxUint64, 2, 1, 256)), "dimension 1"},
		"overflow":          {put(t, b, cube, info(3, 1<<40, 1<<40, 2, 1, 256)), "overflow"},
		"overflow 2":        {put(t, b, cube, info(3, 1<<62, 1, 1, 0, 256)), "too long"},
		"unknown type":      {put(t, b, cube, info(3, 4, 3, 2, 77, 256)), "77"},
		"withdrawn type":    {put(t, b, cube, info(3, 4, 3, 2, 4, 256)), "type 4"},
		"half a block":      {put(t, b, cube, info(3, 4, 3, 2, 8, 256)), "multiple of 32"},
		"odd offset":        {put(t, b, cube, info(3, 4, 3, 2, 1, 257)), "multiple of 32"},
		"offset too far":    {put(t, b, cube, info(3, 4, 3, 2, 1, 1<<63)), "out of range"},
		"outside":           {put(t, b, cube, info(3, 4, 3, 2, 1, 1<<40)), "truncated"},
		"overlap":           {put(t, b, cube, info(3, 4, 3, 2, 1, 224)), "overlap"},
		"tensor twice":      {twice.Bytes(), `"a" is there twice`},
		"key twice":         {put(t, b, le(8, 2)+"i8", le(8, 2)+"u8"), `"u8" is there twice`},
		"unknown kind":      {put(t, b, "yes"+le(4, 7), "yes"+le(4, 13)), "type 13"},
		"unknown element":   {put(t, b, "none"+le(4, 9)+le(4, 8), "none"+le(4, 9)+le(4, 99)), "type 99"},
		"array too long":    {put(t, b, "i32s"+le(4, 9)+le(4, 5)+le(8, 3), "i32s"+le(4, 9)+le(4, 5)+le(8, 1<<40)), "more than the file"},
		"array count wraps": {put(t, b, "i32s"+le(4, 9)+le(4, 5)+le(8, 3), "i32s"+le(4, 9)+le(4, 5)+le(8, 1<<62)), "more than the file"},
		"string too long":   {put(t, b, le(8, 5)+"llama", le(8, 1<<50)+"llama"), "are left"},
		"key too long":      {put(t, b, le(8, 3)+"yes", le(8, 70000)+"yes"), "70000 bytes"},
		"alignment 0":       {put(t, aligned.Bytes(), le(4, 32), le(4, 0)), "power of two"},
		"alignment 24":      {put(t, aligned.Bytes(), le(4, 32), le(4, 24)), "power of two"},
		"tensors":           {append(slices.Clone(b[:8]), append([]byte(le(8, 1<<60)), b[16:]...)...), "number of tensors"},
		"keys":              {append(slices.Clone(b[:16]), append([]byte(le(8, 1<<60)), b[24:]...)...), "number of keys"},
	} {
		_, err := Read(bytes.NewReader(c.file), int64(len(c.file)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

func TestNestedArraysAreBounded(t *testing.T) {
	nested := func(depth int) []byte {
		b := []byte(magic + le(4, 3) + le(8, 0) + le(8, 1) + le(8, 1) + "x" + le(4, 9))
		for range depth {
			b = append(b, le(4, 9)+le(8, 1)...)
		}
		return append(b, le(4, 4)+le(8, 1)+le(4, 7)...)
	}
	for depth, ok := range map[int]bool{0: true, 1: true, 2: true, 100: false} {
		b := nested(depth)
		f, err := Read(bytes.NewReader(b), int64(len(b)))
		if (err == nil) != ok {
			t.Errorf("arrays nested %d deep: error %v, want one: %v", depth+1, err, !ok)
		}
		if err == nil {
			_ = f.Meta.entries[0].String()
			if _, ok := f.Meta.Ints("x"); ok != (depth == 0) {
				t.Errorf("Ints of an array nested %d deep: %v", depth+1, ok)
			}
		}
	}
}

func TestWriteRefusesTensorsThatDoNotFit(t *testing.T) {
	for name, bad := range map[string]tensorio.Tensor{
		"short data": {Name: "a", Type: tensorio.F32, Shape: []int{2}, Data: make([]byte, 4)},
		"half block": {Name: "a", Type: tensorio.Q4_0, Shape: []int{2}, Data: make([]byte, 18)},
		"five dims":  {Name: "a", Type: tensorio.F32, Shape: []int{1, 1, 1, 1, 1}, Data: make([]byte, 4)},
		"negative":   {Name: "a", Type: tensorio.F32, Shape: []int{-1}},
	} {
		if err := Write(&bytes.Buffer{}, NewMeta(), []tensorio.Tensor{bad}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := NewMeta().Set("x", 5); err == nil {
		t.Error("a value of Go type int gives no error")
	}
}
