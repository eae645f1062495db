/* SPDX-License-Identifier: Apache-2.0 */
/* rules_settings.c - how rules are written, and what can be said about one by itself. */
#include "adapt/rules.h"
#include "adapt/url_normal.h"

const struct config_names pipeline_names = CONFIG_NAMES(
    {"yara", PIPELINE_YARA}, {"filetype", PIPELINE_FILETYPE}, {"printing", PIPELINE_PRINTING},
    {"clamav", PIPELINE_CLAMAV}, {"url", PIPELINE_URL});
static const struct config_names then_names = CONFIG_NAMES(
    {"allow", RULE_ALLOW}, {"block", RULE_BLOCK}, {"note", RULE_NOTE}, {"pipeline", RULE_PIPELINE});

static const char *valid_name(struct span text)
{
    return span_is_token(text) ? NULL : "be letters, digits, '-', '_' and '.'";
}

static const char *valid_line(struct span text)
{
    return text.n > 0 && span_is_field_value(text) ? NULL
                                                   : "be one line without control characters";
}

static const char *valid_method(struct span text)
{
    return span_ieq(text, SPAN("REQMOD")) || span_ieq(text, SPAN("RESPMOD"))
               ? NULL
               : "be REQMOD or RESPMOD";
}

/* A pattern that can never match is a rule that looks as if it were in force. */
static const char *valid_host(struct span text)
{
    bool below = span_starts(text, SPAN("."));
    struct url_host h;

    if (span_find(text, '*') < text.n)
        return "be host.example, or .example for it and every host below it, without '*'";
    if (url_host_normal(below ? span_sub(text, 1, text.n) : text, &h) != OK || h.n == 0 ||
        h.text[0] == '.' || (below && h.address))
        return "be host.example, or .example for it and every host below it";
    if (!h.address && span_find(text, ':') < text.n)
        return "be a host without a port; an IPv6 address stands in brackets";
    for (size_t i = 0; i < h.n; i++)
        if ((unsigned char)h.text[i] >= 0x80)
            return "be written as in a request, international names as xn--...";
    return NULL;
}

static const char *valid_type(struct span text)
{
    unsigned slashes = 0;

    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '/')
            slashes++;
        else if (!char_is_token((unsigned char)text.p[i]) && text.p[i] != '?')
            return "be a media type without parameters; '*' and '?' stand for others";
    }
    return slashes == 1 || span_eq(text, SPAN("*")) ? NULL : "be a media type, such as image/*";
}

static const char *valid_sha256(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (char_hex(text.p[i]) < 0)
            return "be 64 hexadecimal digits";
    return text.n == 64 ? NULL : "be 64 hexadecimal digits";
}

