/* channel/address.c - addresses: listening, dialing, and what nng says when it cannot.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <nng/nng.h> /* before the others: they need it */
#include <nng/supplemental/tls/tls.h>
#include <nng/transport/ipc/ipc.h>
#include <nng/transport/ws/websocket.h>

#include "base/report.h"
#include "channel/channel_private.h"

typedef enum transport {
    TRANSPORT_NONE = 0,
    TRANSPORT_INPROC,
    TRANSPORT_IPC,
    TRANSPORT_TCP,
    TRANSPORT_TLS,
    TRANSPORT_WS,
    TRANSPORT_WSS
} transport;

/* How often a port is chosen for a listener on ws, when others take it meanwhile. */
enum { PORT_TRIES = 8 };

static const struct {
    const char *scheme;
    transport is;
} transports[] = {
    {"inproc://", TRANSPORT_INPROC}, {"ipc://", TRANSPORT_IPC}, {"tcp://", TRANSPORT_TCP},
    {"tls+tcp://", TRANSPORT_TLS},   {"ws://", TRANSPORT_WS},   {"wss://", TRANSPORT_WSS},
};

/* ---- errors ---- */

merle_err error_of(int nng_err) {
    switch (nng_err) {
    case 0:
        return MERLE_OK;
    case NNG_ENOMEM:
        return MERLE_NO_MEMORY;
    case NNG_EINVAL:
    case NNG_EADDRINVAL:
    case NNG_ECRYPTO: /* certificates or keys that are none */
        return MERLE_INVALID;
    case NNG_EADDRINUSE:
        return MERLE_EXISTS;
    case NNG_ENOTSUP:
        return MERLE_UNSUPPORTED;
    default:
        return MERLE_SYSTEM;
    }
}

static int errno_of(int nng_err) {
    switch (nng_err) {
    case NNG_EPERM:
        return EACCES;
    case NNG_ENOFILES:
        return EMFILE;
    case NNG_ENOENT:
        return ENOENT;
    case NNG_ENOSPC:
        return ENOSPC;
    case NNG_ECONNREFUSED:
        return ECONNREFUSED;
    default:
        break;
    }
    int is_system = nng_err > 0 && (nng_err & NNG_ESYSERR) != 0;
    return is_system ? nng_err & ~(int)NNG_ESYSERR : EIO;
}

merle_err error_report(merle_report *report, int nng_err, const char *what, const char *about) {
    merle_err err = error_of(nng_err);
    const char *why = nng_strerror(nng_err);
    if (nng_err == NNG_EADDRINUSE) why = "the address is in use";
    if (nng_err == NNG_EADDRINVAL || nng_err == NNG_EINVAL) why = "there is no such address";
    if (nng_err == NNG_ECRYPTO) why = "the certificates or the key cannot be used";
    (void)mrl_report_fill(report, err, "%s %s: %s", what, about, why);
    if (err == MERLE_SYSTEM) mrl_report_errno(report, errno_of(nng_err));
    return err;
}

/* ---- certificates ---- */

static char *text_copy(const char *text, int *has_failed) {
    char *copy = text == NULL ? NULL : strdup(text);
    *has_failed |= text != NULL && copy == NULL;
    return copy;
}

merle_err tls_copy(mrl_socket *socket, const mrl_net_tls *tls) {
    int has_failed = 0;
    socket->own_tls.authorities = text_copy(tls->authorities, &has_failed);
    socket->own_tls.certificate = text_copy(tls->certificate, &has_failed);
    socket->own_tls.key = text_copy(tls->key, &has_failed);
    socket->own_tls.server_name = text_copy(tls->server_name, &has_failed);
    socket->options.tls = &socket->own_tls;
    return has_failed ? MERLE_NO_MEMORY : MERLE_OK; /* the caller frees what there is */
}

void tls_free(mrl_socket *socket) {
    free((char *)socket->own_tls.authorities);
    free((char *)socket->own_tls.certificate);
    free((char *)socket->own_tls.key);
    free((char *)socket->own_tls.server_name);
}

/* What the sides must have: a listener a certificate, a dialer somebody to trust. A dialer that
 * trusts everybody is not offered. */
