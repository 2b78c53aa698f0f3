//go:build !linux

package offheap

// collapse does nothing: the system chooses its pages itself.
func collapse([]byte) bool { return false }

// yield does nothing.
func yield() {}
