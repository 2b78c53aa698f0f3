// Blocks of 256 columns, see mul_arm64.h. The activations are actSupers: 256
// codes, 16 sums of 16 codes, 8 sums of 32, then d. When the sub-blocks are
// done, R1 to R4 stand behind the codes. A unit's head has 16 d, then 16 dmin,
// or 16 d in float32; from 64 on the scales of sub-blocks.

#define ZEROX(t, x, y) \
	ZERO(8+2*(t)) \
	ZERO(9+2*(t))
// MLAX adds a sum times the scales in V28 and V29.
#define MLAX(t, x, y) \
	MLAW(8+2*(t), 2*(t), 28) \
	MLAW(9+2*(t), 2*(t)+1, 29)

// Scales of 8 rows, to V28 and V29.
#define SCALES32(off) \
	LDRD(24, 15, off) \
	UXTLB(24, 24)     \
	UXTLH(28, 24)     \
	UXTL2H(29, 24)
#define SIGNED1(off) /* first of a pair */ \
	LDRQ(24, 15, off) \
	SHLH(24, 24, 8)   \
	SSHRH(24, 24, 8)  \
	SXTLH(28, 24)     \
	SXTL2H(29, 24)
#define SIGNED2(off) \
	LDRQ(24, 15, off) \
	SSHRH(24, 24, 8)  \
	SXTLH(28, 24)     \
	SXTL2H(29, 24)
#define NIBBLE1(off) \
	LDRQ(24, 15, off) \
	SHLH(24, 24, 12)  \
	USHRH(24, 24, 12) \
	UXTLH(28, 24)     \
	UXTL2H(29, 24)
#define NIBBLE2(off) \
	LDRQ(24, 15, off) \
	SHLH(24, 24, 4)   \
	USHRH(24, 24, 12) \
	UXTLH(28, 24)     \
	UXTL2H(29, 24)
#define ONES(off) \
	VMOVI $1, V24.B16 \
	VUSHR $24, V24.S4, V28.S4 \
	VUSHR $24, V24.S4, V29.S4

// Sub-blocks of 32 columns with one scale.
#define SUB_DOT(E, CODES, BYTES, SCALES, off) \
	E(ACTS, 0, 0)       \
	E(START, 0, 0)      \
	CODES(E)            \
	E(SUM, 0, 0)        \
	SCALES(off)         \
	E(MLAX, 0, 0)       \
	ADD $BYTES, R6      \
	E(NEXT, 32, 0)
#define SUB_VALUES(E, SCALES, off) \
	E(ACTS, 0, 0)       \
	E(START, 0, 0)      \
	VALUES32(E)         \
	E(SUMPAIR, 0, 0)    \
	SCALES(off)         \
	E(MLAX, 0, 0)       \
	ADD $256, R6        \
	E(NEXT, 32, 0)
// Sub-blocks with a scale for each half of the columns.
#define SUB_HALVES(E, LO, HI, BYTES, S1, S2, off1, off2) \
	E(ACTS, 0, 0)       \
	E(START, 0, 0)      \
	LO(E)               \
	E(SUM, 0, 0)        \
	S1(off1)            \
	E(MLAX, 0, 0)       \
	E(START, 0, 0)      \
	HI(E)               \
	E(SUM, 0, 0)        \
	S2(off2)            \
	E(MLAX, 0, 0)       \
	ADD $BYTES, R6      \
	E(NEXT, 32, 0)

// Codes of 6 bits, less 32: V30 is 32s.
#define SIX(E, q) \
	SLIB(26, 28, 4)   \
	SLIB(27, 29, 4)   \
	ANDB(26, 26, 31)   \
	ANDB(27, 27, 31)   \
	SUBB(26, 26, 30)  \
	SUBB(27, 27, 30)  \
	E(DOT, q, 0)
#define SIXLO(E, j) \
	LDPQ(26, 27, 6, 64*(j)) \
	SIX(E, j)
#define SIXHI(E, j) \
	RAW(64*(j))     \
	HIGH            \
	SIX(E, 4+(j))
#define SIXES_LO(E) \
	LDPQ(28, 29, 6, 256) \
	SIXLO(E, 0)          \
	SHIFT(2)             \
	SIXLO(E, 1)          \
	SHIFT(2)             \
	SIXLO(E, 2)          \
	SHIFT(2)             \
	SIXLO(E, 3)
#define SIXES_HI(E) \
	LDPQ(28, 29, 6, 320) \
	SIXHI(E, 0)          \
	SHIFT(2)             \
	SIXHI(E, 1)          \
	SHIFT(2)             \
	SIXHI(E, 2)          \
	SHIFT(2)             \
	SIXHI(E, 3)

// Codes of 2 bits: four to a byte.
#define DOWN(s) \
	USHRB(24, 24, s) \
	USHRB(25, 25, s)
#define TWO(E, q) \
	LOW          \
	E(DOT, q, 0)
