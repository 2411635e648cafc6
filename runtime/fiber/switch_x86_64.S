/* SPDX-License-Identifier: MIT */
/*
 * Context switch for x86-64 (System V).
 *
 * I1  A context at rest is seven words at its saved sp: r15 r14 r13 r12 rbx rbp rip. Debugger
 *     scripts rely on this order.
 * I2  The previous context travels in rax: the return value of fiber_switch_asm() on the resumed
 *     side, and the first argument of a fresh one.
 * I3  mxcsr and the x87 control word are not saved: they belong to the worker thread.
 *
 * Resumed by ret: the call that came here made an entry on the CPU's return stack, and the ret takes
 * it off again, so the returns above it predict. Tasks rest in one place (sched_suspend), so the
 * entry even names the right address. With pop + jmp, faster for a bare switch, a yield took 1.2
 * times as long (ADR 0010). A shadow stack (SHSTK) cannot follow, so the object is marked IBT only.
 */
#if defined(__x86_64__)

    .text
    .globl fiber_switch_asm
    .hidden fiber_switch_asm
    .type fiber_switch_asm, @function
    .p2align 6
fiber_switch_asm: /* rdi: from, rsi: to; sp is the first field of both */
    .cfi_startproc
    endbr64
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    movq %rsp, (%rdi)
    movq (%rsi), %rsp /* same layout on both sides, so the CFA rule goes on holding */
    movq %rdi, %rax
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    ret
    .cfi_endproc
    .size fiber_switch_asm, . - fiber_switch_asm

/*
 * First resume of a fresh context, laid out by fiber_init(): rbx = self, rbp = 0, sp 16-aligned.
 * rip is undefined here for unwinders, so every backtrace of a fiber ends in this frame.
 */
    .globl fiber_start_asm
    .hidden fiber_start_asm
    .hidden fiber_begin
    .type fiber_start_asm, @function
    .p2align 4
fiber_start_asm:
    .cfi_startproc
    .cfi_undefined rip
    .cfi_undefined rbp
    endbr64
    movq %rbx, %rdi
    movq %rax, %rsi
    call fiber_begin /* (self, previous), never returns */
    ud2
    .cfi_endproc
    .size fiber_start_asm, . - fiber_start_asm

    .section .note.gnu.property, "a"
    .p2align 3
    .long 4          /* name size */
    .long 16         /* descriptor size */
    .long 5          /* NT_GNU_PROPERTY_TYPE_0 */
    .asciz "GNU"
    .long 0xc0000002 /* GNU_PROPERTY_X86_FEATURE_1_AND */
    .long 4
    .long 1          /* IBT without SHSTK */
    .long 0
#endif

/* Also in the other architecture's empty object: without it the stack would be executable. */
    .section .note.GNU-stack, "", %progbits
