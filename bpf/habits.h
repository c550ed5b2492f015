/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What pods are seen to do with their sockets, as far as a short circuit cannot carry it. In mode `auto` a pod is watched
 * before anything is short-circuited for it, and goes on being watched: the agent turns what stands here into on or off
 * for the pod's workload.
 */
#ifndef UNDERPASS_BPF_HABITS_H
#define UNDERPASS_BPF_HABITS_H

#include "config.h"
#include "conns.h"
#include "kernel.h"
#include "pods.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_PODS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct up_habits);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_habits SEC(".maps");

/* Is the behaviour of this connection's ends of any interest? */
static __always_inline bool up_conn_is_watched(const struct up_conn *conn)
{
	return conn->paired || conn->why == UP_WHY_LEARNING;
}

/* Of a connection that began before every recv() was seen, what was not seen means nothing. */
static __always_inline bool up_conn_is_seen_whole(const struct up_conn *conn)
{
	const struct up_config *config = up_config_get();

	return config && config->watched_ns && conn->started_ns >= config->watched_ns;
}

/* The socket at `end` did what `why` names. */
static __always_inline void up_note_trait(struct up_conn *conn, __u32 end, enum up_why why)
{
	struct up_dir *dir = &conn->dir[!end];
	struct up_habits *habits;

	/* A worker knows what it may do; and its sockets stand in a pod's netns. */
	if (conn->end[end & 1].worker || dir->traits & UP_TRAIT(why))
		return;
	__sync_fetch_and_or(&dir->traits, UP_TRAIT(why));
	habits = bpf_map_lookup_elem(&up_habits, &conn->end[end & 1].netns_cookie);
	if (habits)
		__sync_fetch_and_or(&habits->traits, UP_TRAIT(why));
}

/* The same for what ends the short circuit of this connection, whatever its mode. */
static __always_inline void up_note_stop(struct up_conn *conn, __u32 end, enum up_why why)
{
	up_note_trait(conn, end, why);
	if (conn->paired)
		up_conn_stop(conn, why);
}

/* Nobody said `on` for one end of it: mode auto decided. */
static __always_inline bool up_is_learned(const struct up_conn *conn)
{
	const struct up_pod *client = up_pod_find(conn->end[UP_CLIENT].netns_cookie);
	const struct up_pod *server = up_pod_find(conn->end[UP_SERVER].netns_cookie);

	return (client && client->learned) || (server && server->learned);
}

/* Payload was read at `end` of a connection that is learned from. */
static __always_inline void up_learn_read(const struct up_conn *conn, __u32 end, bool first_of_connection)
{
	struct up_habits *habits = bpf_map_lookup_elem(&up_habits, &conn->end[end & 1].netns_cookie);

	if (!habits || conn->end[end & 1].worker)
		return;
	if (!habits->first_read_ns)
		habits->first_read_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&habits->reads, 1);
	if (first_of_connection)
		__sync_fetch_and_add(&habits->connections, 1);
}

#endif /* UNDERPASS_BPF_HABITS_H */
