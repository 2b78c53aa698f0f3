package node

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/wire"
)

// A logBook is a log and what should be in it.
type logBook struct {
	t      *testing.T
	log    *sentLog
	packer wire.Packer
	rows   [][]uint16 // by position
	next   uint16
	told   []error
}

func newLogBook(t *testing.T, limit int64, dir string) *logBook {
	return &logBook{t: t, log: newSentLog(&logBudget{limit: limit, dir: dir}, dim, 0)}
}

// put writes count positions at pos.
func (b *logBook) put(pos, count int, codec wire.Codec) {
	b.t.Helper()
	b.rows = b.rows[:pos]
	var hidden []uint16
	for range count {
		row := make([]uint16, dim)
		for i := range row {
			b.next++
			row[i] = b.next % 256 // few values, so that planes are shorter
		}
		b.rows = append(b.rows, row)
		hidden = append(hidden, row...)
	}
	payload, codec, err := b.packer.Encode(nil, codec, hidden)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.log.put(shard.Pos(pos), count, codec, payload); err != nil {
		b.told = append(b.told, err)
	}
}

// check reads all that the log says to have, most positions at a time.
func (b *logBook) check(most int) {
	b.t.Helper()
	pos := int(b.log.from())
	for pos < len(b.rows) {
		got, err := b.log.read(shard.Pos(pos), shard.Pos(len(b.rows)), most, nil)
		if err != nil {
			b.t.Fatalf("position %d: %v", pos, err)
		}
		n := len(got) / dim
		if n == 0 || n > most || !slices.Equal(got, slices.Concat(b.rows[pos:pos+n]...)) {
			b.t.Fatalf("positions %d to %d are not what was sent", pos, pos+n)
		}
		pos += n
	}
	if got, err := b.log.read(shard.Pos(len(b.rows)), 1<<20, most, nil); err != nil || len(got) != 0 {
		b.t.Fatalf("after the end: %d values, %v", len(got), err)
	}
}

func TestALogGivesBackWhatWasSent(t *testing.T) {
	for name, limit := range map[string]int64{"memory": 1 << 20, "files": 512} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "logs")
			b := newLogBook(t, limit, dir)
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range 2000 {
				pos := len(b.rows)
				if pos > 0 && rng.IntN(20) == 0 {
					pos = rng.IntN(pos) // what was there is replaced
				}
				count, codec := 1, wire.Raw
				if rng.IntN(10) == 0 {
					count, codec = 1+rng.IntN(200), wire.Planes
				}
				b.put(pos, count, codec)
				if i%50 == 0 {
					b.check(1 + rng.IntN(100))
				}
			}
			if from := b.log.from(); from != 0 {
				t.Errorf("the log begins with position %d, want 0", from)
			}
			if n := b.log.budget.bytes.Load(); n > 1<<20 || name == "files" && n > 4<<10 {
				t.Errorf("%d bytes are in memory", n)
			}
			b.log.close()
			if n := b.log.budget.bytes.Load(); n != 0 {
				t.Errorf("%d bytes are left", n)
			}
			if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 0 {
				t.Errorf("files are left: %v, %v", files, err)
			}
		})
	}
}

func TestALogWithoutRoomBeginsLater(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"no folder": "", "folder that can't be": file} {
		b := newLogBook(t, 512, dir)
		for i := range 1000 {
			b.put(i, 1, wire.Raw)
			b.check(64)
		}
		if from := b.log.from(); from < 900 || from > 999 {
			t.Errorf("%s: the log begins with position %d, want the last few", name, from)
		}
		if said := len(b.told) == 1; len(b.told) > 1 || said != (dir != "") {
			t.Errorf("%s: the log is incomplete because of %v", name, b.told)
		}
		b.put(10, 1, wire.Raw) // before all that it has
		if from := b.log.from(); from != 10 {
			t.Errorf("%s: the log begins with position %d, want 10", name, from)
		}
		b.log.close()
		if n := b.log.budget.bytes.Load(); n != 0 {
			t.Errorf("%s: %d bytes are left", name, n)
		}
	}
}

func TestALogThatIsFollowedSaysWhenItGrows(t *testing.T) {
	b := newLogBook(t, 1<<20, "")
	grown := b.log.wait(0)
	select {
	case <-grown:
		t.Error("an empty log has grown")
	default:
	}
	b.put(0, 3, wire.Raw)
	<-grown
	<-b.log.wait(2)
	select {
	case <-b.log.wait(3):
		t.Error("a log of 3 positions has more")
	default:
	}
}

func BenchmarkLogPut(b *testing.B) {
	log := newSentLog(&logBudget{limit: 64 << 20}, 576, 0)
	payload := make([]byte, 2*576)
	b.ReportAllocs()
	pos := shard.Pos(0)
	for b.Loop() {
		_ = log.put(pos, 1, wire.Raw, payload)
		if pos++; pos == 1<<14 {
			pos = 0
		}
	}
}
