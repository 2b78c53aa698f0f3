package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/shardnode/shardnode/shard/hub/hubtest"
)

const (
	testRepo  = "org/model"
	testToken = "hf_secret"
)

// random returns n bytes that depend on seed alone.
func random(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // test data
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

var largeFile = sync.OnceValue(func() []byte { return random(9<<20+123, 7) })

// world is a hub with one repository and an empty cache.
type world struct {
	t     *testing.T
	hub   *hubtest.Hub
	cfg   Config
	large []byte
}

// inWorld runs f in a bubble: time passes at once.
func inWorld(t *testing.T, f func(*world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, hub: hubtest.New(), large: largeFile()}
		w.hub.Add(testRepo, "config.json", []byte(`{"a":1}`), false)
		w.hub.Add(testRepo, "deep/er/model.gguf", w.large, true)
		transport, stop := w.hub.Transport()
		defer stop()
		w.cfg = Config{Endpoint: hubtest.Endpoint, CacheDir: dir, Token: testToken, Transport: transport}
		f(w)
	})
}

func (w *world) client() *Client {
	w.t.Helper()
	c, err := New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// pull pulls name with a new client.
func (w *world) pull(name string) (string, error) {
	w.t.Helper()
	c := w.client()
	l, err := c.List(w.t.Context(), Repo{ID: testRepo})
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Pull(w.t.Context(), l, name, nil)
}

// pullLarge pulls the large file and compares it.
func (w *world) pullLarge() {
	w.t.Helper()
	path, err := w.pull("deep/er/model.gguf")
	if err != nil {
		w.t.Fatal(err)
	}
	w.same(path, w.large)
}

func (w *world) same(path string, want []byte) {
	w.t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		w.t.Fatalf("%s has %d bytes that differ from the hub's %d", path, len(got), len(want))
	}
}

// partials returns the partial files in the cache.
func (w *world) partials() (names []string) {
	for _, name := range filesBelow(w.cfg.CacheDir) {
		if strings.HasSuffix(name, ".incomplete") {
			names = append(names, name)
		}
	}
	return names
}

// cdnRequests returns what the host for large files was asked for.
func (w *world) cdnRequests() []hubtest.Request {
	return slices.DeleteFunc(w.hub.Requests(), func(r hubtest.Request) bool { return !r.CDN })
}

func TestPullKeepsPythonsLayout(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pullLarge()
		small, err := w.pull("config.json")
		if err != nil {
			t.Fatal(err)
		}
		w.same(small, []byte(`{"a":1}`))
		commit := w.hub.Commit(testRepo)
		base := filepath.Join(w.cfg.CacheDir, "models--org--model")
		if got, err := os.ReadFile(filepath.Join(base, "refs", "main")); err != nil || string(got) != commit {
			t.Errorf("refs/main = %q, %v, want %s and no line end", got, err, commit)
		}
		link, err := os.Readlink(filepath.Join(base, "snapshots", commit, "deep", "er", "model.gguf"))
		if want := "../../../../blobs/"; err != nil || !strings.HasPrefix(link, want) || len(link) != len(want)+64 {
			t.Errorf("the snapshot's link is %q, %v, want %s and a SHA-256", link, err, want)
		}
		for _, name := range []string{"models--org--model/blobs/" + filepath.Base(link), "CACHEDIR.TAG", ".locks/models--org--model/" + filepath.Base(link) + ".lock"} {
			if _, err := os.Stat(filepath.Join(w.cfg.CacheDir, name)); err != nil {
				t.Error(err)
			}
		}
		if left := w.partials(); len(left) > 0 {
			t.Errorf("partial files are left: %v", left)
		}
		for _, name := range filesBelow(w.cfg.CacheDir) {
			if strings.Contains(name, partialSuffix) || strings.HasSuffix(name, ".tmp") {
				t.Errorf("%s is left behind", name)
			}
		}
	})
}

func TestTokenStaysAtTheHub(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pullLarge()
		seen := map[bool]int{}
		for _, r := range w.hub.Requests() {
			seen[r.CDN]++
			if want := "Bearer " + testToken; !r.CDN && r.Authorization != want {
				t.Errorf("%s %s of the hub came with %q, want %q", r.Method, r.Path, r.Authorization, want)
			}
			if r.CDN && r.Authorization != "" {
				t.Errorf("%s %s of the other host came with the token", r.Method, r.Path)
			}
		}
		if seen[true] < 2 || seen[false] < 2 {
			t.Errorf("requests by host: %v, want some to both", seen)
		}
	})
}

func TestSecondPullAsksForNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pullLarge()
		w.hub.Requests()
		w.pullLarge()
		if got := w.cdnRequests(); len(got) > 0 {
			t.Errorf("a file that is in the cache was asked for: %v", got)
		}
		w.cfg.Offline = true
		w.hub.Requests()
		w.pullLarge()
		if _, err := w.pull("config.json"); err == nil {
			t.Error("offline, a file that is not in the cache was found")
		}
		if got := w.hub.Requests(); len(got) != 0 {
			t.Errorf("offline, there were requests: %v", got)
		}
	})
}

// A hub that breaks off once is asked again for what is missing, at once.
func TestCutsAreMended(t *testing.T) {
	for name, fault := range map[string]hubtest.Fault{
		"cut":           {Cut: 300_000},
		"cut at once":   {Cut: -1},
		"stall":         {Stall: 500_000},
		"stall at once": {Stall: -1},
		"busy":          {Status: http.StatusServiceUnavailable},
		"slow down":     {Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "7"}},
		"expired":       {Status: http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				n, seen := 0, map[string]bool{}
				w.hub.Meddle(func(r hubtest.Request) hubtest.Fault {
					if r.CDN && !seen[r.Range] { // the first time that anybody asks for it
						seen[r.Range] = true
						return fault
					}
					return hubtest.Fault{}
				})
				if name == "expired" { // only an address that worked can expire
					w.hub.Meddle(func(r hubtest.Request) hubtest.Fault {
						if r.CDN {
							n++
						}
						if r.CDN && n > 4 && n < 7 {
							return fault
						}
						return hubtest.Fault{}
					})
				}
				w.pullLarge()
			})
		})
	}
}

// A hub that always breaks off is an error, and what came is kept and used.
func TestPartialFilesAreResumed(t *testing.T) {
	for name, fault := range map[string]hubtest.Fault{
		"cut": {Cut: 200_000}, "stall": {Stall: 200_000}, "changed": {Header: map[string]string{"ETag": `"another"`}},
		"too much": {Extra: 5}, "other length": {Header: map[string]string{"Content-Range": "bytes 0-1/2"}},
		"no length": {Header: map[string]string{"Content-Range": ""}}, "gone": {Status: http.StatusGone},
		"shorter": {Shortage: 100},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				var mu sync.Mutex
				good := 3 // answers before the trouble
				w.hub.Meddle(func(r hubtest.Request) hubtest.Fault {
					mu.Lock()
					defer mu.Unlock()
					if !r.CDN {
						return hubtest.Fault{}
					}
					if good--; good >= 0 {
						return hubtest.Fault{}
					}
					if good < -1 && fault.Cut+fault.Stall != 0 {
						return hubtest.Fault{Cut: -1}
					}
					return fault
				})
				if _, err := w.pull("deep/er/model.gguf"); err == nil {
					t.Fatal("no error")
				}
				if left := w.partials(); len(left) != 1 {
					t.Fatalf("partial files: %v, want one", left)
				}
				w.hub.Meddle(nil)
				w.hub.Requests()
				w.pullLarge()
				asked := 0
				for _, r := range w.cdnRequests() {
					var lo, hi int
					if _, err := fmt.Sscanf(r.Range, "bytes=%d-%d", &lo, &hi); err != nil {
						t.Fatal(err)
					}
					asked += hi + 1 - lo
				}
				if asked >= len(w.large) {
					t.Errorf("%d bytes of %d were asked for again", asked, len(w.large))
				}
			})
		})
	}
}

// A server that gives a little each time would keep a person waiting for ever.
func TestDribblesAreErrors(t *testing.T) {
	inWorld(t, func(w *world) {
		w.hub.Meddle(func(r hubtest.Request) hubtest.Fault {
			if r.CDN {
				return hubtest.Fault{Cut: 1000}
			}
			return hubtest.Fault{}
		})
		if _, err := w.pull("deep/er/model.gguf"); err == nil || !strings.Contains(err.Error(), "was cut") {
			t.Errorf("err = %v, want one about cuts", err)
		}
		if n := len(w.cdnRequests()); n > 4*maxTries {
			t.Errorf("%d requests, want at most %d", n, 4*maxTries)
		}
	})
}

func TestAnotherFileUnderTheSameNameIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.hub.Meddle(func(r hubtest.Request) hubtest.Fault {
			if !r.CDN && r.Method == http.MethodGet {
				return hubtest.Fault{Header: map[string]string{"X-Linked-Etag": `"` + strings.Repeat("0", 64) + `"`}}
			}
			return hubtest.Fault{}
		})
		_, err := w.pull("deep/er/model.gguf")
		if _, ok := errors.AsType[*LieError](err); !ok || !strings.Contains(err.Error(), "ETag") {
			t.Errorf("err = %v, want one about the ETag", err)
		}
		w.hub.Meddle(func(r hubtest.Request) hubtest.Fault {
			if r.Method == http.MethodHead {
				return hubtest.Fault{Header: map[string]string{"X-Linked-Size": "5"}}
			}
			return hubtest.Fault{}
		})
		if _, err := w.pull("deep/er/model.gguf"); err == nil {
			t.Error("a size that differs from the list's is taken")
		}
	})
}

func TestWrongBytesAreRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.hub.Meddle(func(r hubtest.Request) hubtest.Fault { return hubtest.Fault{Flip: r.CDN} })
		_, err := w.pull("deep/er/model.gguf")
		if _, ok := errors.AsType[*LieError](err); !ok || !strings.Contains(err.Error(), "hash") {
			t.Errorf("err = %v, want one about the hash", err)
		}
		if _, ok := w.client().Cached(Repo{ID: testRepo}, "deep/er/model.gguf"); ok {
			t.Error("the wrong file is in the cache")
		}
		w.hub.Meddle(func(r hubtest.Request) hubtest.Fault { return hubtest.Fault{Flip: !r.CDN && r.Method == "GET"} })
		if _, err := w.pull("config.json"); err == nil {
			t.Error("a small file with wrong bytes was taken")
		}
		w.hub.Meddle(nil)
		w.pullLarge()
	})
}

// A partial file whose bytes are wrong, as after a crash, is fetched anew.
func TestDamagedPartialFilesHeal(t *testing.T) {
	inWorld(t, func(w *world) {
		w.hub.Meddle(func(r hubtest.Request) hubtest.Fault {
			if r.CDN && strings.HasPrefix(r.Range, "bytes=8") {
				return hubtest.Fault{Status: http.StatusNotFound}
			}
			return hubtest.Fault{}
		})
		if _, err := w.pull("deep/er/model.gguf"); err == nil {
			t.Fatal("no error")
		}
		names := w.partials()
		if len(names) != 1 {
			t.Fatalf("partial files: %v", names)
		}
		f, err := os.OpenFile(filepath.Join(w.cfg.CacheDir, names[0]), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("damage"), 5); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		w.hub.Meddle(nil)
		w.pullLarge()
	})
}

func TestServersWithoutRangesDo(t *testing.T) {
	inWorld(t, func(w *world) {
		cut := false
		w.hub.Meddle(func(r hubtest.Request) hubtest.Fault {
			if r.CDN && r.Range == "" && !cut {
				cut = true
				return hubtest.Fault{Cut: 5 << 20}
			}
			return hubtest.Fault{Whole: r.CDN}
		})
		w.pullLarge()
	})
	inWorld(t, func(w *world) {
		w.hub.Meddle(func(r hubtest.Request) hubtest.Fault { return hubtest.Fault{Whole: r.CDN, Extra: 1} })
		if _, err := w.pull("deep/er/model.gguf"); err == nil || !strings.Contains(err.Error(), "more bytes") {
			t.Errorf("err = %v, want one about too many bytes", err)
		}
	})
}

// What an older huggingface_hub left behind is taken.
func TestPythonsPartialFileIsUsed(t *testing.T) {
	inWorld(t, func(w *world) {
		c := w.client()
		l, err := c.List(w.t.Context(), Repo{ID: testRepo})
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.Stat(w.t.Context(), l, "deep/er/model.gguf")
		if err != nil {
			t.Fatal(err)
		}
		old := c.blobPath(testRepo, f.etag) + ".incomplete"
		if err := os.MkdirAll(filepath.Dir(old), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(old, w.large[:8<<20], 0o666); err != nil {
			t.Fatal(err)
		}
		w.hub.Requests()
		w.pullLarge()
		if got := w.cdnRequests(); len(got) != 2 {
			t.Errorf("requests for the last bytes: %v, want two", got)
		}
	})
}

func TestFullDisksAreErrors(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.FreeBytes = func(string) (int64, error) { return 1 << 20, nil }
		_, err := w.pull("deep/er/model.gguf")
		if e, ok := errors.AsType[*SpaceError](err); !ok || e.NeedBytes != int64(len(w.large)) {
			t.Errorf("err = %v, want one about %d bytes of space", err, len(w.large))
		}
	})
}

