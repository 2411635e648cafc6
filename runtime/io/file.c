/* SPDX-License-Identifier: MIT */
/*
 * The calls on any descriptor: read, write and their whole-buffer forms.
 *
 * A length of 0 moves nothing and waits for nothing; it only says whether the descriptor could be
 * used that way. Longer lengths than the kernel moves at once are cut by the reactor.
 * Threads: tasks.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include <jackdaw/io.h>

#include "base/clock.h"
#include "io/op_wait.h"
#include "io/sys.h"

/* 0 bytes: `refused` is the access mode that does not allow it. */
static int check_access(int fd, int refused)
{
    int flags = sys_status_flags(fd);

    if (flags < 0)
        return flags;
    return (flags & O_PATH) || (flags & O_ACCMODE) == refused ? -EBADF : 0;
}

static ssize_t transfer(uint8_t kind, int fd, void *buf, size_t len)
{
    struct jd_task *task;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return error;
    if (!buf && len > 0)
        return -EINVAL;
    if (fd < 0)
        return -EBADF;
    if (len == 0)
        return check_access(fd, kind == OP_READ ? O_WRONLY : O_RDONLY);

    struct op_wait w = {
        .op = { .kind = kind, .fd = fd, .buf = buf, .len = len, .offset = OP_FILE_POSITION }
    };

    return op_wait(task, &w, CLOCK_FOREVER);
}

ssize_t jd_read(int fd, void *buf, size_t len)
{
    return transfer(OP_READ, fd, buf, len);
}

ssize_t jd_write(int fd, const void *buf, size_t len)
{
    /* The op's buffer is used both ways; a write only reads it. */
    return transfer(OP_WRITE, fd, (void *)(uintptr_t)buf, len);
}

int jd_write_all(int fd, const void *buf, size_t len)
{
    return jd_write_all_count(fd, buf, len, NULL);
}

int jd_write_all_count(int fd, const void *buf, size_t len, size_t *ret_done)
{
    const char *from = buf;
    size_t done = 0;
    ssize_t n;

    do { /* also once for 0 bytes, so that a wrong place or a cancel is seen */
        n = jd_write(fd, from, len - done);
        if (n == 0 && len > 0)
            n = -EIO; /* no file does this; going on would never end */
        if (n > 0) {
            from += n;
            done += (size_t)n;
        }
    } while (n > 0 && done < len);
    if (ret_done)
        *ret_done = done;
    return n < 0 ? (int)n : 0;
}

ssize_t jd_read_full(int fd, void *buf, size_t len)
{
    char *to = buf;
    size_t done = 0;
    ssize_t n;

    if (len > SSIZE_MAX)
        return -EINVAL; /* the count could not be returned */
    do {
        n = jd_read(fd, to, len - done);
        if (n < 0)
            return n;
        if (n > 0) {
            to += n;
            done += (size_t)n;
        }
    } while (n > 0 && done < len);
    return (ssize_t)done;
}
