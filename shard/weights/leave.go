package weights

import (
	"os"
	"unsafe"
)

// Tensors that were read and will not be read again soon need not stay in the
// memory of the process: a span that is packed would count twice otherwise.

// Release takes the pages of a tensor's Data out of the process's memory. The
// Data stays valid: its pages come back when they are touched, from the
// system's cache as a rule.
func (f *File) Release(name string) {
	if i, ok := f.byName[name]; ok && f.parts[f.tensors[i].part].mapped {
		leave(f.tensor(i).Data)
	}
}

// WillNeed says that a tensor's Data will be read soon, so that the system may
// fetch it from the disk meanwhile.
func (f *File) WillNeed(name string) {
	if i, ok := f.byName[name]; ok && f.parts[f.tensors[i].part].mapped {
		soon(f.tensor(i).Data)
	}
}

// releasePiece is Release for one piece.
func (f *File) releasePiece(pl place) {
	if f.parts[f.tensors[pl.tensor].part].mapped {
		leave(f.bytesOf(pl))
	}
}

// release is releasePiece for one of a copy.
func (p *Partial) release(n int) {
	if pl := p.place(n); p.mapped != nil {
		t := p.tensors[pl.tensor]
		leave(p.mapped[p.bases[t.part]+t.Offset+pl.lo:][:pl.bytes()])
	}
}

// Release is [File.Release] for a tensor of a copy.
func (p *Partial) Release(name string) {
	if data := p.mappedData(name); data != nil {
		leave(data)
	}
}

// WillNeed is [File.WillNeed] for a tensor of a copy.
func (p *Partial) WillNeed(name string) {
	if data := p.mappedData(name); data != nil {
		soon(data)
	}
}

// mappedData returns the memory that a tensor is mapped to, nil if there is none.
func (p *Partial) mappedData(name string) []byte {
	i, ok := p.byName[name]
	if !ok || p.mapped == nil {
		return nil
	}
	t := p.tensors[i]
	return p.mapped[p.bases[t.part]+t.Offset:][:t.Bytes]
}

// leave takes the pages that b covers, the last ones too where it begins or
// ends within a page, out of memory: somebody else's bytes on them only have to
// come back.
func leave(b []byte) {
	if b = outward(b); len(b) > 0 {
		leaveMemory(b)
	}
}

func soon(b []byte) {
	if b = outward(b); len(b) > 0 {
		soonMemory(b)
	}
}

// outward returns b with what lies before it on its first page, where systems
// want whole pages. Mappings begin with a page, so that memory is mapped too.
func outward(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	first := unsafe.SliceData(b)
	before := int(uintptr(unsafe.Pointer(first)) % uintptr(os.Getpagesize()))
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(first), -before)), before+len(b))
}
