/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The enrolled pods of this node. A pod is known by its network namespace's cookie, which nothing inside the pod can
 * forge; its addresses lead to the cookie and never the other way.
 */
#ifndef UNDERPASS_BPF_PODS_H
#define UNDERPASS_BPF_PODS_H

#include "address.h"
#include "kernel.h"

#define UP_MAX_PODS 4096
#define UP_MAX_IPS 16384

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_PODS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct up_pod);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_IPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_ip_key);
	__type(value, struct up_ip);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_ips SEC(".maps");

static __always_inline const struct up_pod *up_pod_find(__u64 netns_cookie)
{
	return bpf_map_lookup_elem(&up_pods, &netns_cookie);
}

/* The netns that `addr` leads to, seen from `from`: its own for loopback, 0 for what is no enrolled pod of this node. */
static __always_inline __u64 up_netns_of(const struct up_addr *addr, __u64 from)
{
	struct up_ip_key key = {.addr = *addr};
	const struct up_ip *ip;

	if (up_addr_is_loopback(addr))
		return from;
	ip = bpf_map_lookup_elem(&up_ips, &key);
	return ip ? ip->netns_cookie : 0;
}

/* May payload between these two pods be short-circuited, as far as their settings go? The kernel's fitness is the
 * caller's to check. */
static __always_inline enum up_why up_pair_why(const struct up_pod *a, const struct up_pod *b)
{
	enum up_mode mode = a->mode < b->mode ? a->mode : b->mode;

	if (mode == UP_MODE_OFF)
		return UP_WHY_MODE_OFF;
	if (a->namespace_id != b->namespace_id && !(a->peers_mesh && b->peers_mesh))
		return UP_WHY_NAMESPACES;
	/* Last, so that only from what could be short-circuited is learned. */
	return mode == UP_MODE_AUTO ? UP_WHY_LEARNING : UP_WHY_NONE;
}

#endif /* UNDERPASS_BPF_PODS_H */
