package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// A kernel is a Linux kernel taken out of its compressed file, so that the
// slow machine need not unpack it.
type kernel struct {
	header []byte // the setup header that the file carries, to be handed back to it
	image  []byte // as it lies in memory from base on
	base   uint64
	entry  uint64
}

// The fields of the setup header that this program reads or writes, as offsets
// from the start of the file or of the boot parameters, which agree
// (Documentation/arch/x86/boot.rst).
const (
	setupHeader   = 0x1f1
	setupSects    = 0x1f1
	setupJump     = 0x201
	setupMagic    = 0x202
	loaderType    = 0x210
	ramdiskImage  = 0x218
	ramdiskSize   = 0x21c
	cmdLinePtr    = 0x228
	payloadOffset = 0x248
	payloadLength = 0x24c
)

// parseKernel takes the kernel out of a bzImage that LZ4 packed, as Debian's
// kernels for clouds are.
func parseKernel(file []byte) (*kernel, error) {
	if len(file) < 0x260 || string(file[setupMagic:][:4]) != "HdrS" {
		return nil, errors.New("the kernel is no bzImage")
	}
	u32 := func(off int) int { return int(binary.LittleEndian.Uint32(file[off:])) }
	start := (int(file[setupSects])+1)*512 + u32(payloadOffset)
	end := start + u32(payloadLength)
	if start > end || end > len(file) {
		return nil, errors.New("the kernel's payload lies outside its file")
	}
	elfFile, err := unpackLZ4(file[start:end])
	if err != nil {
		return nil, fmt.Errorf("unpack the kernel: %w", err)
	}
	f, err := elf.NewFile(bytes.NewReader(elfFile))
	if err != nil {
		return nil, fmt.Errorf("read the kernel: %w", err)
	}
	k := &kernel{header: file[setupHeader : setupMagic+int(file[setupJump])], entry: f.Entry, base: ^uint64(0)}
	var top uint64
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			k.base, top = min(k.base, p.Paddr), max(top, p.Paddr+p.Filesz)
		}
	}
	if top < k.base || top-k.base > 1<<28 {
		return nil, errors.New("the kernel's segments do not fit")
	}
	k.image = make([]byte, top-k.base)
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		if _, err := p.ReadAt(k.image[p.Paddr-k.base:][:p.Filesz], 0); err != nil {
			return nil, fmt.Errorf("read the kernel: %w", err)
		}
	}
	return k, nil
}

// unpackLZ4 unpacks the legacy frames of LZ4: a magic number, then blocks, each
// behind its length. The kernel's build appends the unpacked length.
func unpackLZ4(in []byte) ([]byte, error) {
	if len(in) < 4 || binary.LittleEndian.Uint32(in) != 0x184c2102 {
		return nil, errors.New("it is not packed with LZ4")
	}
	var out []byte
	for in = in[4:]; len(in) > 4; {
		n := int(binary.LittleEndian.Uint32(in))
		in = in[4:]
		if n > len(in) {
			return nil, errors.New("a block is cut short")
		}
		var err error
		if out, err = unpackBlock(out, in[:n]); err != nil {
			return nil, err
		}
		in = in[n:]
	}
	return out, nil
}

// unpackBlock appends one block of LZ4.
func unpackBlock(out, in []byte) ([]byte, error) {
	errBad := errors.New("a block is damaged")
	start := len(out)
	// length reads the rest of a length of 4 bits.
	length := func(n int) (int, bool) {
		if n < 15 {
			return n, true
		}
		for len(in) > 0 {
			b := in[0]
			in = in[1:]
			n += int(b)
			if b < 255 {
				return n, true
			}
		}
		return 0, false
	}
	for len(in) > 0 {
		token := int(in[0])
		in = in[1:]
		n, ok := length(token >> 4)
		if !ok || n > len(in) {
			return nil, errBad
		}
		out, in = append(out, in[:n]...), in[n:]
		if len(in) == 0 {
			break // the last sequence has literals alone
		}
		if len(in) < 2 {
			return nil, errBad
		}
		back := int(binary.LittleEndian.Uint16(in))
		in = in[2:]
		n, ok = length(token & 15)
		if !ok || back == 0 || back > len(out)-start {
			return nil, errBad
		}
		for range n + 4 {
			out = append(out, out[len(out)-back])
		}
	}
	return out, nil
}
