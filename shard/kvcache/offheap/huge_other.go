//go:build !linux

package offheap

// adviseHuge does nothing: the system chooses its pages itself.
func adviseHuge([]byte) {}
