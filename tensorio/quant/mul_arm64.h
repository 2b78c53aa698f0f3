// The products of packed matrices with activations, written once for every
// number of tokens and with or without the dot-product extension. Who includes
// this file says before how codes are multiplied and summed: DOT, PAIR, START,
// SUM, SUMPAIR, CSTART and CORRECT, see mul_neondot_arm64.s.
//
// A kernel does half a panel at a time: eight rows, of which a 16-byte register
// holds four columns of four rows. Macros with the parameter E do something for
// each token: see tile_arm64.h.
//
//	R0       the unit; R13 its head and R6 its codes, for this half
//	R8       units left
//	R10      0 for the first half, 16 for the second
//	R14 R15  sub-blocks left, scales of sub-blocks
//	V0-V7    sums of a block, two registers a token (four without the extension)
//	V8-V15   results (blocks of 32), or sums of 256 columns
//	V16-V23  32 activations, two registers a token
//	V24-V27  codes: as stored in V24 and V25, ready in V26 and V27
//	V28-V29  scales, or bits of codes
//	V30      a table, or whatever a block needs
//	V31      the mask of a code

#define SECONDY(t, x, y) ADD2(19+(t), 19+(t), 10)
#define CLEARY(t, x, y) STPQ(0, 0, 19+(t), 0)
#define LOADY(t, x, y) LDPQ(8+2*(t), 9+2*(t), 19+(t), 0)
#define STOREY(t, x, y) STPQ(8+2*(t), 9+2*(t), 19+(t), 0)
#define NEXT(t, n, y) ADDI(1+(t), 1+(t), n)

// PLACE finds the head and the codes of a half unit.
#define PLACE(HEAD) \
	ADD  R10, R0, R13  \
	ADD  $HEAD, R0, R6 \
	ADD2(6, 6, 10)

// KERNEL does one half of the panel after the other.
#define KERNEL(E, TOKENS, UNIT, HEAD, SIZE, tokens) \
	MOVD  $0, R10        \
half:                        \
	TOKENS               \
	E(SECONDY, 0, 0)     \
	ZERO(0)              \
	E(CLEARY, 0, 0)      \
	MOVD  w+0(FP), R0    \
	MOVD  n+48(FP), R8   \
unit:                        \
	PLACE(HEAD)          \
	UNIT(E)              \
	ADD   $SIZE, R0      \
	SUBS  $1, R8, R8     \
	BNE   unit           \
	ADD   $16, R10       \
	CMP   $32, R10       \
	BNE   half           \
	FINISH(tokens)

// KERNEL1 is for one token: it does both halves of a unit before the next one,
// because the weights come from memory.
#define KERNEL1(UNIT, HEAD, SIZE) \
	TOKENS1              \
	ZERO(0)              \
	STPQ(0, 0, 19, 0)    \
	STPQ(0, 0, 19, 32)   \
	MOVD  w+0(FP), R0    \
	MOVD  n+48(FP), R8   \
unit:                        \
	MOVD  $0, R10        \
	MOVD  R1, R9         \
half:                        \
	PLACE(HEAD)          \
	UNIT(E1)             \
	CBNZ  R10, both      \
	MOVD  $16, R10       \
	MOVD  R9, R1         \
	ADD   $32, R19       \
	B     half           \
both:                        \
	SUB   $32, R19       \
	ADD   $SIZE, R0      \
	SUBS  $1, R8, R8     \
	BNE   unit           \
	FINISH(1)

#define TABLE \
	MOVD values+40(FP), R11 \
	LDRQ(30, 11, 0)

// Codes.

#define ACTS(t, x, y) LDPQ(16+2*(t), 17+2*(t), 1+(t), 0)
#define RAW(off) LDPQ(24, 25, 6, off)
#define LOW \
	ANDB(26, 24, 31) \
	ANDB(27, 25, 31)
#define HIGH \
	USHRB(26, 24, 4) \
	USHRB(27, 25, 4)
#define LOOKUP(a, b) \
	TBL(a, 30, a) \
	TBL(b, 30, b)

#define NIBBLES(E, j) \
	RAW(64*(j))        \
	LOW                \
	E(DOT, j, 0)       \
	HIGH               \
	E(DOT, 4+(j), 0)
#define NIBBLES32(E) \
	NIBBLES(E, 0) \
	NIBBLES(E, 1) \
	NIBBLES(E, 2) \
	NIBBLES(E, 3)

// FIVES needs the fifth bits in V28 and V29, of this j as the lowest.
#define FIVES(E, j) \
	RAW(64*(j))         \
	HIGH                \
	USHRB(30, 28, 4)    \
	SLIB(26, 30, 4)     \
	USHRB(30, 29, 4)    \
	SLIB(27, 30, 4)     \
	ANDB(26, 26, 31)     \
	ANDB(27, 27, 31)     \
	E(DOT, 4+(j), 0)    \
	SLIB(24, 28, 4)     \
	SLIB(25, 29, 4)     \
	LOW                 \
	E(DOT, j, 0)
#define SHIFT(s) \
	USHRB(28, 28, s) \
	USHRB(29, 29, s)
#define FIVES32(E) \
	LDPQ(28, 29, 6, 256) \
	FIVES(E, 0)          \
	SHIFT(1)             \
	FIVES(E, 1)          \
	SHIFT(1)             \
	FIVES(E, 2)          \
	SHIFT(1)             \
	FIVES(E, 3)

#define VALUES(E, j) \
	RAW(64*(j))          \
	LOW                  \
	USHRB(24, 24, 4)     \
	USHRB(25, 25, 4)     \
	LOOKUP(26, 27)       \
	LOOKUP(24, 25)       \
	E(PAIR, j, 4+(j))
#define VALUES32(E) \
	VALUES(E, 0) \
	VALUES(E, 1) \
	VALUES(E, 2) \
	VALUES(E, 3)

#define BYTES(E, j) \
	LDPQ(26, 27, 6, 64*(j))    \
	LDPQ(24, 25, 6, 64*(j)+64) \
	EORB(26, 26, 31)            \
	EORB(27, 27, 31)            \
	EORB(24, 24, 31)            \
	EORB(25, 25, 31)            \
	E(PAIR, j, (j)+1)
#define BYTES32(E) \
	BYTES(E, 0) \
	BYTES(E, 2) \
	BYTES(E, 4) \
	BYTES(E, 6)

// Blocks of 32 columns, two a unit. The activations are actBlocks: 32 codes,
// then d, d * sum, -8 * sum and -16 * sum.

#define SCALESF16(x, y, off) \
	LDRQ(17, 13, off) \
	FCVTL(x, 17)      \
	FCVTL2(y, 17)
#define SCALESBF16(x, y, off) \
	LDRQ(17, 13, off) \
	SHLL16(x, 17)     \
	SHLL162(y, 17)
#define MULADD(t, off, y) \
	LDRQ(16, 1+(t), off)             \
	FMULE(26, 28, 16, 0)             \
	FMULE(27, 29, 16, 0)             \
	SCVTF(2*(t), 2*(t))              \
	SCVTF(2*(t)+1, 2*(t)+1)          \
	FMLA(8+2*(t), 2*(t), 26)         \
	FMLA(9+2*(t), 2*(t)+1, 27)
#define MULADDMIN(t, off, y) \
	MULADD(t, off, y)                \
	FMLAE(8+2*(t), 24, 16, 1)        \
	FMLAE(9+2*(t), 25, 16, 1)

#define BLOCK_OFFSET(E, CODES, BYTES, c, off) \
	E(CSTART, c, 0)          \
	E(ACTS, 0, 0)            \
	CODES(E)                 \
	E(SUM, 0, 0)             \
	E(CORRECT, c, 0)         \
	SCALESF16(28, 29, off)   \
	E(MULADD, 32, 0)         \
	ADD $BYTES, R6           \
	E(NEXT, 48, 0)
#define BLOCK_MIN(E, CODES, BYTES, off) \
	E(START, 0, 0)           \
	E(ACTS, 0, 0)            \
	CODES(E)                 \
	E(SUM, 0, 0)             \
	SCALESF16(28, 29, off)   \
	SCALESF16(24, 25, 64+(off)) \
	E(MULADDMIN, 32, 0)      \
	ADD $BYTES, R6           \
	E(NEXT, 48, 0)
#define BLOCK_VALUES(E, SCALES, off) \
	E(START, 0, 0)           \
	E(ACTS, 0, 0)            \
	VALUES32(E)              \
	E(SUMPAIR, 0, 0)         \
	SCALES(28, 29, off)      \
	E(MULADD, 32, 0)         \
	ADD $256, R6             \
	E(NEXT, 48, 0)

#define UNIT_Q4_0(E) \
	E(LOADY, 0, 0)                           \
	BLOCK_OFFSET(E, NIBBLES32, 256, 2, 0)    \
	BLOCK_OFFSET(E, NIBBLES32, 256, 2, 32)   \
	E(STOREY, 0, 0)
#define UNIT_Q5_0(E) \
	E(LOADY, 0, 0)                           \
	BLOCK_OFFSET(E, FIVES32, 320, 3, 0)      \
	BLOCK_OFFSET(E, FIVES32, 320, 3, 32)     \
	E(STOREY, 0, 0)
#define UNIT_Q4_1(E) \
	E(LOADY, 0, 0)                           \
	BLOCK_MIN(E, NIBBLES32, 256, 0)          \
	BLOCK_MIN(E, NIBBLES32, 256, 32)         \
	E(STOREY, 0, 0)
#define UNIT_Q5_1(E) \
	E(LOADY, 0, 0)                           \
	BLOCK_MIN(E, FIVES32, 320, 0)            \
	BLOCK_MIN(E, FIVES32, 320, 32)           \
	E(STOREY, 0, 0)
#define UNIT_IQ4_NL(E) \
	E(LOADY, 0, 0)                           \
	BLOCK_VALUES(E, SCALESF16, 0)            \
	BLOCK_VALUES(E, SCALESF16, 32)           \
	E(STOREY, 0, 0)
#define UNIT_MXFP4(E) \
	E(LOADY, 0, 0)                           \
	BLOCK_VALUES(E, SCALESBF16, 0)           \
	BLOCK_VALUES(E, SCALESBF16, 32)          \
	E(STOREY, 0, 0)

// Q8_0. The activations are actBytes: 32 codes, then d.
#define BLOCK_BYTES(E, off) \
	E(START, 0, 0)           \
	E(ACTS, 0, 0)            \
	BYTES32(E)               \
	E(SUMPAIR, 0, 0)         \
	SCALESF16(28, 29, off)   \
	E(MULADD, 32, 0)         \
	ADD $512, R6             \
	E(NEXT, 48, 0)
#define UNIT_Q8_0(E) \
	E(LOADY, 0, 0)                           \
	BLOCK_BYTES(E, 0)                        \
	BLOCK_BYTES(E, 32)                       \
	E(STOREY, 0, 0)
