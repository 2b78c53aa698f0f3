//go:build !amd64 && !arm64

package vec

// machineForms returns the fast forms of this machine, best first.
func machineForms() []form { return nil }
