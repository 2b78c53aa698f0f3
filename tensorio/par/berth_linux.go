package par

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A berth is where a worker sleeps. On Linux a worker has a thread of its own,
// which sleeps in the kernel on a word (futex(2)) and is kept off the processor
// of whoever wakes it. See DESIGN.md, "Where a worker wakes".
type berth struct {
	word atomic.Uint32 // 1 while the worker sleeps
	tid  atomic.Int32  // its thread, once it runs
	at   atomic.Int32  // 1 + the processor where it lingered last
	off  atomic.Int32  // 1 + the processor that the thread is kept off; 0: none
}

// harbour is what the berths of a pool have in common.
type harbour struct {
	allowed unix.CPUSet // processors that the process may use
	steer   bool        // whether there is one for each worker
}

// Operations of futex(2) among the threads of one process.
const (
	futexWait = 128
	futexWake = 129
)

func newHarbour(threads int) harbour {
	var h harbour
	if err := unix.SchedGetaffinity(0, &h.allowed); err == nil {
		n := h.allowed.Count()
		h.steer = n > 1 && threads <= n
	}
	return h
}

// settle makes the calling goroutine the owner of b.
func (b *berth) settle() {
	runtime.LockOSThread() // for good: the thread ends with the worker
	b.tid.Store(int32(unix.Gettid()))
}

// yield lets other goroutines run. A worker with a thread of its own must not:
// handing it to another thread and back takes longer than the work.
func (b *berth) yield() {}

// note notes where the caller, the worker itself, is.
func (b *berth) note() { b.at.Store(int32(here()) + 1) }

// where returns the processor that was noted last, -1 for none.
func (b *berth) where() int { return int(b.at.Load()) - 1 }

// offer lets another thread have the processor, if one wants it.
func (b *berth) offer() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// sleep blocks until somebody rouses b, unless ready says true.
func (b *berth) sleep(ready func() bool) {
	b.word.Store(1)
	// Whoever makes ready true does so before it looks at word.
	if ready() && b.word.CompareAndSwap(1, 0) {
		return
	}
	for b.word.Load() == 1 {
		// It returns at once if word has changed, and now and then for no reason.
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&b.word)), futexWait, 1, 0, 0, 0) //nolint:gosec // the kernel reads a word of ours
	}
}

// rouse ends the sleep of b and reports whether it slept. away says to keep it
// off the processor of the caller, who is at work there.
func (b *berth) rouse(h *harbour, away bool) bool {
	if b.word.Load() != 1 || !b.word.CompareAndSwap(1, 0) {
		return false
	}
	if h.steer {
		cpu := -1
		if away {
			cpu = here()
		}
		b.steer(h, cpu)
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&b.word)), futexWake, 1, 0, 0, 0) //nolint:gosec // see sleep
	return true
}

// avoid keeps b's thread off a processor, if it is awake.
func (b *berth) avoid(h *harbour, cpu int) {
	if h.steer && cpu >= 0 && b.word.Load() == 0 && b.tid.Load() != 0 {
		b.steer(h, cpu)
	}
}

// here returns the processor of the caller, -1 if that is not known.
func here() int {
	var cpu uint32
	if _, _, e := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); e != 0 { //nolint:gosec // the kernel writes a word of ours
		return -1
	}
	return int(cpu)
}

// steer keeps b's thread off a processor, off none if it is below 0.
func (b *berth) steer(h *harbour, cpu int) {
	set := h.allowed
	if cpu >= 0 {
		if !set.IsSet(cpu) {
			return
		}
		set.Clear(cpu)
	}
	if off := int32(cpu) + 1; b.off.Load() != off && unix.SchedSetaffinity(int(b.tid.Load()), &set) == nil {
		b.off.Store(off)
	}
}
