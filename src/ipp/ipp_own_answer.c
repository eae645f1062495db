/* SPDX-License-Identifier: Apache-2.0 */
#include "base/reader.h"
#include "ipp/ipp_translate_int.h"

/* ---- any answer ---- */

static void begin(struct ipp_writer *w, const struct ipp_own_answer *a, struct buf *out)
{
    bool is_spoken = a->major == 1 || a->major == 2;
    uint8_t major = a->major > 2 ? 2 : a->major == 0 ? 1 : a->major;
    uint8_t minor = is_spoken ? a->minor : a->major > 2 ? 0 : 1;

    ipp_write_begin(w, out, major, minor, a->status, a->request_id);
    ipp_write_group(w, IPP_GROUP_OPERATION);
    ipp_write_string(w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
    ipp_write_string(w, IPP_VALUE_LANGUAGE, SPAN("attributes-natural-language"), SPAN("en"));
    if (a->message.n)
        ipp_write_clean(w, IPP_VALUE_TEXT, SPAN("status-message"), a->message);
}

/* RFC 8011 4.1.7: what is not known comes back by its name. */
static void write_unsupported(struct ipp_writer *w, struct span names)
{
    bool has_group = false;

    while (names.n) {
        struct span name = span_cut(&names, ' ');

        if (name.n == 0)
            continue;
        if (!has_group)
            ipp_write_group(w, IPP_GROUP_UNSUPPORTED);
        has_group = true;
        ipp_write_out_of_band(w, IPP_VALUE_UNSUPPORTED, name);
    }
}

enum err ipp_own_answer(const struct ipp_own_answer *a, struct buf *out)
{
    struct ipp_writer w;

    begin(&w, a, out);
    write_unsupported(&w, a->unsupported);
    return ipp_write_end(&w);
}

/* ---- what is told of a job ---- */

struct own_job {
    const struct ipp_job *job;
    const struct ipp_public_printer *printer;
    uint64_t now_wall_ms;
};

/* RFC 8011 5.3.7, 5.3.8. */
static const struct {
    int32_t state;
    const char *reason;
} states[] = {
    [IPP_JOB_INCOMING] = {4, "job-incoming"            }, /* pending-held */
    [IPP_JOB_SCANNING] = {5, "job-transforming"        }, /* processing */
    [IPP_JOB_SENDING] = {5, "job-outgoing"            },
    [IPP_JOB_STOPPING] = {5, "processing-to-stop-point"},
    [IPP_JOB_PRINTER] = {3, "none"                    }, /* pending: who knows more is not asked */
    [IPP_JOB_ABORTED] = {8, "aborted-by-system"       }, /* aborted */
    [IPP_JOB_CANCELED] = {7, "job-canceled-by-user"    }, /* canceled */
};

static bool is_ended(const struct ipp_job *j)
{
    return j->stage == IPP_JOB_ABORTED || j->stage == IPP_JOB_CANCELED;
}

static void job_id(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    ipp_write_integer(w, name, o->job->id);
}

static void job_uri(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    (void)name;
    ipp_write_job_uri(w, o->printer, o->job);
}

static void job_printer_uri(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    struct ipp_public_uris uris;

    ipp_public_uris_make(&uris, o->printer);
    ipp_write_printer_uri(w, name, &uris);
}

static void state(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    ipp_write_enum(w, name, states[o->job->stage].state);
}

static void reasons(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    bool has_reason = is_ended(o->job) && o->job->reason[0];

    ipp_write_string(w, IPP_VALUE_KEYWORD, name,
                     span_of(has_reason ? o->job->reason : states[o->job->stage].reason));
}

static void message(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    if (o->job->why[0])
        ipp_write_clean(w, IPP_VALUE_TEXT, name, span_of(o->job->why));
}

static void job_name(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    ipp_write_clean(w, IPP_VALUE_NAME, name,
                    o->job->name[0] ? span_of(o->job->name) : SPAN("Untitled"));
}

static void user_name(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    ipp_write_clean(w, IPP_VALUE_NAME, name,
                    o->job->user[0] ? span_of(o->job->user) : SPAN("anonymous"));
}

static int32_t clamp(uint64_t v)
{
    return v > INT32_MAX ? INT32_MAX : (int32_t)v;
}

/* Seconds since 1970, as CUPS counts them and its clients show them; RFC 8011 5.3.14 has them count
 * from when the printer came up, which job-printer-up-time tells. */
static void write_time(struct ipp_writer *w, struct span name, uint64_t wall_ms)
{
    ipp_write_integer(w, name, clamp(wall_ms / 1000));
}

static void up_time(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    write_time(w, name, o->now_wall_ms);
}

static void at_creation(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    write_time(w, name, o->job->created_wall_ms);
}

static void at_completed(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    if (is_ended(o->job))
        write_time(w, name, o->job->ended_wall_ms);
    else
        ipp_write_out_of_band(w, IPP_VALUE_NO_VALUE, name);
}

static void no_value(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    (void)o;
    ipp_write_out_of_band(w, IPP_VALUE_NO_VALUE, name);
}

static void documents(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    ipp_write_integer(w, name, clamp(o->job->documents));
}

static void k_octets(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    ipp_write_integer(w, name, clamp(o->job->octets / 1024 + (o->job->octets % 1024 != 0)));
}

/* Days since 1970 in the Gregorian calendar. Years are counted from March on, so that the leap day
 * is the last one of its year, and in eras of 400, which are alike. False: beyond what fits. */
static bool write_day(struct writer *w, uint64_t days)
{
    uint64_t since = days + 719468; /* since the first of March of the year 0 */
    uint64_t era = since / 146097, of_era = since % 146097;
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * of_year + 2) / 153; /* 0: March */
    uint64_t day = of_year - (153 * month + 2) / 5 + 1;

    year += era * 400 + (month >= 10);
    if (year > UINT16_MAX)
        return false;
    write_u16(w, (uint16_t)year);
    write_u8(w, (uint8_t)(month < 10 ? month + 3 : month - 9));
    write_u8(w, (uint8_t)day);
    return true;
}

