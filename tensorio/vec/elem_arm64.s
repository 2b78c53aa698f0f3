#include "textflag.h"
#include "neon_arm64.h"

// Kernels that treat each element alike, and sums. n is a multiple of 4, or of
// 16 for sums, and above 0.

// Constants of expRef in V16 to V28, and 127 as an integer in V29.
DATA expConst<>+0(SB)/4, $0xc2d00000 // -104
DATA expConst<>+4(SB)/4, $0x42b20000 // 89
DATA expConst<>+8(SB)/4, $0x3fb8aa3b // log2E
DATA expConst<>+12(SB)/4, $0x4b400000 // magicF
DATA expConst<>+16(SB)/4, $0x3f318000 // ln2Hi
DATA expConst<>+20(SB)/4, $0xb95e8083 // ln2Lo
DATA expConst<>+24(SB)/4, $0x39506967 // expP0
DATA expConst<>+28(SB)/4, $0x3ab743ce // expP1
DATA expConst<>+32(SB)/4, $0x3c088908 // expP2
DATA expConst<>+36(SB)/4, $0x3d2aa9c1 // expP3
DATA expConst<>+40(SB)/4, $0x3e2aaaaa // expP4
DATA expConst<>+44(SB)/4, $0x3f000000 // expP5
DATA expConst<>+48(SB)/4, $0x3f800000 // 1
DATA expConst<>+52(SB)/4, $127
GLOBL expConst<>(SB), RODATA|NOPTR, $56

#define CONST(n) \
	VLD1R.P 4(R9), [n.S4]
#define EXPCONST \
	MOVD $expConst<>(SB), R9 \
	CONST(V16)               \
	CONST(V17)               \
	CONST(V18)               \
	CONST(V19)               \
	CONST(V20)               \
	CONST(V21)               \
	CONST(V22)               \
	CONST(V23)               \
	CONST(V24)               \
	CONST(V25)               \
	CONST(V26)               \
	CONST(V27)               \
	CONST(V28)               \
	CONST(V29)

// EXP is expRef of x, with three registers to spend. FMAX and FMIN keep NaN.
#define EXP(x, t, p, q) \
	FMAX(x, x, 16)  \
	FMIN(x, x, 17)  \
	FMUL(t, x, 18)  \
	FADD(t, t, 19)  \
	FSUB(q, t, 19)  \
	FMLS(x, q, 20)  \
	FMLS(x, q, 21)  \
	ORRB(p, 23, 23)  \
	FMLA(p, 22, x)  \
	ORRB(q, 24, 24)  \
	FMLA(q, p, x)   \
	ORRB(p, 25, 25)  \
	FMLA(p, q, x)   \
	ORRB(q, 26, 26)  \
	FMLA(q, p, x)   \
	ORRB(p, 27, 27)  \
	FMLA(p, q, x)   \
	FMUL(q, x, x)   \
	FMLA(x, p, q)   \
	FADD(x, x, 28)  \
	SUBW(t, t, 19)  \
	SSHRW(p, t, 1)  \
	SUBW(t, t, p)   \
	ADDW(p, p, 29)  \
	ADDW(t, t, 29)  \
	SHLW(p, p, 23)  \
	SHLW(t, t, 23)  \
	FMUL(x, x, p)   \
	FMUL(x, x, t)

// func dotNEON(x, y *float32, n int, sums *[16]float32)
TEXT ·dotNEON(SB), NOSPLIT, $0-32
	MOVD x+0(FP), R0
	MOVD y+8(FP), R1
	MOVD n+16(FP), R2
	MOVD sums+24(FP), R3
	ZERO(0)
	ZERO(1)
	ZERO(2)
	ZERO(3)

loop:
	LDPQ(4, 5, 0, 0)
	LDPQ(6, 7, 0, 32)
	LDPQ(8, 9, 1, 0)
	LDPQ(10, 11, 1, 32)
	FMLA(0, 4, 8)
	FMLA(1, 5, 9)
	FMLA(2, 6, 10)
	FMLA(3, 7, 11)
	ADD  $64, R0
	ADD  $64, R1
	SUBS $16, R2, R2
	BGT  loop
	STPQ(0, 1, 3, 0)
	STPQ(2, 3, 3, 32)
	RET

