/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * connect() where workers are concerned: a captured pod's is led to the worker's listener in its own network namespace,
 * and a worker's own goes where it may.
 */
#ifndef UNDERPASS_BPF_CAPTURE_H
#define UNDERPASS_BPF_CAPTURE_H

#include "dial.h"
#include "kernel.h"
#include "pods.h"
#include "remotes.h"
#include "workers.h"

struct sockaddr;

/*
 * What is to be said of a message from this pod to a worker: may it be redirected? A pod must not be stalled by a worker
 * of another namespace, if not both ends say so.
 */
static __always_inline enum up_why up_leg_why(const struct up_pod *pod, const struct up_pod *workers)
{
	if (pod->mode == UP_MODE_OFF)
		return UP_WHY_MODE_OFF;
	if (pod->namespace_id != workers->namespace_id && !(pod->peers_mesh && workers->peers_mesh))
		return UP_WHY_NAMESPACES;
	return pod->mode == UP_MODE_AUTO ? UP_WHY_LEARNING : UP_WHY_NONE;
}

static __always_inline void up_set_loopback(struct up_addr *addr, bool v4)
{
	if (v4)
		up_addr_set4(addr, bpf_htonl(0x7f000001));
	else
		up_addr_set6(addr, 0, 0, 0, bpf_htonl(1));
}

/* Where that fails, the kernel chooses. */
static __always_inline void up_bind_to(struct bpf_sock_addr *ctx, bool v6, const struct up_addr *own)
{
	if (v6) {
		struct sockaddr_in6 addr = {.sin6_family = AF_INET6};

		__builtin_memcpy(&addr.sin6_addr, own->bytes, sizeof(own->bytes));
		bpf_bind(ctx, (struct sockaddr *)&addr, sizeof(addr));
	} else {
		struct up_sockaddr4 addr = {.family = AF_INET, .addr = up_addr_word(own, 3)};

		bpf_bind(ctx, (struct sockaddr *)&addr, sizeof(addr));
	}
}

static __always_inline bool up_is_bound(struct bpf_sock *sk, bool v6)
{
	struct up_addr addr;

	if (sk->src_port)
		return true;
	if (v6)
		up_addr_set6_from(&addr, sk->src_ip6);
	else
		up_addr_set4(&addr, sk->src_ip4);
	return !up_addr_is_unspecified(&addr);
}

/*
 * Leads the connect() of a captured pod to its worker. False: nobody is there to take it, or the socket is bound to a
 * device, from which no way leads to a loopback address.
 */
static __always_inline bool up_lead_to_worker(struct bpf_sock_addr *ctx, struct bpf_sock *sk, bool v6,
					      const struct up_pod *client, const struct up_dial *dial, __u64 peer)
{
	struct up_worker *worker = bpf_map_lookup_elem(&up_workers, &dial->netns);
	bool v4 = up_addr_is_v4(&dial->addr);
	const struct up_addr *own;
	struct up_addr loopback;
	struct up_sk *me;
	__be16 port;

	if (!worker || sk->bound_dev_if)
		return false;
	port = v4 ? worker->port4 : worker->port6;
	if (!port || !up_is_listening(dial->netns, UP_OUTBOUND, !v4) || !up_worker_can_carry(worker))
		return false;
	me = bpf_sk_storage_get(&up_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!me)
		return false;
	if (!me->service) {
		me->dialled = dial->addr;
		me->dialled_port = dial->port;
	}
	up_set_loopback(&loopback, v4);
	me->led = 1;
	me->backend = loopback;
	me->backend_port = port;
	me->original = dial->addr;
	me->original_port = dial->port;
	me->original_netns = peer;
	/* By getsockname() and by the address that it comes from, it is the pod's own, and not one of its loopback. */
	own = v4 ? &client->ip4 : &client->ip6;
	if (!up_is_bound(sk, v6) && !up_addr_is_unspecified(own))
		up_bind_to(ctx, v6, own);
	up_context_set(ctx, v6, &loopback, port);
	return true;
}

/*
 * A worker's dial to the pod's own application comes from a loopback address, any of them: whoever closes first keeps its
 * port for a minute, and from one address a pod would have some 28,000 for all its clients together. The application is
 * shown the client's. Of IPv6 there is one such address, and to that the kernel refuses no connection: it lets it time out.
 */
static __always_inline void up_bind_to_loopback(struct bpf_sock_addr *ctx, bool v6)
{
	struct up_addr loopback;

	if (v6)
		return;
	up_addr_set4(&loopback, bpf_htonl(0x7f000001 + bpf_get_prandom_u32() % 0xfffffe));
	up_bind_to(ctx, v6, &loopback);
}

