/* SPDX-License-Identifier: Apache-2.0 */
/* print_link.h - what `print`, `cancel` and `jobs` have in common: options that say where the
 * printer is, whom to trust and who asks; the client on a loop of its own; one question after the
 * other; and text that a terminal may be shown.
 *
 * Threads: one. */
#ifndef CLI_PRINT_LINK_H
#define CLI_PRINT_LINK_H

#include <getopt.h>

#include "cli/cli.h"
#include "cli/client_tls.h"
#include "cli/login.h"
#include "ipp/ipp_client_message.h"

/* Values of options, above those of letters; a command's own begin at PRINT_OPTION_OWN. */
enum {
    PRINT_OPTION_PASSWORD = 256,
    PRINT_OPTION_PASSWORD_FILE,
    PRINT_OPTION_PROXY_PASSWORD_FILE,
    PRINT_OPTION_CA,
    PRINT_OPTION_CERT,
    PRINT_OPTION_KEY,
    PRINT_OPTION_INSECURE,
    PRINT_OPTION_NO_INSIST,
    PRINT_OPTION_ALLOW_BASIC,
    PRINT_OPTION_LENIENT,
    PRINT_OPTION_TLS_MIN,
    PRINT_OPTION_NO_MD5,
    PRINT_OPTION_TIMEOUT,
    PRINT_OPTION_CONNECT_TIMEOUT,
    PRINT_OPTION_JSON,
    PRINT_OPTION_HELP,
    PRINT_OPTION_OWN
};
/* clang-format off */
#define PRINT_OPTIONS                                                              \
    {"user", required_argument, NULL, 'u'},                                        \
    {"password", required_argument, NULL, PRINT_OPTION_PASSWORD},                  \
    {"password-file", required_argument, NULL, PRINT_OPTION_PASSWORD_FILE},        \
    {"proxy", required_argument, NULL, 'p'},                                       \
    {"proxy-password-file", required_argument, NULL, PRINT_OPTION_PROXY_PASSWORD_FILE}, \
    {"ca", required_argument, NULL, PRINT_OPTION_CA},                              \
    {"cert", required_argument, NULL, PRINT_OPTION_CERT},                          \
    {"key", required_argument, NULL, PRINT_OPTION_KEY},                            \
    {"insecure-no-verify", no_argument, NULL, PRINT_OPTION_INSECURE},              \
    {"no-insist", no_argument, NULL, PRINT_OPTION_NO_INSIST},                      \
    {"allow-basic", no_argument, NULL, PRINT_OPTION_ALLOW_BASIC},                  \
    {"lenient-upgrade", no_argument, NULL, PRINT_OPTION_LENIENT},                  \
    {"tls-min", required_argument, NULL, PRINT_OPTION_TLS_MIN},                    \
    {"no-md5", no_argument, NULL, PRINT_OPTION_NO_MD5},                            \
    {"timeout", required_argument, NULL, PRINT_OPTION_TIMEOUT},                    \
    {"connect-timeout", required_argument, NULL, PRINT_OPTION_CONNECT_TIMEOUT},    \
    {"json", no_argument, NULL, PRINT_OPTION_JSON},                                \
    {"help", no_argument, NULL, PRINT_OPTION_HELP}
#define PRINT_LETTERS "u:p:h"
#define PRINT_USAGE                                                                           \
    "  -u, --user USER         who asks\n"                                                    \
    "  --password-file FILE    the user's password, the first line of FILE\n"                 \
    "  --ca FILE               certificates (PEM) to trust, in place of the system's\n"       \
    "  --cert FILE             our certificate (PEM), if the printer wants one\n"             \
    "  --key FILE              its key (PEM), if it is not in the same file\n"                \
    "  -p, --proxy PROXY       through an HTTP proxy: [http://][USER@]HOST:PORT\n"            \
    "  --proxy-password-file FILE\n"                                                          \
    "                          the password of its user\n"                                    \
    "  --no-insist             go on, with a warning, where the printer does not do what the\n" \
    "                          URI demands; then anybody may read along\n"                    \
    "  --allow-basic           tell the printer the password, within TLS, if it knows no Digest\n" \
    "  --lenient-upgrade       take a 101 that does not say TLS\n"                            \
    "  --tls-min VERSION       the oldest TLS that is taken: 1.2, 1.3 (1.2)\n"                \
    "  --no-md5                answer no Digest with MD5\n"                                   \
    "  --insecure-no-verify    take any certificate: then anybody may be the printer\n"       \
    "  --connect-timeout S     seconds until a connection stands (10)\n"                      \
    "  --timeout S             seconds to wait for an answer (300)\n"                         \
    "  --json                  one JSON object\n"
