/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What comes to a pod, whoever sent it: other pods, other nodes, forgers. Loaded once for each pod that has a policy and
 * attached to its network namespace, since sk_lookup has no cookie to know that by.
 */
#include "admit.h"
#include "config.h"
#include "kernel.h"
#include "pods.h"
#include "sources.h"

/* Of the network namespace that it is attached to. */
const volatile __u64 up_server_netns = 0;

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

SEC("sk_lookup")
int up_inbound(struct bpf_sk_lookup *ctx)
{
	struct up_source_key key = {.server_netns = up_server_netns};
	const struct up_config *config = up_config_get();
	struct up_standing server = {}, client = {};
	struct up_attempt attempt = {};
	const struct up_source *source;
	__u64 client_netns = 0;

	if (ctx->protocol != IPPROTO_TCP || !up_standing_of(up_server_netns, &server) || !server.policy)
		return SK_PASS;
	up_lookup_addresses(ctx, &key.client, &key.server);
	key.client_port = ctx->remote_port;
	key.server_port = bpf_htons(ctx->local_port);
	attempt.identity = UP_IDENTITY_UNAUTHENTICATED;
	attempt.client = key.client;
	attempt.server = key.server;
	attempt.port = ctx->local_port;
	source = bpf_map_lookup_elem(&up_sources, &key);
	if (source && bpf_ktime_get_ns() - source->created_ns < UP_SOURCE_TTL_NS) {
		client_netns = source->client_netns;
		if (client_netns == up_server_netns)
			return SK_PASS;
		if (up_standing_of(client_netns, &client))
			attempt.identity = client.identity;
		else if (config && config->host_netns == client_netns)
			attempt.identity = UP_IDENTITY_HOST;
	}
	return up_admits(&attempt, UP_SERVER, client_netns, up_server_netns) ? SK_PASS : SK_DROP;
}

char LICENSE[] SEC("license") = "GPL";
