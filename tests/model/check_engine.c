/* SPDX-License-Identifier: MIT */
/*
 * The engine: model threads as coroutines, the trail of choices, and who runs next.
 *
 * I1  Every choice is engine_choose(): its trail makes an execution repeatable, and the options
 *     stand in the same order in every search mode, so a trail from PCT replays as one from DFS.
 * I2  Option 0 of a scheduling choice is to go on with the running thread. Taking another one
 *     while it could run is a preemption; DFS allows only engine.bound of them.
 * I3  A coroutine whose execution ended early is never entered again: its stack is rebuilt.
 * I4  A thread in spin_hint() runs again when another thread has written since its first read of
 *     the waiting loop's turn, or when that turn read an old value (which time would mend).
 * I5  No switch is tried right after a load that is not seq_cst: others who run there could as well
 *     have run before the load, which may still return the old message then. This merges chains
 *     of loads into one scheduling point and loses no outcome (litmus.c proves the sets).
 * I6  DFS drops an execution in which a waiting loop's last look was an old value: the same thread
 *     reading the newest value there is another branch, and waits or goes on from the same state.
 *
 * Coroutines are born with makecontext() and switched with _setjmp/_longjmp: swapcontext() makes
 * a system call per switch. Rejected: switching in assembly (not portable, no faster here).
 */
#undef _FORTIFY_SOURCE /* its longjmp refuses to change stacks */
#include "check_internal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "base/assert.h"

#define STACK_BYTES (128 * 1024)

struct coroutine {
    jmp_buf context;
    bool alive; /* waiting at its scheduling point or for its next execution */
};

enum ending {
    ENDED = 1, /* longjmp values: 0 is the start */
    FAILED,
    REDUNDANT,
};

struct engine engine;

static struct coroutine coroutines[CHECK_THREADS];
static char stacks[CHECK_THREADS][STACK_BYTES] __attribute__((aligned(64)));
static char signal_stack[64 * 1024];
static jmp_buf main_context;
static ucontext_t birth_context;

static void thread_exit(void);

/* main_context must be set: the caller waits there. */
__attribute__((noreturn)) static void leave_to(unsigned thread)
{
    if (thread == CHECK_MAIN_THREAD)
        _longjmp(main_context, ENDED);
    _longjmp(coroutines[thread].context, 1);
}

static void coroutine_main(void)
{
    unsigned self = engine.running;

    coroutines[self].alive = true;
    if (_setjmp(coroutines[self].context) == 0)
        leave_to(CHECK_MAIN_THREAD);
    for (;;) { /* one turn per execution */
        engine.model->threads[engine.running]();
        thread_exit();
    }
}

static void coroutine_create(unsigned thread)
{
    static ucontext_t back;

    getcontext(&birth_context);
    birth_context.uc_stack.ss_sp = stacks[thread];
    birth_context.uc_stack.ss_size = STACK_BYTES;
    birth_context.uc_link = &back;
    makecontext(&birth_context, coroutine_main, 0);
    engine.running = thread;
    if (_setjmp(main_context) == 0)
        setcontext(&birth_context);
}

static void switch_to(unsigned from, unsigned to)
{
    engine.running = to;
    if (to != CHECK_MAIN_THREAD)
        engine.threads[to].started = true;
    if (from != CHECK_MAIN_THREAD && _setjmp(coroutines[from].context) != 0)
        return;
    leave_to(to);
}

/*
 * Failures.
 */

static void abandon(enum ending ending)
{
    for (unsigned i = 0; i < CHECK_THREADS; i++) {
        if (engine.threads[i].started && engine.threads[i].state != THREAD_DONE)
            coroutines[i].alive = false; /* I3 */
    }
    if (ending == FAILED && engine.running < CHECK_THREADS)
        coroutines[engine.running].alive = false;
    _longjmp(main_context, (int)ending);
}

void check_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(engine.failure, sizeof(engine.failure), format, args);
    va_end(args);
    abandon(FAILED);
    __builtin_unreachable();
}

void assert_failed(const char *condition, const char *file, int line, const char *function)
{
    check_fail("%s:%d: %s(): assertion failed: %s", file, line, function, condition);
}

static void on_signal(int number)
{
    check_fail("crash: signal %d (%s) in thread %s", number, strsignal(number),
               engine_thread_name(engine.running));
}

static void catch_signals(void)
{
    static bool caught;
    stack_t stack = { .ss_sp = signal_stack, .ss_size = sizeof(signal_stack) };
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER };

    if (caught)
        return;
    caught = true;
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    sigaction(SIGILL, &action, NULL);
}

