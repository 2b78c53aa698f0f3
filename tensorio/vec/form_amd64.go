package vec

import "golang.org/x/sys/cpu"

// hasAVX2 says that all three extensions of the form avx2 are there.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C
