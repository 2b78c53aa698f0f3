package vec

import "golang.org/x/sys/cpu"

// machineForms returns the fast forms of this machine, best first. All of them
// have the extensions of the form avx2.
func machineForms() []form {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA || !x.HasF16C {
		return nil
	}
	fs := []form{avx2}
	if x.HasAVXVNNI {
		fs = append([]form{avxvnni}, fs...)
	}
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI {
		fs = append([]form{avx512}, fs...)
	}
	return fs
}
