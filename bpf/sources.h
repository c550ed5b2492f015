/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The source record: it tells the server's side which socket sent the SYN that became this connection. The addresses
 * alone are not believed: the initial sequence number must be the client's too, or a forger with NET_RAW could use a
 * record that was left over.
 */
#ifndef UNDERPASS_BPF_SOURCES_H
#define UNDERPASS_BPF_SOURCES_H

#include "kernel.h"
#include "pods.h"
#include "workers.h"

#define UP_MAX_SOURCES 262144
#define UP_MAX_SOURCES_OF_POD 4096

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_SOURCES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_source_key);
	__type(value, struct up_source);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_sources SEC(".maps");

/* How many of them are each pod's, by netns cookie: none can take the room of all others. A namespace without a row
 * publishes nothing. Right but for records that change hands in that moment; the agent counts anew when it removes old ones. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_PODS + 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_source_count SEC(".maps");

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

/* False: it went by itself, and what was copied of it may have been another's. */
static __always_inline bool up_source_remove(const struct up_source_key *key, __u64 client_netns)
{
	__u64 *count;

	if (bpf_map_delete_elem(&up_sources, key))
		return false;
	count = bpf_map_lookup_elem(&up_source_count, &client_netns);
	if (count && *count)
		__sync_fetch_and_add(count, -1);
	return true;
}

static __always_inline void up_source_publish(const struct up_end *client, const struct up_end *server, __u32 isn)
{
	struct up_source source = {
		.client_netns = client->netns_cookie,
		.client_cookie = client->cookie,
		.created_ns = bpf_ktime_get_ns(),
		.isn = isn,
		.worker = client->worker ? up_worker_number(client->netns_cookie) : 0,
	};
	const struct up_source *before;
	struct up_source_key key;
	__u64 *count;

	up_source_key_of(&key, client, server);
	before = bpf_map_lookup_elem(&up_sources, &key);
	if (before)
		up_source_remove(&key, before->client_netns);
	count = bpf_map_lookup_elem(&up_source_count, &source.client_netns);
	if (!count)
		return;
	if (__sync_fetch_and_add(count, 1) >= UP_MAX_SOURCES_OF_POD ||
	    bpf_map_update_elem(&up_sources, &key, &source, BPF_NOEXIST))
		__sync_fetch_and_add(count, -1);
}

/* Removes the record. True: it is that of the SYN whose first payload byte is `first_seq`, and `out` is it. */
__noinline int up_source_consume(const struct up_end *client, const struct up_end *server, __u32 first_seq,
				 struct up_source *out)
{
	const struct up_source *source;
	struct up_source_key key;

	if (!client || !server || !out)
		return false;
	up_source_key_of(&key, client, server);
	source = bpf_map_lookup_elem(&up_sources, &key);
	if (!source)
		return false;
	*out = *source;
	return up_source_remove(&key, out->client_netns) && out->isn + 1 == first_seq &&
	       bpf_ktime_get_ns() - out->created_ns < UP_SOURCE_TTL_NS;
}

/* The client's socket is gone. A record of a later one with the same addresses stays. */
static __always_inline void up_source_withdraw(const struct up_end *client, const struct up_end *server)
{
	const struct up_source *source;
	struct up_source_key key;

	up_source_key_of(&key, client, server);
	source = bpf_map_lookup_elem(&up_sources, &key);
	if (source && source->client_cookie == client->cookie)
		up_source_remove(&key, client->netns_cookie);
}

#endif /* UNDERPASS_BPF_SOURCES_H */
