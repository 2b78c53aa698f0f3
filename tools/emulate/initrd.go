package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
)

// An archive is what the kernel unpacks as its first file system (cpio, "newc").
type archive struct {
	bytes.Buffer
	made map[string]bool
	next int
}

const (
	modeDir  = 0o040755
	modeFile = 0o100755
)

func (a *archive) entry(name string, mode int, data []byte) {
	a.next++
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.next, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}

// dir makes a folder and those above it.
func (a *archive) dir(name string) {
	if name == "." || name == "/" || a.made[name] {
		return
	}
	a.dir(path.Dir(name))
	if a.made == nil {
		a.made = map[string]bool{}
	}
	a.made[name] = true
	a.entry(name, modeDir, nil)
}

// file adds a file; its name has no slash in front.
func (a *archive) file(name string, data []byte) {
	a.dir(path.Dir(name))
	a.entry(name, modeFile, data)
}

// tree copies a file or a folder of this machine: all of it, or only the files
// right in it.
func (a *archive) tree(from, to string, deep bool) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		data, err := os.ReadFile(from)
		if err == nil {
			a.file(to, data)
		}
		return err
	}
	a.dir(to)
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && !deep && e.Name() != "testdata" {
			continue
		}
		if !e.Type().IsRegular() && !e.IsDir() {
			continue
		}
		if err := a.tree(filepath.Join(from, e.Name()), path.Join(to, e.Name()), true); err != nil {
			return err
		}
	}
	return nil
}

// close ends the archive.
func (a *archive) close() []byte {
	a.entry("TRAILER!!!", 0, nil)
	return a.Bytes()
}
