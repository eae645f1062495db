/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_peer.c - certificates and patterns. A certificate either names somebody, and then with texts
 * that are safe to print, or nobody. Input: a pattern ("dns:..."), LF, a certificate (DER) or,
 * where it is none, a name for the pattern. */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "protect/peer_int.h"
#include "sallyport/want.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void is_safe_text(struct span s)
{
    check(s.p[s.n] == '\0');
    for (size_t i = 0; i < s.n; i++)
        check(s.p[i] >= ' ' && s.p[i] <= '~');
}

static void peer_properties(const sallyport_peer *p)
{
    static const int texts[] = {
        SALLYPORT_PEER_AUDIT,      SALLYPORT_PEER_DNS,       SALLYPORT_PEER_URI,
        SALLYPORT_PEER_EMAIL,      SALLYPORT_PEER_SUBJECT,   SALLYPORT_PEER_ISSUER,
        SALLYPORT_PEER_NOT_BEFORE, SALLYPORT_PEER_NOT_AFTER, SALLYPORT_PEER_PURPOSE};
    const void *bytes;
    size_t n;

    for (size_t k = 0; k < ARRAY_LEN(texts); k++)
        for (size_t i = 0; sallyport_peer_attr(p, texts[k], i, &bytes, &n) == 0; i++)
            is_safe_text((struct span){bytes, n});
    check(strlen(sallyport_peer_text(p)) <= PEER_TEXT_MAX && sallyport_peer_text(p)[0]);
    check(sallyport_peer_equal(p, p, SALLYPORT_SAME_NAME));
    check(sallyport_peer_equal(p, p, SALLYPORT_SAME_KEY));
    if (sallyport_peer_attr(p, SALLYPORT_PEER_KEY, 0, &bytes, &n) == 0)
        check(n == 32);
}

/* A certificate without any bytes of its own but |name| as the alternative name of its kind. */
static sallyport_peer *peer_with(int kind, struct span name)
{
    X509 *x = X509_new();
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_STRING *s = ASN1_STRING_type_new(V_ASN1_IA5STRING);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
                                                 (const unsigned char *)"0123456789012345"
                                                                        "0123456789012345",
                                                 32);
    sallyport_peer *p = NULL;
    const char *why;

    check(x && names && g && s && key);
    check(ASN1_STRING_set(s, name.p, (int)name.n) == 1 && X509_set_pubkey(x, key) == 1);
    GENERAL_NAME_set0_value(g,
                            kind == SALLYPORT_PEER_DNS   ? GEN_DNS
                            : kind == SALLYPORT_PEER_URI ? GEN_URI
                                                         : GEN_EMAIL,
                            s);
    check(sk_GENERAL_NAME_push(names, g) > 0);
    check(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_REPLACE) == 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 0);
    check(X509_sign(x, key, NULL) > 0);
    (void)peer_of_certificate(x, &p, &why);
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    EVP_PKEY_free(key);
    X509_free(x);
    return p;
}

/* What a star stands for holds no separator of the name's kind. */
static void star_properties(int kind, struct span pattern, struct span name)
{
    if (kind == SALLYPORT_PEER_DNS && span_starts(pattern, SPAN("*."))) {
        size_t n = span_find(name, '.');

        check(n > 0 && span_find(span_sub(name, 0, n), '*') == n);
    } else if (kind == SALLYPORT_PEER_URI && span_ends(pattern, SPAN("/*"))) {
        check(span_starts(name, span_sub(pattern, 0, pattern.n - 1)));
        check(name.n > pattern.n - 1);
    } else {
        check(name.n + 1 >= pattern.n); /* a closing dot */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {(const char *)data, size}, text = span_cut(&rest, '\n');
    const unsigned char *der = (const unsigned char *)rest.p;
    X509 *x = rest.n ? d2i_X509(NULL, &der, (long)rest.n) : NULL;
    char *z = span_dup(text);
    struct span pattern = text;
    int kind = peer_kind(span_cut(&pattern, ':'));
    sallyport_peer *p = NULL;
    sallyport_want *w = NULL;
    const char *why;

    check(z && sallyport_want_new(&w) == 0);
    bool taken = sallyport_want_peer_text(w, z) == 0;

    if (x && peer_of_certificate(x, &p, &why) == 0)
        peer_properties(p);
    else if (!x && taken && rest.n && rest.n < 4096 && kind >= SALLYPORT_PEER_DNS &&
             kind <= SALLYPORT_PEER_EMAIL)
        p = peer_with(kind, rest);
    if (p && taken && sallyport_peer_match(p, kind, strchr(z, ':') + 1) == 1 && !x)
        star_properties(kind, span_of(strchr(z, ':') + 1), rest);
    sallyport_peer_unref(p);
    sallyport_want_free(w);
    X509_free(x);
    free(z);
    ERR_clear_error();
    return 0;
}
