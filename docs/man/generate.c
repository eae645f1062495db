/* SPDX-License-Identifier: Apache-2.0 */
/* generate.c - the manual page of the configuration file: a template whose line `.\" ROWS` is
 * replaced by what the rows of the configuration say about themselves. Runs at build time.
 *
 *     generate TEMPLATE > sallyport.yaml.5 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "proc/settings.h"

static void die(const char *what)
{
    fprintf(stderr, "generate: %s\n", what);
    exit(1);
}

static void print_rows(void)
{
    struct buf rows = {0};

    config_man(&settings_block, &rows);
    if (rows.err != OK || fwrite(rows.p, 1, rows.n, stdout) != rows.n)
        die("cannot print the rows");
    buf_done(&rows);
}

int main(int argc, char **argv)
{
    char line[4096];
    FILE *template = argc == 2 ? fopen(argv[1], "r") : NULL;

    if (template == NULL)
        die("no template");
    while (fgets(line, sizeof line, template) != NULL) {
        if (strcmp(line, ".\\\" ROWS\n") == 0)
            print_rows();
        else if (fputs(line, stdout) == EOF)
            die("cannot write");
    }
    (void)fclose(template);
    return fflush(stdout) == 0 ? 0 : 1;
}
