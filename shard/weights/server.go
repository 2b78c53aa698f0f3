package weights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/shardnode/shardnode/shard"
)

// pieces are the pieces of a model that are here.
type pieces interface {
	// piece returns piece n, which the caller only reads.
	piece(n int) (data []byte, ok bool)
	// release says that piece n will not be read again soon.
	release(n int)
}

// A Server hands out pieces of models to whoever asks over a stream. The zero
// Server is usable and serves nothing.
type Server struct {
	pace pace

	mu     sync.Mutex // guards what follows
	models map[shard.ModelID]served
}

// served is a model with where its pieces are, best first.
type served struct {
	manifest *Manifest
	from     []pieces
}

// filePieces are the pieces of a whole file.
type filePieces struct {
	m *Manifest
	f *File
}

func (fp filePieces) piece(n int) ([]byte, bool) { return fp.f.bytesOf(fp.m.place(n)), true }

func (fp filePieces) release(n int) { fp.f.releasePiece(fp.m.place(n)) }

// SetPace bounds what is sent to all clients together; 0 is no bound. At less
// than 32 KiB a second clients take their turn for a peer that is silent.
func (s *Server) SetPace(bytesPerSec float64) { s.pace.set(bytesPerSec) }

// AddFile serves the model m, whose bytes are in f, which m was made from. f
// must stay open until the last Serve has returned, or longer than Remove.
func (s *Server) AddFile(m *Manifest, f *File) error {
	if !m.Describes(f) {
		return fmt.Errorf("manifest of model %.12s is not that of %s", m.id, f.path)
	}
	s.add(m, filePieces{m, f})
	return nil
}

// AddPartial serves what p holds, also what is fetched to it later. p must
// stay open until the last Serve has returned.
func (s *Server) AddPartial(p *Partial) { s.add(p.Manifest, p) }

func (s *Server) add(m *Manifest, from pieces) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.models == nil {
		s.models = make(map[shard.ModelID]served)
	}
	old := s.models[m.id]
	s.models[m.id] = served{manifest: m, from: append(old.from[:len(old.from):len(old.from)], from)}
}

// Remove stops serving a model. Answers that are under way still end.
func (s *Server) Remove(id shard.ModelID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.models, id)
}

// Serve answers the requests of one client, one after another, until the
// stream or ctx ends, and closes the stream. It takes no memory that the
// client can choose the size of. It returns nil when the client ended the
// stream between two requests.
func (s *Server) Serve(ctx context.Context, stream io.ReadWriteCloser) error {
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { _ = stream.Close() })()
	hello := make([]byte, len(greeting))
	if _, err := io.ReadFull(stream, hello); err != nil {
		return fmt.Errorf("read greeting: %w", err)
	}
	if string(hello) != greeting {
		return refuse(stream, fmt.Errorf("greeting %q, want %q: update the older member", hello, greeting))
	}
	buf := make([]byte, requestBytes)
	for {
		if _, err := io.ReadFull(stream, buf); err != nil {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, io.EOF):
				return nil
			}
			return fmt.Errorf("read request: %w", err)
		}
		req, err := parseRequest(buf)
		if err != nil {
			return refuse(stream, err)
		}
		if err := s.answer(&pacedWriter{ctx.Done(), stream, &s.pace}, req); err != nil {
			return err
		}
	}
}

// answer writes the answers to one request. An error ends the stream.
func (s *Server) answer(w io.Writer, req request) error {
	s.mu.Lock()
	model, ok := s.models[req.model]
	s.mu.Unlock()
	if !ok {
		// One answer also for several pieces: the client goes away.
		return writeAnswer(w, statusUnknown, []byte("model is not served here"))
	}
	if req.op == opManifest {
		return writeAnswer(w, statusOK, model.manifest.encoded)
	}
	if uint64(req.first)+uint64(req.count) > uint64(model.manifest.Pieces()) {
		return refuse(w, fmt.Errorf("pieces %d+%d of %d", req.first, req.count, model.manifest.Pieces()))
	}
	for n := int(req.first); n < int(req.first)+int(req.count); n++ {
		if err := model.send(w, n); err != nil {
			return fmt.Errorf("send piece %d: %w", n, err)
		}
	}
	return nil
}

// send writes piece n from the first place that has it.
func (m served) send(w io.Writer, n int) error {
	for _, from := range m.from {
		if data, ok := from.piece(n); ok {
			defer from.release(n)
			return writeAnswer(w, statusOK, data)
		}
	}
	return writeAnswer(w, statusLacking, []byte("piece is not here"))
}

// refuse tells the client what it did wrong and returns why.
func refuse(w io.Writer, why error) error {
	_ = writeAnswer(w, statusInvalid, []byte(why.Error())) // the stream ends anyway
	return fmt.Errorf("client broke the protocol: %w", why)
}
