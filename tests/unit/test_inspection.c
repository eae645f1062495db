/* SPDX-License-Identifier: Apache-2.0 */
/* adapt/inspection.h against workers that the test plays: how answers are joined, what is asked
 * once for equal files, and what becomes of a worker that lies. clamd has tests of its own. */
#include "test_fake_workers.h"

#include "adapt/inspection.h"
#include "base/log.h"

#define FILES_MAX 16

struct outcome {
    struct inspection *scan;
    unsigned calls, needed;
    struct scan_result result;
    uint32_t objects; /* in the table; 0: there was none */
    bool cached, out_of_steps;
    bool inside;
    struct fixture *fixture;
};

struct fixture {
    struct test_clock clock;
    struct loop *loop;
    struct worker_settings settings;
    struct workers *workers;
    struct verdict_cache *cache;
    struct inspector *inspector;
    struct budget memory;
    struct fake_zygote zygote;
    struct timer pace;
    struct unpack_settings unpack;
    struct type_policy_settings types;
    struct inspection_request request; /* what the next file is asked with */
    struct outcome files[FILES_MAX];
    unsigned n_files;
    bool in_call;
};

static void no_fire(struct timer *t)
{
    (void)t;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    log_set_level(LOG_LEVEL_ERROR);
    test_clock_init(&f->clock, 1000000);
    f->loop = test_loop(&f->clock.clock);
    f->pace.fire = no_fire;
    timer_set(f->loop, &f->pace, UINT64_MAX / 2);
    f->settings = (struct worker_settings){.count = 4, .reuse = 100, .queue = 4, .grace_ms = 500};
    f->unpack = (struct unpack_settings){
        .size_max = 1 << 20, .ratio_max = 100, .codings_max = 2, .parts_max = 100};
    assert_int_equal(workers_new(f->loop, &f->settings, &f->workers), OK);
    budget_init(&f->memory, 0);
    assert_int_equal(verdict_cache_new(1 << 20, 60000, &f->cache), OK);
    const struct inspector_environment env = {
        .loop = f->loop, .workers = f->workers, .cache = f->cache, .memory = &f->memory};

    assert_int_equal(inspector_new(&env, &f->inspector), OK);
    workers_set_channel(f->workers, fake_open(&f->zygote));
    f->request = (struct inspection_request){
        .pipeline = 1u << PIPELINE_YARA | 1u << PIPELINE_FILETYPE,
        .sha256 = SPAN("00ff"),
        .scope = SPAN("istag"),
        .name = SPAN("a.pdf"),
        .type = SPAN("application/pdf"),
        .unpack = &f->unpack,
        .types = &f->types,
        .steps_max = 1000000,
        .deadline_ms = f->clock.now_ms + 10000,
    };
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    inspector_free(f->inspector);
    workers_free(f->workers);
    test_settle(f->loop);
    timer_clear(f->loop, &f->pace);
    fake_close(&f->zygote);
    loop_free(f->loop);
    verdict_cache_free(f->cache);
    free(f);
    return 0;
}

static void step(struct fixture *f)
{
    fake_step(&f->zygote);
    test_settle(f->loop);
}

static void steps(struct fixture *f)
{
    for (unsigned i = 0; i < 8; i++)
        step(f);
}

static void pass_time(struct fixture *f, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 10) {
        f->clock.now_ms += 10;
        fake_step(&f->zygote);
        (void)loop_turn(f->loop, false);
    }
    steps(f);
}

static void on_done(void *arg, const struct inspection_result *r)
{
    struct outcome *o = arg;

    o->calls++;
    o->scan = NULL;
    o->inside = o->fixture->in_call;
    o->result = r->scan;
    o->objects = r->objects ? r->objects->n : 0;
    o->cached = r->cached;
    o->out_of_steps = r->out_of_steps;
}

