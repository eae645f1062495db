/* SPDX-License-Identifier: Apache-2.0 */
/* print_scan.h - a document on its way to a printer, as the printer will read it: commands in PJL
 * and PostScript that reach for the device, what a PDF would start, whether it is encrypted, and
 * how many pages there are. Pure: bytes in, a report out; time grows with the bytes and nothing
 * else, no memory is allocated, nothing is copied.
 *
 * Some printers tell languages by the bytes, whatever a document is declared to be, others believe
 * what it is declared to be. So it is read as both, from its first byte on.
 *
 * PJL is read at the front of the body and behind each UEL (ESC %-12345X), wherever one stands, as
 * long as lines begin with @PJL, in letters of any case; a lone CR begins a line, too. Values that
 * go over several lines end it, and so may what is no command behind a lone CR: from there on the
 * text is read as well. A language that is set as the personality counts until RESET where none is
 * entered that is read.
 *
 * PostScript is what has a line that begins with %! within its first 4 KiB, also behind blanks or
 * NULs, or begins with ^D or the binary head of an EPS file, or what PJL enters as PostScript; an
 * EPS file is also read from where its head says that PostScript begins. Where there are characters
 * that a serial channel quotes or keeps for itself (BCP, TBCP: SOH and one that stands for
 * another), the text is read once as it is and once as such a channel hands it on; where ^\ is in
 * it, which some keep and some do not, once more. Names are told from strings and comments. Where a
 * string or a comment may end earlier than it seems to (at ~> or %%End of data within it, at a line
 * that begins with %!, at ^D, after 64 KiB), both is looked at: that it goes on, and that code
 * begins there; and what seemed to lie in the string is read as words, in which names count alone.
 * Data that is announced as binary (%%BeginBinary) is read all the same.
 *
 * An operator is found when it stands there by name, executed, or as a literal in a text in which
 * anything takes hold of what is not named right there (get, load, cvx, cvn, token, forall, or one
 * of these by another name: /load load): /deletefile dup pop load, before it or behind it. Of a
 * name in a string, which may be text, that has to come within 63 tokens behind it. A literal that
 * is only asked for (known, where) or defined anew is let go, unless the text names known, where,
 * def or bind to make them something else (/known), or has what gives out the literals of a
 * procedure or the operands of what failed: } 0 get, /x load 0 get, aload, forall, get and load by
 * another name, stopped, errordict.
 *
 * PostScript is a programming language: names that are put together while it runs, or come out of a
 * filter, eexec, an ASCII85 string or binary tokens, are not seen, nor are those that were let go
 * and are taken out of a procedure in yet another way ({/deletefile known} dup 0 get), or names in
 * strings that are taken hold of by a procedure from further above. Some ways to do that leave the
 * note ps-hidden; without it a document may do it, too. Where that is not good enough, do not take
 * PostScript: a service's `types` can deny it.
 *
 * PDF is what has %PDF- within its first 4 KiB. Names are read wherever an object may begin (also
 * inside of a stream, a string or a comment, since a cross-reference table may point there), with
 * #xx undone. A stream is passed over only directly behind the dictionary of its object. Nothing is
 * decompressed: what lies in an object stream or in compressed content is not seen.
 *
 * Where a UEL stands within a document, one printer ends it there and another reads on: both
 * readings are looked at. */
#ifndef WORKER_PRINT_SCAN_H
#define WORKER_PRINT_SCAN_H

#include "base/span.h"

/* Goes up whenever the same bytes would get another report: part of ISTags. */
#define PRINT_SCAN_VERSION 3

#define PRINT_FIND_ROW(id, name, blocks) PRINT_##id,
enum print_find {
#include "worker/print_finds.def"
    PRINT_FINDS
};
#undef PRINT_FIND_ROW

/* "pjl-fsdelete"; never NULL. */
const char *print_find_name(enum print_find f);
/* False: a note. */
bool print_find_blocks(enum print_find f);

/* What the document is declared to be: it is read as that, and as what its bytes look like. */
enum print_declared { PRINT_OTHER, PRINT_POSTSCRIPT, PRINT_PDF };

struct print_report {
    struct {
        bool there;
        size_t at; /* offset of the first */
    } find[PRINT_FINDS];
    /* 0: not known. Claimed by the document and not believed elsewhere: of a PDF the largest /Count
     * of its page tree, or else its page objects; of PostScript %%Pages or the number of %%Page,
     * whichever is more; of PWG raster (TotalPageCount of its first page) and Apple raster (URF)
     * what their heads say; of a JPEG or PNG 1. Several documents in a row add up, if all are
     * known. Copies do not count. */
    uint32_t pages;
};

void print_scan(struct span body, enum print_declared declared, struct print_report *ret);

#endif
