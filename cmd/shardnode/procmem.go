package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// What the kernel says about memory, where there is a /proc as Linux has it
// (proc(5)); elsewhere everything here is 0, which means unknown.

// peakBytes returns the most memory that all processes together have held, 0
// if that is not known of one of them.
func peakBytes(pids []int) int64 {
	total := int64(0)
	for _, pid := range pids {
		n := procKiB(fmt.Sprintf("/proc/%d/status", pid), "VmHWM")
		if n == 0 {
			return 0
		}
		total += n
	}
	return total
}

// resetPeak makes the peak of this process count from now on.
func resetPeak() {
	// "5" resets VmHWM. Where that fails the peak is that since the start.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// procKiB returns the bytes in the line "NAME: N kB" of a file of /proc.
func procKiB(path, name string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(line, name+":")
		fields := strings.Fields(rest)
		if !ok || len(fields) != 2 {
			continue
		}
		n, err := strconv.ParseInt(fields[0], 10, 53)
		if err != nil || n < 0 {
			return 0
		}
		return n << 10
	}
	return 0
}
