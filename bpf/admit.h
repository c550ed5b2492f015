/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Asks policy, and accounts for what it said: counters that lose nothing, and an event that names the clause. */
#ifndef UNDERPASS_BPF_ADMIT_H
#define UNDERPASS_BPF_ADMIT_H

#include "flows.h"
#include "kernel.h"
#include "pods.h"
#include "policy.h"

#define UP_MAX_DENIED 16384

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_DENIED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct up_denied_key);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_denied SEC(".maps");

static __always_inline void up_denied_count(__u32 set, __u32 clause, __u32 end, __u32 silent)
{
	struct up_denied_key key = {.set = set, .clause = clause, .end = end, .silent = silent};
	__u64 *count = bpf_map_lookup_elem(&up_denied, &key), none = 0;

	if (!count) {
		bpf_map_update_elem(&up_denied, &key, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&up_denied, &key);
	}
	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline void up_denied_tell(const struct up_attempt *attempt, __u32 end, __u32 clause,
					   __u64 client_netns, __u64 server_netns)
{
	struct up_flow *flow = bpf_ringbuf_reserve(&up_flows, sizeof(*flow), 0);

	if (!flow) {
		up_count_lost_flow();
		return;
	}
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->time_ns = bpf_ktime_get_ns();
	flow->started_ns = flow->time_ns;
	flow->event = UP_FLOW_DENIED;
	flow->protocol = IPPROTO_TCP;
	flow->client_netns = client_netns;
	flow->server_netns = server_netns;
	flow->client = attempt->client;
	flow->server = attempt->server;
	flow->server_port = bpf_htons(attempt->port);
	flow->end = end;
	flow->policy = attempt->set;
	flow->clause = clause;
	bpf_ringbuf_submit(flow, BPF_RB_NO_WAKEUP);
}

/* Decides by the set that the server's row named. One that is gone has a successor: the row is read again. */
static __always_inline void up_judge_attempt(struct up_attempt *attempt, __u64 server_netns, struct up_verdict *out)
{
	for (int i = 0; i < UP_ATTEMPTS; i++) {
		struct up_standing server = {};

		if (up_policy_decide(attempt, out))
			return;
		up_standing_of(server_netns, &server);
		attempt->set = server.policy;
	}
}

enum up_admission {
	UP_REFUSED = 0,
	UP_ADMITTED = 1,
	UP_BYPASSED = 2, /* neither policy nor a worker has a say */
};

/* `end`: which side asks. */
static __always_inline enum up_admission up_admits(struct up_attempt *attempt, __u32 end, __u64 client_netns,
						   __u64 server_netns)
{
	struct up_verdict verdict = {};

	up_judge_attempt(attempt, server_netns, &verdict);
	if (verdict.would_deny != UP_NO_CLAUSE)
		up_denied_count(attempt->set, verdict.would_deny, end, 1);
	if (verdict.would_not_allow)
		up_denied_count(attempt->set, UP_NO_CLAUSE, end, 1);
	if (verdict.audited != UP_NO_CLAUSE)
		up_denied_count(attempt->set, verdict.audited, end, 1);
	if (verdict.allowed)
		return verdict.bypassed ? UP_BYPASSED : UP_ADMITTED;
	up_denied_count(attempt->set, verdict.clause, end, 0);
	up_denied_tell(attempt, end, verdict.clause, client_netns, server_netns);
	return UP_REFUSED;
}

/* Policy lets it in as far as the kernel can tell, and the worker that is to decide is not there, or it went past it. */
static __always_inline void up_refused_undecided(const struct up_attempt *attempt, __u32 end, __u64 client_netns,
						 __u64 server_netns)
{
	up_denied_count(attempt->set, UP_NO_WORKER, end, 0);
	up_denied_tell(attempt, end, UP_NO_WORKER, client_netns, server_netns);
}

/* The same of a connection that was let in already, and turns out to be nobody's that is known. */
static __always_inline bool up_admits_stranger(struct up_attempt *attempt, __u64 server_netns)
{
	struct up_verdict verdict = {};

	attempt->identity = UP_IDENTITY_UNAUTHENTICATED;
	up_judge_attempt(attempt, server_netns, &verdict);
	if (verdict.allowed)
		return true;
	up_denied_count(attempt->set, verdict.clause, UP_SERVER, 0);
	up_denied_tell(attempt, UP_SERVER, verdict.clause, 0, server_netns);
	return false;
}

#endif /* UNDERPASS_BPF_ADMIT_H */
