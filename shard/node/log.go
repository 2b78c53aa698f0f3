package node

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/wire"
)

// Sizes of the pieces of memory that a log is made of: they grow with it, and
// are parts of a budget that is small.
const (
	minSlabBytes = 4 << 10
	maxSlabBytes = 64 << 10
)

// A logBudget is what the logs of a node share.
type logBudget struct {
	limit int64        // bytes in memory; more goes to files
	dir   string       // of these files; "": the oldest bytes are dropped instead
	bytes atomic.Int64 // in memory now
}

// A sentLog keeps what a stage sent to the next one, as it was encoded, so that
// another stage can take that one's place. Positions are without gaps. Above the
// node's budget its oldest bytes go to a file; where there is none, or no room,
// they are dropped, and the log begins later. It is safe for concurrent use: the
// worker appends, and a filler reads.
type sentLog struct {
	budget *logBudget
	dim    int

	mu     sync.Mutex // guards what follows; held while a file is read or written
	frames []sentFrame
	end    shard.Pos     // one past the last position
	size   int64         // bytes of all frames since the beginning, dropped ones too
	slabs  []slab        // the last bytes of these, oldest first
	file   *os.File      // the bytes before; nil if there are none
	failed error         // why there is no file any more
	grown  chan struct{} // closed when positions come; nil while nobody waits
	packer wire.Packer
	buf    []byte   // of a frame that was read from the file
	row    []uint16 // of a frame that was decoded
}

// A sentFrame is one frame of a log.
type sentFrame struct {
	at    int64 // of its bytes among all
	bytes int32
	rows  int32 // that are encoded
	count int32 // of these, how many are still valid
	pos   shard.Pos
	codec wire.Codec
}

func (f *sentFrame) end() shard.Pos { return f.pos + shard.Pos(f.count) }

// A slab is a piece of a log in memory.
type slab struct {
	at  int64
	buf []byte
}

// newSentLog returns an empty log of a stage that holds so many positions.
func newSentLog(budget *logBudget, dim int, held shard.Pos) *sentLog {
	return &sentLog{budget: budget, dim: dim, end: held}
}

// from returns the first position that the log has.
func (l *sentLog) from() shard.Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fromLocked()
}

func (l *sentLog) fromLocked() shard.Pos {
	if len(l.frames) == 0 {
		return l.end
	}
	return l.frames[0].pos
}

// wait returns a channel that is closed when the log has more than the
// positions before pos.
func (l *sentLog) wait(pos shard.Pos) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grown == nil {
		l.grown = make(chan struct{})
	}
	out := l.grown
	if l.end > pos {
		close(l.grown)
		l.grown = nil
	}
	return out
}

// put adds a frame, in place of all that was at its position and after. It
// returns why there can be no file, once; then the oldest bytes are dropped.
func (l *sentLog) put(pos shard.Pos, count int, codec wire.Codec, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.failed
	l.cut(pos)
	if len(l.frames) == 0 || l.end != pos {
		l.frames = l.frames[:0]
	}
	l.frames = append(l.frames, sentFrame{
		at: l.size, bytes: int32(len(payload)), rows: int32(count), count: int32(count), pos: pos, codec: codec,
	})
	l.end = pos + shard.Pos(count)
	l.write(payload)
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	if before != nil || errors.Is(l.failed, errNoLogDir) {
		return nil
	}
	return l.failed
}

// cut forgets the positions from pos on. l.mu is held.
func (l *sentLog) cut(pos shard.Pos) {
	n := sort.Search(len(l.frames), func(i int) bool { return l.frames[i].pos >= pos })
	if n < len(l.frames) {
		l.size = l.frames[n].at
		l.frames = l.frames[:n]
	}
	if n > 0 {
		f := &l.frames[n-1]
		f.count = min(f.count, int32(pos-f.pos))
	}
	l.end = min(l.end, pos)
	for i := len(l.slabs) - 1; i >= 0; i-- {
		s := &l.slabs[i]
		if s.at < l.size {
			s.buf = s.buf[:min(int64(len(s.buf)), l.size-s.at)]
			break
		}
		l.budget.bytes.Add(-int64(cap(s.buf)))
		l.slabs = l.slabs[:i]
	}
}

// write adds the bytes of a frame. l.mu is held.
func (l *sentLog) write(payload []byte) {
	n := len(l.slabs)
	if n == 0 || cap(l.slabs[n-1].buf)-len(l.slabs[n-1].buf) < len(payload) {
		size := minSlabBytes
		if n > 0 {
			size = min(2*cap(l.slabs[n-1].buf), maxSlabBytes)
		}
		size = max(min(size, int(min(l.budget.limit/8, maxSlabBytes))), len(payload))
		l.slabs = append(l.slabs, slab{at: l.size, buf: make([]byte, 0, size)})
		l.budget.bytes.Add(int64(size))
		for len(l.slabs) > 1 && l.budget.bytes.Load() > l.budget.limit {
			l.spill()
		}
		n = len(l.slabs)
	}
	s := &l.slabs[n-1]
	s.buf = append(s.buf, payload...)
	l.size += int64(len(payload))
}

