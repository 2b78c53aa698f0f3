package openai

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
)

var testTime = time.Unix(1_700_000_000, 0)

func TestOnlyTheKeyOpens(t *testing.T) {
	h := newHandler(t, newBackend(t, tale))
	for header, want := range map[string]int{
		"Bearer " + testKey: 200, "bearer " + testKey: 200,
		"": 401, "Bearer": 401, "Bearer " + testKey + "x": 401, "Bearer x": 401, "Basic " + testKey: 401, testKey: 401,
	} {
		r := request(t.Context(), "GET", "/v1/models", "")
		r.Header.Set("Authorization", header)
		w := record(h, r)
		if w.Code != want {
			t.Errorf("Authorization %q: status %d, want %d", header, w.Code, want)
		}
		if want == 401 {
			if _, code := errorOf(t, w.Body.String()); code != "invalid_api_key" || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("401 is %s", w.Body)
			}
		}
	}
	r := request(t.Context(), "GET", "/health", "")
	r.Header.Del("Authorization")
	if w := record(h, r); w.Code != 200 {
		t.Errorf("/health without a key: status %d", w.Code)
	}
}

func TestWebPagesOfOthersStayOut(t *testing.T) {
	h := newHandler(t, newBackend(t, tale), func(c *Config) {
		c.AllowOrigins, c.AllowHosts = []string{"https://chat.example.org"}, []string{"nuc.local"}
	})
	for name, c := range map[string]struct {
		host, origin string
		want         int
	}{
		"curl":                 {"127.0.0.1:7070", "", 200},
		"IPv6":                 {"[::1]:7070", "", 200},
		"LAN address":          {"192.168.1.7", "", 200},
		"localhost":            {"LOCALHOST:7070", "", 200},
		"allowed name":         {"nuc.local:7070", "", 200},
		"rebound name":         {"evil.example:7070", "", 403},
		"rebound page":         {"evil.example:7070", "http://evil.example:7070", 403},
		"looks like localhost": {"localhost.evil.example", "", 403},
		"own page":             {"localhost:7070", "http://localhost:7070", 200},
		"other port":           {"localhost:7070", "http://localhost:8080", 403},
		"allowed page":         {"localhost:7070", "https://chat.example.org", 200},
		"other page":           {"localhost:7070", "https://evil.example", 403},
		"file":                 {"localhost:7070", "null", 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t.Context(), "GET", "/v1/models", "")
			r.Host = c.host
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			w := record(h, r)
			if w.Code != c.want {
				t.Errorf("status %d, want %d: %s", w.Code, c.want, w.Body)
			}
			cors := w.Header().Get("Access-Control-Allow-Origin")
			if wantCORS := c.want == 200 && c.origin != ""; (cors == c.origin && c.origin != "") != wantCORS {
				t.Errorf("Access-Control-Allow-Origin %q", cors)
			}
		})
	}
	r := request(t.Context(), "OPTIONS", "/v1/chat/completions", "")
	r.Header = http.Header{
		"Origin": {"https://chat.example.org"}, "Access-Control-Request-Method": {"POST"},
		"Access-Control-Request-Headers": {"authorization,content-type"},
	}
	if w := record(h, r); w.Code != 204 || w.Header().Get("Access-Control-Allow-Headers") != "authorization,content-type" {
		t.Errorf("preflight: status %d, %v", w.Code, w.Header())
	}
}

