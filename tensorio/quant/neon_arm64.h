// Instructions that Go's assembler does not know, and those it knows with
// registers by number, so that macros can count them: the operands stand as in
// Arm's manual, the destination first. 29 is a register V29 or R29 by place.
// Comments give the manual's syntax.

// Loads and stores: offsets are multiples of the size.
#define LDPQ(a, b, r, off) WORD $(0xad400000 | ((off)>>4&127)<<15 | (b)<<10 | (r)<<5 | (a)) // ldp qa, qb, [xr, off]
#define STPQ(a, b, r, off) WORD $(0xad000000 | ((off)>>4&127)<<15 | (b)<<10 | (r)<<5 | (a)) // stp qa, qb, [xr, off]
#define LDRQ(a, r, off) WORD $(0x3dc00000 | ((off)>>4)<<10 | (r)<<5 | (a)) // ldr qa, [xr, off]
#define LDRD(a, r, off) WORD $(0xfd400000 | ((off)>>3)<<10 | (r)<<5 | (a)) // ldr da, [xr, off]
#define LDRS(a, r, off) WORD $(0xbd400000 | ((off)>>2)<<10 | (r)<<5 | (a)) // ldr sa, [xr, off]
#define STRQ(a, r, off) WORD $(0x3d800000 | ((off)>>4)<<10 | (r)<<5 | (a)) // str qa, [xr, off]


// Addresses.
#define ADDI(d, n, s) WORD $(0x91000000 | (s)<<10 | (n)<<5 | (d)) // add xd, xn, s
#define ADD2(d, n, m) WORD $(0x8b000400 | (m)<<16 | (n)<<5 | (d)) // add xd, xn, xm, lsl 1

// Bytes and bits.
#define ANDB(d, n, m) WORD $(0x4e201c00 | (m)<<16 | (n)<<5 | (d)) // and vd.16b, vn.16b, vm.16b
#define ORRB(d, n, m) WORD $(0x4ea01c00 | (m)<<16 | (n)<<5 | (d)) // orr vd.16b, vn.16b, vm.16b
#define EORB(d, n, m) WORD $(0x6e201c00 | (m)<<16 | (n)<<5 | (d)) // eor vd.16b, vn.16b, vm.16b
#define SUBB(d, n, m) WORD $(0x6e208400 | (m)<<16 | (n)<<5 | (d)) // sub vd.16b, vn.16b, vm.16b
#define USHRB(d, n, s) WORD $(0x6f000400 | (16-(s))<<16 | (n)<<5 | (d)) // ushr vd.16b, vn.16b, s
#define SLIB(d, n, s) WORD $(0x6f005400 | (8+(s))<<16 | (n)<<5 | (d)) // sli vd.16b, vn.16b, s
#define TBL(d, n, m) WORD $(0x4e000000 | (m)<<16 | (n)<<5 | (d)) // tbl vd.16b, {vn.16b}, vm.16b
#define ZERO(d) WORD $(0x6f00e400 | (d)) // movi vd.2d, 0

// Integers of 16 and 32 bits.
#define USHRH(d, n, s) WORD $(0x6f000400 | (32-(s))<<16 | (n)<<5 | (d)) // ushr vd.8h, vn.8h, s
#define SSHRH(d, n, s) WORD $(0x4f000400 | (32-(s))<<16 | (n)<<5 | (d)) // sshr vd.8h, vn.8h, s
#define SHLH(d, n, s) WORD $(0x4f005400 | (16+(s))<<16 | (n)<<5 | (d)) // shl vd.8h, vn.8h, s
#define UXTLB(d, n) WORD $(0x2f08a400 | (n)<<5 | (d)) // uxtl vd.8h, vn.8b
#define UXTLH(d, n) WORD $(0x2f10a400 | (n)<<5 | (d)) // uxtl vd.4s, vn.4h
#define UXTL2H(d, n) WORD $(0x6f10a400 | (n)<<5 | (d)) // uxtl2 vd.4s, vn.8h
#define SXTLH(d, n) WORD $(0x0f10a400 | (n)<<5 | (d)) // sxtl vd.4s, vn.4h
#define SXTL2H(d, n) WORD $(0x4f10a400 | (n)<<5 | (d)) // sxtl2 vd.4s, vn.8h
#define LOWH(d) WORD $(0x6f07b7e0 | (d)) // bic vd.8h, 0xff, lsl 8
#define ADDW(d, n, m) WORD $(0x4ea08400 | (m)<<16 | (n)<<5 | (d)) // add vd.4s, vn.4s, vm.4s
#define ADDPH(d, n, m) WORD $(0x4e60bc00 | (m)<<16 | (n)<<5 | (d)) // addp vd.8h, vn.8h, vm.8h
#define ADDPW(d, n, m) WORD $(0x4ea0bc00 | (m)<<16 | (n)<<5 | (d)) // addp vd.4s, vn.4s, vm.4s
#define MLAW(d, n, m) WORD $(0x4ea09400 | (m)<<16 | (n)<<5 | (d)) // mla vd.4s, vn.4s, vm.4s
#define DUPW(d, n, i) WORD $(0x4e040400 | (i)<<19 | (n)<<5 | (d)) // dup vd.4s, vn.s[i]

