//go:build !amd64 && !arm64

package quant

// machineForms returns the fast forms of this machine, best first.
func machineForms() []choice { return nil }
