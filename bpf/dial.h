/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What an application dials, by connect() or with each datagram, and what it is led to: where that is a Service, a backend
 * of it. What it asked for is kept with its socket, so that it goes on seeing that.
 */
#ifndef UNDERPASS_BPF_DIAL_H
#define UNDERPASS_BPF_DIAL_H

#include "address.h"
#include "flows.h"
#include "kernel.h"
#include "pods.h"
#include "services.h"

#define UP_MAX_UDP 32768
#define UP_ECONNREFUSED 111

#define UP_ALLOW 1
#define UP_DENY 0

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, UP_MAX_UDP);
	__type(key, struct up_udp_key);
	__type(value, struct up_udp);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_udp SEC(".maps");

static __always_inline void up_context_addr(struct bpf_sock_addr *ctx, bool v6, struct up_addr *addr)
{
	if (v6)
		up_addr_set6_from(addr, ctx->user_ip6);
	else
		up_addr_set4(addr, ctx->user_ip4);
}

static __always_inline void up_context_set(struct bpf_sock_addr *ctx, bool v6, const struct up_addr *addr, __be16 port)
{
	if (v6) {
		ctx->user_ip6[0] = up_addr_word(addr, 0);
		ctx->user_ip6[1] = up_addr_word(addr, 1);
		ctx->user_ip6[2] = up_addr_word(addr, 2);
		ctx->user_ip6[3] = up_addr_word(addr, 3);
	} else {
		ctx->user_ip4 = up_addr_word(addr, 3);
	}
	ctx->user_port = port;
}

/* ECONNREFUSED where the kernel lets programs say so (Linux 5.18), else EPERM. */
static __always_inline int up_deny(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_set_retval))
		bpf_set_retval(-UP_ECONNREFUSED);
	return UP_DENY;
}

/* Nothing is ready behind this Service. */
static __always_inline int up_refuse(const struct up_dial *dial, const struct up_service_facts *service)
{
	struct up_flow *flow = bpf_ringbuf_reserve(&up_flows, sizeof(*flow), 0);

	if (flow) {
		__builtin_memset(flow, 0, sizeof(*flow));
		flow->time_ns = bpf_ktime_get_ns();
		flow->started_ns = flow->time_ns;
		flow->event = UP_FLOW_REFUSED;
		flow->service = service->id;
		flow->protocol = dial->protocol;
		flow->client_netns = dial->netns;
		flow->dialled = dial->addr;
		flow->dialled_port = dial->port;
		bpf_ringbuf_submit(flow, BPF_RB_NO_WAKEUP);
	} else {
		up_count_lost_flow();
	}
	return up_deny();
}

static __always_inline void up_remember(struct up_sk *me, const struct up_dial *dial,
					const struct up_service_facts *service, const struct up_backend *backend)
{
	me->service = service->id;
	me->led = 1;
	me->dialled = dial->addr;
	me->dialled_port = dial->port;
	me->backend = backend->addr;
	me->backend_port = backend->port;
}

/* connect(). Leads `dial` to a backend where it names a Service; UP_DENY: nothing is ready there. */
static __always_inline int up_translate(struct bpf_sock_addr *ctx, struct bpf_sock *sk, bool v6, struct up_dial *dial)
{
	struct up_service_facts service;
	struct up_backend backend;
	struct up_sk *me;

	if (!up_service_read(dial, &service)) {
		/* Datagram sockets may be connected again. */
		me = bpf_sk_storage_get(&up_sk, sk, 0, 0);
		if (me) {
			me->service = 0;
			me->led = 0;
		}
		return UP_ALLOW;
	}
	if (!up_backend_choose(dial, &service, &backend))
		return up_refuse(dial, &service);
	me = bpf_sk_storage_get(&up_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!me)
		return up_refuse(dial, &service);
	up_remember(me, dial, &service, &backend);
	/* A socket has no cookie before it is asked for, and is destroyed by it. */
	bpf_get_socket_cookie(ctx);
	up_context_set(ctx, v6, &backend.addr, backend.port);
	dial->addr = backend.addr;
	dial->port = backend.port;
	return UP_ALLOW;
}

