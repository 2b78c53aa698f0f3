package tokenizer

import (
	"slices"
	"sync"
	"unicode"
)

// A class is a set of characters, as a pattern's "[^\s\p{L}]" names it. It
// never changes once built.
type class struct {
	ascii  [2]uint64   // the answer for characters below 128, all told
	cats   uint32      // general categories in the set, by catNames
	ranges []runeRange // sorted by lo
	subs   []*class    // sets in the set
	negate bool
	and    *class           // if not nil, the set is only what this one has as well
	table  *[catRunes]uint8 // catTable, once cats is final
}

type runeRange struct{ lo, hi rune }

// catNames are the general categories, in the order of the bits of class.cats.
// The first is what Unicode has not assigned.
var catNames = [...]string{
	"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
	"Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co",
}

// catRunes is where the table of categories ends; all common characters are below.
const catRunes = 0x20000

// catTable holds the category of every character below catRunes.
var catTable = sync.OnceValue(func() *[catRunes]uint8 {
	t := &[catRunes]uint8{}
	for i, name := range catNames {
		table := unicode.Categories[name]
		if table == nil || i == 0 {
			continue
		}
		put := func(lo, hi, stride rune) {
			for r := lo; r <= hi && r < catRunes; r += stride {
				t[r] = uint8(i) //nolint:gosec // below len(catNames)
			}
		}
		for _, x := range table.R16 {
			put(rune(x.Lo), rune(x.Hi), rune(x.Stride))
		}
		for _, x := range table.R32 {
			put(rune(x.Lo), rune(x.Hi), rune(x.Stride)) //nolint:gosec // a character
		}
	}
	return t
})

// rareCategory is category for characters beyond the table.
func rareCategory(r rune) uint8 {
	for i, name := range catNames {
		if table := unicode.Categories[name]; i > 0 && table != nil && unicode.Is(table, r) {
			return uint8(i) //nolint:gosec // below len(catNames)
		}
	}
	return 0
}

// has reports whether r is in c.
func (c *class) has(r rune) bool {
	if uint32(r) < 128 {
		return c.ascii[r>>6]>>(r&63)&1 != 0
	}
	return c.slowHas(r)
}

func (c *class) slowHas(r rune) bool {
	in := false
	switch {
	case c.cats == 0:
	case r < catRunes:
		in = c.cats>>c.table[r]&1 != 0
	default:
		in = c.cats>>rareCategory(r)&1 != 0
	}
	if !in && len(c.ranges) > 0 {
		_, in = slices.BinarySearchFunc(c.ranges, r, func(x runeRange, r rune) int {
			switch {
			case r < x.lo:
				return 1
			case r > x.hi:
				return -1
			}
			return 0
		})
	}
	for i := 0; i < len(c.subs) && !in; i++ {
		in = c.subs[i].has(r)
	}
	return in != c.negate && (c.and == nil || c.and.has(r))
}

// finish takes simple sets in the set apart, sorts the ranges and works out
// the answers for ASCII. It must come last, and may come twice.
func (c *class) finish() *class {
	subs := c.subs
	c.subs = nil
	for _, s := range subs {
		switch {
		case s.and == nil && !s.negate:
			c.cats |= s.cats
			c.ranges = append(c.ranges, s.ranges...)
			c.subs = append(c.subs, s.subs...)
		case s.and == nil && len(s.ranges) == 0 && len(s.subs) == 0:
			c.cats |= ^s.cats & (1<<len(catNames) - 1)
		default:
			c.subs = append(c.subs, s)
		}
	}
	c.table = catTable()
	slices.SortFunc(c.ranges, func(a, b runeRange) int { return int(a.lo - b.lo) })
	out := c.ranges[:0]
	for _, x := range c.ranges {
		if n := len(out); n > 0 && x.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, x.hi)
			continue
		}
		out = append(out, x)
	}
	c.ranges = out
	for r := range rune(128) {
		if c.slowHas(r) {
			c.ascii[r>>6] |= 1 << (r & 63)
		}
	}
	return c
}

// addRune adds r, and what folds to it if fold.
func (c *class) addRune(r rune, fold bool) { c.addRange(r, r, fold) }

// maxFold bounds the ranges that are folded one by one.
const maxFold = 0x3000

func (c *class) addRange(lo, hi rune, fold bool) {
	c.ranges = append(c.ranges, runeRange{lo, hi})
	if !fold || hi-lo > maxFold {
		return
	}
	for r := lo; r <= hi; r++ {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			if f < lo || f > hi {
				c.ranges = append(c.ranges, runeRange{f, f})
			}
		}
	}
}

// addTable adds a script or another table of Go's.
func (c *class) addTable(t *unicode.RangeTable) {
	for _, x := range t.R16 {
		c.addStride(rune(x.Lo), rune(x.Hi), rune(x.Stride))
	}
	for _, x := range t.R32 {
		c.addStride(rune(x.Lo), rune(x.Hi), rune(x.Stride)) //nolint:gosec // a character
	}
}

func (c *class) addStride(lo, hi, stride rune) {
	if stride == 1 {
		c.ranges = append(c.ranges, runeRange{lo, hi})
		return
	}
	for r := lo; r <= hi; r += stride {
		c.ranges = append(c.ranges, runeRange{r, r})
	}
}

// addCategory adds the categories whose names begin with name, and reports
// whether there is one.
func (c *class) addCategory(name string) bool {
	found := false
	for i, n := range catNames {
		if n == name || len(name) == 1 && n[:1] == name {
			c.cats |= 1 << i
			found = true
		}
	}
	return found
}

// spaceClass is \s: the characters with the property White_Space.
func spaceClass() *class {
	c := &class{}
	c.addTable(unicode.White_Space)
	return c.finish()
}

// wordClass is \w: letters, marks, digits and connectors, as Oniguruma has it.
func wordClass() *class {
	c := &class{}
	for _, name := range []string{"L", "M", "Nd", "Nl", "Pc"} {
		c.addCategory(name)
	}
	return c.finish()
}

// digitClass is \d.
func digitClass() *class {
	c := &class{}
	c.addCategory("Nd")
	return c.finish()
}

func negated(c *class) *class { return (&class{subs: []*class{c}, negate: true}).finish() }
