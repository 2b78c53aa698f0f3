#include "textflag.h"
#include "neon_arm64.h"
#include "tile_arm64.h"

// Without the dot-product extension: SMLAL adds products of bytes to sums of 16
// bits, a register for four columns of two rows. See mul_neondot_arm64.s for
// what the macros are to do. V20 to V23 are free here: there are two tokens at
// most.

// Codes of 5 bits: 8 products are at most 8 x 31 x 127 = 31496. Those of a table
// or of 6 bits are added up after 4.
#define DOT(t, q, y) \
	DUPW(20, 16+2*(t)+((q)>>2), (q)&3) \
	SMLAL(4*(t), 26, 20)               \
	SMLAL2(4*(t)+1, 26, 20)            \
	SMLAL(4*(t)+2, 27, 20)             \
	SMLAL2(4*(t)+3, 27, 20)
// Two products of any bytes are at most 2 x 128 x 127 = 32512.
#define PAIR(t, q, p) \
	DUPW(20, 16+2*(t)+((q)>>2), (q)&3) \
	DUPW(21, 16+2*(t)+((p)>>2), (p)&3) \
	SMULL(22, 26, 20)                  \
	SMULL2(23, 26, 20)                 \
	SMLAL(22, 24, 21)                  \
	SMLAL2(23, 24, 21)                 \
	SADALP(4*(t), 22)                  \
	SADALP(4*(t)+1, 23)                \
	SMULL(22, 27, 20)                  \
	SMULL2(23, 27, 20)                 \
	SMLAL(22, 25, 21)                  \
	SMLAL2(23, 25, 21)                 \
	SADALP(4*(t)+2, 22)                \
	SADALP(4*(t)+3, 23)
#define START(t, x, y) \
	ZERO(4*(t))   \
	ZERO(4*(t)+1) \
	ZERO(4*(t)+2) \
	ZERO(4*(t)+3)
#define SUM(t, x, y) \
	SADDLP(4*(t), 4*(t))      \
	SADDLP(4*(t)+1, 4*(t)+1)  \
	SADDLP(4*(t)+2, 4*(t)+2)  \
	SADDLP(4*(t)+3, 4*(t)+3)  \
	SUMPAIR(t, 0, 0)
#define SUMPAIR(t, x, y) \
	ADDPW(2*(t), 4*(t), 4*(t)+1)    \
	ADDPW(2*(t)+1, 4*(t)+2, 4*(t)+3)
#define CSTART(t, c, y) START(t, 0, 0)
#define CORRECT(t, c, y) \
	LDRQ(20, 1+(t), 32)        \
	DUPW(20, 20, c)            \
	ADDW(2*(t), 2*(t), 20)     \
	ADDW(2*(t)+1, 2*(t)+1, 20)

#include "mul_arm64.h"
#include "super_arm64.h"

