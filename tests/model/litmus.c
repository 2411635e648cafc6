/* SPDX-License-Identifier: MIT */
/*
 * Litmus tests: the checker checked. Each shape is explored without a bound, the set of outcomes
 * it shows must equal the set C11 allows (less load buffering and weak 2+2W, which the checker
 * does not model: their rows say what is seen, so a change of the model is noticed); and each kind
 * of report must be raised by a program that deserves it.
 */
#include <stdio.h>
#include <string.h>

#include "atomic/atomic.h"
#include "atomic/spin.h"
#include "base/assert.h"

#define OUTCOMES 32

static struct {
    JD_ATOMIC(int) x;
    JD_ATOMIC(int) y;
    JD_ATOMIC(uint8_t) small;
    int data;
    int r[4];
} s;

static char seen[OUTCOMES][8];
static unsigned seen_count;

static void setup(void)
{
    atom_init(&s.x, 0);
    atom_init(&s.y, 0);
    atom_init(&s.small, 0);
    s.data = 0;
    memset(s.r, 0, sizeof(s.r));
}

static void outcome(unsigned registers)
{
    char text[8] = "";

    for (unsigned i = 0; i < registers; i++)
        text[i] = (char)('0' + s.r[i]);
    for (unsigned i = 0; i < seen_count; i++) {
        if (strcmp(seen[i], text) == 0)
            return;
    }
    CHECK_THAT(seen_count < OUTCOMES);
    strcpy(seen[seen_count++], text);
}

/* wanted: the exact set, separated by spaces. */
static bool outcomes_are(const char *wanted)
{
    unsigned matched = 0;
    bool ok;

    for (const char *at = wanted; *at;) { /* bounded by the text */
        size_t length = strcspn(at, " ");

        for (unsigned i = 0; i < seen_count; i++)
            matched += strlen(seen[i]) == length && memcmp(seen[i], at, length) == 0;
        at += length + (at[length] == ' ');
    }
    ok = matched == seen_count && strlen(wanted) + 1 == seen_count * (strlen(seen[0]) + 1);
    if (!ok) {
        printf("  wanted {%s}, saw {", wanted);
        for (unsigned i = 0; i < seen_count; i++)
            printf(" %s", seen[i]);
        printf(" }\n");
    }
    seen_count = 0;
    return ok;
}

/* A shape's threads, what ends it, and the outcomes it must show. */
#define SHAPE(id, registers, wanted) \
    static void id##_finish(void) \
    { \
        outcome(registers); \
    } \
    static bool id##_verdict(void) \
    { \
        return outcomes_are(wanted); \
    }
#define THREAD(id, ...) \
    static void id(void) \
    { \
        __VA_ARGS__; \
    }

/* Store buffering. */
THREAD(sb_0, atom_store(&s.x, 1, release), s.r[0] = atom_load(&s.y, acquire))
THREAD(sb_1, atom_store(&s.y, 1, release), s.r[1] = atom_load(&s.x, acquire))
SHAPE(sb, 2, "00 01 10 11")

THREAD(sb_fence_0, atom_store(&s.x, 1, relaxed), atom_fence(seq_cst),
       s.r[0] = atom_load(&s.y, relaxed))
THREAD(sb_fence_1, atom_store(&s.y, 1, relaxed), atom_fence(seq_cst),
       s.r[1] = atom_load(&s.x, relaxed))
SHAPE(sb_fence, 2, "01 10 11")

THREAD(sb_one_fence_1, atom_store(&s.y, 1, relaxed), atom_fence(acq_rel),
       s.r[1] = atom_load(&s.x, relaxed))
SHAPE(sb_one_fence, 2, "00 01 10 11")

THREAD(sb_sc_0, atom_store(&s.x, 1, seq_cst), s.r[0] = atom_load(&s.y, seq_cst))
THREAD(sb_sc_1, atom_store(&s.y, 1, seq_cst), s.r[1] = atom_load(&s.x, seq_cst))
SHAPE(sb_sc, 2, "01 10 11")

/* A seq_cst operation is no fence: the relaxed load beside it may be old. */
THREAD(sb_sc_mixed_1, atom_store(&s.y, 1, seq_cst), s.r[1] = atom_load(&s.x, relaxed))
SHAPE(sb_sc_mixed, 2, "00 01 10 11")

