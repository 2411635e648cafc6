/* SPDX-License-Identifier: MIT */
/*
 * `jackdaw batch` with URLs in a build without libcurl.
 */
#include <stdio.h>

#include "cli/url_batch.h"

int url_batch(const struct batch_settings *o)
{
    (void)o;
    fputs("jackdaw batch: this program was built without libcurl and calls no URLs\n", stderr);
    return 2;
}
