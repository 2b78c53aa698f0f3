package weights

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// all is every tensor of the toy model.
var all = Part{Span: shard.Span{Start: 0, End: 3}, Embed: true, Head: true}

// layers is the layers [lo, hi) alone.
func layers(lo, hi shard.Layer) Part { return Part{Span: shard.Span{Start: lo, End: hi}} }

// handled returns a peer whose streams are handled by a function, which gets
// its end of the stream and closes it.
func handled(t *testing.T, name string, handle func(ctx context.Context, stream io.ReadWriteCloser)) Peer {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return Peer{Name: name, Open: func(context.Context) (io.ReadWriteCloser, error) {
		client, server := net.Pipe()
		wg.Go(func() {
			defer server.Close()
			defer context.AfterFunc(ctx, func() { server.Close() })()
			handle(ctx, server)
		})
		return client, nil
	}}
}

// honest returns a peer that serves f.
func honest(t *testing.T, name string, m *Manifest, f *File) Peer {
	t.Helper()
	var s Server
	if err := s.AddFile(m, f); err != nil {
		t.Fatal(err)
	}
	return serving(t, name, &s)
}

func serving(t *testing.T, name string, s *Server) Peer {
	return handled(t, name, func(ctx context.Context, stream io.ReadWriteCloser) { _ = s.Serve(ctx, stream) })
}