// spill moves the oldest slab out of memory. l.mu is held.
func (l *sentLog) spill() {
	s := l.slabs[0]
	l.slabs = l.slabs[:copy(l.slabs, l.slabs[1:])]
	l.budget.bytes.Add(-int64(cap(s.buf)))
	if l.failed == nil && l.file == nil {
		l.file, l.failed = l.budget.create()
	}
	if l.failed == nil {
		if _, l.failed = l.file.WriteAt(s.buf, s.at); l.failed == nil {
			return
		}
	}
	l.closeFile()
	// What is left begins with the next slab.
	n := sort.Search(len(l.frames), func(i int) bool { return l.frames[i].at >= l.slabs[0].at })
	l.frames = l.frames[:copy(l.frames, l.frames[n:])]
}

var errNoLogDir = errors.New("there is no folder for logs")

// create makes a file for the bytes of one log. It has no name where the system
// allows that, so that it is gone with the process.
func (b *logBudget) create() (*os.File, error) {
	if b.dir == "" {
		return nil, errNoLogDir
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("log of a session: %w", err)
	}
	f, err := os.CreateTemp(b.dir, "session-*.log")
	if err != nil {
		return nil, fmt.Errorf("log of a session: %w", err)
	}
	_ = os.Remove(f.Name()) // where that can't be done, closeFile does it
	return f, nil
}

func (l *sentLog) closeFile() {
	if l.file == nil {
		return
	}
	_ = l.file.Close()
	_ = os.Remove(l.file.Name()) // mostly it has no name any more
	l.file = nil
}

// read returns the hidden states of at most most positions from pos on, before
// limit, in buf if they fit. There are none where the log ends.
func (l *sentLog) read(pos, limit shard.Pos, most int, buf []uint16) ([]uint16, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := buf[:0]
	limit = min(limit, l.end, pos+shard.Pos(most))
	n := sort.Search(len(l.frames), func(i int) bool { return l.frames[i].end() > pos })
	for ; n < len(l.frames) && pos < limit; n++ {
		f := &l.frames[n]
		if f.pos > pos {
			return nil, fmt.Errorf("the log of what was sent begins with position %d, position %d is wanted", f.pos, pos)
		}
		rows, err := l.decode(f)
		if err != nil {
			return nil, err
		}
		upto := min(f.end(), limit)
		out = append(out, rows[int(pos-f.pos)*l.dim:int(upto-f.pos)*l.dim]...)
		pos = upto
	}
	if len(out) == 0 && pos < limit {
		return nil, fmt.Errorf("the log of what was sent begins with position %d, position %d is wanted", l.end, pos)
	}
	return out, nil
}

// decode returns the hidden states of a frame, valid until the next call. l.mu
// is held.
func (l *sentLog) decode(f *sentFrame) ([]uint16, error) {
	payload, err := l.bytesOf(f)
	if err != nil {
		return nil, err
	}
	l.row = slices.Grow(l.row[:0], int(f.rows)*l.dim)[:int(f.rows)*l.dim]
	if err := l.packer.Decode(l.row, f.codec, payload); err != nil {
		return nil, fmt.Errorf("log of what was sent: %w", err)
	}
	return l.row, nil
}

// bytesOf returns the bytes of a frame. l.mu is held.
func (l *sentLog) bytesOf(f *sentFrame) ([]byte, error) {
	// A frame lies in one slab, which went to the file as a whole.
	n := sort.Search(len(l.slabs), func(i int) bool { return l.slabs[i].at > f.at }) - 1
	if n >= 0 {
		at := f.at - l.slabs[n].at
		return l.slabs[n].buf[at : at+int64(f.bytes)], nil
	}
	if l.file == nil {
		return nil, errors.New("log of what was sent: its beginning is lost")
	}
	if cap(l.buf) < int(f.bytes) {
		l.buf = make([]byte, f.bytes)
	}
	l.buf = l.buf[:f.bytes]
	if _, err := l.file.ReadAt(l.buf, f.at); err != nil {
		return nil, fmt.Errorf("log of what was sent: %w", err)
	}
	return l.buf, nil
}

// close frees all. The log is not used any more.
func (l *sentLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.slabs {
		l.budget.bytes.Add(-int64(cap(s.buf)))
	}
	l.slabs, l.frames = nil, nil
	l.closeFile()
}
