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

// Collapse moves b, which is filled, to huge pages where the system has them: who
// reads it in order is quicker then. Others may read b meanwhile, and wait for
// a page now and then. It reports whether there is any use in going on.
func Collapse(b []byte) bool { return collapse(b) }

// Huge lets b, which nobody has touched, lie in huge pages where the system has
// them.
func Huge(b []byte) { huge(b) }

// Populate takes memory for b from the system now, where that can be done, and
// changes nothing of what it holds. Others may use b meanwhile.
func Populate(b []byte) { populate(b) }

// Release gives the memory of b back to the system, where that can be done for a
// part of what [Alloc] gave: what b holds is lost, and may be 0 then.
func Release(b []byte) { release(b) }

// Yield makes the calling goroutine, for the rest of its life, one that uses
// processors which nobody else wants, where the system can do that.
func Yield() { yield() }

// Free gives b, a whole slice from [Alloc], back to the system. Nobody may
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
