/* SPDX-License-Identifier: Apache-2.0 */
/* What all commands share: every member is looked at, and an unknown one refused. */
#include <string.h>

#include <jansson.h>

#include "base/json.h"
#include "proc/gateway_int.h"

bool asked_members_are(struct asked *a, const char *const *known)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)a->command, key, value)
    {
        bool found = strcmp(key, "command") == 0;

        for (unsigned i = 0; known[i]; i++)
            found |= strcmp(key, known[i]) == 0;
        if (!found) {
            buf_fmt(&a->why, "'%.64s' means nothing to this command", key);
            return false;
        }
    }
    return true;
}

const char *asked_text(struct asked *a, const char *key)
{
    const char *text = json_string_value(json_object_get(a->command, key));

    if (!text || !*text)
        buf_fmt(&a->why, "\"%s\" is missing, or no text", key);
    return text && *text ? text : NULL;
}

void asked_answer_why(struct asked *a)
{
    struct json j = json_to(a->out);

    json_open(&j, NULL, '{');
    json_text(&j, "error", a->why.n ? buf_cstr(&a->why) : "it cannot be done");
    json_close(&j, '}');
}
