#include "textflag.h"
#include "neon_arm64.h"

// Products of a few rows with panels of 16 columns: see [Product].
//
//	R0 R1 R3-R5  c, panels left; rows of a in R10 to R13
//	V(4r+i)      sums of row r, i of the first panel
//	V16-V19      16 elements of the panel, V20-V23 four of each row of a
//
// With two panels a row's sums are in V(8r) to V(8r+7).

#define E1(M, x) M(0, x)
#define E2(M, x) M(0, x); M(1, x)
#define E3(M, x) M(0, x); M(1, x); M(2, x)
#define E4(M, x) M(0, x); M(1, x); M(2, x); M(3, x)

#define ARGS(shift) \
	MOVD c+0(FP), R0         \
	MOVD cStride+8(FP), R1   \
	LSL  $2, R1, R1          \
	MOVD aStride+24(FP), R3  \
	LSL  $2, R3, R3          \
	MOVD b+32(FP), R4        \
	MOVD bStride+40(FP), R5  \
	LSL  $shift, R5, R5      \
	MOVD panels+56(FP), R6   \
	MOVD add+64(FP), R7

// Rows of c from R20 on, of a from R10 on.
#define ROWS \
	MOVD R0, R20             \
	ADD  R1, R20, R21        \
	ADD  R1, R21, R22        \
	ADD  R1, R22, R23        \
	MOVD a+16(FP), R10       \
	ADD  R3, R10, R11        \
	ADD  R3, R11, R12        \
	ADD  R3, R12, R13

#define CLEAR(r, x) \
	ZERO(4*(r))   \
	ZERO(4*(r)+1) \
	ZERO(4*(r)+2) \
	ZERO(4*(r)+3)
#define LOAD(r, x) \
	LDPQ(4*(r), 4*(r)+1, 20+(r), 0)    \
	LDPQ(4*(r)+2, 4*(r)+3, 20+(r), 32)
#define STORE(r, x) \
	STPQ(4*(r), 4*(r)+1, 20+(r), 0)    \
	STPQ(4*(r)+2, 4*(r)+3, 20+(r), 32)
#define CLEARPAIR(r, x) \
	CLEAR(2*(r), 0)   \
	CLEAR(2*(r)+1, 0)
#define LOADPAIR(r, x) \
	LDPQ(8*(r), 8*(r)+1, 20+(r), 0)    \
	LDPQ(8*(r)+2, 8*(r)+3, 20+(r), 32) \
	LDPQ(8*(r)+4, 8*(r)+5, 20+(r), 64) \
	LDPQ(8*(r)+6, 8*(r)+7, 20+(r), 96)
#define STOREPAIR(r, x) \
	STPQ(8*(r), 8*(r)+1, 20+(r), 0)    \
	STPQ(8*(r)+2, 8*(r)+3, 20+(r), 32) \
	STPQ(8*(r)+4, 8*(r)+5, 20+(r), 64) \
	STPQ(8*(r)+6, 8*(r)+7, 20+(r), 96)

#define ROW4(r, x) \
	LDRQ(20+(r), 10+(r), 0)   \
	ADDI(10+(r), 10+(r), 16)
#define ROW1(r, x) \
	LDRS(20+(r), 10+(r), 0)   \
	ADDI(10+(r), 10+(r), 4)
#define FUSE(r, i) \
	FMLAE(4*(r), 16, 20+(r), i)   \
	FMLAE(4*(r)+1, 17, 20+(r), i) \
	FMLAE(4*(r)+2, 18, 20+(r), i) \
	FMLAE(4*(r)+3, 19, 20+(r), i)
#define FUSEFIRST(r, i) \
	FMLAE(8*(r), 16, 20+(r), i)   \
	FMLAE(8*(r)+1, 17, 20+(r), i) \
	FMLAE(8*(r)+2, 18, 20+(r), i) \
	FMLAE(8*(r)+3, 19, 20+(r), i)
#define FUSESECOND(r, i) \
	FMLAE(8*(r)+4, 16, 20+(r), i) \
	FMLAE(8*(r)+5, 17, 20+(r), i) \
	FMLAE(8*(r)+6, 18, 20+(r), i) \
	FMLAE(8*(r)+7, 19, 20+(r), i)

// 16 elements of a panel, from register p.
#define F32(p, i) \
	LDPQ(16, 17, p, 64*(i))    \
	LDPQ(18, 19, p, 64*(i)+32)
#define F16(p, i) \
	LDPQ(24, 25, p, 32*(i)) \
	FCVTL(16, 24)           \
	FCVTL2(17, 24)          \
	FCVTL(18, 25)           \
	FCVTL2(19, 25)
