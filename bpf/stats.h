/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Counters since the maps were made, per CPU, so that counting never contends. */
#ifndef UNDERPASS_BPF_STATS_H
#define UNDERPASS_BPF_STATS_H

#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct up_stats);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_stats SEC(".maps");

static __always_inline struct up_stats *up_stats_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&up_stats, &zero);
}

static __always_inline void up_count_connection(enum up_way way)
{
	struct up_stats *stats = up_stats_get();

	if (stats && way < 3)
		stats->connections[way]++;
}

static __always_inline void up_count_fallback(enum up_why why)
{
	struct up_stats *stats = up_stats_get();

	if (stats && why < UP_WHY_COUNT)
		stats->fallbacks[why]++;
}

static __always_inline void up_count_reset(enum up_why why)
{
	struct up_stats *stats = up_stats_get();

	if (stats && why < UP_WHY_COUNT)
		stats->resets[why]++;
}

static __always_inline void up_count_lost_flow(void)
{
	struct up_stats *stats = up_stats_get();

	if (stats)
		stats->flows_lost++;
}

static __always_inline void up_count_redirect(__u32 bytes)
{
	struct up_stats *stats = up_stats_get();

	if (stats) {
		stats->redirected_messages++;
		stats->redirected_bytes += bytes;
	}
}

#endif /* UNDERPASS_BPF_STATS_H */
