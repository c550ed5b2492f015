/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Which way a message of a mapped connection goes: into the peer's queue, or by TCP. Decided anew for every message,
 * under the sender's socket lock. By TCP is always right; the peer's queue is right only while nothing can tell the
 * difference, so each doubt is an enum up_why and sends the message by TCP.
 *
 * Order of bytes. A reader takes redirected data before TCP data. So a message may be redirected only when the reader
 * has taken every TCP byte before it (peer.copied_seq == our write_seq), and after a message by TCP the redirected ones
 * before it are still read first. Entering UP_DIR_REDIRECT needs more: see up_entry_why().
 */
#ifndef UNDERPASS_BPF_SHORT_CIRCUIT_H
#define UNDERPASS_BPF_SHORT_CIRCUIT_H

#include "budget.h"
#include "config.h"
#include "conns.h"
#include "habits.h"
#include "kernel.h"
#include "reader.h"
#include "socket.h"
#include "stats.h"
#include "writer.h"

#define UP_STATES_SENDING ((1u << UP_TCP_ESTABLISHED) | (1u << UP_TCP_CLOSE_WAIT))
#define UP_STATES_READING (UP_STATES_SENDING | (1u << UP_TCP_FIN_WAIT1) | (1u << UP_TCP_FIN_WAIT2))

/* A message on its way, with the two sockets and the record it belongs to. */
struct up_message {
	const struct up_config *config;
	struct up_conn *conn;
	struct tcp_sock *own; /* typed pointer: its members are read directly */
	struct sock *peer;    /* a number: see up_read() */
	__u64 peer_cookie;
	__u64 peer_netns;
	struct up_dir *dir;
	__u32 end; /* the sender's */
	__u32 size;
};

/* What must hold for every message. */
static __always_inline enum up_why up_message_why(const struct up_message *m)
{
	struct sock *own = (struct sock *)m->own, *peer = up_typed_sock(m->peer);
	enum up_why why;

	if (!((1u << own->__sk_common.skc_state) & UP_STATES_SENDING))
		return UP_WHY_CLOSING;
	if (!up_sock_is(m->peer, m->peer_cookie))
		return UP_WHY_CLOSING;
	up_then();
	if (!((1u << (up_read(peer, __sk_common.skc_state) & 31)) & UP_STATES_READING) ||
	    up_read(peer, __sk_common.skc_flags) & UP_SOCK_FLAG(SOCK_DEAD))
		return UP_WHY_CLOSING;
	if (up_read(up_typed_tcp(m->peer), copied_seq) != m->own->write_seq)
		return UP_WHY_UNREAD;
	/* An option that was set after the connection was made: its owner's workload stays on TCP, where that is learned. */
	why = up_sender_why(own);
	if (why) {
		up_note_trait(m->conn, m->end, why);
		return why;
	}
	why = up_receiver_why(m->peer);
	if (why)
		up_note_trait(m->conn, !m->end, why);
	return why;
}

/*
 * What must hold besides before a direction goes from UP_DIR_TCP to UP_DIR_REDIRECT. From then on no reader can be
 * inside tcp_recvmsg(), because only TCP data leads there.
 *
 * `seen` closes the window between a reader's last byte and its way out of recv(), and it stays behind for ever where
 * TCP data was taken by something that is no recv(): splice, TCP_ZEROCOPY_RECEIVE.
 */
static __always_inline enum up_why up_entry_why(const struct up_message *m)
{
	struct sk_psock *psock = up_psock_of(m->peer);
	struct sock *own = (struct sock *)m->own;
	enum up_why why;

	if (m->dir->reads < UP_FIRST_READS)
		return UP_WHY_FIRST_MESSAGES;
	/* Another thread waits for room in the middle of its send: the rest of that goes by TCP. */
	if (own->sk_write_pending)
		return UP_WHY_UNREAD;
	if ((__u32)(m->dir->seen - m->dir->redirected_bytes) != m->own->write_seq - m->dir->first_seq)
		return UP_WHY_UNSEEN_READ;
	why = up_new_sock_why(own);
	if (!why)
		why = up_new_sock_why(m->peer);
	if (why)
		return why;
	if (!psock)
		return UP_WHY_CLOSING;
	/* Everything that was sent is seen, so the queue is empty. */
	m->dir->drained_at = m->dir->redirected_bytes - m->dir->seen;
	return up_reader_why(m->peer, psock, m->dir);
}

