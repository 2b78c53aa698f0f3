#include "textflag.h"
#include "neon_arm64.h"

// Activations to 8 bits, see acts.go.
//
//	R0   what is written
//	R1   activations
//	R8   blocks left
//	R6   infinity, R7 2^-100, as bits: from the first one on, or below the
//	     second, a block has no finite scale
//	F24  the scale d, F25 its reciprocal
//	F29  1, F30 127
//	V31  1.5 * 2^23: adding it leaves a number of 8 bits in the lowest ones

#define CONSTANTS \
	MOVD  $0x7f800000, R6 \
	MOVD  $0x0d800000, R7 \
	FMOVS $1.0, F29       \
	MOVD  $0x42fe0000, R9 \
	FMOVS R9, F30         \
	MOVD  $0x4b400000, R9 \
	VDUP  R9, V31.S4

// LARGEST makes V16 to V19 the bits of the largest magnitudes yet, of 16
// activations.
#define LARGEST(off) \
	LDPQ(0, 1, 1, off)    \
	LDPQ(2, 3, 1, (off)+32) \
	FABS(0, 0)            \
	FABS(1, 1)            \
	FABS(2, 2)            \
	FABS(3, 3)            \
	UMAXW(16, 16, 0)      \
	UMAXW(17, 17, 1)      \
	UMAXW(18, 18, 2)      \
	UMAXW(19, 19, 3)

// SCALE makes d and its reciprocal, or goes to odd with the bits of d in R5: a
// NaN or zero.
#define SCALE(odd) \
	UMAXW(16, 16, 17)        \
	UMAXW(18, 18, 19)        \
	UMAXW(16, 16, 18)        \
	UMAXVW(16, 16)           \
	FMOVS F16, R5            \
	MOVD  $0x7fc00000, R9    \
	CMPW  R6, R5             \
	CSEL  HS, R9, R5, R5     \
	BHS   odd                \
	CMPW  R7, R5             \
	CSEL  LO, ZR, R5, R5     \
	BLO   odd                \
	FMOVS R5, F24            \
	FDIVS F30, F24, F24      \
	FDIVS F24, F29, F25

// ROUND makes 16 codes in Vd of 16 activations.
#define ROUND(d, off) \
	LDPQ(0, 1, 1, off)      \
	LDPQ(2, 3, 1, (off)+32) \
	FMULE(0, 0, 25, 0)      \
	FMULE(1, 1, 25, 0)      \
	FMULE(2, 2, 25, 0)      \
	FMULE(3, 3, 25, 0)      \
	FADD(0, 0, 31)          \
	FADD(1, 1, 31)          \
	FADD(2, 2, 31)          \
	FADD(3, 3, 31)          \
	UZP1H(0, 0, 1)          \
	UZP1H(2, 2, 3)          \
	UZP1B(d, 0, 2)

// BLOCK makes 32 codes in V4 and V5 with their sum in R5, or goes to odd.
#define BLOCK(odd) \
	ZERO(16)         \
	ZERO(17)         \
	ZERO(18)         \
	ZERO(19)         \
	LARGEST(0)       \
	LARGEST(64)      \
	SCALE(odd)       \
	ROUND(4, 0)      \
	ROUND(5, 64)     \
	SADDLVB(6, 4)    \
	SADDLVB(7, 5)    \
	VADD  V6.H8, V7.H8, V6.H8 \
	VMOV  V6.H[0], R5 \
	MOVH  R5, R5

TEXT ·quantizeBlocksNEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD n+16(FP), R8
	CONSTANTS

block:
	BLOCK(odd)
	SCVTFWS R5, F26
	FMULS   F24, F26, F26
	NEG     R5, R5
	LSL     $3, R5, R9
	LSL     $4, R5, R10
	STPQ(4, 5, 0, 0)
	FMOVS   F24, 32(R0)
	FMOVS   F26, 36(R0)
	MOVW    R9, 40(R0)
	MOVW    R10, 44(R0)

next:
	ADD  $48, R0
	ADD  $128, R1
	SUBS $1, R8, R8
	BNE  block
	RET

odd:
	ZERO(4)
	STPQ(4, 4, 0, 0)
	STRQ(4, 0, 32)
	MOVW R5, 32(R0)
	MOVW R5, 36(R0) // d * 0
	B    next

TEXT ·quantizeBytesNEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD n+16(FP), R8
	CONSTANTS

block:
	BLOCK(odd)
	NEG   R5, R5
	LSL   $7, R5, R9
	STPQ(4, 5, 0, 0)
	FMOVS F24, 32(R0)
	MOVW  R9, 36(R0)
	MOVD  ZR, 40(R0)

next:
	ADD  $48, R0
	ADD  $128, R1
	SUBS $1, R8, R8
	BNE  block
	RET

odd:
	ZERO(4)
	STPQ(4, 4, 0, 0)
	STRQ(4, 0, 32)
	MOVW R5, 32(R0)
	B    next

TEXT ·quantizeSupersNEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD n+16(FP), R8
	CONSTANTS

block:
	ZERO(16)
	ZERO(17)
	ZERO(18)
	ZERO(19)
	MOVD $8, R10

largest:
	LARGEST(0)
	LARGEST(64)
	ADD  $128, R1
	SUBS $1, R10, R10
	BNE  largest
	SUB  $1024, R1
	SCALE(odd)
	ADD  $256, R0, R11 // sums of 16
	MOVD $16, R10

sixteen:
	ROUND(4, 0)
	STRQ(4, 0, 0)
	SADDLVB(6, 4)
	VMOV V6.H[0], R9
	MOVH R9, (R11)
	ADD  $2, R11
	ADD  $16, R0
	ADD  $64, R1
	SUBS $1, R10, R10
	BNE  sixteen
	LDPQ(4, 5, 0, 0)
	ADDPH(4, 4, 5) // sums of 32
	STRQ(4, 0, 32)
	MOVD ZR, 48(R0)
	MOVD ZR, 56(R0)
	FMOVS F24, 48(R0)
	ADD  $64, R0

next:
	SUBS $1, R8, R8
	BNE  block
	RET

odd:
	ZERO(4)
	MOVD $10, R10

zero:
	STPQ(4, 4, 0, 0)
	ADD  $32, R0
	SUBS $1, R10, R10
	BNE  zero
	MOVW R5, -16(R0)
	ADD  $1024, R1
	B    next
