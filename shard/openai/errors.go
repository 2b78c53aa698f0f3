package openai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/grammar"
	"github.com/shardnode/shardnode/shard/sample"
)

// An apiError is an error as OpenAI's clients read it.
type apiError struct {
	status     int
	kind       string // "type" in JSON
	code       string // "" is null
	param      string // the field at fault; "" is null
	message    string
	retryAfter time.Duration
}

// Error returns the message.
func (e *apiError) Error() string { return e.message }

// The types of OpenAI's errors.
const (
	kindInvalid = "invalid_request_error"
	kindRate    = "rate_limit_error"
	kindServer  = "server_error"
)

// errorJSON is OpenAI's ErrorResponse.
type errorJSON struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func (e *apiError) body() errorJSON {
	return errorJSON{errorBody{Message: e.message, Type: e.kind, Param: orNull(e.param), Code: orNull(e.code)}}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// invalid is a 400 about the field param.
func invalid(param, code, format string, args ...any) *apiError {
	return &apiError{
		status: http.StatusBadRequest, kind: kindInvalid, code: code, param: param,
		message: fmt.Sprintf(format, args...),
	}
}

// unavailable is a 503.
func unavailable(code, reason string, after time.Duration) *apiError {
	if after <= 0 {
		after = 5 * time.Second
	}
	return &apiError{
		status: http.StatusServiceUnavailable, kind: kindServer, code: code, message: reason, retryAfter: after,
	}
}

// apiErrorOf returns err as clients read it.
func apiErrorOf(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*UnavailableError](err); ok {
		return unavailable("no_route", e.Reason, e.RetryAfter)
	}
	if e, ok := errors.AsType[*shard.StageError](err); ok {
		return stageError(e)
	}
	switch {
	case errors.Is(err, grammar.ErrAmbiguous):
		return invalid("grammar", "invalid_grammar", "%v", err)
	case errors.Is(err, sample.ErrNoToken):
		return invalid("logit_bias", "no_token", "%v", err)
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable("timeout", err.Error(), 0)
	}
	return &apiError{status: http.StatusInternalServerError, kind: kindServer, code: "internal_error", message: err.Error()}
}

// stageError says what a stage's failure means to a client.
func stageError(e *shard.StageError) *apiError {
	switch e.Code {
	case shard.TooLong:
		return invalid("messages", "context_length_exceeded", "%v", e)
	case shard.NoCapacity:
		return unavailable("no_capacity", e.Error(), 0)
	case shard.NotServing, shard.WrongModel, shard.Unreachable:
		return unavailable("stage_lost", e.Error(), 0)
	case shard.TimedOut:
		return unavailable("stage_timeout", e.Error(), 0)
	}
	return &apiError{status: http.StatusInternalServerError, kind: kindServer, code: "stage_failed", message: e.Error()}
}

// writeError answers with e.
func writeError(w http.ResponseWriter, e *apiError, d dialect) {
	if e.retryAfter > 0 {
		secs := int64((e.retryAfter + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(secs, 10))
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="shardnode"`)
	}
	writeJSON(w, e.status, d(e))
}

// writeJSON answers with v, which always can be encoded. A client that has
// gone meanwhile is no error: there is nobody left to tell.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("openai: encode an answer: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	// Not every writer knows deadlines; those of net/http do.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