/*
 * Makes room for the message: it is charged as soon as it is redirected.
 *
 * What is queued is what was redirected and not yet returned by a recv(). How many messages that is, nobody tells: no
 * more than were sent since the queue was last empty, and no more than the queued bytes make of the smallest of those.
 */
static __always_inline enum up_why up_charge_why(const struct up_message *m)
{
	__u32 cost = m->size + UP_MESSAGE_COST, grant;
	struct up_dir *dir = m->dir;
	__s64 queued = up_queued(dir);
	enum up_why why;

	if (queued <= 0) {
		queued = 0;
		dir->messages = 0;
		dir->smallest = m->size;
		if (dir->held > UP_KEPT_GRANTS * UP_GRANT)
			up_tokens_release(dir, m->peer_netns);
	} else {
		__u64 most = (__u64)queued / (dir->smallest ? dir->smallest : 1) + 1;

		if (dir->messages > most)
			dir->messages = most;
		if (dir->smallest > m->size)
			dir->smallest = m->size;
	}
	dir->charge = queued + dir->messages * UP_MESSAGE_COST;
	if (dir->charge + cost > m->config->dir_bytes || dir->messages >= m->config->dir_messages)
		return UP_WHY_QUEUE_FULL;
	if (dir->charge + cost <= dir->held)
		return UP_WHY_NONE;
	if (up_sock_tcp_pressure(m->peer))
		return UP_WHY_TCP_PRESSURE;
	grant = (dir->charge + cost - dir->held + UP_GRANT - 1) & ~(UP_GRANT - 1);
	why = up_tokens_take(m->config, m->peer_netns, grant);
	if (!why)
		__sync_fetch_and_add(&dir->held, grant);
	return why;
}

/* May this message be redirected? On UP_WHY_NONE its room is made. */
static __always_inline enum up_why up_redirect_why(const struct up_message *m)
{
	enum up_why why = up_message_why(m);
	struct sk_psock *psock;

	if (why)
		return why;
	if (m->dir->state == UP_DIR_TCP) {
		why = up_entry_why(m);
		if (why)
			return why;
	} else if (bpf_ktime_get_coarse_ns() - m->dir->last_tcp_ns > UP_KEEPALIVE_NS) {
		psock = up_psock_of(m->peer);
		if (psock && up_psock_is_drained(psock))
			return UP_WHY_KEEPALIVE;
	}
	why = up_charge_why(m);
	if (why)
		return why;
	/* What was read of the peer was read of the peer only if it is still there. */
	up_then();
	return up_sock_is(m->peer, m->peer_cookie) ? UP_WHY_NONE : UP_WHY_CLOSING;
}

static __always_inline void up_went_by_tcp(struct up_dir *dir, enum up_why why)
{
	dir->state = UP_DIR_TCP;
	dir->why = why;
	dir->last_tcp_ns = bpf_ktime_get_coarse_ns();
	up_count_fallback(why);
}

static __always_inline void up_went_redirected(struct up_dir *dir, __u32 size)
{
	dir->state = UP_DIR_REDIRECT;
	dir->charge += size + UP_MESSAGE_COST;
	dir->messages++;
	dir->redirected_messages++;
	dir->redirected_bytes += size;
	up_count_redirect(size);
}

/* Another thread's message is in flight: this one stays behind it, though there is a reason to leave. That stretches a
 * cap by as many messages as there are threads; twice the cap is the end of it. A socket that is closing sends nothing,
 * and what would overtake TCP bytes never stays. */