TEXT ·mulNeonQ4_0x1(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	KERNEL1(UNIT_Q4_0, 64, 576)

TEXT ·mulNeonQ4_0x2(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	KERNEL(E2, TOKENS2, UNIT_Q4_0, 64, 576, 2)

TEXT ·mulNeonQ4_1x1(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	KERNEL1(UNIT_Q4_1, 128, 640)

TEXT ·mulNeonQ4_1x2(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	KERNEL(E2, TOKENS2, UNIT_Q4_1, 128, 640, 2)

TEXT ·mulNeonQ5_0x1(SB), NOSPLIT, $256-64
	VMOVI $31, V31.B16
	KERNEL1(UNIT_Q5_0, 64, 704)

TEXT ·mulNeonQ5_0x2(SB), NOSPLIT, $256-64
	VMOVI $31, V31.B16
	KERNEL(E2, TOKENS2, UNIT_Q5_0, 64, 704, 2)

TEXT ·mulNeonQ5_1x1(SB), NOSPLIT, $256-64
	VMOVI $31, V31.B16
	KERNEL1(UNIT_Q5_1, 128, 768)

TEXT ·mulNeonQ5_1x2(SB), NOSPLIT, $256-64
	VMOVI $31, V31.B16
	KERNEL(E2, TOKENS2, UNIT_Q5_1, 128, 768, 2)

TEXT ·mulNeonQ8_0x1(SB), NOSPLIT, $256-64
	VMOVI $128, V31.B16
	KERNEL1(UNIT_Q8_0, 64, 1088)

TEXT ·mulNeonQ8_0x2(SB), NOSPLIT, $256-64
	VMOVI $128, V31.B16
	KERNEL(E2, TOKENS2, UNIT_Q8_0, 64, 1088, 2)

TEXT ·mulNeonIQ4_NLx1(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	TABLE
	KERNEL1(UNIT_IQ4_NL, 64, 576)

TEXT ·mulNeonIQ4_NLx2(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	TABLE
	KERNEL(E2, TOKENS2, UNIT_IQ4_NL, 64, 576, 2)

TEXT ·mulNeonMXFP4x1(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	TABLE
	KERNEL1(UNIT_MXFP4, 64, 576)

TEXT ·mulNeonMXFP4x2(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	TABLE
	KERNEL(E2, TOKENS2, UNIT_MXFP4, 64, 576, 2)

TEXT ·mulNeonQ4_Kx1(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	KERNEL1(UNIT_Q4_K, 320, 2368)

TEXT ·mulNeonQ4_Kx2(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	KERNEL(E2, TOKENS2, UNIT_Q4_K, 320, 2368, 2)

TEXT ·mulNeonQ5_Kx1(SB), NOSPLIT, $256-64
	VMOVI $31, V31.B16
	KERNEL1(UNIT_Q5_K, 320, 2880)

TEXT ·mulNeonQ5_Kx2(SB), NOSPLIT, $256-64
	VMOVI $31, V31.B16
	KERNEL(E2, TOKENS2, UNIT_Q5_K, 320, 2880, 2)

TEXT ·mulNeonQ6_Kx1(SB), NOSPLIT, $256-64
	VMOVI $63, V31.B16
	VMOVI $32, V30.B16
	KERNEL1(UNIT_Q6_K, 320, 3392)

TEXT ·mulNeonQ6_Kx2(SB), NOSPLIT, $256-64
	VMOVI $63, V31.B16
	VMOVI $32, V30.B16
	KERNEL(E2, TOKENS2, UNIT_Q6_K, 320, 3392, 2)

TEXT ·mulNeonQ2_Kx1(SB), NOSPLIT, $256-64
	VMOVI $3, V31.B16
	KERNEL1(UNIT_Q2_K, 320, 1344)

TEXT ·mulNeonQ2_Kx2(SB), NOSPLIT, $256-64
	VMOVI $3, V31.B16
	KERNEL(E2, TOKENS2, UNIT_Q2_K, 320, 1344, 2)

TEXT ·mulNeonQ3_Kx1(SB), NOSPLIT, $256-64
	VMOVI $7, V31.B16
	TABLE
	KERNEL1(UNIT_Q3_K, 320, 1856)

TEXT ·mulNeonQ3_Kx2(SB), NOSPLIT, $256-64
	VMOVI $7, V31.B16
	TABLE
	KERNEL(E2, TOKENS2, UNIT_Q3_K, 320, 1856, 2)

TEXT ·mulNeon3_16x1(SB), NOSPLIT, $256-64
	VMOVI $7, V31.B16
	TABLE
	KERNEL1(UNIT_3_16, 320, 1856)

TEXT ·mulNeon3_16x2(SB), NOSPLIT, $256-64
	VMOVI $7, V31.B16
	TABLE
	KERNEL(E2, TOKENS2, UNIT_3_16, 320, 1856, 2)

TEXT ·mulNeon3_32x1(SB), NOSPLIT, $256-64
	VMOVI $7, V31.B16
	TABLE
	KERNEL1(UNIT_3_32, 192, 1728)

TEXT ·mulNeon3_32x2(SB), NOSPLIT, $256-64
	VMOVI $7, V31.B16
	TABLE
	KERNEL(E2, TOKENS2, UNIT_3_32, 192, 1728, 2)

TEXT ·mulNeon4_32x1(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	TABLE
	KERNEL1(UNIT_4_32, 192, 2240)

TEXT ·mulNeon4_32x2(SB), NOSPLIT, $256-64
	VMOVI $15, V31.B16
	TABLE
	KERNEL(E2, TOKENS2, UNIT_4_32, 192, 2240, 2)

TEXT ·mulNeonTQx1(SB), NOSPLIT, $256-64
	VMOVI $3, V31.B16
	TABLE
	KERNEL1(UNIT_TQ, 64, 1088)

TEXT ·mulNeonTQx2(SB), NOSPLIT, $256-64
	VMOVI $3, V31.B16
	TABLE
	KERNEL(E2, TOKENS2, UNIT_TQ, 64, 1088, 2)
