/* SPDX-License-Identifier: Apache-2.0 */
/* config_value.c - one text to one typed value. */
#include <string.h>

#include <arpa/inet.h>

#include "config/config_int.h"

#define PATH_LEN_MAX      4095u
#define UNIX_PATH_LEN_MAX 107u /* sun_path without its NUL */
#define HOST_LEN_MAX      253u
#define LABEL_LEN_MAX     63u

/* ---- kinds ---- */

bool config_kind_is_text(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_KIND_BOOL:
    case CONFIG_KIND_COUNT:
    case CONFIG_KIND_SIZE:
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_ENUM:
    case CONFIG_KIND_STRING:
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_ADDRESS:
    case CONFIG_KIND_UPSTREAM: return true;
    case CONFIG_KIND_SET:
    case CONFIG_KIND_STRINGS:
    case CONFIG_KIND_PATHS:
    case CONFIG_KIND_CIDRS:
    case CONFIG_KIND_MAP:
    case CONFIG_KIND_BLOCK:
    case CONFIG_KIND_OPTIONAL:
    case CONFIG_KIND_LIST: break;
    }
    return false;
}

bool config_kind_is_number(enum config_kind kind)
{
    return kind == CONFIG_KIND_COUNT || kind == CONFIG_KIND_SIZE || kind == CONFIG_KIND_DURATION;
}

size_t config_element_size(enum config_kind kind)
{
    return kind == CONFIG_KIND_CIDRS ? sizeof(struct config_cidr) : sizeof(const char *);
}

const char *config_kind_text(const struct config_row *row)
{
    switch (row->kind) {
    case CONFIG_KIND_BOOL: return "true | false";
    case CONFIG_KIND_COUNT: return "number";
    case CONFIG_KIND_SIZE: return "size";
    case CONFIG_KIND_DURATION: return "time";
    case CONFIG_KIND_ENUM: return "word";
    case CONFIG_KIND_SET: return "list of words";
    case CONFIG_KIND_STRING: return "text";
    case CONFIG_KIND_PATH: return "path";
    case CONFIG_KIND_STRINGS: return row->single ? "text, or list of texts" : "list of texts";
    case CONFIG_KIND_PATHS: return row->single ? "path, or list of paths" : "list of paths";
    case CONFIG_KIND_ADDRESS:
    case CONFIG_KIND_UPSTREAM: return "address";
    case CONFIG_KIND_CIDRS: return "list of networks";
    case CONFIG_KIND_MAP: return "word: word";
    case CONFIG_KIND_BLOCK:
    case CONFIG_KIND_OPTIONAL: return "mapping";
    case CONFIG_KIND_LIST: return "list of mappings";
    }
    return "";
}

/* ---- fields ---- */

uint64_t config_integer_max(size_t size)
{
    return size >= sizeof(uint64_t) ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

uint64_t config_integer_get(const void *field, size_t size)
{
    switch (size) {
    case 1: return *(const uint8_t *)field;
    case 2: return *(const uint16_t *)field;
    case 4: return *(const uint32_t *)field;
    case 8: return *(const uint64_t *)field;
    default: return 0; /* config_rows_check() refuses such a row */
    }
}

void config_integer_set(void *field, size_t size, uint64_t v)
{
    switch (size) {
    case 1: *(uint8_t *)field = (uint8_t)v; break;
    case 2: *(uint16_t *)field = (uint16_t)v; break;
    case 4: *(uint32_t *)field = (uint32_t)v; break;
    case 8: *(uint64_t *)field = v; break;
    default: break;
    }
}

/* memcpy, since the field is a pointer of the room's own type. */
const void *config_pointer_get(const void *field)
{
    const void *p;

    memcpy(&p, field, sizeof p);
    return p;
}

void config_pointer_set(void *field, const void *p)
{
    memcpy(field, &p, sizeof p);
}

/* ---- words ---- */

const struct config_name *config_names_find(const struct config_names *names, struct span word)
{
    for (size_t i = 0; i < names->n; i++)
        if (span_eq(span_of(names->v[i].name), word))
            return &names->v[i];
    return NULL;
}

const char *config_name_of(const struct config_names *names, uint64_t value)
{
    for (size_t i = 0; i < names->n; i++)
        if (names->v[i].value == value)
            return names->v[i].name;
    return NULL;
}

const char *config_words_hint(struct config_report *r, struct span got,
                              const struct config_names *names)
{
    struct config_nearest n = {.got = got};

    for (size_t i = 0; i < names->n; i++)
        config_nearest_offer(&n, names->v[i].name);
    return config_nearest_hint(r, &n);
}

static enum err enum_parse(struct config_value *v, void *field)
{
    const struct config_name *name = config_names_find(v->row->names, v->text);

    if (!name) {
        v->hint = config_words_hint(v->r, v->text, v->row->names);
        return ERR_SYNTAX;
    }
    config_integer_set(field, v->row->size, name->value);
    return OK;
}

/* One element: sets its bit. */
static enum err set_parse(struct config_value *v, void *field)
{
    const struct config_name *name = config_names_find(v->row->names, v->text);
    uint64_t bits = config_integer_get(field, v->row->size);

    if (!name) {
        v->hint = config_words_hint(v->r, v->text, v->row->names);
        return ERR_SYNTAX;
    }
    config_integer_set(field, v->row->size, bits | UINT64_C(1) << (name->value & 63));
    return OK;
}

static enum err bool_parse(struct config_value *v, void *field)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (span_eq(v->text, span_of(words[i]))) {
            *(bool *)field = i % 2 != 0;
            return OK;
        }
    }
    v->hint = config_hint(v->r, v->text, words, ARRAY_LEN(words));
    return ERR_SYNTAX;
}

