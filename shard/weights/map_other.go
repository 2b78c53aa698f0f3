//go:build !unix && !windows

package weights

import "os"

// mapFile reads the file, for systems that cannot map it.
func mapFile(file *os.File, size int64) (data []byte, free func() error, err error) {
	return readAll(file, size)
}
