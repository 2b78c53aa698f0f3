// Package offheap gives out large zeroed byte slices that the garbage
// collector neither scans nor counts: KV pages and packed weights live there.
//
// Start with [Alloc]. Where the system has no anonymous mappings the bytes
// come from the Go heap. It is safe for concurrent use.
package offheap

import "fmt"

// Alloc returns n zeroed bytes, aligned to 4096 where the system maps memory.
// The memory is taken from the system when it is first touched. The caller
// owns it and gives it back with [Free].
func Alloc(n int64) ([]byte, error) {
	if n < 0 || int64(int(n)) != n {
		return nil, fmt.Errorf("allocate %d bytes off heap: want a size that fits this system", n)
	}
	if n == 0 {
		return []byte{}, nil
	}
	b, err := alloc(int(n))
	if err != nil {
		return nil, fmt.Errorf("allocate %d bytes off heap: %w", n, err)
	}
	return b, nil
}

// hugeBytes is the least memory for which huge pages are asked: two of the
// common 2 MiB pages.
const hugeBytes = 4 << 20

// AllocHuge is [Alloc] for memory that is filled at once and read often and in
// order: the system is asked for huge pages, which are quicker to take and to
// find. Whole huge pages are taken when a byte of them is touched.
func AllocHuge(n int64) ([]byte, error) {
	b, err := Alloc(n)
	if err == nil && n >= hugeBytes {
		adviseHuge(b)
	}
	return b, err
}

// Free gives b, a whole slice from [Alloc] or [AllocHuge], back to the system. Nobody may
// touch b afterwards.
func Free(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := free(b); err != nil {
		return fmt.Errorf("free %d bytes off heap: %w", len(b), err)
	}
	return nil
}
