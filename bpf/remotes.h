/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Pods that are reached through a tunnel. Which port is so is told by the row of address and port, and where there is none
 * by that of the address alone.
 */
#ifndef UNDERPASS_BPF_REMOTES_H
#define UNDERPASS_BPF_REMOTES_H

#include "address.h"
#include "kernel.h"
#include "pods.h"
#include "underpass/seal.h"

#define UP_MAX_REMOTES 131072

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_REMOTES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_remote_key);
	__type(value, struct up_remote);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_remotes SEC(".maps");

/* What a dial needs to know of a row. */
struct up_remote_facts {
	__u32 identity;
	__u32 workload; /* 0: no row has that address */
	enum up_tunnel tunnel;
};

/* The row that counts for this port; `key` is its own then. */
static __always_inline const struct up_remote *up_remote_find(struct up_remote_key *key)
{
	const struct up_remote *remote = bpf_map_lookup_elem(&up_remotes, key);

	if (remote || !key->port)
		return remote;
	key->port = 0;
	return bpf_map_lookup_elem(&up_remotes, key);
}

/* A row that changes all the time is that of a pod that nobody knows: reached through a tunnel, at whose end no certificate is
 * the right one. */
__noinline int up_remote_read(const struct up_addr *addr, __u32 port, struct up_remote_facts *out)
{
	if (!addr || !out)
		return 0;
	for (int attempt = 0; attempt < UP_ATTEMPTS; attempt++) {
		struct up_remote_key key = {.addr = *addr, .port = port};
		const struct up_remote *remote = up_remote_find(&key);
		__u32 seal;

		if (!remote) {
			*out = (struct up_remote_facts){.tunnel = UP_TUNNEL_NONE};
			return 0;
		}
		out->identity = remote->identity;
		out->workload = remote->workload;
		out->tunnel = remote->tunnel;
		seal = remote->seal;
		barrier();
		if (seal == up_remote_seal(&key, out->identity, out->tunnel, out->workload))
			return 1;
	}
	out->identity = UP_IDENTITY_UNAUTHENTICATED;
	out->workload = 0;
	out->tunnel = UP_TUNNEL_HBONE;
	return 1;
}

/* Which pod that is, for those who read; blank where the row is no more what was read of it. */
static __always_inline void up_remote_name(const struct up_addr *addr, __be16 port, const struct up_remote_facts *facts,
					   char *namespace_name, char *name)
{
	struct up_remote_key key = {.addr = *addr, .port = port};
	const struct up_remote *remote = up_remote_find(&key);

	if (!remote)
		return;
	up_name_copy(namespace_name, remote->namespace_name, UP_NS_NAME_LEN);
	up_name_copy(name, remote->name, UP_POD_NAME_LEN);
	barrier();
	if (remote->seal != up_remote_seal(&key, facts->identity, facts->tunnel, facts->workload))
		namespace_name[0] = name[0] = 0;
}

static __always_inline bool up_is_tunnelled(const struct up_addr *addr, __be16 port)
{
	struct up_remote_facts remote;

	up_remote_read(addr, port, &remote);
	return remote.tunnel == UP_TUNNEL_HBONE;
}

#endif /* UNDERPASS_BPF_REMOTES_H */