/* A datagram of a socket that is not connected. The same socket has the same backend while the Service's are the same. */
static __always_inline int up_translate_datagram(struct bpf_sock_addr *ctx, bool v6)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	const struct up_pod *pod = up_pod_find(netns);
	struct up_service_facts service;
	struct up_udp_key key = {};
	const struct up_udp *known;
	struct up_backend backend;
	struct up_dial dial = {};
	struct up_udp udp = {};

	if (!pod || ctx->protocol != IPPROTO_UDP)
		return UP_ALLOW;
	key.cookie = bpf_get_socket_cookie(ctx);
	dial.netns = netns;
	dial.protocol = IPPROTO_UDP;
	dial.sticky = pod->hash;
	dial.random = (__u32)(key.cookie * 0x9e3779b97f4a7c15ull >> 32);
	dial.port = ctx->user_port;
	up_context_addr(ctx, v6, &dial.addr);
	if (!up_service_read(&dial, &service))
		return UP_ALLOW;
	if (!up_backend_choose(&dial, &service, &backend))
		return up_refuse(&dial, &service);
	key.backend = backend.addr;
	key.port = backend.port;
	known = bpf_map_lookup_elem(&up_udp, &key);
	if (!known || known->port != dial.port || !up_addr_equals(&known->dialled, &dial.addr)) {
		udp.dialled = dial.addr;
		udp.port = dial.port;
		udp.service = service.id;
		bpf_map_update_elem(&up_udp, &key, &udp, BPF_ANY);
	}
	up_context_set(ctx, v6, &backend.addr, backend.port);
	return UP_ALLOW;
}

/* What the application is to see, if `addr` and `port` are what the kernel has for the peer: replaces them. */
static __always_inline bool up_seen_by_socket(struct bpf_sock *sk, struct up_addr *addr, __be16 *port)
{
	const struct up_sk *me = bpf_sk_storage_get(&up_sk, sk, 0, 0);

	if (!me || !me->led || *port != me->backend_port || !up_addr_equals(addr, &me->backend))
		return false;
	*addr = me->dialled;
	*port = me->dialled_port;
	return true;
}

/* The same for a datagram to a socket that is not connected. */
static __always_inline bool up_seen_by_datagram(__u64 cookie, struct up_addr *addr, __be16 *port)
{
	struct up_udp_key key = {.cookie = cookie, .backend = *addr, .port = *port};
	const struct up_udp *udp = bpf_map_lookup_elem(&up_udp, &key);

	if (!udp)
		return false;
	*addr = udp->dialled;
	*port = udp->port;
	return true;
}

/* getpeername(), and accept(): the application sees what it dialled, or who dialled it. */
static __always_inline void up_show_peer(struct bpf_sock_addr *ctx, bool v6)
{
	struct bpf_sock *sk = ctx->sk;
	__be16 port = ctx->user_port;
	struct up_addr addr;

	up_context_addr(ctx, v6, &addr);
	if (sk && up_seen_by_socket(sk, &addr, &port))
		up_context_set(ctx, v6, &addr, port);
}

/* recvmsg(): where a datagram seems to come from. */
static __always_inline void up_show_sender(struct bpf_sock_addr *ctx, bool v6)
{
	struct bpf_sock *sk = ctx->sk;
	__be16 port = ctx->user_port;
	struct up_addr addr;

	if (!sk || !up_pod_find(bpf_get_netns_cookie(ctx)))
		return;
	up_context_addr(ctx, v6, &addr);
	if (up_seen_by_socket(sk, &addr, &port) || up_seen_by_datagram(bpf_get_socket_cookie(ctx), &addr, &port))
		up_context_set(ctx, v6, &addr, port);
}

/* Is it still connected there? connect(AF_UNSPEC) runs no program. */
static __always_inline bool up_is_connected_to(struct sock *sk, const struct up_addr *backend, __be16 port)
{
	struct up_addr peer;

	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		bpf_probe_read_kernel(&peer, sizeof(peer), &sk->__sk_common.skc_v6_daddr);
	else
		up_addr_set4(&peer, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	return BPF_CORE_READ(sk, __sk_common.skc_dport) == port && up_addr_equals(&peer, backend);
}

/* Of a socket that is connected through a Service: what the agent needs to tell whether its backend is still one, and to
 * destroy it if it is not. */
static __always_inline void up_tell_udp_socket(struct seq_file *seq, struct sock *sk, const struct up_sk *me)
{
	struct up_udp_socket out = {};

	if (!me->service || BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol) != IPPROTO_UDP)
		return;
	if (!up_is_connected_to(sk, &me->backend, me->backend_port))
		return;
	out.cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	out.local_port = bpf_htons(BPF_CORE_READ(sk, __sk_common.skc_num));
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		bpf_probe_read_kernel(&out.local, sizeof(out.local), &sk->__sk_common.skc_v6_rcv_saddr);
	else
		up_addr_set4(&out.local, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	out.backend = me->backend;
	out.backend_port = me->backend_port;
	out.service = me->service;
	bpf_seq_write(seq, &out, sizeof(out));
}

#endif /* UNDERPASS_BPF_DIAL_H */
