package hub

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard/hub/hubtest"
)

// pythonEnv names a Python that has huggingface_hub:
//
//	python3 -m venv v && v/bin/pip install huggingface_hub
//	SHARDNODE_TEST_PYTHON=v/bin/python go test ./shard/hub -run Python
const pythonEnv = "SHARDNODE_TEST_PYTHON"

const pythonScript = `
import sys
from huggingface_hub import hf_hub_download, scan_cache_dir, try_to_load_from_cache
command, repo, *names = sys.argv[1:]
for name in names:
    if command == "cached":
        path = try_to_load_from_cache(repo, name)
        assert isinstance(path, str), (name, path)
    else:
        path = hf_hub_download(repo, name, local_files_only=command == "local")
    print(path, len(open(path, "rb").read()))
cache = scan_cache_dir()
assert not cache.warnings, cache.warnings
for r in cache.repos:
    for v in r.revisions:
        print(r.repo_id, v.commit_hash, sorted(v.refs), sorted(f.file_name for f in v.files))
`

// TestPythonAndWeShareACache fetches with Python and reads, and the other way
// round.
func TestPythonAndWeShareACache(t *testing.T) {
	python := os.Getenv(pythonEnv)
	if python == "" {
		t.Skip(pythonEnv + " names no Python with huggingface_hub")
	}
	h := hubtest.New()
	large := largeFile()
	h.Add(testRepo, "config.json", []byte("{}\n"), false)
	h.Add(testRepo, "sub/model.gguf", large, true)
	s := httptest.NewServer(h)
	defer s.Close()
	names := []string{"config.json", "sub/model.gguf"}

	run := func(cache, command string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), python, append([]string{"-c", pythonScript, command, testRepo}, names...)...) //nolint:gosec // a test's
		cmd.Env = append(os.Environ(), "HF_ENDPOINT="+s.URL, "HF_HUB_CACHE="+cache, "HF_TOKEN="+testToken, "HF_HUB_DISABLE_PROGRESS_BARS=1", "PYTHONWARNINGS=ignore")
		out, err := cmd.Output()
		if ee, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as Output returns it
			t.Fatalf("python %s: %v\n%s", command, err, ee.Stderr)
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	pull := func(cache string) (paths []string) {
		t.Helper()
		c, err := New(Config{Endpoint: s.URL, CacheDir: cache, Token: testToken})
		if err != nil {
			t.Fatal(err)
		}
		l, err := c.List(t.Context(), Repo{ID: testRepo})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			path, err := c.Pull(t.Context(), l, name, nil)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		return paths
	}

	ours, theirs := t.TempDir(), t.TempDir()
	paths := pull(ours)
	for _, command := range []string{"local", "cached", "download"} {
		h.Requests()
		got := run(ours, command)
		for _, path := range paths {
			if !strings.Contains(got, path) {
				t.Errorf("python %s finds\n%swant it to find %s", command, got, path)
			}
		}
		for _, r := range h.Requests() {
			if r.Method == "GET" && r.CDN {
				t.Errorf("python %s fetches what we fetched: %v", command, r)
			}
		}
	}
	run(theirs, "download")
	h.Requests()
	for _, path := range pull(theirs) {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if got := h.Requests(); len(got) != 1 { // the listing
		t.Errorf("we fetch what Python fetched: %v", got[1:])
	}
	a, b := filesBelow(ours), filesBelow(theirs)
	if strings.Join(a, "\n") != strings.Join(b, "\n") {
		t.Errorf("our cache has\n%s\nPython's\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	for _, name := range a {
		x, err1 := os.ReadFile(filepath.Join(ours, name))
		y, err2 := os.ReadFile(filepath.Join(theirs, name))
		m1, _ := os.Lstat(filepath.Join(ours, name))
		m2, _ := os.Lstat(filepath.Join(theirs, name))
		if err1 != nil || err2 != nil || string(x) != string(y) || m1.Mode() != m2.Mode() && !strings.HasPrefix(name, ".locks") {
			t.Errorf("%s differs: %v and %v bytes, modes %v and %v", name, len(x), len(y), m1.Mode(), m2.Mode())
		}
	}
}
