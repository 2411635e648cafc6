/* SPDX-License-Identifier: MIT */
#ifndef TASK_STUB_H
#define TASK_STUB_H

/*
 * What is left of a runtime for those who outlive it: futures and task handles hold a reference on
 * this small record instead of the runtime.
 *
 * I1  `rt` is NULL from the moment on when the runtime is being freed; it is read under the lock by
 *     threads that are not workers of it, so that the runtime cannot go while they use it.
 * I2  The slabs of task records belong to the stub: they are freed with its last reference.
 *
 * Threads: any.
 */
#include "atomic/spin.h"
#include "base/alloc.h"

struct slab_chunk;

struct runtime_stub {
    JD_ATOMIC(uint32_t) refs;
    struct spin lock;
    struct jd_runtime *rt;     /* guarded by lock for strangers; workers read it freely */
    struct slab_chunk *chunks; /* task records; guarded by chunk_lock */
    struct spin chunk_lock;
};

struct runtime_stub *runtime_stub_new(struct jd_runtime *rt); /* NULL: out of memory */
void runtime_stub_ref(struct runtime_stub *stub);
void runtime_stub_unref(struct runtime_stub *stub);

#endif /* TASK_STUB_H */