// partial returns an empty copy of m's model.
func partial(t *testing.T, m *Manifest) *Partial {
	t.Helper()
	p, err := OpenPartial(t.TempDir(), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestFetchBringsAModelFromSeveralPeers(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	peers := []Peer{honest(t, "a", m, f), honest(t, "b", m, f), honest(t, "b", m, f)}
	got, err := FetchManifest(t.Context(), m.ID(), peers, FetchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := partial(t, got)
	var last Progress
	report, err := Fetch(t.Context(), p, all, peers, FetchOptions{Progress: func(now Progress) {
		if now.DoneBytes <= last.DoneBytes || now.BytesPerSec <= 0 {
			t.Errorf("progress went from %+v to %+v", last, now)
		}
		last = now
	}})
	if err != nil || len(report.Dropped) != 0 || report.Bytes != f.TotalBytes() {
		t.Fatalf("report %+v, error %v, want %d bytes and nobody dropped", report, err, f.TotalBytes())
	}
	if last.DoneBytes != f.TotalBytes() || last.TotalBytes != f.TotalBytes() {
		t.Errorf("progress ended at %+v, want %d bytes", last, f.TotalBytes())
	}
	sameTensors(t, p, toy())
	if err := p.Verify(t.Context(), p, all, nil); err != nil {
		t.Error(err)
	}
	whole, err := Open(filepath.Join(p.Dir(), dataFile))
	if err != nil {
		t.Fatalf("a whole copy is no model file: %v", err)
	}
	defer whole.Close()
	sameTensors(t, whole, toy())
}

func TestFetchBringsNoMoreThanAsked(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	p := partial(t, m)
	part := layers(1, 2)
	report, err := Fetch(t.Context(), p, part, []Peer{honest(t, "a", m, f)}, FetchOptions{})
	if err != nil || report.Bytes != f.PartBytes(part) {
		t.Fatalf("%d bytes, error %v, want %d", report.Bytes, err, f.PartBytes(part))
	}
	for _, ti := range m.Tensors() {
		want := slices.Contains(m.Names(part), ti.Name)
		_, err := p.Tensor(ti.Name)
		missing, ok := errors.AsType[*MissingError](err)
		if p.Holds(ti.Name) != want || (err == nil) != want || !want && (!ok || missing.Tensor != ti.Name) {
			t.Errorf("tensor %s: held %v, error %v, want held %v", ti.Name, p.Holds(ti.Name), err, want)
		}
	}
	if names, bytes := p.Missing(all); len(names) != 6 || bytes != f.TotalBytes()-report.Bytes {
		t.Errorf("missing %v with %d bytes, want 6 tensors with %d", names, bytes, f.TotalBytes()-report.Bytes)
	}
	if _, err := p.Tensor("nonsense"); err == nil || p.Holds("nonsense") {
		t.Error("a tensor that no model has is held")
	}
}

func TestFetchGoesOnAfterARestart(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	dir := t.TempDir()
	if _, err := LoadPartial(dir, m.ID()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want %v", err, os.ErrNotExist)
	}
	p, err := OpenPartial(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	peers := []Peer{honest(t, "a", m, f)}
	first, err := Fetch(t.Context(), p, layers(0, 2), peers, FetchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	if p, err = LoadPartial(dir, m.ID()); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	sameTensors(t, p, toy()[2:6])
	rest, err := Fetch(t.Context(), p, all, peers, FetchOptions{})
	if err != nil || first.Bytes+rest.Bytes != f.TotalBytes() {
		t.Errorf("%d and then %d bytes, error %v, want %d together", first.Bytes, rest.Bytes, err, f.TotalBytes())
	}
	sameTensors(t, p, toy())
}

func TestFetchOfASplitModel(t *testing.T) {
	f, err := Open(split(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := ParseManifest(manifestOf(t, f).Encoded())
	if err != nil {
		t.Fatal(err)
	}
	p := partial(t, m)
	if _, err := Fetch(t.Context(), p, all, []Peer{honest(t, "a", m, f)}, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	sameTensors(t, p, toy())
}

func TestPartialPeersServeWhatTheyHave(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	a := honest(t, "a", m, f)
	half := partial(t, m)
	if _, err := Fetch(t.Context(), half, layers(0, 1), []Peer{a}, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	var s Server
	s.AddPartial(half)
	b := serving(t, "b", &s)
	p := partial(t, m)
	report, err := Fetch(t.Context(), p, layers(0, 2), []Peer{b}, FetchOptions{})
	if err == nil || !strings.Contains(err.Error(), `"blk.1.attn_norm.weight"`) || len(report.Dropped) != 0 {
		t.Errorf("error %v, dropped %v, want the tensor that nobody holds and nobody dropped", err, report.Dropped)
	}
	if !p.Holds("blk.0.attn_q.weight") {
		t.Error("what the peer holds was not fetched")
	}
	if report, err := Fetch(t.Context(), p, layers(0, 2), []Peer{b, a}, FetchOptions{}); err != nil || len(report.Dropped) != 0 {
		t.Errorf("with a whole peer too: error %v, dropped %v", err, report.Dropped)
	}
	s.Remove(m.ID())
	_, err = Fetch(t.Context(), p, all, []Peer{b}, FetchOptions{})
	if err == nil || !strings.Contains(err.Error(), "not served here") {
		t.Errorf("error %v, want that the model is not served", err)
	}
}

// greeted reads the greeting and the first request.
func greeted(stream io.Reader) (request, bool) {
	b := make([]byte, len(greeting)+requestBytes)
	if _, err := io.ReadFull(stream, b); err != nil {
		return request{}, false
	}
	r, err := parseRequest(b[len(greeting):])
	return r, err == nil
}

// hostile are peers by what they do after the first request.
var hostile = map[string]struct {
	do   func(ctx context.Context, stream io.ReadWriter, m *Manifest, r request)
	want string
}{
	"lies": {func(_ context.Context, s io.ReadWriter, m *Manifest, r request) {
		_ = writeAnswer(s, statusOK, make([]byte, m.place(int(r.first)).bytes()))
	}, "are not those of model"},
	"sends too little": {func(_ context.Context, s io.ReadWriter, _ *Manifest, _ request) {
		_ = writeAnswer(s, statusOK, []byte("x"))
	}, "are not those of model"},
	"sends too much": {func(_ context.Context, s io.ReadWriter, _ *Manifest, _ request) {
		_, _ = s.Write([]byte{0, 255, 255, 255, 255})
	}, "it sent 4294967295 bytes"},
	"talks too much": {func(_ context.Context, s io.ReadWriter, _ *Manifest, _ request) {
		_, _ = s.Write([]byte{2, 0, 0, 1, 0})
	}, "it sent 65536 bytes, at most 1024"},
	"hangs up": {func(context.Context, io.ReadWriter, *Manifest, request) {}, "it ended the stream"},
	"hangs up in a piece": {func(_ context.Context, s io.ReadWriter, m *Manifest, r request) {
		head := binary.LittleEndian.AppendUint32([]byte{0}, uint32(m.place(int(r.first)).bytes()))
		_, _ = s.Write(append(head, 1, 2, 3))
	}, "it ended the stream"},
	"refuses": {func(_ context.Context, s io.ReadWriter, _ *Manifest, _ request) {
		_ = writeAnswer(s, statusInvalid, []byte("go away\x1b[2J"))
	}, `it says "go away\x1b[2J"`},
	"is silent": {func(ctx context.Context, _ io.ReadWriter, _ *Manifest, _ request) { <-ctx.Done() }, "it sent nothing for 10s"},
}

func TestHostilePeersAreDroppedAndNamed(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := make(chan struct{})
				bad := handled(t, "bad", func(ctx context.Context, s io.ReadWriteCloser) {
					if r, ok := greeted(s); ok {
						close(asked)
						c.do(ctx, s, m, r)
					}
				})
				good := honest(t, "good", m, f)
				open := good.Open
				good.Open = func(ctx context.Context) (io.ReadWriteCloser, error) {
					<-asked // so that the bad one has its share
					return open(ctx)
				}
				dir := t.TempDir()
				p, err := OpenPartial(dir, m)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				report, err := Fetch(t.Context(), p, layers(0, 3), []Peer{bad, good}, FetchOptions{})
				if err != nil {
					t.Fatal(err)
				}
				// The good one does the share of the silent one before its time is up.
				if name != "is silent" && (len(report.Dropped) != 1 || report.Dropped[0].Peer != "bad" || !strings.Contains(report.Dropped[0].Error(), c.want)) {
					t.Errorf("dropped %v, want bad with %q", report.Dropped, c.want)
				}
				sameTensors(t, p, toy()[1:8])
			})
		})
	}
}

func TestAloneHostilePeersAreAnErrorThatNamesThem(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := handled(t, "bad", func(ctx context.Context, s io.ReadWriteCloser) {
					if r, ok := greeted(s); ok {
						c.do(ctx, s, m, r)
					}
				})
				p, err := OpenPartial(t.TempDir(), m)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				_, err = Fetch(t.Context(), p, all, []Peer{bad}, FetchOptions{})
				if err == nil || !strings.Contains(err.Error(), "peer bad: ") || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want bad with %q", err, c.want)
				}
				if _, missing := p.Missing(all); missing != m.TotalBytes() {
					t.Errorf("%d bytes are missing, want all %d", missing, m.TotalBytes())
				}
			})
		})
	}
}

