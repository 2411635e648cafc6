/* SPDX-License-Identifier: MIT */
/*
 * Model of atomic/spin.h. Claims: at most one holder; a holder sees all earlier holders wrote;
 * try_lock never waits; every waiter gets the lock in the end.
 */
#include "atomic/spin.h"
#include "base/assert.h"

static struct {
    struct spin lock;
    int counter; /* guarded by lock */
    bool tried;
} s;

static void setup(void)
{
    spin_init(&s.lock);
    s.counter = 0;
    s.tried = false;
}

static void bump(void)
{
    plain_write(s.counter, plain_read(s.counter) + 1);
}

static void locker(void)
{
    spin_lock(&s.lock);
    bump();
    spin_unlock(&s.lock);
}

static void trier(void)
{
    if (!spin_try_lock(&s.lock))
        return;
    bump();
    plain_write(s.tried, true);
    spin_unlock(&s.lock);
}

static void finish(void)
{
    JD_ASSERT(s.counter == 2 + (s.tried ? 1 : 0));
    JD_ASSERT(check_peek(&s.lock.locked) == 0);
}

static void finish_twice(void)
{
    JD_ASSERT(s.counter == 3);
}

static void locker_twice(void)
{
    locker();
    locker();
}

static const struct check_model models[] = {
    { .name = "spin-lock", .setup = setup, .threads = { locker, locker, trier }, .finish = finish },
    { .name = "spin-again",
      .setup = setup,
      .threads = { locker_twice, locker },
      .finish = finish_twice },
};

CHECK_MAIN(models)