/* But a seq_cst fence sees the seq_cst stores before it, and a seq_cst load those before a fence. */
SHAPE(sb_sc_fence, 2, "01 10 11")

/* Exchange by one side, fence by the other. */
THREAD(sb_rmw_0, (void)atom_exchange(&s.x, 1, seq_cst), s.r[0] = atom_load(&s.y, seq_cst))
THREAD(sb_rmw_1, (void)atom_exchange(&s.y, 1, seq_cst), s.r[1] = atom_load(&s.x, seq_cst))
SHAPE(sb_rmw, 2, "01 10 11")

/* Message passing. */
THREAD(mp_0, atom_store(&s.x, 1, relaxed), atom_store(&s.y, 1, relaxed))
THREAD(mp_1, s.r[0] = atom_load(&s.y, relaxed), s.r[1] = atom_load(&s.x, relaxed))
SHAPE(mp, 2, "00 01 10 11")

THREAD(mp_ra_0, atom_store(&s.x, 1, relaxed), atom_store(&s.y, 1, release))
THREAD(mp_ra_1, s.r[0] = atom_load(&s.y, acquire), s.r[1] = atom_load(&s.x, relaxed))
SHAPE(mp_ra, 2, "00 01 11")
SHAPE(mp_half_release, 2, "00 01 10 11")
SHAPE(mp_half_acquire, 2, "00 01 10 11")

THREAD(mp_fence_0, atom_store(&s.x, 1, relaxed), atom_fence(release), atom_store(&s.y, 1, relaxed))
THREAD(mp_fence_1, s.r[0] = atom_load(&s.y, relaxed), atom_fence(acquire),
       s.r[1] = atom_load(&s.x, relaxed))
SHAPE(mp_fence, 2, "00 01 11")

/* Coherence of two reads. */
THREAD(corr_0, atom_store(&s.x, 1, relaxed), atom_store(&s.x, 2, relaxed))
THREAD(corr_1, s.r[0] = atom_load(&s.x, relaxed), s.r[1] = atom_load(&s.x, relaxed))
SHAPE(corr, 2, "00 01 02 11 12 22")

/* Independent reads of independent writes. */
THREAD(iriw_0, atom_store(&s.x, 1, release))
THREAD(iriw_1, atom_store(&s.y, 1, release))
THREAD(iriw_2, s.r[0] = atom_load(&s.x, acquire), s.r[1] = atom_load(&s.y, acquire))
THREAD(iriw_3, s.r[2] = atom_load(&s.y, acquire), s.r[3] = atom_load(&s.x, acquire))
SHAPE(iriw, 4, "0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1010 1011 1100 1101 1110 1111")

THREAD(iriw_sc_0, atom_store(&s.x, 1, seq_cst))
THREAD(iriw_sc_1, atom_store(&s.y, 1, seq_cst))
THREAD(iriw_sc_2, s.r[0] = atom_load(&s.x, seq_cst), s.r[1] = atom_load(&s.y, seq_cst))
THREAD(iriw_sc_3, s.r[2] = atom_load(&s.y, seq_cst), s.r[3] = atom_load(&s.x, seq_cst))
SHAPE(iriw_sc, 4, "0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1011 1100 1101 1110 1111")

/* 2+2W. C11 allows 11 for relaxed too; here modification order is execution order. */
THREAD(ww_0, atom_store(&s.x, 1, relaxed), atom_store(&s.y, 2, relaxed))
THREAD(ww_1, atom_store(&s.y, 1, relaxed), atom_store(&s.x, 2, relaxed))
static void ww_finish(void)
{
    s.r[0] = check_peek(&s.x);
    s.r[1] = check_peek(&s.y);
    outcome(2);
}
static bool ww_verdict(void)
{
    return outcomes_are("12 21 22");
}

/* Load buffering. C11 allows 11 too; here no load reads a later store. */
THREAD(lb_0, s.r[0] = atom_load(&s.x, relaxed), atom_store(&s.y, 1, relaxed))
THREAD(lb_1, s.r[1] = atom_load(&s.y, relaxed), atom_store(&s.x, 1, relaxed))
SHAPE(lb, 2, "00 01 10")

