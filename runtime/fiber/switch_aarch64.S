/* SPDX-License-Identifier: MIT */
/*
 * Context switch for aarch64 (AAPCS64).
 *
 * I1  A context at rest is 160 bytes at its saved sp: x19..x28, x29, x30, d8..d15, in this order.
 *     The callee-saved part of the vector registers is the low half of v8..v15.
 * I2  The previous context travels in x0: the return value of fiber_switch_asm() on the resumed
 *     side, and the first argument of a fresh one.
 * I3  fpcr is not saved: it belongs to the worker thread.
 *
 * Resumed by br, since a `ret` to a foreign stack mispredicts. With BTI the target, which is the
 * instruction after a bl, is no landing pad for br; ret is exempt from the check, so builds with
 * -mbranch-protection pay the misprediction. x30 is not signed here: each frame signs its own, on
 * its own stack, with its own sp as modifier, which a switch does not change.
 */
#if defined(__aarch64__)

#if defined(__ARM_FEATURE_BTI_DEFAULT)
#define LANDING_PAD hint #34 /* bti c */
#define RESUME ret x17
#else
#define LANDING_PAD
#define RESUME br x17
#endif

    .text
    .globl fiber_switch_asm
    .hidden fiber_switch_asm
    .type fiber_switch_asm, %function
    .p2align 6
fiber_switch_asm: /* x0: from, x1: to; sp is the first field of both */
    .cfi_startproc
    LANDING_PAD
    sub sp, sp, #160
    .cfi_adjust_cfa_offset 160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    .cfi_rel_offset x19, 0
    .cfi_rel_offset x20, 8
    .cfi_rel_offset x21, 16
    .cfi_rel_offset x22, 24
    .cfi_rel_offset x23, 32
    .cfi_rel_offset x24, 40
    .cfi_rel_offset x25, 48
    .cfi_rel_offset x26, 56
    .cfi_rel_offset x27, 64
    .cfi_rel_offset x28, 72
    .cfi_rel_offset x29, 80
    .cfi_rel_offset x30, 88
    mov x9, sp
    str x9, [x0]
    ldr x9, [x1]
    mov sp, x9 /* same layout on both sides, so the CFA rule goes on holding */
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    .cfi_restore x19
    .cfi_restore x20
    .cfi_restore x21
    .cfi_restore x22
    .cfi_restore x23
    .cfi_restore x24
    .cfi_restore x25
    .cfi_restore x26
    .cfi_restore x27
    .cfi_restore x28
    .cfi_restore x29
    .cfi_restore x30
    add sp, sp, #160
    .cfi_adjust_cfa_offset -160
    mov x17, x30
    RESUME
    .cfi_endproc
    .size fiber_switch_asm, . - fiber_switch_asm

/*
 * First resume of a fresh context, laid out by fiber_init(): x19 = self, x29 = 0, sp 16-aligned.
 * x30 is undefined here for unwinders, so every backtrace of a fiber ends in this frame.
 */
    .globl fiber_start_asm
    .hidden fiber_start_asm
    .hidden fiber_begin
    .type fiber_start_asm, %function
    .p2align 4
fiber_start_asm:
    .cfi_startproc
    .cfi_undefined x30
    .cfi_undefined x29
    LANDING_PAD
    mov x1, x0
    mov x0, x19
    mov x30, xzr
    bl fiber_begin /* (self, previous), never returns */
    brk #1
    .cfi_endproc
    .size fiber_start_asm, . - fiber_start_asm

#if defined(__ARM_FEATURE_BTI_DEFAULT)
    .section .note.gnu.property, "a"
    .p2align 3
    .long 4          /* name size */
    .long 16         /* descriptor size */
    .long 5          /* NT_GNU_PROPERTY_TYPE_0 */
    .asciz "GNU"
    .long 0xc0000000 /* GNU_PROPERTY_AARCH64_FEATURE_1_AND */
    .long 4
    .long 1          /* BTI; PAC needs no mark of ours */
    .long 0
#endif
#endif

/* Also in the other architecture's empty object: without it the stack would be executable. */
    .section .note.GNU-stack, "", %progbits
