/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The source record: it tells the server's side which socket sent the SYN that became this connection. The addresses
 * alone are not believed: the initial sequence number must be the client's too, or a forger with NET_RAW could use a
 * record that was left over.
 */
#ifndef UNDERPASS_BPF_SOURCES_H
#define UNDERPASS_BPF_SOURCES_H

#include "kernel.h"

#define UP_MAX_SOURCES 65536

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_SOURCES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_source_key);
	__type(value, struct up_source);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_sources SEC(".maps");

/* The key for a connection of which `client` is the dialling end. */
static __always_inline void up_source_key_of(struct up_source_key *key, const struct up_end *client,
					     const struct up_end *server)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->server_netns = server->netns_cookie;
	key->client = client->addr;
	key->server = server->addr;
	key->client_port = client->port;
	key->server_port = server->port;
}

static __always_inline void up_source_publish(const struct up_end *client, const struct up_end *server, __u32 isn)
{
	struct up_source source = {
		.client_netns = client->netns_cookie,
		.client_cookie = client->cookie,
		.created_ns = bpf_ktime_get_ns(),
		.isn = isn,
	};
	struct up_source_key key;

	up_source_key_of(&key, client, server);
	bpf_map_update_elem(&up_sources, &key, &source, BPF_ANY);
}

/* Removes the record, and returns the id of the client's connection when the record is true for a SYN whose first
 * payload byte is `first_seq`; else 0, and `forged` where there was one that is not. */
static __always_inline __u64 up_source_consume(const struct up_end *client, const struct up_end *server,
					       __u32 first_seq, bool *forged)
{
	const struct up_source *source;
	struct up_source_key key;
	__u64 id = 0;

	up_source_key_of(&key, client, server);
	source = bpf_map_lookup_elem(&up_sources, &key);
	if (!source)
		return 0;
	if (source->isn + 1 == first_seq && bpf_ktime_get_ns() - source->created_ns < UP_SOURCE_TTL_NS)
		id = source->client_cookie;
	*forged = !id;
	bpf_map_delete_elem(&up_sources, &key);
	return id;
}

static __always_inline void up_source_withdraw(const struct up_end *client, const struct up_end *server)
{
	struct up_source_key key;

	up_source_key_of(&key, client, server);
	bpf_map_delete_elem(&up_sources, &key);
}

#endif /* UNDERPASS_BPF_SOURCES_H */
