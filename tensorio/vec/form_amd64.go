package vec

import "golang.org/x/sys/cpu"

var hasAVX2 = false && cpu.X86.HasAVX2 && cpu.X86.HasFMA
