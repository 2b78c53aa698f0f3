package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// journalEvery is how often it is written down what a partial file holds.
const journalEvery = 2 * time.Second

// maxJournalBytes bounds a journal that is read.
const maxJournalBytes = 4 << 20

// A partial is a file that is being fetched, with a journal of the bytes that
// it holds. The journal may be behind the file, and after a crash of the
// machine ahead of it, which the hash of the whole file shows.
type partial struct {
	path, journal string
	layout        string // what the bytes are; a journal of another layout is void
	file          *os.File

	mu    sync.Mutex // guards what follows
	done  spans
	saved time.Time
}

// journalJSON is the form of a journal.
type journalJSON struct {
	Layout string     `json:"layout"`
	Done   [][2]int64 `json:"done"`
}

// openPartial opens or makes the partial file at path, of size bytes at its end.
func openPartial(path, journal, layout string, size int64) (*partial, error) {
	p := &partial{path: path, journal: journal, layout: layout}
	var err error
	p.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666) //nolint:gosec // the cache is shared as the umask says
	if err != nil {
		return nil, err
	}
	info, err := p.file.Stat()
	if err != nil {
		_ = p.file.Close() // the first error counts
		return nil, err
	}
	p.done = readJournal(journal, layout, min(size, info.Size()))
	return p, nil
}

// readJournal returns what a journal says is there of the first size bytes.
func readJournal(path, layout string, size int64) spans {
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxJournalBytes {
		return nil
	}
	b, err := os.ReadFile(path)
	var j journalJSON
	if err != nil || json.Unmarshal(b, &j) != nil || j.Layout != layout {
		return nil
	}
	var done spans
	for _, d := range j.Done {
		if d[0] < 0 || d[1] < d[0] {
			return nil
		}
		done = done.add(span{d[0], min(d[1], size)})
	}
	return done
}

// adopt takes what an older huggingface_hub left: it appended to one file.
func adopt(old string, p *partial, size int64) {
	info, err := os.Lstat(old)
	mine, err2 := p.file.Stat()
	if err != nil || err2 != nil || !info.Mode().IsRegular() || info.Size() > size || info.Size() <= mine.Size() {
		return
	}
	f, err := os.OpenFile(old, os.O_RDWR, 0)
	if err != nil || os.Rename(old, p.path) != nil {
		return
	}
	_ = p.file.Close() // it was shorter
	p.file, p.done = f, spans{{0, info.Size()}}
}

// write writes b at offset at.
func (p *partial) write(b []byte, at int64) error {
	if _, err := p.file.WriteAt(b, at); err != nil {
		return &diskError{err}
	}
	p.mu.Lock()
	p.done = p.done.add(span{at, at + int64(len(b))})
	late := time.Since(p.saved) >= journalEvery
	p.mu.Unlock()
	if late {
		return p.save()
	}
	return nil
}

func (p *partial) doneBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done.bytes()
}

func (p *partial) missing(x span) []span {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done.missing(x)
}

// save writes the journal.
func (p *partial) save() error {
	p.mu.Lock()
	j := journalJSON{Layout: p.layout}
	for _, d := range p.done {
		j.Done = append(j.Done, [2]int64{d.lo, d.hi})
	}
	p.saved = time.Now()
	p.mu.Unlock()
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if err := writeWhole(p.journal, b); err != nil {
		return &diskError{fmt.Errorf("note what was fetched: %w", err)}
	}
	return nil
}

// empty forgets all bytes.
func (p *partial) empty() error {
	p.mu.Lock()
	p.done = nil
	p.mu.Unlock()
	return errors.Join(p.save(), p.file.Truncate(0))
}

// finish gives the file its name. The partial is closed.
func (p *partial) finish(path string) error {
	if err := errors.Join(p.file.Sync(), p.file.Close()); err != nil {
		return &diskError{err}
	}
	if err := os.Rename(p.path, path); err != nil {
		return err
	}
	if err := os.Remove(p.journal); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// close keeps the file for the next time.
func (p *partial) close() error { return errors.Join(p.save(), p.file.Close()) }