// Products. SMLSLE and SMLSLE2 take vm from v0 to v15.
#define SDOTE(d, n, m, i) WORD $(0x4f80e000 | ((i)&1)<<21 | ((i)>>1)<<11 | (m)<<16 | (n)<<5 | (d)) // sdot vd.4s, vn.16b, vm.4b[i]
#define SMULL(d, n, m) WORD $(0x0e20c000 | (m)<<16 | (n)<<5 | (d)) // smull vd.8h, vn.8b, vm.8b
#define SMULL2(d, n, m) WORD $(0x4e20c000 | (m)<<16 | (n)<<5 | (d)) // smull2 vd.8h, vn.16b, vm.16b
#define SMLAL(d, n, m) WORD $(0x0e208000 | (m)<<16 | (n)<<5 | (d)) // smlal vd.8h, vn.8b, vm.8b
#define SMLAL2(d, n, m) WORD $(0x4e208000 | (m)<<16 | (n)<<5 | (d)) // smlal2 vd.8h, vn.16b, vm.16b
#define SADDLP(d, n) WORD $(0x4e602800 | (n)<<5 | (d)) // saddlp vd.4s, vn.8h
#define SADALP(d, n) WORD $(0x4e606800 | (n)<<5 | (d)) // sadalp vd.4s, vn.8h
#define SMLSLE(d, n, m, i) WORD $(0x0f406000 | ((i)&3)<<20 | ((i)>>2)<<11 | (m)<<16 | (n)<<5 | (d)) // smlsl vd.4s, vn.4h, vm.h[i]
#define SMLSLE2(d, n, m, i) WORD $(0x4f406000 | ((i)&3)<<20 | ((i)>>2)<<11 | (m)<<16 | (n)<<5 | (d)) // smlsl2 vd.4s, vn.8h, vm.h[i]

// Floats.
#define FCVTL(d, n) WORD $(0x0e217800 | (n)<<5 | (d)) // fcvtl vd.4s, vn.4h
#define FCVTL2(d, n) WORD $(0x4e217800 | (n)<<5 | (d)) // fcvtl2 vd.4s, vn.8h
#define SHLL16(d, n) WORD $(0x2e613800 | (n)<<5 | (d)) // shll vd.4s, vn.4h, 16
#define SHLL162(d, n) WORD $(0x6e613800 | (n)<<5 | (d)) // shll2 vd.4s, vn.8h, 16
#define SCVTF(d, n) WORD $(0x4e21d800 | (n)<<5 | (d)) // scvtf vd.4s, vn.4s
#define FABS(d, n) WORD $(0x4ea0f800 | (n)<<5 | (d)) // fabs vd.4s, vn.4s
#define FADD(d, n, m) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d)) // fadd vd.4s, vn.4s, vm.4s
#define FMLA(d, n, m) WORD $(0x4e20cc00 | (m)<<16 | (n)<<5 | (d)) // fmla vd.4s, vn.4s, vm.4s
#define FMULE(d, n, m, i) WORD $(0x4f809000 | ((i)&1)<<21 | ((i)>>1)<<11 | (m)<<16 | (n)<<5 | (d)) // fmul vd.4s, vn.4s, vm.s[i]
#define FMLAE(d, n, m, i) WORD $(0x4f801000 | ((i)&1)<<21 | ((i)>>1)<<11 | (m)<<16 | (n)<<5 | (d)) // fmla vd.4s, vn.4s, vm.s[i]

// For activations.
#define UMAXW(d, n, m) WORD $(0x6ea06400 | (m)<<16 | (n)<<5 | (d)) // umax vd.4s, vn.4s, vm.4s
#define UMAXVW(d, n) WORD $(0x6eb0a800 | (n)<<5 | (d)) // umaxv sd, vn.4s
#define SADDLVB(d, n) WORD $(0x4e303800 | (n)<<5 | (d)) // saddlv hd, vn.16b
#define UZP1B(d, n, m) WORD $(0x4e001800 | (m)<<16 | (n)<<5 | (d)) // uzp1 vd.16b, vn.16b, vm.16b
#define UZP1H(d, n, m) WORD $(0x4e401800 | (m)<<16 | (n)<<5 | (d)) // uzp1 vd.8h, vn.8h, vm.8h