func TestUnknownPathsMethodsAndModelsAreTold(t *testing.T) {
	b := newBackend(t, tale)
	b.more = []Model{{ID: "org/big-model"}}
	h := newHandler(t, b)
	for _, c := range []struct {
		method, path, body, code string
		status                   int
	}{
		{"GET", "/v1/nothing", "", "unknown_url", 404},
		{"GET", "/", "", "unknown_url", 404},
		{"GET", "/v1/chat/completions", "", "method_not_allowed", 405},
		{"POST", "/v1/models", "{}", "method_not_allowed", 405},
		{"GET", "/v1/models/none", "", "model_not_found", 404},
		{"POST", "/v1/chat/completions", strings.Replace(chatBody(""), "story", "gpt-5", 1), "model_not_found", 404},
		{"POST", "/v1/chat/completions", strings.Replace(chatBody(""), "story", "org/big-model", 1), "model_loading", 503},
	} {
		w := do(t, h, c.method, c.path, c.body)
		if _, code := errorOf(t, w.Body.String()); w.Code != c.status || code != c.code {
			t.Errorf("%s %s: status %d, %s, want %d %s", c.method, c.path, w.Code, w.Body, c.status, c.code)
		}
	}
	if w := do(t, h, "GET", "/v1/models/org/big-model", ""); w.Code != 200 {
		t.Errorf("a name with a slash: status %d", w.Code)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	h := newHandler(t, newBackend(t, tale), func(c *Config) { c.MaxBodyBytes = 1000 })
	long := chatBody(`"user":"` + strings.Repeat("x", 1000) + `"`)
	if w := do(t, h, "POST", "/v1/chat/completions", long); w.Code != 413 {
		t.Errorf("a long body: status %d, want 413", w.Code)
	}
	r := request(t.Context(), "POST", "/v1/chat/completions", "x")
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(long)), -1
	if w := record(h, r); w.Code != 413 {
		t.Errorf("a long body of no said length: status %d, want 413", w.Code)
	}
	r = request(t.Context(), "POST", "/v1/chat/completions", chatBody(""))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if w := record(h, r); w.Code != 415 {
		t.Errorf("a form: status %d, want 415", w.Code)
	}
	if h.admitted.Load() != 0 || h.bodies.Load() != 0 {
		t.Errorf("%d requests and %d bytes are still counted", h.admitted.Load(), h.bodies.Load())
	}
}

func TestNoRouteIsA503WithItsReason(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"no route":    {&UnavailableError{Reason: "layers 10 to 20 are held by nobody", RetryAfter: 9 * time.Second}, 503, "no_route"},
		"no capacity": {&shard.StageError{Code: shard.NoCapacity}, 503, "no_capacity"},
		"too long":    {&shard.StageError{Code: shard.TooLong}, 400, "context_length_exceeded"},
		"broken":      {&shard.StageError{Code: shard.Internal}, 500, "stage_failed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t, tale)
			b.openErr = c.err
			for _, fields := range []string{"", `"stream":true`} {
				w := do(t, newHandler(t, b), "POST", "/v1/chat/completions", chatBody(fields))
				if _, code := errorOf(t, w.Body.String()); w.Code != c.status || code != c.code {
					t.Errorf("status %d: %s, want %d %s", w.Code, w.Body, c.status, c.code)
				}
				if c.code == "no_route" && w.Header().Get("Retry-After") != "9" {
					t.Errorf("Retry-After %q, want 9", w.Header().Get("Retry-After"))
				}
			}
		})
	}
}

func TestRequestsQueueUpToABoundAndNoFurther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, "Hi.")
		b.stepTime = time.Second
		h := newHandler(t, b, func(c *Config) { c.MaxRunning, c.MaxQueued = 2, 3 })
		var mu sync.Mutex
		status := map[int]int{}
		var wg sync.WaitGroup
		for i := range 9 {
			wg.Go(func() {
				fields := ""
				if i%2 == 0 {
					fields = `"stream":true`
				}
				w := record(h, request(context.Background(), "POST", "/v1/chat/completions", chatBody(fields)))
				mu.Lock()
				defer mu.Unlock()
				if status[w.Code]++; w.Code == 429 && w.Header().Get("Retry-After") == "" {
					t.Error("429 without Retry-After")
				}
			})
		}
		wg.Wait()
		if status[200] != 5 || status[429] != 4 || b.peak.Load() != 2 {
			t.Errorf("statuses %v, at most %d sessions at once: want 5 of 200, 4 of 429, 2 at once", status, b.peak.Load())
		}
		if h.admitted.Load() != 0 || !h.turns.idle() || h.bodies.Load() != 0 {
			t.Error("a slot was not given back")
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	b := newBackend(t, "")
	for name, c := range map[string]Config{
		"Backend":      {Key: "k"},
		"Key":          {Backend: b},
		"MaxQueued":    {Backend: b, Key: "k", MaxQueued: -1},
		"AllowOrigins": {Backend: b, Key: "k", AllowOrigins: []string{"example.org"}},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New: %v, want an error that names %s", err, name)
		}
	}
}

// remote is a request to a server at url.
func remote(t testing.TB, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	r.Header.Set("Content-Type", "application/json")
	return r
}
