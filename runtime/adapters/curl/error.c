/* SPDX-License-Identifier: MIT */
/*
 * Codes of libcurl as negative errno. The system's own error wins where libcurl has kept it.
 */
#include "client.h"

#include <errno.h>

static const struct {
    CURLcode code;
    int error;
} table[] = {
    { CURLE_OK, 0 },
    { CURLE_URL_MALFORMAT, -EINVAL },
    { CURLE_BAD_FUNCTION_ARGUMENT, -EINVAL },
    { CURLE_UNSUPPORTED_PROTOCOL, -EPROTONOSUPPORT },
    { CURLE_NOT_BUILT_IN, -EPROTONOSUPPORT },
    { CURLE_COULDNT_RESOLVE_PROXY, -ENXIO },
    { CURLE_COULDNT_RESOLVE_HOST, -ENXIO },
    { CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT },
    { CURLE_GOT_NOTHING, -ECONNRESET },
    { CURLE_PARTIAL_FILE, -ECONNRESET },
    { CURLE_OUT_OF_MEMORY, -ENOMEM },
    { CURLE_TOO_MANY_REDIRECTS, -ELOOP },
    { CURLE_FILESIZE_EXCEEDED, -EMSGSIZE },
    { CURLE_WRITE_ERROR, -EIO },
    { CURLE_ABORTED_BY_CALLBACK, -EIO },
    { CURLE_PEER_FAILED_VERIFICATION, -EKEYREJECTED },
    { CURLE_SSL_CACERT_BADFILE, -EKEYREJECTED },
    { CURLE_SSL_CERTPROBLEM, -EKEYREJECTED },
    { CURLE_SSL_CONNECT_ERROR, -EPROTO },
    { CURLE_WEIRD_SERVER_REPLY, -EPROTO },
    { CURLE_HTTP2, -EPROTO },
    { CURLE_HTTP2_STREAM, -EPROTO },
    { CURLE_BAD_CONTENT_ENCODING, -EPROTO },
};

/* The system's error, unless it only says that something was not ready yet. */
static int system_error(CURL *easy, int otherwise)
{
    long number = 0;

    if (curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number) || number <= 0 || number > 4095 ||
        number == EINPROGRESS || number == EAGAIN || number == ECANCELED)
        return otherwise;
    return -(int)number;
}

int transfer_error(CURL *easy, CURLcode code)
{
    if (code == CURLE_COULDNT_CONNECT)
        return system_error(easy, -ECONNREFUSED);
    if (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR)
        return system_error(easy, -ECONNRESET);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].code == code)
            return table[i].error;
    return -EIO;
}
