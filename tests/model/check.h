/* SPDX-License-Identifier: MIT */
#ifndef CHECK_H
#define CHECK_H

/*
 * The model checker's face: the operations of atomic/atomic.h under -DJD_CHECK, and what a model
 * is made of. A model runs a production kernel header, unchanged, on a few coroutines of one OS
 * thread; every atomic operation is a scheduling point and every load may return an old value.
 *
 * I1  Value of a location = its history of messages. A load returns any message not older than
 *     the thread's view; release attaches a view to the message, acquire joins it.
 * I2  Read-modify-writes read the newest message and continue its release sequence (C++20: other
 *     stores end it, also those of the same thread).
 * I3  seq_cst operations constrain each other per location; seq_cst fences constrain everything
 *     around them. Neither creates happens-before between plain accesses beyond acquire/release.
 * I4  Every nondeterministic step goes through the trail (check_engine.c), so a printed trail
 *     replays an execution exactly. Models must not use addresses, clocks or random numbers.
 *
 * Not modelled: load buffering (a load never reads a later store); modification order other than
 * execution order (weak 2+2W); mixed-size access; kernel ordering other than the primitives below.
 * Loops that wait must call spin_hint(), else they end in a "livelock" report.
 *
 * Rejected: GenMC and Relacy (not packaged; the latter wants C++), real threads (they find one in
 * a million), partial-order reduction (a preemption bound keeps kernels below a few seconds).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef JD_CHECK
#error "check.h is for -DJD_CHECK builds"
#endif

enum check_order {
    CHECK_ORDER_relaxed,
    CHECK_ORDER_acquire,
    CHECK_ORDER_release,
    CHECK_ORDER_acq_rel,
    CHECK_ORDER_seq_cst,
};

enum check_rmw {
    CHECK_EXCHANGE,
    CHECK_ADD,
    CHECK_SUB,
    CHECK_OR,
    CHECK_AND,
};

/* Where in the source an operation stands; what reports and traces print. */
struct check_site {
    const char *file;
    int line;
    const char *object;
};

#define CHECK_SITE(text) \
    (__extension__({ \
        static const struct check_site site_ = { __FILE__, __LINE__, text }; \
        &site_; \
    }))

/* The comma drops const from the type, so that the cast has no qualifier to ignore; the braces let
 * callers drop the value. */
#define CHECK_VALUE(obj, call) (__extension__({ (__typeof__((void)0, (obj)->raw))(call); }))
/* Through an integer: drops const, and the compiler's fear of what is not initialised yet. */
#define CHECK_ADDRESS(lvalue) ((void *)(uintptr_t) & (lvalue))
#define CHECK_LOC(obj) CHECK_ADDRESS((obj)->raw), (unsigned)sizeof((obj)->raw)

uint64_t check_load(void *addr, unsigned bytes, enum check_order order,
                    const struct check_site *site);
void check_store(void *addr, unsigned bytes, uint64_t value, enum check_order order,
                 const struct check_site *site);
uint64_t check_rmw(void *addr, unsigned bytes, enum check_rmw op, uint64_t operand,
                   enum check_order order, const struct check_site *site);
bool check_cas(void *addr, unsigned bytes, void *expected, uint64_t desired, bool weak,
               enum check_order succ, enum check_order fail, const struct check_site *site);
void check_init(void *addr, unsigned bytes, uint64_t value, const struct check_site *site);
void check_fence(enum check_order order, const struct check_site *site);
void check_fence_all(const struct check_site *site);
void check_plain(void *addr, bool write, const struct check_site *site);
void check_hint(const struct check_site *site);
uint64_t check_newest(void *addr, unsigned bytes);

#define JD_ATOMIC(type) \
    struct { \
        type raw; \
    }

#define ATOMIC_INITIAL(value) \
    { \
        (value) \
    }