static merle_err tls_check(const mrl_socket *socket, const char *url, int is_listener,
                           merle_report *report) {
    const mrl_net_tls *tls = socket->options.tls;
    if (tls == NULL)
        return mrl_report_fill(report, MERLE_INVALID, "%s: no certificates were given", url);
    if ((tls->certificate == NULL) != (tls->key == NULL))
        return mrl_report_fill(report, MERLE_INVALID, "%s: a certificate goes with its key", url);
    if (is_listener && tls->certificate == NULL)
        return mrl_report_fill(report, MERLE_INVALID, "%s: a listener has a certificate", url);
    if (!is_listener && tls->authorities == NULL)
        return mrl_report_fill(report, MERLE_INVALID, "%s: it is not said who is trusted", url);
    return MERLE_OK;
}

/* A listener that was told whom to trust wants to see certificates; a dialer always does. */
static int tls_config(const mrl_socket *socket, const char *host, int is_listener,
                      nng_tls_config **out_config) {
    const mrl_net_tls *tls = socket->options.tls;
    int checks = tls->authorities != NULL;
    nng_tls_config *config = NULL;
    *out_config = NULL;
    int failed =
        nng_tls_config_alloc(&config, is_listener ? NNG_TLS_MODE_SERVER : NNG_TLS_MODE_CLIENT);
    if (failed != 0) return failed;
    failed = nng_tls_config_version(config, NNG_TLS_1_2, NNG_TLS_1_2);
    if (failed == 0 && checks) failed = nng_tls_config_ca_chain(config, tls->authorities, NULL);
    if (failed == 0 && tls->certificate != NULL)
        failed = nng_tls_config_own_cert(config, tls->certificate, tls->key, NULL);
    if (failed == 0)
        failed = nng_tls_config_auth_mode(
            config, checks ? NNG_TLS_AUTH_MODE_REQUIRED : NNG_TLS_AUTH_MODE_NONE);
    if (failed == 0 && !is_listener)
        failed =
            nng_tls_config_server_name(config, tls->server_name != NULL ? tls->server_name : host);
    if (failed != 0) {
        nng_tls_config_free(config);
        return failed;
    }
    *out_config = config;
    return 0;
}

/* ---- addresses ---- */

/* Whether somebody listens at this socket. We ask with a socket of another kind, so that the one
 * who listens hears nothing of it: nng asks by a connection that it closes at once, and that ends
 * nng 1.5.2's listening on ipc for good. */
static int ipc_is_taken(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return 0;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int failed = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
    (void)close(fd);
    return failed == EPROTOTYPE;
}

static merle_err ipc_check(const char *path, int is_listener, merle_report *report) {
    struct sockaddr_un address;
    struct stat found;
    if (path[0] == 0) return mrl_report_fill(report, MERLE_INVALID, "ipc://: no file is named");
    if (strlen(path) >= sizeof address.sun_path)
        return mrl_report_fill(report, MERLE_INVALID,
                               "ipc://%s: the file name is too long for a socket (%zu bytes, at "
                               "most %zu)",
                               path, strlen(path), sizeof address.sun_path - 1);
    /* nng takes whatever does not answer for a socket left behind, and removes it. */
    if (is_listener && lstat(path, &found) == 0 && !S_ISSOCK(found.st_mode))
        return mrl_report_fill(report, MERLE_EXISTS, "ipc://%s: there is a file that is no socket",
                               path);
    if (is_listener && ipc_is_taken(path))
        return mrl_report_fill(report, MERLE_EXISTS, "ipc://%s: the address is in use", path);
    return MERLE_OK;
}

static merle_err address_check(const mrl_socket *socket, const char *url, int is_listener,
                               transport *out_transport, merle_report *report) {
    transport is = TRANSPORT_NONE;
    *out_transport = TRANSPORT_NONE;
    if (strstr(url, "://") == NULL)
        return mrl_report_fill(report, MERLE_INVALID, "\"%s\" is no address", url);
    for (size_t i = 0; i < sizeof transports / sizeof *transports; i++)
        if (strncmp(url, transports[i].scheme, strlen(transports[i].scheme)) == 0)
            is = transports[i].is;
    *out_transport = is;
    if (is == TRANSPORT_NONE)
        return mrl_report_fill(report, MERLE_UNSUPPORTED, "%s: no such transport", url);
    if (is == TRANSPORT_IPC) return ipc_check(url + strlen("ipc://"), is_listener, report);
    if (is == TRANSPORT_TLS || is == TRANSPORT_WSS)
        return tls_check(socket, url, is_listener, report);
    return MERLE_OK;
}

