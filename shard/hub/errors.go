package hub

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ErrOffline is the error of what would need the network when that is not
// allowed.
var ErrOffline = errors.New("it is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")

// A StatusError is an answer of the hub that is no file.
type StatusError struct {
	Status  int    // of HTTP
	Code    string // X-Error-Code, such as RepoNotFound or GatedRepo; may be empty
	Message string // X-Error-Message
	What    string // what was asked for
	Token   bool   // a token was sent
	retry   time.Duration
}

// Error says what the hub refused, and why.
func (e *StatusError) Error() string {
	why := e.Message
	switch {
	case e.Code == "EntryNotFound":
		why = "there is no such file"
	case e.Code == "RevisionNotFound":
		why = "there is no such revision"
	case e.Code == "RepoNotFound":
		why = "there is no such repository, or it is not public"
	case why == "" && e.Status == http.StatusUnauthorized:
		why = "the hub wants a token, or there is no such repository"
	case why == "":
		why = http.StatusText(e.Status)
	}
	return fmt.Sprintf("%s: %s (HTTP %d)", e.What, why, e.Status)
}

// Missing reports whether the hub has no such repository, revision or file, or
// does not say that it has.
func (e *StatusError) Missing() bool {
	return e.Status == http.StatusNotFound || e.Status == http.StatusUnauthorized
}

// NeedsToken reports whether a token, or another one, may help.
func (e *StatusError) NeedsToken() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden || e.Code == "GatedRepo"
}

// passing reports whether the same request may do better later.
func (e *StatusError) passing() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Status >= 500
}

// A SpaceError is a disk without room for a file.
type SpaceError struct {
	Dir                  string
	NeedBytes, FreeBytes int64
}

// Error says how much is missing where.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("the disk of %s has %.2f GB free, and %.2f GB are to be fetched", e.Dir, float64(e.FreeBytes)/1e9, float64(e.NeedBytes)/1e9)
}

// A LieError is a server that does not do what it said: another length, another
// file under the same name, more bytes than asked for, or bytes with another
// hash.
type LieError struct{ What string }

// Error says what was wrong.
func (e *LieError) Error() string { return e.What }

func lie(format string, args ...any) error { return &LieError{fmt.Sprintf(format, args...)} }

// errStalled is a server that sent nothing for the time allowed.
var errStalled = errors.New("the server sent nothing for too long")
