// Package hubtest is a hub for tests: it answers as Hugging Face's does, with a
// second host for large files, and breaks off, stalls and lies when asked to.
// Start with [New]. It is safe for concurrent use.
package hubtest

import (
	"context"
	"crypto/sha1" //nolint:gosec // git's blob ids
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The hosts of the hub, which exist on its own network only.
const (
	Endpoint = "http://hub.test"
	hubHost  = "hub.test"
	cdnHost  = "cdn.test"
)

// A Request is one that the hub got.
type Request struct {
	Method, Path, Range, Authorization string
	CDN                                bool // it went to the host for large files
}

// A Fault is what is wrong with one answer. The zero Fault is none.
type Fault struct {
	Status   int               // answer with that and nothing else
	Header   map[string]string // headers to replace; "" removes
	Cut      int               // close the connection after so many bytes, -1: before any
	Stall    int               // send nothing more after so many bytes, -1: no byte at all
	Extra    int               // send so many bytes more, and no length
	Flip     bool              // change the first byte
	Whole    bool              // ignore the range
	Shortage int               // leave out so many bytes at the end, and say so
}

// A Hub is a fake hub.
type Hub struct {
	stopped chan struct{}
	stop    func()

	mu       sync.Mutex // guards what follows
	repos    map[string]*repo
	requests []Request
	meddle   func(Request) Fault
}

type repo struct {
	commit string
	files  map[string]file
}

type file struct {
	data  []byte
	large bool
	etag  string
}

// New returns a hub without repositories.
func New() *Hub {
	h := &Hub{repos: map[string]*repo{}, stopped: make(chan struct{})}
	h.stop = sync.OnceFunc(func() { close(h.stopped) })
	return h
}

// Add puts a file into a repository, which gets another commit. A large file
// comes from another host and has its SHA-256 for an ETag.
func (h *Hub) Add(id, name string, data []byte, large bool) { //nolint:revive // a fake's flag
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repos[id]
	if r == nil {
		r = &repo{files: map[string]file{}}
		h.repos[id] = r
	}
	f := file{data, large, gitID(data)}
	if large {
		sum := sha256.Sum256(data)
		f.etag = hex.EncodeToString(sum[:])
	}
	r.files[name] = f
	sum := sha1.Sum(fmt.Appendf(nil, "%s %s %s %s", r.commit, id, name, f.etag)) //nolint:gosec // a name
	r.commit = hex.EncodeToString(sum[:])
}

// Commit returns the commit of a repository.
func (h *Hub) Commit(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.repos[id].commit
}

// Meddle makes f decide what is wrong with each answer from now on.
func (h *Hub) Meddle(f func(Request) Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.meddle = f
}

// Requests returns the requests since the last call.
func (h *Hub) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.requests
	h.requests = nil
	return r
}

// Transport starts a server on a network of its own, and returns what reaches
// it by [Endpoint], and a function that ends it.
func (h *Hub) Transport() (*http.Transport, func()) {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: h} //nolint:gosec // of tests
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t := &http.Transport{DialContext: l.dial, DisableCompression: true, MaxIdleConnsPerHost: 8}
	return t, func() {
		h.stop()
		t.CloseIdleConnections()
		_ = s.Close()
		wg.Wait()
	}
}

// ServeHTTP answers for both hosts; requests to any other host than the one for
// large files are for the hub.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := Request{
		Method: r.Method, Path: r.URL.Path, Range: r.Header.Get("Range"), Authorization: r.Header.Get("Authorization"),
		CDN: strings.HasPrefix(r.URL.Path, "/cdn/") || r.Host == cdnHost,
	}
	h.mu.Lock()
	h.requests = append(h.requests, req)
	var f Fault
	if h.meddle != nil {
		f = h.meddle(req)
	}
	h.mu.Unlock()
	if f.Status != 0 {
		set(w, f)
		w.WriteHeader(f.Status)
		return
	}
	switch {
	case req.CDN:
		h.large(w, r, f)
	case strings.HasPrefix(r.URL.Path, "/api/models/"):
		h.list(w, r)
	default:
		h.resolve(w, r, f)
	}
}

func set(w http.ResponseWriter, f Fault) {
	for k, v := range f.Header {
		if w.Header().Set(k, v); v == "" {
			w.Header().Del(k)
		}
	}
}

func notFound(w http.ResponseWriter, code string) {
	w.Header().Set("X-Error-Code", code)
	w.WriteHeader(http.StatusNotFound)
}

