package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// settings is what Bochs is told. ips sets how its clock goes: the more
// instructions a second, the fewer interrupts, but the longer every wait.
const settings = `config_interface: textconfig
display_library: nogui
cpu: model=%[2]s, count=1, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=%[3]d, host=%[3]d
romimage: file=%[1]s/rom.img, address=0xffff0000
vgaromimage: file=%[1]s/vga.img
optramimage1: file=%[1]s/ram.img, address=0
vga: extension=none, update_freq=1
ata0: enabled=0
floppya: type=none
boot: disk
clock: sync=none
com1: enabled=1, mode=file, dev=%[1]s/serial
log: %[1]s/bochs.log
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
`

// lastWords is what the guest says when all tests have ended.
var lastWords = regexp.MustCompile(`(?m)^emulate: exit (\d+)\r?\n`)

// boot runs the machine whose images lie in dir, copies what its serial port
// says to out, and returns the exit status that the guest tells.
func boot(ctx context.Context, k *kit, dir, cpu string, out io.Writer) (int, error) {
	conf := fmt.Sprintf(settings, dir, cpu, memoryMiB)
	if err := os.WriteFile(filepath.Join(dir, "bochsrc"), []byte(conf), 0o600); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.bochs, "-q", "-f", filepath.Join(dir, "bochsrc"))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	// Bochs ends when the thread does that starts it, so when this program is killed.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var seen bytes.Buffer
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for alive := true; alive; {
		var err error
		select {
		case <-tick.C:
		case err = <-ended:
			alive = false
		}
		text, _ := os.ReadFile(filepath.Join(dir, "serial"))
		fresh := text[min(seen.Len(), len(text)):]
		seen.Write(fresh)
		if m := lastWords.FindSubmatch(seen.Bytes()); m != nil {
			_, _ = out.Write(lastWords.ReplaceAll(fresh, nil))
			return strconv.Atoi(string(m[1]))
		}
		_, _ = out.Write(bytes.ReplaceAll(fresh, []byte("\r\n"), []byte("\n")))
		if !alive {
			log, _ := os.ReadFile(filepath.Join(dir, "bochs.log"))
			return 0, errors.Join(fmt.Errorf("bochs ended before the tests: %w", err), ctx.Err(),
				errors.New(said.String()), errors.New(string(log[max(0, len(log)-2000):])))
		}
	}
	return 0, nil
}
