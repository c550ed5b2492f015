/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Addresses in the one form of the maps: 16 bytes, IPv4 as ::ffff:a.b.c.d, whatever family the socket has. */
#ifndef UNDERPASS_BPF_ADDRESS_H
#define UNDERPASS_BPF_ADDRESS_H

#include "kernel.h"

static __always_inline void up_addr_set4(struct up_addr *addr, __be32 ip)
{
	__builtin_memset(addr, 0, sizeof(*addr));
	addr->bytes[10] = 0xff;
	addr->bytes[11] = 0xff;
	__builtin_memcpy(&addr->bytes[12], &ip, sizeof(ip));
}

/* Reads a 32-bit field of a context as just that: clang would merge two neighbours into one load, which the verifier
 * rejects. */
#define UP_CONTEXT_FIELD(field) (*(volatile __u32 *)&(field))

#define up_addr_set6_from(addr, words) \
	up_addr_set6(addr, UP_CONTEXT_FIELD(words[0]), UP_CONTEXT_FIELD(words[1]), UP_CONTEXT_FIELD(words[2]), \
		     UP_CONTEXT_FIELD(words[3]))

static __always_inline void up_addr_set6(struct up_addr *addr, __be32 w0, __be32 w1, __be32 w2, __be32 w3)
{
	__builtin_memcpy(&addr->bytes[0], &w0, sizeof(w0));
	__builtin_memcpy(&addr->bytes[4], &w1, sizeof(w1));
	__builtin_memcpy(&addr->bytes[8], &w2, sizeof(w2));
	__builtin_memcpy(&addr->bytes[12], &w3, sizeof(w3));
}

static __always_inline bool up_addr_equals(const struct up_addr *a, const struct up_addr *b)
{
	__u64 x[2], y[2];

	__builtin_memcpy(x, a->bytes, sizeof(x));
	__builtin_memcpy(y, b->bytes, sizeof(y));
	return x[0] == y[0] && x[1] == y[1];
}

static __always_inline bool up_addr_is_v4(const struct up_addr *addr)
{
	__u64 high;
	__u32 middle;

	__builtin_memcpy(&high, &addr->bytes[0], sizeof(high));
	__builtin_memcpy(&middle, &addr->bytes[8], sizeof(middle));
	return !high && middle == bpf_htonl(0xffff);
}

/* 0.0.0.0 or ::. */
static __always_inline bool up_addr_is_unspecified(const struct up_addr *addr)
{
	struct up_addr v4, v6 = {};

	up_addr_set4(&v4, 0);
	return up_addr_equals(addr, &v4) || up_addr_equals(addr, &v6);
}

/* A 32-bit word of it, 0 to 3; the last one is the IPv4 address. */
static __always_inline __be32 up_addr_word(const struct up_addr *addr, int index)
{
	__be32 word;

	__builtin_memcpy(&word, &addr->bytes[4 * index], sizeof(word));
	return word;
}

/* 127.0.0.0/8 and ::1. */
static __always_inline bool up_addr_is_loopback(const struct up_addr *addr)
{
	__u64 high, low;

	__builtin_memcpy(&high, &addr->bytes[0], sizeof(high));
	__builtin_memcpy(&low, &addr->bytes[8], sizeof(low));
	if (high)
		return false;
	if (low == bpf_cpu_to_be64(1))
		return true;
	return (low & bpf_cpu_to_be64(0xffffffffff000000ull)) == bpf_cpu_to_be64(0x0000ffff7f000000ull);
}

#endif /* UNDERPASS_BPF_ADDRESS_H */
