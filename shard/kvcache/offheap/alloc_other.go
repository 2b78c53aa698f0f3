//go:build !unix

package offheap

// alloc uses the Go heap: slices without pointers are not scanned.
func alloc(n int) ([]byte, error) { return make([]byte, n), nil }

// free leaves b to the garbage collector.
func free([]byte) error { return nil }
