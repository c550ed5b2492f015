/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * A connection's life, from the SYN to close: publish the source record, pair the two ends, map them, forget.
 *
 * Both ends must be mapped or neither. The client's end is established first, without knowing what the server's side
 * will say, and the kernel lets a program map a socket at that moment only. So the client is mapped in good faith; the
 * server maps itself only over a mapped client; and when the client's first byte is acknowledged, by when the server
 * has decided, the client's end is unmapped again if the server declined. Until then nobody redirects to it.
 */
#ifndef UNDERPASS_BPF_ESTABLISH_H
#define UNDERPASS_BPF_ESTABLISH_H

#include "address.h"
#include "admit.h"
#include "barred.h"
#include "budget.h"
#include "config.h"
#include "conns.h"
#include "flows.h"
#include "habits.h"
#include "kernel.h"
#include "pods.h"
#include "reader.h"
#include "remotes.h"
#include "socket.h"
#include "sockopt.h"
#include "sources.h"
#include "stats.h"
#include "workers.h"

#define UP_CLIENT_BIT (1u << UP_CLIENT)
#define UP_SERVER_BIT (1u << UP_SERVER)

static __always_inline void up_local_end(struct bpf_sock_ops *ctx, struct up_end *end, __u64 netns, struct tcp_sock *tp)
{
	if (ctx->family == AF_INET6)
		up_addr_set6_from(&end->addr, ctx->local_ip6);
	else
		up_addr_set4(&end->addr, ctx->local_ip4);
	end->port = bpf_htons(ctx->local_port);
	end->netns_cookie = netns;
	end->cookie = bpf_get_socket_cookie(ctx);
	end->sock = (__u64)tp;
}

static __always_inline void up_remote_end(struct bpf_sock_ops *ctx, struct up_end *end)
{
	if (ctx->family == AF_INET6)
		up_addr_set6_from(&end->addr, ctx->remote_ip6);
	else
		up_addr_set4(&end->addr, ctx->remote_ip4);
	end->port = bpf_htons(bpf_ntohl(ctx->remote_port)); /* in network order, but as 32 bits */
}

/* Tells the server's side who sends this SYN. One from an address that is not the sender's own would tell nothing true. */
static __always_inline void up_introduce(const struct up_end *client, const struct up_end *server, __u32 isn)
{
	__u64 netns = client->netns_cookie, own = up_pod_find(netns) ? netns : 0;

	if (server->netns_cookie && up_netns_of(&client->addr, netns) == own)
		up_source_publish(client, server, isn);
}

/* Of a worker's leg to its pod's application: it carries what came through this tunnel, of a client that may be known here
 * too. One of this node has told of its connection already. */
static __always_inline void up_note_brought(struct up_conn *conn, const struct up_sk *me, const struct up_conn *tunnel)
{
	struct up_remote_facts client;

	if (!me->original_port)
		up_client_of(tunnel, &conn->original, &conn->original_port);
	conn->original_netns = 0;
	if (tunnel->end[UP_CLIENT].cookie) {
		conn->original_netns = tunnel->end[UP_CLIENT].netns_cookie;
		return;
	}
	conn->way = UP_WAY_PROXIED;
	conn->tunnel = UP_TUNNEL_HBONE;
	up_remote_read(&conn->original, 0, &client);
	conn->workload = client.workload;
}

/* Of a connection that was led to a worker, where it wanted to go; of a worker's leg, whose connection it carries. */
static __always_inline void up_note_original(struct up_conn *conn, const struct up_sk *me)
{
	const struct up_conn *first;

	conn->way = me->way;
	if (me->original_port) {
		conn->original = me->original;
		conn->original_port = me->original_port;
		conn->original_netns = me->original_netns;
	}
	if (!me->carries) {
		conn->tunnel = me->tunnel;
		conn->workload = me->workload;
		return;
	}
	conn->carries = me->carries;
	conn->end[UP_CLIENT].worker = me->tunnel ? UP_TUNNELS : 1;
	first = up_conn_find(me->carries);
	if (!first)
		return;
	if (first->end[UP_SERVER].worker == UP_TUNNELS) {
		up_note_brought(conn, me, first);
		return;
	}
	conn->service = first->service;
	conn->dialled = first->dialled;
	conn->dialled_port = first->dialled_port;
	up_client_of(first, &conn->original, &conn->original_port);
}

