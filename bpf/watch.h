/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Watching sockets from outside their own calls: recv() as it returns, and the sweep over all of them. */
#ifndef UNDERPASS_BPF_WATCH_H
#define UNDERPASS_BPF_WATCH_H

#include "budget.h"
#include "conns.h"
#include "establish.h"
#include "habits.h"
#include "kernel.h"
#include "socket.h"

/* Urgent data: read as such, or waiting to be. Either end's business, since a redirected message cannot carry it. */
static __always_inline bool up_is_urgent(struct sock *sk, int flags)
{
	return flags & MSG_OOB || up_read(up_typed_tcp(sk), urg_data);
}

/* How this read was asked for. */
static __always_inline void up_judge_read(struct up_conn *conn, __u32 end, struct sock *sk, int flags)
{
	if (up_is_urgent(sk, flags)) {
		up_note_stop(conn, end, UP_WHY_URGENT);
		up_note_stop(conn, !end, UP_WHY_URGENT);
	}
	if (flags & MSG_TRUNC)
		up_note_stop(conn, end, UP_WHY_TRUNC);
	if (flags & MSG_DONTWAIT)
		return;
	if (flags & MSG_WAITALL)
		up_note_stop(conn, end, UP_WHY_WAITALL);
	/* The connection goes on: `on` puts up with it, and `auto` stops the whole workload. */
	up_note_trait(conn, end, UP_WHY_BLOCKING);
}

/* A recv() of any kind returned `result` on a socket. Runs for every socket of the machine, so what is not ours leaves
 * at the first line: it has no storage at all. */
static __always_inline void up_on_recv(struct sock *sk, int result, int flags)
{
	struct up_conn *conn;
	struct up_dir *dir;
	struct up_sk *me;
	__u32 end;

	if (!sk->sk_bpf_storage || flags & MSG_ERRQUEUE)
		return;
	me = bpf_sk_storage_get(&up_sk, sk, 0, 0);
	if (!me)
		return;
	conn = up_conn_find(me->conn);
	if (!conn)
		return;
	end = me->end & 1;
	dir = &conn->dir[!end];
	/* Before the bytes are counted: who sees the bytes must see this. */
	if (up_conn_is_watched(conn))
		up_judge_read(conn, end, sk, flags);
	if (result <= 0 || flags & (MSG_PEEK | MSG_OOB))
		return;
	__sync_fetch_and_add(&dir->seen, result);
	if (conn->why == UP_WHY_LEARNING)
		up_learn_read(conn, end, !dir->reads);
	if (dir->reads < UP_FIRST_READS)
		dir->reads++;
}

/* Brings the record up to date as to one end, if its socket lives, and takes the tokens of a drained queue back. Of a stopped
 * connection it also says here, by a charge of zero, that the queue towards this end is drained, and by `mapped` when the
 * agent has unmapped the socket. */
static __always_inline void up_sweep_end(struct up_conn *conn, __u64 id, __u32 end)
{
	struct up_dir *towards = &conn->dir[!end];
	struct up_end *me = &conn->end[end];
	struct sock *sk = up_sock_at(me->sock);
	__u64 cookie = me->cookie;
	struct sk_psock *psock;
	struct up_bytes bytes;
	bool drained;

	if (!cookie || !up_sock_is(sk, cookie))
		return;
	up_then();
	bytes = up_bytes_of((struct tcp_sock *)sk, end, up_read(up_typed_sock(sk), __sk_common.skc_state), false);
	psock = up_psock_of(sk);
	drained = !psock || up_psock_is_drained(psock);
	up_then();
	if (!up_sock_is(sk, cookie) || conn->closed & (1u << end))
		return;
	up_note_bytes(conn, end, &bytes);
	/* Said again for as long as it is true: the first time nobody may have listened. */
	if (conn->broken && conn->broken_end == end)
		up_wake_agent(id);
	if (!me->mapped)
		return;
	if (!drained) {
		/* It has had a second, and never looks there. */
		if (towards->traits & UP_TRAIT(UP_WHY_SPLICE))
			up_conn_break(conn, end, UP_WHY_SPLICE);
		return;
	}
	up_tokens_release(towards, me->netns_cookie);
	if (!conn->stopped)
		return;
	towards->charge = 0;
	towards->messages = 0;
	if (!psock)
		me->mapped = 0;
	if (conn->end[UP_CLIENT].mapped || conn->end[UP_SERVER].mapped)
		return;
	conn->paired = 0;
	if (conn->way == UP_WAY_SHORT_CIRCUIT)
		conn->way = UP_WAY_DIRECT;
}

static long up_sweep_connection(struct bpf_map *map, __u64 *id, struct up_conn *conn, void *unused)
{
	up_sweep_end(conn, *id, UP_CLIENT);
	up_sweep_end(conn, *id, UP_SERVER);
	return 0;
}

/* Where one of its ends is `netns`; 0: in any case. */
static long up_stop_connection(struct bpf_map *map, __u64 *id, struct up_conn *conn, __u64 *netns)
{
	if (!*netns || conn->end[UP_CLIENT].netns_cookie == *netns || conn->end[UP_SERVER].netns_cookie == *netns)
		up_conn_stop(conn, UP_WHY_STOPPED);
	return 0;
}

#endif /* UNDERPASS_BPF_WATCH_H */
