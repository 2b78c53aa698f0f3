package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Where things lie in the memory of the emulated machine.
const (
	gdtAt      = 0x8000
	stubAt     = 0x8100
	paramsAt   = 0x9000 // struct boot_params, 4 KiB
	cmdLineAt  = 0xa000
	pml4At     = 0xb000
	pdptAt     = 0xc000
	pagesAt    = 0xd000
	lowEnd     = 0xe000
	initrdAt   = 0x6000000
	memoryMiB  = 1024
	lowMemory  = 0x9fc00 // bytes of memory below the holes of a PC
	highMemory = 0x100000
	hole       = 0x60000 // display and ROM below highMemory take no memory
)

// The command line: say nothing, look for no hardware, trust the clock.
const cmdLine = "console=ttyS0 loglevel=1 nopku rdinit=/init mitigations=off acpi=off pci=off nosmp nokaslr " +
	"tsc=reliable random.trust_cpu=on no_timer_check panic=-1 transparent_hugepage=never"

// writeBoot writes the two images that the emulator loads before the first
// instruction: a ROM that takes the processor into 64-bit mode and jumps to the
// kernel (no BIOS, no boot loader, nothing to wait for), what the kernel wants
// to be told, the kernel, and the files of its first process.
func writeBoot(dir string, k *kernel, initrd []byte) error {
	if k.base+uint64(len(k.image)) > initrdAt-(32<<20) || initrdAt+len(initrd) > (memoryMiB-128)<<20 {
		return fmt.Errorf("the kernel or the files do not fit into %d MiB of memory", memoryMiB)
	}
	if err := os.WriteFile(filepath.Join(dir, "rom.img"), rom(), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "vga.img"), make([]byte, 512), 0o600); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "ram.img"))
	if err != nil {
		return err
	}
	_, err = f.Write(low(k, initrdAt+len(initrd)))
	if err == nil {
		_, err = f.WriteAt(k.image, int64(k.base)-hole)
	}
	if err == nil {
		_, err = f.WriteAt(initrd, initrdAt-hole)
	}
	return errors.Join(err, f.Close())
}

// rom returns 64 KiB of ROM, mapped at the end of the first MiB and of the
// fourth GiB; the processor starts 16 bytes before its end, in 16-bit mode.
func rom() []byte {
	r := make([]byte, 0x10000)
	code := []byte{0xfa} // cli
	op := func(b ...byte) { code = append(code, b...) }
	mov := func(reg byte, v uint32) { // mov e?x, v
		op(0x66, 0xb8+reg)
		code = binary.LittleEndian.AppendUint32(code, v)
	}
	mov(0, 1<<5|1<<9|1<<10) // PAE, SSE
	op(0x0f, 0x22, 0xe0)    // mov cr4, eax
	mov(0, pml4At)
	op(0x0f, 0x22, 0xd8) // mov cr3, eax
	mov(1, 0xc0000080)   // EFER
	mov(0, 1<<8)         // long mode
	op(0x66, 0x31, 0xd2) // xor edx, edx
	op(0x0f, 0x30)       // wrmsr
	const gdtPointer = 0x100
	op(0x2e, 0x66, 0x0f, 0x01, 0x16, gdtPointer&0xff, gdtPointer>>8) // lgdt cs:[gdtPointer]
	mov(0, 1<<31|1<<5|1<<4|1<<1|1)                                   // paging, protection
	op(0x0f, 0x22, 0xc0)                                             // mov cr0, eax
	op(0x66, 0xea)                                                   // jmp 0x10:stubAt
	code = binary.LittleEndian.AppendUint32(code, stubAt)
	op(0x10, 0)
	copy(r, code)
	binary.LittleEndian.PutUint16(r[gdtPointer:], 4*8-1)
	binary.LittleEndian.PutUint32(r[gdtPointer+2:], gdtAt)
	copy(r[0xfff0:], []byte{0xea, 0, 0, 0, 0xf0}) // jmp 0xf000:0, to where the pages show the ROM
	return r
}

// low returns the first memory: the tables and the words for the kernel. end is
// where the image of the memory ends.
func low(k *kernel, end int) []byte {
	m := make([]byte, lowEnd)
	u64 := func(at int, v uint64) { binary.LittleEndian.PutUint64(m[at:], v) }
	u32 := func(at int, v uint32) { binary.LittleEndian.PutUint32(m[at:], v) }
	u64(gdtAt+0x10, 0x00af9a000000ffff) // code, 64-bit
	u64(gdtAt+0x18, 0x00cf92000000ffff) // data
	u64(pml4At, pdptAt|3)
	u64(pdptAt, pagesAt|3)
	for i := range 512 { // the first GiB, in pages of 2 MiB
		u64(pagesAt+8*i, uint64(i)<<21|0x83)
	}
	copy(m[stubAt:], stub(k.entry, end))

	copy(m[paramsAt+setupHeader:], k.header)
	m[paramsAt+loaderType] = 0xff
	u32(paramsAt+ramdiskImage, initrdAt)
	u32(paramsAt+ramdiskSize, uint32(end-initrdAt))
	u32(paramsAt+cmdLinePtr, cmdLineAt)
	copy(m[cmdLineAt:], cmdLine)
	// The map of memory: address, length, type 1.
	m[paramsAt+0x1e8] = 2
	u64(paramsAt+0x2d0, 0)
	u64(paramsAt+0x2d8, lowMemory)
	u32(paramsAt+0x2e0, 1)
	u64(paramsAt+0x2e4, highMemory)
	u64(paramsAt+0x2ec, memoryMiB<<20-highMemory)
	u32(paramsAt+0x2f4, 1)
	return m
}

// stub returns the first code in 64-bit mode. Bochs gives memory to the machine
// in pieces, in the order of their first use, but loads an image as if all
// pieces were there in their order: so they are used in that order first.
func stub(entry uint64, end int) []byte {
	code := []byte{
		0xb8, 0x18, 0, 0, 0, // mov eax, 0x18
		0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, // mov ds, es, ss
		0x31, 0xff, // xor edi, edi
		0x8a, 0x07, // next: mov al, [rdi]
		0x81, 0xc7, 0, 0, 1, 0, // add edi, 0x10000
		0x81, 0xff, // cmp edi, end
	}
	code = binary.LittleEndian.AppendUint32(code, uint32(end))
	code = append(code, 0x72, 0xf0, 0xbe) // jb next; mov esi, paramsAt
	code = binary.LittleEndian.AppendUint32(code, paramsAt)
	code = append(code, 0x48, 0xb8) // mov rax, entry
	code = binary.LittleEndian.AppendUint64(code, entry)
	return append(code, 0xff, 0xe0) // jmp rax
}
