/* SPDX-License-Identifier: Apache-2.0 */
/* test_ipp.h - IPP messages as literals, and the request that RFC 8010's rules are shown with. */
#ifndef TEST_IPP_H
#define TEST_IPP_H

#include "base/span.h"

#define S(text)                  \
    {                            \
        (text), sizeof(text) - 1 \
    }
/* IPP/2.0, operation or status, request-id 1 */
#define HEADER(code) "\2\0" code "\0\0\0\1"
#define CHARSET  \
    "\x47\0\x12" \
    "attributes-charset\0\5utf-8"
#define LANGUAGE \
    "\x48\0\x1b" \
    "attributes-natural-language\0\2en"
#define PRINTER  \
    "\x45\0\x0b" \
    "printer-uri\0\x0bipp://gw/q1"
#define SYSTEM   \
    "\x45\0\x0a" \
    "system-uri\0\x0cipp://gw/sys"
#define JOB    \
    "\x45\0\7" \
    "job-uri\0\x0cipp://gw/j/7"
#define JOB_ID \
    "\x21\0\6" \
    "job-id\0\4\0\0\0\7"
#define PREAMBLE "\1" CHARSET LANGUAGE
#define END      "\3"
/* An integer attribute of any one-letter name. */
#define INTEGER(letter) "\x21\0\1" letter "\0\4\0\0\0\1"
#define BEGIN(letter)   "\x34\0\1" letter "\0\0"
#define BEGIN_MORE      "\x34\0\0\0\0"
#define FINISH          "\x37\0\0\0\0"
#define MEMBER(letter)  "\x4a\0\0\0\1" letter
#define MORE            "\x21\0\0\0\4\0\0\0\2" /* a further integer, or a member's */

/* Print-Job of 190 octets, IPP/2.0, request-id 9. */
#define EXAMPLE_BEFORE                                   \
    "\2\0\0\2\0\0\0\x09\1" CHARSET LANGUAGE "\x45\0\x0b" \
    "printer-uri"
#define EXAMPLE_AFTER                       \
    "\x42\0\x14requesting-user-name\0\3ann" \
    "\x49\0\x0f"                            \
    "document-format\0\x0atext/plain"       \
    "\2\x21\0\6"                            \
    "copies\0\4\0\0\0\2" END
#define EXAMPLE           EXAMPLE_BEFORE "\0\x1cipp://gw.example/q1;AUTH=TLS" EXAMPLE_AFTER
#define EXAMPLE_REWRITTEN EXAMPLE_BEFORE "\0\x1fipp://localhost:631/printers/q1" EXAMPLE_AFTER

#endif
