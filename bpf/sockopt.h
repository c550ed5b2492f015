/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What a worker asks of its sockets, and tells them (UP_SO_... of abi.h). Runs for sockets that the agent made, only. */
#ifndef UNDERPASS_BPF_SOCKOPT_H
#define UNDERPASS_BPF_SOCKOPT_H

#include "dial.h"
#include "kernel.h"
#include "pods.h"
#include "remotes.h"
#include "services.h"
#include "workers.h"

#define UP_SOL_IP 0
#define UP_SOL_IPV6 41
#define UP_SO_ORIGINAL_DST 80  /* IP6T_SO_ORIGINAL_DST too */
#define UP_SOCKOPT_BUFFER 4096 /* PAGE_SIZE, as the hooks count it */

/* Room for an answer of this size, and that is all there is to answer; null: the kernel's own answer stands. */
static __always_inline void *up_answer(struct bpf_sockopt *ctx, __u32 size)
{
	void *out = ctx->optval;

	if (out + size > ctx->optval_end)
		return NULL;
	ctx->optlen = size;
	barrier(); /* two stores: the verifier knows no one that is both */
	ctx->retval = 0;
	return out;
}

/* The record of what this worker's socket accepted. */
static __always_inline const struct up_conn *up_accepted(struct bpf_sock *sk, __u64 *id)
{
	const struct up_sk *me = bpf_sk_storage_get(&up_sk, sk, 0, 0);
	const struct up_conn *conn;

	if (!me || me->end != UP_SERVER)
		return NULL;
	*id = me->conn;
	conn = up_conn_find(*id);
	return conn && up_is_for_worker(conn) ? conn : NULL;
}

static __always_inline void up_answer_original(struct bpf_sockopt *ctx, const struct up_conn *conn, bool v6)
{
	struct up_wanted wanted;

	up_wanted_of(conn, &wanted);
	if (up_addr_is_v4(&wanted.addr) == v6)
		return;
	if (v6) {
		struct sockaddr_in6 *out = up_answer(ctx, sizeof(*out));

		if (!out)
			return;
		__builtin_memset(out, 0, sizeof(*out));
		out->sin6_family = AF_INET6;
		out->sin6_port = wanted.port;
		__builtin_memcpy(&out->sin6_addr, wanted.addr.bytes, sizeof(wanted.addr.bytes));
	} else {
		struct up_sockaddr4 *out = up_answer(ctx, sizeof(*out));

		if (!out)
			return;
		__builtin_memset(out, 0, sizeof(*out));
		out->family = AF_INET;
		out->port = wanted.port;
		out->addr = up_addr_word(&wanted.addr, 3);
	}
}

/* The client itself, where a worker stands between. A socket of the pod that is bound to loopback comes from its pod. */
static __always_inline void up_client_of(const struct up_conn *conn, struct up_addr *addr, __be16 *port)
{
	const struct up_pod *pod;

	bool leg = conn->carries && conn->end[UP_SERVER].worker != UP_TUNNELS;

	/* Of a tunnel it is the worker that dialled it: whose connections it brings, who brings them says. */
	*addr = leg ? conn->original : conn->end[UP_CLIENT].addr;
	*port = leg ? conn->original_port : conn->end[UP_CLIENT].port;
	if (!up_addr_is_loopback(addr))
		return;
	pod = up_pod_find(conn->end[UP_CLIENT].netns_cookie);
	if (pod)
		*addr = up_addr_is_v4(addr) ? pod->ip4 : pod->ip6;
}

/* How the server is to be reached, and whom to expect there. What was to go through a tunnel still is where its row went: it
 * leads to nobody then. */
static __always_inline void up_answer_tunnel(struct up_peer *out, __u16 tunnel)
{
	struct up_remote_facts facts = {};

	out->tunnel = tunnel;
	if (!up_remote_read(&out->server, out->server_port, &facts))
		return;
	out->server_identity = facts.identity;
	out->workload = facts.workload;
	if (facts.tunnel == UP_TUNNEL_HBONE)
		out->tunnel = UP_TUNNEL_HBONE;
	up_remote_name(&out->server, out->server_port, &facts, out->server_namespace, out->server_pod);
}

/* Whose pod of another node dialled the tunnel, as far as its address tells. */
static __always_inline void up_answer_brought(struct up_peer *out)
{
	struct up_remote_facts facts = {};

	if (!up_remote_read(&out->client, 0, &facts))
		return;
	out->workload = facts.workload;
	up_remote_name(&out->client, 0, &facts, out->client_namespace, out->client_pod);
}

