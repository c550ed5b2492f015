/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What comes to a pod, whoever sent it: other pods, other nodes, forgers. sk_lookup has no cookie to know the network
 * namespace by, so each pod that has a policy or a worker has a program of its own there, a few instructions that leave the
 * cookie in up_arrival and go on here (agent/dataplane/inbound.cpp).
 */
#include "admit.h"
#include "config.h"
#include "kernel.h"
#include "pods.h"
#include "sources.h"
#include "workers.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_inbounds SEC(".maps");

/* Packets are looked up with softirqs off, so nothing comes between the door and what reads this. What asks for a socket
 * from outside, as `ss` does, may read another's. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct up_arrival);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_arrival SEC(".maps");

static __always_inline __u64 up_arrived_at(void)
{
	const struct up_arrival *arrival;
	__u32 only = 0;

	arrival = bpf_map_lookup_elem(&up_arrival, &only);
	return arrival ? arrival->server_netns : 0;
}

static __always_inline void up_lookup_addresses(struct bpf_sk_lookup *ctx, struct up_addr *client,
						struct up_addr *server)
{
	if (ctx->family == AF_INET6) {
		up_addr_set6_from(client, ctx->remote_ip6);
		up_addr_set6_from(server, ctx->local_ip6);
	} else {
		up_addr_set4(client, ctx->remote_ip4);
		up_addr_set4(server, ctx->local_ip4);
	}
}

/* Hands it to the worker of a captured pod, where there is one that can take it. What comes from the pod's own address is
 * its own, or its worker's: never round in circles. False: nobody can take what is a worker's. */
static __always_inline bool up_hand_over(struct bpf_sk_lookup *ctx, const struct up_source_key *key,
					 const struct up_source *source)
{
	struct up_listener_key at = {
		.netns_cookie = key->server_netns, .direction = UP_INBOUND, .v6 = ctx->family == AF_INET6};
	struct up_worker *worker = bpf_map_lookup_elem(&up_workers, &key->server_netns);
	struct bpf_sock *listener;
	bool taken = false;

	if (up_addr_is_loopback(&key->server) || up_addr_is_loopback(&key->client) ||
	    up_excludes_inbound(key->server_netns, key->server_port) ||
	    up_netns_of(&key->client, 0) == key->server_netns)
		return true;
	if (!worker)
		return false;
	/* It has been through this worker already. */
	if (source && source->worker == worker->number)
		return true;
	listener = bpf_map_lookup_elem(&up_listeners, &at);
	if (!listener)
		return false;
	if (up_worker_can_carry(worker))
		taken = !bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	return taken;
}

/* A tunnel to the pod: its worker decides by the certificate who it is, and what may come. */
static __always_inline int up_hand_tunnel_over(struct bpf_sk_lookup *ctx, __u64 server_netns)
{
	struct up_listener_key at = {
		.netns_cookie = server_netns, .direction = UP_TUNNEL, .v6 = ctx->family == AF_INET6};
	struct up_worker *worker = bpf_map_lookup_elem(&up_workers, &server_netns);
	struct bpf_sock *listener;
	bool taken = false;

	if (!worker)
		return SK_DROP;
	listener = bpf_map_lookup_elem(&up_listeners, &at);
	if (!listener)
		return SK_DROP;
	if (up_worker_can_carry(worker))
		taken = !bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	return taken ? SK_PASS : SK_DROP;
}

SEC("sk_lookup")
int up_inbound(struct bpf_sk_lookup *ctx)
{
	__u64 server_netns = up_arrived_at(), client_netns = 0;
	struct up_source_key key = {.server_netns = server_netns};
	const struct up_config *config = up_config_get();
	struct up_standing server = {}, client = {};
	enum up_admission admission = UP_ADMITTED;
	struct up_attempt attempt = {};
	const struct up_source *source;
	bool must;

	if (ctx->protocol != IPPROTO_TCP || !up_standing_of(server_netns, &server) ||
	    !(server.policy || server.capture))
		return SK_PASS;
	up_lookup_addresses(ctx, &key.client, &key.server);
	if (server.capture & UP_CAPTURE_TUNNEL && ctx->local_port == UP_TUNNEL_PORT &&
	    !up_addr_is_loopback(&key.server))
		return up_hand_tunnel_over(ctx, server_netns);
	key.client_port = ctx->remote_port;
	key.server_port = bpf_htons(ctx->local_port);
	attempt.set = server.policy;
	attempt.identity = UP_IDENTITY_UNAUTHENTICATED;
	attempt.client = key.client;
	attempt.server = key.server;
	attempt.port = ctx->local_port;
	source = bpf_map_lookup_elem(&up_sources, &key);
	if (source && bpf_ktime_get_ns() - source->created_ns < UP_SOURCE_TTL_NS) {
		client_netns = source->client_netns;
		if (client_netns == server_netns)
			return SK_PASS;
		if (up_standing_of(client_netns, &client))
			attempt.identity = client.identity;
		else if (config && config->host_netns == client_netns)
			attempt.identity = UP_IDENTITY_HOST;
	} else {
		source = NULL;
	}
	if (server.policy)
		admission = up_admits(&attempt, UP_SERVER, client_netns, server_netns);
	if (admission == UP_REFUSED)
		return SK_DROP;
	must = server.capture & UP_CAPTURE_MUST;
	/* Whether a port is open is what the kubelet asks by its probes, and a worker's listener always is. */
	if (!(server.capture & UP_CAPTURE_INBOUND) || admission == UP_BYPASSED ||
	    (attempt.identity == UP_IDENTITY_HOST && !must))
		return SK_PASS;
	if (up_hand_over(ctx, &key, source) || !must)
		return SK_PASS;
	up_refused_undecided(&attempt, UP_SERVER, client_netns, server_netns);
	return SK_DROP;
}

char LICENSE[] SEC("license") = "GPL";
