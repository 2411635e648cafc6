/* SPDX-License-Identifier: MIT */
/*
 * `jackdaw batch`: reads its options, and calls URLs or runs the demonstration.
 */
#include "cli/batch_command.h"

#include "cli/batch_settings.h"
#include "cli/demo_batch.h"
#include "cli/url_batch.h"

static int run(const struct batch_settings *o)
{
    if (o->help) {
        batch_settings_help();
        return 0;
    }
    return o->input_count ? url_batch(o) : demo_batch(o);
}

int batch_command(int argc, char **argv)
{
    struct batch_settings o;
    int status = batch_settings_read(&o, argc, argv);

    if (!status)
        status = run(&o);
    batch_settings_free(&o);
    return status;
}
