package weights

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapMemory maps the first size bytes of file read-only. The mapping outlives
// the descriptor.
func mapMemory(file *os.File, size int64) (data []byte, free func() error, err error) {
	if int64(int(size)) != size {
		return nil, nil, fmt.Errorf("file is too large for the address space of this machine: use a 64-bit system")
	}
	h, err := windows.CreateFileMapping(windows.Handle(file.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, nil, err
	}
	addr, err := windows.MapViewOfFile(h, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	closeErr := windows.CloseHandle(h) // the view keeps the mapping
	if err != nil || closeErr != nil {
		return nil, nil, errors.Join(err, closeErr)
	}
	// The address is memory outside of Go's heap; the conversion goes through
	// a pointer to it, as vet wants.
	p := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	return unsafe.Slice((*byte)(p), int(size)), func() error { return windows.UnmapViewOfFile(addr) }, nil
}

// leaveMemory takes mapped pages out of the process's working set: unlocking
// pages that are not locked does so (VirtualUnlock, "Remarks").
func leaveMemory(b []byte) {
	_ = windows.VirtualUnlock(uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))) // says that they were not locked
}

// soonMemory does nothing: the system reads ahead by itself.
func soonMemory([]byte) {}
