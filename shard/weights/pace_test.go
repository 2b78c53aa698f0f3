package weights

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheServersPaceHoldsForAllClientsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		p.set(1 << 20)
		began := time.Now()
		done := make(chan int, 4)
		for range cap(done) {
			go func() {
				n, err := (&pacedWriter{t.Context().Done(), io.Discard, &p}).Write(make([]byte, 1<<20))
				if err != nil {
					t.Error(err)
				}
				done <- n
			}()
		}
		for range cap(done) {
			if n := <-done; n != 1<<20 {
				t.Errorf("%d bytes are written, want all", n)
			}
		}
		if took := time.Since(began); took < 3900*time.Millisecond || took > 4100*time.Millisecond {
			t.Errorf("4 MiB at 1 MiB/s took %v, want 4 s", took)
		}
	})
}

func TestAPacedWriteEndsWithItsServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		p.set(1 << 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n, err := (&pacedWriter{ctx.Done(), io.Discard, &p}).Write(make([]byte, 1<<20)); err == nil || n > 1<<16 {
			t.Errorf("wrote %d bytes, %v, want a second's worth and an error", n, err)
		}
	})
}

func TestAModelArrivesAtTheServersPace(t *testing.T) {
	f := openToy(t)
	m := manifestOf(t, f)
	var srv Server
	if err := srv.AddFile(m, f); err != nil {
		t.Fatal(err)
	}
	srv.SetPace(1 << 30) // in parts, and soon over
	p := partial(t, m)
	if _, err := Fetch(t.Context(), p, all, []Peer{serving(t, "slow", &srv)}, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	sameTensors(t, p, toy())
}

func TestWhatNobodyWasAskedForComesBeforeWhatIsLate(t *testing.T) {
	f := openToy(t)
	p := partial(t, manifestOf(t, f))
	w := newFetch(p, p.missing(all), time.Hour)
	lo, hi := w.take(t.Context(), nil)
	late := w.state[lo].since.Add(2 * hedgeAfter)
	if next, _ := w.next(nil, late); next != hi {
		t.Errorf("while piece %d is late, piece %d is next, want %d", lo, next, hi)
	}
	for i := hi; i < len(w.state); i++ {
		w.state[i].done = true
	}
	if next, _ := w.next(nil, late); next != lo {
		t.Errorf("when all others are here, piece %d is next, want the late one, %d", next, lo)
	}
	if next, wait := w.next(nil, w.state[lo].since); next >= 0 || !wait {
		t.Errorf("while it is not late, piece %d is next, wait %v, want to wait", next, wait)
	}
}
