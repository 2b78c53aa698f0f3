package openai

import (
	"log"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// NewServer returns a server for h whose limits bear slow and idle clients.
// There is no limit on the whole of a request: a stream may take long. Bodies
// and writes have their own (package constants).
func NewServer(h http.Handler, logger zerolog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          log.New(serverLog{logger}, "", 0),
	}
}

// serverLog takes what net/http says about broken connections.
type serverLog struct{ zerolog.Logger }

// Write logs one line.
func (l serverLog) Write(line []byte) (int, error) {
	l.Debug().Bytes("err", trimNewline(line)).Msg("http server")
	return len(line), nil
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b
}
