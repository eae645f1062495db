/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_policy_file.c - the text of a policy: it is taken or there is a sentence with a line; and
 * what is taken lets nothing through that it refuses without its last line, for lines only tighten.
 * Input: the text. */
#include <netinet/in.h>
#include <stdlib.h>

#include "protect/policy_file_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void fault_properties(const struct policy_fault *f, struct span text)
{
    size_t lines = 1;

    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    check(f->line <= lines && f->why[0]);
    for (const char *c = f->why; *c; c++)
        check(*c >= ' ' && *c <= '~');
}

static struct policy_flow a_flow(const struct sockaddr_in *local, const struct sockaddr_in *remote)
{
    return (struct policy_flow){.interface = "lo",
                                .local = (const struct sockaddr *)local,
                                .remote = (const struct sockaddr *)remote,
                                .proto = IPPROTO_TCP,
                                .service = "icap",
                                .user = "root"};
}

/* |shorter| is what |p| is without some lines at its end. */
static void tightening(const struct policy_file *shorter, const struct policy_file *p)
{
    const struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(1344)};
    const struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons(40000)};
    struct policy_flow flow = a_flow(&local, &remote);
    struct report_cause cause;
    sallyport_report *clear;

    check(sallyport_report_new(NULL, &clear) == 0);
    if (policy_check(shorter, &flow, NULL, clear, &cause) != 0)
        check(policy_check(p, &flow, NULL, clear, &cause) != 0 && reason_find(cause.code));
    /* What is known less is not let through more. */
    if (policy_check(p, &flow, NULL, clear, &cause) != 0) {
        flow.local = flow.remote = NULL;
        flow.interface = NULL;
        flow.proto = 0;
        check(policy_check(p, &flow, NULL, clear, &cause) != 0);
    }
    sallyport_report_free(clear);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size}, head = text;
    struct policy_file *p = NULL, *shorter = NULL;
    struct policy_fault fault;
    enum err e = policy_parse(text, &p, &fault);

    check(e == OK || e == ERR_SYNTAX);
    if (e) {
        fault_properties(&fault, text);
        return 0;
    }
    check(p->n_rules <= POLICY_RULES_MAX && p->n_attrs <= POLICY_ATTRS_MAX);
    for (head.n = size / 2; head.n > 0 && head.p[head.n - 1] != '\n';)
        head.n--;
    if (policy_parse(head, &shorter, &fault) == OK)
        tightening(shorter, p);
    policy_unref(shorter);
    policy_unref(p);
    return 0;
}
