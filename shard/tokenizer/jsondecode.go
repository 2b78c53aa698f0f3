package tokenizer

import (
	"errors"
	"fmt"
	"strings"
)

// jsonDecoder works out the bytes that each token stands for, by sending its
// text through the decoder of the file once and for all. Only what a decoder
// does to the beginning of a whole text is left for later (start).
func (t *Tokenizer) jsonDecoder(f *jsonFile) error {
	d := &pieceDecoder{}
	switch {
	case f.Decoder != nil:
		if err := d.add(f.Decoder, 0); err != nil {
			return fmt.Errorf("decoder: %w", err)
		}
	default:
		if b, ok := t.model.(*bpe); ok && b.byteLevel {
			d.steps = append(d.steps, lettersToText)
		}
	}
	t.start = d.start
	t.pieces = make([]string, len(t.texts))
	for i, s := range t.texts {
		for _, step := range d.steps {
			s = step(s)
		}
		t.pieces[i] = s
	}
	return nil
}

type pieceDecoder struct {
	steps []func(string) string
	fused bool // the tokens have been joined
	start startRule
}

func lettersToText(s string) string {
	if out, ok := unletter(s); ok {
		return out
	}
	return s
}

func (d *pieceDecoder) add(s *jsonStage, depth int) error { //nolint:gocyclo // one flat case a kind
	if depth > maxDepth || len(d.steps) >= maxStages {
		return errors.New("more stages than any real file has")
	}
	step := func(f func(string) string) error {
		if d.fused {
			return fmt.Errorf("%q behind Fuse is not supported", describe(s.Type))
		}
		d.steps = append(d.steps, f)
		return nil
	}
	switch s.Type {
	case "Sequence":
		for i := range s.Decoders {
			if err := d.add(&s.Decoders[i], depth+1); err != nil {
				return err
			}
		}
		return nil
	case "ByteLevel":
		return step(lettersToText)
	case "ByteFallback":
		return step(func(s string) string {
			if b, ok := byteToken(s); ok {
				return string([]byte{b})
			}
			return s
		})
	case "Replace":
		f, err := replacer(s)
		if err != nil {
			return err
		}
		return step(f)
	case "Fuse":
		d.fused = true
		return nil
	case "Metaspace":
		scheme, err := metaScheme(s)
		if err != nil {
			return err
		}
		meta := metaRune
		if s.Replacement != "" {
			meta = s.Replacement
		}
		d.start.dropMeta = scheme != prependNever
		return step(replaceAll(meta, " "))
	case "Strip":
		return d.addStrip(s, step)
	}
	return fmt.Errorf("%q is not supported", describe(s.Type))
}

func (d *pieceDecoder) addStrip(s *jsonStage, step func(func(string) string) error) error {
	if s.Start < 0 || s.Stop < 0 || s.Start > maxRepeat || s.Stop > maxRepeat || s.Content == "" {
		return errors.New("strip of no known kind")
	}
	if d.fused {
		if s.Stop > 0 || s.Content != " " {
			return errors.New("strip behind Fuse of anything but leading spaces is not supported")
		}
		d.start.strip = s.Start
		return nil
	}
	return step(func(text string) string {
		for range s.Start {
			text = strings.TrimPrefix(text, s.Content)
		}
		for range s.Stop {
			text = strings.TrimSuffix(text, s.Content)
		}
		return text
	})
}
