/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The enrolled pods of this node. A pod is known by its network namespace's cookie, which nothing inside the pod can
 * forge; its addresses lead to the cookie and never the other way.
 */
#ifndef UNDERPASS_BPF_PODS_H
#define UNDERPASS_BPF_PODS_H

#include "address.h"
#include "kernel.h"
#include "underpass/seal.h"

#define UP_MAX_PODS 4096
#define UP_MAX_IPS 16384
#define UP_MAX_EXCLUDED 65536

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

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_PODS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_known SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_EXCLUDED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_excluded_key);
	__type(value, __u8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_excluded SEC(".maps");

static __always_inline const struct up_pod *up_pod_find(__u64 netns_cookie)
{
	return bpf_map_lookup_elem(&up_pods, &netns_cookie);
}

/* What policy asks of a pod, copied. */
struct up_standing {
	__u32 identity;
	__u32 policy;
	__u32 capture;
};

/* False: no enrolled pod. One whose row changes all the time is nobody, is closed, and dials nobody past a tunnel. A function
 * of its own for the verifier, which looks at it once and not wherever it is called; therefore it wants the pointer asked
 * for null. */
__noinline int up_standing_of(__u64 netns_cookie, struct up_standing *out)
{
	if (!out)
		return 0;
	for (int i = 0; i < UP_ATTEMPTS; i++) {
		const struct up_pod *pod = up_pod_find(netns_cookie);
		__u32 seal;

		if (!pod)
			return false;
		out->identity = pod->identity;
		out->policy = pod->policy;
		out->capture = pod->capture;
		seal = pod->seal;
		barrier();
		if (seal == up_pod_seal(netns_cookie, out->identity, out->policy, out->capture))
			return true;
	}
	out->identity = UP_IDENTITY_UNAUTHENTICATED;
	out->policy = UP_POLICY_CLOSED;
	out->capture = UP_CAPTURE_TUNNEL;
	return true;
}

/* Names stand at multiples of eight in all rows. */
static __always_inline void up_name_copy(char *to, const char *from, __u32 size)
{
	__builtin_memcpy(__builtin_assume_aligned(to, 8), __builtin_assume_aligned(from, 8), size);
}

/* Which pod that is, for those who read; blank where the row is no more what was read of it. */
static __always_inline void up_pod_name(__u64 netns_cookie, const struct up_standing *standing, char *namespace_name,
					char *name)
{
	const struct up_pod *pod = up_pod_find(netns_cookie);

	if (!pod)
		return;
	up_name_copy(namespace_name, pod->namespace_name, UP_NS_NAME_LEN);
	up_name_copy(name, pod->name, UP_POD_NAME_LEN);
	barrier();
	if (pod->seal != up_pod_seal(netns_cookie, standing->identity, standing->policy, standing->capture))
		namespace_name[0] = name[0] = 0;
}

/* The netns that `addr` leads to, seen from `from`: its own for loopback, 0 for what is no enrolled pod of this node. */
__noinline __u64 up_netns_of(const struct up_addr *addr, __u64 from)
{
	struct up_ip_key key = {};

	if (!addr)
		return 0;
	if (up_addr_is_loopback(addr))
		return from;
	key.addr = *addr;
	for (int i = 0; i < UP_ATTEMPTS; i++) {
		const struct up_ip *ip = bpf_map_lookup_elem(&up_ips, &key);
		struct up_ip copy;

		if (!ip)
			return 0;
		copy = *ip;
		barrier();
		if (copy.seal == up_ip_seal(&key, copy.netns_cookie))
			return copy.netns_cookie;
	}
	return 0;
}

/* Does this pod keep what it dials at this port out of the mesh? */
static __always_inline bool up_excludes(const struct up_pod *pod, __u64 netns_cookie, __be16 port)
{
	struct up_excluded_key key = {.netns_cookie = netns_cookie, .port = port};

	return pod->excludes && bpf_map_lookup_elem(&up_excluded, &key);
}

/* Does this pod keep what others dial at this port of its out of its worker? */
static __always_inline bool up_excludes_inbound(__u64 netns_cookie, __be16 port)
{
	struct up_excluded_key key = {.netns_cookie = netns_cookie, .port = port, .inbound = 1};

	return bpf_map_lookup_elem(&up_excluded, &key);
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
