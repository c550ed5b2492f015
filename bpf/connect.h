/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* connect(): where it is led, whether it may, and which way it may go; kept with the socket for what comes after. */
#ifndef UNDERPASS_BPF_CONNECT_H
#define UNDERPASS_BPF_CONNECT_H

#include "address.h"
#include "admit.h"
#include "capture.h"
#include "config.h"
#include "conns.h"
#include "dial.h"
#include "kernel.h"
#include "pods.h"
#include "remotes.h"

/* The kernel takes zero-copy sending from a socket that is mapped after its file exists (SOCK_SUPPORT_ZC, since 6.0):
 * IORING_OP_SEND_ZC fails there, and nothing announces it. Accepted sockets are mapped before that and keep it. */
static __always_inline bool up_task_has_io_uring(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return bpf_core_field_exists(task->io_uring) && BPF_CORE_READ(task, io_uring, xa.xa_head);
}

/* Will a worker take what comes to this port of the pod? As far as connect() can know: sk_lookup decides. */
static __always_inline bool up_worker_awaits(const struct up_pod *server, __u64 netns_cookie,
					     const struct up_dial *dial)
{
	return server->capture & UP_CAPTURE_INBOUND && netns_cookie != dial->netns &&
	       !up_excludes_inbound(netns_cookie, dial->port) &&
	       up_is_listening(netns_cookie, UP_INBOUND, !up_addr_is_v4(&dial->addr));
}

/* Which way is it going, and may it be short-circuited? Kept with the socket for sockops. `server` is null where it is no
 * enrolled pod of this node. */
static __always_inline void up_decide(struct bpf_sock *sk, const struct up_pod *client, const struct up_pod *server,
				      __u64 peer, const struct up_dial *dial, const struct up_remote_facts *remote,
				      bool led)
{
	struct up_sk *me;

	me = bpf_sk_storage_get(&up_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!me)
		return;
	me->alone = 0;
	if (!me->carries) {
		if (!led)
			me->original_port = 0;
		me->tunnel = led && remote->tunnel == UP_TUNNEL_HBONE;
		me->workload = remote->workload;
	}
	me->way = led || (server && up_worker_awaits(server, peer, dial)) ? UP_WAY_PROXIED : UP_WAY_DIRECT;
	if (!led && !server)
		me->why = UP_WHY_NOT_LOCAL;
	else if (!up_kernel_is_fit)
		me->why = UP_WHY_KERNEL;
	else if (up_task_has_io_uring())
		me->why = UP_WHY_IO_URING;
	else if (me->errand || (me->carries && me->tunnel))
		me->why = UP_WHY_WORKER; /* another worker, or nobody's pod, is at the other end */
	else if (led)
		me->why = up_leg_why(client, client);
	else if (me->carries)
		me->why = up_leg_why(server, client);
	else if (me->way == UP_WAY_PROXIED)
		me->why = up_leg_why(client, server);
	else
		me->why = up_pair_why(client, server);
}

/* The address that the SYN will come from: what the socket is bound to, else the pod's own of that family. */
static __always_inline void up_source_address(struct bpf_sock *sk, bool v6, const struct up_pod *client,
					      const struct up_addr *destination, struct up_addr *out)
{
	if (v6)
		up_addr_set6_from(out, sk->src_ip6);
	else
		up_addr_set4(out, sk->src_ip4);
	if (up_addr_is_unspecified(out))
		*out = up_addr_is_v4(destination) ? client->ip4 : client->ip6;
}

/* A worker is to decide, and it is known already that none is there. */
static __always_inline bool up_lacks_worker(const struct up_standing *server, __u64 server_netns,
					    const struct up_dial *dial)
{
	return server->capture & UP_CAPTURE_MUST && !up_excludes_inbound(server_netns, dial->port) &&
	       !up_is_listening(server_netns, UP_INBOUND, !up_addr_is_v4(&dial->addr));
}

/* May this pod connect there? To itself it always may. */
static __always_inline bool up_may_dial(struct bpf_sock *sk, bool v6, const struct up_pod *client,
					const struct up_standing *own, __u64 peer, const struct up_dial *dial)
{
	struct up_standing server = {};
	struct up_attempt attempt = {
		.identity = own->identity,
		.server = dial->addr,
		.port = bpf_ntohs(dial->port),
	};
	enum up_admission admission;

	if (peer == dial->netns || !up_standing_of(peer, &server) || !server.policy)
		return true;
	attempt.set = server.policy;
	up_source_address(sk, v6, client, &dial->addr, &attempt.client);
	admission = up_admits(&attempt, UP_CLIENT, dial->netns, peer);
	if (admission != UP_ADMITTED || !up_lacks_worker(&server, peer, dial))
		return admission;
	up_refused_undecided(&attempt, UP_CLIENT, dial->netns, peer);
	return false;
}