/* ---- numbers ---- */

struct unit {
    const char *text;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"t", UINT64_C(1) << 40},
    {"g", UINT64_C(1) << 30},
    {"m", UINT64_C(1) << 20},
    {"k", UINT64_C(1) << 10},
    {"",  1                },
};
static const struct unit time_units[] = {
    {"d",  86400000},
    {"h",  3600000 },
    {"m",  60000   },
    {"s",  1000    },
    {"ms", 1       },
};

static const struct unit *unit_find(const struct unit *units, size_t n, struct span text)
{
    for (size_t i = 0; i < n; i++)
        if (span_eq(span_of(units[i].text), text))
            return &units[i];
    return NULL;
}

/* "k", "K" and "KiB" are one unit; "KB" and "kB" are not, since half of the world means 1000. */
static const struct unit *size_unit_find(struct span text)
{
    char letter;

    if (text.n == 3 && span_ieq(span_sub(text, 1, 2), SPAN("ib")))
        text.n = 1;
    if (text.n != 1)
        return unit_find(size_units, ARRAY_LEN(size_units), text);
    letter = char_lower(text.p[0]);
    return unit_find(size_units, ARRAY_LEN(size_units), (struct span){&letter, 1});
}

static size_t digits_len(struct span s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

static bool number_split(struct config_value *v, uint64_t *ret_number, struct span *ret_unit)
{
    size_t n = digits_len(v->text);

    *ret_unit = span_sub(v->text, n, SIZE_MAX);
    return span_u64(span_sub(v->text, 0, n), UINT64_MAX, ret_number) == OK;
}

static bool size_read(struct config_value *v, uint64_t *ret)
{
    const struct unit *unit;
    struct span suffix;
    uint64_t number;

    if (!number_split(v, &number, &suffix))
        return false;
    unit = size_unit_find(suffix);
    if (!unit)
        v->hint = "; sizes end in k, m, g or t (powers of 1024) or in nothing";
    return unit && !__builtin_mul_overflow(number, unit->factor, ret);
}

static bool time_read(struct config_value *v, uint64_t *ret)
{
    const struct unit *unit;
    struct span suffix;
    uint64_t number;

    if (!number_split(v, &number, &suffix))
        return false;
    if (suffix.n == 0 && number == 0) {
        *ret = 0;
        return true;
    }
    unit = unit_find(time_units, ARRAY_LEN(time_units), suffix);
    if (!unit)
        v->hint = "; a time ends in ms, s, m, h or d";
    return unit && !__builtin_mul_overflow(number, unit->factor, ret);
}

static uint64_t number_max(const struct config_row *row)
{
    return row->max ? row->max : config_integer_max(row->size);
}

static enum err number_parse(struct config_value *v, void *field)
{
    const struct config_row *row = v->row;
    uint64_t number = 0;
    bool read = true;

    if (row->zero && span_eq(v->text, span_of(row->zero))) {
        config_integer_set(field, row->size, 0);
        return OK;
    }
    if (row->kind == CONFIG_KIND_SIZE)
        read = size_read(v, &number);
    else if (row->kind == CONFIG_KIND_DURATION)
        read = time_read(v, &number);
    else
        read = span_u64(v->text, UINT64_MAX, &number) == OK;
    if (!read || number > number_max(row))
        return ERR_SYNTAX;
    if (number < row->min && !(number == 0 && row->zero))
        return ERR_SYNTAX;
    config_integer_set(field, row->size, number);
    return OK;
}

/* The largest unit that divides |v|. */
static void unit_format(const struct unit *units, size_t n, uint64_t v, struct writer *out)
{
    size_t i = 0;

    while (i + 1 < n && v % units[i].factor != 0)
        i++;
    write_dec(out, v / units[i].factor);
    write_text(out, units[i].text);
}

void config_number_format(const struct config_row *row, uint64_t v, struct writer *out)
{
    if (v == 0 && row->zero)
        write_text(out, row->zero);
    else if (v == 0)
        write_text(out, row->kind == CONFIG_KIND_DURATION ? "0s" : "0");
    else if (row->kind == CONFIG_KIND_SIZE)
        unit_format(size_units, ARRAY_LEN(size_units), v, out);
    else if (row->kind == CONFIG_KIND_DURATION)
        unit_format(time_units, ARRAY_LEN(time_units), v, out);
    else
        write_dec(out, v);
}

/* ---- texts ---- */

static bool has_control(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

static bool path_is_fine(struct span s, size_t max)
{
    return s.n && s.n <= max && s.p[0] == '/' && !has_control(s);
}

static enum err string_parse(struct config_value *v, void *field)
{
    const struct config_row *row = v->row;
    bool list = row->kind == CONFIG_KIND_STRINGS || row->kind == CONFIG_KIND_PATHS;
    bool path = row->kind == CONFIG_KIND_PATH || row->kind == CONFIG_KIND_PATHS;
    const char *text;

    if (path && !path_is_fine(v->text, PATH_LEN_MAX))
        return ERR_SYNTAX;
    if (!list && (v->text.n < row->min || (row->max && v->text.n > row->max)))
        return ERR_SYNTAX;
    v->must = row->valid ? row->valid(v->text) : NULL;
    if (v->must)
        return ERR_SYNTAX;
    text = arena_text(v->r->out, v->text);
    if (!text)
        return ERR_NOMEM;
    config_pointer_set(field, text);
    return OK;
}

/* ---- networks ---- */

static enum err cidr_parse(struct config_value *v, void *field)
{
    struct config_cidr net = {.family = span_find(v->text, ':') < v->text.n ? 6 : 4};
    unsigned bits = net.family == 6 ? 128 : 32;
    struct span rest = v->text, host = span_cut(&rest, '/');
    char text[INET6_ADDRSTRLEN];
    uint64_t prefix = bits;

    if (host.n >= sizeof text)
        return ERR_SYNTAX;
    (void)span_copy(host, text, sizeof text);
    if (inet_pton(net.family == 6 ? AF_INET6 : AF_INET, text, net.addr) != 1)
        return ERR_SYNTAX;
    if (rest.p && span_u64(rest, bits, &prefix) != OK)
        return ERR_SYNTAX;
    net.prefix = (uint8_t)prefix;
    for (unsigned i = net.prefix; i < bits; i++) {
        if (net.addr[i / 8] & (0x80u >> (i % 8))) {
            v->must = "have zeros behind its prefix";
            return ERR_SYNTAX;
        }
    }
    *(struct config_cidr *)field = net;
    return OK;
}

bool config_cidr_has(const struct config_cidr *net, unsigned family, const uint8_t *addr)
{
    unsigned whole = net->prefix / 8, rest = net->prefix % 8;

    if (net->family != family || memcmp(net->addr, addr, whole) != 0)
        return false;
    return rest == 0 || ((net->addr[whole] ^ addr[whole]) & (0xff00u >> rest) & 0xffu) == 0;
}

bool config_cidrs_have(const struct config_cidrs *nets, unsigned family, const uint8_t *addr)
{
    for (size_t i = 0; i < nets->n; i++)
        if (config_cidr_has(&nets->v[i], family, addr))
            return true;
    return false;
}

/* ---- addresses ---- */

static bool char_is_label(char c)
{
    c = char_lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool label_is_fine(struct span label)
{
    if (label.n == 0 || label.n > LABEL_LEN_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++)
        if (!char_is_label(label.p[i]))
            return false;
    return true;
}

/* RFC 1123 2.1: letters, digits and hyphens (and the underscore that people use); the last label is
 * not all digits, so that 192.0.2.300 is a mistake and no name. */
static bool host_is_name(struct span host)
{
    struct span rest = host, label = SPAN_NONE;

    if (host.n == 0 || host.n > HOST_LEN_MAX)
        return false;
    while (rest.p) {
        label = span_cut(&rest, '.');
        if (!label_is_fine(label))
            return false;
    }
    return digits_len(label) != label.n;
}

/* |host| as the literal that inet_ntop writes, so that equal addresses are equal texts. */
static bool host_literal(struct span host, int family, char ret[INET6_ADDRSTRLEN])
{
    char text[INET6_ADDRSTRLEN];
    uint8_t addr[16];

    if (host.n >= sizeof text)
        return false;
    (void)span_copy(host, text, sizeof text);
    return inet_pton(family, text, addr) == 1 &&
           inet_ntop(family, addr, ret, INET6_ADDRSTRLEN) != NULL;
}

static enum config_address_kind host_kind(struct config_value *v, struct span host,
                                          char ret[HOST_LEN_MAX + 1])
{
    bool upstream = v->row->kind == CONFIG_KIND_UPSTREAM;

    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        return host_literal(span_sub(host, 1, host.n - 2), AF_INET6, ret) ? CONFIG_ADDRESS_IPV6
                                                                          : CONFIG_ADDRESS_NONE;
    if (span_find(host, ':') < host.n) {
        v->hint = "; an IPv6 address stands in brackets, and a port behind it";
        return CONFIG_ADDRESS_NONE;
    }
    if (host_literal(host, AF_INET, ret))
        return CONFIG_ADDRESS_IPV4;
    (void)span_copy(host, ret, HOST_LEN_MAX + 1);
    if (!upstream && span_eq(host, SPAN("*")))
        return CONFIG_ADDRESS_ANY;
    if (!upstream || !host_is_name(host))
        return CONFIG_ADDRESS_NONE;
    for (size_t i = 0; i < host.n; i++)
        ret[i] = char_lower(ret[i]);
    return CONFIG_ADDRESS_NAME;
}

static enum err address_set(struct config_value *v, struct config_address a, struct span host,
                            void *field)
{
    a.host = arena_text(v->r->out, host);
    if (!a.host)
        return ERR_NOMEM;
    *(struct config_address *)field = a;
    return OK;
}

static enum err address_parse(struct config_value *v, void *field)
{
    struct config_address a = {.kind = CONFIG_ADDRESS_UNIX};
    char host[HOST_LEN_MAX + 1];
    size_t colon = v->text.n;
    uint64_t port;

    if (v->text.n && v->text.p[0] == '/')
        return path_is_fine(v->text, UNIX_PATH_LEN_MAX) ? address_set(v, a, v->text, field)
                                                        : ERR_SYNTAX;
    while (colon && v->text.p[colon - 1] != ':')
        colon--;
    if (colon == 0 || colon - 1 > HOST_LEN_MAX) {
        v->hint = v->text.n && digits_len(v->text) == v->text.n
                      ? "; for a port of every local address write '*:PORT'"
                      : "; the port is missing";
        return ERR_SYNTAX;
    }
    a.kind = host_kind(v, span_sub(v->text, 0, colon - 1), host);
    if (a.kind == CONFIG_ADDRESS_NONE ||
        span_u64(span_sub(v->text, colon, SIZE_MAX), UINT16_MAX, &port) != OK)
        return ERR_SYNTAX;
    if (port == 0 && v->row->kind == CONFIG_KIND_UPSTREAM)
        return ERR_SYNTAX;
    a.port = (uint16_t)port;
    return address_set(v, a, span_of(host), field);
}

void config_address_format(const struct config_address *a, struct buf *out)
{
    switch (a->kind) {
    case CONFIG_ADDRESS_NONE: break;
    case CONFIG_ADDRESS_UNIX: buf_text(out, a->host); break;
    case CONFIG_ADDRESS_IPV6: buf_fmt(out, "[%s]:%u", a->host, (unsigned)a->port); break;
    case CONFIG_ADDRESS_ANY:
    case CONFIG_ADDRESS_IPV4:
    case CONFIG_ADDRESS_NAME: buf_fmt(out, "%s:%u", a->host, (unsigned)a->port); break;
    }
}

/* ---- all of them ---- */

enum err config_value_parse(struct config_value *v, void *field)
{
    v->must = NULL;
    v->hint = "";
    switch (v->row->kind) {
    case CONFIG_KIND_BOOL: return bool_parse(v, field);
    case CONFIG_KIND_COUNT:
    case CONFIG_KIND_SIZE:
    case CONFIG_KIND_DURATION: return number_parse(v, field);
    case CONFIG_KIND_ENUM: return enum_parse(v, field);
    case CONFIG_KIND_SET: return set_parse(v, field);
    case CONFIG_KIND_STRING:
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_STRINGS:
    case CONFIG_KIND_PATHS: return string_parse(v, field);
    case CONFIG_KIND_ADDRESS:
    case CONFIG_KIND_UPSTREAM: return address_parse(v, field);
    case CONFIG_KIND_CIDRS: return cidr_parse(v, field);
    case CONFIG_KIND_MAP:
    case CONFIG_KIND_BLOCK:
    case CONFIG_KIND_OPTIONAL:
    case CONFIG_KIND_LIST: break;
    }
    return ERR_BUG;
}

/* ---- what a row wants ---- */

/* Bytes are easier to compare than to convert as long as they are few. */
static void bound_format(const struct config_row *row, uint64_t v, struct writer *out)
{
    if (v == 0 || (row->kind == CONFIG_KIND_SIZE && v < UINT64_C(1) << 20))
        write_dec(out, v);
    else
        config_number_format(row, v, out);
}

void config_range_format(const struct config_row *row, struct writer *out)
{
    bool number = config_kind_is_number(row->kind);

    if (row->max == 0 && row->min == 0)
        return;
    if (!number && !row->max) {
        write_fmt(out, "at least %llu", (unsigned long long)row->min);
    } else if (!number) {
        write_fmt(out, "%llu..%llu", (unsigned long long)row->min, (unsigned long long)row->max);
    } else if (row->max) {
        bound_format(row, row->min, out);
        write_text(out, "..");
        bound_format(row, row->max, out);
    } else {
        write_text(out, "at least ");
        bound_format(row, row->min, out);
    }
}

void config_limits_format(const struct config_row *row, struct writer *out)
{
    const char *unit = row->unit;

    config_range_format(row, out);
    if (!unit && out->n && !config_kind_is_number(row->kind))
        unit = config_kind_is_text(row->kind) ? "bytes" : "elements";
    if (unit)
        write_fmt(out, "%s%s", out->n ? " " : "", unit);
}

static void expect_number(const struct config_row *row, struct writer *out)
{
    struct config_row range = *row;

    if (!row->max && row->size < sizeof(uint64_t)) /* the width of the field is a limit */
        range.max = config_integer_max(row->size);
    if (row->zero)
        write_fmt(out, "'%s' or ", row->zero);
    if (row->min || row->max)
        config_range_format(&range, out);
    else if (row->kind == CONFIG_KIND_DURATION)
        write_text(out, "a time such as 30s");
    else if (row->kind == CONFIG_KIND_SIZE)
        write_text(out, "a size such as 64k");
    else
        write_fmt(out, "0..%llu", (unsigned long long)config_integer_max(row->size));
}

static void expect_word(const struct config_row *row, struct writer *out)
{
    if (row->names->n > 2)
        write_text(out, "one of ");
    for (size_t i = 0; i < row->names->n; i++) {
        if (i)
            write_text(out, row->names->n == 2 ? " or " : ", ");
        write_text(out, row->names->v[i].name);
    }
}

static void expect_string(const struct config_row *row, struct writer *out)
{
    write_text(out, "a text");
    if (row->min || row->max) {
        write_text(out, " of ");
        config_range_format(row, out);
        write_text(out, " bytes");
    }
}

void config_expect(const struct config_row *row, struct writer *out)
{
    write_text(out, "be ");
    switch (row->kind) {
    case CONFIG_KIND_BOOL: write_text(out, "true or false"); break;
    case CONFIG_KIND_COUNT:
    case CONFIG_KIND_SIZE:
    case CONFIG_KIND_DURATION: expect_number(row, out); break;
    case CONFIG_KIND_ENUM:
    case CONFIG_KIND_SET: expect_word(row, out); break;
    case CONFIG_KIND_STRING: expect_string(row, out); break;
    case CONFIG_KIND_STRINGS: write_text(out, "a text"); break;
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_PATHS: write_text(out, "an absolute path"); break;
    case CONFIG_KIND_ADDRESS:
        write_text(out, "an address such as 127.0.0.1:80, [::1]:80, *:80 or /run/x.sock");
        break;
    case CONFIG_KIND_UPSTREAM:
        write_text(out, "an address such as host.example:80, [2001:db8::1]:80 or /run/x.sock");
        break;
    case CONFIG_KIND_CIDRS:
        write_text(out, "a network such as 192.0.2.0/24 or 2001:db8::/32");
        break;
    case CONFIG_KIND_MAP:
    case CONFIG_KIND_BLOCK:
    case CONFIG_KIND_OPTIONAL: write_text(out, "a mapping"); break;
    case CONFIG_KIND_LIST: write_text(out, "a list"); break;
    }
}
