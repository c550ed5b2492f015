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
	__u32 clause;   /* that decided; UP_NO_CLAUSE: none did */
	__u32 bypassed; /* 1: policy has no say, and no worker either */
	/* Of those that change nothing, except where policy was bypassed: */
	__u32 would_deny;      /* the first DENY in dry run that matches; UP_NO_CLAUSE */
	__u32 audited;         /* the first AUDIT that does; UP_NO_CLAUSE */
	__u32 would_not_allow; /* 1: ALLOW policies in dry run apply, and none matches */
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

/* A row is missing: the set is being taken away. As a number without a sign beyond every clause, like UP_NO_CLAUSE. */
#define UP_NO_ROW (-2)

/* The first clause from `begin` on that is in all rows; UP_NO_CLAUSE, or UP_NO_ROW. A function of its own for the verifier,
 * which would walk the loop again for everything that may lead to it. What calls it leaves it 64 bytes of the 512 that a
 * stack has, as older kernels (6.1) count them: in steps of 32. */
__noinline int up_policy_first(const struct up_attempt *attempt, __u32 begin)
{
	const struct up_clauses *who, *from, *to, *port;
	__u64 mask = ~0ull << (begin % 64), all;
	const struct up_policy *policy;
	__u32 set;

	if (!attempt)
		return UP_NO_ROW;
	set = attempt->set;
	policy = bpf_map_lookup_elem(&up_policies, &set);
	if (!policy)
		return UP_NO_ROW;
	who = up_row_of_identity(policy, set, attempt->identity);
	port = up_row_of_port(policy, set, attempt->port);
	from = up_row_of_address(set, UP_CLIENT, &attempt->client);
	to = up_row_of_address(set, UP_SERVER, &attempt->server);
	if (!who || !from || !to || !port)
		return UP_NO_ROW;
	for (__u32 i = begin / 64;; i++) {
		/* Or clang counts up to an address, of which the verifier knows no bound. */
		barrier_var(i);
		if (i >= UP_CLAUSE_WORDS)
			break;
		all = who->words[i] & from->words[i] & to->words[i] & port->words[i] & mask;
		mask = ~0ull;
		if (!all)
			continue;
		return i * 64 + up_lowest_bit(all);
	}
	return UP_NO_CLAUSE;
}

static __always_inline __u32 up_policy_silent(const struct up_attempt *attempt, __u32 begin, __u32 end)
{
	__u32 clause = begin < end ? up_policy_first(attempt, begin) : UP_NO_CLAUSE;

	return clause < end ? clause : UP_NO_CLAUSE;
}

/* Asks for what only counts; most sets have nothing of it. */
static __always_inline void up_policy_would(const struct up_attempt *attempt, const struct up_policy *policy,
					    struct up_verdict *out)
{
	out->would_deny = up_policy_silent(attempt, policy->allow_end, policy->dry_run_deny_end);
	out->audited = up_policy_silent(attempt, policy->dry_run_allow_end, policy->clauses);
	out->would_not_allow = policy->dry_run_closes && up_policy_silent(attempt, policy->dry_run_deny_end,
									  policy->dry_run_allow_end) == UP_NO_CLAUSE;
}

static __always_inline void up_verdict_none(struct up_verdict *out, __u32 allowed)
{
	out->allowed = allowed;
	out->clause = UP_NO_CLAUSE;
	out->bypassed = 0;
	out->would_deny = UP_NO_CLAUSE;
	out->audited = UP_NO_CLAUSE;
	out->would_not_allow = 0;
}

/*
 * A function of its own for the verifier, as above. False: there is no such set, or none any more, so that what was read
 * may have been another's; nothing is allowed then.
 */
__noinline int up_policy_decide(const struct up_attempt *attempt, struct up_verdict *out)
{
	const struct up_policy *policy;
	struct up_policy head;
	__u32 set, allowed;
	int clause;

	if (!attempt || !out)
		return 0;
	set = attempt->set;
	up_verdict_none(out, !set);
	if (!set)
		return 1;
	policy = bpf_map_lookup_elem(&up_policies, &set);
	if (!policy)
		return 0;
	head = *policy;
	clause = up_policy_first(attempt, 0);
	if (clause == UP_NO_ROW)
		return 0;
	out->clause = (__u32)clause < head.allow_end ? clause : UP_NO_CLAUSE;
	allowed = out->clause < head.bypass_end ||
		  (out->clause == UP_NO_CLAUSE ? !head.closes : out->clause >= head.deny_end);
	/* Nobody asks what else there is where policy has no say. */
	if (out->clause >= head.bypass_end)
		up_policy_would(attempt, &head, out);
	/* The set's head goes before its rows do, and a number never comes back. */
	if (!bpf_map_lookup_elem(&up_policies, &set)) {
		up_verdict_none(out, 0);
		return 0;
	}
	out->allowed = allowed;
	out->bypassed = out->clause < head.bypass_end;
	return 1;
}

#endif /* UNDERPASS_BPF_POLICY_H */
