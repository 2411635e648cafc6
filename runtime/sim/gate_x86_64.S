/* SPDX-License-Identifier: MIT */
/*
 * The system calls that sim/watch.c makes itself: those between sim_gate_begin and sim_gate_end are
 * not dispatched to its handler.
 *
 * I1  The kernel compares the address behind the system call, so each has one more instruction.
 * I2  sim_gate_return is the seven and two bytes by which unwinders know a signal frame.
 */
#if defined(__x86_64__)

    .text
    .globl sim_gate_begin, sim_gate_call, sim_gate_return, sim_gate_end
    .hidden sim_gate_begin, sim_gate_call, sim_gate_return, sim_gate_end
    .p2align 4
sim_gate_begin:
    .type sim_gate_call, @function
sim_gate_call: /* rdi: number; rsi: six arguments */
    .cfi_startproc
    endbr64
    movq %rdi, %rax
    movq %rsi, %r11
    movq 0(%r11), %rdi
    movq 8(%r11), %rsi
    movq 16(%r11), %rdx
    movq 24(%r11), %r10
    movq 32(%r11), %r8
    movq 40(%r11), %r9
    syscall
    ret
    .cfi_endproc
    .size sim_gate_call, . - sim_gate_call
    nop
    .type sim_gate_return, @function
sim_gate_return: /* no unwind table: it is entered by a return, never called */
    movq $15, %rax /* rt_sigreturn */
    syscall
    ud2
    .size sim_gate_return, . - sim_gate_return
sim_gate_end:
    nop

    .section .note.gnu.property, "a"
    .p2align 3
    .long 4, 16, 5
    .asciz "GNU"
    .long 0xc0000002, 4, 1, 0 /* IBT */

#endif

    .section .note.GNU-stack, "", @progbits
