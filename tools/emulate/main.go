// Command emulate runs tests on an emulated processor that has instructions
// which this machine lacks: it boots a Linux kernel in Bochs with the test
// binaries as all that there is.
//
//	go run . -simd avx512 -run FastForms ./tensorio/vec
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A job is one test binary to run; the guest reads it.
type job struct {
	Dir  string
	Args []string
	Env  []string
}

// processor is what Bochs emulates, with what buildBochs changes: with the model
// of Ice Lake the kernel's code turns into zeros while it starts.
const processor = `corei7_skylake_x, add_features="avx512vnni avx_vnni"`

type options struct {
	repo    string
	cpu     string
	simd    string
	run     string
	skip    string
	short   bool
	verbose bool
	timeout time.Duration
	files   string
}

func main() {
	var o options
	flag.StringVar(&o.repo, "repo", "../..", "the root of the repository")
	flag.StringVar(&o.cpu, "cpu", processor, "the processor, as Bochs wants it told")
	flag.StringVar(&o.simd, "simd", "avx512", "SHARDNODE_SIMD of the tests")
	flag.StringVar(&o.run, "run", "", "run only tests that match")
	flag.StringVar(&o.skip, "skip", "", "skip tests that match")
	flag.BoolVar(&o.short, "short", true, "run the tests with -short")
	flag.BoolVar(&o.verbose, "v", true, "run the tests with -v")
	flag.DurationVar(&o.timeout, "timeout", 30*time.Minute, "end the machine after this time")
	flag.StringVar(&o.files, "files", "", "further files or folders of the repository that the tests read, with commas between")
	flag.Parse()
	code, err := emulate(o, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "emulate:", err)
		code = 2
	}
	os.Exit(code)
}

func emulate(o options, packages []string) (int, error) {
	cache, err := cacheDir()
	if err != nil {
		return 0, err
	}
	k, err := gather(cache)
	if err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp(cache, "run-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	initrd, err := files(o, work, packages)
	if err != nil {
		return 0, err
	}
	packed, err := os.ReadFile(k.kernel)
	if err != nil {
		return 0, err
	}
	kernel, err := parseKernel(packed)
	if err != nil {
		return 0, err
	}
	if err := writeBoot(work, kernel, initrd); err != nil {
		return 0, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return boot(ctx, k, work, o.cpu, os.Stdout)
}

// files builds the guest and the tests and returns the files of the machine.
func files(o options, work string, packages []string) ([]byte, error) {
	var a archive
	guest := filepath.Join(work, "init")
	if err := build(".", "build", "-o", guest, "./guest"); err != nil {
		return nil, err
	}
	if err := a.tree(guest, "init", false); err != nil {
		return nil, err
	}
	var jobs []job
	for i, p := range packages {
		p = path.Clean(p)
		binary := filepath.Join(work, fmt.Sprintf("test%d", i))
		if err := build(o.repo, "test", "-c", "-o", binary, "./"+p); err != nil {
			return nil, err
		}
		name := path.Base(p) + ".test"
		if err := a.tree(filepath.Join(o.repo, p), path.Join("src", p), false); err != nil {
			return nil, err
		}
		if err := a.tree(binary, path.Join("src", p, name), false); err != nil {
			return nil, err
		}
		jobs = append(jobs, job{
			Dir: path.Join("/src", p), Args: append([]string{"./" + name}, o.testFlags()...),
			Env: []string{"SHARDNODE_SIMD=" + o.simd, "SHARDNODE_TEST_SIMD=" + o.simd, "PATH=/", "HOME=/tmp", "TMPDIR=/tmp"},
		})
	}
	for f := range strings.SplitSeq(o.files, ",") {
		if f == "" {
			continue
		}
		if err := a.tree(filepath.Join(o.repo, f), path.Join("src", f), true); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(jobs)
	if err != nil {
		return nil, err
	}
	a.file("run.json", text)
	return a.close(), nil
}

// testFlags returns the flags of a test binary.
func (o options) testFlags() []string {
	flags := []string{"-test.timeout=0"}
	if o.verbose {
		flags = append(flags, "-test.v")
	}
	if o.short {
		flags = append(flags, "-test.short")
	}
	if o.run != "" {
		flags = append(flags, "-test.run="+o.run)
	}
	if o.skip != "" {
		flags = append(flags, "-test.skip="+o.skip)
	}
	return flags
}

// build runs the go command for a static binary of the emulated machine.
func build(dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOFLAGS=")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
