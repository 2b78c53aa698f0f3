package vec

import "golang.org/x/sys/cpu"

// machineForms returns the fast forms of this machine, best first. All three
// extensions of the form avx2 must be there.
func machineForms() []form {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C {
		return []form{avx2}
	}
	return nil
}
