package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A store is a grid that lives over many blocks: in registers if there are
// enough, in aligned scratch memory otherwise.
type store struct {
	regs grid
	base Register
	disp int
	tile *tile
}

// store returns a store with anything in it.
func (k *tile) store() *store {
	s := &store{tile: k}
	if k.inRegisters() {
		s.regs = k.grid(k.tokens)
		return s
	}
	s.base, s.disp = k.scratch, k.used
	k.used += k.parts() * k.tokens * k.bytes()
	return s
}

// mem returns where an element of a store in memory lives.
func (s *store) mem(h, n int) Mem {
	return Mem{Base: s.base, Disp: s.disp + (h*s.tile.tokens+n)*s.tile.bytes()}
}

// op returns an element as an operand.
func (s *store) op(h, n int) Op {
	if s.regs != nil {
		return s.regs[h][n]
	}
	return s.mem(h, n)
}

// get returns an element in a register, which must not be changed.
func (s *store) get(h, n int) VecVirtual {
	if s.regs != nil {
		return s.regs[h][n]
	}
	v := s.tile.vec()
	s.tile.move(s.mem(h, n), v)
	return v
}

// set makes an element v.
func (s *store) set(h, n int, v VecVirtual) { s.tile.move(v, s.op(h, n)) }

// zero clears the store.
func (s *store) zero() {
	if s.regs != nil {
		s.regs.each(func(_, _ int, v VecVirtual) { s.tile.zero(v) })
		return
	}
	z := s.tile.vec()
	s.tile.zero(z)
	for h := range s.tile.parts() {
		for n := range s.tile.tokens {
			s.set(h, n, z)
		}
	}
}

// addInt adds v to an element; v is lost.
func (s *store) addInt(h, n int, v VecVirtual) {
	if s.regs != nil {
		VPADDD(v, s.regs[h][n], s.regs[h][n])
		return
	}
	VPADDD(s.mem(h, n), v, v)
	s.set(h, n, v)
}

// multiplyAdd makes an element v*d + itself. v is lost; for a store in memory
// the result is in v, and in memory only if keep.
func (s *store) multiplyAdd(h, n int, v, d VecVirtual, keep bool) {
	if s.regs != nil {
		VFMADD231PS(v, d, s.regs[h][n])
		return
	}
	VFMADD213PS(s.mem(h, n), d, v)
	if keep {
		s.set(h, n, v)
	}
}

// change lets f change an element in a register.
func (s *store) change(h, n int, f func(v VecVirtual)) {
	v := s.get(h, n)
	f(v)
	if s.regs == nil {
		s.set(h, n, v)
	}
}
