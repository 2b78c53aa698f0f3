package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// get asks h as a browser at 127.0.0.1 does; edit changes the request.
func get(h http.Handler, method, path, body string, edit func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:7070"
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func withKey(r *http.Request) { r.Header.Set("Authorization", "Bearer "+testKey) }

// still returns a handler that nobody watches.
func still(t *testing.T) *Handler {
	t.Helper()
	h, err := New(Config{Source: newStageSet(scene("serving")), API: fakeAPI(0), Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPagesNeedNothingFromElsewhere(t *testing.T) {
	h := still(t)
	total := 0
	for path, a := range h.assets {
		total += len(a.body)
		w := get(h, "GET", path, "", nil)
		if w.Code != http.StatusOK || w.Body.Len() != len(a.body) {
			t.Errorf("%s: status %d, %d bytes, want 200 and %d", path, w.Code, w.Body.Len(), len(a.body))
		}
		csp := w.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q lacks %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is unsafe: %q", path, csp)
		}
		text := string(a.body)
		for _, bad := range []string{"innerHTML", "eval(", "document.write", "onclick=\"", "<style", testKey} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
		again := get(h, "GET", path, "", func(r *http.Request) { r.Header.Set("If-None-Match", w.Header().Get("ETag")) })
		if again.Code != http.StatusNotModified {
			t.Errorf("%s: status %d for what the browser has, want 304", path, again.Code)
		}
	}
	if total > 150<<10 {
		t.Errorf("the pages take %d bytes, want at most 150 KiB", total)
	}
}

func TestFeedNeedsTheKeyAndTheRightHost(t *testing.T) {
	h := still(t)
	key := func(host, origin, auth string) func(*http.Request) {
		return func(r *http.Request) {
			r.Host = host
			r.Header.Set("Authorization", auth)
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
		}
	}
	for name, c := range map[string]struct {
		edit func(*http.Request)
		want int
	}{
		"key":               {key("127.0.0.1:7070", "", "Bearer "+testKey), 200},
		"localhost":         {key("localhost:7070", "http://localhost:7070", "Bearer "+testKey), 200},
		"IPv6":              {key("[::1]:7070", "", "Bearer "+testKey), 200},
		"no key":            {key("127.0.0.1:7070", "", ""), 401},
		"wrong key":         {key("127.0.0.1:7070", "", "Bearer x"), 401},
		"rebound name":      {key("evil.example:7070", "", "Bearer "+testKey), 403},
		"page from outside": {key("127.0.0.1:7070", "http://evil.example", "Bearer "+testKey), 403},
	} {
		if w := get(h, "GET", "/ui/swarm", "", c.edit); w.Code != c.want {
			t.Errorf("%s: status %d, want %d: %s", name, w.Code, c.want, w.Body)
		}
	}
	if w := get(h, "GET", "/swarm", "", func(r *http.Request) { r.Host = "evil.example" }); w.Code != http.StatusForbidden {
		t.Errorf("a page for a rebound name: status %d, want 403", w.Code)
	}
	if w := get(h, "GET", "/v1/models", "", withKey); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "smollm2") {
		t.Errorf("the API is not reached: status %d", w.Code)
	}
}

func TestPanelAsksThePlannerAndInvites(t *testing.T) {
	h := still(t)
	w := get(h, "POST", "/ui/plan", `{"kill":["nuc"],"add":[]}`, withKey)
	var p Plan
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || len(p.Layout) != 2 {
		t.Errorf("plan without nuc: %v, %+v", err, p)
	}
	for body, want := range map[string]int{
		`{"kill":["a","b","c"]}`: 409, `{"kil":[]}`: 400, `nonsense`: 400, `{"kill":["` + strings.Repeat("x", maxAskBytes) + `"]}`: 400,
	} {
		if w := get(h, "POST", "/ui/plan", body, withKey); w.Code != want {
			t.Errorf("plan %.30s: status %d, want %d", body, w.Code, want)
		}
	}
	if w := get(h, "POST", "/ui/invite", `{"uses":2,"hours":1,"role":"client"}`, withKey); w.Code != 200 || !strings.Contains(w.Body.String(), "shard1") {
		t.Errorf("invite: status %d: %s", w.Code, w.Body)
	}
	if w := get(h, "POST", "/ui/invite", `{"uses":2,"hours":1,"role":"client"}`, nil); w.Code != 401 {
		t.Errorf("invite without the key: status %d, want 401", w.Code)
	}
	if w := get(h, "GET", "/ui/invite", "", withKey); w.Code != 404 {
		t.Errorf("invite with GET: status %d, want 404", w.Code)
	}
}

func TestFeedSendsPicturesAndWhatHappened(t *testing.T) {
	f := newStageSet(scene("joining"))
	srv := serve(t, newHandler(t, f, 0))
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/ui/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	withKey(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	read := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("the feed ended before it said %q: %v", want, lines.Err())
	}
	read(`"ready_percent":61`)
	f.set(scene("serving"))
	read("nuc serves layers [12,20)")
	f.set(scene("lost"))
	read("nuc is lost")
	read("have no holder")
}

func TestFeedEndsWithItsPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := still(t)
		ctx, cancel := context.WithCancel(t.Context())
		go h.Watch(ctx)
		for range 2 * maxReaders {
			go func() {
				r := httptest.NewRequest("GET", "/ui/events", nil).WithContext(ctx)
				r.Host = "localhost"
				withKey(r)
				h.ServeHTTP(httptest.NewRecorder(), r)
			}()
		}
		time.Sleep(time.Minute)
		h.feed.mu.Lock()
		if h.feed.readers != maxReaders {
			t.Errorf("%d pages are served, want %d", h.feed.readers, maxReaders)
		}
		h.feed.mu.Unlock()
		cancel()
		synctest.Wait()
		if h.feed.readers != 0 {
			t.Errorf("%d readers are left", h.feed.readers)
		}
	})
}

