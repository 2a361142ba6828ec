// dnsgen asks a DNS server for AAAA records as fast as one core can, and checks the answers: the generator of `make bench-dns`.
//
//   dnsgen -s ADDRESS -p PORT -q FILE [-1] [-e] [-c SOCKETS] [-n OUTSTANDING] [-w SECONDS] [-t SECONDS] [-r RATE]
//
// FILE has a name a line; one that begins with nxc does not exist. -1 asks for the first name alone; -e takes any answer, as of
// an echo. Without -r the loop is closed: every socket has OUTSTANDING queries under way. With -r it is open: queries are due at
// random times, RATE a second in the mean, and latency counts from when a query was due, whenever it was sent.
// It prints one line of JSON about the time after the warm-up.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, QUERY = 96, ANSWER = 2048, SLOTS = 256, HEADER = 12, OPT = 11, RECORDS = 4 };
static const uint64_t second = 1000000000, patience = 400000000; // ns; what is later is lost

struct query { // as on the wire, with an OPT record
	uint8_t wire[QUERY];
	uint16_t size;
	bool missing;
};

struct slot { // one of the queries that a socket has under way; its index is the low octet of the id
	uint64_t since;
	const struct query *query;
	uint16_t id;
	bool busy;
};

struct sock {
	int fd, idle; // idle slots are free[0] .. free[idle-1]
	uint8_t turn; // the high octet of the next id
	struct slot slots[SLOTS];
	uint16_t free[SLOTS];
};

static struct query *queries;
static size_t query_count;
static struct sock *socks;
static int sock_count = 8, slot_count = 32;
static bool echo;
static uint64_t sent, received, lost, wrong;

static uint64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * second + t.tv_nsec;
}

static uint64_t random64(void) { // xorshift
	static uint64_t x = 88172645463325252;
	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x;
}

// Latencies are counted in 64 buckets for each power of two: 1.6 % is the error.
static uint64_t histogram[64 * 64];

static void record(uint64_t ns) {
	int shift = ns < 128 ? 0 : 57 - __builtin_clzll(ns);
	histogram[shift * 64 + (ns >> shift)]++;
}

static double percentile(double share) { // in microseconds
	uint64_t below = 0, want = ceil(received * share);
	for (int i = 0; i < 64 * 64; i++)
		if ((below += histogram[i]) >= want) {
			int shift = i < 128 ? 0 : i / 64 - 1;
			return ldexp(i - shift * 64, shift) / 1000;
		}
	return 0;
}

static void die(const char *what) {
	perror(what);
	exit(1);
}

static void pack(struct query *q, const char *name) {
	uint8_t *p = q->wire + HEADER;
	q->missing = !strncmp(name, "nxc", 3);
	q->wire[5] = q->wire[11] = 1; // one question, one additional record
	while (*name) {
		size_t n = strcspn(name, ".");
		if (p + 1 + n + 5 + OPT > q->wire + QUERY) {
			fprintf(stderr, "%s is too long\n", name);
			exit(1);
		}
		*p++ = n;
		p = (uint8_t *)memcpy(p, name, n) + n;
		name += n + (name[n] == '.');
	}
	static const uint8_t rest[] = {0, 0, 28, 0, 1, /* OPT: */ 0, 0, 41, 1232 >> 8, 1232 & 255, 0, 0, 0, 0, 0, 0};
	q->size = (uint8_t *)memcpy(p, rest, sizeof rest) + sizeof rest - q->wire;
}

static void read_names(const char *path, bool first) {
	FILE *f = fopen(path, "r");
	if (!f)
		die(path);
	char name[256];
	while (fscanf(f, "%255s", name) == 1 && !(first && query_count)) {
		queries = realloc(queries, (query_count + 1) * sizeof *queries);
		memset(&queries[query_count], 0, sizeof *queries);
		pack(&queries[query_count++], name);
	}
	fclose(f);
	if (!query_count) {
		fprintf(stderr, "%s: no names\n", path);
		exit(1);
	}
}

static void open_sockets(const char *address, int port) {
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	if (inet_pton(AF_INET6, address, &to.sin6_addr) != 1)
		die(address);
	socks = calloc(sock_count, sizeof *socks);
	for (struct sock *s = socks; s < socks + sock_count; s++) {
		int room = 4 << 20;
		s->fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
		if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&to, sizeof to))
			die("connect");
		while (s->idle < slot_count) {
			s->free[s->idle] = s->idle;
			s->idle++;
		}
	}
}