#define atom_init(obj, value) check_init(CHECK_LOC(obj), (uint64_t)(value), CHECK_SITE(#obj))
#define atom_load(obj, order) \
    CHECK_VALUE(obj, check_load(CHECK_LOC(obj), CHECK_ORDER_##order, CHECK_SITE(#obj)))
#define atom_store(obj, value, order) \
    check_store(CHECK_LOC(obj), (uint64_t)(value), CHECK_ORDER_##order, CHECK_SITE(#obj))
#define CHECK_RMW(obj, op, value, order) \
    CHECK_VALUE(obj, check_rmw(CHECK_LOC(obj), op, (uint64_t)(value), CHECK_ORDER_##order, \
                               CHECK_SITE(#obj)))
#define atom_exchange(obj, value, order) CHECK_RMW(obj, CHECK_EXCHANGE, value, order)
#define atom_fetch_add(obj, value, order) CHECK_RMW(obj, CHECK_ADD, value, order)
#define atom_fetch_sub(obj, value, order) CHECK_RMW(obj, CHECK_SUB, value, order)
#define atom_fetch_or(obj, value, order) CHECK_RMW(obj, CHECK_OR, value, order)
#define atom_fetch_and(obj, value, order) CHECK_RMW(obj, CHECK_AND, value, order)
#define atom_cas(obj, expected, desired, succ, fail) \
    check_cas(CHECK_LOC(obj), (expected), (uint64_t)(desired), false, CHECK_ORDER_##succ, \
              CHECK_ORDER_##fail, CHECK_SITE(#obj))
#define atom_cas_weak(obj, expected, desired, succ, fail) \
    check_cas(CHECK_LOC(obj), (expected), (uint64_t)(desired), true, CHECK_ORDER_##succ, \
              CHECK_ORDER_##fail, CHECK_SITE(#obj))
#define atom_fence(order) check_fence(CHECK_ORDER_##order, CHECK_SITE(#order))
/* The order within a thread is kept; the heavy fence is one of all threads at that moment. */
#define atom_fence_light() ((void)0)
#define atom_store_before_rmw(obj, value) atom_store(obj, value, seq_cst)
#define check_heavy_fence() check_fence_all(CHECK_SITE("heavy fence"))

#define plain_read(lvalue) \
    (check_plain(CHECK_ADDRESS(lvalue), false, CHECK_SITE(#lvalue)), (lvalue))
#define plain_write(lvalue, value) \
    (check_plain(CHECK_ADDRESS(lvalue), true, CHECK_SITE(#lvalue)), (void)((lvalue) = (value)))

#define cpu_relax() ((void)0)
#define spin_hint() check_hint(CHECK_SITE("spin"))

/*
 * What models are written with.
 */

/* The newest value of an atomic, outside the memory model: for finish() and for predicates. */
#define check_peek(obj) CHECK_VALUE(obj, check_newest(CHECK_LOC(obj)))

/* One of 0..count-1, explored like a scheduling choice: time-outs, failures, operations. */
#define check_choice(count) check_choose((count), CHECK_SITE(#count))
unsigned check_choose(unsigned count, const struct check_site *site);

/* Index of the calling thread in check_model.threads. */
unsigned check_self(void);

/* The thread stops until the predicate holds; it must read with check_peek() only. No ordering. */
#define check_block_until(predicate, arg) check_block((predicate), (arg), CHECK_SITE(#predicate))
void check_block(bool (*predicate)(void *arg), void *arg, const struct check_site *site);

/*
 * An eventfd: a level counter. post() never blocks; wait() stops until the count is not zero and
 * takes it all. Both order like an acq_rel read-modify-write, as the kernel's lock does.
 */
struct check_event {
    JD_ATOMIC(uint64_t) count;
};
void check_event_init(struct check_event *event);
#define check_event_post(event) check_event_add((event), CHECK_SITE(#event))
#define check_event_wait(event) check_event_take((event), false, CHECK_SITE(#event))
/* False: the deadline passed (a choice, always open). */
#define check_event_wait_until(event) check_event_take((event), true, CHECK_SITE(#event))
void check_event_add(struct check_event *event, const struct check_site *site);
bool check_event_take(struct check_event *event, bool may_expire, const struct check_site *site);

/* Zeroed memory of one execution. Freeing must happen after every access, and once. */
void *check_alloc(size_t bytes);
#define check_free(ptr) check_release((ptr), CHECK_SITE(#ptr))
void check_release(void *ptr, const struct check_site *site);

/* Ends the execution as a failure; does not return. */
__attribute__((noreturn, format(printf, 1, 2))) void check_fail(const char *format, ...);
#define CHECK_THAT(c) \
    ((c) ? (void)0 : check_fail("%s:%d: check failed: %s", __FILE__, __LINE__, #c))

#define CHECK_THREADS 7

struct check_model {
    const char *name;
    void (*setup)(void);                  /* before the threads; happens before all of them */
    void (*threads[CHECK_THREADS])(void); /* NULL-terminated unless full */
    void (*finish)(void);                 /* after all threads; sees everything. May be NULL */
    bool (*verdict)(void);                /* after the exploration; false fails. May be NULL */
    const char *expect;                   /* the model must fail with this text. May be NULL */
    int bound;                            /* preemptions; 0 = the command line's, -1 = no limit */
    unsigned long max;                    /* executions in DFS; 0 = the command line's */
};

int check_main(int argc, char **argv, const struct check_model *models, size_t count);
#define CHECK_MAIN(models) \
    int main(int argc, char **argv) \
    { \
        return check_main(argc, argv, (models), sizeof(models) / sizeof((models)[0])); \
    }

#endif /* CHECK_H */