/* Two read-modify-writes never read the same message; bytes wrap. */
THREAD(rmw_0, s.r[0] = (int)atom_fetch_add(&s.small, 1, relaxed))
THREAD(rmw_1, s.r[1] = (int)atom_fetch_add(&s.small, 255, relaxed))
static void rmw_finish(void)
{
    CHECK_THAT(check_peek(&s.small) == 0);
    s.r[0] = s.r[0] == 255 ? 9 : s.r[0];
    outcome(2);
}
static bool rmw_verdict(void)
{
    return outcomes_are("01 90");
}

/* A read-modify-write by another thread continues a release sequence, a store ends it. */
THREAD(chain_0, atom_store(&s.x, 1, relaxed), atom_store(&s.y, 1, release))
THREAD(chain_1, (void)atom_fetch_add(&s.y, 1, relaxed))
THREAD(chain_2, s.r[0] = atom_load(&s.y, acquire),
       s.r[1] = s.r[0] == 2 ? atom_load(&s.x, relaxed) : 5)
SHAPE(chain, 2, "05 15 21")
THREAD(chain_cut_0, atom_store(&s.x, 1, relaxed), atom_store(&s.y, 1, release),
       atom_store(&s.y, 2, relaxed))
SHAPE(chain_cut, 2, "05 15 20 21")

/* A weak CAS may fail with the expected value in place; a strong one may not. */
static void weak_0(void)
{
    int want = 0;

    s.r[0] = atom_cas_weak(&s.x, &want, 1, relaxed, relaxed);
    s.r[1] = want;
}
SHAPE(weak, 2, "00 10")
static void strong_0(void)
{
    int want = 0;

    s.r[0] = atom_cas(&s.x, &want, 1, relaxed, relaxed);
    s.r[1] = want;
}
SHAPE(strong, 2, "10")

/* A failed CAS is a load, and may be an old one. */
static void cas_old_0(void)
{
    int want = 7;

    s.r[0] = atom_load(&s.y, relaxed);
    (void)atom_cas(&s.x, &want, 9, acq_rel, acquire);
    s.r[1] = want;
}
SHAPE(cas_old, 2, "00 01 10 11")

/*
 * Reports.
 */
THREAD(race_0, plain_write(s.data, 1), atom_store(&s.x, 1, relaxed))
static void race_1(void)
{
    if (atom_load(&s.x, acquire) == 1)
        s.r[0] = plain_read(s.data);
}
THREAD(no_race_0, plain_write(s.data, 1), atom_store(&s.x, 1, release))

static struct check_event event;
static void lost_setup(void)
{
    setup();
    check_event_init(&event);
}
/* The waiter announces itself after its check and without a fence: the wake-up gets lost. */
static void lost_0(void)
{
    if (atom_load(&s.x, acquire) == 0) {
        atom_store(&s.y, 1, release);
        check_event_wait(&event);
    }
}
static void lost_1(void)
{
    atom_store(&s.x, 1, release);
    if (atom_load(&s.y, acquire) == 1)
        check_event_post(&event);
}
static void kept_0(void)
{
    atom_store(&s.y, 1, seq_cst);
    if (atom_load(&s.x, seq_cst) == 0)
        check_event_wait(&event);
}
static void kept_1(void)
{
    atom_store(&s.x, 1, seq_cst);
    if (atom_load(&s.y, seq_cst) == 1)
        check_event_post(&event);
}

static struct node {
    JD_ATOMIC(int) refs;
    int value;
} * node;
static void node_setup(void)
{
    node = check_alloc(sizeof(*node));
    atom_init(&node->refs, 2);
}
static void node_unref_relaxed(void)
{
    (void)plain_read(node->value);
    if (atom_fetch_sub(&node->refs, 1, relaxed) == 1)
        check_free(node);
}
static void node_unref(void)
{
    (void)plain_read(node->value);
    if (atom_fetch_sub(&node->refs, 1, acq_rel) == 1)
        check_free(node);
}
static void node_late_0(void)
{
    check_free(node);
    atom_store(&s.x, 1, release);
}
static void node_late_1(void)
{
    if (atom_load(&s.x, acquire) == 1)
        (void)plain_read(node->value);
}
static void late_setup(void)
{
    setup();
    node_setup();
}

static void assert_1(void)
{
    JD_ASSERT(atom_load(&s.x, relaxed) == 0);
}
static void crash_1(void)
{
    if (atom_load(&s.x, relaxed) == 1)
        *(volatile int *)(uintptr_t)(check_self() - 1) = 1;
}