#define PRINT_USAGE_END                                                                       \
    "The URI is ipp://host[:port]/path or ipps://..., with a list of what must be there at the\n" \
    "end of its path: ;AUTH=TLS for TLS by upgrade, SSL3 for TLS on a port of its own, DAA for\n" \
    "Digest. The password comes from --password-file, from the environment\n"                 \
    "(SALLYPORT_PASSWORD), or is asked for when the printer wants it. Exit code 0: fine,\n"
/* clang-format on */

struct print_options {
    const struct command *command;
    const char *user, *password_file, *proxy, *proxy_password_file;
    struct client_tls_options tls;
    bool no_insist, allow_basic, lenient, no_md5, json;
    uint64_t connect_s, answer_s; /* 0: as the client has it */
};
/* One of PRINT_OPTIONS, with |optarg|. False: *ret_code says how to end. */
bool print_take_option(struct print_options *o, int c, int *ret_code);

struct print_answer {
    struct ipp_client_result result;
    struct ipp_message message; /* ANSWERED: a copy, until the next question */
};

struct print_link {
    const struct print_options *o;
    struct loop *loop;
    struct ipp_client *client;
    struct ipp_uri uri;
    const char *user; /* for requesting-user-name: of -u, of the URI, or whoever runs us; or NULL */
    struct print_answer answer;
    bool document_sent; /* a byte of one, with any question so far */
    bool made;          /* a job was, whose document comes later */
    /* Private. */
    struct buf url;  /* without user and password */
    struct buf text; /* octets of the answer */
    struct login login, proxy_login;
    char proxy_host[256];
    unsigned proxy_port;
    struct tls_context *tls_upgraded, *tls_implicit;
    bool done;
};

/* Reads |uri|, out of whose memory a password is wiped; says what is odd about it; opens no
 * connection yet. EXIT_FINE, or an exit code after a sentence; print_link_close() in any case. */
NODISCARD int print_link_open(struct print_link *l, const struct print_options *o, char *uri);
void print_link_close(struct print_link *l);

/* A document to go with a question. */
struct print_document {
    int fd;
    uint64_t len;
};
/* Asks, and turns the loop until there is an answer, which is l->answer. EXIT_FINE: the printer has
 * answered, whatever it says. Else an exit code, and nothing was said to the user yet.
 * |turn|, if not NULL, is called after each turn. */
NODISCARD int print_ask(struct print_link *l, const struct ipp_client_message *m,
                        const struct print_document *d, bool harmless, void (*turn)(void *arg),
                        void *arg);
/* Is the answer's status a success (RFC 8011 4.1.6.1)? */
bool print_is_success(const struct print_link *l);
/* What the answer says in place of that: "client-error-not-found: no such printer". */
void print_refusal(const struct print_link *l, struct buf *out);
/* The exit code of a result. */
int print_exit_code(enum ipp_client_end end);
/* "security", "refused": for JSON. */
const char *print_end_name(enum ipp_client_end end);

/* "sallyport NAME: URI: ..." on stderr, without anything that a terminal would obey. Returns
 * |code|. */
PRINTF(3, 4) int print_complain(const struct print_link *l, int code, const char *fmt, ...);
/* What became of the last question, if it was not answered or the answer was a refusal: a sentence
 * on stderr, and with --json an object on stdout. |what|: in words, what was asked. Returns the
 * exit code, which is not EXIT_SECURITY once a byte of a document was sent. */
int print_failed(const struct print_link *l, int code, const char *what);
/* The same without an object; |why| gets the sentence. */
int print_say_failure(const struct print_link *l, int code, const char *what, struct buf *why);

/* Members of an object that every answer has: how, who, channel, auth, server. */
struct json;
void print_add_protection(struct json *j, const struct print_link *l);
/* The same as lines of text. */
void print_say_protection(const struct print_link *l, struct buf *out);
/* "pending", "completed"; "idle", "stopped"; "?" for others. */
const char *print_job_state(int32_t state);
const char *print_printer_state(int32_t state);
/* Is the job over, and did it end well? */
bool print_job_is_over(int32_t state);
#define PRINT_JOB_COMPLETED 9
/* All strings of an attribute, with commas between; nothing without it. */
void print_add_texts(struct buf *out, struct span attributes, const char *name);

#endif
