/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Connections that must not carry a byte: a SYN was believed that turned out to be a forgery when the connection was there.
 * A program cannot end a socket, so it is mapped where both directions are dropped, which holds with the agent dead; the
 * agent resets it as soon as it looks.
 */
#ifndef UNDERPASS_BPF_BARRED_H
#define UNDERPASS_BPF_BARRED_H

#include "kernel.h"

#define UP_MAX_BARRED 65536

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, UP_MAX_BARRED);
	__type(key, __u64);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} up_barred SEC(".maps");

/* False: there is no room, or somebody else's sockmap has the socket. */
static __always_inline bool up_bar(struct bpf_sock_ops *ctx, __u64 cookie)
{
	return !bpf_sock_hash_update(ctx, &up_barred, &cookie, BPF_ANY);
}

#endif /* UNDERPASS_BPF_BARRED_H */
