package folder

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/tensorio/gguf"
)

// fromDisk maps by reading.
func fromDisk(path string) ([]byte, time.Time, func() error, error) {
	b, err := os.ReadFile(path)
	return b, time.Unix(1, 0), func() error { return nil }, err
}

// zoo returns the folders of tiny models, or skips the test.
func zoo(t testing.TB) []string {
	t.Helper()
	dirs, _ := filepath.Glob("../../../../shared/data/zoo/zoo/*")
	if more := os.Getenv("ZZ"); more != "" {
		extra, _ := filepath.Glob(filepath.Join(more, "*"))
		dirs = append(dirs, extra...)
	}
	if len(dirs) == 0 {
		t.Skip("needs the shared folder beside the project")
	}
	return dirs
}

// TestAFolderIsTheFileThatAConverterWrites compares with what llama.cpp's converter
// made of each folder.
func TestAFolderIsTheFileThatAConverterWrites(t *testing.T) {
	for _, dir := range zoo(t) {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			m, err := Open(dir, Options{Map: fromDisk})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			b, err := os.ReadFile(filepath.Join(dir, name+"-bf16.gguf"))
			if err != nil {
				t.Fatal(err)
			}
			want, err := gguf.Read(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			have := map[string]int{}
			for i, x := range m.Tensors() {
				have[x.Name] = i
			}
			for _, w := range want.Tensors {
				i, ok := have[w.Name]
				if !ok {
					t.Errorf("tensor %s is missing", w.Name)
					continue
				}
				x := m.Tensors()[i]
				delete(have, w.Name)
				if x.Type != w.Type || !equal(x.Shape, w.Shape) {
					t.Errorf("tensor %s is %v %v, want %v %v", w.Name, x.Type, x.Shape, w.Type, w.Shape)
					continue
				}
				rows := x.Elements() / x.Shape[len(x.Shape)-1]
				if !bytes.Equal(m.Rows(i, 0, rows), b[w.Offset:w.End()]) {
					t.Errorf("tensor %s has other bytes", w.Name)
				}
			}
			for name := range have {
				t.Errorf("tensor %s is too many", name)
			}
			for key, v := range want.Meta.All() {
				if strings.HasPrefix(key, "general.") {
					continue
				}
				if mine, ok := m.Meta().Value(key); !ok {
					t.Errorf("key %s = %v is missing", key, v)
				} else if mine.String() != v.String() {
					t.Errorf("key %s is %v, want %v", key, mine, v)
				}
			}
		})
	}
}

func equal(a, b []int) bool {
	for len(a) > 0 && a[0] == 1 && len(a) > len(b) {
		a = a[1:]
	}
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
