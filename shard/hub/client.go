package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Client talks to one hub and keeps one cache.
type Client struct {
	cfg      Config
	endpoint *url.URL
	http     *http.Client
}

// New returns a client. It makes no request.
func New(c Config) (*Client, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: c, endpoint: u, http: &http.Client{
		Transport:     c.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Offline reports whether the client may make no requests.
func (c *Client) Offline() bool { return c.cfg.Offline }

const (
	userAgent    = "shardnode"
	maxRedirects = 8
	// maxErrorBytes is how much of an answer that is no file is read.
	maxErrorBytes = 1 << 16
)

// ours reports whether u is on the hub's own host, which may see the token.
func (c *Client) ours(u *url.URL) bool {
	return u.Scheme == c.endpoint.Scheme && strings.EqualFold(u.Host, c.endpoint.Host)
}

// request makes one request without following where it leads. The token goes
// along to the hub's own host only. A server that is silent for too long ends it.
func (c *Client) request(ctx context.Context, method string, u *url.URL, header http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept-Encoding", "identity") // lengths are those of the file
	if c.ours(u) && c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	body := &watchedBody{timeout: c.cfg.Timeout, cancel: cancel}
	body.timer = time.AfterFunc(c.cfg.Timeout, func() { cancel(errStalled) })
	resp, err := c.http.Do(req)
	if err != nil {
		body.timer.Stop()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // without the address, which may be signed
		}
		return nil, fmt.Errorf("%s: %w", u.Host, err)
	}
	body.ctx, body.body = ctx, resp.Body
	resp.Body = body
	return resp, nil
}

// A watchedBody is a body whose reads end when nothing comes for timeout.
type watchedBody struct {
	ctx     context.Context //nolint:containedctx // that of one response, to know why it ended
	body    io.ReadCloser
	timer   *time.Timer
	timeout time.Duration
	cancel  context.CancelCauseFunc
}

// Read reads what the server sent.
func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.timeout)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

// Close ends the request.
func (b *watchedBody) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.body.Close()
}

// follow returns where a redirect leads.
func follow(u *url.URL, resp *http.Response) (*url.URL, error) {
	to, err := u.Parse(resp.Header.Get("Location"))
	switch {
	case err != nil || to.Host == "" || to.Scheme != "https" && to.Scheme != "http":
		return nil, lie("%s sends us to an address that is none", u.Host)
	case u.Scheme == "https" && to.Scheme != "https":
		return nil, lie("%s sends us to %s without encryption", u.Host, to.Host)
	}
	return to, nil
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// statusError is the error for an answer that is no file. It closes the body.
func (c *Client) statusError(resp *http.Response, what string) *StatusError {
	_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBytes) // so that the connection can be used again
	_ = resp.Body.Close()                                 // it was only read
	e := &StatusError{
		Status: resp.StatusCode, Code: resp.Header.Get("X-Error-Code"), Message: printable(resp.Header.Get("X-Error-Message")),
		What: what, Token: c.cfg.Token != "",
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.retry = min(time.Duration(s)*time.Second, maxRetryAfter)
	}
	return e
}

// printable returns at most a line of what a server says, for people.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 300)]
}

// resolveURL returns the address of a file at a revision.
func (c *Client) resolveURL(id, revision, name string) *url.URL {
	segments := append(strings.Split(id, "/"), "resolve", revision)
	return c.address(append(segments, strings.Split(name, "/")...)...)
}

// address returns an address on the hub. A slash in a segment is escaped.
func (c *Client) address(segments ...string) *url.URL {
	u := *c.endpoint
	for _, s := range segments {
		u.RawPath = u.EscapedPath() + "/" + url.PathEscape(s)
		u.Path += "/" + s
	}
	return &u
}

// again calls try until it succeeds, fails for good, or has failed tries times
// without progress in between; progress tells whether there was any.
func (c *Client) again(ctx context.Context, progress func() bool, try func() error) error {
	for failed := 0; ; {
		err := try()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if progress() {
			failed = 0
		}
		failed++
		wait, tries := firstWait<<failed, maxTries
		if e, ok := errors.AsType[*StatusError](err); ok {
			wait, tries = max(wait, e.retry), maxBusyTries
		}
		if !passing(err) || failed >= tries {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

const (
	// maxTries is how often in a row a request may fail that brings nothing.
	maxTries      = 3
	maxBusyTries  = 6 // of one that the server answers with "not now"
	firstWait     = 250 * time.Millisecond
	maxRetryAfter = 30 * time.Second
)

// passing reports whether what failed may work when it is tried again: the
// network, not the disk, the hub's refusal, or a lie.
func passing(err error) bool {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.passing()
	}
	if _, ok := errors.AsType[*LieError](err); ok {
		return false
	}
	_, disk := errors.AsType[*diskError](err)
	return !disk && !errors.Is(err, context.Canceled) && !errors.Is(err, errNoRanges)
}

// A diskError is an error of our own disk.
type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }
