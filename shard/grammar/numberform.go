package grammar

import (
	"math/big"
	"strings"
)

// A bound is one end of a range of numbers.
type bound struct {
	at   *big.Rat
	open bool // the end itself is not in
}

// farthest is what a range without an end reaches.
var farthest = new(big.Rat).SetInt(pow10(maxDigits))

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// fill gives missing ends of a range.
func fill(lo, hi *bound) (low, high bound) {
	reach := new(big.Rat).Set(farthest)
	for _, b := range []*bound{lo, hi} {
		if b != nil {
			if far := new(big.Rat).Mul(new(big.Rat).Abs(b.at), big.NewRat(1000, 1)); far.Cmp(reach) > 0 {
				reach = far
			}
		}
	}
	low, high = bound{at: new(big.Rat).Neg(reach)}, bound{at: reach}
	if lo != nil {
		low = *lo
	}
	if hi != nil {
		high = *hi
	}
	return low, high
}

// numbers is the decimal numbers between lo and hi, nil for no bound, with at
// most places digits after the point. No number is written in two ways but for
// zeros at the end.
func numbers(lo, hi *bound, places int) *Expr {
	low, high := fill(lo, hi)
	var alts []*Expr
	zero := new(big.Rat)
	if high.at.Sign() >= 0 {
		from := low
		if low.at.Sign() < 0 {
			from = bound{at: zero}
		}
		alts = append(alts, decimals(from, high, places))
	}
	if low.at.Sign() < 0 {
		// -x for x from -high to -low.
		from := bound{new(big.Rat).Neg(high.at), high.open}
		if high.at.Sign() >= 0 {
			from = bound{zero, true}
		}
		alts = append(alts, Seq(Text("-"), decimals(from, bound{new(big.Rat).Neg(low.at), low.open}, places)))
	}
	return Or(alts...)
}

// decimals is the decimal numbers from lo to hi; both are 0 or more.
func decimals(lo, hi bound, places int) *Expr {
	ilo, ihi := floor(lo.at), floor(hi.at)
	flo := fraction{digits: digitsAfter(lo.at, ilo), open: lo.open}
	fhi := fraction{digits: digitsAfter(hi.at, ihi), open: hi.open}
	switch ilo.Cmp(ihi) {
	case 1:
		return class()
	case 0:
		return Seq(wholes(ilo, ihi), fractions(&flo, &fhi, places))
	}
	one := big.NewInt(1)
	alts := []*Expr{
		Seq(wholes(ilo, ilo), fractions(&flo, nil, places)),
		Seq(wholes(ihi, ihi), fractions(nil, &fhi, places)),
	}
	from, to := new(big.Int).Add(ilo, one), new(big.Int).Sub(ihi, one)
	if from.Cmp(to) <= 0 {
		alts = append(alts, Seq(wholes(from, to), fractions(nil, nil, places)))
	}
	return Or(alts...)
}

func floor(r *big.Rat) *big.Int { return new(big.Int).Quo(r.Num(), r.Denom()) } // r >= 0

// maxFraction bounds the digits of a bound that are looked at; more are left
// out of both ends, which makes a range wider by less than 1e-30. JSON's
// numbers are decimals, so there are no endless ones.
const maxFraction = 30

func digitsAfter(r *big.Rat, whole *big.Int) string {
	text := new(big.Rat).Sub(r, new(big.Rat).SetInt(whole)).FloatString(maxFraction)
	_, digits, _ := strings.Cut(text, ".")
	return strings.TrimRight(digits, "0")
}

// wholes is the integers from lo to hi; both are 0 or more.
func wholes(lo, hi *big.Int) *Expr {
	var alts []*Expr
	for n := len(lo.String()); n <= len(hi.String()); n++ {
		a, b := pow10(n-1), new(big.Int).Sub(pow10(n), big.NewInt(1))
		if n == 1 {
			a = new(big.Int)
		}
		if a.Cmp(lo) < 0 {
			a = lo
		}
		if b.Cmp(hi) > 0 {
			b = hi
		}
		alts = append(alts, sameLength(a.String(), b.String()))
	}
	return Or(alts...)
}

// sameLength is the digit strings from lo to hi, which have the same length.
func sameLength(lo, hi string) *Expr {
	if lo == "" {
		return Seq()
	}
	a, b := lo[0], hi[0]
	if a == b {
		return Seq(Text(lo[:1]), sameLength(lo[1:], hi[1:]))
	}
	n := len(lo) - 1
	zeros, nines := strings.Repeat("0", n), strings.Repeat("9", n)
	any := Repeat(class('0', '9'), n, n)
	var alts []*Expr
	if lo[1:] != zeros {
		alts = append(alts, Seq(Text(lo[:1]), sameLength(lo[1:], nines)))
		a++
	}
	if hi[1:] != nines {
		alts = append(alts, Seq(Text(hi[:1]), sameLength(zeros, hi[1:])))
		b--
	}
	if a <= b {
		alts = append(alts, Seq(class(rune(a), rune(b)), any))
	}
	return Or(alts...)
}

// A fraction is a bound on what stands after the point.
type fraction struct {
	digits string
	open   bool
}

// digit returns digit i after the point.
func (f *fraction) digit(i int) byte {
	if i < len(f.digits) {
		return f.digits[i]
	}
	return '0'
}

// restIsZero reports whether the digits from i on are all 0.
func (f *fraction) restIsZero(i int) bool { return i >= len(f.digits) }

// fractions is nothing, or a point and digits, from lo to hi, nil for no bound.
func fractions(lo, hi *fraction, places int) *Expr {
	if lo != nil && lo.restIsZero(0) && !lo.open {
		lo = nil
	}
	var alts []*Expr
	if mayStop(lo, hi, 0) {
		alts = append(alts, Seq())
	}
	if places > 0 {
		alts = append(alts, Seq(Text("."), fractionDigits(lo, hi, 0, places)))
	}
	return Or(alts...)
}

// mayStop reports whether zeros from digit i on are between lo and hi, of which
// all digits before i were equal.
func mayStop(lo, hi *fraction, i int) bool {
	return (lo == nil || lo.restIsZero(i) && !lo.open) && (hi == nil || !hi.restIsZero(i) || !hi.open)
}

// fractionDigits is one or more digits from digit i on, at most left. Bounds
// that are no longer tight are nil.
func fractionDigits(lo, hi *fraction, i, left int) *Expr {
	if left <= 0 {
		return class()
	}
	if lo == nil && hi == nil {
		return Repeat(class('0', '9'), 1, left)
	}
	var alts []*Expr
	for d := byte('0'); d <= '9'; d++ {
		l, h := lo, hi
		if l != nil {
			if d < l.digit(i) {
				continue
			}
			if d > l.digit(i) {
				l = nil
			}
		}
		if h != nil {
			if d > h.digit(i) {
				continue
			}
			if d < h.digit(i) {
				h = nil
			}
		}
		var rest []*Expr
		if mayStop(l, h, i+1) {
			rest = append(rest, Seq())
		}
		// Where only zeros may come, none need to.
		if h == nil || !h.restIsZero(i+1) {
			rest = append(rest, fractionDigits(l, h, i+1, left-1))
		}
		alts = append(alts, Seq(Text(string(d)), Or(rest...)))
	}
	return Or(alts...)
}
