/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Services: from the address that an application dials to a backend. The agent keeps the slots below up_service.slots valid
 * at every moment (agent/compile/slots.h); a slot that is missing all the same was taken away since the Service was read,
 * so it is read again.
 */
#ifndef UNDERPASS_BPF_SERVICES_H
#define UNDERPASS_BPF_SERVICES_H

#include "address.h"
#include "kernel.h"
#include "underpass/seal.h"

#define UP_MAX_SERVICES 65536
#define UP_MAX_BACKENDS 524288
#define UP_MAX_MAGLEV (1024 * UP_MAGLEV_BLOCKS)
#define UP_MAX_AFFINITY 16384
#define UP_MAX_NODES 16384
#define UP_MAX_SLOTS_SEARCHED 16384

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_SERVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_service_key);
	__type(value, struct up_service);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_BACKENDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_backend_key);
	__type(value, struct up_backend);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_MAGLEV);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_maglev_key);
	__type(value, struct up_maglev);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_maglev SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, UP_MAX_AFFINITY);
	__type(key, struct up_affinity_key);
	__type(value, struct up_affinity);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_affinity SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_NODES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_ip_key);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_nodes SEC(".maps");

/* What is dialled. */
struct up_dial {
	struct up_addr addr;
	__be16 port;
	__u8 protocol;
	__u64 netns;  /* the client's */
	__u32 sticky; /* what a Maglev Service chooses by: the client's address */
	__u32 random; /* what any other chooses by */
};

/* What a dial needs to know of a Service. */
struct up_service_facts {
	__u32 id;
	__u32 slots;
	__u32 affinity_s;
	__u32 flags;
};

/* The Service that is dialled there; `key` is its own then. */
static __always_inline const struct up_service *up_service_find(struct up_service_key *key)
{
	struct up_ip_key node = {.addr = key->addr};
	const struct up_service *service = bpf_map_lookup_elem(&up_services, key);

	if (service || !bpf_map_lookup_elem(&up_nodes, &node))
		return service;
	/* A NodePort: the unspecified address of the same family. */
	if (up_addr_is_v4(&key->addr))
		up_addr_set4(&key->addr, 0);
	else
		__builtin_memset(&key->addr, 0, sizeof(key->addr));
	return bpf_map_lookup_elem(&up_services, key);
}

__noinline int up_service_read(const struct up_dial *dial, struct up_service_facts *out)
{
	if (!dial || !out)
		return false;
	for (int attempt = 0; attempt < UP_ATTEMPTS; attempt++) {
		struct up_service_key key = {.addr = dial->addr, .port = dial->port, .protocol = dial->protocol};
		const struct up_service *service = up_service_find(&key);
		__u32 seal;

		if (!service)
			return false;
		out->id = service->id;
		out->slots = service->slots;
		out->affinity_s = service->affinity_s;
		out->flags = service->flags;
		seal = service->seal;
		barrier();
		if (seal == up_service_seal(&key, out->id, out->slots, out->affinity_s, out->flags))
			return true;
	}
	/* A Service it is: nothing of it is ready. */
	out->slots = 0;
	return true;
}

static __always_inline bool up_backend_at(__u32 service, __u32 slot, struct up_backend *out)
{
	struct up_backend_key key = {.service = service, .slot = slot};
	const struct up_backend *backend = bpf_map_lookup_elem(&up_backends, &key);

	if (!backend)
		return false;
	*out = *backend;
	barrier();
	return out->seal == up_backend_seal(&key, &out->addr, out->port);
}

/* Which of the Service's slots this dial gets; one that no Service has where Maglev's table was just taken away. */
static __always_inline __u32 up_slot_of(const struct up_dial *dial, const struct up_service_facts *service)
{
	__u32 entry = dial->sticky % UP_MAGLEV_ENTRIES, place = entry % UP_MAGLEV_BLOCK;
	struct up_maglev_key key = {.service = service->id, .block = entry / UP_MAGLEV_BLOCK};
	const struct up_maglev *block;

	if (!(service->flags & UP_SERVICE_MAGLEV))
		return dial->random % service->slots;
	block = bpf_map_lookup_elem(&up_maglev, &key);
	/* The compiler divides by a multiplication, in which the verifier does not see the remainder's bound. */
	barrier_var(place);
	return block && place < UP_MAGLEV_BLOCK ? block->slot[place] : ~0u;
}

static __always_inline bool up_backend_equals(const struct up_backend *a, const struct up_backend *b)
{
	return up_addr_equals(&a->addr, &b->addr) && a->port == b->port;
}

struct up_search {
	struct up_backend backend;
	__u32 service;
	__u32 slots;
	__u32 slot;
	__u32 found;
};

static long up_search_slot(__u32 slot, struct up_search *search)
{
	struct up_backend backend;

	if (slot >= search->slots)
		return 1;
	if (!up_backend_at(search->service, slot, &backend) || !up_backend_equals(&backend, &search->backend))
		return 0;
	search->slot = slot;
	search->found = 1;
	return 1;
}

/* The backend that this client had, if it is still one. A change of the Service may have moved it to another slot. */
static __always_inline bool up_affinity_use(const struct up_service_facts *service, const struct up_affinity_key *key,
					    struct up_backend *out)
{
	struct up_affinity *affinity = bpf_map_lookup_elem(&up_affinity, key);
	struct up_search search = {.service = service->id, .slots = service->slots};
	__u64 now = bpf_ktime_get_ns();

	if (!affinity || now - affinity->last_ns > service->affinity_s * 1000000000ull)
		return false;
	search.backend = affinity->backend;
	if (affinity->slot >= service->slots || !up_backend_at(service->id, affinity->slot, out) ||
	    !up_backend_equals(out, &search.backend)) {
		if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop))
			return false;
		bpf_loop(UP_MAX_SLOTS_SEARCHED, up_search_slot, &search, 0);
		if (!search.found)
			return false;
		*out = search.backend;
		affinity->slot = search.slot;
	}
	affinity->last_ns = now;
	return true;
}

static __always_inline void up_affinity_keep(const struct up_affinity_key *key, const struct up_backend *backend,
					     __u32 slot)
{
	struct up_affinity affinity = {.backend = *backend, .last_ns = bpf_ktime_get_ns(), .slot = slot};

	bpf_map_update_elem(&up_affinity, key, &affinity, BPF_ANY);
}

/* False: nothing is ready. */
__noinline int up_backend_choose(const struct up_dial *dial, struct up_service_facts *service, struct up_backend *out)
{
	struct up_affinity_key key = {};

	if (!dial || !service || !out)
		return false;
	key.client_netns = dial->netns;
	key.service = service->id;
	if (service->affinity_s && service->slots && up_affinity_use(service, &key, out))
		return true;
	for (int attempt = 0; attempt < UP_ATTEMPTS; attempt++) {
		__u32 slot;

		if (!service->slots)
			return false;
		slot = up_slot_of(dial, service);
		if (up_backend_at(service->id, slot, out)) {
			if (service->affinity_s)
				up_affinity_keep(&key, out, slot);
			return true;
		}
		if (!up_service_read(dial, service))
			return false;
		key.service = service->id;
	}
	return false;
}

#endif /* UNDERPASS_BPF_SERVICES_H */
