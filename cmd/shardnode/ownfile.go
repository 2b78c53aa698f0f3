package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/shardnode/shardnode/transport"
)

// openOwn opens this member's own copy of the model. One who joins with layers
// pinned, and names a model on the hub that is not here, fetches these layers
// only.
func (s *server) openOwn(ctx context.Context, inv transport.Invitation) (*modelFile, error) {
	ref := withQuant(s.flags.model, s.flags.quant.Quant)
	file, err := openModel(ref)
	missing, ok := errors.AsType[*notHereError](err)
	if !ok {
		return file, err
	}
	if inv.Uses > 0 && s.pinned.Len() > 0 {
		m := &meter{notify: s.notify}
		got, err := pullLayers(ctx, missing.ref, fmt.Sprintf("%d:%d", s.pinned.Start, s.pinned.End), s.notify, m)
		m.end()
		if err != nil {
			return nil, err
		}
		if file, err := openModel(got.Path); err == nil {
			return file, nil
		}
		s.notify("%s can't be opened by itself: fetching all of the model", got.Path)
	}
	return openOrPull(ctx, ref, s.notify)
}
