package openai

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Config holds the settings of a [Handler]. Backend and Key must be set.
type Config struct {
	Backend Backend

	// Key is what clients send as "Authorization: Bearer KEY". It may have several
	// lines: each is a key of its own. Requests of several keys take turns.
	Key string

	// AllowOrigins are the origins of web pages that may use the API, such as
	// "https://chat.example.org"; "*" is any. Pages of other origins are
	// refused. Default: none but pages that this address itself serves.
	AllowOrigins []string

	// AllowHosts are names by which clients reach this member, such as
	// "nuc.local", besides localhost and IP addresses. A request for another
	// name is refused, for it may be a web page that points its own name here.
	AllowHosts []string

	// MaxRunning is the number of requests that generate at once. Default: 32.
	MaxRunning int

	// MaxQueued is the number of requests that wait for their turn; one more
	// gets status 429. Default: 64.
	MaxQueued int

	// MaxBodyBytes bounds the body of one request; all bodies together may
	// have 16 times that. Default: 8 MiB.
	MaxBodyBytes int64

	// DefaultTokens is the most tokens of an answer whose request sets no
	// bound: every stage reserves memory for them. Default: 2,048.
	DefaultTokens int

	// KeepAlive is how long a stream may be silent before a comment is sent,
	// so that proxies and people know that it lives. Default: 5 s.
	KeepAlive time.Duration

	Logger zerolog.Logger
}

const (
	// bodyShare is how many bodies of the greatest size are held at once.
	bodyShare = 16
	// bodyTimeout bounds the reading of a body: 8 MiB at 2 Mbit/s.
	bodyTimeout = 30 * time.Second
	// writeTimeout bounds one write to a client that does not read. A session
	// is not kept for it any longer.
	writeTimeout = 30 * time.Second
	// closeTimeout bounds closing a session whose client has gone.
	closeTimeout = 2 * time.Second
)

func (c Config) withDefaults() (Config, error) {
	if c.Backend == nil {
		return c, errors.New("openai: Backend is nil")
	}
	if strings.TrimSpace(c.Key) == "" {
		return c, errors.New("openai: Key is empty: make one, so that not every program and web page can use the models")
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxRunning", int64(c.MaxRunning)},
		{"MaxQueued", int64(c.MaxQueued)},
		{"MaxBodyBytes", c.MaxBodyBytes},
		{"DefaultTokens", int64(c.DefaultTokens)},
		{"KeepAlive", int64(c.KeepAlive)},
	} {
		if f.value < 0 {
			return c, fmt.Errorf("openai: %s is %d, want 0 or more", f.name, f.value)
		}
	}
	for _, o := range c.AllowOrigins {
		if o != "*" && !strings.Contains(o, "://") {
			return c, fmt.Errorf("openai: AllowOrigins has %q, want an origin such as https://chat.example.org, or *", o)
		}
	}
	c.MaxRunning = cmp.Or(c.MaxRunning, 32)
	c.MaxQueued = cmp.Or(c.MaxQueued, 64)
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, 8<<20)
	c.DefaultTokens = cmp.Or(c.DefaultTokens, 2048)
	c.KeepAlive = cmp.Or(c.KeepAlive, 5*time.Second)
	return c, nil
}

// A Handler serves the API.
type Handler struct {
	cfg     Config
	keySums [][sha256.Size]byte // of the keys

	turns    queue          // of the requests that generate
	admitted atomic.Int64   // requests running and queued
	ofKey    []atomic.Int64 // the same for each key
	bodies   atomic.Int64   // bytes of bodies that are held
}

var _ http.Handler = (*Handler)(nil)

// New returns the handler that c describes.
func New(c Config) (*Handler, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Handler{cfg: c, turns: queue{most: c.MaxRunning}}
	for key := range strings.Lines(c.Key) {
		if key = strings.TrimSpace(key); key != "" {
			h.keySums = append(h.keySums, sha256.Sum256([]byte(key)))
		}
	}
	h.ofKey = make([]atomic.Int64, len(h.keySums))
	return h, nil
}
