#include "textflag.h"
#include "neon_arm64.h"

// Products with weights of 32 or 16 bits: 16 rows in four registers, V16 to V19.
// Sums of token t are in V(4t) to V(4t+3), four of its activations in V(20+t).

#define E1(M, x) M(0, x)
#define E2(M, x) M(0, x); M(1, x)
#define E4(M, x) M(0, x); M(1, x); M(2, x); M(3, x)

#define CLEAR(t, x) \
	ZERO(4*(t))   \
	ZERO(4*(t)+1) \
	ZERO(4*(t)+2) \
	ZERO(4*(t)+3)
#define ACTS4(t, x) \
	LDRQ(20+(t), 1+(t), 0)   \
	ADDI(1+(t), 1+(t), 16)
#define ACTS1(t, x) \
	LDRS(20+(t), 1+(t), 0)   \
	ADDI(1+(t), 1+(t), 4)
#define ADDCOL(t, i) \
	FMLAE(4*(t), 16, 20+(t), i)    \
	FMLAE(4*(t)+1, 17, 20+(t), i)  \
	FMLAE(4*(t)+2, 18, 20+(t), i)  \
	FMLAE(4*(t)+3, 19, 20+(t), i)
#define STORE(t, x) \
	STPQ(4*(t), 4*(t)+1, 19+(t), 0)   \
	STPQ(4*(t)+2, 4*(t)+3, 19+(t), 32)

// Weights of column i from R0.
#define F32(i) \
	LDPQ(16, 17, 0, 64*(i))    \
	LDPQ(18, 19, 0, 64*(i)+32)
#define F16(i) \
	LDPQ(24, 25, 0, 32*(i)) \
	FCVTL(16, 24)           \
	FCVTL2(17, 24)          \
	FCVTL(18, 25)           \
	FCVTL2(19, 25)
#define BF16(i) \
	LDPQ(24, 25, 0, 32*(i)) \
	SHLL16(16, 24)          \
	SHLL162(17, 24)         \
	SHLL16(18, 25)          \
	SHLL162(19, 25)

#define TOKENS1 \
	MOVD w+0(FP), R0  \
	MOVD a+8(FP), R1  \
	MOVD y+24(FP), R19 \
	MOVD n+48(FP), R8
#define TOKENS2 \
	TOKENS1                 \
	MOVD stride+16(FP), R11 \
	MOVD ldy+32(FP), R12    \
	ADD  R11, R1, R2        \
	ADD  R12, R19, R20
#define TOKENS4 \
	TOKENS2            \
	ADD R11, R2, R3    \
	ADD R12, R20, R21  \
	ADD R11, R3, R4    \
	ADD R12, R21, R22

#define FLOATS(E, TOKENS, COL, BYTES) \
	TOKENS              \
	E(CLEAR, 0)         \
	SUBS $4, R8, R8     \
	BLT  rest           \
four:                       \
	E(ACTS4, 0)         \
	COL(0)              \
	E(ADDCOL, 0)        \
	COL(1)              \
	E(ADDCOL, 1)        \
	COL(2)              \
	E(ADDCOL, 2)        \
	COL(3)              \
	E(ADDCOL, 3)        \
	ADD  $(4*BYTES), R0 \
	SUBS $4, R8, R8     \
	BGE  four           \
rest:                       \
	ADDS $4, R8, R8     \
	BEQ  done           \
one:                        \
	E(ACTS1, 0)         \
	COL(0)              \
	E(ADDCOL, 0)        \
	ADD  $BYTES, R0     \
	SUBS $1, R8, R8     \
	BNE  one            \
done:                       \
	E(STORE, 0)         \
	RET

TEXT ·mulNeonF32x1(SB), NOSPLIT, $0-56
	FLOATS(E1, TOKENS1, F32, 64)

TEXT ·mulNeonF32x2(SB), NOSPLIT, $0-56
	FLOATS(E2, TOKENS2, F32, 64)

TEXT ·mulNeonF32x4(SB), NOSPLIT, $0-56
	FLOATS(E4, TOKENS4, F32, 64)

TEXT ·mulNeonF16x1(SB), NOSPLIT, $0-56
	FLOATS(E1, TOKENS1, F16, 32)

TEXT ·mulNeonF16x2(SB), NOSPLIT, $0-56
	FLOATS(E2, TOKENS2, F16, 32)

TEXT ·mulNeonF16x4(SB), NOSPLIT, $0-56
	FLOATS(E4, TOKENS4, F16, 32)

TEXT ·mulNeonBF16x1(SB), NOSPLIT, $0-56
	FLOATS(E1, TOKENS1, BF16, 32)

TEXT ·mulNeonBF16x2(SB), NOSPLIT, $0-56
	FLOATS(E2, TOKENS2, BF16, 32)

TEXT ·mulNeonBF16x4(SB), NOSPLIT, $0-56
	FLOATS(E4, TOKENS4, BF16, 32)
