/* SPDX-License-Identifier: Apache-2.0 */
/* file_name.h - the name that a message gives to its file, out of whatever a hostile peer makes of
 * it: percent-encoding, RFC 8187 ext-values, quoted strings, paths, NUL, controls, bidirectional
 * overrides, over-long UTF-8. Pure. */
#ifndef ADAPT_FILE_NAME_H
#define ADAPT_FILE_NAME_H

#include "base/buf.h"

/* Tricks that were seen; each is a reason to look twice, not a verdict. */
enum file_name_trick {
    FILE_NAME_NUL = 1,     /* a NUL, raw or encoded: what is behind it some readers do not see */
    FILE_NAME_CONTROL = 2, /* other control characters */
    /* U+202A..U+202E, U+2066..U+2069, U+200E/F, U+061C: reads in another order */
    FILE_NAME_BIDI = 4,
    FILE_NAME_PATH = 8, /* '/', '\\', a drive letter, '..' */
    FILE_NAME_BAD_UTF8 = 16,
    FILE_NAME_CONFLICT = 32, /* filename and filename*, or two of one, that differ */
    FILE_NAME_SPACES = 64, /* spaces or dots at the end, which Windows drops; runs of 8 and more */
    FILE_NAME_LONG = 128,  /* cut to fit */
    /* An encoded word (RFC 2047) that is in no charset or encoding known here, or what begins like
     * one: what others make of the name nobody here knows, so that rules about names must not
     * allow by it. See file_name_is_unknown(). */
    FILE_NAME_ENCODED = 256,
};

#define FILE_NAME_MAX 255

struct file_name {
    char text[FILE_NAME_MAX + 1]; /* UTF-8, printable; what was not is '?'. Last part of a path.
                                     Keeps the extension when it is cut. "" when there is none */
    unsigned tricks;              /* FILE_NAME_* */
};

/* Value of a Content-Disposition field (RFC 6266; RFC 7578 4.2 for parts): filename* before
 * filename. False: it has neither. Understands quoted strings with \" as browsers send them,
 * percent-encoding of '"' CR LF (HTML form submission), ext-values in UTF-8 and ISO-8859-1, and in
 * filename= encoded words (RFC 2047) in UTF-8, ISO-8859-1 and US-ASCII, which mail puts there and
 * browsers undo. */
bool file_name_disposition(struct span value, struct file_name *ret);
/* Last part of a URL's path, percent-decoded once. */
void file_name_url(struct span target, struct file_name *ret);
/* The same for a name that is no longer encoded. */
void file_name_plain(struct span name, struct file_name *ret);
/* The text is not what others will call the file, and what that is cannot be told. */
bool file_name_is_unknown(unsigned tricks);
/* "nul bidi": for notes and records; static storage is not used. */
void file_name_tricks_text(unsigned tricks, struct buf *out);
/* ".pdf" of the plain name, in small letters, "" without. Trailing dots and spaces are skipped. */
void file_name_extension(const struct file_name *n, char ret[16]);

#endif
