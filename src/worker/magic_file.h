/* SPDX-License-Identifier: Apache-2.0 */
/* magic_file.h - a compiled magic file (.mgc) as libmagic 5.44 has it in memory: what
 * magic_load_buffers() takes, read here to learn which of its tests a file can pass at all. */
#ifndef WORKER_MAGIC_FILE_H
#define WORKER_MAGIC_FILE_H

#include "base/span.h"

/* What the engine has libmagic look at (magic_setparam); which bytes a test sees follows from it.
 */
#define MAGIC_LOOK_MAX     ((size_t)256 << 10) /* of an object */
#define MAGIC_REGEX_MAX    ((size_t)8192)      /* for a regular expression */
#define MAGIC_ENCODING_MAX ((size_t)65536)     /* as text */

/* The version of libmagic, as magic_version() says it, whose struct magic and whose tests this is.
 * Others may read a file in another way: nobody who has one may use what is here. */
#define MAGIC_FILE_VERSION 544

enum magic_type {
    MAGIC_TYPE_BYTE = 1,
    MAGIC_TYPE_SHORT = 2, /* of this machine's byte order */
    MAGIC_TYPE_DEFAULT = 3,
    MAGIC_TYPE_LONG = 4,
    MAGIC_TYPE_STRING = 5,
    MAGIC_TYPE_BESHORT = 7,
    MAGIC_TYPE_BELONG = 8,
    MAGIC_TYPE_LESHORT = 10,
    MAGIC_TYPE_LELONG = 11,
    MAGIC_TYPE_PSTRING = 13,
    MAGIC_TYPE_REGEX = 17,
    MAGIC_TYPE_BESTRING16 = 18,
    MAGIC_TYPE_LESTRING16 = 19,
    MAGIC_TYPE_SEARCH = 20,
    MAGIC_TYPE_QUAD = 24,
    MAGIC_TYPE_LEQUAD = 25,
    MAGIC_TYPE_BEQUAD = 26,
    MAGIC_TYPE_INDIRECT = 41,
    MAGIC_TYPE_NAME = 45,
    MAGIC_TYPE_USE = 46,
    MAGIC_TYPE_CLEAR = 47,
    MAGIC_TYPE_DER = 48,
    MAGIC_TYPE_GUID = 49,
};

enum magic_flag {
    MAGIC_FLAG_INDIR = 0x01,
    MAGIC_FLAG_OFFADD = 0x02,
    MAGIC_FLAG_INDIROFFADD = 0x04,
    MAGIC_FLAG_UNSIGNED = 0x08,
    MAGIC_FLAG_BINTEST = 0x20,  /* tried on the bytes */
    MAGIC_FLAG_TEXTTEST = 0x40, /* tried on the text, as UTF-8 */
    MAGIC_FLAG_OFFNEGATIVE = 0x80,
};

enum magic_string_flag {
    MAGIC_STRING_COMPACT = 1 << 0,  /* white space in the value is one or more of it */
    MAGIC_STRING_OPTIONAL = 1 << 1, /* or none */
    MAGIC_STRING_LOWER = 1 << 2,    /* small letters in the value stand for large ones, too */
    MAGIC_STRING_UPPER = 1 << 3,
    MAGIC_PSTRING_1 = 1 << 7,    /* one byte says how long it is */
    MAGIC_REGEX_LINES = 1 << 11, /* the range counts lines */
};

#define MAGIC_VALUE_MAX 128

/* struct magic of libmagic's file.h. */
struct magic_entry {
    uint16_t level; /* 0: a test; higher: what is asked when the one above holds */
    uint8_t flag;   /* enum magic_flag */
    uint8_t factor;
    uint8_t reln; /* '=' and others */
    uint8_t value_n;
    uint8_t type; /* enum magic_type */
    uint8_t in_type, in_op, mask_op, unused, factor_op;
    int32_t offset, in_offset;
    uint32_t line;
    union {
        uint64_t mask;
        struct {
            uint32_t range, flags; /* of strings; enum magic_string_flag */
        };
    };
    union {
        uint64_t number;
        char text[MAGIC_VALUE_MAX];
    } value;
    char desc[64];
    char mime[80];
    char apple[8];
    char ext[64];
};

/* Entries in two lists: tests in the order in which libmagic tries them, and names, which are
 * groups of entries that others USE. A group is an entry of level 0 with those under it. */
struct magic_file {
    const struct magic_entry *tests, *names;
    uint32_t n_tests, n_names;
};

/* A test with what is asked when it holds. */
struct magic_group {
    const struct magic_entry *v;
    uint32_t n;
    uint32_t file;
};

/* Reads |bytes| (aligned for uint64_t, alive as long as *ret). ERR_SYNTAX: it is not such a file,
 * is of another version or byte order, or is one that libmagic might read in another way. */
NODISCARD enum err magic_file_parse(struct span bytes, struct magic_file *ret);
/* The number of entries in the group that begins at |v|, of which |n| are there. */
uint32_t magic_group_size(const struct magic_entry *v, uint32_t n);
/* Writes the head of a file of |n_tests| and |n_names| entries into *ret. */
void magic_file_head(struct magic_entry *ret, uint32_t n_tests, uint32_t n_names);
/* The name that a USE or NAME entry has in its value. */
struct span magic_entry_name(const struct magic_entry *e);

#endif
