package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"time"
)

const (
	// A piece is what one request asks for: long enough that requests cost
	// little, short enough that four connections end together.
	minPieceBytes = 1 << 20
	maxPieceBytes = 32 << 20
	copyBytes     = 256 << 10
	// minGainBytes is what a request that broke off must have brought to be
	// better than nothing: less at a time never ends.
	minGainBytes = 128 << 10
	reportEvery  = 100 * time.Millisecond
)

// errNoRanges is a server that answers with the whole file whatever is asked.
var errNoRanges = errors.New("the server gives whole files only")

// A transfer brings bytes of one file into a partial one.
type transfer struct {
	c      *Client
	f      *File
	out    *partial
	parts  []Part
	total  int64 // bytes that out is to get, from this file and others
	report func(Progress)

	mu       sync.Mutex // guards what follows
	queue    []Part
	direct   *url.URL // where the hub leads to, once known
	tag      string   // ETag of that place
	reported time.Time
}

// run fetches what out lacks.
func (t *transfer) run(ctx context.Context) error {
	t.fill()
	t.tell(true)
	err := t.parallel(ctx)
	if errors.Is(err, errNoRanges) {
		err = t.c.again(ctx, t.progress(), func() error { return t.whole(ctx) })
	}
	t.tell(true)
	return err
}

// fill queues what is missing in pieces.
func (t *transfer) fill() {
	own := int64(0)
	for _, p := range t.parts {
		own += p.bytes()
	}
	size := min(max(own/int64(4*t.c.cfg.Connections), minPieceBytes), maxPieceBytes)
	for _, p := range t.parts {
		for _, m := range t.out.missing(span{p.At, p.At + p.bytes()}) {
			for lo := m.lo; lo < m.hi; lo += size {
				hi := min(lo+size, m.hi)
				t.queue = append(t.queue, Part{Start: p.Start + lo - p.At, End: p.Start + hi - p.At, At: lo})
			}
		}
	}
}

