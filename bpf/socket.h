/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What a struct sock says about itself. A socket is named here by its address as a number: our own, or the peer's as
 * noted in its connection record. The peer may be gone and its memory be another socket by now (SLAB_TYPESAFE_BY_RCU),
 * so every read is a probe that cannot fault, and what was read counts only between two looks at the cookie.
 */
#ifndef UNDERPASS_BPF_SOCKET_H
#define UNDERPASS_BPF_SOCKET_H

#include "kernel.h"

static __always_inline struct sock *up_sock_at(__u64 address)
{
	return (struct sock *)address;
}

/* Gives a number back its type, for plain loads that read 0 where a probe would fail: a tenth of the cost of a helper
 * call. Linux 6.2; without it every read is a probe. */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

/* Members are read in the order in which the statements stand. */
#define up_then() asm volatile("" ::: "memory")

static __always_inline bool up_sock_is(struct sock *sk, __u64 cookie)
{
	if (bpf_rdonly_cast) {
		sk = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct sock));
		return sk->__sk_common.skc_cookie.counter == (__s64)cookie;
	}
	return BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) == (__s64)cookie;
}

/* What every message must know of its reader. */
struct up_look {
	unsigned long flags;
	int rcvlowat;
	__u32 copied_seq;
	__u8 state;
};

static __always_inline struct up_look up_look_at(struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	if (bpf_rdonly_cast) {
		sk = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct sock));
		tp = bpf_rdonly_cast(tp, bpf_core_type_id_kernel(struct tcp_sock));
		return (struct up_look){
			.flags = sk->__sk_common.skc_flags,
			.rcvlowat = sk->sk_rcvlowat,
			.copied_seq = tp->copied_seq,
			.state = sk->__sk_common.skc_state,
		};
	}
	return (struct up_look){
		.flags = BPF_CORE_READ(sk, __sk_common.skc_flags),
		.rcvlowat = BPF_CORE_READ(sk, sk_rcvlowat),
		.copied_seq = BPF_CORE_READ(tp, copied_seq),
		.state = BPF_CORE_READ(sk, __sk_common.skc_state),
	};
}

static __always_inline unsigned long up_sock_flag(enum sock_flags flag)
{
	return 1ul << flag;
}

#define UP_SOCK_FLAG(name) up_sock_flag(bpf_core_enum_value(enum sock_flags, name))

/* Socket options under which redirected data would behave unlike TCP's, all at once: for the moments when a connection
 * is made or a direction is about to be redirected. */
static __always_inline enum up_why up_sock_why(struct sock *sk)
{
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)sk;
	unsigned long flags = BPF_CORE_READ(sk, __sk_common.skc_flags);
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	if (bpf_core_field_exists(tp->is_mptcp) && BPF_CORE_READ(tp, is_mptcp))
		return UP_WHY_MPTCP;
	if (BPF_CORE_READ(icsk, icsk_ulp_ops))
		return UP_WHY_ULP;
	if (BPF_CORE_READ_BITFIELD_PROBED(tp, repair))
		return UP_WHY_REPAIR;
	if (bpf_core_field_exists(tp->md5sig_info) && BPF_CORE_READ(tp, md5sig_info))
		return UP_WHY_SIGNED;
	if (bpf_core_field_exists(tp->ao_info) && BPF_CORE_READ(tp, ao_info))
		return UP_WHY_SIGNED;
	if (BPF_CORE_READ(sk, sk_filter))
		return UP_WHY_SOCKET_FILTER;
	if (flags & UP_SOCK_FLAG(SOCK_ZEROCOPY))
		return UP_WHY_ZEROCOPY;
	if (flags & (UP_SOCK_FLAG(SOCK_RCVTSTAMP) | UP_SOCK_FLAG(SOCK_TIMESTAMPING_RX_SOFTWARE)))
		return UP_WHY_TIMESTAMPS;
	if (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_tsflags))
		return UP_WHY_TIMESTAMPS;
	if (BPF_CORE_READ(sk, sk_peek_off) >= 0)
		return UP_WHY_PEEK_OFF;
	if (BPF_CORE_READ_BITFIELD_PROBED(tp, recvmsg_inq))
		return UP_WHY_INQ;
	if (BPF_CORE_READ(sk, sk_rcvlowat) > 1)
		return UP_WHY_RCVLOWAT;
	if (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_RCVBUF_LOCK &&
	    BPF_CORE_READ(sk, sk_rcvbuf) < (int)UP_MIN_LOCKED_RCVBUF)
		return UP_WHY_SMALL_RCVBUF;
	return UP_WHY_NONE;
}

static __always_inline bool up_sock_tcp_pressure(struct sock *sk)
{
	unsigned long *pressure = BPF_CORE_READ(sk, __sk_common.skc_prot, memory_pressure);
	unsigned long value = 0;

	if (pressure)
		bpf_probe_read_kernel(&value, sizeof(value), pressure);
	return value;
}

/* The low bits of sk_user_data are flags (SK_USER_DATA_*); a psock is aligned to more than that. */
static __always_inline struct sk_psock *up_psock_of(struct sock *sk)
{
	return (struct sk_psock *)((unsigned long)BPF_CORE_READ(sk, sk_user_data) & ~7ul);
}

static __always_inline bool up_psock_is_drained(struct sk_psock *psock)
{
	unsigned long head = (unsigned long)psock + bpf_core_field_offset(struct sk_psock, ingress_msg);

	return (unsigned long)BPF_CORE_READ(psock, ingress_msg.next) == head;
}

#endif /* UNDERPASS_BPF_SOCKET_H */
