/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the agent decided: once before loading (constants), and at any time (up_config). */
#ifndef UNDERPASS_BPF_CONFIG_H
#define UNDERPASS_BPF_CONFIG_H

#include "kernel.h"

/* 1: this kernel passed every probe that short-circuit needs (`underpassctl check`). */
const volatile __u32 up_kernel_is_fit = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct up_config);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_config SEC(".maps");

static __always_inline const struct up_config *up_config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&up_config, &zero);
}

#endif /* UNDERPASS_BPF_CONFIG_H */