// send_queries sends n queries that were due at a time; the socket has as many idle slots.
static void send_queries(struct sock *s, int n, uint64_t due) {
	uint8_t wire[BATCH][QUERY];
	struct iovec vectors[BATCH];
	struct mmsghdr messages[BATCH] = {0};
	for (int i = 0; i < n; i++) {
		int k = s->free[--s->idle];
		struct slot *slot = &s->slots[k];
		const struct query *q = &queries[random64() % query_count];
		*slot = (struct slot){.since = due, .query = q, .id = s->turn++ << 8 | k, .busy = true};
		memcpy(wire[i], q->wire, q->size);
		wire[i][0] = slot->id >> 8, wire[i][1] = slot->id;
		vectors[i] = (struct iovec){wire[i], q->size};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	sent += n; // what the kernel does not take is lost, and found to be
	for (int done = 0, more; done < n; done += more)
		if ((more = sendmmsg(s->fd, messages + done, n - done, 0)) <= 0)
			return;
}

// is_right tells that an answer has the question and the records of its query.
static bool is_right(const struct query *q, const uint8_t *answer, int size) {
	if (echo)
		return true;
	int question = q->size - OPT;
	return size >= question && (answer[3] & 15) == (q->missing ? 3 : 0) && (answer[6] << 8 | answer[7]) == (q->missing ? 0 : RECORDS) &&
	       !memcmp(answer + HEADER, q->wire + HEADER, question - HEADER);
}

static void receive_answers(struct sock *s) {
	static uint8_t answers[BATCH][ANSWER];
	struct iovec vectors[BATCH];
	struct mmsghdr messages[BATCH] = {0};
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){answers[i], ANSWER};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	int n = recvmmsg(s->fd, messages, BATCH, MSG_DONTWAIT, 0);
	uint64_t t = now();
	for (int i = 0; i < n; i++) {
		const uint8_t *a = answers[i];
		int k = a[1];
		struct slot *slot = &s->slots[k];
		if (messages[i].msg_len < HEADER || k >= slot_count || !slot->busy || slot->id != (a[0] << 8 | a[1]) || !(a[2] & 0x80)) {
			wrong++;
			continue;
		}
		wrong += !is_right(slot->query, a, messages[i].msg_len);
		received++;
		record(t > slot->since ? t - slot->since : 0);
		slot->busy = false;
		s->free[s->idle++] = k;
	}
}

static void give_up(uint64_t t) {
	for (struct sock *s = socks; s < socks + sock_count; s++)
		for (int k = 0; k < slot_count; k++)
			if (s->slots[k].busy && t > s->slots[k].since + patience) {
				s->slots[k].busy = false;
				s->free[s->idle++] = k;
				lost++;
			}
}

// send_due sends what is due until t, and returns when the next one is. What finds no idle slot is lost.
static uint64_t send_due(uint64_t next, uint64_t t, double rate) {
	static int turn;
	while (next <= t) {
		struct sock *s = &socks[turn++ % sock_count];
		if (s->idle)
			send_queries(s, 1, next);
		else
			lost++;
		next += -log(((random64() >> 11) + 1) * 0x1p-53) * second / rate;
	}
	return next;
}

int main(int argc, char **argv) {
	const char *address = "::1", *path = NULL;
	int port = 53, option;
	bool first = false;
	double rate = 0, warm = 1, seconds = 10;
	while ((option = getopt(argc, argv, "s:p:q:c:n:w:t:r:1e")) != -1)
		switch (option) {
		case 's': address = optarg; break;
		case 'p': port = atoi(optarg); break;
		case 'q': path = optarg; break;
		case 'c': sock_count = atoi(optarg); break;
		case 'n': slot_count = atoi(optarg); break;
		case 'w': warm = atof(optarg); break;
		case 't': seconds = atof(optarg); break;
		case 'r': rate = atof(optarg); break;
		case '1': first = true; break;
		case 'e': echo = true; break;
		default: return 2;
		}
	if (!path || sock_count < 1 || slot_count < 1 || slot_count > SLOTS) {
		fprintf(stderr, "usage: see the source\n");
		return 2;
	}
	read_names(path, first);
	open_sockets(address, port);
	uint64_t t = now(), begin = t + warm * second, end = begin + seconds * second, look = t, next = t;
	bool measuring = false;
	while (t < end) {
		if (!measuring && t >= begin) {
			measuring = true;
			begin = t;
			sent = received = lost = wrong = 0;
			memset(histogram, 0, sizeof histogram);
		}
		if (rate > 0)
			next = send_due(next, t, rate);
		for (struct sock *s = socks; s < socks + sock_count; s++) {
			if (s->idle < slot_count)
				receive_answers(s);
			if (rate == 0 && s->idle)
				send_queries(s, s->idle < BATCH ? s->idle : BATCH, now());
		}
		t = now();
		if (t > look) {
			give_up(t);
			look = t + second / 20;
		}
	}
	printf("{\"seconds\": %.3f, \"sent\": %lu, \"received\": %lu, \"lost\": %lu, \"wrong\": %lu, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", (t - begin) / 1e9,
	       sent, received, lost, wrong, percentile(.5), percentile(.99));
	return 0;
}