func TestRefusalsSayWhy(t *testing.T) {
	inWorld(t, func(w *world) {
		c := w.client()
		_, err := c.List(w.t.Context(), Repo{ID: "org/none"})
		if e, ok := errors.AsType[*StatusError](err); !ok || !e.Missing() || !strings.Contains(err.Error(), "no such repository") {
			t.Errorf("unknown repository: %v", err)
		}
		_, err = c.List(w.t.Context(), Repo{ID: testRepo, Revision: "v9"})
		if err == nil || !strings.Contains(err.Error(), "no such revision") {
			t.Errorf("unknown revision: %v", err)
		}
		if _, err = w.pull("config.jsn"); err == nil || !strings.Contains(err.Error(), `"config.json"`) {
			t.Errorf("misspelt file: %v, want the nearest", err)
		}
		w.hub.Meddle(func(hubtest.Request) hubtest.Fault {
			return hubtest.Fault{Status: http.StatusForbidden, Header: map[string]string{"X-Error-Code": "GatedRepo", "X-Error-Message": "ask\tfirst"}}
		})
		_, err = c.List(w.t.Context(), Repo{ID: testRepo})
		if e, ok := errors.AsType[*StatusError](err); !ok || !e.NeedsToken() || !strings.Contains(err.Error(), "askfirst") {
			t.Errorf("gated repository: %v", err)
		}
	})
}

func TestPullEndsWithItsContext(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx, cancel := context.WithCancel(w.t.Context())
		w.hub.Meddle(func(r hubtest.Request) hubtest.Fault {
			if r.CDN {
				cancel()
				return hubtest.Fault{Stall: 1000}
			}
			return hubtest.Fault{}
		})
		c := w.client()
		l, err := c.List(ctx, Repo{ID: testRepo})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Pull(ctx, l, "deep/er/model.gguf", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v, want %v", err, context.Canceled)
		}
	})
}

func TestPartsComeByRanges(t *testing.T) {
	inWorld(t, func(w *world) {
		c := w.client()
		l, err := c.List(w.t.Context(), Repo{ID: testRepo})
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.Stat(w.t.Context(), l, "deep/er/model.gguf")
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1000)
		if _, err := c.Open(w.t.Context(), f).ReadAt(b, 600_000); err != nil || !bytes.Equal(b, w.large[600_000:601_000]) {
			t.Errorf("ReadAt gives other bytes, or %v", err)
		}
		if _, err := c.Open(w.t.Context(), f).ReadAt(b, f.SizeBytes); !errors.Is(err, io.EOF) {
			t.Errorf("ReadAt behind the end: %v, want %v", err, io.EOF)
		}
		dst := filepath.Join(c.PartsDir(testRepo, l.Commit), "x.gguf")
		parts := []Parts{{File: f, Parts: []Part{{Start: 100, End: 200, At: 4}, {Start: 5 << 20, End: 6 << 20, At: 104}, {Start: 200, End: 300, At: 104 + 1<<20}}}}
		w.hub.Requests()
		if err := c.PullParts(w.t.Context(), dst, []byte("head"), parts, nil); err != nil {
			t.Fatal(err)
		}
		w.same(dst, slices.Concat([]byte("head"), w.large[100:200], w.large[5<<20:6<<20], w.large[200:300]))
		if got := w.cdnRequests(); len(got) != 3 {
			t.Errorf("requests: %v, want three", got)
		}
	})
}

func TestRemoveKeepsWhatOthersHave(t *testing.T) {
	inWorld(t, func(w *world) {
		w.hub.Add(testRepo, "copy.gguf", w.large, true)
		w.pullLarge()
		for _, name := range []string{"copy.gguf", "config.json"} {
			if _, err := w.pull(name); err != nil {
				t.Fatal(err)
			}
		}
		c := w.client()
		if n, err := c.Remove(testRepo, "copy.gguf"); err != nil || n != 0 {
			t.Errorf("Remove of a file whose bytes another has: %d, %v, want 0", n, err)
		}
		w.pullLarge()
		if n, err := c.Remove(testRepo, "deep/er/model.gguf"); err != nil || n != int64(len(w.large)) {
			t.Errorf("Remove: %d, %v, want %d", n, err, len(w.large))
		}
		if _, ok := c.Cached(Repo{ID: testRepo}, "config.json"); !ok {
			t.Error("another file went as well")
		}
		if _, err := c.Remove(testRepo); err != nil {
			t.Error(err)
		}
		if repos, err := c.Scan(); len(repos) != 0 || err != nil {
			t.Errorf("Scan after Remove: %v, %v", repos, err)
		}
	})
}
