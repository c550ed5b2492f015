/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Seals of rows. Since Linux 6.1 the kernel gives the memory of a row that was deleted or replaced to another row of its map
 * at once, also while a program reads it (kernel/bpf/memalloc.c, for BPF_F_NO_PREALLOC), and back again. So a row that
 * decides who may do what, or where a connection goes, carries a seal over its key and over what it decides by. Who reads it
 * copies first and believes the copy whose seal fits: another row's content, or a mixture of two, has the right seal once in
 * four billion times.
 *
 * Included by the programs and by the agent. Each function returns the seal of a row with this key and content.
 */
#ifndef UNDERPASS_SEAL_H
#define UNDERPASS_SEAL_H

#include "underpass/abi.h"

/* A call of its own would be a frame on the programs' stack. */
#define UP_INLINE inline __attribute__((always_inline))

#define UP_SEAL_START 0x5ea1u

/* A step of MurmurHash3_x86_32 (Austin Appleby, public domain). Its last mix is left out: it is one-to-one. */
static UP_INLINE __u32 up_seal_word(__u32 seal, __u32 word)
{
	word *= 0xcc9e2d51u;
	word = word << 15 | word >> 17;
	word *= 0x1b873593u;
	seal ^= word;
	seal = seal << 13 | seal >> 19;
	return seal * 5u + 0xe6546b64u;
}

static UP_INLINE __u32 up_seal_addr(__u32 seal, const struct up_addr *addr)
{
	__u32 words[4];

	__builtin_memcpy(words, addr->bytes, sizeof(words));
	for (int i = 0; i < 4; i++)
		seal = up_seal_word(seal, words[i]);
	return seal;
}

static UP_INLINE __u32 up_seal_u64(__u32 seal, __u64 number)
{
	return up_seal_word(up_seal_word(seal, (__u32)number), (__u32)(number >> 32));
}

static UP_INLINE __u32 up_pod_seal(__u64 netns_cookie, __u32 identity, __u32 policy, __u32 capture)
{
	__u32 seal = up_seal_u64(UP_SEAL_START, netns_cookie);

	seal = up_seal_word(seal, identity);
	seal = up_seal_word(seal, policy);
	return up_seal_word(seal, capture);
}

static UP_INLINE __u32 up_ip_seal(const struct up_ip_key *key, __u64 netns_cookie)
{
	return up_seal_u64(up_seal_addr(UP_SEAL_START, &key->addr), netns_cookie);
}

static UP_INLINE __u32 up_remote_seal(const struct up_remote_key *key, __u32 identity, __u32 tunnel, __u32 workload)
{
	__u32 seal = up_seal_word(up_seal_addr(UP_SEAL_START, &key->addr), key->port);

	seal = up_seal_word(seal, identity);
	seal = up_seal_word(seal, tunnel);
	return up_seal_word(seal, workload);
}

static UP_INLINE __u32 up_service_seal(const struct up_service_key *key, __u32 id, __u32 slots, __u32 affinity_s,
				       __u32 flags)
{
	__u32 seal = up_seal_addr(UP_SEAL_START, &key->addr);

	seal = up_seal_word(seal, (__u32)key->port << 16 | key->protocol);
	seal = up_seal_word(seal, id);
	seal = up_seal_word(seal, slots);
	seal = up_seal_word(seal, affinity_s);
	return up_seal_word(seal, flags);
}

static UP_INLINE __u32 up_backend_seal(const struct up_backend_key *key, const struct up_addr *addr, __be16 port)
{
	__u32 seal = up_seal_word(up_seal_word(UP_SEAL_START, key->service), key->slot);

	return up_seal_word(up_seal_addr(seal, addr), port);
}

#endif /* UNDERPASS_SEAL_H */