static int file_with(const char *text)
{
    int fd = memfd_create("file", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static enum err try_start(struct fixture *f, struct outcome **ret)
{
    struct outcome *o = &f->files[f->n_files++];
    enum err e;

    assert_true(f->n_files <= FILES_MAX);
    *o = (struct outcome){.fixture = f};
    f->request.fd = file_with("0123456789");
    f->request.len = 10;
    f->request.done = on_done;
    f->request.arg = o;
    f->in_call = true;
    e = inspection_start(f->inspector, &f->request, &o->scan);
    f->in_call = false;
    *ret = o;
    return e;
}

static struct outcome *start(struct fixture *f)
{
    struct outcome *o;

    assert_int_equal(try_start(f, &o), OK);
    steps(f);
    return o;
}

static void assert_ended(const struct outcome *o, enum verdict verdict, enum cause cause)
{
    assert_int_equal(o->calls, 1);
    assert_false(o->inside);
    assert_int_equal(o->result.verdict, verdict);
    assert_int_equal(o->result.cause, cause);
}

static struct scan_result infected(void)
{
    struct scan_result r = {.verdict = VERDICT_BLOCK, .cause = CAUSE_INFECTED, .n_findings = 1};

    (void)span_copy(SPAN("yara"), r.findings[0].engine, sizeof r.findings[0].engine);
    (void)span_copy(SPAN("Bad"), r.findings[0].name, sizeof r.findings[0].name);
    return r;
}

static const struct scan_result clean = {.n_objects = 1};

/* ---- one file ---- */

static void test_what_a_worker_is_asked(void **state)
{
    struct fixture *f = *state;

    f->request.encoding = SPAN("gzip");
    (void)start(f);
    const struct wire_message *m = &fake_busy(&f->zygote)->job;

    assert_int_equal(m->job.engines, WIRE_ENGINE_YARA | WIRE_ENGINE_FILETYPE | WIRE_ENGINE_UNPACK);
    assert_string_equal(m->job.name, "a.pdf");
    assert_string_equal(m->job.type, "application/pdf");
    assert_string_equal(m->job.encoding, "gzip");
    assert_int_equal(m->job.len, 10);
    assert_int_equal(m->job.unpack.size_max, f->unpack.size_max);
    assert_int_equal(m->job.unpack.parts_max, 100);
    fake_answer(fake_busy(&f->zygote), &clean);
    steps(f);
    assert_ended(&f->files[0], VERDICT_PASS, CAUSE_NONE);
}

/* What is known of a document's pages comes with the verdict, also with one that is kept. */
static void test_pages_of_a_document(void **state)
{
    struct scan_result three = {.n_objects = 1, .pages = 3};
    struct fixture *f = *state;

    f->request.pipeline = 1u << PIPELINE_PRINTING;
    for (unsigned i = 0; i < 2; i++) {
        struct outcome *o = start(f);

        if (i == 0) {
            assert_int_equal(fake_busy(&f->zygote)->job.job.engines,
                             WIRE_ENGINE_PRINTING | WIRE_ENGINE_UNPACK);
            fake_answer(fake_busy(&f->zygote), &three);
            steps(f);
        }
        assert_ended(o, VERDICT_PASS, CAUSE_NONE);
        assert_int_equal(o->cached, i);
        assert_int_equal(o->result.pages, 3);
    }
}

/* clamd, which counts none, does not take them away. */
static void test_pages_with_another_engine(void **state)
{
    struct scan_result three = {.n_objects = 1, .pages = 3};
    struct fixture *f = *state;

    f->request.pipeline = 1u << PIPELINE_PRINTING | 1u << PIPELINE_CLAMAV;
    struct outcome *o = start(f);

    fake_answer(fake_busy(&f->zygote), &three);
    steps(f);
    assert_ended(o, VERDICT_ERROR, CAUSE_ENGINE_DOWN);
    assert_int_equal(o->result.pages, 3);
}

static void test_a_pipeline_without_engines_is_not_clean(void **state)
{
    struct fixture *f = *state;

    f->request.pipeline = 0;
    struct outcome *o = start(f);

    assert_int_equal(f->zygote.n_jobs, 0);
    assert_ended(o, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED);
}

static void test_clamav_without_clamd_is_engine_down(void **state)
{
    struct fixture *f = *state;

    f->request.pipeline = 1u << PIPELINE_CLAMAV;
    assert_ended(start(f), VERDICT_ERROR, CAUSE_ENGINE_DOWN);
    assert_int_equal(f->zygote.n_jobs, 0); /* nothing to unpack */
}

/* Each engine's cause is kept: the service may be stricter with the lesser one. */
static void test_two_engines_fail_for_different_causes(void **state)
{
    static const struct scan_result encrypted = {
        .verdict = VERDICT_NOT_INSPECTED, .cause = CAUSE_NOT_INSPECTED, .why = "encrypted"};
    struct fixture *f = *state;

    f->request.pipeline |= 1u << PIPELINE_CLAMAV;
    struct outcome *o = start(f);

    fake_answer(fake_busy(&f->zygote), &encrypted);
    steps(f);
    assert_ended(o, VERDICT_ERROR, CAUSE_ENGINE_DOWN);
    assert_int_equal(o->result.also, 1u << CAUSE_NOT_INSPECTED);
    assert_string_equal(o->result.why, "clamd: it is not configured any more; encrypted");
}

static void test_a_type_that_is_too_long_is_refused(void **state)
{
    struct fixture *f = *state;
    char type[2000];
    struct outcome *o;

    memset(type, 'a', sizeof type);
    f->request.type = (struct span){type, sizeof type};
    assert_int_equal(try_start(f, &o), ERR_LIMIT);
    steps(f);
    assert_int_equal(o->calls, 0);
    f->request.type = SPAN("text/plain"); /* nobody waits for the first one's verdict */
    o = start(f);
    fake_answer(fake_busy(&f->zygote), &clean);
    steps(f);
    assert_ended(o, VERDICT_PASS, CAUSE_NONE);
}

static void count_need(void *arg)
{
    struct outcome *o = arg;

    o->needed++;
}

static enum err start_without_file(struct fixture *f, uint64_t client)
{
    struct outcome *o = &f->files[f->n_files++];

    assert_true(f->n_files <= FILES_MAX);
    *o = (struct outcome){.fixture = f};
    f->request.fd = -1;
    f->request.need_file = count_need;
    f->request.client = client;
    f->request.arg = o;
    return inspection_start(f->inspector, &f->request, &o->scan);
}

/* Nobody makes a file that a full queue refuses. */
static void test_no_file_for_a_full_queue(void **state)
{
    struct fixture *f = *state;
    struct outcome *o;

    f->request.sha256 = SPAN_NONE;
    f->request.client = 1;
    for (unsigned i = 0; i < 8; i++) /* with all workers, and waiting */
        (void)start(f);
    assert_int_equal(try_start(f, &o), ERR_BUSY);
    o = &f->files[f->n_files];
    assert_int_equal(start_without_file(f, 1), ERR_BUSY);
    assert_int_equal(o->needed, 0);
    f->request.sha256 = SPAN("00ee"); /* nobody else waits for this one in vain */
    assert_int_equal(start_without_file(f, 1), ERR_BUSY);
    o = &f->files[f->n_files];
    assert_int_equal(start_without_file(f, 2), OK);
    assert_int_equal(o->needed, 1);
    inspection_file(o->scan, file_with("0123456789"));
    steps(f);
    assert_ended(&f->files[7], VERDICT_ERROR, CAUSE_OVERLOAD);
    assert_int_equal(o->calls, 0);
    inspection_cancel(o->scan);
    for (unsigned i = 0; i < 7; i++)
        inspection_cancel(f->files[i].scan);
}

static void test_cancelled_while_it_is_scanned(void **state)
{
    struct fixture *f = *state;
    struct outcome *o = start(f);

    inspection_cancel(o->scan);
    fake_answer(fake_busy(&f->zygote), &clean);
    steps(f);
    assert_int_equal(o->calls, 0);
}

/* ---- equal files ---- */

static void test_an_equal_file_is_not_scanned_again(void **state)
{
    struct fixture *f = *state;
    struct scan_result bad = infected();
    struct outcome *o = start(f);

    fake_answer(fake_busy(&f->zygote), &bad);
    steps(f);
    assert_ended(o, VERDICT_BLOCK, CAUSE_INFECTED);
    assert_false(o->cached);
    o = start(f);
    assert_ended(o, VERDICT_BLOCK, CAUSE_INFECTED);
    assert_true(o->cached);
    assert_string_equal(o->result.findings[0].name, "Bad");
    assert_int_equal(f->zygote.n_jobs, 1);
}

static void test_what_makes_another_file(void **state)
{
    struct fixture *f = *state;
    const struct span was[] = {f->request.sha256, f->request.scope, f->request.name,
                               f->request.type, f->request.encoding};
    struct span *const members[] = {&f->request.sha256, &f->request.scope, &f->request.name,
                                    &f->request.type, &f->request.encoding};

    f->zygote.mode = FAKE_ANSWER;
    f->zygote.answer = clean;
    (void)start(f);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        *members[i] = SPAN("other");
        assert_false(start(f)->cached);
        *members[i] = was[i];
        assert_int_equal(f->zygote.n_jobs, i + 2);
    }
    f->request.pipeline = 1u << PIPELINE_YARA;
    assert_false(start(f)->cached);
}

static void test_equal_files_at_once_are_scanned_once(void **state)
{
    struct fixture *f = *state;
    struct outcome *a = start(f), *b = start(f), *c = start(f);
    struct scan_result bad = infected();

    assert_int_equal(f->zygote.n_jobs, 1);
    inspection_cancel(b->scan);
    fake_answer(fake_busy(&f->zygote), &bad);
    steps(f);
    assert_ended(a, VERDICT_BLOCK, CAUSE_INFECTED);
    assert_int_equal(b->calls, 0);
    assert_ended(c, VERDICT_BLOCK, CAUSE_INFECTED);
    assert_true(c->cached);
    assert_int_equal(f->zygote.n_jobs, 1);
}

static void test_who_waits_goes_on_when_the_first_one_is_gone(void **state)
{
    struct fixture *f = *state;
    struct outcome *a = start(f), *b = start(f);

    inspection_cancel(a->scan);
    steps(f);
    assert_int_equal(f->zygote.n_jobs, 2);
    for (unsigned i = 0; i < f->zygote.n; i++)
        if (f->zygote.workers[i].busy)
            fake_answer(&f->zygote.workers[i], &clean);
    steps(f);
    assert_int_equal(a->calls, 0);
    assert_ended(b, VERDICT_PASS, CAUSE_NONE);
}

/* The first one had little time; the second has more. */
static void test_bad_luck_is_not_shared(void **state)
{
    struct fixture *f = *state;
    struct outcome *a, *b;

    f->request.deadline_ms = f->clock.now_ms + 100;
    a = start(f);
    f->request.deadline_ms = f->clock.now_ms + 100000;
    b = start(f);
    pass_time(f, 200);
    assert_ended(a, VERDICT_ERROR, CAUSE_TIMEOUT);
    assert_int_equal(b->calls, 0);
    assert_int_equal(f->zygote.n_jobs, 2);
    for (unsigned i = 0; i < f->zygote.n; i++)
        if (f->zygote.workers[i].busy)
            fake_answer(&f->zygote.workers[i], &clean);
    steps(f);
    assert_ended(b, VERDICT_PASS, CAUSE_NONE);
}

/* A file that kills a worker does not kill one for each that asks, and is tried again later. */
/* One engine found it, another was away: all who wait know enough, but who comes later asks anew.
 */
static void test_found_with_bad_luck_is_shared_and_not_kept(void **state)
{
    const struct scan_result bad = infected();
    struct fixture *f = *state;
    struct outcome *a, *b;

    f->request.pipeline |= 1u << PIPELINE_CLAMAV;
    a = start(f);
    b = start(f);
    fake_answer(fake_busy(&f->zygote), &bad);
    steps(f);
    assert_ended(a, VERDICT_BLOCK, CAUSE_INFECTED);
    assert_ended(b, VERDICT_BLOCK, CAUSE_INFECTED);
    assert_int_equal(b->result.also, 1u << CAUSE_ENGINE_DOWN);
    assert_int_equal(f->zygote.n_jobs, 1);
    f->zygote.mode = FAKE_ANSWER;
    f->zygote.answer = clean;
    assert_ended(start(f), VERDICT_ERROR, CAUSE_ENGINE_DOWN);
    assert_int_equal(f->zygote.n_jobs, 2);
}

/* What is true of the file is kept, whichever engine said it; an accident of any is no verdict. */
static void test_further_causes(void **state)
{
    const unsigned lasting = 1u << CAUSE_DENIED | 1u << CAUSE_NOT_INSPECTED | 1u << CAUSE_TOO_LARGE;
    struct fixture *f = *state;

    f->zygote.mode = FAKE_ANSWER;
    for (enum cause c = CAUSE_DENIED; c < CAUSES; c++) {
        f->request.sha256 = span_of(cause_name(c));
        f->zygote.answer = infected();
        f->zygote.answer.also = 1u << c;
        f->n_files = 0;
        assert_false(start(f)->cached);
        assert_int_equal(start(f)->cached, (lasting >> c & 1) != 0);
        assert_ended(&f->files[1], VERDICT_BLOCK, CAUSE_INFECTED);
        assert_int_equal(f->files[1].result.also, 1u << c);
    }
}

static void test_a_crash_is_shared_and_not_kept(void **state)
{
    struct fixture *f = *state;
    struct outcome *a = start(f), *b = start(f);

    fake_die(fake_busy(&f->zygote));
    steps(f);
    assert_ended(a, VERDICT_ERROR, CAUSE_WORKER_CRASH);
    assert_ended(b, VERDICT_ERROR, CAUSE_WORKER_CRASH);
    assert_int_equal(f->zygote.n_jobs, 1);
    f->zygote.mode = FAKE_ANSWER;
    f->zygote.answer = clean;
    assert_ended(start(f), VERDICT_PASS, CAUSE_NONE);
    assert_int_equal(f->zygote.n_jobs, 2);
}

static void test_a_waiter_has_its_own_deadline(void **state)
{
    struct fixture *f = *state;
    struct outcome *a = start(f), *b;

    f->request.deadline_ms = f->clock.now_ms + 100;
    b = start(f);
    pass_time(f, 200);
    assert_ended(b, VERDICT_ERROR, CAUSE_TIMEOUT);
    assert_int_equal(a->calls, 0);
    fake_answer(fake_busy(&f->zygote), &clean);
    steps(f);
    assert_ended(a, VERDICT_PASS, CAUSE_NONE);
    assert_int_equal(b->calls, 1);
}

/* ---- objects ---- */

static const struct object two_parts[] = {
    {.source = OBJECT_ORIGINAL, .role = OBJECT_BODY, .len = 10},
    { .source = OBJECT_ORIGINAL,
     .role = OBJECT_FILE,
     .off = 1,
     .len = 3,
     .name = {"a.txt", 5},
     .declared = {"text/plain", 10},
     .sniffed = {"text/plain", 10}},
    {                             .source = OBJECT_ORIGINAL,
     .role = OBJECT_FILE,
     .off = 4,
     .len = 3,
     .name = {"b.exe", 5},
     .declared = {"text/plain", 10},
     .sniffed = {"application/x-dosexec", 21}},
};

/* |spoil|: the tail speaks of one more object than there is. */
static int objects_file(bool spoil, int seals)
{
    struct buf b;
    int fd = memfd_create("objects", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(two_parts); i++)
        assert_int_equal(object_format(&two_parts[i], &b), OK);
    objects_format_tail(0, (uint32_t)ARRAY_LEN(two_parts) + spoil, &b);
    assert_int_equal(write(fd, b.p, b.n), (ssize_t)b.n);
    buf_done(&b);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

#define ALL_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static struct outcome *with_objects(struct fixture *f, bool spoil, int seals)
{
    struct outcome *o;
    int fd = objects_file(spoil, seals);

    f->request.type = SPAN("multipart/form-data; boundary=x");
    o = start(f);
    fake_answer_objects(fake_busy(&f->zygote), &clean, fd);
    (void)close(fd);
    steps(f);
    return o;
}

static void test_parts_are_held_against_the_types(void **state)
{
    struct fixture *f = *state;
    const char *const deny[] = {"application/x-dosexec"};

    f->types.deny = (struct config_strings){deny, 1};
    struct outcome *o = with_objects(f, false, ALL_SEALS);

    assert_ended(o, VERDICT_BLOCK, CAUSE_DENIED);
    assert_int_equal(o->objects, 3);
    assert_string_equal(o->result.findings[0].where, "part 2 file \"b.exe\"");
}

/* What is unpacked is in memory until clamd has read it. */
/* The parts that were judged count; those that were not are not clean. */
static void test_types_of_all_parts_are_too_much_work(void **state)
{
    static const char *const deny[] = {"application/x-dosexec"};
    struct fixture *f = *state;

    f->types.deny = (struct config_strings){.v = deny, .n = 1};
    f->request.steps_max = 300; /* the first part, and not the second */
    struct outcome *o = with_objects(f, false, ALL_SEALS);

    assert_ended(o, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED);
    assert_true(o->out_of_steps);
    assert_true(o->result.incomplete);
    assert_non_null(strstr(o->result.why, "decision-steps"));
    f->request.steps_max = 100000;
    f->request.scope = SPAN("another istag");
    o = with_objects(f, false, ALL_SEALS);
    assert_ended(o, VERDICT_BLOCK, CAUSE_DENIED);
    assert_false(o->out_of_steps);
}

static void test_unpacked_bytes_count(void **state)
{
    struct fixture *f = *state;
    struct object o = {
        .source = OBJECT_DERIVED, .role = OBJECT_BODY, .len = 100, .declared = {"text/plain", 10}
    };
    char decoded[100] = "decoded";
    struct buf b;
    int fd = memfd_create("objects", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    buf_init(&b, 0);
    buf_add(&b, (struct span){decoded, sizeof decoded});
    assert_int_equal(object_format(&o, &b), OK);
    objects_format_tail(sizeof decoded, 1, &b);
    assert_int_equal(write(fd, b.p, b.n), (ssize_t)b.n);
    buf_done(&b);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, ALL_SEALS), 0);
    budget_init(&f->memory, 50);
    f->request.encoding = SPAN("gzip");
    f->request.pipeline |= 1u << PIPELINE_CLAMAV;
    struct outcome *out = start(f);

    fake_answer_objects(fake_busy(&f->zygote), &clean, fd);
    (void)close(fd);
    steps(f);
    assert_ended(out, VERDICT_ERROR, CAUSE_OVERLOAD);
    assert_int_equal(budget_used(&f->memory), 0);
}

static void test_lists_of_objects_that_are_not_true(void **state)
{
    static const struct {
        const char *name;
        bool spoil;
        int seals;
    } rows[] = {
        {"not sealed",                        false, 0                         },
        {"may still grow and change",         false, F_SEAL_SHRINK             },
        {"may still shrink",                  false, F_SEAL_GROW | F_SEAL_WRITE},
        {"counts objects that are not there", true,  ALL_SEALS                 },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("row: %s\n", rows[i].name);
        f->request.sha256 = span_of(rows[i].name);
        f->request.pipeline |= rows[i].spoil ? 1u << PIPELINE_CLAMAV : 0;
        struct outcome *o = with_objects(f, rows[i].spoil, rows[i].seals);

        assert_int_equal(o->calls, 1);
        assert_int_equal(o->result.verdict, VERDICT_ERROR);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_a_worker_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages_of_a_document, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages_with_another_engine, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_pipeline_without_engines_is_not_clean, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_clamav_without_clamd_is_engine_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_engines_fail_for_different_causes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_type_that_is_too_long_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_file_for_a_full_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_while_it_is_scanned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_equal_file_is_not_scanned_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_makes_another_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_equal_files_at_once_are_scanned_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_waits_goes_on_when_the_first_one_is_gone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_bad_luck_is_not_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_found_with_bad_luck_is_shared_and_not_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_further_causes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_crash_is_shared_and_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_waiter_has_its_own_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts_are_held_against_the_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_types_of_all_parts_are_too_much_work, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unpacked_bytes_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists_of_objects_that_are_not_true, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
