package grammar

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// text returns the strings that w allows.
func (s *schemas) text(w want) (*Expr, error) {
	j := s.parts
	sized := w.minLength > 0 || w.maxLength != NoLimit
	if w.maxLength != NoLimit && w.maxLength < w.minLength {
		return nil, &emptyError{w.path, "maxLength is less than minLength"}
	}
	if w.format != "" {
		if len(w.patterns) > 0 || sized {
			return nil, fmt.Errorf("%s: format beside pattern, minLength or maxLength is not supported", at(w.path))
		}
		w.patterns = []string{formats[w.format]}
	}
	switch {
	case len(w.patterns) > 0:
		return s.patterned(w)
	case !sized:
		return j.str, nil
	}
	return Seq(Text(`"`), Repeat(j.char, w.minLength, w.maxLength), Text(`"`)), nil
}

// patterned returns the strings of w's pattern.
func (s *schemas) patterned(w want) (*Expr, error) {
	if len(w.patterns) > 1 {
		return nil, fmt.Errorf("%s: two patterns of one value are not supported", at(w.path))
	}
	p := patterner{char: s.parts.inString, any: Repeat(s.parts.char, 0, NoLimit)}
	e, err := p.pattern(w.patterns[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at(w.path), err)
	}
	lo, hi := lengths(e)
	if lo < w.minLength || w.maxLength != NoLimit && (hi == NoLimit || hi > w.maxLength) {
		return nil, fmt.Errorf("%s: pattern beside minLength or maxLength is supported only if the pattern itself keeps to them", at(w.path))
	}
	return Seq(Text(`"`), e, Text(`"`)), nil
}

// lengths returns bounds of the number of characters of e, which is made of the
// characters of strings; hi is NoLimit if there is none.
func lengths(e *Expr) (lo, hi int) {
	switch e.kind {
	case kindLiteral: // an escape
		return 1, 1
	case kindClass:
		return 1, 1
	case kindAlt:
		lo, hi = lengths(e.subs[0])
		for _, s := range e.subs[1:] {
			l, h := lengths(s)
			lo = min(lo, l)
			if hi == NoLimit || h == NoLimit {
				hi = NoLimit
			} else {
				hi = max(hi, h)
			}
		}
		return lo, hi
	case kindSeq:
		for _, s := range e.subs {
			l, h := lengths(s)
			lo += l
			if hi == NoLimit || h == NoLimit {
				hi = NoLimit
			} else {
				hi += h
			}
		}
		return lo, hi
	case kindRepeat:
		l, h := lengths(e.subs[0])
		if e.max == NoLimit || h == NoLimit {
			return l * e.min, NoLimit
		}
		return l * e.min, h * e.max
	}
	return 1, 1 // rule char
}

// number returns the numbers that w allows.
func (s *schemas) number(w want) (*Expr, error) {
	places := maxDigits
	if w.multiple != nil {
		n, ok := decimalPlaces(w.multiple)
		if ok && n == 0 && w.multiple.IsInt() {
			return s.integer(w)
		}
		if !ok {
			return s.multiples(w)
		}
		places = n
	}
	if w.low == nil && w.high == nil && w.multiple == nil {
		return s.parts.number, nil
	}
	if err := w.checkRange(); err != nil {
		return nil, err
	}
	return numbers(w.low, w.high, places), nil
}

// integer returns the integers that w allows.
func (s *schemas) integer(w want) (*Expr, error) {
	if w.multiple != nil && !new(big.Rat).Inv(orOne(w.multiple)).IsInt() {
		return s.multiples(w)
	}
	if w.low == nil && w.high == nil {
		return s.parts.whole, nil
	}
	low, high := fill(w.low, w.high)
	lo, hi := ceil(low), new(big.Int).Neg(ceil(bound{new(big.Rat).Neg(high.at), high.open}))
	if lo.Cmp(hi) > 0 {
		return nil, &emptyError{w.path, "no integer is in the range"}
	}
	var alts []*Expr
	if hi.Sign() >= 0 {
		from := lo
		if lo.Sign() < 0 {
			from = new(big.Int)
		}
		alts = append(alts, wholes(from, hi))
	}
	if lo.Sign() < 0 {
		to := new(big.Int).Neg(hi)
		if hi.Sign() >= 0 {
			to = big.NewInt(1)
		}
		alts = append(alts, Seq(Text("-"), wholes(to, new(big.Int).Neg(lo))))
	}
	return Or(alts...), nil
}

func orOne(r *big.Rat) *big.Rat {
	if r.Sign() <= 0 {
		return big.NewRat(2, 1) // not of one: refused by multiples
	}
	return r
}

