//go:build !linux

package offheap

// collapse does nothing: the system chooses its pages itself.
func collapse([]byte) bool { return false }

// What is advice does nothing either.

func huge([]byte) {}

func populate([]byte) {}

func release([]byte) {}

// yield does nothing.
func yield() {}