// LARGER replaces lanes of s by those of x that are larger.
#define LARGER(s, x, t) \
	FCMGT(t, x, s) \
	BIT(s, x, t)

// func maxNEON(x *float32, n int, sums *[16]float32)
TEXT ·maxNEON(SB), NOSPLIT, $0-24
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	MOVD sums+16(FP), R3
	MOVD $0xff800000, R4
	VDUP R4, V0.S4
	VDUP R4, V1.S4
	VDUP R4, V2.S4
	VDUP R4, V3.S4

loop:
	LDPQ(4, 5, 0, 0)
	LDPQ(6, 7, 0, 32)
	LARGER(0, 4, 8)
	LARGER(1, 5, 9)
	LARGER(2, 6, 10)
	LARGER(3, 7, 11)
	ADD  $64, R0
	SUBS $16, R2, R2
	BGT  loop
	STPQ(0, 1, 3, 0)
	STPQ(2, 3, 3, 32)
	RET

// func expSumNEON(x *float32, n int, shift float32, sums *[16]float32)
TEXT ·expSumNEON(SB), NOSPLIT, $0-32
	MOVD  x+0(FP), R0
	MOVD  n+8(FP), R2
	FMOVS shift+16(FP), F30
	MOVD  sums+24(FP), R3
	VDUP  V30.S[0], V30.S4
	EXPCONST
	ZERO(12)
	ZERO(13)
	ZERO(14)
	ZERO(15)

loop:
	LDPQ(0, 1, 0, 0)
	FSUB(0, 0, 30)
	FSUB(1, 1, 30)
	EXP(0, 4, 5, 6)
	EXP(1, 7, 8, 9)
	STPQ(0, 1, 0, 0)
	FADD(12, 12, 0)
	FADD(13, 13, 1)
	LDPQ(2, 3, 0, 32)
	FSUB(2, 2, 30)
	FSUB(3, 3, 30)
	EXP(2, 4, 5, 6)
	EXP(3, 7, 8, 9)
	STPQ(2, 3, 0, 32)
	FADD(14, 14, 2)
	FADD(15, 15, 3)
	ADD  $64, R0
	SUBS $16, R2, R2
	BGT  loop
	STPQ(12, 13, 3, 0)
	STPQ(14, 15, 3, 32)
	RET

// func addNEON(dst, x, y *float32, n int)
TEXT ·addNEON(SB), NOSPLIT, $0-32
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD y+16(FP), R3
	MOVD n+24(FP), R2

loop:
	LDRQ(0, 1, 0)
	LDRQ(1, 3, 0)
	FADD(0, 0, 1)
	STRQ(0, 0, 0)
	ADD  $16, R0
	ADD  $16, R1
	ADD  $16, R3
	SUBS $4, R2, R2
	BGT  loop
	RET

// func scaleNEON(x *float32, n int, s float32)
TEXT ·scaleNEON(SB), NOSPLIT, $0-20
	MOVD  x+0(FP), R0
	MOVD  n+8(FP), R2
	FMOVS s+16(FP), F1
	VDUP  V1.S[0], V1.S4

loop:
	LDRQ(0, 0, 0)
	FMUL(0, 0, 1)
	STRQ(0, 0, 0)
	ADD  $16, R0
	SUBS $4, R2, R2
	BGT  loop
	RET

// func axpyNEON(x, y *float32, n int, a float32)
TEXT ·axpyNEON(SB), NOSPLIT, $0-28
	MOVD  x+0(FP), R1
	MOVD  y+8(FP), R0
	MOVD  n+16(FP), R2
	FMOVS a+24(FP), F2
	VDUP  V2.S[0], V2.S4

loop:
	LDRQ(0, 0, 0)
	LDRQ(1, 1, 0)
	FMLA(0, 1, 2)
	STRQ(0, 0, 0)
	ADD  $16, R0
	ADD  $16, R1
	SUBS $4, R2, R2
	BGT  loop
	RET

// func mulScaleNEON(dst, x, w *float32, n int, s float32)
TEXT ·mulScaleNEON(SB), NOSPLIT, $0-36
	MOVD  dst+0(FP), R0
	MOVD  x+8(FP), R1
	MOVD  w+16(FP), R3
	MOVD  n+24(FP), R2
	FMOVS s+32(FP), F2
	VDUP  V2.S[0], V2.S4

