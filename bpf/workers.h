/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Connections that go through a worker. Which sockets are a worker's is told by a mark in the socket, which a program on
 * the cgroup where the agent makes them leaves there and accepted sockets inherit: nobody else can make one, and there is
 * no table to keep. A worker may dial for a connection that it accepted in the same network namespace, to where that one
 * wanted to go, on errands to where up_errands says, and nowhere else.
 */
#ifndef UNDERPASS_BPF_WORKERS_H
#define UNDERPASS_BPF_WORKERS_H

#include "address.h"
#include "conns.h"
#include "kernel.h"
#include "pods.h"

#define UP_MAX_LISTENERS (4 * UP_MAX_PODS)
#define UP_MAX_ERRANDS (16 * UP_MAX_PODS)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_PODS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct up_worker);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_workers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, UP_MAX_LISTENERS);
	__type(key, struct up_listener_key);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct up_worker_sk);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_worker_sk SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct up_heartbeat);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_heartbeat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_ERRANDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_errand_key);
	__type(value, __u8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_errands SEC(".maps");

static __always_inline bool up_is_workers(struct bpf_sock *sk)
{
	return bpf_sk_storage_get(&up_worker_sk, sk, 0, 0);
}

/* A worker's dial that is no errand. */
static __always_inline bool up_carries(struct bpf_sock *sk)
{
	const struct up_sk *me = bpf_sk_storage_get(&up_sk, sk, 0, 0);

	return up_is_workers(sk) && !(me && me->errand);
}

/* May the worker of this pod go there on its own account? */
static __always_inline bool up_is_errand(__u64 netns_cookie, const struct up_addr *addr, __be16 port)
{
	struct up_errand_key key = {.netns_cookie = netns_cookie, .addr = *addr, .port = port};

	return bpf_map_lookup_elem(&up_errands, &key);
}

/* The number of the worker that has this pod's listeners, 0: none. */
static __always_inline __u32 up_worker_number(__u64 netns_cookie)
{
	const struct up_worker *worker = bpf_map_lookup_elem(&up_workers, &netns_cookie);

	return worker ? worker->number : 0;
}

/* Is there somebody at this listener? */
static __always_inline bool up_is_listening(__u64 netns_cookie, enum up_direction direction, bool v6)
{
	struct up_listener_key key = {.netns_cookie = netns_cookie, .direction = direction, .v6 = v6};
	struct bpf_sock *listener = bpf_map_lookup_elem(&up_listeners, &key);

	if (!listener)
		return false;
	bpf_sk_release(listener);
	return true;
}

/* It has a listener of its own, at which nobody calls: it is there until the agent's end, however that comes. */
static __always_inline bool up_agent_is_there(void)
{
	const struct up_heartbeat *heart;
	__u32 only = 0;

	heart = bpf_map_lookup_elem(&up_heartbeat, &only);
	return heart && bpf_ktime_get_ns() - heart->beat_ns < UP_HEARTBEAT_STALE_NS &&
	       up_is_listening(0, UP_OUTBOUND, false);
}

/*
 * Takes one of its dial sockets into account. While the agent is there a worker that has none left gets more. Without the
 * connection's record nobody could tell the worker where it is to go.
 */
static __always_inline bool up_worker_can_carry(struct up_worker *worker)
{
	const struct up_heartbeat *heart;
	__u32 only = 0;

	heart = bpf_map_lookup_elem(&up_heartbeat, &only);
	if (!heart || heart->full)
		return false;
	return __sync_fetch_and_add(&worker->dials, -1) > 0 || up_agent_is_there();
}

/* What a connection that a worker accepted wants, copied: its record may go while it is read. */
struct up_wanted {
	struct up_addr addr;
	__be16 port;
	__u16 tunnel; /* enum up_tunnel */
	enum up_direction direction;
};

/* connect() led it here, or the door handed it over. Who dials a worker's listener itself, at its loopback address, gets to
 * nobody: to be carried where it wanted to go would be to come here again, for ever. */
static __always_inline bool up_is_for_worker(const struct up_conn *conn)
{
	return conn->end[UP_SERVER].worker && (up_is_led(conn) || !up_addr_is_loopback(&conn->end[UP_SERVER].addr));
}

/* Where a connection wanted to go, seen from its server's end. */
static __always_inline void up_wanted_of(const struct up_conn *conn, struct up_wanted *out)
{
	bool led = up_is_led(conn);

	out->addr = led ? conn->original : conn->end[UP_SERVER].addr;
	out->port = led ? conn->original_port : conn->end[UP_SERVER].port;
	out->tunnel = conn->tunnel;
	if (led)
		out->direction = UP_OUTBOUND;
	else
		out->direction = conn->end[UP_SERVER].worker == UP_TUNNELS ? UP_TUNNEL : UP_INBOUND;
}

/* False: this is no connection that a worker has accepted in this network namespace and still has. */
static __always_inline bool up_wanted_find(__u64 id, __u64 netns_cookie, struct up_wanted *out)
{
	const struct up_conn *conn = up_conn_find(id);

	if (!conn || !up_is_for_worker(conn) || conn->end[UP_SERVER].netns_cookie != netns_cookie ||
	    conn->closed & (1u << UP_SERVER))
		return false;
	up_wanted_of(conn, out);
	return up_conn_find(id) == conn;
}

#endif /* UNDERPASS_BPF_WORKERS_H */
