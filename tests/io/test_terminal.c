/* SPDX-License-Identifier: MIT */
/*
 * Terminals: descriptors that know no RWF_NOWAIT, so the epoll port asks poll() first.
 */
#include "io_test.h"

#include <limits.h>
#include <termios.h>

struct terminal {
    int near, far;
};

static struct terminal terminal_open(void)
{
    struct terminal t = { posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), -1 };
    struct termios raw;

    if (t.near < 0)
        jd_test_skip("no pseudo terminals here");
    cr_assert_eq(grantpt(t.near), 0);
    cr_assert_eq(unlockpt(t.near), 0);
    t.far = open(ptsname(t.near), O_RDWR | O_NOCTTY | O_CLOEXEC);
    cr_assert_geq(t.far, 0);
    cr_assert_eq(tcgetattr(t.far, &raw), 0);
    cfmakeraw(&raw);
    cr_assert_eq(tcsetattr(t.far, TCSANOW, &raw), 0);
    return t;
}

static struct terminal terminal;

static jd_result read_line(void *arg)
{
    char *line = arg;
    ssize_t n = jd_read_full(terminal.far, line, 4);

    return n < 0 ? jd_err(n) : jd_ok_num(n);
}

static jd_result lines_body(void *arg)
{
    char line[4];
    jd_task *reader;

    (void)arg;
    for (int i = 0; i < 3; i++) {
        reader = jd_spawn(read_line, line);
        await_in_flight(1); /* it waits: nothing is there yet */
        cr_assert_eq(jd_write_all(terminal.near, "ab", 2), 0);
        cr_assert_eq(jd_write_all(terminal.near, "cd", 2), 0);
        cr_assert_eq(jd_join(reader).num, 4);
        cr_assert_arr_eq(line, "abcd", 4);
        await_none_in_flight();
    }
    return jd_ok(NULL);
}

Test(terminal, a_reader_waits_for_what_is_typed)
{
    terminal = terminal_open();
    on_each_port(lines_body);
    close(terminal.near);
    close(terminal.far);
}

static char sent[64 << 10], got[sizeof(sent)];

static jd_result drain(void *arg)
{
    ssize_t n = jd_read_full(terminal.far, got, sizeof(got));

    (void)arg;
    return n < 0 ? jd_err(n) : jd_ok_num(n);
}

static jd_result flood_body(void *arg)
{
    jd_task *reader = jd_spawn(drain, arg);

    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (char)(i * 11 + i / 256);
    memset(got, 0, sizeof(got));
    cr_assert_eq(jd_write_all(terminal.near, sent, sizeof(sent)), 0);
    cr_assert_eq(jd_join(reader).num, sizeof(sent));
    cr_assert_arr_eq(got, sent, sizeof(sent));
    return jd_ok(NULL);
}

Test(terminal, a_writer_waits_for_room)
{
    terminal = terminal_open();
    on_each_port(flood_body);
    close(terminal.near);
    close(terminal.far);
}

static jd_result cancel_body(void *arg)
{
    char line[4];
    jd_task *reader = jd_spawn(read_line, line);

    (void)arg;
    await_in_flight(1);
    cr_assert_eq(jd_task_cancel(reader, NULL), 0);
    cr_assert_eq(jd_join(reader).error, -ECANCELED);
    return jd_ok(NULL);
}

Test(terminal, a_reader_can_be_cancelled)
{
    terminal = terminal_open();
    on_each_port(cancel_body);
    close(terminal.near);
    close(terminal.far);
}
