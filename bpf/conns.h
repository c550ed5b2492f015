/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Connection records, what each socket knows of itself, and the sockets that may be redirected to. A record is one per
 * connection, with both ends in it; without one a connection is plain TCP, so a full table costs acceleration and
 * sight, never traffic.
 */
#ifndef UNDERPASS_BPF_CONNS_H
#define UNDERPASS_BPF_CONNS_H

#include "kernel.h"
#include "stats.h"

#define UP_MAX_CONNS 131072

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_CONNS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct up_conn);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_conns SEC(".maps");

/* Keyed by socket cookie: never re-used, and the same address pair in two pods makes two keys. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 2 * UP_MAX_CONNS);
	__type(key, __u64);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct up_sk);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_sk SEC(".maps");

/*
 * Ids of connections that the agent should look at now instead of at its next tick. A hint, lost when nobody takes it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_wake SEC(".maps");

static __always_inline void up_wake_agent(__u64 id)
{
	bpf_ringbuf_output(&up_wake, &id, sizeof(id), 0);
}

static __always_inline struct up_conn *up_conn_find(__u64 id)
{
	return id ? bpf_map_lookup_elem(&up_conns, &id) : NULL;
}

/* A new record, all zeros: too large for a program's stack, so it is filled where it stands. Until its id is told to
 * somebody (the source record, up_sk) only walkers of the map see it. */
static const struct up_conn up_no_conn = {};

static __always_inline struct up_conn *up_conn_add(__u64 id)
{
	if (bpf_map_update_elem(&up_conns, &id, &up_no_conn, BPF_NOEXIST))
		return NULL;
	return bpf_map_lookup_elem(&up_conns, &id);
}

static __always_inline void up_conn_remove(__u64 id)
{
	bpf_map_delete_elem(&up_conns, &id);
}

/* By connect(), from a captured pod to its worker: `original` is where it wanted to go. */
static __always_inline bool up_is_led(const struct up_conn *conn)
{
	return conn->original_port && !conn->carries;
}

/* Not a tunnel, nor a worker's leg of a connection that is told already. */
static __always_inline bool up_is_told(const struct up_conn *conn)
{
	if (conn->end[UP_CLIENT].worker == UP_TUNNELS || conn->end[UP_SERVER].worker == UP_TUNNELS)
		return false;
	return !conn->carries || conn->tunnel;
}

/* Redirected bytes that no recv() has returned yet; 0 or less: none. */
static __always_inline __s64 up_queued(const struct up_dir *dir)
{
	return dir->redirected_bytes - dir->seen - dir->drained_at;
}

/* Ends short-circuiting of this connection for good. What is queued is still read before what comes by TCP; the agent
 * unmaps both sockets once nothing is. */
static __always_inline void up_conn_stop(struct up_conn *conn, enum up_why why)
{
	if (conn->stopped)
		return;
	conn->why = why;
	conn->stopped = 1;
	up_count_fallback(why);
}

/* This connection cannot go on: the application at `end` would hang, or miss bytes or an error. Nothing more is sent, and
 * the agent resets it. */
static __always_inline void up_conn_break(struct up_conn *conn, __u32 end, enum up_why why)
{
	if (conn->broken)
		return;
	conn->broken_end = end & 1;
	conn->broken = why;
	conn->stopped = 1;
	up_count_reset(why);
	up_wake_agent(conn->end[UP_CLIENT].cookie ?: conn->end[UP_SERVER].cookie);
}

#endif /* UNDERPASS_BPF_CONNS_H */
