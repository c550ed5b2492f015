/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * May this connection be? Four look-ups find the rows of who dials, from which address, at which address and port; the
 * first clause that is in all of them decides. What is not there that should be denies: a set that is being taken away, or
 * one that found no room.
 */
#ifndef UNDERPASS_BPF_POLICY_H
#define UNDERPASS_BPF_POLICY_H

#include "address.h"
#include "kernel.h"

#define UP_MAX_POLICY_SETS 4096
#define UP_MAX_POLICY_ROWS 131072
#define UP_MAX_POLICY_WHO 131072
#define UP_MAX_POLICY_PORTS 131072
#define UP_MAX_POLICY_IPS 524288

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_POLICY_SETS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct up_policy);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_policies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_POLICY_ROWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_row_key);
	__type(value, struct up_clauses);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_clauses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_POLICY_WHO);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_who_key);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_policy_who SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_POLICY_PORTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_port_key);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_policy_port SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, UP_MAX_POLICY_IPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_block_key);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_policy_ip SEC(".maps");

/* A connection as policy sees it. */
struct up_attempt {
	__u32 set; /* 0: no policy is in its way */
	__u32 identity;
	struct up_addr client;
	struct up_addr server;
	__u16 port; /* of the server, host order */
};

struct up_verdict {
	__u32 allowed;
	__u32 clause; /* that decided; UP_NO_CLAUSE: none did */
	__u32 silent; /* the first that would have, of those that change nothing; UP_NO_CLAUSE */
};

static __always_inline const struct up_clauses *up_row(__u32 set, const __u32 *row)
{
	struct up_row_key key = {.set = set};

	if (!row)
		return NULL;
	key.row = *row;
	return bpf_map_lookup_elem(&up_clauses, &key);
}

static __always_inline const struct up_clauses *up_row_of_identity(const struct up_policy *policy, __u32 set,
								   __u32 identity)
{
	struct up_who_key key = {.set = set, .identity = identity};
	const __u32 *row = bpf_map_lookup_elem(&up_policy_who, &key);

	return up_row(set, row ?: &policy->unknown_identity_row);
}

static __always_inline const struct up_clauses *up_row_of_port(const struct up_policy *policy, __u32 set, __u16 port)
{
	struct up_port_key key = {.set = set, .port = port};
	const __u32 *row = bpf_map_lookup_elem(&up_policy_port, &key);

	return up_row(set, row ?: &policy->other_ports_row);
}

static __always_inline const struct up_clauses *up_row_of_address(__u32 set, __u32 end, const struct up_addr *addr)
{
	struct up_block_key key = {.prefix = UP_BLOCK_PREFIX + 128, .set = set, .end = end, .addr = *addr};

	return up_row(set, bpf_map_lookup_elem(&up_policy_ip, &key));
}

/* The number of the lowest bit that is set; `word` is not 0. A function of its own for the verifier: its branches multiply. */
__noinline int up_lowest_bit(__u64 word)
{
	int bit = 0;

	if (!(word & 0xffffffff)) {
		bit += 32;
		word >>= 32;
	}
	if (!(word & 0xffff)) {
		bit += 16;
		word >>= 16;
	}
	if (!(word & 0xff)) {
		bit += 8;
		word >>= 8;
	}
	if (!(word & 0xf)) {
		bit += 4;
		word >>= 4;
	}
	if (!(word & 0x3)) {
		bit += 2;
		word >>= 2;
	}
	return bit + !(word & 1);
}

/* The first word in which all rows have bits in common: of clauses that decide, and of those that do not. */
struct up_common {
	__u64 deciding;
	__u64 silent;
	__u64 deciding_at; /* meaningless while the word is 0 */
	__u64 silent_at;
};

/* 1 where `word` is 0, else 0, without a branch: the verifier would follow both ways in each round of a loop. To multiply
 * by: it follows both ways of an AND with a mask, too. */
static __always_inline __u64 up_is_zero(__u64 word)
{
	__u64 negative = -word;

	barrier_var(negative);
	return 1 - ((word | negative) >> 63);
}

/*
 * A function of its own for the verifier, which would walk the loop again for everything that may lead to it. False: there
 * is no such set, or none any more, so that what was read may have been another's; nothing is allowed then.
 */
__noinline int up_policy_decide(const struct up_attempt *attempt, struct up_verdict *out)
{
	const struct up_clauses *who, *from, *to, *port, *decides;
	struct up_common common = {};
	__u32 set, bypass_end, deny_end, closes;
	const struct up_policy *policy;

	if (!attempt || !out)
		return 0;
	set = attempt->set;
	out->allowed = !set;
	out->clause = UP_NO_CLAUSE;
	out->silent = UP_NO_CLAUSE;
	if (!set)
		return 1;
	policy = bpf_map_lookup_elem(&up_policies, &set);
	if (!policy)
		return 0;
	who = up_row_of_identity(policy, set, attempt->identity);
	from = up_row_of_address(set, UP_CLIENT, &attempt->client);
	to = up_row_of_address(set, UP_SERVER, &attempt->server);
	port = up_row_of_port(policy, set, attempt->port);
	decides = up_row(set, &policy->deciding_row);
	if (!who || !from || !to || !port || !decides)
		return 0;
	for (__u32 i = 0; i < UP_CLAUSE_WORDS; i++) {
		__u64 all = who->words[i] & from->words[i] & to->words[i] & port->words[i];
		__u64 first = up_is_zero(common.deciding), first_silent = up_is_zero(common.silent);

		common.deciding += (all & decides->words[i]) * first;
		common.deciding_at += (i - common.deciding_at) * first;
		common.silent += (all & ~decides->words[i]) * first_silent;
		common.silent_at += (i - common.silent_at) * first_silent;
	}
	bypass_end = policy->bypass_end;
	deny_end = policy->deny_end;
	closes = policy->closes;
	/* The set's head goes before its rows do, and a number never comes back. */
	if (!bpf_map_lookup_elem(&up_policies, &set))
		return 0;
	if (common.silent)
		out->silent = common.silent_at * 64 + up_lowest_bit(common.silent);
	if (!common.deciding) {
		out->allowed = !closes;
		return 1;
	}
	out->clause = common.deciding_at * 64 + up_lowest_bit(common.deciding);
	out->allowed = out->clause < bypass_end || out->clause >= deny_end;
	/* Nobody asks what else there is where policy has no say. */
	if (out->clause < bypass_end)
		out->silent = UP_NO_CLAUSE;
	return 1;
}

#endif /* UNDERPASS_BPF_POLICY_H */
