/* SPDX-License-Identifier: Apache-2.0 */
/* test_ipp_translate_world.h - a gateway, its printer and two jobs, for tests of ipp_translate.h.
 */
#ifndef TEST_IPP_TRANSLATE_WORLD_H
#define TEST_IPP_TRANSLATE_WORLD_H

#include "ipp/ipp_translate.h"

#define WORLD_TLS         (1u << IPP_REQUIRE_TLS)
#define WORLD_DIGEST      (1u << IPP_REQUIRE_DIGEST)
#define WORLD_CERTIFICATE (1u << IPP_REQUIRE_CERTIFICATE)

static const struct ipp_limits world_limits = {
    .size_max = 1024u * 1024, .attributes_max = 8192, .depth_max = IPP_DEPTH_MAX};

/* After cmocka.h. */
static inline void world_parse(enum ipp_kind kind, const struct buf *octets,
                               struct ipp_message *ret)
{
    struct ipp_fault fault;

    if (ipp_message_parse(kind, buf_span(octets), &world_limits, ret, &fault) != OK)
        fail_msg("%s", ipp_flaw_text(fault.flaw));
}

/* A printer that demands TLS and Digest. */
static inline struct ipp_printer_settings world_settings(void)
{
    return (struct ipp_printer_settings){
        .name = "acct", .path = "/ipp/acct", .require = WORLD_TLS | WORLD_DIGEST};
}

static inline struct ipp_public_printer world_printer(const struct ipp_printer_settings *set)
{
    return (struct ipp_public_printer){
        .set = set,
        .front = {.host = SPAN("gw.example"), .port = 631, .secure_port = 443},
        .upgrades = true,
        .backend_host = SPAN("printer.lan"),
        .uuid = "urn:uuid:gateway",
        .digest = true,
    };
}

/* The printer's jobs 7 and 8 are 42 and 43 of the gateway. */
static const struct ipp_job world_jobs[] = {
    {.id = 42,
     .printer_id = 7,
     .printer = "acct",
     .made = {IPP_CHANNEL_UPGRADED, IPP_USER_DIGEST},
     .user = "ann",
     .stage = IPP_JOB_PRINTER},
    {.id = 43,
     .printer_id = 8,
     .printer = "acct",
     .made = {IPP_CHANNEL_IMPLICIT, IPP_USER_CERTIFICATE},
     .user = "ann",
     .stage = IPP_JOB_PRINTER},
};

static inline const struct ipp_job *world_job(void *arg, int32_t printer_id)
{
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(world_jobs); i++)
        if (world_jobs[i].printer_id == printer_id)
            return &world_jobs[i];
    return NULL;
}

#endif
