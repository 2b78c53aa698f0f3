package node

import (
	"container/list"
	"encoding/binary"
	"sync"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/tensorio/wire"
)

// A sentBlocks keeps what stages sent of the blocks that later sessions may begin
// with, under the keys of their pages. So a session that need not compute its
// beginning has the log of it nevertheless. What was of no use for longest goes
// when there is too much. It is safe for concurrent use.
type sentBlocks struct {
	limit int64 // bytes

	mu    sync.Mutex // guards what follows
	bytes int64
	by    map[kvcache.Key]*list.Element
	used  list.List // of sentBlock, the latest in front
}

// A sentBlock is the hidden states of [kvcache.KeyTokens] positions, raw.
type sentBlock struct {
	key     kvcache.Key
	payload []byte
}

// touch reports whether there is a block of key, which is of use then.
func (b *sentBlocks) touch(key kvcache.Key) (payload []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.by[key]
	if e == nil {
		return nil, false
	}
	b.used.MoveToFront(e)
	return e.Value.(sentBlock).payload, true //nolint:forcetypeassert // put stores nothing else
}

// put keeps a block.
func (b *sentBlocks) put(key kvcache.Key, hidden []uint16) {
	payload := make([]byte, 0, 2*len(hidden))
	for _, v := range hidden {
		payload = binary.LittleEndian.AppendUint16(payload, v)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.by[key] != nil {
		return
	}
	if b.by == nil {
		b.by = map[kvcache.Key]*list.Element{}
	}
	b.by[key] = b.used.PushFront(sentBlock{key: key, payload: payload})
	b.bytes += int64(len(payload))
	for b.bytes > b.limit {
		old := b.used.Remove(b.used.Back()).(sentBlock) //nolint:forcetypeassert // as above
		delete(b.by, old.key)
		b.bytes -= int64(len(old.payload))
	}
}

// recall fills the log of a session that begins with ready positions with what
// was sent of them for an earlier one, if all of it is still there.
func (st *stage) recall(keys []kvcache.Key, ready shard.Pos) {
	n := int(ready) / kvcache.KeyTokens
	if st.log == nil || n == 0 || n > len(keys) {
		return
	}
	var payloads [][]byte
	for _, key := range keys[:n] {
		payload, ok := st.node.blocks.touch(key)
		if !ok {
			return
		}
		payloads = append(payloads, payload)
	}
	for i, payload := range payloads {
		// A log that has to drop its beginning says so when it grows.
		_ = st.log.put(shard.Pos(i*kvcache.KeyTokens), kvcache.KeyTokens, wire.Raw, payload)
	}
}

// remember keeps what was sent of the blocks that end with a step at pos.
func (st *stage) remember(pos shard.Pos, keys []kvcache.Key) error {
	for i, key := range keys {
		if _, ok := st.node.blocks.touch(key); ok {
			continue
		}
		end := (pos/kvcache.KeyTokens + shard.Pos(i) + 1) * kvcache.KeyTokens
		if end-kvcache.KeyTokens < st.log.from() {
			continue // it has lost that
		}
		var err error
		st.replayed, err = st.log.read(end-kvcache.KeyTokens, end, kvcache.KeyTokens, st.replayed)
		if err != nil {
			return err
		}
		if len(st.replayed) == kvcache.KeyTokens*st.held.Dim {
			st.node.blocks.put(key, st.replayed)
		}
	}
	return nil
}
