package tokenizer

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A normalizer rewrites text before it is split.
type normalizer func(string) string

func prepend(prefix string) normalizer {
	return func(s string) string {
		if s == "" {
			return s
		}
		return prefix + s
	}
}

func replaceAll(from, to string) normalizer {
	return func(s string) string { return strings.ReplaceAll(s, from, to) }
}

// replacePattern replaces every match of p.
func replacePattern(p *pattern, to string) normalizer {
	return func(s string) string {
		var sc scan
		sc.reset(p)
		var b strings.Builder
		last := 0
		for i := 0; i < len(s); {
			lo, hi, ok := p.find(s, i, &sc)
			if !ok {
				break
			}
			b.WriteString(s[last:lo])
			b.WriteString(to)
			i, last = hi, hi
		}
		if last == 0 {
			return s
		}
		b.WriteString(s[last:])
		return b.String()
	}
}

// filter keeps the characters for which keep is true.
func filter(keep func(rune) bool) normalizer {
	return func(s string) string {
		return strings.Map(func(r rune) rune {
			if keep(r) {
				return r
			}
			return -1
		}, s)
	}
}

func strip(left, right bool) normalizer {
	return func(s string) string {
		if left {
			s = strings.TrimLeftFunc(s, unicode.IsSpace)
		}
		if right {
			s = strings.TrimRightFunc(s, unicode.IsSpace)
		}
		return s
	}
}

// notAccent is what BertNormalizer keeps of decomposed text, notMark what
// StripAccents keeps, which goes further.
func notAccent(r rune) bool { return !unicode.Is(unicode.Mn, r) }
func notMark(r rune) bool   { return !unicode.Is(unicode.M, r) }

// lowercase makes each character lower case by itself, as Rust's char does: "İ"
// becomes two, and no sigma is final.
func lowercase(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "İ", "i\u0307"))
}

// nmt is the Nmt normalizer: control characters go, odd spaces become spaces
// (normalizers/unicode.rs of Hugging Face's tokenizers).
func nmt(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 1 && r <= 8, r == 0xb, r >= 0xe && r <= 0x1f, r == 0x7f, r == 0x8f, r == 0x9f:
			return -1
		case r == '\t', r == '\n', r == '\f', r == '\r', r == 0x1680, r >= 0x200b && r <= 0x200f,
			r == 0x2028, r == 0x2029, r == 0x2581, r == 0xfeff, r == 0xfffd:
			return ' '
		}
		return r
	}, s)
}

// bertClean drops control characters and makes every white space a space.
func bertClean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == 0, r == 0xfffd:
			return -1
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Cs, r):
			return -1
		}
		return r
	}, s)
}

// bertChinese puts spaces around ideographs.
func bertChinese(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 0x3400 && r <= 0x4dbf || r >= 0x4e00 && r <= 0x9fff || r >= 0xf900 && r <= 0xfaff ||
			r >= 0x20000 && r <= 0x2a6df || r >= 0x2a700 && r <= 0x2ceaf || r >= 0x2f800 && r <= 0x2fa1f {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unicodeForm(name string) normalizer {
	switch name {
	case "NFC":
		return norm.NFC.String
	case "NFD":
		return norm.NFD.String
	case "NFKC":
		return norm.NFKC.String
	case "NFKD":
		return norm.NFKD.String
	}
	return nil
}
