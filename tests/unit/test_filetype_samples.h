/* SPDX-License-Identifier: Apache-2.0 */
/* test_filetype_samples.h - small true samples of many types, and what the filetype engine says. */
#ifndef TEST_FILETYPE_SAMPLES_H
#define TEST_FILETYPE_SAMPLES_H

#include "base/span.h"

#define Z4  "\0\0\0\0"
#define Z16 Z4 Z4 Z4 Z4
#define Z64 Z16 Z16 Z16 Z16

#define PE    "application/vnd.microsoft.portable-executable"
#define OOXML "application/vnd.openxmlformats-officedocument."

/* clang-format off */
static const struct filetype_sample {
    const char *name;
    struct span in;
    const char *type;
} filetype_samples[] = {
    {"PE", SPAN("MZ" Z16 Z16 Z16 Z4 Z4 "\0\0\x40\0\0\0" "PE\0\0\x4c\x01" Z64), PE},
    {"PE of 64-bit", SPAN("MZ" Z16 Z16 Z16 Z4 Z4 "\0\0\x40\0\0\0" "PE\0\0\x64\x86" Z64), PE},
    {"MZ alone", SPAN("MZ" Z64), PE},
    {"words that begin with MZ", SPAN("MZ is the code of Mozambique.\n"), "text/plain"},
    {"ELF", SPAN("\x7f" "ELF\2\1\1\0" Z4 Z4 "\2\0\x3e\0\1\0\0\0" Z64), "application/x-executable"},
    {"Mach-O", SPAN("\xcf\xfa\xed\xfe\7\0\0\1" Z64), "application/x-mach-binary"},
    {"shortcut", SPAN("\x4c\0\0\0\1\x14\2\0\0\0\0\0\xc0\0\0\0\0\0\0\x46" Z64),
     "application/x-ms-shortcut"},
    {"PDF", SPAN("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n"), "application/pdf"},
    {"GIF", SPAN("GIF89a\1\0\1\0\0\0\0;"), "image/gif"},
    {"PNG", SPAN("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0"), "image/png"},
    {"JPEG", SPAN("\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"), "image/jpeg"},
    {"gzip", SPAN("\x1f\x8b\x08\0\0\0\0\0\2\xff\x4b\x04\0\x43\xbe\xb7\xe8\1\0\0\0"),
     "application/gzip"},
    {"7z", SPAN("7z\xbc\xaf\x27\x1c\0\4" Z64), "application/x-7z-compressed"},
    {"RAR", SPAN("Rar!\x1a\7\1\0" Z64), "application/x-rar"},
    {"RTF", SPAN("{\\rtf1\\ansi hello}"), "text/rtf"},
    {"OLE2", SPAN("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" Z64 Z64 Z64 Z64 Z64 Z64 Z64 Z64),
     "application/x-ole-storage"},
    {"plain text", SPAN("Nothing is hidden here.\n"), "text/plain"},
    {"shell script", SPAN("#!/bin/sh\necho hello\n"), "text/x-shellscript"},
    {"Python script", SPAN("#!/usr/bin/env python3\nprint(1)\n"), "text/x-script.python"},
    {"batch file", SPAN("@echo off\r\ndir\r\n"), "text/x-msdos-batch"},
    {"JSON", SPAN("{\"a\": 1}"), "application/json"},
    {"XML", SPAN("<?xml version=\"1.0\"?><a/>"), "text/xml"},
    {"XML with a comment", SPAN("<?xml version=\"1.0\"?><!-- c --><a/>"), "text/xml"},
    {"HTML", SPAN("<!DOCTYPE html><html><body>x</body></html>"), "text/html"},
    {"HTML without a doctype", SPAN(" \r\n<HEAD><title>x</title>"), "text/html"},
    {"HTML of one tag", SPAN("<p>hello"), "text/html"},
    {"HTML behind a comment", SPAN("<!-- <svg> --> \n<!-- b -->\n<form action=x>"), "text/html"},
    {"HTML behind a byte order mark", SPAN("\xef\xbb\xbf<iframe src=x></iframe>"), "text/html"},
    {"HTML in UTF-16", SPAN("\xff\xfe<\0d\0i\0v\0>\0x\0"), "text/html"},
    {"HTML in UTF-16, big", SPAN("\xfe\xff\0<\0d\0i\0v\0 \0x"), "text/html"},
    {"no tag of HTML", SPAN("<people>many</people>\n"), "text/plain"},
    {"HTA", SPAN("<html><head><HTA:APPLICATION id=x></head></html>"), "application/hta"},
    {"SVG", SPAN("<svg xmlns=\"http://www.w3.org/2000/svg\"><script>x</script></svg>"),
     "image/svg+xml"},
    {"SVG behind comments", SPAN("<!-- a --> <!-- b -->\n<svg onload=x>"), "image/svg+xml"},
    {"SVG with a prefix", SPAN("<?xml version=\"1.0\"?><svg:svg xmlns:svg=\"x\"/>"),
     "image/svg+xml"},
    {"one byte", SPAN("x"), "application/octet-stream"},
    {"bytes", SPAN("\1\2\3\0\xfe\xff\xfe\xff"), "application/octet-stream"},
};
/* clang-format on */

#endif