/* RFC 2579, DateAndTime, in UTC. */
static void date_at_creation(struct ipp_writer *w, struct span name, const struct own_job *o)
{
    uint64_t ms = o->job->created_wall_ms, s = ms / 1000;
    uint8_t room[11];
    struct writer date = writer_of(room, sizeof room);

    if (!write_day(&date, s / 86400))
        return;
    write_u8(&date, (uint8_t)(s / 3600 % 24));
    write_u8(&date, (uint8_t)(s / 60 % 60));
    write_u8(&date, (uint8_t)(s % 60));
    write_u8(&date, (uint8_t)(ms % 1000 / 100));
    write_span(&date, SPAN("+\0\0"));
    ipp_write_value(w, IPP_VALUE_DATE_TIME, name, writer_span(&date));
}

/* All of them are of the group job-description (RFC 8011 5.3); none is of job-template. What CUPS
 * has of its own, job-printer-state-message, is what `lpstat -l` shows as a job's status. */
static const struct {
    struct span name;
    void (*write)(struct ipp_writer *w, struct span name, const struct own_job *o);
} attributes[] = {
    {SPAN("job-id"),                    job_id          },
    {SPAN("job-uri"),                   job_uri         },
    {SPAN("job-state"),                 state           },
    {SPAN("job-state-reasons"),         reasons         },
    {SPAN("job-state-message"),         message         },
    {SPAN("job-printer-state-message"), message         },
    {SPAN("job-printer-uri"),           job_printer_uri },
    {SPAN("job-name"),                  job_name        },
    {SPAN("job-originating-user-name"), user_name       },
    {SPAN("time-at-creation"),          at_creation     },
    {SPAN("time-at-processing"),        no_value        },
    {SPAN("time-at-completed"),         at_completed    },
    {SPAN("job-printer-up-time"),       up_time         },
    {SPAN("number-of-documents"),       documents       },
    {SPAN("job-k-octets"),              k_octets        },
    {SPAN("date-time-at-creation"),     date_at_creation},
};

static bool is_requested(const struct ipp_attribute *requested, struct span name)
{
    struct ipp_value v;

    if (!requested)
        return true;
    for (struct span rest = requested->values; ipp_value_next(&rest, &v);)
        if (span_ieq(v.value, name) || span_ieq(v.value, SPAN("all")) ||
            span_ieq(v.value, SPAN("job-description")))
            return true;
    return false;
}

static void write_job(struct ipp_writer *w, const struct own_job *o,
                      const struct ipp_attribute *requested)
{
    for (size_t i = 0; i < ARRAY_LEN(attributes); i++)
        if (is_requested(requested, attributes[i].name))
            attributes[i].write(w, attributes[i].name, o);
}

void ipp_own_job_group(const struct ipp_job *job, const struct ipp_public_printer *printer,
                       const struct ipp_attribute *requested, uint64_t now_wall_ms, struct buf *out)
{
    const struct own_job o = {.job = job, .printer = printer, .now_wall_ms = now_wall_ms};
    struct ipp_writer w;

    buf_char(out, IPP_GROUP_JOB);
    ipp_write_part(&w, out);
    write_job(&w, &o, requested);
    (void)!ipp_write_part_end(&w); /* |out| has its error */
}

void ipp_own_printer(struct ipp_writer *w, const struct ipp_public_printer *printer)
{
    struct ipp_public_uris uris;

    ipp_public_uris_make(&uris, printer);
    ipp_write_string(w, IPP_VALUE_NAME, SPAN("printer-name"), span_of(printer->set->name));
    ipp_write_printer_uris(w, &uris);
    ipp_write_uri_security(w, &uris);
    ipp_write_uri_authentication(w, &uris);
}

enum err ipp_own_job_answer(const struct ipp_own_answer *a, const struct ipp_job *job,
                            const struct ipp_public_printer *printer,
                            const struct ipp_attribute *requested, uint64_t now_wall_ms,
                            struct buf *out)
{
    const struct own_job o = {.job = job, .printer = printer, .now_wall_ms = now_wall_ms};
    struct ipp_writer w;

    begin(&w, a, out);
    write_unsupported(&w, a->unsupported);
    ipp_write_group(&w, IPP_GROUP_JOB);
    write_job(&w, &o, requested);
    return ipp_write_end(&w);
}
