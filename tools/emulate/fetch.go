package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// kernelPackage depends on the package of the kernel, whose name has its
	// version in it.
	kernelPackage = "linux-image-cloud-amd64"
	// bochsSource is where the source of Bochs comes from: version 2.7 of the
	// Debian before does not do, and the built packages have the debugger in them,
	// which takes nine tenths of the speed.
	bochsSource = "deb-src http://deb.debian.org/debian trixie main\n"
)

// tellAll is a script of sed that makes a model of Bochs tell all extensions in
// leaf 7 of CPUID, added ones as well. Models newer than Skylake-X would, but
// Linux does not start on them.
const tellAll = `/::get_std_cpuid_leaf_7(Bit32u subfunction, cpuid_function_t \*leaf) const$/,/^}/{
s/leaf->eax = 0; .*report.*/leaf->eax = 1;/
s/leaf->ecx = 0;/leaf->ecx = subfunction ? 0 : get_std_cpuid_leaf_7_ecx();/
s/    leaf->eax = 0;$/    leaf->eax = subfunction == 1 ? get_std_cpuid_leaf_7_subleaf_1_eax() : 0;/
}`

// A kit is what is downloaded and built once, and kept.
type kit struct {
	bochs  string // the program
	kernel string // a file
}

// cacheDir returns where all of that lies.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "shardnode", "emulate")
	return dir, os.MkdirAll(dir, 0o755)
}

// gather returns the kit and makes what is missing of it.
func gather(dir string) (*kit, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb", "tar", "make", "g++"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing: this wants Debian or its kin, with g++ and make", tool)
		}
	}
	kernel, err := newest(filepath.Join(dir, "root", "boot", "vmlinuz-*"), func() error { return fetchKernel(dir) })
	if err != nil {
		return nil, err
	}
	bochs, err := newest(filepath.Join(dir, "bochs", "bochs"), func() error { return buildBochs(dir) })
	if err != nil {
		return nil, err
	}
	return &kit{bochs: bochs, kernel: kernel}, nil
}

// newest returns the last file that matches. If there is none it calls create
// first.
func newest(pattern string, create func() error) (string, error) {
	for try := range 2 {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		if len(files) > 0 {
			return slices.Max(files), nil
		}
		if try == 0 {
			if err := create(); err != nil {
				return "", err
			}
		}
	}
	return "", fmt.Errorf("there is no %s", pattern)
}

// fetchKernel takes the kernel's package from Debian and unpacks it; nothing is
// installed.
func fetchKernel(dir string) error {
	say("downloading a kernel")
	out, err := exec.Command("apt-cache", "depends", "--important", kernelPackage).Output()
	if err != nil {
		return fmt.Errorf("apt-cache depends %s: %w: apt-get update?", kernelPackage, err)
	}
	var name string
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "linux-image-") && word != kernelPackage {
			name = word
		}
	}
	if name == "" {
		return fmt.Errorf("apt-cache knows no package that %s depends on: apt-get update?", kernelPackage)
	}
	if err := runIn(dir, "apt-get", "-qq", "-o", "APT::Sandbox::User=", "download", name); err != nil {
		return fmt.Errorf("%w: is there a network? apt-get update?", err)
	}
	deb, err := newest(filepath.Join(dir, name+"_*.deb"), func() error { return errors.New("apt-get left no package") })
	if err != nil {
		return err
	}
	return runIn(dir, "dpkg-deb", "-x", deb, "root")
}

// buildBochs takes the source of Bochs from Debian, with lists of packages of
// its own, and builds it with nothing but a processor, memory and a serial port.
func buildBochs(dir string) error {
	say("downloading Bochs")
	for _, d := range []string{"apt/lists/partial", "apt/cache"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	apt := filepath.Join(dir, "apt")
	list := filepath.Join(apt, "sources.list")
	if err := os.WriteFile(list, []byte(bochsSource), 0o644); err != nil {
		return err
	}
	options := []string{
		"-qq", "-o", "APT::Sandbox::User=", "-o", "Dir::Etc::SourceList=" + list, "-o", "Dir::Etc::SourceParts=/dev/null",
		"-o", "Dir::State::lists=" + filepath.Join(apt, "lists"), "-o", "Dir::Cache=" + filepath.Join(apt, "cache"),
	}
	if err := runIn(dir, "apt-get", append(options, "update")...); err != nil {
		return fmt.Errorf("%w: is there a network?", err)
	}
	if err := runIn(dir, "apt-get", append(options, "source", "--download-only", "--tar-only", "bochs")...); err != nil {
		return err
	}
	tarball, err := newest(filepath.Join(dir, "bochs_*.orig.tar.xz"), func() error { return errors.New("apt-get left no source") })
	if err != nil {
		return err
	}
	build, err := os.MkdirTemp(dir, "build-") // two may do this at once
	if err != nil {
		return err
	}
	if err := runIn(dir, "tar", "xf", tarball, "-C", build, "--strip-components=1"); err != nil {
		return err
	}
	say("building Bochs, which takes some minutes: see " + filepath.Join(build, "build.log"))
	script := `exec >build.log 2>&1
sed -i -e "$1" cpu/cpudb/intel/corei7_skylake-x.cc
export CFLAGS=-O2 CXXFLAGS=-O2
./configure --enable-x86-64 --enable-avx --enable-evex --enable-all-optimizations \
	--disable-vmx --disable-logging --disable-stats --disable-show-ips --disable-pci --disable-usb \
	--disable-cdrom --disable-gameport --disable-docbook --disable-large-ramfile --without-x --with-nogui
make -j"$(nproc)" bochs`
	if err := runIn(build, "sh", "-ec", script, "sh", tellAll); err != nil {
		return fmt.Errorf("%w: see its build.log", err)
	}
	done := filepath.Join(dir, "bochs")
	if err := os.Rename(build, done); err != nil {
		if _, exists := os.Stat(done); exists != nil {
			return err
		}
		return os.RemoveAll(build) // another was faster
	}
	return nil
}

func say(what string) { fmt.Fprintln(os.Stderr, "emulate:", what) }

// runIn runs a command in a folder.
func runIn(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return nil
}