static __always_inline void up_answer_peer(struct bpf_sockopt *ctx, const struct up_conn *conn, __u64 id)
{
	struct up_service_key dialled = {.protocol = IPPROTO_TCP, .addr = conn->dialled, .port = conn->dialled_port};
	struct up_peer *out = up_answer(ctx, sizeof(*out));
	bool led = up_is_led(conn);
	const struct up_service *service;
	struct up_standing standing;
	struct up_wanted wanted;

	if (!out)
		return;
	__builtin_memset(out, 0, sizeof(*out));
	up_wanted_of(conn, &wanted);
	out->id = id;
	out->direction = wanted.direction;
	out->server = wanted.addr;
	out->server_port = wanted.port;
	out->server_netns = led ? conn->original_netns : conn->end[UP_SERVER].netns_cookie;
	up_client_of(conn, &out->client, &out->client_port);
	/* Only who published a true source record has its socket in the record. */
	if (conn->end[UP_CLIENT].cookie) {
		out->client_netns = conn->end[UP_CLIENT].netns_cookie;
		if (up_standing_of(out->client_netns, &standing)) {
			out->identity = standing.identity;
			up_pod_name(out->client_netns, &standing, out->client_namespace, out->client_pod);
		}
	}
	if (up_standing_of(out->server_netns, &standing))
		up_pod_name(out->server_netns, &standing, out->server_namespace, out->server_pod);
	if (led)
		up_answer_tunnel(out, conn->tunnel);
	else if (wanted.direction == UP_TUNNEL && !out->client_netns)
		up_answer_brought(out);
	if (!conn->service)
		return;
	out->service = conn->service;
	out->dialled = conn->dialled;
	out->dialled_port = conn->dialled_port;
	service = up_service_find(&dialled);
	if (!service)
		return;
	__builtin_memcpy(out->service_namespace, service->namespace_name, UP_NS_NAME_LEN);
	__builtin_memcpy(out->service_name, service->name, UP_NS_NAME_LEN);
	barrier();
	if (service->id != conn->service)
		out->service_namespace[0] = out->service_name[0] = 0;
}

static __always_inline void up_on_workers_getsockopt(struct bpf_sockopt *ctx)
{
	__s32 level = ctx->level, option = ctx->optname;
	struct bpf_sock *sk = ctx->sk;
	const struct up_conn *conn;
	__u64 id = 0;

	if (ctx->optlen > UP_SOCKOPT_BUFFER)
		ctx->optlen = 0; /* too long to be shown to programs: the kernel's own answer stands */
	if (!sk || (level != UP_SOL_IP && level != UP_SOL_IPV6))
		return;
	if (option != UP_SO_ORIGINAL_DST && (level != UP_SOL_IP || option != UP_SO_PEER))
		return;
	conn = up_accepted(sk, &id);
	if (!conn)
		return;
	if (option == UP_SO_PEER)
		up_answer_peer(ctx, conn, id);
	else
		up_answer_original(ctx, conn, level == UP_SOL_IPV6);
}

/* This dial carries nothing. Where it may go is up_errands' matter. */
static __always_inline int up_take_errand(struct bpf_sockopt *ctx)
{
	__u32 *on = ctx->optval;
	struct bpf_sock *sk = ctx->sk;
	struct up_sk *me;

	if (!sk || (void *)(on + 1) > ctx->optval_end || *on != 1)
		return UP_DENY;
	me = bpf_sk_storage_get(&up_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	/* One that dialled already, or was accepted, stays what it is. */
	if (!me || me->conn)
		return UP_DENY;
	me->carries = 0;
	me->original_port = 0;
	me->errand = 1;
	ctx->optlen = -1; /* done: the kernel knows no such option */
	return UP_ALLOW;
}

/*
 * Whose connection it is that came through the tunnel which this dial carries. The port is what the other worker says, the
 * address is that of the pod whose tunnel it is.
 */
static __always_inline int up_take_client(struct bpf_sockopt *ctx)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct up_tunnelled *client = ctx->optval;
	struct bpf_sock *sk = ctx->sk;
	const struct up_conn *tunnel;
	struct up_wanted wanted;
	struct up_sk *me;

	if (!sk || (void *)(client + 1) > ctx->optval_end)
		return UP_DENY;
	me = bpf_sk_storage_get(&up_sk, sk, 0, 0);
	if (!me || me->conn || !me->carries || !up_wanted_find(me->carries, netns, &wanted) ||
	    wanted.direction != UP_TUNNEL)
		return UP_DENY;
	tunnel = up_conn_find(me->carries);
	if (!tunnel || !client->client_port || !up_addr_equals(&client->client, &tunnel->end[UP_CLIENT].addr))
		return UP_DENY;
	me->original = client->client;
	me->original_port = client->client_port;
	ctx->optlen = -1; /* done: the kernel knows no such option */
	return UP_ALLOW;
}

/* Which accepted connection this dial is to carry. UP_DENY: no such one is this worker's. */
static __always_inline int up_on_workers_setsockopt(struct bpf_sockopt *ctx)
{
	__u64 *id = ctx->optval, netns = bpf_get_netns_cookie(ctx);
	struct bpf_sock *sk = ctx->sk;
	struct up_wanted wanted;
	struct up_sk *me;

	if (ctx->optlen > UP_SOCKOPT_BUFFER)
		ctx->optlen = 0;
	if (ctx->level == UP_SOL_IP && ctx->optname == UP_SO_ERRAND)
		return up_take_errand(ctx);
	if (ctx->level == UP_SOL_IP && ctx->optname == UP_SO_CLIENT)
		return up_take_client(ctx);
	if (ctx->level != UP_SOL_IP || ctx->optname != UP_SO_CARRIES)
		return UP_ALLOW;
	if (!sk || (void *)(id + 1) > ctx->optval_end || !up_wanted_find(*id, netns, &wanted))
		return UP_DENY;
	me = bpf_sk_storage_get(&up_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!me)
		return UP_DENY;
	me->carries = *id;
	me->original_port = 0;
	me->errand = 0;
	ctx->optlen = -1; /* done: the kernel knows no such option */
	return UP_ALLOW;
}

#endif /* UNDERPASS_BPF_SOCKOPT_H */
