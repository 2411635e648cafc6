/* SPDX-License-Identifier: MIT */
#ifndef CLI_BATCH_COMMAND_H
#define CLI_BATCH_COMMAND_H

/*
 * `jackdaw batch`: HTTP calls, a bounded number at a time: of URLs, or of a server of its own as a
 * demonstration. Exit status: 0, 1 (calls failed), 2 (usage), 130 (interrupted).
 */

/* argv[0] is the command's name. Returns the exit status. */
int batch_command(int argc, char **argv);

#endif /* CLI_BATCH_COMMAND_H */