/* Both ends of a connection that has no record. */
static __always_inline void up_ends_alone(struct bpf_sock_ops *ctx, __u64 netns, struct tcp_sock *tp,
					  struct up_end *client, struct up_end *server)
{
	up_local_end(ctx, client, netns, tp);
	up_remote_end(ctx, server);
	server->netns_cookie = up_netns_of(&server->addr, netns);
}

/* The client's SYN is about to leave: everything is known but the answer. */
static __always_inline void up_on_connect(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	__u64 cookie = bpf_get_socket_cookie(ctx), netns = bpf_get_netns_cookie(ctx);
	struct up_end *client, *server;
	struct up_conn *conn;
	struct tcp_sock *tp;
	struct up_sk *me;

	me = bpf_sk_storage_get(&up_sk, sk, 0, 0);
	if (!me)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	conn = me->alone ? NULL : up_conn_add(cookie);
	if (!conn) {
		struct up_end one = {}, other = {};

		if (!me->alone)
			up_count_fallback(UP_WHY_TABLE_FULL);
		me->conn = 0;
		me->alone = 1;
		up_ends_alone(ctx, netns, tp, &one, &other);
		up_introduce(&one, &other, tp->write_seq);
		bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
		return;
	}
	client = &conn->end[UP_CLIENT];
	server = &conn->end[UP_SERVER];
	up_local_end(ctx, client, netns, tp);
	client->state = UP_TCP_SYN_SENT;
	up_remote_end(ctx, server);
	server->netns_cookie = up_netns_of(&server->addr, netns);
	conn->started_ns = bpf_ktime_get_ns();
	conn->why = me->why;
	conn->service = me->service;
	conn->dialled = me->dialled;
	conn->dialled_port = me->dialled_port;
	up_note_original(conn, me);
	conn->dir[UP_CLIENT].first_seq = tp->write_seq + 1;
	me->end = UP_CLIENT;
	me->conn = cookie;
	up_introduce(client, server, tp->write_seq);
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* Maps the socket in context. UP_WHY_NONE: it is in up_socks now, and the kernel sends its messages past sk_msg. */
static __always_inline enum up_why up_map(struct bpf_sock_ops *ctx, struct up_end *end, struct tcp_sock *tp)
{
	enum up_why why = up_new_sock_why((struct sock *)tp);
	long error;

	if (why)
		return why;
	error = bpf_sock_hash_update(ctx, &up_socks, &end->cookie, BPF_ANY);
	if (!error) {
		end->mapped = 1;
		return UP_WHY_NONE;
	}
	if (error == -16 /* EBUSY */)
		return UP_WHY_OTHER_SOCKMAP;
	if (error == -7 /* E2BIG */ || error == -12 /* ENOMEM */)
		return UP_WHY_TABLE_FULL;
	return UP_WHY_ULP; /* EINVAL: the socket's protocol operations are not plain TCP's */
}

/* A connection whose options keep it on TCP anyway teaches nothing. */
static __always_inline enum up_why up_still_learning(struct tcp_sock *tp)
{
	enum up_why why = up_new_sock_why((struct sock *)tp);

	return why ? why : UP_WHY_LEARNING;
}

static __always_inline void up_on_client_established(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct up_conn *conn;
	struct tcp_sock *tp;
	struct up_sk *me;
	int flags = BPF_SOCK_OPS_STATE_CB_FLAG;

	me = bpf_sk_storage_get(&up_sk, sk, 0, 0);
	if (!me)
		return;
	conn = up_conn_find(me->conn);
	tp = bpf_skc_to_tcp_sock(sk);
	if (!conn || !tp)
		return;
	conn->end[UP_CLIENT].state = UP_TCP_ESTABLISHED;
	conn->established_ns = bpf_ktime_get_ns();
	if (!conn->why && up_brief_expected(conn) && up_is_learned(conn))
		conn->why = UP_WHY_BRIEF;
	/* The server may have declined already (TCP Fast Open establishes it first). */
	if (!conn->why)
		conn->why = up_map(ctx, &conn->end[UP_CLIENT], tp);
	else if (conn->why == UP_WHY_LEARNING)
		conn->why = up_still_learning(tp);
	if (!conn->why)
		flags |= BPF_SOCK_OPS_RTT_CB_FLAG;
	else
		up_count_fallback(conn->why);
	/* Where the server's side decides, it counts; if it came first, it has. */
	if (conn->why && !conn->end[UP_SERVER].cookie)
		up_opened(conn, me->conn, conn->way);
	bpf_sock_ops_cb_flags_set(ctx, flags);
}

/* The server's end of a connection whose client is known: decides for both. */
static __always_inline enum up_why up_join(struct bpf_sock_ops *ctx, struct up_conn *conn, struct tcp_sock *tp)
{
	if (conn->why)
		return conn->why;
	if (!conn->end[UP_CLIENT].mapped || conn->end[UP_CLIENT].cookie == conn->end[UP_SERVER].cookie)
		return UP_WHY_UNCONFIRMED;
	return up_map(ctx, &conn->end[UP_SERVER], tp);
}

/* Does policy, or the worker, have no say in what the node's own processes dial there? */
static __always_inline bool up_host_bypasses(struct up_attempt *attempt, const struct up_source *source,
					     __u64 server_netns)
{
	const struct up_config *config = up_config_get();
	struct up_verdict verdict = {};

	if (!source || !config || !config->host_netns || source->client_netns != config->host_netns)
		return false;
	attempt->identity = UP_IDENTITY_HOST;
	up_judge_attempt(attempt, server_netns, &verdict);
	return verdict.bypassed;
}

/* Has it come to the application of a pod whose worker is to decide, past that worker? Its SYN was let in before the worker
 * had a say, or as what it is not. */
static __always_inline bool up_went_past_worker(struct up_attempt *attempt, const struct up_end *server,
						const struct up_source *source)
{
	__u64 netns = server->netns_cookie;

	if (server->worker || up_excludes_inbound(netns, server->port))
		return false;
	if (source ? source->client_netns == netns || (source->worker && source->worker == up_worker_number(netns))
		   : up_netns_of(&attempt->client, 0) == netns)
		return false;
	if (up_host_bypasses(attempt, source, netns))
		return false;
	up_refused_undecided(attempt, UP_SERVER, source ? source->client_netns : 0, netns);
	return true;
}

/* The server's end is there. Must nothing pass? `source` is null where there is no true source record: the SYN was let in as
 * that of another, or of nobody. */
static __always_inline bool up_must_bar(const struct up_end *client, const struct up_end *server,
					const struct up_source *source)
{
	struct up_attempt attempt = {
		.client = client->addr,
		.server = server->addr,
		.port = bpf_ntohs(server->port),
	};
	struct up_standing standing = {};

	if (!up_standing_of(server->netns_cookie, &standing) || up_addr_is_loopback(&client->addr) ||
	    up_addr_is_loopback(&server->addr))
		return false;
	attempt.set = standing.policy;
	/* What comes through a tunnel its worker judges, by the certificate. */
	if (!source && standing.policy && server->worker != UP_TUNNELS &&
	    !up_admits_stranger(&attempt, server->netns_cookie))
		return true;
	return standing.capture & UP_CAPTURE_MUST && up_went_past_worker(&attempt, server, source);
}

/* The way that it has taken in the end, and what the application that accepted it is shown. */
static __always_inline void up_arrived(struct up_conn *conn, struct up_sk *me)
{
	if (conn->end[UP_SERVER].worker) {
		conn->way = UP_WAY_PROXIED;
	} else if (conn->carries) {
		conn->way = conn->tunnel ? UP_WAY_PROXIED : UP_WAY_DIRECT;
		if (!conn->original_port)
			return;
		me->led = 1;
		me->backend = conn->end[UP_CLIENT].addr;
		me->backend_port = conn->end[UP_CLIENT].port;
		me->dialled = conn->original;
		me->dialled_port = conn->original_port;
	} else {
		conn->way = UP_WAY_DIRECT;
	}
}

/* Has sk_lookup led what this worker's socket accepted to the listener of tunnels? */
static __always_inline bool up_ends_tunnel(const struct up_end *server)
{
	struct up_standing standing = {};

	return server->port == bpf_htons(UP_TUNNEL_PORT) && !up_addr_is_loopback(&server->addr) &&
	       up_standing_of(server->netns_cookie, &standing) && standing.capture & UP_CAPTURE_TUNNEL;
}

static __always_inline void up_on_server_established(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct up_end client = {}, server = {};
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct up_source source = {};
	struct up_conn *conn = NULL;
	bool fresh = false, known, barred;
	struct tcp_sock *tp;
	struct up_sk *me;
	__u64 id;

	if (!up_pod_find(netns))
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	me = bpf_sk_storage_get(&up_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	/* A socket that dialled and is passive all the same: simultaneous open. It has its record. */
	if (me && me->conn)
		return;
	up_local_end(ctx, &server, netns, tp);
	server.state = UP_TCP_ESTABLISHED;
	if (up_is_workers(sk))
		server.worker = up_ends_tunnel(&server) ? UP_TUNNELS : 1;
	up_remote_end(ctx, &client);

	known = up_source_consume(&client, &server, tp->copied_seq, &source);
	if (known) {
		id = source.client_cookie;
		conn = up_conn_find(id);
	}
	barred = up_must_bar(&client, &server, known ? &source : NULL);
	/* A program cannot end the socket. */
	if (barred)
		up_bar(ctx, server.cookie);
	if (!me)
		return;
	/* A worker's dial of which there is no record, for want of room: not to be taken for the pod's own loopback. */
	if (!conn && up_addr_is_loopback(&client.addr) && !up_addr_is_loopback(&server.addr)) {
		me->led = 1;
		me->backend = client.addr;
		me->backend_port = client.port;
		me->dialled = server.addr;
		me->dialled_port = client.port;
	}
	if (!conn) {
		id = server.cookie;
		conn = up_conn_add(id);
		if (!conn) {
			up_count_fallback(UP_WHY_TABLE_FULL);
			return;
		}
		conn->end[UP_CLIENT] = client;
		conn->started_ns = bpf_ktime_get_ns();
		conn->established_ns = conn->started_ns;
		conn->why = up_netns_of(&client.addr, netns) ? UP_WHY_UNCONFIRMED : UP_WHY_NOT_LOCAL;
		fresh = true;
	}
	conn->end[UP_SERVER] = server;
	up_arrived(conn, me);
	if (fresh)
		up_opened(conn, id, conn->way);
	conn->dir[UP_SERVER].first_seq = tp->write_seq;
	me->conn = id;
	me->end = UP_SERVER;
	if (barred) {
		if (!conn->why) {
			conn->why = UP_WHY_DENIED;
			up_count_fallback(conn->why);
			up_opened(conn, id, conn->way);
		}
		up_conn_break(conn, UP_SERVER, UP_WHY_DENIED);
		return;
	}
	if (!conn->why) {
		conn->why = up_join(ctx, conn, tp);
		if (conn->why)
			up_count_fallback(conn->why);
		else
			conn->paired = 1;
		if (conn->paired && conn->way == UP_WAY_DIRECT)
			conn->way = UP_WAY_SHORT_CIRCUIT;
		up_opened(conn, id, conn->way);
	} else if (conn->why == UP_WHY_LEARNING) {
		conn->why = up_still_learning(tp);
	}
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* The client's first byte is acknowledged: the server has decided. */
static __always_inline void up_on_client_acknowledged(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct up_conn *conn;
	struct up_sk *me;

	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	me = bpf_sk_storage_get(&up_sk, sk, 0, 0);
	conn = me ? up_conn_find(me->conn) : NULL;
	if (!conn || conn->paired || !conn->end[UP_CLIENT].mapped)
		return;
	conn->end[UP_CLIENT].mapped = 0;
	if (!conn->why) {
		conn->why = UP_WHY_UNCONFIRMED;
		up_count_fallback(conn->why);
		up_opened(conn, me->conn, conn->way);
	}
	bpf_map_delete_elem(&up_socks, &conn->end[UP_CLIENT].cookie);
}

struct up_bytes {
	__u64 sent; /* and acknowledged */
	__u64 received;
};

/*
 * Payload bytes from TCP's own counters. They count SYN and FIN as a byte each. The state is the one that it is in, or
 * that it leaves for the last time (gone): an end whose FIN comes second learns that it is acknowledged as it goes.
 */
static __always_inline struct up_bytes up_bytes_of(struct tcp_sock *any, __u32 end, __u32 state, bool gone)
{
	struct tcp_sock *tp = up_typed_tcp(any);
	bool last_acked = gone && (state == UP_TCP_LAST_ACK || state == UP_TCP_CLOSING) &&
			  up_read(tp, snd_una) == up_read(tp, write_seq);
	bool fin_sent_and_acked = state == UP_TCP_FIN_WAIT2 || state == UP_TCP_TIME_WAIT || last_acked;
	/* Not by the state: from FIN_WAIT2 it is over, with a FIN or without. */
	bool fin_received = !!(up_read(up_typed_sock(any), __sk_common.skc_flags) & UP_SOCK_FLAG(SOCK_DONE));
	__u64 sent = up_read(tp, bytes_acked), received = up_read(tp, bytes_received);
	__u64 not_payload = (end == UP_CLIENT) + fin_sent_and_acked;

	return (struct up_bytes){
		.sent = sent > not_payload ? sent - not_payload : 0,
		.received = received > fin_received ? received - fin_received : 0,
	};
}

/* What an end has received is what the other has sent, which knows better, if it is here. */
static __always_inline void up_note_bytes(struct up_conn *conn, __u32 end, const struct up_bytes *bytes)
{
	conn->dir[end & 1].tcp_bytes = bytes->sent;
	up_traffic_add(conn, end);
	if (conn->end[!end].cookie)
		return;
	conn->dir[!end].tcp_bytes = bytes->received;
	up_traffic_add(conn, !end);
}

static __always_inline void up_on_close(struct up_conn *conn, struct up_sk *me)
{
	struct up_end *end = &conn->end[me->end & 1], *other = &conn->end[!me->end];
	__u32 bit = 1u << (me->end & 1), closed;

	/* The queue of this end goes with it. */
	up_tokens_release(&conn->dir[!me->end], end->netns_cookie);
	if (me->end == UP_CLIENT && other->netns_cookie)
		up_source_withdraw(end, other);
	closed = __sync_fetch_and_or(&conn->closed, bit) | bit;
	if (other->cookie && closed != (UP_CLIENT_BIT | UP_SERVER_BIT))
		return;
	up_tokens_release(&conn->dir[me->end & 1], other->netns_cookie);
	up_closed(conn, me->conn);
	up_conn_remove(me->conn);
}

/* The application closes (rather than shuts down) when nothing may be read or sent any more, and the psock is gone. */
static __always_inline bool up_is_closing(struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;

	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_shutdown) == SHUTDOWN_MASK && !up_psock_of(sk);
}

static __always_inline bool up_task_is_exiting(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, flags) & PF_EXITING;
}

/*
 * An end leaves the states in which it reads. What it did until then that left no trace in a call: options set in
 * mid-connection, payload taken past recv(), a close with unread data. TCP answers the last by a RST; for redirected data
 * the kernel would send a FIN, so that the agent has to reset.
 */
static __always_inline void up_judge(struct up_conn *conn, __u32 end, struct tcp_sock *tp, __u32 from)
{
	struct up_dir *towards = &conn->dir[!end];
	enum up_why why = up_sock_why((struct sock *)tp);
	__u32 fin = from != UP_TCP_ESTABLISHED; /* counts as a byte */
	__u32 taken, unread;

	if (why)
		up_note_trait(conn, end, why);
	/* Its recv() will return to a connection that has no record any more. (-1, of a socket that nobody accepted yet, is no
	 * sleeper.) */
	if (up_sleepers((struct sock *)tp) > BPF_CORE_READ((struct sock *)tp, sk_write_pending))
		up_note_trait(conn, end, UP_WHY_BLOCKING);
	if (!up_conn_is_seen_whole(conn) || !conn->end[!end].cookie)
		return;
	/* Where it is the peer's FIN or RST that comes, a recv() may be on its way out whose bytes are taken and not yet seen. */
	if (!up_is_closing(tp))
		return;
	taken = tp->copied_seq - towards->first_seq;
	unread = BPF_CORE_READ(tp, rcv_nxt) - tp->copied_seq;
	if (!towards->redirected_bytes && (__s32)(taken - (__u32)towards->seen) > (__s32)fin)
		up_note_trait(conn, end, UP_WHY_UNSEEN_READ);
	/* Whoever is killed leaves bytes unread, whatever its program does otherwise. */
	if ((unread > fin || up_queued(towards) > 0) && !up_task_is_exiting())
		up_note_trait(conn, end, UP_WHY_UNREAD_CLOSE);
	if (conn->end[end].mapped && up_queued(towards) > 0)
		up_conn_break(conn, end, UP_WHY_UNREAD_CLOSE);
}

static __always_inline void up_withdraw_alone(struct bpf_sock_ops *ctx, struct tcp_sock *tp)
{
	struct up_end client = {}, server = {};

	up_ends_alone(ctx, bpf_get_netns_cookie(ctx), tp, &client, &server);
	up_source_withdraw(&client, &server);
}

static __always_inline void up_on_state(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	__u32 from = ctx->args[0], to = ctx->args[1];
	struct up_conn *conn;
	struct tcp_sock *tp;
	struct up_sk *me;
	__u32 end;

	me = bpf_sk_storage_get(&up_sk, sk, 0, 0);
	if (!me)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (me->alone && to == UP_TCP_CLOSE && tp)
		up_withdraw_alone(ctx, tp);
	conn = up_conn_find(me->conn);
	if (!conn)
		return;
	end = me->end & 1;
	conn->end[end].state = to;
	if (tp) {
		struct up_bytes bytes = up_bytes_of(tp, end, to == UP_TCP_CLOSE ? from : to, to == UP_TCP_CLOSE);

		up_note_bytes(conn, end, &bytes);
		if (up_conn_is_watched(conn) && (from == UP_TCP_ESTABLISHED || from == UP_TCP_CLOSE_WAIT))
			up_judge(conn, end, tp, from);
		if (end == UP_CLIENT && from == UP_TCP_ESTABLISHED && conn->end[UP_SERVER].netns_cookie)
			up_brief_note(conn, BPF_CORE_READ(tp, data_segs_in), BPF_CORE_READ(tp, data_segs_out));
		/* Aborted, and not closed: what the kernel says to further calls is plain TCP's business again. */
		if (to == UP_TCP_CLOSE && conn->end[end].mapped && up_is_drained((struct sock *)tp))
			bpf_map_delete_elem(&up_socks, &conn->end[end].cookie);
	}
	if (to == UP_TCP_CLOSE)
		up_on_close(conn, me);
}

#endif /* UNDERPASS_BPF_ESTABLISH_H */