// ceil returns the least integer in a range that begins with b.
func ceil(b bound) *big.Int {
	q, m := new(big.Int).DivMod(b.at.Num(), b.at.Denom(), new(big.Int))
	if m.Sign() != 0 || b.open {
		q.Add(q, big.NewInt(1))
	}
	return q
}

func (w *want) checkRange() error {
	if w.low == nil || w.high == nil {
		return nil
	}
	if c := w.low.at.Cmp(w.high.at); c > 0 || c == 0 && (w.low.open || w.high.open) {
		return &emptyError{w.path, "no number is in the range"}
	}
	return nil
}

// decimalPlaces returns n if r is 10^-n.
func decimalPlaces(r *big.Rat) (int, bool) {
	for n := range maxDigits {
		if r.Cmp(new(big.Rat).SetFrac(big.NewInt(1), pow10(n))) == 0 {
			return n, true
		}
	}
	return 0, false
}

// maxMultiples bounds the multiples that are written out one by one.
const maxMultiples = 10_000

// multiples returns the multiples of w.multiple that w allows, one by one.
func (s *schemas) multiples(w want) (*Expr, error) {
	m := w.multiple
	if m.Sign() <= 0 {
		return nil, fmt.Errorf("%s: multipleOf: want one number above 0", at(w.path))
	}
	if w.low == nil || w.high == nil {
		return nil, fmt.Errorf("%s: multipleOf %s is supported only with minimum and maximum", at(w.path), m.RatString())
	}
	lo := ceil(bound{new(big.Rat).Quo(w.low.at, m), w.low.open})
	hi := new(big.Int).Neg(ceil(bound{new(big.Rat).Neg(new(big.Rat).Quo(w.high.at, m)), w.high.open}))
	n := new(big.Int).Sub(hi, lo)
	if n.Sign() < 0 {
		return nil, &emptyError{w.path, "no multiple is in the range"}
	}
	if n.Cmp(big.NewInt(maxMultiples)) > 0 {
		return nil, fmt.Errorf("%s: multipleOf leaves more than %d values, want a smaller range", at(w.path), maxMultiples)
	}
	var alts []*Expr
	for i := range n.Int64() + 1 {
		x := new(big.Rat).Mul(m, new(big.Rat).SetInt(new(big.Int).Add(lo, big.NewInt(i))))
		if w.kinds&isNumber == 0 && !x.IsInt() {
			continue
		}
		text := trimZeros(x.FloatString(maxFraction))
		alts = append(alts, Text(text))
	}
	return Or(alts...), nil
}

func trimZeros(text string) string {
	for len(text) > 0 && text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	if text[len(text)-1] == '.' {
		text = text[:len(text)-1]
	}
	return text
}

// array returns the arrays that w allows.
func (s *schemas) array(w want) (*Expr, error) {
	j := s.parts
	if w.maxItems != NoLimit && w.maxItems < w.minItems {
		return nil, &emptyError{w.path, "maxItems is less than minItems"}
	}
	item := j.value
	if len(w.items) > 0 {
		var err error
		if item, err = s.form(both(w.items), w.path+"/items"); err != nil {
			return nil, err
		}
	}
	if len(w.prefix) == 0 {
		hi := w.maxItems
		if w.closedItems {
			hi = 0
		}
		if hi != NoLimit && hi < w.minItems {
			return nil, &emptyError{w.path, "items is false and minItems is not 0"}
		}
		return j.brackets(j.list(item, w.minItems, hi)), nil
	}
	return s.tuple(w, item)
}

// tuple returns the arrays that begin with w.prefix. All of it is written: an
// answer that leaves some of it out is valid too, but not meant.
func (s *schemas) tuple(w want, item *Expr) (*Expr, error) {
	j := s.parts
	n := len(w.prefix)
	if w.maxItems != NoLimit && w.maxItems < n {
		n = w.maxItems
	}
	var parts []*Expr
	for i := range n {
		e, err := s.form(both(w.prefix[i]), fmt.Sprintf("%s/prefixItems/%d", w.path, i))
		if err != nil {
			return nil, err
		}
		if i > 0 {
			parts = append(parts, j.comma())
		}
		parts = append(parts, e, j.ws)
	}
	lo, hi := max(0, w.minItems-n), NoLimit
	if w.maxItems != NoLimit {
		hi = w.maxItems - n
	}
	if w.closedItems || len(w.items) == 0 {
		hi = 0
		if lo > 0 && !w.closedItems {
			hi = lo
		}
	}
	if hi != NoLimit && hi < lo {
		return nil, &emptyError{w.path, "minItems is more than the items"}
	}
	if n == 0 {
		return j.brackets(j.list(item, lo, hi)), nil
	}
	parts = append(parts, Repeat(Seq(j.comma(), item, j.ws), lo, hi))
	return j.brackets(Seq(parts...)), nil
}