loop:
	LDRQ(0, 1, 0)
	LDRQ(1, 3, 0)
	FMUL(0, 0, 2)
	FMUL(0, 0, 1)
	STRQ(0, 0, 0)
	ADD  $16, R0
	ADD  $16, R1
	ADD  $16, R3
	SUBS $4, R2, R2
	BGT  loop
	RET

// func expToNEON(dst, x *float32, n int)
TEXT ·expToNEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD n+16(FP), R2
	EXPCONST

loop:
	LDRQ(0, 1, 0)
	EXP(0, 4, 5, 6)
	STRQ(0, 0, 0)
	ADD  $16, R0
	ADD  $16, R1
	SUBS $4, R2, R2
	BGT  loop
	RET

// func siluMulNEON(dst, gate, up *float32, n int)
TEXT ·siluMulNEON(SB), NOSPLIT, $0-32
	MOVD dst+0(FP), R0
	MOVD gate+8(FP), R1
	MOVD up+16(FP), R3
	MOVD n+24(FP), R2
	EXPCONST

loop:
	LDRQ(1, 1, 0)
	LDRQ(2, 3, 0)
	FNEG(0, 1)
	EXP(0, 4, 5, 6)
	FADD(0, 0, 28)
	FDIV(1, 1, 0)
	FMUL(1, 1, 2)
	STRQ(1, 0, 0)
	ADD  $16, R0
	ADD  $16, R1
	ADD  $16, R3
	SUBS $4, R2, R2
	BGT  loop
	RET

// func geluMulNEON(dst, gate, up *float32, n int)
TEXT ·geluMulNEON(SB), NOSPLIT, $0-32
	MOVD dst+0(FP), R0
	MOVD gate+8(FP), R1
	MOVD up+16(FP), R3
	MOVD n+24(FP), R2
	EXPCONST
	MOVD $0xbfcc422a, R9 // geluA
	VDUP R9, V30.S4
	MOVD $0xbd922279, R9 // geluB
	VDUP R9, V31.S4

loop:
	LDRQ(1, 1, 0)
	LDRQ(2, 3, 0)
	FMUL(3, 1, 1)
	ORRB(0, 30, 30)
	FMLA(0, 3, 31)
	FMUL(0, 1, 0)
	EXP(0, 4, 5, 6)
	FADD(0, 0, 28)
	FDIV(1, 1, 0)
	FMUL(1, 1, 2)
	STRQ(1, 0, 0)
	ADD  $16, R0
	ADD  $16, R1
	ADD  $16, R3
	SUBS $4, R2, R2
	BGT  loop
	RET

// func ropeHalfNEON(a, b, cos, sin *float32, n int)
TEXT ·ropeHalfNEON(SB), NOSPLIT, $0-40
	MOVD a+0(FP), R0
	MOVD b+8(FP), R1
	MOVD cos+16(FP), R3
	MOVD sin+24(FP), R4
	MOVD n+32(FP), R2

loop:
	LDRQ(0, 0, 0)
	LDRQ(1, 1, 0)
	LDRQ(2, 3, 0)
	LDRQ(3, 4, 0)
	FMUL(4, 0, 2)
	FMUL(5, 1, 2)
	FMLS(4, 1, 3)
	FMLA(5, 0, 3)
	STRQ(4, 0, 0)
	STRQ(5, 1, 0)
	ADD  $16, R0
	ADD  $16, R1
	ADD  $16, R3
	ADD  $16, R4
	SUBS $4, R2, R2
	BGT  loop
	RET

// func ropePairsNEON(x, cos, sin *float32, n int)
TEXT ·ropePairsNEON(SB), NOSPLIT, $0-32
	MOVD x+0(FP), R0
	MOVD cos+8(FP), R3
	MOVD sin+16(FP), R4
	MOVD n+24(FP), R2

loop:
	VLD2 (R0), [V0.S4, V1.S4]
	LDRQ(2, 3, 0)
	LDRQ(3, 4, 0)
	FMUL(4, 0, 2)
	FMUL(5, 1, 2)
	FMLS(4, 1, 3)
	FMLA(5, 0, 3)
	VST2.P [V4.S4, V5.S4], 32(R0)
	ADD  $16, R3
	ADD  $16, R4
	SUBS $4, R2, R2
	BGT  loop
	RET
