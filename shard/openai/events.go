package openai

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// The media types of streams.
const (
	eventStream = "text/event-stream; charset=utf-8"
	jsonLines   = "application/x-ndjson"
)

// events writes server-sent events (WHATWG HTML, section 9.2), or lines of JSON, for the streams of Ollama's API.
type events struct {
	w     http.ResponseWriter
	media string
	rc    *http.ResponseController
	begun bool
	buf   bytes.Buffer
	enc   *json.Encoder
}

func newEvents(w http.ResponseWriter, media string) *events {
	s := &events{w: w, media: media, rc: http.NewResponseController(w)}
	s.enc = json.NewEncoder(&s.buf)
	s.enc.SetEscapeHTML(false)
	return s
}

// add puts one event into the buffer. v can always be encoded.
func (s *events) add(v any) {
	s.buf.WriteString("data: ")
	if err := s.enc.Encode(v); err != nil {
		panic("openai: encode an event: " + err.Error())
	}
	s.buf.WriteByte('\n') // Encode wrote the other
}

// named puts one event with a name into the buffer.
func (s *events) named(name string, v any) {
	s.buf.WriteString("event: " + name + "\n")
	s.add(v)
}

// done puts the event into the buffer that ends OpenAI's streams.
func (s *events) done() { s.buf.WriteString("data: [DONE]\n\n") }

// line puts a line of JSON into the buffer.
func (s *events) line(v any) {
	if err := s.enc.Encode(v); err != nil {
		panic("openai: encode a line: " + err.Error())
	}
}

// comment puts a line into the buffer that clients pass over.
func (s *events) comment(text string) {
	if s.media != eventStream {
		return // lines of JSON have no comments
	}
	s.buf.WriteString(": " + strings.NewReplacer("\n", " ", "\r", " ").Replace(text) + "\n\n")
}

// flush sends the buffer. The status line goes with the first.
func (s *events) flush() error {
	if s.buf.Len() == 0 {
		return nil
	}
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", s.media)
		s.w.Header().Set("X-Accel-Buffering", "no") // nginx would hold it back
		s.w.WriteHeader(http.StatusOK)
	}
	// Not every writer knows deadlines; those of net/http do.
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := s.w.Write(s.buf.Bytes())
	s.buf.Reset()
	if err != nil {
		return err
	}
	return s.rc.Flush()
}
