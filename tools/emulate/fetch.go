package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// The packages of Debian that the machine is made of. The kernel's real name
// has its version in it; kernelPackage depends on it.
const (
	kernelPackage  = "linux-image-cloud-amd64"
	displayPackage = "bochs-term"
	systemPlugins  = "/usr/lib/x86_64-linux-gnu/bochs/plugins"
)

// A kit is what is downloaded once and kept.
type kit struct {
	bochs   string // the program
	plugins string // the folder of its parts
	kernel  string // a file
}

// cacheDir returns where everything that is downloaded or built lies.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "shardnode", "emulate")
	return dir, os.MkdirAll(dir, 0o755)
}

// gather returns the kit and downloads what is missing of it.
func gather(dir string) (*kit, error) {
	bochs, err := exec.LookPath("bochs-bin")
	if err != nil {
		return nil, errors.New("bochs is missing: apt-get install bochs")
	}
	root := filepath.Join(dir, "root")
	pattern := filepath.Join(root, "boot", "vmlinuz-*-cloud-amd64")
	kernels, _ := filepath.Glob(pattern)
	if len(kernels) == 0 {
		if err := download(dir, root); err != nil {
			return nil, err
		}
		kernels, _ = filepath.Glob(pattern)
	}
	if len(kernels) == 0 {
		return nil, fmt.Errorf("the package of the kernel has no %s", pattern)
	}
	sort.Strings(kernels)
	plugins := filepath.Join(root, "usr", "lib", "x86_64-linux-gnu", "bochs", "plugins")
	plugins += ":" + systemPlugins
	return &kit{bochs: bochs, plugins: plugins, kernel: kernels[len(kernels)-1]}, nil
}

// download takes packages from Debian and unpacks them; nothing is installed.
func download(dir, root string) error {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: this works on Debian and its kin", tool)
		}
	}
	out, err := exec.Command("apt-cache", "depends", "--important", kernelPackage).Output()
	if err != nil {
		return fmt.Errorf("apt-cache depends %s: %w (apt-get update?)", kernelPackage, err)
	}
	names := []string{displayPackage}
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "linux-image-") && word != kernelPackage {
			names = append(names, word)
		}
	}
	if len(names) < 2 {
		return fmt.Errorf("apt-cache knows no package that %s depends on: apt-get update", kernelPackage)
	}
	debs := filepath.Join(dir, "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return err
	}
	get := exec.Command("apt-get", append([]string{"-qq", "-o", "APT::Sandbox::User=", "download"}, names...)...)
	get.Dir, get.Stderr = debs, os.Stderr
	if err := get.Run(); err != nil {
		return fmt.Errorf("apt-get download %s: %w (is there a network? apt-get update?)", strings.Join(names, " "), err)
	}
	files, _ := filepath.Glob(filepath.Join(debs, "*.deb"))
	for _, f := range files {
		if out, err := exec.Command("dpkg-deb", "-x", f, root).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", f, err, out)
		}
	}
	return nil
}
