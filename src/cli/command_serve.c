/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdint.h>

#include "base/span.h"
#include "cli/cli.h"
#include "proc/gateway.h"
#include "proc/supervisor.h"

enum {
    OPTION_DEMO = 256,
    OPTION_CERTIFICATES,
    OPTION_STATE,
    OPTION_PORT,
    OPTION_DEMO_PORT,
    OPTION_GATEWAY,
    OPTION_WORKER,
    OPTION_HELP
};

/* clang-format off */
static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"demo", no_argument, NULL, OPTION_DEMO},
    {"certificates", required_argument, NULL, OPTION_CERTIFICATES},
    {"state", required_argument, NULL, OPTION_STATE},
    {"port", required_argument, NULL, OPTION_PORT},
    {"demo-port", required_argument, NULL, OPTION_DEMO_PORT},
    {"worker", required_argument, NULL, OPTION_WORKER},
    {"gateway-control", required_argument, NULL, OPTION_GATEWAY},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
/* clang-format on */

static int check(const struct supervisor_options *o, int port_option)
{
    if (o->demo && o->config_path)
        return command_wrong(&command_serve, "--demo makes its own configuration: leave -c out");
    if (o->certificates && (o->config_path || o->demo))
        return command_wrong(&command_serve, "--certificates makes its own configuration: leave -c "
                                             "and --demo out");
    if (port_option == OPTION_DEMO_PORT && !o->demo)
        return command_wrong(&command_serve, "--demo-port goes with --demo");
    if (port_option == OPTION_PORT && !o->certificates)
        return command_wrong(&command_serve, "--port goes with --certificates");
    return -1;
}

static int run(int argc, char **argv)
{
    struct supervisor_options o = {.port = -1};
    uint64_t number = 0;
    int gateway_fd = -1, port_option = 0, c;

    /* SIGUSR2 starts the same command line again: from the program's name on, which stands before
     * the subcommand's. */
    o.argv = argv - 1;
    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (c) {
        case 'c': o.config_path = optarg; break;
        case OPTION_DEMO: o.demo = true; break;
        case OPTION_STATE: o.state = optarg; break;
        case OPTION_WORKER: o.worker_path = optarg; break;
        case OPTION_CERTIFICATES: o.certificates = optarg; break;
        case OPTION_PORT:
        case OPTION_DEMO_PORT:
            if (span_u64(span_of(optarg), 65535, &number) != OK)
                return command_wrong(&command_serve, "--%sport must be 0..65535, got '%s'",
                                     c == OPTION_DEMO_PORT ? "demo-" : "", optarg);
            o.port = (int)number;
            port_option = c;
            break;
        case OPTION_GATEWAY:
            if (span_u64(span_of(optarg), INT32_MAX, &number) != OK)
                return command_wrong(&command_serve,
                                     "--gateway-control is for Sallyport's own use");
            gateway_fd = (int)number;
            break;
        case 'h':
        case OPTION_HELP: return command_usage(&command_serve, false);
        default: return command_usage(&command_serve, true);
        }
    if (optind < argc)
        return command_wrong(&command_serve, "unexpected argument '%s'", argv[optind]);
    c = check(&o, port_option);
    if (c >= 0)
        return c;
    return gateway_fd >= 0 ? gateway_main(gateway_fd) : supervisor_main(&o);
}

const struct command command_serve = {
    .name = "serve",
    .summary = "run the gateway",
    .usage =
        "sallyport serve [-c FILE] [--state DIR]\n"
        "       sallyport serve --certificates DIR [--state DIR] [--port PORT]\n"
        "       sallyport serve --demo [--state DIR] [--demo-port PORT]\n\n"
        "  -c, --config FILE   configuration; default " SUPERVISOR_CONFIG_DEFAULT "\n"
        "  --state DIR         state directory, in place of the configured one\n"
        "  --certificates DIR  no configuration: ICAP over TLS on port 11344 with the files "
        "tls-server-cert,\n"
        "                      tls-server-key and tls-cafile of DIR, such as a mounted secret. The "
        "port opens\n"
        "                      when they are there; clients must have certificates of that CA\n"
        "  --port PORT         with --certificates: another port; 0: any free one\n"
        "  --demo              everything on loopback, with an own CA: ICAP over TLS on port "
        "11344,\n"
        "                      ICAP on 1344, in a temporary directory unless --state names one\n"
        "  --demo-port PORT    the demo's ICAP port; 0: any free ones\n"
        "  --worker FILE       the worker program, in place of the one beside this program\n\n"
        "SIGTERM drains and ends, SIGHUP reloads, SIGUSR1 opens the records file anew, SIGUSR2 "
        "starts the\n"
        "program anew in place (for an upgrade).\n",
    .run = run,
};
