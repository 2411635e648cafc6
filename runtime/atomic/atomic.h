/* SPDX-License-Identifier: MIT */
#ifndef ATOMIC_ATOMIC_H
#define ATOMIC_ATOMIC_H

/*
 * The vocabulary of atomic operations: C11 atomics with the order always written out.
 *
 * I1  A JD_ATOMIC field is wrapped in a struct, so a plain access does not compile.
 * I2  Sync kernels are headers that include only this one, attr.h and assert.h; under -DJD_CHECK
 *     each operation below becomes a call into the model checker (tests/model/check.h), and the
 *     same source is explored under a weak memory model.
 * I3  Orders are words (relaxed acquire release acq_rel seq_cst), pasted to memory_order_*, so
 *     that a script can weaken them one by one.
 *
 * Rejected: ck_pr (its store-load fence is an 18 ns mfence, and TSan does not see it); fences
 * where an ordered operation will do (TSan models no fence).
 */
#include <stdatomic.h>
#include <stdint.h>

#ifdef JD_CHECK
#include "check.h"
#else
#include <ck_pr.h> /* ck_pr_stall() only: see "Rejected" */

#define JD_ATOMIC(type) \
    struct { \
        _Atomic(type) raw; \
    }

#define ATOMIC_INITIAL(value) \
    { \
        (value) \
    }

#define atom_init(obj, value) atomic_init(&(obj)->raw, (value))
#define atom_load(obj, order) atomic_load_explicit(&(obj)->raw, memory_order_##order)
#define atom_store(obj, value, order) \
    atomic_store_explicit(&(obj)->raw, (value), memory_order_##order)
#define atom_exchange(obj, value, order) \
    atomic_exchange_explicit(&(obj)->raw, (value), memory_order_##order)
#define atom_cas(obj, expected, desired, succ, fail) \
    atomic_compare_exchange_strong_explicit(&(obj)->raw, (expected), (desired), \
                                            memory_order_##succ, memory_order_##fail)
#define atom_cas_weak(obj, expected, desired, succ, fail) \
    atomic_compare_exchange_weak_explicit(&(obj)->raw, (expected), (desired), memory_order_##succ, \
                                          memory_order_##fail)
#define atom_fetch_add(obj, value, order) \
    atomic_fetch_add_explicit(&(obj)->raw, (value), memory_order_##order)
#define atom_fetch_sub(obj, value, order) \
    atomic_fetch_sub_explicit(&(obj)->raw, (value), memory_order_##order)
#define atom_fetch_or(obj, value, order) \
    atomic_fetch_or_explicit(&(obj)->raw, (value), memory_order_##order)
#define atom_fetch_and(obj, value, order) \
    atomic_fetch_and_explicit(&(obj)->raw, (value), memory_order_##order)
#define atom_fence(order) atomic_thread_fence(memory_order_##order)
/* One half of an asymmetric pair: the compiler keeps the order, and a heavy fence of another thread
 * (base/membarrier.h) makes the CPU keep it. */
#define atom_fence_light() atomic_signal_fence(memory_order_seq_cst)
/* A seq_cst store, after which the caller does a read-modify-write before the loads that it has to
 * come before: on x86-64 that operation is the fence, and the store needs none of its own (6 ns). */
#ifdef __x86_64__
#define atom_store_before_rmw(obj, value) \
    (atom_store(obj, value, release), atomic_signal_fence(memory_order_seq_cst))
#else
#define atom_store_before_rmw(obj, value) atom_store(obj, value, seq_cst)
#endif

/* Plain (non-atomic) data inside kernels: checked for races by the model checker. */
#define plain_read(lvalue) (lvalue)
#define plain_write(lvalue, value) ((void)((lvalue) = (value)))

static inline void cpu_relax(void)
{
    ck_pr_stall();
}

/* In a spin loop: nothing will change until another thread moves. The checker deschedules here. */
#define spin_hint() cpu_relax()

#endif /* JD_CHECK */
#endif /* ATOMIC_ATOMIC_H */
