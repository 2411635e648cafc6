/* SPDX-License-Identifier: MIT */
#ifndef CHECK_INTERNAL_H
#define CHECK_INTERNAL_H

/*
 * What the checker's files share: threads and the trail (check_engine.c), locations and views
 * (check_memory.c), plain data and lifetimes (check_race.c), the search (check_explore.c).
 * Everything lives in one struct and one OS thread; nothing here is concurrent.
 */
#include "check.h"

#define CHECK_MAIN_THREAD CHECK_THREADS /* setup() and finish() run as this one */
#define CHECK_CLOCKS (CHECK_THREADS + 1)
#define CHECK_LOCS 128     /* a multiple of VIEW_CHUNK */
#define CHECK_MESSAGES 128 /* per location; view entries are one byte */
#define CHECK_TRAIL 4096
#define CHECK_STEPS 3000 /* more in one execution is a livelock */
#define VIEW_CHUNK 16
#define NO_BLOCK (-1)

/* How often a thread may read one message again although a newer one exists. */
#define STALE_REREADS 2
/* Spurious failures of weak CAS per thread and execution. */
#define SPURIOUS_MAX 1

/* seen: oldest message a reader may still return, per location. clock: happens-before. */
struct view {
    uint8_t seen[CHECK_LOCS];
    uint16_t clock[CHECK_CLOCKS];
};

enum thread_state {
    THREAD_READY,
    THREAD_HINTED,  /* in spin_hint(): until another thread writes */
    THREAD_BLOCKED, /* until the predicate holds */
    THREAD_DONE,
};

struct thread {
    enum thread_state state;
    bool started;
    bool (*predicate)(void *arg);
    void *arg;
    struct check_site last;    /* the operation it executed last, or is blocked in */
    struct view current;       /* what the thread has seen */
    struct view pending;       /* what an acquire fence would add */
    struct view fenced;        /* what its relaxed stores publish: the view at its release fence */
    uint32_t writes;           /* its own */
    uint32_t iteration_others; /* other threads' writes at the first read since the last hint */
    bool in_iteration;
    bool stale_in_iteration; /* read an old message or failed spuriously since the last hint */
    bool last_stale;         /* its last operation read an old message */
    bool after_load;         /* no switch is needed before its next operation */
    uint8_t spurious;
    int priority; /* PCT */
    uint8_t rereads[CHECK_LOCS];
    bool stale_read[CHECK_LOCS];
};

enum search {
    SEARCH_DFS,
    SEARCH_PCT,
    SEARCH_REPLAY,
};

struct choice {
    uint8_t taken;
    uint8_t count;
};

/* One execution and the trail that leads it. */
struct engine {
    struct thread threads[CHECK_CLOCKS];
    unsigned thread_count;
    unsigned running;
    uint32_t writes; /* of all threads */
    unsigned steps;
    int preemptions;
    int bound;
    enum search search;
    bool trace;
    bool active; /* an execution runs: its memory accesses count */
    struct choice trail[CHECK_TRAIL];
    unsigned trail_length;
    unsigned trail_next;
    uint64_t random;
    unsigned change_points[3];
    int priority_floor;
    const struct check_model *model;
    char failure[512];
};

extern struct engine engine;

/* check_engine.c */
bool engine_execute(const struct check_model *model); /* false: engine.failure says why */
void engine_point(const struct check_site *site);     /* a scheduling point before an operation */
unsigned engine_choose(unsigned count);
void engine_rewind(void); /* the same trail again from its start */
uint64_t engine_random(void);
const char *engine_thread_name(unsigned thread);

/* check_memory.c */
void memory_reset(void);
void memory_start_threads(void);  /* threads see what setup() did */
void memory_finish_threads(void); /* finish() sees what threads did */
void memory_fresh(struct thread *thread);

/* check_race.c */
void race_reset(void);
int race_block_of(const void *addr);
void race_touch_block(int block, const struct check_site *site);

/* check_trace.c */
__attribute__((format(printf, 2, 3))) void trace_op(const struct check_site *site,
                                                    const char *format, ...);
void trace_print_trail(void);
const char *trace_order(enum check_order order);
/* A macro, so that an untraced run does not pay for the arguments. */
#define TRACE(...) ((void)(engine.trace && (trace_op(__VA_ARGS__), true)))

static inline struct thread *engine_self(void)
{
    return &engine.threads[engine.running];
}

#endif /* CHECK_INTERNAL_H */
