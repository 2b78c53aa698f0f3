// Instructions that Go's assembler does not know, and those it knows with
// registers by number, so that macros can count them: the operands stand as in
// Arm's manual, the destination first. Comments give the manual's syntax.

// Loads and stores: offsets are multiples of the size.
#define LDPQ(a, b, r, off) WORD $(0xad400000 | ((off)>>4&127)<<15 | (b)<<10 | (r)<<5 | (a)) // ldp qa, qb, [xr, off]
#define STPQ(a, b, r, off) WORD $(0xad000000 | ((off)>>4&127)<<15 | (b)<<10 | (r)<<5 | (a)) // stp qa, qb, [xr, off]
#define LDRQ(a, r, off) WORD $(0x3dc00000 | ((off)>>4)<<10 | (r)<<5 | (a)) // ldr qa, [xr, off]
#define LDRD(a, r, off) WORD $(0xfd400000 | ((off)>>3)<<10 | (r)<<5 | (a)) // ldr da, [xr, off]
#define LDRS(a, r, off) WORD $(0xbd400000 | ((off)>>2)<<10 | (r)<<5 | (a)) // ldr sa, [xr, off]
#define STRQ(a, r, off) WORD $(0x3d800000 | ((off)>>4)<<10 | (r)<<5 | (a)) // str qa, [xr, off]
#define ADDI(d, n, s) WORD $(0x91000000 | (s)<<10 | (n)<<5 | (d)) // add xd, xn, s

// Bits.
#define ANDB(d, n, m) WORD $(0x4e201c00 | (m)<<16 | (n)<<5 | (d)) // and vd.16b, vn.16b, vm.16b
#define ORRB(d, n, m) WORD $(0x4ea01c00 | (m)<<16 | (n)<<5 | (d)) // orr vd.16b, vn.16b, vm.16b
#define BIT(d, n, m) WORD $(0x6ea01c00 | (m)<<16 | (n)<<5 | (d)) // bit vd.16b, vn.16b, vm.16b
#define ZERO(d) WORD $(0x6f00e400 | (d)) // movi vd.2d, 0

// Integers.
#define ADDW(d, n, m) WORD $(0x4ea08400 | (m)<<16 | (n)<<5 | (d)) // add vd.4s, vn.4s, vm.4s
#define SUBW(d, n, m) WORD $(0x6ea08400 | (m)<<16 | (n)<<5 | (d)) // sub vd.4s, vn.4s, vm.4s
#define SHLW(d, n, s) WORD $(0x4f005400 | (32+(s))<<16 | (n)<<5 | (d)) // shl vd.4s, vn.4s, s
#define SSHRW(d, n, s) WORD $(0x4f000400 | (64-(s))<<16 | (n)<<5 | (d)) // sshr vd.4s, vn.4s, s
#define USHRW(d, n, s) WORD $(0x6f000400 | (64-(s))<<16 | (n)<<5 | (d)) // ushr vd.4s, vn.4s, s
#define CMEQH(d, n, m) WORD $(0x6e608c00 | (m)<<16 | (n)<<5 | (d)) // cmeq vd.8h, vn.8h, vm.8h
#define SXTLB(d, n) WORD $(0x0f08a400 | (n)<<5 | (d)) // sxtl vd.8h, vn.8b
#define SXTL2B(d, n) WORD $(0x4f08a400 | (n)<<5 | (d)) // sxtl2 vd.8h, vn.16b
#define SXTLH(d, n) WORD $(0x0f10a400 | (n)<<5 | (d)) // sxtl vd.4s, vn.4h
#define SXTL2H(d, n) WORD $(0x4f10a400 | (n)<<5 | (d)) // sxtl2 vd.4s, vn.8h
#define SHRN16(d, n) WORD $(0x0f108400 | (n)<<5 | (d)) // shrn vd.4h, vn.4s, 16
#define SHRN216(d, n) WORD $(0x4f108400 | (n)<<5 | (d)) // shrn2 vd.8h, vn.4s, 16
#define SHLL16(d, n) WORD $(0x2e613800 | (n)<<5 | (d)) // shll vd.4s, vn.4h, 16
#define SHLL162(d, n) WORD $(0x6e613800 | (n)<<5 | (d)) // shll2 vd.4s, vn.8h, 16

// Floats.
#define FCVTL(d, n) WORD $(0x0e217800 | (n)<<5 | (d)) // fcvtl vd.4s, vn.4h
#define FCVTL2(d, n) WORD $(0x4e217800 | (n)<<5 | (d)) // fcvtl2 vd.4s, vn.8h
#define FCVTN(d, n) WORD $(0x0e216800 | (n)<<5 | (d)) // fcvtn vd.4h, vn.4s
#define FCVTN2(d, n) WORD $(0x4e216800 | (n)<<5 | (d)) // fcvtn2 vd.8h, vn.4s
#define SCVTF(d, n) WORD $(0x4e21d800 | (n)<<5 | (d)) // scvtf vd.4s, vn.4s
#define FNEG(d, n) WORD $(0x6ea0f800 | (n)<<5 | (d)) // fneg vd.4s, vn.4s
#define FADD(d, n, m) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d)) // fadd vd.4s, vn.4s, vm.4s
#define FSUB(d, n, m) WORD $(0x4ea0d400 | (m)<<16 | (n)<<5 | (d)) // fsub vd.4s, vn.4s, vm.4s
#define FMUL(d, n, m) WORD $(0x6e20dc00 | (m)<<16 | (n)<<5 | (d)) // fmul vd.4s, vn.4s, vm.4s
#define FDIV(d, n, m) WORD $(0x6e20fc00 | (m)<<16 | (n)<<5 | (d)) // fdiv vd.4s, vn.4s, vm.4s
#define FMAX(d, n, m) WORD $(0x4e20f400 | (m)<<16 | (n)<<5 | (d)) // fmax vd.4s, vn.4s, vm.4s
#define FMIN(d, n, m) WORD $(0x4ea0f400 | (m)<<16 | (n)<<5 | (d)) // fmin vd.4s, vn.4s, vm.4s
#define FMLA(d, n, m) WORD $(0x4e20cc00 | (m)<<16 | (n)<<5 | (d)) // fmla vd.4s, vn.4s, vm.4s
#define FMLS(d, n, m) WORD $(0x4ea0cc00 | (m)<<16 | (n)<<5 | (d)) // fmls vd.4s, vn.4s, vm.4s
#define FCMEQ(d, n, m) WORD $(0x4e20e400 | (m)<<16 | (n)<<5 | (d)) // fcmeq vd.4s, vn.4s, vm.4s
#define FCMGT(d, n, m) WORD $(0x6ea0e400 | (m)<<16 | (n)<<5 | (d)) // fcmgt vd.4s, vn.4s, vm.4s
#define FMLAE(d, n, m, i) WORD $(0x4f801000 | ((i)&1)<<21 | ((i)>>1)<<11 | (m)<<16 | (n)<<5 | (d)) // fmla vd.4s, vn.4s, vm.s[i]