#define I8(p, i) \
	LDRQ(24, p, 16*(i)) \
	SXTLB(25, 24)       \
	SXTL2B(24, 24)      \
	SXTLH(16, 25)       \
	SXTL2H(17, 25)      \
	SXTLH(18, 24)       \
	SXTL2H(19, 24)      \
	SCVTF(16, 16)       \
	SCVTF(17, 17)       \
	SCVTF(18, 18)       \
	SCVTF(19, 19)

// Steps of depth, with the panels at R14 and R15.
#define STEP1(E, KIND, i) \
	KIND(14, i) \
	E(FUSE, i)
#define STEP2(E, KIND, i) \
	KIND(14, i)      \
	E(FUSEFIRST, i)  \
	KIND(15, i)      \
	E(FUSESECOND, i)

#define DEPTH(E, STEP, KIND, bytes) \
	MOVD depth+48(FP), R8    \
	SUBS $4, R8, R8          \
	BLT  rest                \
four:                            \
	E(ROW4, 0)               \
	STEP(E, KIND, 0)         \
	STEP(E, KIND, 1)         \
	STEP(E, KIND, 2)         \
	STEP(E, KIND, 3)         \
	ADD  $(4*bytes), R14     \
	ADD  $(4*bytes), R15     \
	SUBS $4, R8, R8          \
	BGE  four                \
rest:                            \
	ADDS $4, R8, R8          \
	BEQ  done                \
one:                             \
	E(ROW1, 0)               \
	STEP(E, KIND, 0)         \
	ADD  $bytes, R14         \
	ADD  $bytes, R15         \
	SUBS $1, R8, R8          \
	BNE  one                 \
done:

#define PANELS(E, KIND, shift) \
	ARGS(shift)              \
panel:                           \
	ROWS                     \
	MOVD R4, R14             \
	E(CLEAR, 0)              \
	CBZ  R7, begun           \
	E(LOAD, 0)               \
begun:                           \
	DEPTH(E, STEP1, KIND, (16<<shift)) \
	E(STORE, 0)              \
	ADD  $64, R0             \
	ADD  R5, R4              \
	SUBS $1, R6, R6          \
	BGT  panel               \
	RET
#define PAIRS(E, KIND, shift) \
	ARGS(shift)              \
panel:                           \
	ROWS                     \
	MOVD R4, R14             \
	ADD  R5, R4, R15         \
	E(CLEARPAIR, 0)          \
	CBZ  R7, begun           \
	E(LOADPAIR, 0)           \
begun:                           \
	DEPTH(E, STEP2, KIND, (16<<shift)) \
	E(STOREPAIR, 0)          \
	ADD  $128, R0            \
	ADD  R5<<1, R4           \
	SUBS $2, R6, R6          \
	BGT  panel               \
	RET

TEXT ·panelsF32x1x1NEON(SB), NOSPLIT, $0-72
	PANELS(E1, F32, 2)

TEXT ·panelsF32x2x1NEON(SB), NOSPLIT, $0-72
	PANELS(E2, F32, 2)

TEXT ·panelsF32x3x1NEON(SB), NOSPLIT, $0-72
	PANELS(E3, F32, 2)

TEXT ·panelsF32x4x1NEON(SB), NOSPLIT, $0-72
	PANELS(E4, F32, 2)

TEXT ·panelsF32x1x2NEON(SB), NOSPLIT, $0-72
	PAIRS(E1, F32, 2)

TEXT ·panelsF32x2x2NEON(SB), NOSPLIT, $0-72
	PAIRS(E2, F32, 2)

TEXT ·panelsF16x1x1NEON(SB), NOSPLIT, $0-72
	PANELS(E1, F16, 1)

TEXT ·panelsF16x2x1NEON(SB), NOSPLIT, $0-72
	PANELS(E2, F16, 1)

TEXT ·panelsF16x3x1NEON(SB), NOSPLIT, $0-72
	PANELS(E3, F16, 1)

TEXT ·panelsF16x4x1NEON(SB), NOSPLIT, $0-72
	PANELS(E4, F16, 1)

TEXT ·panelsF16x1x2NEON(SB), NOSPLIT, $0-72
	PAIRS(E1, F16, 1)

TEXT ·panelsF16x2x2NEON(SB), NOSPLIT, $0-72
	PAIRS(E2, F16, 1)

TEXT ·panelsI8x1x1NEON(SB), NOSPLIT, $0-72
	PANELS(E1, I8, 0)

TEXT ·panelsI8x2x1NEON(SB), NOSPLIT, $0-72
	PANELS(E2, I8, 0)

TEXT ·panelsI8x3x1NEON(SB), NOSPLIT, $0-72
	PANELS(E3, I8, 0)

TEXT ·panelsI8x4x1NEON(SB), NOSPLIT, $0-72
	PANELS(E4, I8, 0)

TEXT ·panelsI8x1x2NEON(SB), NOSPLIT, $0-72
	PAIRS(E1, I8, 0)

TEXT ·panelsI8x2x2NEON(SB), NOSPLIT, $0-72
	PAIRS(E2, I8, 0)
