/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Calls that reach a socket past recv(), and that a mapped socket answers wrongly: splice() looks at the TCP queue alone,
 * FIONREAD counts one of the two queues. Seen at their beginning, by whichever of two means the kernel has: fentry on the
 * function, or a hardware watchpoint on the slot of the table of functions by which the kernel finds it: nothing but
 * such a call reads that word, so nobody else pays. (Execution breakpoints in the kernel need CONFIG_KPROBES; data
 * watchpoints do not.)
 */
#ifndef UNDERPASS_BPF_CALLS_H
#define UNDERPASS_BPF_CALLS_H

#include <linux/bpf_perf_event.h>

#include "conns.h"
#include "habits.h"
#include "kernel.h"
#include "sockopt.h"
#include "socket.h"

#define UP_FIONREAD 0x541b /* also SIOCINQ */
#define UP_SIOCATMARK 0x8905

/* Set by the agent. */
volatile __u32 up_sk_map_id = 0;  /* kernel's id of the map up_sk */
volatile __u32 up_inq_counts = 0; /* what FIONREAD of a mapped socket counts on this kernel: the two bits below */
#define UP_INQ_REDIRECTED 1u
#define UP_INQ_TCP 2u

/* What bpf_sk_storage_get(&up_sk, …) would return, for a socket that is only a number here. Whoever looked it up before
 * has put it into the cache of the socket's storage. */
static __always_inline bool up_sk_copy(struct sock *sk, struct up_sk *copy)
{
	struct bpf_local_storage *storage = BPF_CORE_READ(sk, sk_bpf_storage);
	struct bpf_local_storage_data *data;
	__u32 wanted = up_sk_map_id;

	if (!storage || !wanted)
		return false;
	for (int i = 0; i < 16; i++) {
		data = BPF_CORE_READ(storage, cache[i]);
		if (data && BPF_CORE_READ(data, smap, map.id) == wanted)
			return !bpf_probe_read_kernel(
				copy, sizeof(*copy),
				(void *)data + bpf_core_field_offset(struct bpf_local_storage_data, data));
	}
	return false;
}

/* Is the answer that a mapped socket is about to give to FIONREAD another than TCP's? */
static __always_inline bool up_inq_is_wrong(struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	struct sk_psock *psock = up_psock_of(sk);

	if (!(up_inq_counts & UP_INQ_TCP) && BPF_CORE_READ(tp, rcv_nxt) != BPF_CORE_READ(tp, copied_seq))
		return true;
	return !(up_inq_counts & UP_INQ_REDIRECTED) && psock && !up_psock_is_drained(psock);
}

/*
 * A call named by `why` begins on `sk`. A splice() that finds redirected data passes it by: it hangs, or skips bytes, so
 * the connection is over. A wrong count misleads (a server that believes it waits for ever), which `on` puts up with
 * until the connection is unmapped, and `auto` does not.
 */
static __always_inline void up_on_call(struct sock *sk, enum up_why why)
{
	struct up_conn *conn;
	struct sk_psock *psock;
	struct up_sk me;

	if (!up_sk_copy(sk, &me))
		return;
	conn = up_conn_find(me.conn);
	if (!conn || !up_conn_is_watched(conn))
		return;
	up_note_stop(conn, me.end & 1, why);
	if (!conn->paired || !conn->end[me.end & 1].mapped)
		return;
	up_wake_agent(me.conn);
	psock = up_psock_of(sk);
	if (why == UP_WHY_SPLICE ? psock && !up_psock_is_drained(psock) : up_inq_is_wrong(sk) && up_is_learned(conn))
		up_conn_break(conn, me.end & 1, why);
}

/* Payload that is mapped instead of copied. Looked for while somebody is learned from, and not after: the hook costs every
 * getsockopt() of the cgroup. */
#define UP_TCP_ZEROCOPY_RECEIVE 35

static __always_inline void up_on_zerocopy_receive(struct bpf_sock *sk)
{
	struct up_sk *me = bpf_sk_storage_get(&up_sk, sk, 0, 0);
	struct up_conn *conn = me ? up_conn_find(me->conn) : NULL;

	if (conn && up_conn_is_watched(conn))
		up_note_stop(conn, me->end & 1, UP_WHY_UNSEEN_READ);
}

static __always_inline bool up_asks_for_queue(__u32 command)
{
	return command == UP_FIONREAD || command == UP_SIOCATMARK;
}

/* At a watchpoint the call's arguments are in registers; in which, the compiler of the kernel decided. A socket is known
 * by that it points to a sock that points back. */
static __always_inline struct sock *up_sock_in(__u64 reg)
{
	struct socket *socket = (struct socket *)reg;
	struct sock *sk = BPF_CORE_READ(socket, sk);

	return sk && BPF_CORE_READ(sk, sk_socket) == socket ? sk : NULL;
}

struct up_registers {
	__u64 value[16];
};

static __always_inline struct up_registers up_registers_of(struct bpf_perf_event_data *ctx)
{
#if defined(__TARGET_ARCH_x86)
	return (struct up_registers){{ctx->regs.rdi, ctx->regs.rsi, ctx->regs.rdx, ctx->regs.rcx, ctx->regs.rax,
				      ctx->regs.rbx, ctx->regs.rbp, ctx->regs.r8, ctx->regs.r9, ctx->regs.r10,
				      ctx->regs.r11, ctx->regs.r12, ctx->regs.r13, ctx->regs.r14, ctx->regs.r15}};
#else
	return (struct up_registers){{0}}; /* no watchpoints there: fentry or nothing */
#endif
}

static __always_inline struct sock *up_sock_among(const struct up_registers *registers)
{
	for (int i = 0; i < 16; i++) {
		struct sock *sk = up_sock_in(registers->value[i]);

		if (sk)
			return sk;
	}
	return NULL;
}

static __always_inline bool up_queue_command_among(const struct up_registers *registers)
{
	for (int i = 0; i < 16; i++)
		if (up_asks_for_queue(registers->value[i]))
			return true;
	return false;
}

/* Addresses of the slots, for IPv4 and IPv6: read off two sockets that the agent has made, of these cookies. */
__u64 up_slot_cookies[2] = {};
__u64 up_splice_slots[2] = {};
__u64 up_ioctl_slots[2] = {};

static __always_inline void up_find_slots(struct sock_common *common)
{
	struct sock *sk = (struct sock *)common;
	struct proto_ops *ops = BPF_CORE_READ(sk, sk_socket, ops);
	int v6 = BPF_CORE_READ(common, skc_family) == AF_INET6;
	__u64 cookie = BPF_CORE_READ(common, skc_cookie.counter);

	if (!ops || !cookie || cookie != up_slot_cookies[v6])
		return;
	up_splice_slots[v6] = (__u64)ops + bpf_core_field_offset(struct proto_ops, splice_read);
	up_ioctl_slots[v6] = (__u64)ops + bpf_core_field_offset(struct proto_ops, ioctl);
}

#endif /* UNDERPASS_BPF_CALLS_H */