/* A waiting loop ends as soon as the store is made, also when it reads old values. */
static void spin_0(void)
{
    while (atom_load(&s.x, acquire) == 0)
        spin_hint();
    s.r[0] = atom_load(&s.x, relaxed);
}
SHAPE(spins, 1, "1")
static void never_0(void)
{
    while (atom_load(&s.x, acquire) == 0)
        spin_hint();
}
static void forever_0(void)
{
    while (atom_load(&s.x, acquire) == 0) {
    }
}
THREAD(nothing, (void)atom_load(&s.y, relaxed))

#define ROW(text, id, ...) \
    { \
        .name = text, .setup = setup, .threads = { __VA_ARGS__ }, .finish = id##_finish, \
        .verdict = id##_verdict, .bound = -1 \
    }
#define FINDS(text, what, prepare, ...) \
    { \
        .name = text, .setup = prepare, .threads = { __VA_ARGS__ }, .expect = what, .bound = -1 \
    }
#define CLEAN(text, prepare, ...) \
    { \
        .name = text, .setup = prepare, .threads = { __VA_ARGS__ }, .bound = -1 \
    }

static const struct check_model models[] = {
    ROW("sb", sb, sb_0, sb_1),
    ROW("sb-fences", sb_fence, sb_fence_0, sb_fence_1),
    ROW("sb-weak-fence", sb_one_fence, sb_fence_0, sb_one_fence_1),
    ROW("sb-seq-cst", sb_sc, sb_sc_0, sb_sc_1),
    ROW("sb-seq-cst-mixed", sb_sc_mixed, sb_sc_0, sb_sc_mixed_1),
    ROW("sb-seq-cst-fence", sb_sc_fence, sb_sc_0, sb_fence_1),
    ROW("sb-rmw", sb_rmw, sb_rmw_0, sb_rmw_1),
    ROW("mp-relaxed", mp, mp_0, mp_1),
    ROW("mp-release-acquire", mp_ra, mp_ra_0, mp_ra_1),
    ROW("mp-release-only", mp_half_release, mp_ra_0, mp_1),
    ROW("mp-acquire-only", mp_half_acquire, mp_0, mp_ra_1),
    ROW("mp-fences", mp_fence, mp_fence_0, mp_fence_1),
    ROW("corr", corr, corr_0, corr_1),
    ROW("iriw-release-acquire", iriw, iriw_0, iriw_1, iriw_2, iriw_3),
    ROW("iriw-seq-cst", iriw_sc, iriw_sc_0, iriw_sc_1, iriw_sc_2, iriw_sc_3),
    ROW("2+2w (weak 11 not modelled)", ww, ww_0, ww_1),
    ROW("lb (weak 11 not modelled)", lb, lb_0, lb_1),
    ROW("rmw-atomicity", rmw, rmw_0, rmw_1),
    ROW("release-sequence", chain, chain_0, chain_1, chain_2),
    ROW("release-sequence-cut", chain_cut, chain_cut_0, chain_2),
    ROW("weak-cas-spurious", weak, weak_0),
    ROW("strong-cas", strong, strong_0),
    ROW("failed-cas-old", cas_old, cas_old_0, mp_0),
    ROW("spin-ends", spins, spin_0, iriw_0),
    FINDS("data-race", "data race", setup, race_0, race_1),
    CLEAN("no-data-race", setup, no_race_0, race_1),
    FINDS("lost-wake-up", "lost wake-up", lost_setup, lost_0, lost_1),
    CLEAN("kept-wake-up", lost_setup, kept_0, kept_1),
    FINDS("unref-relaxed", "not ordered after", node_setup, node_unref_relaxed, node_unref_relaxed),
    CLEAN("unref-acq-rel", node_setup, node_unref, node_unref),
    FINDS("use-after-free", "use after free", late_setup, node_late_0, node_late_1),
    FINDS("assertion", "assertion failed", setup, iriw_0, assert_1),
    FINDS("crash", "crash", setup, iriw_0, crash_1),
    FINDS("spins-for-ever", "deadlock", setup, never_0, nothing),
    FINDS("no-hint", "livelock", setup, forever_0, iriw_0),
};

CHECK_MAIN(models)
