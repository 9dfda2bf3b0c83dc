/* The floor: what four hops over plain Unix sockets take, with nothing done at either end.
 *
 *     floor SECONDS CALL_SIZE RESULT_SIZE
 *
 * A client sends a frame of CALL_SIZE bytes to a forwarder, which passes it to a server; the server's frame of RESULT_SIZE
 * bytes goes the same way back. One line of JSON tells how many round trips there were and what they took, in
 * microseconds. The processes are forks and end with the client, whose end closes their sockets. floor.py is the same.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 4, LARGEST = 65540, WARM_UP = 200 };

static void fail(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void write_all(int descriptor, const unsigned char *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(descriptor, data, size);
        if (written < 0) {
            if (errno == EINTR) continue;
            fail("write");
        }
        data += written;
        size -= (size_t)written;
    }
}

/* The size of one frame, header included; 0 at the end of the stream. Nobody sends a second frame before the answer. */
static size_t read_frame(int descriptor, unsigned char *frame) {
    size_t have = 0, size = HEADER;
    while (have < size) {
        ssize_t got = read(descriptor, frame + have, LARGEST - have);
        if (got == 0 || (got < 0 && errno == ECONNRESET)) return 0;
        if (got < 0) {
            if (errno == EINTR) continue;
            fail("read");
        }
        have += (size_t)got;
        if (have >= HEADER)
            size = HEADER + ((size_t)frame[0] << 24 | (size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3]);
        if (size > LARGEST) {
            errno = EMSGSIZE;
            fail("frame");
        }
    }
    return size;
}

static void make_frame(unsigned char *frame, size_t size) {
    size_t body = size - HEADER;
    frame[0] = (unsigned char)(body >> 24);
    frame[1] = (unsigned char)(body >> 16);
    frame[2] = (unsigned char)(body >> 8);
    frame[3] = (unsigned char)body;
    memset(frame + HEADER, 'x', body);
}

static void serve(int client, size_t result_size) {
    static unsigned char call[LARGEST], result[LARGEST];
    make_frame(result, result_size);
    while (read_frame(client, call) > 0) write_all(client, result, result_size);
}

static void forward(int left, int right) {
    static unsigned char frame[LARGEST];
    struct pollfd both[2] = {{.fd = left, .events = POLLIN}, {.fd = right, .events = POLLIN}};
    for (;;) {
        if (poll(both, 2, -1) < 0) {
            if (errno == EINTR) continue;
            fail("poll");
        }
        for (int side = 0; side < 2; side++) {
            if (!both[side].revents) continue;
            size_t size = read_frame(both[side].fd, frame);
            if (size == 0) return;
            write_all(both[1 - side].fd, frame, size);
        }
    }
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void play(int server, double seconds, size_t call_size, size_t result_size) {
    static unsigned char call[LARGEST], result[LARGEST];
    size_t count = 0, room = 1 << 16;
    uint64_t *samples = malloc(room * sizeof *samples);
    if (!samples) fail("malloc");
    make_frame(call, call_size);
    for (int i = 0; i < WARM_UP; i++) {
        write_all(server, call, call_size);
        if (read_frame(server, result) != result_size) fail("warm-up");
    }
    uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9);
    while (start < end) {
        write_all(server, call, call_size);
        if (read_frame(server, result) != result_size) fail("round trip");
        uint64_t done = now_ns();
        if (count == room) {
            samples = realloc(samples, (room *= 2) * sizeof *samples);
            if (!samples) fail("realloc");
        }
        samples[count++] = done - start;
        start = now_ns();
    }
    if (count == 0) {
        fprintf(stderr, "floor: no time to measure anything\n");
        exit(1);
    }
    qsort(samples, count, sizeof *samples, ascending);
    printf("{\"count\": %zu, \"p50\": %.3f, \"p99\": %.3f}\n", count, (double)samples[count / 2] / 1e3,
           (double)samples[count * 99 / 100] / 1e3);
    free(samples);
}

int main(int argc, char **argv) {
    int left[2], right[2];
    if (argc != 4) {
        fprintf(stderr, "usage: floor SECONDS CALL_SIZE RESULT_SIZE\n");
        return 2;
    }
    double seconds = atof(argv[1]);
    size_t call_size = strtoul(argv[2], NULL, 10), result_size = strtoul(argv[3], NULL, 10);
    if (call_size < HEADER || call_size > LARGEST || result_size < HEADER || result_size > LARGEST) {
        fprintf(stderr, "floor: a frame has %d to %d bytes\n", HEADER, LARGEST);
        return 2;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, left) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, right) < 0)
        fail("socketpair");

    pid_t server = fork();
    if (server < 0) fail("fork");
    if (server == 0) {
        close(left[0]), close(left[1]), close(right[0]);
        serve(right[1], result_size);
        return 0;
    }
    pid_t forwarder = fork();
    if (forwarder < 0) fail("fork");
    if (forwarder == 0) {
        close(left[0]), close(right[1]);
        forward(left[1], right[0]);
        return 0;
    }
    close(left[1]), close(right[0]), close(right[1]);
    play(left[0], seconds, call_size, result_size);
    close(left[0]);
    int failed = 0, status;
    while (wait(&status) > 0) failed |= status;
    return failed ? 1 : 0;
}