// parallel fetches the queued pieces over several connections.
func (t *transfer) parallel(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	for range min(t.c.cfg.Connections, len(t.queue)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				p, ok := t.next()
				if !ok {
					return
				}
				if err := t.piece(ctx, p); err != nil {
					cancel(err) // the first error ends the others
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func (t *transfer) next() (Part, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		return Part{}, false
	}
	p := t.queue[0]
	t.queue = t.queue[1:]
	return p, true
}

// progress returns a function that reports whether enough came since its last call.
func (t *transfer) progress() func() bool {
	before := t.out.doneBytes()
	return func() bool {
		now := t.out.doneBytes()
		gained := now-before >= minGainBytes
		before = now
		return gained
	}
}

// piece fetches p, from where it broke off when it did.
func (t *transfer) piece(ctx context.Context, p Part) error {
	start := p.Start
	return t.c.again(ctx, func() bool {
		gained := p.Start-start >= minGainBytes
		start = p.Start
		return gained
	}, func() error { return t.get(ctx, &p) })
}

// get makes one request for p, and moves p's start behind what it got.
func (t *transfer) get(ctx context.Context, p *Part) error {
	wholeFile := p.Start == 0 && p.End == t.f.SizeBytes
	var header http.Header
	if !wholeFile {
		header = rangeOf(*p)
	}
	resp, err := t.open(ctx, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case wholeFile && resp.StatusCode != http.StatusOK, !wholeFile && resp.StatusCode == http.StatusOK:
		return errNoRanges
	case !wholeFile:
		if err := t.checkRange(resp, *p); err != nil {
			return err
		}
	}
	if n := resp.ContentLength; n >= 0 && n != p.bytes() {
		return t.lie("the server sends %d bytes, where the hub says %d", n, p.bytes())
	}
	return t.copy(resp, p)
}

// rangeOf returns the header that asks for p.
func rangeOf(p Part) http.Header {
	return http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", p.Start, p.End-1)}}
}

// open asks for bytes of the file where the hub leads to.
func (t *transfer) open(ctx context.Context, header http.Header) (*http.Response, error) {
	t.mu.Lock()
	u := t.direct
	t.mu.Unlock()
	known := u != nil
	if !known {
		u = t.c.resolveURL(t.f.Repo.ID, t.f.Commit, t.f.Name)
	}
	for range maxRedirects {
		resp, err := t.c.request(ctx, http.MethodGet, u, header)
		if err != nil {
			return nil, err
		}
		if err := t.f.sameFile(u, resp, t.c.ours(u)); err != nil {
			_ = resp.Body.Close() // it is another file's
			return nil, err
		}
		switch {
		case isRedirect(resp.StatusCode):
			_ = resp.Body.Close() // it says nothing
			if u, err = follow(u, resp); err != nil {
				return nil, err
			}
		case resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent:
			return resp, t.arrived(u, resp)
		case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
			_ = resp.Body.Close() // it says nothing
			return nil, t.lie("the server has fewer bytes than the %d that the hub says", t.f.SizeBytes)
		default:
			err := t.c.statusError(resp, t.f.String())
			t.mu.Lock()
			t.direct = nil
			t.mu.Unlock()
			if !err.passing() && (known || !t.c.ours(u)) { // a signed address that is no longer good
				return nil, &addressError{err}
			}
			return nil, err
		}
	}
	return nil, t.lie("the hub sends us on and on")
}

// An addressError is an address that the hub gave and that ceased to work.
type addressError struct{ err *StatusError }

func (e *addressError) Error() string { return e.err.Error() }

// arrived notes where the bytes are, and that they are still the same file's.
func (t *transfer) arrived(u *url.URL, resp *http.Response) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	tag := resp.Header.Get("ETag")
	if t.tag != "" && tag != "" && tag != t.tag {
		_ = resp.Body.Close() // it is another file's
		return t.lie("the file changed on %s while it was fetched: its ETag was %s and is %s", u.Host, printable(t.tag), printable(tag))
	}
	t.direct = u
	if tag != "" {
		t.tag = tag
	}
	return nil
}

// contentRange is the header of a partial answer (RFC 9110, section 14.4).
var contentRange = regexp.MustCompile(`^bytes (\d+)-(\d+)/(\d+|\*)$`)

// checkRange returns an error unless the answer is what was asked for.
func (t *transfer) checkRange(resp *http.Response, p Part) error {
	m := contentRange.FindStringSubmatch(resp.Header.Get("Content-Range"))
	if m == nil {
		return t.lie("the server sends a part without saying which")
	}
	lo, err1 := strconv.ParseInt(m[1], 10, 64)
	hi, err2 := strconv.ParseInt(m[2], 10, 64)
	if err1 != nil || err2 != nil || lo != p.Start || hi != p.End-1 {
		return t.lie("the server sends bytes %s-%s, asked for %d-%d", m[1], m[2], p.Start, p.End-1)
	}
	if m[3] != "*" && m[3] != strconv.FormatInt(t.f.SizeBytes, 10) {
		return t.lie("the server's file has %s bytes, where the hub says %d", m[3], t.f.SizeBytes)
	}
	return nil
}

// copy writes the bytes of p as they come.
func (t *transfer) copy(resp *http.Response, p *Part) error {
	buf := make([]byte, copyBytes)
	for p.Start < p.End {
		n, err := resp.Body.Read(buf[:min(copyBytes, p.bytes())])
		if n > 0 {
			if err := t.out.write(buf[:n], p.At); err != nil {
				return err
			}
			p.Start, p.At = p.Start+int64(n), p.At+int64(n)
			t.tell(false)
		}
		if p.Start == p.End {
			break
		}
		if err != nil {
			return t.cut(err)
		}
	}
	if n, _ := io.ReadFull(resp.Body, buf[:1]); n > 0 {
		return t.lie("the server sends more bytes than it was asked for")
	}
	return nil
}

// cut is the error of an answer that broke off.
func (t *transfer) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the connection was cut")
	}
	return fmt.Errorf("%s: %w after %d of %d bytes", t.f, err, t.out.doneBytes(), t.total)
}

func (t *transfer) lie(format string, args ...any) error {
	return lie("%s: %s", t.f, fmt.Sprintf(format, args...))
}

// whole reads the whole file over one connection, for servers that know no
// ranges, and keeps what is wanted and missing.
func (t *transfer) whole(ctx context.Context) error {
	resp, err := t.open(ctx, http.Header{})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if n := resp.ContentLength; resp.StatusCode != http.StatusOK || n >= 0 && n != t.f.SizeBytes {
		return t.lie("the server sends %d bytes (HTTP %d), where the hub says %d", n, resp.StatusCode, t.f.SizeBytes)
	}
	buf := make([]byte, copyBytes)
	for at := int64(0); ; {
		n, err := io.ReadFull(resp.Body, buf)
		if at+int64(n) > t.f.SizeBytes {
			return t.lie("the server sends more bytes than the %d that the hub says", t.f.SizeBytes)
		}
		if err := t.keep(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
		t.tell(false)
		switch {
		case (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && at == t.f.SizeBytes:
			return nil
		case err != nil:
			return t.cut(err)
		}
	}
}

// keep writes those bytes of b, which stands at byte at of the file, that
// belong to a part.
func (t *transfer) keep(b []byte, at int64) error {
	for _, p := range t.parts {
		lo, hi := max(p.Start, at), min(p.End, at+int64(len(b)))
		if lo >= hi {
			continue
		}
		if err := t.out.write(b[lo-at:hi-at], p.At+lo-p.Start); err != nil {
			return err
		}
	}
	return nil
}

// tell reports how far the transfer is, not too often unless always.
func (t *transfer) tell(always bool) {
	if t.report == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); always || now.Sub(t.reported) >= reportEvery {
		t.reported = now
		t.report(Progress{File: t.f.Name, State: Fetching, DoneBytes: t.out.doneBytes(), TotalBytes: t.total})
	}
}