/*
 * Choices.
 */

uint64_t engine_random(void)
{
    uint64_t z = engine.random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void engine_rewind(void)
{
    engine.trail_next = 0;
}

/* One of count options. allowed <= count: what DFS may try; default_taken: what PCT decided. */
static unsigned take(unsigned count, unsigned allowed, unsigned default_taken)
{
    unsigned at = engine.trail_next++;

    if (at >= CHECK_TRAIL)
        check_fail("trail too long: make the model smaller");
    if (at < engine.trail_length) {
        if (engine.trail[at].taken >= count)
            check_fail("trail does not fit this model (choice %u of %u at %u)",
                       engine.trail[at].taken, count, at);
        return engine.trail[at].taken;
    }
    engine.trail[at] = (struct choice){ (uint8_t)default_taken, (uint8_t)allowed };
    engine.trail_length = at + 1;
    return default_taken;
}

unsigned engine_choose(unsigned count)
{
    unsigned guess = 0;

    if (count <= 1)
        return 0;
    /* PCT: half of the choices are the ordinary ones, or weak values would drown the schedule. */
    if (engine.search == SEARCH_PCT && (engine_random() & 1))
        guess = (unsigned)(engine_random() % count);
    return take(count, count, guess);
}

unsigned check_choose(unsigned count, const struct check_site *site)
{
    unsigned taken;

    if (count <= 1)
        return 0;
    if (engine.search == SEARCH_PCT)
        taken = take(count, count, (unsigned)(engine_random() % count));
    else
        taken = take(count, count, 0);
    TRACE(site, "choice %u of %u", taken, count);
    return taken;
}

unsigned check_self(void)
{
    return engine.running;
}

/*
 * Scheduling.
 */

/* Whichever thread asks: the predicate's own memory accesses are nobody's. */
static bool holds(bool (*predicate)(void *arg), void *arg)
{
    bool result;

    engine.active = false;
    result = predicate(arg);
    engine.active = true;
    return result;
}

static bool runnable(const struct thread *t)
{
    switch (t->state) {
    case THREAD_READY:
        return true;
    case THREAD_HINTED:
        return engine.writes - t->writes != t->iteration_others; /* I4 */
    case THREAD_BLOCKED:
        return holds(t->predicate, t->arg);
    case THREAD_DONE:
        break;
    }
    return false;
}

static unsigned pct_best(const unsigned *options, unsigned count)
{
    unsigned best = 0;

    for (unsigned i = 1; i < count; i++) {
        if (engine.threads[options[i]].priority > engine.threads[options[best]].priority)
            best = i;
    }
    return best;
}

static void pct_step(struct thread *running)
{
    for (unsigned i = 0; i < 3; i++) {
        if (engine.change_points[i] == engine.steps)
            running->priority = --engine.priority_floor;
    }
}

static void report_deadlock(void)
{
    char text[400];
    size_t used = 0;

    for (unsigned i = 0; i < engine.thread_count; i++) {
        struct thread *t = &engine.threads[i];

        if (t->state == THREAD_DONE || used >= sizeof(text))
            continue;
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "\n    thread %s %s at %s:%d %s",
                             engine_thread_name(i), t->state == THREAD_HINTED ? "spins" : "waits",
                             t->last.file, t->last.line, t->last.object);
    }
    check_fail("deadlock or lost wake-up: no thread can run%s", text);
}

/* Hands the CPU to a thread of the trail's choice. avoid_self: the running one has had its turn. */
static void reschedule(bool avoid_self)
{
    unsigned self = engine.running;
    unsigned options[CHECK_THREADS];
    unsigned count = 0;
    bool self_can = self != CHECK_MAIN_THREAD && !avoid_self && runnable(&engine.threads[self]);
    unsigned allowed, taken;

    if (self_can)
        options[count++] = self;
    for (unsigned i = 0; i < engine.thread_count; i++) {
        if (i != self && runnable(&engine.threads[i]))
            options[count++] = i;
    }
    if (count == 0 && avoid_self && runnable(&engine.threads[self]))
        options[count++] = self;
    if (count == 0)
        report_deadlock();
    if (count == 1) {
        taken = 0;
    } else {
        allowed = self_can && engine.bound >= 0 && engine.preemptions >= engine.bound ? 1 : count;
        taken = take(count, allowed, engine.search == SEARCH_PCT ? pct_best(options, count) : 0);
        engine.preemptions += self_can && taken > 0; /* I2 */
    }
    engine.threads[options[taken]].state = THREAD_READY;
    if (options[taken] != self)
        switch_to(self, options[taken]);
}

