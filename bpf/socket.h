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

/*
 * Reads. bpf_rdonly_cast() (Linux 6.2) gives a number back its type, for plain loads that yield 0 where a probe would
 * fail: a tenth of the cost of a helper call. Pointers that up_typed_*() returned are read by up_read(), which is a probe
 * where the kernel has no such cast.
 */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

#define up_read(pointer, member) (bpf_rdonly_cast ? (pointer)->member : BPF_CORE_READ(pointer, member))
#define up_read_bits(pointer, member) \
	(bpf_rdonly_cast ? (__u64)BPF_CORE_READ_BITFIELD(pointer, member) \
			 : (__u64)BPF_CORE_READ_BITFIELD_PROBED(pointer, member))

/* Reads before it stay before reads after it. */
#define up_then() asm volatile("" ::: "memory")

static __always_inline struct sock *up_typed_sock(void *sk)
{
	return bpf_rdonly_cast ? bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct sock)) : sk;
}

static __always_inline struct tcp_sock *up_typed_tcp(void *sk)
{
	return bpf_rdonly_cast ? bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct tcp_sock)) : sk;
}

static __always_inline struct inet_connection_sock *up_typed_icsk(void *sk)
{
	return bpf_rdonly_cast ? bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct inet_connection_sock)) : sk;
}

static __always_inline bool up_sock_is(struct sock *sk, __u64 cookie)
{
	return up_read(up_typed_sock(sk), __sk_common.skc_cookie.counter) == (__s64)cookie;
}

static __always_inline unsigned long up_sock_flag(enum sock_flags flag)
{
	return 1ul << flag;
}

#define UP_SOCK_FLAG(name) up_sock_flag(bpf_core_enum_value(enum sock_flags, name))

/*
 * Socket options under which redirected data would behave unlike TCP's. An application may set them at any time, so they
 * are looked at when a connection is made and at every message, in the sockets themselves: no hook on setsockopt() that
 * everybody pays for, and nothing is missed that was set before or inherited.
 */
static __always_inline enum up_why up_sender_why(struct sock *any)
{
	struct sock *sk = up_typed_sock(any);

	if (up_read(sk, __sk_common.skc_flags) & UP_SOCK_FLAG(SOCK_ZEROCOPY))
		return UP_WHY_ZEROCOPY;
	if (up_read_bits(sk, sk_tsflags))
		return UP_WHY_TIMESTAMPS;
	if (up_read(up_typed_icsk(any), icsk_ulp_ops))
		return UP_WHY_ULP;
	if (up_read_bits(up_typed_tcp(any), repair))
		return UP_WHY_REPAIR;
	return UP_WHY_NONE;
}

static __always_inline enum up_why up_receiver_why(struct sock *any)
{
	struct sock *sk = up_typed_sock(any);
	unsigned long flags = up_read(sk, __sk_common.skc_flags);

	if (up_read(sk, sk_rcvlowat) > 1)
		return UP_WHY_RCVLOWAT;
	if (flags & (UP_SOCK_FLAG(SOCK_RCVTSTAMP) | UP_SOCK_FLAG(SOCK_TIMESTAMPING_RX_SOFTWARE)))
		return UP_WHY_TIMESTAMPS;
	if (up_read(sk, sk_peek_off) >= 0)
		return UP_WHY_PEEK_OFF;
	if (up_read(sk, sk_filter))
		return UP_WHY_SOCKET_FILTER;
	if (up_read(up_typed_icsk(any), icsk_ulp_ops))
		return UP_WHY_ULP;
	if (up_read_bits(up_typed_tcp(any), recvmsg_inq))
		return UP_WHY_INQ;
	return UP_WHY_NONE;
}

static __always_inline enum up_why up_sock_why(struct sock *sk)
{
	enum up_why why = up_receiver_why(sk);

	return why ? why : up_sender_why(sk);
}

/* What besides cannot change any more once a connection stands, or hardly ever does. */
static __always_inline enum up_why up_new_sock_why(struct sock *any)
{
	struct sock *sk = up_typed_sock(any);
	struct tcp_sock *tp = up_typed_tcp(any);
	enum up_why why;

	if (bpf_core_field_exists(tp->is_mptcp) && up_read(tp, is_mptcp))
		return UP_WHY_MPTCP;
	why = up_sock_why(any);
	if (why)
		return why;
	if (bpf_core_field_exists(tp->md5sig_info) && up_read(tp, md5sig_info))
		return UP_WHY_SIGNED;
	if (bpf_core_field_exists(tp->ao_info) && up_read(tp, ao_info))
		return UP_WHY_SIGNED;
	if (up_read_bits(sk, sk_userlocks) & SOCK_RCVBUF_LOCK && up_read(sk, sk_rcvbuf) < (int)UP_MIN_LOCKED_RCVBUF)
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

/* Mapped, with nothing in its queue. */
static __always_inline bool up_is_drained(struct sock *sk)
{
	struct sk_psock *psock = up_psock_of(sk);

	return psock && up_psock_is_drained(psock);
}

#endif /* UNDERPASS_BPF_SOCKET_H */