/* An application of the pod whose tunnel this is: at an address that others have for it, and no port of the mesh's own. */
static __always_inline bool up_is_behind_tunnel(__u64 netns, const struct up_addr *addr, __be16 port)
{
	if (up_addr_is_loopback(addr) || up_netns_of(addr, 0) != netns)
		return false;
	return port != bpf_htons(UP_OUTBOUND_PORT) && port != bpf_htons(UP_INBOUND_PORT) &&
	       port != bpf_htons(UP_TUNNEL_PORT);
}

/* To the pod that the connection wanted to go to, at the port of tunnels, where that is how it is reached. */
static __always_inline int up_on_tunnels_dial(struct bpf_sock_addr *ctx, struct bpf_sock *sk, bool v6, __u64 id)
{
	const struct up_pod *pod = up_pod_find(bpf_get_netns_cookie(ctx));
	struct up_conn *first = up_conn_find(id);
	const struct up_addr *own;

	if (!pod || !first)
		return UP_DENY;
	first->tunnel = UP_TUNNEL_HBONE; /* led here before it was known that it is to be */
	own = v6 ? &pod->ip6 : &pod->ip4;
	/* The other end is told by it whose tunnel it is. */
	if (!up_is_bound(sk, v6) && !up_addr_is_unspecified(own))
		up_bind_to(ctx, v6, own);
	return UP_ALLOW;
}

/* Where the connection that it carries wanted to go, or on an errand. */
static __always_inline int up_may_worker_dial(struct bpf_sock_addr *ctx, bool v6)
{
	struct bpf_sock *sk = ctx->sk;
	struct up_wanted wanted;
	struct up_addr addr;
	struct up_sk *me;
	__u64 netns;

	me = sk ? bpf_sk_storage_get(&up_sk, sk, 0, 0) : NULL;
	if (!me)
		return UP_DENY;
	up_context_addr(ctx, v6, &addr);
	if (me->errand)
		return up_is_errand(bpf_get_netns_cookie(ctx), &addr, ctx->user_port) ? UP_ALLOW : UP_DENY;
	netns = bpf_get_netns_cookie(ctx);
	if (!up_wanted_find(me->carries, netns, &wanted))
		return UP_DENY;
	me->tunnel = 0;
	if (wanted.direction == UP_TUNNEL) {
		if (!up_is_behind_tunnel(netns, &addr, ctx->user_port))
			return UP_DENY;
	} else {
		if (!up_addr_equals(&addr, &wanted.addr))
			return UP_DENY;
		/* Never by plain TCP in place of a tunnel. */
		if (wanted.direction == UP_OUTBOUND &&
		    (wanted.tunnel == UP_TUNNEL_HBONE || up_is_tunnelled(&wanted.addr, wanted.port))) {
			if (ctx->user_port != bpf_htons(UP_TUNNEL_PORT) || !up_is_tunnelled(&wanted.addr, wanted.port))
				return UP_DENY;
			me->tunnel = 1;
			return up_on_tunnels_dial(ctx, sk, v6, me->carries);
		}
		if (wanted.port != ctx->user_port)
			return UP_DENY;
	}
	if (wanted.direction != UP_OUTBOUND && !up_is_bound(sk, v6))
		up_bind_to_loopback(ctx, v6);
	return UP_ALLOW;
}

static __always_inline void up_set_option(struct bpf_sock_addr *ctx, int level, int option, int value)
{
	bpf_setsockopt(ctx, level, option, &value, sizeof(value));
}

/* connect() of a worker's socket. Its keepalive is set here: four system calls less for whoever makes it. */
static __always_inline int up_on_workers_dial(struct bpf_sock_addr *ctx, bool v6)
{
	if (up_may_worker_dial(ctx, v6) == UP_DENY)
		return UP_DENY;
	up_set_option(ctx, SOL_SOCKET, SO_KEEPALIVE, 1);
	up_set_option(ctx, IPPROTO_TCP, TCP_KEEPIDLE, UP_KEEP_IDLE_S);
	up_set_option(ctx, IPPROTO_TCP, TCP_KEEPINTVL, UP_KEEP_INTERVAL_S);
	up_set_option(ctx, IPPROTO_TCP, TCP_KEEPCNT, UP_KEEP_PROBES);
	return UP_ALLOW;
}

#endif /* UNDERPASS_BPF_CAPTURE_H */