func TestLogIsBoundedAndLoadingIsOneLine(t *testing.T) {
	f := newFeed()
	for range 3 * maxEvents {
		f.note(KindPeer, "nuc is here", time.Now())
	}
	f.note(KindLoad, "loading: 1 of 3 MiB", time.Now())
	f.note(KindLoad, "loading: 2 of 3 MiB", time.Now())
	got := f.since(0)
	if len(got) > maxEvents {
		t.Errorf("%d events are kept, want at most %d", len(got), maxEvents)
	}
	if last, before := got[len(got)-1], got[len(got)-2]; last.Text != "loading: 2 of 3 MiB" || before.Kind != KindPeer {
		t.Errorf("the log ends with %v, %v", before, last)
	}
}

func TestDifferencesTellWhatPeopleWantToKnow(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"serves":  {"joining", "serving", "nuc serves layers [12,20)"},
		"drains":  {"serving", "draining", "nuc finishes its sessions and leaves"},
		"grows":   {"serving", "draining", "attic is to hold layers [12,30)"},
		"lost":    {"serving", "lost", "nuc is lost"},
		"back":    {"lost", "serving", "nuc is here"},
		"covered": {"lost", "serving", "every layer of smollm2-1.7b-instruct-q4_k_m has a holder"},
	} {
		from, to := scene(c.from), scene(c.to)
		var all []string
		for _, e := range differences(&from, &to) {
			all = append(all, e.Text)
		}
		if !strings.Contains(strings.Join(all, "\n"), c.want) {
			t.Errorf("%s: %q, want %q", name, all, c.want)
		}
		if n := differences(&to, &to); len(n) > 0 {
			t.Errorf("%s: nothing changed, and yet %v", name, n)
		}
	}
}

func TestMetricsAreForThoseWithTheKey(t *testing.T) {
	h := newHandler(t, newStageSet(scene("serving")), 0)
	if w := get(h, "GET", "/metrics", "", nil); w.Code != http.StatusUnauthorized {
		t.Errorf("without the key: status %d, want 401", w.Code)
	}
	w := get(h, "GET", "/metrics", "", withKey)
	if b, _ := io.ReadAll(w.Body); string(b) != "up 1\n" {
		t.Errorf("metrics are %q", b)
	}
}
