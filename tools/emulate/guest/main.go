// Command guest is the first process of the emulated machine: it runs the
// tests that /run.json names, writes what they say to the serial port and tells
// how they ended. It is built for Linux without cgo.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A job is one test binary to run.
type job struct {
	Dir  string   // the folder of its package
	Args []string // the binary first
	Env  []string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "halt" {
		return
	}
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/tmp"}, {"devtmpfs", "/dev"}} {
		_ = os.MkdirAll(m[1], 0o755)
		_ = syscall.Mount(m[0], m[1], m[0], 0, "")
	}
	port, err := os.OpenFile("/dev/ttyS0", os.O_WRONLY, 0)
	if err != nil {
		port = os.Stdout
	}
	code := run(port)
	fmt.Fprintf(port, "emulate: exit %d\n", code)
	// Whoever watches the port ends the machine now.
	for {
		time.Sleep(time.Hour)
	}
}

// run does all jobs and returns the exit status of the first that failed.
func run(port *os.File) int {
	text, err := os.ReadFile("/run.json")
	if err != nil {
		fmt.Fprintln(port, err)
		return 2
	}
	var jobs []job
	if err := json.Unmarshal(text, &jobs); err != nil {
		fmt.Fprintln(port, err)
		return 2
	}
	code := 0
	for _, j := range jobs {
		cmd := exec.Command(j.Args[0], j.Args[1:]...)
		cmd.Dir, cmd.Env = j.Dir, j.Env
		cmd.Stdout, cmd.Stderr = port, port
		err := cmd.Run()
		if err == nil {
			continue
		}
		fmt.Fprintf(port, "emulate: %s: %v\n", j.Args[0], err)
		if code == 0 {
			code = 1
			if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() > 0 {
				code = e.ExitCode()
			}
		}
	}
	return code
}