// list answers /api/models/ID/revision/REVISION.
func (h *Hub) list(w http.ResponseWriter, r *http.Request) {
	id, revision, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/models/"), "/revision/")
	h.mu.Lock()
	defer h.mu.Unlock()
	repo := h.repos[id]
	switch {
	case repo == nil:
		notFound(w, "RepoNotFound")
		return
	case revision != "main" && revision != "" && revision != repo.commit:
		notFound(w, "RevisionNotFound")
		return
	}
	type sibling struct {
		Name   string         `json:"rfilename"`
		Size   int            `json:"size"`
		BlobID string         `json:"blobId"`
		LFS    map[string]any `json:"lfs,omitempty"`
	}
	var siblings []sibling
	for name, f := range repo.files {
		s := sibling{Name: name, Size: len(f.data), BlobID: gitID(f.data)}
		if f.large {
			s.LFS = map[string]any{"size": len(f.data), "sha256": f.etag, "pointerSize": 130}
		}
		siblings = append(siblings, s)
	}
	slices.SortFunc(siblings, func(a, b sibling) int { return strings.Compare(a.Name, b.Name) })
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": id, "modelId": id, "sha": repo.commit, "private": false, "tags": []string{"license:mit"},
		"downloads": 0, "likes": 0, "siblings": siblings,
	})
}

// gitID returns the id that git gives a blob.
func gitID(b []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(b)), b...)) //nolint:gosec // git's
	return hex.EncodeToString(sum[:])
}

// resolve answers /ID/resolve/REVISION/FILE.
func (h *Hub) resolve(w http.ResponseWriter, r *http.Request, fault Fault) {
	id, rest, ok := strings.Cut(strings.Trim(r.URL.Path, "/"), "/resolve/")
	_, name, _ := strings.Cut(rest, "/")
	h.mu.Lock()
	repo := h.repos[id]
	var f file
	found, commit := false, ""
	if repo != nil {
		f, found = repo.files[name]
		commit = repo.commit
	}
	h.mu.Unlock()
	w.Header().Set("X-Repo-Commit", commit)
	switch {
	case !ok || repo == nil:
		notFound(w, "RepoNotFound")
	case !found:
		notFound(w, "EntryNotFound")
	case f.large:
		w.Header().Set("X-Linked-Etag", strconv.Quote(f.etag))
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(f.data)))
		w.Header().Set("Location", h.cdn(r)+path.Join("/cdn", id, name)+"?signature=secret")
		set(w, fault)
		w.WriteHeader(http.StatusFound)
	default:
		w.Header().Set("ETag", strconv.Quote(f.etag))
		h.send(w, r, f.data, fault)
	}
}

// cdn returns the address of the host for large files as r can reach it.
func (h *Hub) cdn(r *http.Request) string {
	if r.Host == hubHost {
		return "http://" + cdnHost
	}
	// On a real network the same server is reached by another name.
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		return "http://" + r.Host
	}
	return "http://localhost:" + port
}

// large answers on the host for large files.
func (h *Hub) large(w http.ResponseWriter, r *http.Request, fault Fault) {
	p := strings.TrimPrefix(r.URL.Path, "/cdn/")
	h.mu.Lock()
	var f file
	found := false
	for id, repo := range h.repos {
		if name, ok := strings.CutPrefix(p, id+"/"); ok && !found {
			f, found = repo.files[name]
		}
	}
	h.mu.Unlock()
	if !found {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("ETag", `"cdn-`+f.etag[:8]+`"`)
	h.send(w, r, f.data, fault)
}

// send answers with data or the range of it that was asked for.
func (h *Hub) send(w http.ResponseWriter, r *http.Request, data []byte, f Fault) {
	size, status := len(data), http.StatusOK
	var lo, hi int
	if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &lo, &hi); n == 2 && !f.Whole {
		if lo >= size {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		hi = min(hi, size-1)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", lo, hi, size))
		data, status = data[lo:hi+1], http.StatusPartialContent
	}
	data = append(slices.Clone(data[:len(data)-f.Shortage]), make([]byte, f.Extra)...)
	if f.Flip {
		data[0] ^= 1
	}
	if f.Extra == 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	}
	set(w, f)
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	upTo := len(data)
	for _, n := range []int{f.Cut, f.Stall} {
		if n != 0 {
			upTo = min(upTo, max(n, 0))
		}
	}
	_, _ = w.Write(data[:upTo])
	if upTo == len(data) {
		return
	}
	_ = http.NewResponseController(w).Flush()
	if f.Stall != 0 {
		select {
		case <-r.Context().Done():
		case <-h.stopped:
		}
	}
	panic(http.ErrAbortHandler)
}

// pipeListener is a network of two hosts in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept returns the next connection.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and dials.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns an address without meaning.
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "hubtest"} }
