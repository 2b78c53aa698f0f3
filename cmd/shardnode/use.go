package main

import (
	"os"
	"runtime"
)

// useJSON is what a member takes of its machine now. `make soak` asks for it on
// the control socket.
type useJSON struct {
	Goroutines int    `json:"goroutines"`
	HeapBytes  uint64 `json:"heap_bytes"` // live, after a collection
	Files      int    `json:"files"`      // open descriptors, 0 where the system has no /proc
}

// inUse collects garbage first, so that what is counted lives.
func inUse() useJSON {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	files, _ := os.ReadDir("/proc/self/fd") // none elsewhere
	return useJSON{Goroutines: runtime.NumGoroutine(), HeapBytes: mem.HeapAlloc, Files: len(files)}
}
