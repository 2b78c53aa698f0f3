#include "textflag.h"
#include "neon_arm64.h"
#include "tile_arm64.h"

// Products with weights of 32 or 16 bits: 16 rows in four registers, V16 to V19.
// Sums of token t are in V(4t) to V(4t+3), four of its activations in V(20+t).
//
// A sum is one chain, and four chains leave a processor idle that has more
// multipliers than that hides. So there are kernels for one token that do two
// panels at once: stride is then the bytes from one panel to the next, and the
// sums of the second panel are in V4 to V7.

#define CLEAR(t, x, y) \
	ZERO(4*(t))   \
	ZERO(4*(t)+1) \
	ZERO(4*(t)+2) \
	ZERO(4*(t)+3)
#define ACTS4(t, x, y) \
	LDRQ(20+(t), 1+(t), 0)   \
	ADDI(1+(t), 1+(t), 16)
#define ACTS1(t, x, y) \
	LDRS(20+(t), 1+(t), 0)   \
	ADDI(1+(t), 1+(t), 4)
#define ADDCOL(t, i, y) \
	FMLAE(4*(t), 16, 20+(t), i)    \
	FMLAE(4*(t)+1, 17, 20+(t), i)  \
	FMLAE(4*(t)+2, 18, 20+(t), i)  \
	FMLAE(4*(t)+3, 19, 20+(t), i)
#define STORE(t, x, y) \
	STPQ(4*(t), 4*(t)+1, 19+(t), 0)   \
	STPQ(4*(t)+2, 4*(t)+3, 19+(t), 32)

// Weights of column i from register r.
#define F32(r, i) \
	LDPQ(16, 17, r, 64*(i))    \
	LDPQ(18, 19, r, 64*(i)+32)
#define F16(r, i) \
	LDPQ(24, 25, r, 32*(i)) \
	FCVTL(16, 24)           \
	FCVTL2(17, 24)          \
	FCVTL(18, 25)           \
	FCVTL2(19, 25)
#define BF16(r, i) \
	LDPQ(24, 25, r, 32*(i)) \
	SHLL16(16, 24)          \
	SHLL162(17, 24)         \
	SHLL16(18, 25)          \
	SHLL162(19, 25)

#define STEP(E, COL, i) \
	COL(0, i)           \
	E(ADDCOL, i, 0)
#define STEP2(E, COL, i) \
	COL(0, i)           \
	ADDCOL(0, i, 0)     \
	COL(6, i)           \
	FMLAE(4, 16, 20, i) \
	FMLAE(5, 17, 20, i) \
	FMLAE(6, 18, 20, i) \
	FMLAE(7, 19, 20, i)

#define COLUMNS(E, STEP, COL, bytes) \
	SUBS $4, R8, R8      \
	BLT  rest            \
four:                        \
	E(ACTS4, 0, 0)       \
	STEP(E, COL, 0)      \
	STEP(E, COL, 1)      \
	STEP(E, COL, 2)      \
	STEP(E, COL, 3)      \
	ADD  $(4*bytes), R0  \
	ADD  $(4*bytes), R6  \
	SUBS $4, R8, R8      \
	BGE  four            \
rest:                        \
	ADDS $4, R8, R8      \
	BEQ  done            \
one:                         \
	E(ACTS1, 0, 0)       \
	STEP(E, COL, 0)      \
	ADD  $bytes, R0      \
	ADD  $bytes, R6      \
	SUBS $1, R8, R8      \
	BNE  one             \
done:

#define FLOATS(E, TOKENS, COL, bytes, tokens) \
	TOKENS               \
	MOVD w+0(FP), R0     \
	MOVD n+48(FP), R8    \
	E(CLEAR, 0, 0)       \
	COLUMNS(E, STEP, COL, bytes) \
	E(STORE, 0, 0)       \
	FINISH(tokens)

#define PANELS2(COL, bytes) \
	TOKENS1              \
	MOVD w+0(FP), R0     \
	MOVD stride+16(FP), R6 \
	ADD  R0, R6, R6      \
	ADD  $64, R19, R20   \
	MOVD n+48(FP), R8    \
	E2(CLEAR, 0, 0)      \
	COLUMNS(E1, STEP2, COL, bytes) \
	E2(STORE, 0, 0)      \
	FINISH(2)

TEXT ·mulNeonF32x1(SB), NOSPLIT, $256-64
	FLOATS(E1, TOKENS1, F32, 64, 1)

TEXT ·mulNeonF32x2(SB), NOSPLIT, $256-64
	FLOATS(E2, TOKENS2, F32, 64, 2)

TEXT ·mulNeonF32x3(SB), NOSPLIT, $256-64
	FLOATS(E3, TOKENS3, F32, 64, 3)

TEXT ·mulNeonF32x4(SB), NOSPLIT, $256-64
	FLOATS(E4, TOKENS4, F32, 64, 4)

TEXT ·mulNeonF16x1(SB), NOSPLIT, $256-64
	FLOATS(E1, TOKENS1, F16, 32, 1)

TEXT ·mulNeonF16x2(SB), NOSPLIT, $256-64
	FLOATS(E2, TOKENS2, F16, 32, 2)

TEXT ·mulNeonF16x3(SB), NOSPLIT, $256-64
	FLOATS(E3, TOKENS3, F16, 32, 3)

TEXT ·mulNeonF16x4(SB), NOSPLIT, $256-64
	FLOATS(E4, TOKENS4, F16, 32, 4)

TEXT ·mulNeonBF16x1(SB), NOSPLIT, $256-64
	FLOATS(E1, TOKENS1, BF16, 32, 1)

TEXT ·mulNeonBF16x2(SB), NOSPLIT, $256-64
	FLOATS(E2, TOKENS2, BF16, 32, 2)

TEXT ·mulNeonBF16x3(SB), NOSPLIT, $256-64
	FLOATS(E3, TOKENS3, BF16, 32, 3)

TEXT ·mulNeonBF16x4(SB), NOSPLIT, $256-64
	FLOATS(E4, TOKENS4, BF16, 32, 4)

TEXT ·mulNeonF32x1p2(SB), NOSPLIT, $256-64
	PANELS2(F32, 64)

TEXT ·mulNeonF16x1p2(SB), NOSPLIT, $256-64
	PANELS2(F16, 32)

TEXT ·mulNeonBF16x1p2(SB), NOSPLIT, $256-64
	PANELS2(BF16, 32)