static __always_inline bool up_must_stay(const struct up_message *m, struct sock *own, enum up_why why)
{
	if (!why || why == UP_WHY_CLOSING || why == UP_WHY_UNREAD || m->dir->state != UP_DIR_REDIRECT)
		return false;
	if (m->dir->charge > 2 * m->config->dir_bytes || m->dir->messages > 2 * m->config->dir_messages)
		return false;
	return up_others_in_flight(own);
}

/* May this message go by TCP? Not past redirected data that its reader cannot see. */
static __always_inline bool up_may_pass(struct up_conn *conn, const struct up_message *m)
{
	struct sk_psock *psock;

	/* To an end that has closed, TCP sends what makes it answer by a RST. */
	if (conn->broken)
		return conn->broken == UP_WHY_UNREAD_CLOSE;
	if (!(m->dir->traits & UP_TRAIT(UP_WHY_SPLICE)) || up_queued(m->dir) <= 0)
		return true;
	psock = up_psock_of(m->peer);
	if (!psock || up_psock_is_drained(psock))
		return true;
	up_conn_break(conn, !m->end, UP_WHY_SPLICE);
	return false;
}

/*
 * Returns SK_PASS, with a redirect set up or without for TCP; SK_DROP only on a connection that is over.
 *
 * A reader asleep in tcp_bpf_recvmsg() takes any wake-up that brings no data for a time-out and returns EAGAIN, blocking
 * socket or not; another thread's send() or shutdown() on the same socket wakes it. So such a connection is not for us.
 */
static __always_inline int up_message(struct sk_msg_md *msg)
{
	struct up_message m = {.config = up_config_get(), .size = msg->size};
	struct bpf_sock *sk = msg->sk;
	struct up_conn *conn;
	struct up_sk *me;
	enum up_why why;
	__u32 end;

	if (!sk || !m.config)
		return SK_PASS;
	me = bpf_sk_storage_get(&up_sk, sk, 0, 0);
	if (!me)
		return SK_PASS;
	conn = up_conn_find(me->conn);
	m.own = bpf_skc_to_tcp_sock(sk);
	if (!conn || !m.own)
		return SK_PASS;

	end = me->end & 1;
	/* Redirecting takes the reader's lock, and a pod could hold it for as long as it likes: a worker serves others too. */
	if (conn->end[end].worker)
		return SK_PASS;
	m.conn = conn;
	m.end = end;
	m.dir = &conn->dir[end];
	m.peer = up_sock_at(conn->end[!end].sock);
	m.peer_cookie = conn->end[!end].cookie;
	m.peer_netns = conn->end[!end].netns_cookie;

	if (!m.config->short_circuit)
		why = UP_WHY_KILL_SWITCH;
	else if (conn->stopped)
		why = conn->why;
	else if (!conn->paired)
		why = UP_WHY_UNCONFIRMED;
	else if (m.dir->state == UP_DIR_TCP)
		why = up_own_reader_why(up_sock_at(conn->end[end].sock));
	else
		why = UP_WHY_NONE;
	if (why == UP_WHY_THREADS && !conn->stopped)
		up_note_stop(conn, end, why);
	if (!why)
		why = up_redirect_why(&m);

	if (up_must_stay(&m, up_sock_at(conn->end[end].sock), why))
		why = UP_WHY_NONE;
	if (!why) {
		up_await_reader(m.peer);
		if (bpf_msg_redirect_hash(msg, &up_socks, &m.peer_cookie, BPF_F_INGRESS) == SK_PASS) {
			up_went_redirected(m.dir, m.size);
			return SK_PASS;
		}
		why = UP_WHY_REDIRECT_FAILED;
	}
	up_went_by_tcp(m.dir, why);
	return up_may_pass(conn, &m) ? SK_PASS : SK_DROP;
}

#endif /* UNDERPASS_BPF_SHORT_CIRCUIT_H */