static const struct config_row rule_rows[] = {
    CONFIG_STRING("name", struct rule_settings, name, .required = true, .min = 1, .max = 64,
                  .valid = valid_name,
                  .help = "Name of the rule in records and on the block page."),
    CONFIG_STRINGS("tenant", struct rule_settings, tenant, .valid = valid_name,
                   .help = "Tenants whose login it is."),
    CONFIG_CIDRS("client", struct rule_settings, client,
                 .help = "Addresses or networks of the user: X-Client-IP where the peer may state "
                         "it, or else the peer itself."),
    CONFIG_STRINGS("user", struct rule_settings, user, .valid = valid_line,
                   .help = "Users as the peer states them; '*' and '?' stand for others, letters "
                           "are of any case. Without a stated user the rule does not match."),
    CONFIG_STRINGS("method", struct rule_settings, method, .valid = valid_method,
                   .help = "REQMOD: what users send. RESPMOD: what they get."),
    CONFIG_STRINGS("host", struct rule_settings, host, .valid = valid_host,
                   .help = "Hosts of the URL: host.example is this one, .example is it and every "
                           "host below it."),
    CONFIG_STRINGS("url-list", struct rule_settings, url_list, .valid = valid_name,
                   .help = "Names of lists of engines.url: the URL is on one of them."),
    CONFIG_STRINGS("type", struct rule_settings, type, .valid = valid_type,
                   .help = "Media types, such as image/*, declared or by the look of the bytes. "
                           "To allow, all that is known must fit, the look of the bytes included. "
                           "To choose a pipeline, only the declared one is known."),
    CONFIG_STRINGS("file", struct rule_settings, file, .valid = valid_line,
                   .help = "File names, such as *.docm; letters are of any case. To allow, every "
                           "file of a form must fit."),
    CONFIG_STRINGS("sha256", struct rule_settings, sha256, .valid = valid_sha256,
                   .help = "Digests of the body as it came."),
    CONFIG_STRINGS("signature", struct rule_settings, signature, .valid = valid_line,
                   .help = "Names of what engines find; '*' and '?' stand for others. To allow, "
                           "everything that blocks must fit."),
    CONFIG_SIZE("larger", struct rule_settings, larger, .max = UINT64_C(1) << 42, .fallback = "off",
                .zero = "off", .help = "The body has more bytes than that."),
    CONFIG_SIZE("smaller", struct rule_settings, smaller, .max = UINT64_C(1) << 42,
                .fallback = "off", .zero = "off", .help = "The body has fewer bytes than that."),
    CONFIG_ENUM("then", struct rule_settings, then, then_names, .required = true,
                .help = "allow: deliver, whatever else is found or would be. block: a block page. "
                        "note: record it and ask the next rule. pipeline: run these engines "
                        "instead of the service's."),
    CONFIG_SET("pipeline", struct rule_settings, pipeline, pipeline_names,
               .help = "Engines for 'then: pipeline'."),
    CONFIG_STRING("why", struct rule_settings, why, .max = 256, .valid = valid_line,
                  .help = "The reason for people, in records and on the block page."),
};

/* A pipeline is chosen before the first byte of a body was seen. */
static void check_pipeline(struct rule_settings *v, struct config_report *r)
{
    static const char text[] = "a pipeline is chosen by what the heads say, and '%s' is about the "
                               "body";

    if (!config_is_set(r, v, "pipeline"))
        (void)config_fault(r, v, "then", "rule '%s' needs a pipeline", v->name);
    else if (v->pipeline == 0)
        config_warn(r, v, "pipeline", "rule '%s' inspects nothing of what it matches", v->name);
    if (v->sha256.n > 0)
        (void)config_fault(r, v, "sha256", text, "sha256");
    if (v->signature.n > 0)
        (void)config_fault(r, v, "signature", text, "signature");
    if (v->larger > 0)
        (void)config_fault(r, v, "larger", text, "larger");
    if (v->smaller > 0)
        (void)config_fault(r, v, "smaller", text, "smaller");
}

static bool has_conditions(const struct rule_settings *v)
{
    return v->tenant.n + v->client.n + v->user.n + v->method.n + v->host.n + v->url_list.n +
                   v->type.n + v->file.n + v->sha256.n + v->signature.n >
               0 ||
           v->larger > 0 || v->smaller > 0;
}

static enum err rule_check(void *block, struct config_report *r)
{
    struct rule_settings *v = block;

    if (v->then == RULE_PIPELINE)
        check_pipeline(v, r);
    else if (config_is_set(r, v, "pipeline"))
        (void)config_fault(r, v, "pipeline", "a pipeline is for 'then: pipeline' only");
    if (v->smaller > 0 && v->larger > 0 && v->smaller <= v->larger + 1)
        (void)config_fault(r, v, "smaller", "no body is larger than %llu and smaller than %llu",
                           (unsigned long long)v->larger, (unsigned long long)v->smaller);
    if (v->then == RULE_ALLOW && !has_conditions(v))
        config_warn(r, v, NULL, "rule '%s' has no condition and allows everything", v->name);
    return OK;
}

const struct config_block rule_block =
    CONFIG_ROWS(struct rule_settings, rule_rows, .check = rule_check,
                .help = "Rules of a service, asked in order; the first one that matches decides. "
                        "All conditions of a rule must hold; the values of one condition are "
                        "alternatives. A rule without conditions matches everything.");

unsigned rules_engines(unsigned pipeline, const struct rule_settings *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].then == RULE_PIPELINE)
            pipeline |= v[i].pipeline;
    return pipeline;
}
