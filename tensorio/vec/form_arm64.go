package vec

import "golang.org/x/sys/cpu"

// machineForms returns the fast forms of this machine, best first. Every arm64
// has NEON.
func machineForms() []form {
	if cpu.ARM64.HasASIMDDP {
		return []form{neondot, neon}
	}
	return []form{neon}
}
