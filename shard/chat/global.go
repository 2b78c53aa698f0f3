package chat

// namespace makes a value whose attributes can be set.
func (r *render) namespace(c *callArgs) any { return &namespace{r.dict(c).(*Dict)} }

// dict makes a dict of another one, or of pairs, and of named arguments.
func (r *render) dict(c *callArgs) any {
	d := &Dict{}
	if len(c.pos) > 0 {
		if from, ok := c.pos[0].(*Dict); ok {
			for i, k := range from.keys {
				d.set(r, k, from.values[i])
			}
		} else {
			for _, p := range r.items(c.pos[0]) {
				kv := r.items(p)
				if len(kv) != 2 {
					r.fail("dictionary update sequence element has length %d; 2 is required", len(kv))
				}
				d.set(r, kv[0], kv[1])
			}
		}
	}
	if c.kw != nil {
		for i, k := range c.kw.keys {
			d.set(r, k, c.kw.values[i])
		}
	}
	return d
}

func (r *render) rangeOf(c *callArgs) any {
	lo, hi, step := int64(0), int64(0), int64(1)
	switch len(c.pos) {
	case 1:
		hi = c.int(0, "stop", 0)
	case 2, 3:
		lo, hi, step = c.int(0, "start", 0), c.int(1, "stop", 0), c.int(2, "step", 1)
	default:
		r.fail("range expected 1 to 3 arguments, got %d", len(c.pos))
	}
	const far = 1 << 53 // beyond it a range would overflow, and nobody counts
	if step == 0 || max(lo, -lo, hi, -hi, step, -step) > far || lo < -far || hi < -far || step < -far {
		r.fail("range() arg 3 must not be zero, and no argument above 2**53")
	}
	n := (hi - lo + step - 1) / step
	if step < 0 {
		n = (lo - hi - step - 1) / -step
	}
	if n > maxRange {
		r.limit("items in a range", maxRange)
	}
	l := &List{kind: kindRange}
	r.growItems(int(max(n, 0)))
	for i := range n {
		l.items = append(l.items, lo+i*step)
	}
	return l
}

// raise ends the render with the template's own message.
func (r *render) raise(c *callArgs) any {
	panic(bail{&RaiseError{r.line, r.str(c.need(0, "message"))}})
}

func (r *render) strftimeNow(c *callArgs) any { return r.strftime(c.str(0, "format")) }
