//go:build !amd64

package par

// pause passes a moment.
//
//go:noinline
func pause(n uint32) {
	for range n * 8 { //nolint:revive // empty on purpose: it is the time that counts
	}
}
