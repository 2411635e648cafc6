/* SPDX-License-Identifier: MIT */
/* Two tasks sleep at the same time: the program takes as long as one sleep. */
#include <stdio.h>

#include <jackdaw/jackdaw.h>

static jd_result greet(void *name)
{
    int err = jd_sleep(JD_MS(50)); /* suspends the task, never the thread */

    if (err)
        return jd_err(err);
    printf("hello, %s\n", (const char *)name);
    return jd_ok_num(1);
}

static jd_result hello(void *arg)
{
    static char names[2][8] = { "magpie", "raven" };
    jd_task *first = jd_spawn(greet, names[0]);
    jd_task *second = jd_spawn(greet, names[1]);
    jd_result a = jd_join(first), b = jd_join(second); /* a failed spawn is -EINVAL here */

    (void)arg;
    if (a.error || b.error)
        return jd_err(a.error ? a.error : b.error);
    return jd_ok_num(a.num + b.num);
}

int main(void)
{
    jd_result r = jd_run(hello, NULL, NULL);

    if (r.error)
        fprintf(stderr, "hello: %s\n", jd_strerror(r.error));
    return r.error || r.num != 2;
}