/* A tunnel leads there, and no worker is there to dial it. */
static __always_inline int up_refuse_plain(struct bpf_sock *sk, bool v6, const struct up_pod *client,
					   const struct up_dial *dial, __u64 peer)
{
	struct up_attempt attempt = {
		.set = UP_POLICY_CLOSED, /* of no policy's */
		.server = dial->addr,
		.port = bpf_ntohs(dial->port),
	};

	up_source_address(sk, v6, client, &dial->addr, &attempt.client);
	up_refused_undecided(&attempt, UP_CLIENT, dial->netns, peer);
	return up_deny();
}

static __always_inline bool up_is_below_pods(const struct up_config *config)
{
	/* How deep it is, nobody knows who is in a cgroup namespace himself. */
	for (int level = 0; level < 16; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (id == config->pods_cgroup || !id)
			return id;
	}
	return false;
}

/*
 * Who dials is no enrolled pod. One of the node's own processes, as the kubelet is with its probes, gets a source record,
 * by which its SYN is told from a stranger's; a pod that uses the host's network is none of them, since it is below the
 * pods' cgroup. Who is below it in another namespace is a pod, and may be one that is not known yet.
 */
static __always_inline int up_on_foreign_dial(struct bpf_sock_addr *ctx, struct bpf_sock *sk, bool v6, __u64 netns)
{
	const struct up_config *config = up_config_get();
	struct up_addr destination;
	struct up_sk *me;
	bool own;

	if (!config || !config->pods_cgroup || !(config->policed || config->deny_unknown))
		return UP_ALLOW;
	up_context_addr(ctx, v6, &destination);
	if (up_addr_is_loopback(&destination))
		return UP_ALLOW;
	if (config->host_netns != netns) {
		if (config->deny_unknown && up_is_below_pods(config) && !bpf_map_lookup_elem(&up_known, &netns))
			return up_deny();
		return UP_ALLOW;
	}
	if (!config->policed || ctx->protocol != IPPROTO_TCP || !up_netns_of(&destination, netns))
		return UP_ALLOW;
	own = !up_is_below_pods(config);
	me = bpf_sk_storage_get(&up_sk, sk, 0, own ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (me)
		me->alone = own; /* a socket that dialled before may have changed hands */
	return UP_ALLOW;
}

/* connect() of a pod: where it is led, whether it may, and which way it may go. */
static __always_inline int up_on_dial(struct bpf_sock_addr *ctx, bool v6)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	const struct up_pod *client = up_pod_find(netns);
	struct up_dial dial = {.netns = netns, .protocol = ctx->protocol};
	struct up_remote_facts remote = {};
	struct up_standing own = {};
	struct bpf_sock *sk = ctx->sk;
	const struct up_pod *server;
	bool carries, led = false;
	__u64 peer;

	if (!sk || (dial.protocol != IPPROTO_TCP && dial.protocol != IPPROTO_UDP))
		return UP_ALLOW;
	if (!client)
		return up_on_foreign_dial(ctx, sk, v6, netns);
	dial.sticky = client->hash;
	dial.random = bpf_get_prandom_u32();
	dial.port = ctx->user_port;
	if (dial.protocol == IPPROTO_TCP && up_excludes(client, netns, dial.port)) {
		bpf_sk_storage_delete(&up_sk, sk);
		return UP_ALLOW;
	}
	up_context_addr(ctx, v6, &dial.addr);
	if (up_translate(ctx, sk, v6, &dial) == UP_DENY)
		return UP_DENY;
	if (dial.protocol != IPPROTO_TCP)
		return UP_ALLOW;
	peer = up_netns_of(&dial.addr, netns);
	server = peer ? up_pod_find(peer) : NULL;
	up_standing_of(netns, &own);
	/* What a worker's carries was judged as its client's, and is judged once more where it arrives. */
	carries = up_carries(sk);
	if (peer && !carries && !up_may_dial(sk, v6, client, &own, peer, &dial))
		return up_deny();
	/* No address is a loopback one: the pod itself. */
	if (!carries && peer != netns && !up_addr_is_unspecified(&dial.addr)) {
		if (own.capture & UP_CAPTURE_TUNNEL)
			up_remote_read(&dial.addr, dial.port, &remote);
		if (remote.tunnel == UP_TUNNEL_HBONE || (own.capture & UP_CAPTURE_OUTBOUND && !up_is_workers(sk)))
			led = up_lead_to_worker(ctx, sk, v6, client, &dial, peer);
		/* Never by plain TCP in place of a tunnel. */
		if (remote.tunnel == UP_TUNNEL_HBONE && !led)
			return up_refuse_plain(sk, v6, client, &dial, peer);
	}
	up_decide(sk, client, server, peer, &dial, &remote, led);
	return UP_ALLOW;
}

#endif /* UNDERPASS_BPF_CONNECT_H */