void engine_point(const struct check_site *site)
{
    struct thread *t = engine_self();

    t->last = *site;
    if (engine.running == CHECK_MAIN_THREAD)
        return;
    if (++engine.steps > CHECK_STEPS)
        check_fail("livelock: more than %d steps; a waiting loop without spin_hint()?",
                   CHECK_STEPS);
    if (t->after_load) { /* I5 */
        t->after_load = false;
        return;
    }
    if (engine.search == SEARCH_PCT)
        pct_step(t);
    reschedule(false);
}

void check_hint(const struct check_site *site)
{
    struct thread *t = engine_self();

    if (engine.running == CHECK_MAIN_THREAD)
        check_fail("%s:%d: setup() or finish() spins", site->file, site->line);
    if (++engine.steps > CHECK_STEPS)
        check_fail("livelock: more than %d steps", CHECK_STEPS);
    t->last = *site;
    TRACE(site, "spin hint");
    if (engine.search == SEARCH_DFS && t->last_stale)
        abandon(REDUNDANT); /* I6 */
    t->priority = --engine.priority_floor;
    if (!t->stale_in_iteration && t->in_iteration)
        t->state = THREAD_HINTED;
    reschedule(true);
    t->in_iteration = false;
    t->after_load = false;
    memory_fresh(t);
}

void check_block(bool (*predicate)(void *arg), void *arg, const struct check_site *site)
{
    struct thread *t = engine_self();

    engine_point(site);
    if (holds(predicate, arg))
        return;
    TRACE(site, "waits");
    t->predicate = predicate;
    t->arg = arg;
    t->state = THREAD_BLOCKED;
    reschedule(false);
}

static void thread_exit(void)
{
    struct thread *t = engine_self();
    bool all_done = true;

    t->state = THREAD_DONE;
    for (unsigned i = 0; i < engine.thread_count; i++)
        all_done &= engine.threads[i].state == THREAD_DONE;
    if (all_done)
        switch_to(engine.running, CHECK_MAIN_THREAD);
    else
        reschedule(false);
}

/*
 * One execution.
 */

static void thread_reset(struct thread *t)
{
    t->state = THREAD_READY;
    t->started = false;
    t->last = (struct check_site){ "(start)", 0, "" };
    t->writes = 0;
    t->in_iteration = false;
    t->stale_in_iteration = false;
    t->last_stale = false;
    t->after_load = false;
    t->spurious = 0;
}

static void pct_prepare(void)
{
    static unsigned length = 20; /* of the last execution: change points fall inside */

    if (engine.steps > 4)
        length = engine.steps;
    for (unsigned i = 0; i < 3; i++)
        engine.change_points[i] = 1 + (unsigned)(engine_random() % length);
    for (unsigned i = 0; i < engine.thread_count; i++)
        engine.threads[i].priority = (int)(engine_random() % 1000) + 1;
}

static void execution_reset(const struct check_model *model)
{
    engine.model = model;
    engine.thread_count = 0;
    while (engine.thread_count < CHECK_THREADS && model->threads[engine.thread_count])
        engine.thread_count++;
    for (unsigned i = 0; i < engine.thread_count; i++) {
        thread_reset(&engine.threads[i]);
        if (!coroutines[i].alive)
            coroutine_create(i);
    }
    thread_reset(&engine.threads[CHECK_MAIN_THREAD]);
    engine.running = CHECK_MAIN_THREAD;
    engine.writes = 0;
    engine.preemptions = 0;
    engine.priority_floor = 0;
    engine.failure[0] = '\0';
    if (engine.search == SEARCH_PCT)
        pct_prepare();
    engine.steps = 0;
    engine_rewind();
    memory_reset();
    race_reset();
}

static bool execute(const struct check_model *model)
{
    switch (_setjmp(main_context)) {
    case 0:
        if (model->setup)
            model->setup();
        memory_start_threads();
        reschedule(true); /* comes back through main_context */
        break;
    case ENDED:
        memory_finish_threads();
        engine.running = CHECK_MAIN_THREAD;
        if (model->finish)
            model->finish();
        break;
    case REDUNDANT:
        break;
    default:
        return false;
    }
    return true;
}

bool engine_execute(const struct check_model *model)
{
    bool ok;

    catch_signals();
    execution_reset(model);
    engine.active = true;
    ok = execute(model);
    engine.active = false;
    return ok;
}
