// What all products share: their arguments, and the results of a tile of tokens,
// which are on the stack until the panel is done, 16 a token.
//
//	w, a     the panel and the activations of the first token
//	stride   bytes from one token's activations to the next
//	y, ldy   results of the first token, bytes from one token's to the next
//	values   a table of what codes stand for
//	n, rows  units of the panel, rows that it has
//
//	R1-R4    activations of the tokens
//	R19-R22  results of the tokens

// E1 to E4 do something for each token t: the first parameter of M.
#define E1(M, x, y) M(0, x, y)
#define E2(M, x, y) M(0, x, y); M(1, x, y)
#define E3(M, x, y) M(0, x, y); M(1, x, y); M(2, x, y)
#define E4(M, x, y) M(0, x, y); M(1, x, y); M(2, x, y); M(3, x, y)

#define TOKENS1 \
	MOVD a+8(FP), R1          \
	MOVD $sums-256(SP), R19
#define TOKENS2 \
	TOKENS1                   \
	MOVD stride+16(FP), R11   \
	ADD  R11, R1, R2          \
	ADD  $64, R19, R20
#define TOKENS3 \
	TOKENS2                   \
	ADD  R11, R2, R3          \
	ADD  $64, R20, R21
#define TOKENS4 \
	TOKENS3                   \
	ADD  R11, R3, R4          \
	ADD  $64, R21, R22

// FINISH copies the results of some tokens to y and returns.
#define FINISH(tokens) \
	MOVD $sums-256(SP), R11   \
	MOVD y+24(FP), R12        \
	MOVD ldy+32(FP), R13      \
	MOVD rows+56(FP), R14     \
	MOVD $tokens, R8          \
copy:                             \
	CMP  $16, R14             \
	BNE  few                  \
	LDPQ(0, 1, 11, 0)         \
	LDPQ(2, 3, 11, 32)        \
	STPQ(0, 1, 12, 0)         \
	STPQ(2, 3, 12, 32)        \
copied:                           \
	ADD  $64, R11             \
	ADD  R13, R12             \
	SUBS $1, R8, R8           \
	BNE  copy                 \
	RET                       \
few:                              \
	MOVD R14, R9              \
	MOVD R11, R10             \
	MOVD R12, R15             \
row:                              \
	FMOVS.P 4(R10), F0        \
	FMOVS.P F0, 4(R15)        \
	SUBS $1, R9, R9           \
	BNE  row                  \
	B    copied
