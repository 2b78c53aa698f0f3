//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// rangeText returns "median (min to max)".
func rangeText(v []float64, format string) string {
	if len(v) == 0 {
		return "-"
	}
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	median := (v[(n-1)/2] + v[n/2]) / 2
	return fmt.Sprintf(format+" ("+format+" to "+format+")", median, v[0], v[n-1])
}

// most returns the most memory that a process had.
func most(s *os.ProcessState) int64 {
	use, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return use.Maxrss << 10
}

// machine says what this is measured on.
func machine() string {
	model, flags := runtime.GOARCH, []string{}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			switch strings.TrimSpace(key) {
			case "model name":
				model = strings.TrimSpace(value)
			case "flags":
				flags = strings.Fields(value)
			}
		}
	}
	var has []string
	for _, f := range []string{"avx2", "avx_vnni", "avx512f", "avx512_vnni"} {
		if slices.Contains(flags, f) {
			has = append(has, f)
		}
	}
	commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	return fmt.Sprintf("machine: %s, %d processors, %s; shardnode at %s\n", model, runtime.NumCPU(), strings.Join(has, " "), strings.TrimSpace(string(commit)))
}
