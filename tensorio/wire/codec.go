package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/huff0"
)

// A Codec is a form of hidden states on the wire. Codecs cross the network and
// are never renumbered.
type Codec uint8

// The lossless codecs. Both give back the same 16-bit values.
const (
	// CodecNone is no codec: a payload without hidden states.
	CodecNone Codec = 0
	// Raw is the values themselves, little-endian.
	Raw Codec = 1
	// Planes is two byte planes, each Huffman-coded where that is shorter.
	// Of bfloat16 values the plane of exponents takes about 2.7 bits a value
	// (research/transport.md §4), that of mantissas stays as it is.
	Planes Codec = 2
)

// String returns the name of c.
func (c Codec) String() string {
	switch c {
	case CodecNone:
		return "none"
	case Raw:
		return "raw"
	case Planes:
		return "planes"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// ErrCodec is returned for a payload that its codec cannot have produced.
var ErrCodec = errors.New("hidden states are damaged")

const (
	// blockBytes is how much of a plane is coded with one Huffman table;
	// huff0 takes at most 128 KiB.
	blockBytes = 64 << 10
	// minPackValues is the number of values below which a frame is left raw:
	// under it a table costs more than it saves (BenchmarkEncode).
	minPackValues = 512
	// blockHeadBytes precedes each coded block: its coded length u24 and its
	// form u8.
	blockHeadBytes = 4
)

// The forms of a block of a plane.
const (
	formStored  = 0
	formHuff    = 1
	formRunByte = 2
)

// A Packer encodes and decodes hidden states. It keeps tables and buffers
// between calls and belongs to one goroutine. The zero Packer is ready.
type Packer struct {
	enc, dec huff0.Scratch
	planes   []byte
}

// Encode appends hidden in the form of c to dst, and returns the form it chose:
// [Raw] when [Planes] would not be shorter.
func (p *Packer) Encode(dst []byte, c Codec, hidden []uint16) ([]byte, Codec, error) {
	switch {
	case c != Raw && c != Planes:
		return dst, c, fmt.Errorf("encode hidden states: %v: want raw or planes", c)
	case c == Planes && len(hidden) >= minPackValues:
		if out, ok := p.encodePlanes(dst, hidden); ok {
			return out, Planes, nil
		}
	}
	return appendRaw(dst, hidden), Raw, nil
}

// Decode fills hidden with the values of payload, which must hold exactly as
// many. It returns [ErrCodec] otherwise, and takes no memory but a buffer of
// the size of hidden.
func (p *Packer) Decode(hidden []uint16, c Codec, payload []byte) error {
	switch c {
	case Raw:
		if len(payload) != 2*len(hidden) {
			return fmt.Errorf("%w: raw payload has %d bytes, want %d", ErrCodec, len(payload), 2*len(hidden))
		}
		for i := range hidden {
			hidden[i] = binary.LittleEndian.Uint16(payload[2*i:])
		}
		return nil
	case Planes:
		return p.decodePlanes(hidden, payload)
	}
	return fmt.Errorf("%w: %v: want raw or planes", ErrCodec, c)
}

func appendRaw(dst []byte, hidden []uint16) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, 2*len(hidden))...)
	for i, v := range hidden {
		binary.LittleEndian.PutUint16(dst[at+2*i:], v)
	}
	return dst
}

// grow returns p.planes with n bytes.
func (p *Packer) grow(n int) []byte {
	if cap(p.planes) < n {
		p.planes = make([]byte, n)
	}
	return p.planes[:n]
}

// encodePlanes appends the planes form. It reports false, with dst as it was,
// when that is not shorter than raw.
//
// Rotating left by one bit puts the eight exponent bits of a bfloat16 value in
// the high byte, and mantissa and sign in the low one.
func (p *Packer) encodePlanes(dst []byte, hidden []uint16) ([]byte, bool) {
	n, at := len(hidden), len(dst)
	planes := p.grow(2 * n)
	high, low := planes[:n], planes[n:]
	for i, v := range hidden {
		r := v<<1 | v>>15
		high[i], low[i] = byte(r>>8), byte(r)
	}
	for _, plane := range [][]byte{high, low} {
		for lo := 0; lo < n; lo += blockBytes {
			dst = p.appendBlock(dst, plane[lo:min(lo+blockBytes, n)])
		}
		if len(dst)-at >= 2*n {
			return dst[:at], false
		}
	}
	return dst, true
}

// appendBlock appends one block of a plane in its shortest form.
func (p *Packer) appendBlock(dst, block []byte) []byte {
	p.enc.Reuse = huff0.ReusePolicyNone
	out, _, err := huff0.Compress1X(block, &p.enc)
	form := byte(formHuff)
	switch {
	case errors.Is(err, huff0.ErrUseRLE):
		out, form = block[:1], formRunByte
	case err != nil || len(out) >= len(block):
		out, form = block, formStored
	}
	dst = append(dst, byte(len(out)), byte(len(out)>>8), byte(len(out)>>16), form)
	return append(dst, out...)
}

func (p *Packer) decodePlanes(hidden []uint16, payload []byte) error {
	n := len(hidden)
	planes := p.grow(2 * n)
	rest := payload
	for _, plane := range [][]byte{planes[:n], planes[n:]} {
		for lo := 0; lo < n; lo += blockBytes {
			used, err := p.decodeBlock(plane[lo:min(lo+blockBytes, n)], rest)
			if err != nil {
				return err
			}
			rest = rest[used:]
		}
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrCodec, len(rest))
	}
	high, low := planes[:n], planes[n:]
	for i := range hidden {
		r := uint16(high[i])<<8 | uint16(low[i])
		hidden[i] = r>>1 | r<<15
	}
	return nil
}

// decodeBlock fills block from the start of b and returns how much of b it used.
func (p *Packer) decodeBlock(block, b []byte) (int, error) {
	if len(b) < blockHeadBytes {
		return 0, fmt.Errorf("%w: payload ends within a block's head", ErrCodec)
	}
	coded := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	form, body := b[3], b[blockHeadBytes:]
	if coded > len(body) {
		return 0, fmt.Errorf("%w: block of %d bytes, %d left", ErrCodec, coded, len(body))
	}
	body = body[:coded]
	switch form {
	case formStored:
		if coded != len(block) {
			return 0, fmt.Errorf("%w: stored block has %d bytes, want %d", ErrCodec, coded, len(block))
		}
		copy(block, body)
	case formRunByte:
		if coded != 1 {
			return 0, fmt.Errorf("%w: run has %d bytes, want 1", ErrCodec, coded)
		}
		for i := range block {
			block[i] = body[0]
		}
	case formHuff:
		if err := p.decodeHuff(block, body); err != nil {
			return 0, err
		}
	default:
		return 0, fmt.Errorf("%w: block of unknown form %d", ErrCodec, form)
	}
	return blockHeadBytes + coded, nil
}

func (p *Packer) decodeHuff(block, body []byte) error {
	s, rest, err := huff0.ReadTable(body, &p.dec)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCodec, err)
	}
	// The capacity bounds what the decoder may write.
	out, err := s.Decoder().Decompress1X(block[:0:len(block)], rest)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCodec, err)
	}
	if len(out) != len(block) {
		return fmt.Errorf("%w: block decodes to %d bytes, want %d", ErrCodec, len(out), len(block))
	}
	return nil
}