static int is_any_host(const char *host) {
    return host[0] == 0 || strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 ||
           strcmp(host, "::") == 0;
}

/* An address with another port; with `is_dialed`, one that can be dialed from this machine. */
static int url_with_port(const nng_url *parsed, int port, int is_dialed, char *out, size_t max) {
    const char *host = parsed->u_hostname;
    if (is_dialed && is_any_host(host)) host = strcmp(host, "::") == 0 ? "::1" : "127.0.0.1";
    int is_six = strchr(host, ':') != NULL;
    int size = snprintf(out, max, "%s://%s%s%s:%d%s", parsed->u_scheme, is_six ? "[" : "", host,
                        is_six ? "]" : "", port, parsed->u_path == NULL ? "" : parsed->u_path);
    return size >= 0 && (size_t)size < max ? 0 : NNG_EADDRINVAL;
}

static int has_port(transport is) {
    return is >= TRANSPORT_TCP;
}

/* A port that was free a moment ago, or 0. nng would give two listeners on ws with port 0 the same
 * one: it takes them for parts of one server. */
static int free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int port = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return 0;
    if (bind(fd, (struct sockaddr *)&address, size) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0)
        port = ntohs(address.sin_port);
    (void)close(fd);
    return port;
}

/* nng takes what is no number for 0. */
static int port_check(const nng_url *parsed, int is_listener) {
    const char *port = parsed->u_port;
    long number = 0;
    if (port == NULL || port[0] == 0 || strlen(port) > 5) return NNG_EADDRINVAL;
    for (; *port != 0; port++) {
        if (*port < '0' || *port > '9') return NNG_EADDRINVAL;
        number = number * 10 + (*port - '0');
    }
    return number > 65535 || (number == 0 && !is_listener) ? NNG_EADDRINVAL : 0;
}

/* ---- listening ---- */

static int listener_options(const mrl_socket *socket, transport is, const char *host,
                            nng_listener listener) {
    nng_tls_config *config = NULL;
    int failed = 0;
    if (is == TRANSPORT_IPC)
        return nng_listener_set_int(listener, NNG_OPT_IPC_PERMISSIONS,
                                    (int)socket->options.ipc_mode);
    if (is == TRANSPORT_TCP || is == TRANSPORT_TLS)
        failed = nng_listener_set_bool(listener, NNG_OPT_TCP_KEEPALIVE, true);
    if (is == TRANSPORT_WS || is == TRANSPORT_WSS)
        failed = nng_listener_set_size(listener, NNG_OPT_WS_RECVMAXFRAME,
                                       socket->options.receive_max + sizeof(uint32_t));
    if (failed != 0 || (is != TRANSPORT_TLS && is != TRANSPORT_WSS)) return failed;
    failed = tls_config(socket, host, 1, &config);
    if (failed != 0) return failed;
    failed = nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, config);
    nng_tls_config_free(config); /* the listener holds it */
    return failed;
}

/* One try. out_port: where it listens, 0 where there is no port. */
static int listen_at(mrl_socket *socket, transport is, const char *host, const char *url,
                     int *out_port, nng_listener *out_listener) {
    nng_listener listener = NNG_LISTENER_INITIALIZER;
    *out_port = 0;
    *out_listener = listener;
    int failed = nng_listener_create(&listener, socket->nng, url);
    if (failed != 0) return failed;
    failed = listener_options(socket, is, host, listener);
    if (failed == 0) failed = nng_listener_start(listener, 0);
    if (failed == 0 && has_port(is))
        failed = nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, out_port);
    if (failed != 0)
        (void)nng_listener_close(listener);
    else
        *out_listener = listener;
    return failed;
}

/* The others have no need of it: see keep.c. */
static int is_kept(transport is) {
    return is == TRANSPORT_IPC || is == TRANSPORT_TCP;
}

static int listen_kept(mrl_socket *socket, transport is, const char *url, nng_listener listener) {
    int failed = is_kept(is) ? keep_listening(socket, url, listener) : 0;
    if (failed != 0) (void)nng_listener_close(listener);
    return failed;
}

int address_listen_at(mrl_socket *socket, const char *url, nng_listener *out_listener) {
    transport is = strncmp(url, "ipc://", strlen("ipc://")) == 0 ? TRANSPORT_IPC : TRANSPORT_TCP;
    int port;
    return listen_at(socket, is, "", url, &port, out_listener);
}

