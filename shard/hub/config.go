package hub

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	defaultEndpoint = "https://huggingface.co"
	// defaultTimeout is how long huggingface_hub waits for a silent server
	// (DEFAULT_DOWNLOAD_TIMEOUT).
	defaultTimeout     = 10 * time.Second
	defaultConnections = 4
	maxConnections     = 32
	maxTokenBytes      = 1 << 12
)

// Config says where the hub and the cache are. The zero Config reads public
// models from huggingface.co, but needs CacheDir.
type Config struct {
	// Endpoint is the hub's address. Default: https://huggingface.co.
	Endpoint string
	// CacheDir is the folder that Python calls HF_HUB_CACHE.
	CacheDir string
	// Token is sent to Endpoint's host alone. Default: none.
	Token string
	// Offline makes no request and uses what the cache holds.
	Offline bool
	// Timeout is how long a server may be silent. Default: 10 s.
	Timeout time.Duration
	// Connections is how many ranges of a file are fetched at once. Default: 4.
	Connections int
	// Transport carries requests. Default: one like http.DefaultTransport.
	Transport http.RoundTripper
	// FreeBytes returns the room on the disk of a folder. Default: not asked.
	FreeBytes func(dir string) (int64, error)
}

// FromEnv reads the variables that Python's huggingface_hub reads: HF_ENDPOINT,
// HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE,
// HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_DOWNLOAD_TIMEOUT, and their older names.
func FromEnv(getenv func(string) string) (Config, error) {
	home, err := expand(getenv, cmp.Or(getenv("HF_HOME"), filepath.Join(cmp.Or(getenv("XDG_CACHE_HOME"), "~/.cache"), "huggingface")))
	if err != nil {
		return Config{}, err
	}
	cache, err := expand(getenv, cmp.Or(getenv("HF_HUB_CACHE"), getenv("HUGGINGFACE_HUB_CACHE"), filepath.Join(home, "hub")))
	if err != nil {
		return Config{}, err
	}
	c := Config{
		Endpoint: getenv("HF_ENDPOINT"), CacheDir: cache,
		Offline: isTrue(cmp.Or(getenv("HF_HUB_OFFLINE"), getenv("TRANSFORMERS_OFFLINE"))),
	}
	if s := getenv("HF_HUB_DOWNLOAD_TIMEOUT"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 24*3600 {
			return c, fmt.Errorf("HF_HUB_DOWNLOAD_TIMEOUT is %q, want whole seconds", s)
		}
		c.Timeout = time.Duration(n) * time.Second
	}
	if c.Token = cleanToken(cmp.Or(getenv("HF_TOKEN"), getenv("HUGGING_FACE_HUB_TOKEN"))); c.Token != "" {
		return c, nil
	}
	if isTrue(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return c, nil
	}
	path, err := expand(getenv, cmp.Or(getenv("HF_TOKEN_PATH"), filepath.Join(home, "token")))
	if err != nil {
		return c, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() <= maxTokenBytes {
		b, err := os.ReadFile(path)
		if err != nil {
			return c, fmt.Errorf("token of huggingface: %w", err)
		}
		c.Token = cleanToken(string(b))
	}
	return c, nil
}

// cleanToken removes line ends and spaces around a token.
func cleanToken(s string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(s))
}

// isTrue reads a switch as huggingface_hub does (ENV_VARS_TRUE_VALUES).
func isTrue(s string) bool {
	switch strings.ToUpper(s) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// expand replaces $NAME and a leading ~.
func expand(getenv func(string) string, path string) (string, error) {
	path = os.Expand(path, getenv)
	rest, ok := strings.CutPrefix(path, "~")
	if !ok || rest != "" && !os.IsPathSeparator(rest[0]) {
		return path, nil
	}
	home := getenv("HOME")
	if home == "" {
		var err error
		if home, err = os.UserHomeDir(); err != nil {
			return "", fmt.Errorf("cache of huggingface: %w", err)
		}
	}
	return filepath.Join(home, rest), nil
}

func (c Config) withDefaults() (Config, error) {
	c.Endpoint = strings.TrimRight(cmp.Or(c.Endpoint, defaultEndpoint), "/")
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.Connections = cmp.Or(c.Connections, defaultConnections)
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return c, fmt.Errorf("hub: endpoint %q is no address: want https://HOST", c.Endpoint)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return c, fmt.Errorf("hub: endpoint of host %s: want https://HOST or https://HOST/PATH alone", u.Host)
	case c.CacheDir == "":
		return c, fmt.Errorf("hub: CacheDir is empty")
	case c.Timeout < 0 || c.Connections < 0 || c.Connections > maxConnections:
		return c, fmt.Errorf("hub: Timeout %v and Connections %d, want more than 0 and at most %d", c.Timeout, c.Connections, maxConnections)
	}
	if c.CacheDir, err = filepath.Abs(c.CacheDir); err != nil {
		return c, fmt.Errorf("hub: CacheDir: %w", err)
	}
	if c.Transport == nil {
		c.Transport = newTransport(c.Connections)
	}
	return c, nil
}

// newTransport returns a transport whose requests end by their contexts.
func newTransport(connections int) http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost = connections
	// HTTP/2 would put all ranges on one connection.
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.DisableCompression = true // lengths and hashes are those of the file
	return t
}