#define TWOS(E, q) \
	TWO(E, q)     \
	DOWN(2)       \
	TWO(E, (q)+1) \
	DOWN(2)       \
	TWO(E, (q)+2) \
	DOWN(2)       \
	TWO(E, (q)+3)
#define TWOS_LO(E) \
	RAW(0)     \
	TWOS(E, 0)
#define TWOS_HI(E) \
	RAW(64)    \
	TWOS(E, 4)
// The same with a table.
#define TERN(E, q) \
	LOW             \
	LOOKUP(26, 27)  \
	E(DOT, q, 0)
#define TERNS(E, q) \
	TERN(E, q)     \
	DOWN(2)        \
	TERN(E, (q)+1) \
	DOWN(2)        \
	TERN(E, (q)+2) \
	DOWN(2)        \
	TERN(E, (q)+3)
#define TERNS32(E) \
	RAW(0)         \
	TERNS(E, 0)    \
	RAW(64)        \
	TERNS(E, 4)

// Codes of 3 bits with a table: four to a byte, and eight to a byte of bits.
#define THREE(E, q) \
	ORRB(26, 24, 24) \
	ORRB(27, 25, 25) \
	SLIB(26, 28, 2) \
	SLIB(27, 29, 2) \
	ANDB(26, 26, 31) \
	ANDB(27, 27, 31) \
	LOOKUP(26, 27)  \
	E(DOT, q, 0)
#define THREES(E, q) \
	THREE(E, q)     \
	DOWN(2)         \
	SHIFT(1)        \
	THREE(E, (q)+1) \
	DOWN(2)         \
	SHIFT(1)        \
	THREE(E, (q)+2) \
	DOWN(2)         \
	SHIFT(1)        \
	THREE(E, (q)+3)
#define THREES_LO(E) \
	RAW(0)               \
	LDPQ(28, 29, 6, 128) \
	THREES(E, 0)
#define THREES_HI(E) \
	RAW(64)              \
	LDPQ(28, 29, 6, 128) \
	SHIFT(4)             \
	THREES(E, 4)

// The end of a unit: acc = fma(S, d*da, acc).
#define DF16 \
	LDRQ(24, 13, 0) \
	FCVTL(28, 24)   \
	FCVTL2(29, 24)
#define DF32 \
	ADD2(11, 0, 10)     \
	LDPQ(28, 29, 11, 0)
#define TOTAL(t, x, y) \
	LDRQ(4, 1+(t), 48)           \
	LDPQ(24, 25, 19+(t), 0)      \
	FMULE(5, 28, 4, 0)           \
	FMULE(6, 29, 4, 0)           \
	SCVTF(8+2*(t), 8+2*(t))      \
	SCVTF(9+2*(t), 9+2*(t))      \
	FMLA(24, 8+2*(t), 5)         \
	FMLA(25, 9+2*(t), 6)         \
	STPQ(24, 25, 19+(t), 0)

// Minima: acc = fma(-M, dmin*da, acc). The sums of codes go to V0 to V7, -M to
// V16 to V23.
#define ZEROM(t, x, y) \
	ZERO(16+2*(t)) \
	ZERO(17+2*(t))
#define LESS(t, v, i) /* v is what the register of the sums is after, of element i */ \
	SMLSLE(16+2*(t), 24, v, i)    \
	SMLSLE2(17+2*(t), 24, v, i)   \
	SMLSLE(16+2*(t), 25, v, (i)+1)  \
	SMLSLE2(17+2*(t), 25, v, (i)+1)
#define SUMS32(t, x, y) LDRQ(t, 1+(t), 32)
#define LESS32(t, i, y) LESS(t, t, i)
#define MIN32(E, i) \
	LDRQ(24, 13, 192+16*(i)) \
	USHRH(25, 24, 8)         \
	LOWH(24)                 \
	E(LESS32, i, 0)
#define SUMS16(t, x, y) LDPQ(2*(t), 2*(t)+1, 1+(t), 0)
#define LESS16(t, v, i) LESS(t, 2*(t)+(v), i)
#define MIN16(E, j) \
	LDRQ(25, 13, 64+32*(j))  \
	SHLH(24, 25, 8)          \
	USHRH(24, 24, 12)        \
	USHRH(25, 25, 12)        \
	E(LESS16, (j)>>2, 2*((j)&3))
#define MINIMA(t, x, y) \
	LDRQ(8, 1+(t), 48)           \
	LDPQ(24, 25, 19+(t), 0)      \
	FMULE(26, 28, 8, 0)          \
	FMULE(27, 29, 8, 0)          \
	SCVTF(16+2*(t), 16+2*(t))    \
	SCVTF(17+2*(t), 17+2*(t))    \
	FMLA(24, 16+2*(t), 26)       \
	FMLA(25, 17+2*(t), 27)       \
	STPQ(24, 25, 19+(t), 0)