static int listen_ported(mrl_socket *socket, transport is, const nng_url *parsed, char *out_url,
                         size_t url_size) {
    char url[512];
    nng_listener listener;
    int port = atoi(parsed->u_port), is_chosen = 0, failed = 0, tries = 0;
    do {
        if (port == 0 && (is == TRANSPORT_WS || is == TRANSPORT_WSS)) is_chosen = 1;
        if (is_chosen) port = free_port();
        failed = url_with_port(parsed, port, 0, url, sizeof url);
        if (failed != 0) return failed;
        failed = listen_at(socket, is, parsed->u_hostname, url, &port, &listener);
    } while (failed == NNG_EADDRINUSE && is_chosen && ++tries < PORT_TRIES);
    if (failed == 0) failed = url_with_port(parsed, port, 0, url, sizeof url);
    if (failed == 0) failed = listen_kept(socket, is, url, listener);
    return failed != 0 ? failed : url_with_port(parsed, port, 1, out_url, url_size);
}

merle_err address_listen(mrl_socket *socket, const char *url, char *out_url, size_t url_size,
                         merle_report *report) {
    transport is = TRANSPORT_NONE;
    nng_url *parsed = NULL;
    nng_listener listener;
    int port = 0, failed = 0;
    if (url_size > 0) out_url[0] = 0;
    merle_err err = address_check(socket, url, 1, &is, report);
    if (err != MERLE_OK) return err;
    if (has_port(is)) {
        failed = nng_url_parse(&parsed, url);
        if (failed == 0) failed = port_check(parsed, 1);
        if (failed == 0) failed = listen_ported(socket, is, parsed, out_url, url_size);
        if (parsed != NULL) nng_url_free(parsed);
    } else if (strlen(url) >= url_size) {
        failed = NNG_EADDRINVAL;
    } else {
        failed = listen_at(socket, is, "", url, &port, &listener);
        if (failed == 0) failed = listen_kept(socket, is, url, listener);
        if (failed == 0) memcpy(out_url, url, strlen(url) + 1);
    }
    if (failed == 0) return MERLE_OK;
    if (url_size > 0) out_url[0] = 0;
    return error_report(report, failed, "listen on", url);
}

/* ---- dialing ---- */

static int dialer_options(const mrl_socket *socket, transport is, const char *host,
                          nng_dialer dialer) {
    nng_tls_config *config = NULL;
    int failed = 0;
    if (is == TRANSPORT_TCP || is == TRANSPORT_TLS)
        failed = nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
    if (is == TRANSPORT_WS || is == TRANSPORT_WSS)
        failed = nng_dialer_set_size(dialer, NNG_OPT_WS_RECVMAXFRAME,
                                     socket->options.receive_max + sizeof(uint32_t));
    if (failed != 0 || (is != TRANSPORT_TLS && is != TRANSPORT_WSS)) return failed;
    failed = tls_config(socket, host, 0, &config);
    if (failed != 0) return failed;
    failed = nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config);
    nng_tls_config_free(config);
    return failed;
}

static int dial_at(mrl_socket *socket, transport is, const char *host, const char *url) {
    nng_dialer dialer = NNG_DIALER_INITIALIZER;
    int failed = nng_dialer_create(&dialer, socket->nng, url);
    if (failed != 0) return failed;
    failed = dialer_options(socket, is, host, dialer);
    if (failed == 0) failed = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    if (failed != 0) (void)nng_dialer_close(dialer);
    return failed;
}

merle_err address_dial(mrl_socket *socket, const char *url, merle_report *report) {
    transport is = TRANSPORT_NONE;
    nng_url *parsed = NULL;
    int failed = 0;
    merle_err err = address_check(socket, url, 0, &is, report);
    if (err != MERLE_OK) return err;
    if (has_port(is)) failed = nng_url_parse(&parsed, url);
    if (failed == 0 && parsed != NULL) failed = port_check(parsed, 0);
    if (failed == 0) failed = dial_at(socket, is, parsed == NULL ? "" : parsed->u_hostname, url);
    if (parsed != NULL) nng_url_free(parsed);
    return failed == 0 ? MERLE_OK : error_report(report, failed, "dial", url);
}
