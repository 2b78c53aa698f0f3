package weights

import (
	"os"
	"unsafe"
)

// Tensors that were read and will not be read again soon need not stay in the
// memory of the process: a span that is packed would count twice otherwise.

// Release takes the pages of data, a tensor's Data or part of it, out of the
// process's memory. The data stay valid: their pages come back when they are
// touched, from the system's cache as a rule. Of other data it does nothing.
func (f *File) Release(data []byte) {
	if f.maps(data) {
		leave(data)
	}
}

// WillNeed says that data, a tensor's Data or part of it, will be read soon, so
// that the system may fetch it from the disk meanwhile.
func (f *File) WillNeed(data []byte) {
	if f.maps(data) {
		soon(data)
	}
}

// maps reports whether data lie in a mapped file of f.
func (f *File) maps(data []byte) bool {
	if f.made != nil {
		for _, all := range f.made.Mapped() {
			if within(data, all) {
				return true
			}
		}
		return false
	}
	for i := range f.parts {
		if p := &f.parts[i]; p.mapped && within(data, p.data) {
			return true
		}
	}
	return false
}

// releasePiece is Release for the data of one piece.
func (f *File) releasePiece(pl place) {
	if f.made == nil || f.made.data[pl.tensor] != nil {
		f.Release(f.bytesOf(pl))
	}
}

// release is releasePiece for one of a copy.
func (p *Partial) release(n int) {
	if pl := p.place(n); p.mapped != nil {
		t := p.tensors[pl.tensor]
		leave(p.mapped[p.bases[t.part]+t.Offset+pl.lo:][:pl.bytes()])
	}
}

// ContentKey returns a name for what the copy holds: the model's id.
func (p *Partial) ContentKey() (key string, ok bool) { return p.id.String(), true }

// Release is [File.Release] for a copy.
func (p *Partial) Release(data []byte) {
	if within(data, p.mapped) {
		leave(data)
	}
}

// WillNeed is [File.WillNeed] for a copy.
func (p *Partial) WillNeed(data []byte) {
	if within(data, p.mapped) {
		soon(data)
	}
}

// within reports whether data, not empty, is part of all.
func within(data, all []byte) bool {
	if len(data) == 0 || len(all) == 0 {
		return false
	}
	at, lo := uintptr(unsafe.Pointer(&data[0])), uintptr(unsafe.Pointer(&all[0]))
	return at >= lo && at+uintptr(len(data)) <= lo+uintptr(len(all))
}

// leave takes the pages that b covers, the last ones too where it begins or
// ends within a page, out of memory: somebody else's bytes on them only have to
// come back.
func leave(b []byte) { leaveMemory(outward(b)) }

func soon(b []byte) { soonMemory(outward(b)) }

// outward returns b, which is not empty, with what lies before it on its first page, where systems
// want whole pages. Mappings begin with a page, so that memory is mapped too.
func outward(b []byte) []byte {
	first := unsafe.SliceData(b)
	before := int(uintptr(unsafe.Pointer(first)) % uintptr(os.Getpagesize()))
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(first), -before)), before+len(b))
}