#define DMIN \
	LDRQ(24, 13, 32) \
	FCVTL(28, 24)    \
	FCVTL2(29, 24)
#define MINIMA32(E) \
	E(ZEROM, 0, 0)   \
	E(SUMS32, 0, 0)  \
	MIN32(E, 0)      \
	MIN32(E, 2)      \
	MIN32(E, 4)      \
	MIN32(E, 6)      \
	DMIN             \
	E(MINIMA, 0, 0)
#define MINIMA16(E) \
	E(ZEROM, 0, 0)   \
	E(SUMS16, 0, 0)  \
	MIN16(E, 0)      \
	MIN16(E, 1)      \
	MIN16(E, 2)      \
	MIN16(E, 3)      \
	MIN16(E, 4)      \
	MIN16(E, 5)      \
	MIN16(E, 6)      \
	MIN16(E, 7)      \
	DMIN             \
	E(MINIMA, 0, 0)
#define NONE(E)

// SUPER is a unit: four times what two sub-blocks do, in SUBS2, then its end.
#define SUPER(E, SUBS2, NEXTSCALES, D, MINIMA) \
	E(ZEROX, 0, 0)     \
	MOVD $4, R14       \
sub:                       \
	SUBS2(E)           \
	ADD  $NEXTSCALES, R15 \
	SUB  $1, R14       \
	CBNZ R14, sub      \
	D                  \
	E(TOTAL, 0, 0)     \
	MINIMA(E)          \
	E(NEXT, 64, 0)

#define SUBS_Q4_K(E) \
	SUB_DOT(E, NIBBLES32, 256, SCALES32, 0)  \
	SUB_DOT(E, NIBBLES32, 256, SCALES32, 16)
#define UNIT_Q4_K(E) \
	ADD R10>>1, R0, R15 \
	ADD $64, R15        \
	SUPER(E, SUBS_Q4_K, 32, DF16, MINIMA32)
#define SUBS_Q5_K(E) \
	SUB_DOT(E, FIVES32, 320, SCALES32, 0)  \
	SUB_DOT(E, FIVES32, 320, SCALES32, 16)
#define UNIT_Q5_K(E) \
	ADD R10>>1, R0, R15 \
	ADD $64, R15        \
	SUPER(E, SUBS_Q5_K, 32, DF16, MINIMA32)
#define SUBS_Q6_K(E) \
	SUB_HALVES(E, SIXES_LO, SIXES_HI, 384, SIGNED1, SIGNED2, 0, 0)   \
	SUB_HALVES(E, SIXES_LO, SIXES_HI, 384, SIGNED1, SIGNED2, 32, 32)
#define UNIT_Q6_K(E) \
	ADD $64, R13, R15   \
	SUPER(E, SUBS_Q6_K, 64, DF16, NONE)
#define SUBS_Q2_K(E) \
	SUB_HALVES(E, TWOS_LO, TWOS_HI, 128, NIBBLE1, NIBBLE2, 0, 0)   \
	SUB_HALVES(E, TWOS_LO, TWOS_HI, 128, NIBBLE1, NIBBLE2, 32, 32)
#define UNIT_Q2_K(E) \
	ADD $64, R13, R15   \
	SUPER(E, SUBS_Q2_K, 64, DF16, MINIMA16)
#define SUBS_3_16(E) \
	SUB_HALVES(E, THREES_LO, THREES_HI, 192, SIGNED1, SIGNED2, 0, 0)   \
	SUB_HALVES(E, THREES_LO, THREES_HI, 192, SIGNED1, SIGNED2, 32, 32)
#define UNIT_Q3_K(E) \
	ADD $64, R13, R15   \
	SUPER(E, SUBS_3_16, 64, DF16, NONE)
#define UNIT_3_16(E) \
	ADD $64, R13, R15   \
	SUPER(E, SUBS_3_16, 64, DF32, NONE)
#define SUBS_3_32(E) \
	SUB_HALVES(E, THREES_LO, THREES_HI, 192, SIGNED1, SIGNED1, 0, 0) \
	SUB_HALVES(E, THREES_LO, THREES_HI, 192, SIGNED2, SIGNED2, 0, 0)
#define UNIT_3_32(E) \
	ADD $64, R13, R15   \
	SUPER(E, SUBS_3_32, 32, DF32, NONE)
#define SUBS_4_32(E) \
	SUB_VALUES(E, SIGNED1, 0) \
	SUB_VALUES(E, SIGNED2, 0)
#define UNIT_4_32(E) \
	ADD $64, R13, R15   \
	SUPER(E, SUBS_4_32, 32, DF32, NONE)
#define SUBS_TQ(E) \
	SUB_DOT(E, TERNS32, 128, ONES, 0) \
	SUB_DOT(E, TERNS32, 128, ONES, 0)
#define UNIT_TQ(E) \
	SUPER(E, SUBS_TQ, 0, DF32, NONE)
