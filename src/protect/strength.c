/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/strength.h"

#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/tls1.h>

struct strength_row {
    enum strength_part part;
    int id;
    sallyport_level level;
};

/* Hybrids with ML-KEM, which OpenSSL 3.0 has no NIDs for: numbers of the IANA registry "TLS
 * Supported Groups". */
#define GROUP_SECP256R1_MLKEM768  (TLSEXT_nid_unknown | 0x11eb)
#define GROUP_X25519_MLKEM768     (TLSEXT_nid_unknown | 0x11ec)
#define GROUP_SECP384R1_MLKEM1024 (TLSEXT_nid_unknown | 0x11ed)

/* A change of this table is a new STRENGTH_CLASSES. */
static const struct strength_row rows[] = {
    {STRENGTH_VERSION,        TLS1_3_VERSION,            SALLYPORT_STRONG   },
    {STRENGTH_VERSION,        TLS1_2_VERSION,            SALLYPORT_STRONG   },
    {STRENGTH_VERSION,        TLS1_1_VERSION,            SALLYPORT_WEAK     },
    {STRENGTH_VERSION,        TLS1_VERSION,              SALLYPORT_WEAK     },

 /* AEAD */
    {STRENGTH_CIPHER,         NID_aes_128_gcm,           SALLYPORT_STRONG   },
    {STRENGTH_CIPHER,         NID_aes_256_gcm,           SALLYPORT_STRONG   },
    {STRENGTH_CIPHER,         NID_aes_128_ccm,           SALLYPORT_STRONG   },
    {STRENGTH_CIPHER,         NID_aes_256_ccm,           SALLYPORT_STRONG   },
    {STRENGTH_CIPHER,         NID_chacha20_poly1305,     SALLYPORT_STRONG   },
    {STRENGTH_CIPHER,         NID_aria_128_gcm,          SALLYPORT_STRONG   },
    {STRENGTH_CIPHER,         NID_aria_256_gcm,          SALLYPORT_STRONG   },
 /* MAC, then encrypt */
    {STRENGTH_CIPHER,         NID_aes_128_cbc,           SALLYPORT_WEAK     },
    {STRENGTH_CIPHER,         NID_aes_256_cbc,           SALLYPORT_WEAK     },
    {STRENGTH_CIPHER,         NID_camellia_128_cbc,      SALLYPORT_WEAK     },
    {STRENGTH_CIPHER,         NID_camellia_256_cbc,      SALLYPORT_WEAK     },
    {STRENGTH_CIPHER,         NID_seed_cbc,              SALLYPORT_WEAK     },
    {STRENGTH_CIPHER,         NID_idea_cbc,              SALLYPORT_WEAK     },
    {STRENGTH_CIPHER,         NID_des_ede3_cbc,          SALLYPORT_WEAK     },
    {STRENGTH_CIPHER,         NID_rc4,                   SALLYPORT_WEAK     },
 /* a MAC alone */
    {STRENGTH_CIPHER,         NID_undef,                 SALLYPORT_INTEGRITY},

    {STRENGTH_KEY_EXCHANGE,   NID_kx_any,                SALLYPORT_STRONG   }, /* TLS 1.3 */
    {STRENGTH_KEY_EXCHANGE,   NID_kx_ecdhe,              SALLYPORT_STRONG   },
    {STRENGTH_KEY_EXCHANGE,   NID_kx_dhe,                SALLYPORT_STRONG   },
    {STRENGTH_KEY_EXCHANGE,   NID_kx_ecdhe_psk,          SALLYPORT_STRONG   },
    {STRENGTH_KEY_EXCHANGE,   NID_kx_dhe_psk,            SALLYPORT_STRONG   },
    {STRENGTH_KEY_EXCHANGE,   NID_kx_rsa,                SALLYPORT_WEAK     },
    {STRENGTH_KEY_EXCHANGE,   NID_kx_rsa_psk,            SALLYPORT_WEAK     },
    {STRENGTH_KEY_EXCHANGE,   NID_kx_psk,                SALLYPORT_WEAK     },
    {STRENGTH_KEY_EXCHANGE,   NID_kx_srp,                SALLYPORT_WEAK     },

    {STRENGTH_AUTHENTICATION, NID_auth_any,              SALLYPORT_STRONG   }, /* TLS 1.3 */
    {STRENGTH_AUTHENTICATION, NID_auth_rsa,              SALLYPORT_STRONG   },
    {STRENGTH_AUTHENTICATION, NID_auth_ecdsa,            SALLYPORT_STRONG   },
    {STRENGTH_AUTHENTICATION, NID_auth_psk,              SALLYPORT_STRONG   },
    {STRENGTH_AUTHENTICATION, NID_auth_srp,              SALLYPORT_WEAK     },
    {STRENGTH_AUTHENTICATION, NID_auth_dss,              SALLYPORT_WEAK     },
 /* Whoever is in between can be both ends. */
    {STRENGTH_AUTHENTICATION, NID_auth_null,             SALLYPORT_NONE     },

    {STRENGTH_GROUP,          NID_X25519,                SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_X448,                  SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_X9_62_prime256v1,      SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_secp384r1,             SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_secp521r1,             SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_brainpoolP256r1,       SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_brainpoolP384r1,       SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_brainpoolP512r1,       SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_ffdhe2048,             SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_ffdhe3072,             SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_ffdhe4096,             SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_ffdhe6144,             SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_ffdhe8192,             SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          GROUP_SECP256R1_MLKEM768,  SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          GROUP_X25519_MLKEM768,     SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          GROUP_SECP384R1_MLKEM1024, SALLYPORT_STRONG   },
    {STRENGTH_GROUP,          NID_secp256k1,             SALLYPORT_WEAK     },
    {STRENGTH_GROUP,          NID_secp224r1,             SALLYPORT_WEAK     },
    {STRENGTH_GROUP,          NID_secp224k1,             SALLYPORT_WEAK     },
    {STRENGTH_GROUP,          NID_X9_62_prime192v1,      SALLYPORT_WEAK     },
    {STRENGTH_GROUP,          NID_secp192k1,             SALLYPORT_WEAK     },

    {STRENGTH_HASH,           NID_sha256,                SALLYPORT_STRONG   },
    {STRENGTH_HASH,           NID_sha384,                SALLYPORT_STRONG   },
    {STRENGTH_HASH,           NID_sha512,                SALLYPORT_STRONG   },
    {STRENGTH_HASH,           NID_sha3_256,              SALLYPORT_STRONG   },
    {STRENGTH_HASH,           NID_sha3_384,              SALLYPORT_STRONG   },
    {STRENGTH_HASH,           NID_sha3_512,              SALLYPORT_STRONG   },
    {STRENGTH_HASH,           NID_undef,                 SALLYPORT_STRONG   }, /* EdDSA has its own */
    {STRENGTH_HASH,           NID_sha224,                SALLYPORT_WEAK     },
    {STRENGTH_HASH,           NID_sha1,                  SALLYPORT_WEAK     },
    {STRENGTH_HASH,           NID_md5_sha1,              SALLYPORT_WEAK     },
    {STRENGTH_HASH,           NID_md5,                   SALLYPORT_WEAK     },

    {STRENGTH_SIGNATURE,      EVP_PKEY_RSA,              SALLYPORT_STRONG   },
    {STRENGTH_SIGNATURE,      EVP_PKEY_RSA_PSS,          SALLYPORT_STRONG   },
    {STRENGTH_SIGNATURE,      EVP_PKEY_EC,               SALLYPORT_STRONG   },
    {STRENGTH_SIGNATURE,      EVP_PKEY_ED25519,          SALLYPORT_STRONG   },
    {STRENGTH_SIGNATURE,      EVP_PKEY_ED448,            SALLYPORT_STRONG   },
    {STRENGTH_SIGNATURE,      EVP_PKEY_DSA,              SALLYPORT_WEAK     },
};

bool strength_of(enum strength_part part, int id, sallyport_level *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].part == part && rows[i].id == id) {
            *ret = rows[i].level;
            return true;
        }
    return false;
}
