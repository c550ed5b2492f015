/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Memory of the queues. Redirected bytes wait in the receiver's psock queue, which no socket buffer limit bounds, and
 * every message there costs about 1 KiB outside every cgroup. So each direction is charged for what it put there since
 * the queue was last seen empty, and holds tokens for it out of two pools: the node's and the receiving pod's.
 */
#ifndef UNDERPASS_BPF_BUDGET_H
#define UNDERPASS_BPF_BUDGET_H

#include "config.h"
#include "kernel.h"
#include "pods.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UP_MAX_PODS + 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct up_budget);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_budget SEC(".maps");

static __always_inline bool up_pool_take(__u64 pool, __u64 limit, __u32 tokens)
{
	struct up_budget *budget = bpf_map_lookup_elem(&up_budget, &pool);

	if (!budget)
		return false;
	if (__sync_fetch_and_add(&budget->used, tokens) + tokens <= limit)
		return true;
	__sync_fetch_and_add(&budget->used, -(__u64)tokens);
	return false;
}

static __always_inline void up_pool_give(__u64 pool, __u32 tokens)
{
	struct up_budget *budget = bpf_map_lookup_elem(&up_budget, &pool);

	if (budget)
		__sync_fetch_and_add(&budget->used, -(__u64)tokens);
}

static __always_inline enum up_why up_tokens_take(const struct up_config *config, __u64 pod, __u32 tokens)
{
	if (!up_pool_take(0, config->node_budget, tokens))
		return UP_WHY_NODE_BUDGET;
	if (!up_pool_take(pod, config->pod_budget, tokens)) {
		up_pool_give(0, tokens);
		return UP_WHY_POD_BUDGET;
	}
	return UP_WHY_NONE;
}

/* Gives back what a direction holds. Exchanged, as the sender and the sweep may both come. */
static __always_inline void up_tokens_release(struct up_dir *dir, __u64 pod)
{
	__u32 held = __sync_lock_test_and_set(&dir->held, 0);

	if (!held)
		return;
	up_pool_give(0, held);
	up_pool_give(pod, held);
}

#endif /* UNDERPASS_BPF_BUDGET_H */
