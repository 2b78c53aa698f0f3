#include "textflag.h"
#include "neon_arm64.h"

// Conversions between floats and shorter numbers. n is a multiple of 8 and above
// 0.

// func toF16NEON(dst *uint16, x *float32, n int) uint64
TEXT ·toF16NEON(SB), NOSPLIT, $0-32
	MOVD  dst+0(FP), R0
	MOVD  x+8(FP), R1
	MOVD  n+16(FP), R2
	MOVD  $0x7c00, R3
	VDUP  R3, V2.H8
	ZERO(3)

loop:
	LDPQ(0, 1, 1, 0)
	FCVTN(0, 0)
	FCVTN2(0, 1)
	STRQ(0, 0, 0)
	ANDB(0, 0, 2)
	CMEQH(0, 0, 2)
	ORRB(3, 3, 0)
	ADD  $16, R0
	ADD  $32, R1
	SUBS $8, R2, R2
	BGT  loop
	VMOV V3.D[0], R4
	VMOV V3.D[1], R5
	ORR  R5, R4
	MOVD R4, ret+24(FP)
	RET

// func fromF16NEON(dst *float32, x *uint16, n int)
TEXT ·fromF16NEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD n+16(FP), R2

loop:
	LDRQ(2, 1, 0)
	FCVTL(0, 2)
	FCVTL2(1, 2)
	STPQ(0, 1, 0, 0)
	ADD  $32, R0
	ADD  $16, R1
	SUBS $8, R2, R2
	BGT  loop
	RET

#define BF16CONST \
	MOVD $1, R9         \
	VDUP R9, V16.S4     \
	MOVD $0x7fff, R9    \
	VDUP R9, V17.S4     \
	MOVD $0x400000, R9  \
	VDUP R9, V18.S4

// BF16 leaves the rounded number in the upper half of x; a NaN stays one.
#define BF16(x, t, u) \
	USHRW(t, x, 16) \
	ANDB(t, t, 16)   \
	ADDW(t, t, 17)  \
	ADDW(t, t, x)   \
	FCMEQ(u, x, x)  \
	ORRB(x, x, 18)   \
	BIT(x, t, u)

// func toBF16NEON(dst *uint16, x *float32, n int)
TEXT ·toBF16NEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD n+16(FP), R2
	BF16CONST

loop:
	LDPQ(0, 1, 1, 0)
	BF16(0, 2, 3)
	BF16(1, 4, 5)
	SHRN16(0, 0)
	SHRN216(0, 1)
	STRQ(0, 0, 0)
	ADD  $16, R0
	ADD  $32, R1
	SUBS $8, R2, R2
	BGT  loop
	RET

// func fromBF16NEON(dst *float32, x *uint16, n int)
TEXT ·fromBF16NEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD n+16(FP), R2

loop:
	LDRQ(2, 1, 0)
	SHLL16(0, 2)
	SHLL162(1, 2)
	STPQ(0, 1, 0, 0)
	ADD  $32, R0
	ADD  $16, R1
	SUBS $8, R2, R2
	BGT  loop
	RET

// func roundBF16NEON(x *float32, n int)
TEXT ·roundBF16NEON(SB), NOSPLIT, $0-16
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	BF16CONST

loop:
	LDPQ(0, 1, 0, 0)
	BF16(0, 2, 3)
	BF16(1, 4, 5)
	USHRW(0, 0, 16)
	USHRW(1, 1, 16)
	SHLW(0, 0, 16)
	SHLW(1, 1, 16)
	STPQ(0, 1, 0, 0)
	ADD  $32, R0
	SUBS $8, R2, R2
	BGT  loop
	RET

// func fromI8NEON(dst *float32, x *int8, n int)
TEXT ·fromI8NEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD n+16(FP), R2

loop:
	LDRD(2, 1, 0)
	SXTLB(2, 2)
	SXTLH(0, 2)
	SXTL2H(1, 2)
	SCVTF(0, 0)
	SCVTF(1, 1)
	STPQ(0, 1, 0, 0)
	ADD  $32, R0
	ADD  $8, R1
	SUBS $8, R2, R2
	BGT  loop
	RET
