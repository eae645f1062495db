/* SPDX-License-Identifier: Apache-2.0 */
/* icap_settings.h - the configuration of ICAP: limits of the protocol, and the services. */
#ifndef ICAP_SETTINGS_H
#define ICAP_SETTINGS_H

#include "adapt/adapt_settings.h"
#include "icap/icap_engine.h"

enum icap_service_type { ICAP_SERVICE_ECHO, ICAP_SERVICE_INSPECT };
enum icap_pipeline_engine { ICAP_PIPELINE_YARA };

struct icap_service_settings {
    const char *name;
    enum icap_service_type type;
    const char *path;
    struct config_strings aliases;
    unsigned methods;     /* bit 1 << enum icap_method */
    uint64_t preview;     /* bytes asked for in OPTIONS; 0: none advertised */
    unsigned pipeline;    /* bit 1 << enum icap_pipeline_engine */
    uint64_t body_max;    /* bytes of one body; above: too-large */
    uint64_t memory_max;  /* bytes of one body kept in memory before it goes to the spool */
    uint64_t deadline_ms; /* one scan, waiting for a worker included */
    uint64_t options_ttl_s;
    unsigned connections_max; /* Max-Connections in OPTIONS; 0: not sent */
    uint8_t on[CAUSES];       /* enum action at each enum cause */
    bool via;                 /* add Via to heads that we modify or make */
    const char *contact;      /* whom users shall ask; shown on the block page */
    const char
        *revision; /* goes into the ISTag: change it when clients shall forget cached answers */
};
extern const struct config_block icap_service_block;
extern const struct config_block icap_limits_block; /* struct icap_limits */

#endif
