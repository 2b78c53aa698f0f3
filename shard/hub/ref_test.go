package hub

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseRef(t *testing.T) {
	for s, want := range map[string]Ref{
		"hf:org/repo":                      {Repo: Repo{ID: "org/repo"}},
		"https://huggingface.co/org/repo/": {Repo: Repo{ID: "org/repo"}},
		"hf.co/org/repo:Q4_K_M":            {Repo: Repo{ID: "org/repo"}, File: "Q4_K_M"},
		"https://huggingface.co/org/repo/resolve/v1/a/b.gguf?download=true": {Repo: Repo{ID: "org/repo", Revision: "v1"}, File: "a/b.gguf"},
		"https://huggingface.co/org/repo/tree/v2":                           {Repo: Repo{ID: "org/repo", Revision: "v2"}},
		"hf:gpt2":                     {Repo: Repo{ID: "gpt2"}},
		"hf:org/repo@v1.0":            {Repo: Repo{ID: "org/repo", Revision: "v1.0"}},
		"hf:org/repo@refs/pr/1:a.b":   {Repo: Repo{ID: "org/repo", Revision: "refs/pr/1"}, File: "a.b"},
		"hf:o-r.g/re_po:dir/x.gguf":   {Repo: Repo{ID: "o-r.g/re_po"}, File: "dir/x.gguf"},
		"hf://org/repo:model.Q4.gguf": {Repo: Repo{ID: "org/repo"}, File: "model.Q4.gguf"},
	} {
		if got, err := ParseRef(s); err != nil || got != want {
			t.Errorf("ParseRef(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"org/repo", "https://example.com/org/repo", "https://huggingface.co/datasets/a/b", "hf:", "hf:a/b/c", "hf:../x", "hf:a/..", "hf:a/b:", "hf:a/b@", "hf:a/b@../x", "hf:a/b:../x", "hf:a/b:/x", "hf:a/b:x//y",
		`hf:a/b:x\y`, "hf:a--b/c", "hf:a/b:x:y", "hf:a b/c", "hf:" + strings.Repeat("a", 97), "hf:a/b:x\x00",
	} {
		if got, err := ParseRef(s); err == nil {
			t.Errorf("ParseRef(%q) = %v, want an error", s, got)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add("hf:org/repo@main:file")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		c := &Client{cfg: Config{CacheDir: "/cache"}}
		for _, path := range []string{c.repoDir(r.ID), c.pointerPath(r.ID, strings.Repeat("0", 40), r.File)} {
			if !strings.HasPrefix(filepath.Clean(path), "/cache/models--") {
				t.Errorf("ParseRef(%q) leads to %s", s, path)
			}
		}
	})
}

func TestFromEnvReadsWhatPythonReads(t *testing.T) {
	home := t.TempDir()
	for name, c := range map[string]struct {
		env  map[string]string
		want Config
	}{
		"nothing":  {nil, Config{CacheDir: filepath.Join(home, ".cache/huggingface/hub")}},
		"xdg":      {map[string]string{"XDG_CACHE_HOME": "/x"}, Config{CacheDir: "/x/huggingface/hub"}},
		"home":     {map[string]string{"HF_HOME": "~/hf"}, Config{CacheDir: filepath.Join(home, "hf/hub")}},
		"variable": {map[string]string{"HF_HOME": "$A/hf", "A": "/a"}, Config{CacheDir: "/a/hf/hub"}},
		"cache":    {map[string]string{"HF_HOME": "/h", "HF_HUB_CACHE": "/c"}, Config{CacheDir: "/c"}},
		"all": {
			map[string]string{"HF_HUB_CACHE": "/c", "HF_TOKEN": " hf_x\n", "HF_ENDPOINT": "http://e/", "HF_HUB_OFFLINE": "yes", "HF_HUB_DOWNLOAD_TIMEOUT": "3"},
			Config{CacheDir: "/c", Token: "hf_x", Endpoint: "http://e/", Offline: true, Timeout: 3e9},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FromEnv(func(key string) string {
				if key == "HOME" {
					return home
				}
				return c.env[key]
			})
			if err != nil || got.CacheDir != c.want.CacheDir || got.Token != c.want.Token || got.Endpoint != c.want.Endpoint ||
				got.Offline != c.want.Offline || got.Timeout != c.want.Timeout {
				t.Errorf("FromEnv = %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestSpansAreASet(t *testing.T) {
	var s spans
	for _, x := range []span{{10, 20}, {30, 40}, {20, 25}, {0, 1}, {39, 50}, {5, 5}, {1, 10}} {
		s = s.add(x)
	}
	if want := (spans{{0, 25}, {30, 50}}); !slices.Equal(s, want) {
		t.Errorf("set = %v, want %v", s, want)
	}
	if got, want := s.missing(span{20, 60}), []span{{25, 30}, {50, 60}}; !slices.Equal(got, want) {
		t.Errorf("missing = %v, want %v", got, want)
	}
	if got := s.bytes(); got != 45 {
		t.Errorf("bytes = %d, want 45", got)
	}
}

func FuzzParseListing(f *testing.F) {
	f.Add([]byte(`{"sha":"` + strings.Repeat("a", 40) + `","tags":["license:mit"],"siblings":[{"rfilename":"a/b.gguf","size":3,"blobId":"x"},` +
		`{"rfilename":"../x","lfs":{"size":5,"sha256":"y"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseListing(Repo{ID: "org/repo"}, b)
		if err != nil {
			return
		}
		for _, e := range l.Files {
			if path := filepath.Join("/cache", filepath.FromSlash(e.Name)); !strings.HasPrefix(path, "/cache/") {
				t.Errorf("a file called %q would lie at %s", e.Name, path)
			}
		}
	})
}

func FuzzReadJournal(f *testing.F) {
	f.Add([]byte(`{"layout":"x","done":[[0,5],[3,9],[20,1000]]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		last := int64(-1)
		for _, s := range readJournal(path, "x", 100) {
			if s.lo <= last || s.hi <= s.lo || s.hi > 100 {
				t.Fatalf("the journal %q gives %v behind %d", b, s, last)
			}
			last = s.hi
		}
	})
}