func TestSlowPeersDoNotHoldUpTheRest(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{})
		slow := handled(t, "slow", func(ctx context.Context, s io.ReadWriteCloser) {
			r, _ := greeted(s)
			close(asked)
			head := binary.LittleEndian.AppendUint32([]byte{0}, uint32(m.place(int(r.first)).bytes()))
			for _, err := s.Write(head); err == nil && ctx.Err() == nil; _, err = s.Write([]byte{0}) {
				time.Sleep(5 * time.Second) // a byte now and then, for days
			}
		})
		good := honest(t, "good", m, f)
		open := good.Open
		good.Open = func(ctx context.Context) (io.ReadWriteCloser, error) {
			<-asked
			return open(ctx)
		}
		p, err := OpenPartial(t.TempDir(), m)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		report, err := Fetch(t.Context(), p, all, []Peer{slow, good}, FetchOptions{})
		if err != nil || report.Took > 10*time.Second {
			t.Errorf("took %v, error %v, want at most 10 s", report.Took, err)
		}
		sameTensors(t, p, toy())
	})
}

func TestFetchEndsWithItsContext(t *testing.T) {
	m := manifestOf(t, openToy(t))
	synctest.Test(t, func(t *testing.T) {
		silent := handled(t, "silent", func(ctx context.Context, s io.ReadWriteCloser) { <-ctx.Done() })
		p, err := OpenPartial(t.TempDir(), m)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		report, err := Fetch(ctx, p, all, []Peer{silent, silent}, FetchOptions{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second || len(report.Dropped) != 0 {
			t.Errorf("error %v after %v, dropped %v, want %v after 1 s", err, time.Since(start), report.Dropped, context.DeadlineExceeded)
		}
	})
}

func TestPeersThatCannotBeReachedAreNamed(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	gone := Peer{Name: "gone", Open: func(context.Context) (io.ReadWriteCloser, error) { return nil, errors.New("no route") }}
	p := partial(t, m)
	_, err := Fetch(t.Context(), p, all, []Peer{gone}, FetchOptions{})
	if err == nil || !strings.Contains(err.Error(), "peer gone: open stream: no route") {
		t.Errorf("error %v, want the peer that is gone", err)
	}
	if _, err := Fetch(t.Context(), p, all, nil, FetchOptions{}); err == nil {
		t.Error("no peers give no error")
	}
	if _, err := FetchManifest(t.Context(), m.ID(), []Peer{gone}, FetchOptions{}); err == nil || !strings.Contains(err.Error(), "peer gone") {
		t.Errorf("manifest: error %v, want the peer that is gone", err)
	}
	if n, err := FetchManifest(t.Context(), m.ID(), []Peer{gone, honest(t, "a", m, f)}, FetchOptions{}); err != nil || n.ID() != m.ID() {
		t.Errorf("manifest from the second peer: %v", err)
	}
}

func TestAnotherManifestIsRefused(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	liar := handled(t, "liar", func(_ context.Context, s io.ReadWriteCloser) {
		if _, ok := greeted(s); ok {
			_ = writeAnswer(s, statusOK, m.Encoded())
		}
	})
	_, err := FetchManifest(t.Context(), shard.ModelID{1}, []Peer{liar, honest(t, "b", m, f)}, FetchOptions{})
	if err == nil || !strings.Contains(err.Error(), "it sent the manifest of model") || !strings.Contains(err.Error(), "not served here") {
		t.Errorf("error %v, want what each peer did", err)
	}
}
