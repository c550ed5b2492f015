/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Connections as operators count them: an event when one begins and when it ends, and sums per pair of pods and Service.
 * An event that finds no room is lost; a sum is not: what finds no row goes to the row of zeros.
 */
#ifndef UNDERPASS_BPF_FLOWS_H
#define UNDERPASS_BPF_FLOWS_H

#include "conns.h"
#include "kernel.h"
#include "stats.h"

#define UP_MAX_TRAFFIC 16384

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_TRAFFIC);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_traffic_key);
	__type(value, struct up_traffic);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_flows SEC(".maps");

static const struct up_traffic up_no_traffic = {};

/* Null: it is a worker's leg of a connection that is counted already. */
static __always_inline struct up_traffic *up_traffic_of(const struct up_conn *conn)
{
	struct up_traffic_key key = {
		.client_netns = conn->carries ? conn->original_netns : conn->end[UP_CLIENT].netns_cookie,
		.server_netns = up_is_led(conn) ? conn->original_netns : conn->end[UP_SERVER].netns_cookie,
		.service = conn->service,
		.workload = conn->workload,
		.tunnel = conn->tunnel,
	};
	struct up_traffic *traffic;

	if (!up_is_told(conn))
		return NULL;
	traffic = bpf_map_lookup_elem(&up_traffic, &key);
	if (traffic)
		return traffic;
	bpf_map_update_elem(&up_traffic, &key, &up_no_traffic, BPF_NOEXIST);
	traffic = bpf_map_lookup_elem(&up_traffic, &key);
	if (traffic)
		return traffic;
	__builtin_memset(&key, 0, sizeof(key));
	return bpf_map_lookup_elem(&up_traffic, &key);
}

/* Adds what this direction has carried since it was last added. The sweep and a closing socket may both come: each takes
 * what it saw off what the other had seen, so that the sum is right whoever is last. */
__noinline int up_traffic_add(struct up_conn *conn, __u32 end)
{
	struct up_traffic *traffic;
	__u64 total, before;
	struct up_dir *dir;

	if (!conn)
		return 0;
	dir = &conn->dir[end & 1];
	total = dir->tcp_bytes + dir->redirected_bytes;
	if (total == dir->counted)
		return 0;
	traffic = up_traffic_of(conn);
	if (!traffic)
		return 0;
	before = __sync_lock_test_and_set(&dir->counted, total);
	__sync_fetch_and_add((end & 1) == UP_CLIENT ? &traffic->sent : &traffic->received, total - before);
	return 0;
}

static __always_inline void up_flow_tell(const struct up_conn *conn, __u64 id, enum up_flow_event event)
{
	struct up_flow *flow = bpf_ringbuf_reserve(&up_flows, sizeof(*flow), 0);
	bool led = up_is_led(conn);

	if (!flow) {
		up_count_lost_flow();
		return;
	}
	flow->time_ns = bpf_ktime_get_ns();
	flow->started_ns = conn->started_ns;
	flow->tunnel = conn->tunnel;
	flow->pad = 0;
	flow->policy = 0;
	flow->clause = 0;
	flow->id = id;
	flow->event = event;
	flow->way = conn->way;
	flow->service = conn->service;
	flow->protocol = IPPROTO_TCP;
	flow->end = 0;
	flow->dialled_port = conn->dialled_port;
	flow->dialled = conn->dialled;
	flow->client_netns = conn->carries ? conn->original_netns : conn->end[UP_CLIENT].netns_cookie;
	flow->server_netns = led ? conn->original_netns : conn->end[UP_SERVER].netns_cookie;
	flow->client = conn->carries ? conn->original : conn->end[UP_CLIENT].addr;
	flow->server = led ? conn->original : conn->end[UP_SERVER].addr;
	flow->client_port = conn->carries ? conn->original_port : conn->end[UP_CLIENT].port;
	flow->server_port = led ? conn->original_port : conn->end[UP_SERVER].port;
	flow->why = conn->why;
	flow->sent = conn->dir[UP_CLIENT].tcp_bytes + conn->dir[UP_CLIENT].redirected_bytes;
	flow->received = conn->dir[UP_SERVER].tcp_bytes + conn->dir[UP_SERVER].redirected_bytes;
	/* The agent looks once a second. */
	bpf_ringbuf_submit(flow, BPF_RB_NO_WAKEUP);
}

/*
 * Mapping two sockets costs as much as some messages gain, and the first ones go by TCP in any case. So a pair that was
 * learned and whose last connections were all over after a message or two is left on TCP, all but one in so many, until
 * a connection carries more.
 */
#define UP_BRIEF_SEGMENTS 2
#define UP_BRIEF_ENOUGH 64
#define UP_BRIEF_PROBE 16

__noinline int up_brief_note(const struct up_conn *conn, __u32 segments_in, __u32 segments_out)
{
	struct up_traffic *traffic = conn ? up_traffic_of(conn) : NULL;

	if (!traffic)
		return 0;
	if (segments_in > UP_BRIEF_SEGMENTS || segments_out > UP_BRIEF_SEGMENTS ||
	    conn->dir[UP_CLIENT].redirected_bytes || conn->dir[UP_SERVER].redirected_bytes)
		traffic->brief = 0;
	else
		traffic->brief++;
	return 0;
}

static __always_inline bool up_brief_expected(const struct up_conn *conn)
{
	const struct up_traffic *traffic = up_traffic_of(conn);

	return traffic && traffic->brief >= UP_BRIEF_ENOUGH && traffic->opened % UP_BRIEF_PROBE;
}

/* Both sides have said which way it goes. */
__noinline int up_opened(const struct up_conn *conn, __u64 id, enum up_way way)
{
	struct up_traffic *traffic;

	if (!conn || !up_is_told(conn))
		return 0;
	traffic = up_traffic_of(conn);
	up_count_connection(way);
	if (traffic)
		__sync_fetch_and_add(&traffic->opened, 1);
	up_flow_tell(conn, id, UP_FLOW_OPENED);
	return 0;
}

__noinline int up_closed(const struct up_conn *conn, __u64 id)
{
	struct up_traffic *traffic;

	if (!conn || !conn->established_ns || !up_is_told(conn))
		return 0;
	traffic = up_traffic_of(conn);
	if (traffic)
		__sync_fetch_and_add(&traffic->closed, 1);
	up_flow_tell(conn, id, UP_FLOW_CLOSED);
	return 0;
}

#endif /* UNDERPASS_BPF_FLOWS_H */
