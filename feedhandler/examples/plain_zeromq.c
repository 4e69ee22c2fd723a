/* A strategy in C: a ZeroMQ SUB socket and 32 bytes of header. One subject, in step.
 *
 *   cc -O2 -o plain_zeromq plain_zeromq.c -lzmq
 *   ./plain_zeromq ipc:///run/user/1000/feedhandler/linear.pub linear.orderbook.50.BTCUSDT [SECONDS]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

enum { HEADER = 32, SNAPSHOT = 1, DELTA, UPDATE, STATUS, IMAGE = 1, REPEATED = 2 };
static const char *const KINDS[] = {"", "snapshot", "delta", "update", "status"};

/* The header follows a subject of any length: it is not aligned, so it is read byte by byte, on any machine. */
static uint64_t little_endian(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    while (bytes--) value = value << 8 | at[bytes];
    return value;
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: %s ADDRESS SUBJECT [SECONDS]\n", argv[0]), 2;
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_SUB);
    const size_t filter = strlen(argv[2]) + 1; /* with the zero byte: this subject and no longer one */
    const int everything = 0, patience_ms = 100;
    zmq_setsockopt(socket, ZMQ_SNDHWM, &everything, sizeof everything); /* or subscriptions beyond 1,000 vanish */
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
    zmq_setsockopt(socket, ZMQ_SUBSCRIBE, argv[2], filter);
    if (zmq_connect(socket, argv[1])) return fprintf(stderr, "%s: %s\n", argv[1], zmq_strerror(zmq_errno())), 1;

    const time_t end = argc > 3 ? time(NULL) + atoi(argv[3]) : 0;
    uint64_t last_epoch = 0, last = 0;
    int in_step = 0;
    while (!end || time(NULL) < end) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        if (zmq_msg_recv(&message, socket, 0) >= (int)(filter + HEADER)) {
            const unsigned char *header = (const unsigned char *)zmq_msg_data(&message) + filter;
            const int size = (int)(zmq_msg_size(&message) - filter - HEADER);
            const int kind = header[1], flags = header[2];
            const uint64_t epoch = little_endian(header + 4, 4), sequence = little_endian(header + 8, 8);
            if (epoch > last_epoch) last_epoch = epoch, last = 0, in_step = 0;
            if (epoch == last_epoch && kind <= STATUS) { /* a lower epoch is an assignment that is over */
                /* What is composed for newcomers or sent again carries the last number. */
                const uint64_t expected = last + !(flags & (IMAGE | REPEATED));
                if (last && sequence > expected) {
                    printf("lost %" PRIu64 " records\n", sequence - expected);
                    in_step = 0;
                    if (kind != SNAPSHOT) { /* subscribed again, it answers with status and image */
                        zmq_setsockopt(socket, ZMQ_UNSUBSCRIBE, argv[2], filter);
                        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, argv[2], filter);
                    }
                }
                if (sequence > last) last = sequence;
                if (kind == STATUS) {
                    printf("status %" PRIu64 " %" PRIu64 " %.*s\n", epoch, sequence, size, header + HEADER);
                } else if ((kind == SNAPSHOT && !(flags & IMAGE && in_step)) || (kind == DELTA && in_step) ||
                           (kind == UPDATE && !(flags & REPEATED))) {
                    in_step = 1;
                    printf("%s %" PRIu64 " %" PRIu64 " %d bytes\n", KINDS[kind], epoch, sequence, size);
                }
                fflush(stdout);
            }
        }
        zmq_msg_close(&message);
    }
    zmq_close(socket);
    zmq_ctx_term(context);
    return 0;
}
