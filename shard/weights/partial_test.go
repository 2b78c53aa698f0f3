package weights

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clone copies the folder of a copy as a crash would leave it.
func clone(t *testing.T, p *Partial) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, filepath.Base(p.Dir())), os.DirFS(p.Dir())); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestNothingIsMarkedBeforeItIsOnTheDisk(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	p := partial(t, m)
	for n := range 3 {
		if err := p.put(n, f.bytesOf(m.place(n))); err != nil {
			t.Fatal(err)
		}
	}
	crashed, err := LoadPartial(clone(t, p), m.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer crashed.Close()
	if crashed.Holds(EmbedName) || !p.Holds(EmbedName) {
		t.Errorf("before a flush the disk says held: %v, the process: %v, want false and true", crashed.Holds(EmbedName), p.Holds(EmbedName))
	}
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
	flushed, err := LoadPartial(clone(t, p), m.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer flushed.Close()
	sameTensors(t, flushed, toy()[:1])
}

func TestACopyThatLostItsDataStartsAnew(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	for name, harm := range map[string]func(dir string) error{
		"no data":        func(dir string) error { return os.Remove(filepath.Join(dir, dataFile)) },
		"short data":     func(dir string) error { return os.Truncate(filepath.Join(dir, dataFile), 100) },
		"no bitmap":      func(dir string) error { return os.Remove(filepath.Join(dir, haveFile)) },
		"short bitmap":   func(dir string) error { return os.Truncate(filepath.Join(dir, haveFile), 38) },
		"another bitmap": func(dir string) error { return os.WriteFile(filepath.Join(dir, haveFile), []byte("SNWH\x02"), 0o600) },
	} {
		p := partial(t, m)
		if _, err := Fetch(t.Context(), p, all, []Peer{honest(t, "a", m, f)}, FetchOptions{}); err != nil {
			t.Fatal(err)
		}
		dir := clone(t, p)
		if err := harm(filepath.Join(dir, m.ID().String())); err != nil {
			t.Fatal(err)
		}
		again, err := LoadPartial(dir, m.ID())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, missing := again.Missing(all); missing != m.TotalBytes() {
			t.Errorf("%s: %d bytes are missing, want all %d", name, missing, m.TotalBytes())
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
	p := partial(t, m)
	dir := clone(t, p)
	if err := os.WriteFile(filepath.Join(dir, m.ID().String(), manifestFile), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPartial(dir, m.ID()); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("error %v, want what to do about a damaged manifest", err)
	}
}

func TestAFullDiskIsSaidAndKeepsWhatIsThere(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	defer full.Close()
	f := openToy(t)
	m := manifestOf(t, f)
	p := partial(t, m)
	peers := []Peer{honest(t, "a", m, f), honest(t, "b", m, f)}
	if _, err := Fetch(t.Context(), p, layers(0, 1), peers, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	real := p.data
	p.data = full
	report, err := Fetch(t.Context(), p, all, peers, FetchOptions{})
	p.data = real
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "disk is full") || len(report.Dropped) != 0 {
		t.Errorf("error %v, dropped %v, want a full disk and nobody dropped", err, report.Dropped)
	}
	if _, missing := p.Missing(layers(0, 1)); missing != 0 {
		t.Errorf("%d bytes of what was there are missing", missing)
	}
	if _, err := Fetch(t.Context(), p, all, peers, FetchOptions{}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestACopyWithoutMappingReads(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	p := partial(t, m)
	mapped := p.mapped
	p.mapped = nil
	defer func() { p.mapped = mapped }()
	if _, err := Fetch(t.Context(), p, all, []Peer{honest(t, "a", m, f)}, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	sameTensors(t, p, toy())
}

func TestHostileClientsGetNothing(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	var s Server
	if err := s.AddFile(m, f); err != nil {
		t.Fatal(err)
	}
	ask := func(op uint8, first, count uint32) []byte {
		return request{op: op, model: m.ID(), first: first, count: count}.append([]byte(greeting))
	}
	for name, c := range map[string]struct {
		send []byte
		want string // in the error of Serve
	}{
		"nothing":         {nil, "read greeting"},
		"http":            {[]byte("GET / HTTP/1.1\r\n"), "update the older member"},
		"another version": {[]byte("SNWT\x02"), "update the older member"},
		"half a request":  {ask(opPieces, 0, 1)[:20], "read request"},
		"unknown op":      {ask(9, 0, 1), "operation 9"},
		"no pieces":       {ask(opPieces, 0, 0), "0 pieces"},
		"many pieces":     {ask(opPieces, 0, 1<<31), "want 1 to 256"},
		"behind the end":  {ask(opPieces, uint32(m.Pieces()), 1), "pieces 11+1 of 11"},
		"overflow":        {ask(opPieces, 1<<32-1, 2), "pieces 4294967295+2"},
		"manifest pieces": {ask(opManifest, 1, 0), "has no pieces"},
	} {
		client, server := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- s.Serve(t.Context(), server) }()
		go func() {
			_, _ = client.Write(c.send) // the server may hang up in between
			if len(c.send) < len(ask(0, 0, 0)) && !bytes.HasPrefix(c.send, []byte("GET")) && len(c.send) != len(greeting) {
				client.Close()
			}
		}()
		_, _ = io.Copy(io.Discard, client)
		if err := <-done; err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

func TestServeEndsWithItsContextAndItsClient(t *testing.T) {
	var s Server
	ctx, cancel := context.WithCancel(t.Context())
	client, server := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, server) }()
	if _, err := client.Write([]byte(greeting)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	client, server = net.Pipe()
	go func() { done <- s.Serve(t.Context(), server) }()
	if _, err := client.Write([]byte(greeting)); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := <-done; err != nil {
		t.Errorf("a client that went away: error %v", err)
	}
}

func TestAFileIsServedWithItsOwnManifestOnly(t *testing.T) {
	f := openToy(t)
	other, err := Open(write(t, filepath.Join(t.TempDir(), "x.gguf"), toy()[:4], nil))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var s Server
	if err := s.AddFile(manifestOf(t, f), other); err == nil {
		t.Error("another file's manifest is accepted")
	}
}

func FuzzServe(f *testing.F) {
	file := openToy(f)
	m := manifestOf(f, file)
	var s Server
	if err := s.AddFile(m, file); err != nil {
		f.Fatal(err)
	}
	f.Add(request{op: opManifest, model: m.ID()}.append([]byte(greeting)))
	f.Add(request{op: opPieces, model: m.ID(), first: 4, count: 2}.append([]byte(greeting)))
	f.Fuzz(func(_ *testing.T, b []byte) { _ = s.Serve(context.Background(), &script{Reader: bytes.NewReader(b)}) })
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte{0, 3, 0, 0, 0, 1, 2, 3})
	f.Add([]byte{2, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readAnswer(bytes.NewReader(b), make([]byte, 4), 1<<20)
		if err == nil && len(got) > len(b) {
			t.Errorf("%d bytes from %d", len(got), len(b))
		}
	})
}

// script is a stream that has its input at once and drops its output.
type script struct{ *bytes.Reader }

func (*script) Write(b []byte) (int, error) { return len(b), nil }
func (*script) Close() error                { return nil }

// BenchmarkFetch fetches the toy model over a pipe: hashing, writing, syncing.
func BenchmarkFetch(b *testing.B) {
	file := openToy(b)
	m := manifestOf(b, file)
	var s Server
	if err := s.AddFile(m, file); err != nil {
		b.Fatal(err)
	}
	peer := Peer{Name: "a", Open: func(context.Context) (io.ReadWriteCloser, error) {
		client, server := net.Pipe()
		go func() { _ = s.Serve(context.Background(), server) }() // ends with the client
		return client, nil
	}}
	b.SetBytes(file.TotalBytes())
	for b.Loop() {
		p, err := OpenPartial(b.TempDir(), m)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Fetch(b.Context(), p, all, []Peer{peer, peer}, FetchOptions{}); err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}

func TestRandomBytesEndAServerQuickly(t *testing.T) {
	rng := rand.NewChaCha8([32]byte{3})
	var s Server
	start := time.Now()
	for range 200 {
		b := make([]byte, 512)
		rng.Read(b)
		if err := s.Serve(t.Context(), &script{bytes.NewReader(b)}); err == nil {
			t.Error("random bytes are a good client")
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("200 hostile clients took %v", took)
	}
}
