//go:build !unix && !windows

package weights

import (
	"errors"
	"os"
)

// mapMemory says that this system cannot map files.
func mapMemory(*os.File, int64) (data []byte, free func() error, err error) {
	return nil, nil, errors.ErrUnsupported
}

// leaveMemory and soonMemory have nothing to do: nothing is mapped.
func leaveMemory([]byte) {}

func soonMemory([]byte) {}