// object returns the objects that w allows: the properties in their order, those
// that are not required or not, and then further ones.
func (s *schemas) object(w want) (*Expr, error) {
	j := s.parts
	further, err := s.further(&w)
	if err != nil {
		return nil, err
	}
	if err := w.checkProps(further != nil); err != nil {
		return nil, err
	}
	if len(w.props) == 0 {
		if further == nil {
			return j.braces(Seq()), nil
		}
		return j.braces(j.list(further, w.minProps, w.maxProps)), nil
	}
	// rest[0] is what may follow from a property on when none came before,
	// rest[1] when one did; from the last property to the first.
	rest := [2]*Expr{Seq(), Seq()}
	if further != nil {
		most := NoLimit
		if w.maxProps != NoLimit {
			most = w.maxProps - len(w.props)
		}
		if most != 0 {
			rest[0] = j.list(further, 0, most)
			rest[1] = Repeat(Seq(j.comma(), further, j.ws), 0, most)
		}
	}
	for i := len(w.props) - 1; i >= 0; i-- {
		p := w.props[i]
		value, err := s.form(both(p.of), w.path+"/properties/"+p.name)
		needed := slices.Contains(w.required, p.name)
		if _, none := errors.AsType[*emptyError](err); none && !needed {
			continue // it may not come
		}
		if err != nil {
			return nil, err
		}
		pair := rule(p.name).define(Seq(j.pair(Text(jsonText(p.name)), value), j.ws))
		first, later := Seq(pair, rest[1]), Seq(j.comma(), pair, rest[1])
		if !needed {
			first, later = Or(first, rest[0]), Or(later, rest[1])
		}
		rest = [2]*Expr{rule("first").define(first), rule("later").define(later)}
	}
	return j.braces(rest[0]), nil
}

// further returns the pairs that may come besides the properties, nil for none.
// Properties that are required but not described become ones of w.
func (s *schemas) further(w *want) (*Expr, error) {
	if err := w.addRequired(); err != nil {
		return nil, err
	}
	if w.closed || len(w.props) > 0 && !w.open {
		return nil, nil
	}
	j := s.parts
	value := j.value
	if len(w.more) > 0 {
		var err error
		if value, err = s.form(both(w.more), w.path+"/additionalProperties"); err != nil {
			if _, none := errors.AsType[*emptyError](err); none {
				return nil, nil
			}
			return nil, err
		}
	}
	if len(w.names) > 0 {
		name, err := s.nameForm(w)
		return j.pair(name, value), err
	}
	if len(w.props) == 0 {
		return j.pair(j.str, value), nil
	}
	names := make([]string, len(w.props))
	for i, p := range w.props {
		names[i] = p.name
	}
	return j.pair(j.keyExcept(names), value), nil
}

// addRequired makes properties of those that are required and not described.
func (w *want) addRequired() error {
	for _, name := range w.required {
		if slices.ContainsFunc(w.props, func(p prop) bool { return p.name == name }) {
			continue
		}
		if w.closed {
			return &emptyError{w.path, fmt.Sprintf("%q is required and not allowed", name)}
		}
		p := w.property(name)
		if p.of = slices.Clone(w.more); len(p.of) == 0 {
			p.of = []any{true}
		}
	}
	return nil
}

// nameForm returns the names that propertyNames allows.
func (s *schemas) nameForm(w *want) (*Expr, error) {
	if len(w.props) > 0 {
		return nil, fmt.Errorf("%s: propertyNames beside properties is not supported", at(w.path))
	}
	n := newWant(w.path + "/propertyNames")
	n.kinds, n.typed = isString, true
	for _, v := range w.names {
		if err := s.read(&n, v, n.path); err != nil {
			return nil, err
		}
	}
	return s.choose(n)
}

// checkProps refuses bounds of the number of properties that a grammar can't
// count.
func (w *want) checkProps(open bool) error {
	if w.maxProps != NoLimit && len(w.props) > w.maxProps {
		return fmt.Errorf("%s: maxProperties below the number of properties is not supported", at(w.path))
	}
	if w.minProps > len(w.required) && !(open && len(w.props) == 0 && w.minProps == 1) {
		// A name that comes twice would count twice.
		return fmt.Errorf("%s: minProperties above the number of required properties is not supported", at(w.path))
	}
	return nil
}
