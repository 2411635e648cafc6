/* SPDX-License-Identifier: MIT */
/*
 * The counted remains of a runtime: see stub.h.
 */
#include "task/stub.h"

#include "base/assert.h"
#include "task/slab.h"

struct runtime_stub *runtime_stub_new(struct jd_runtime *rt)
{
    struct runtime_stub *stub = mem_calloc(sizeof(*stub));

    if (!stub)
        return NULL;
    atom_init(&stub->refs, 1);
    spin_init(&stub->lock);
    spin_init(&stub->chunk_lock);
    stub->rt = rt;
    return stub;
}

void runtime_stub_ref(struct runtime_stub *stub)
{
    /* Relaxed: made from a reference or from the living runtime. */
    atom_fetch_add(&stub->refs, 1, relaxed);
}

void runtime_stub_unref(struct runtime_stub *stub)
{
    /* [REF-1] Acq_rel: what other holders did is before the end. */
    uint32_t before = atom_fetch_sub(&stub->refs, 1, acq_rel);

    JD_ASSERT(before > 0);
    if (before > 1)
        return;
    slab_chunks_free(stub->chunks);
    mem_free(stub, sizeof(*stub));
}
