/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Is another thread's message in flight? The kernel lets go of the sender's socket lock between the verdict and the
 * receiver's queue. A message that goes by TCP in that moment may reach the reader first, and pull the next ones of the
 * other thread past the one in flight: the reader decides without a lock that TCP has bytes and the queue has none.
 *
 * So a direction leaves UP_DIR_REDIRECT only when nobody else is inside. Whoever sends holds a reference on the socket's
 * psock for the whole call: beyond the map's own and the caller's, references are sleepers on the socket, tasks that
 * wait for its lock (before their verdict, or after their message arrived), or messages in flight.
 */
#ifndef UNDERPASS_BPF_WRITER_H
#define UNDERPASS_BPF_WRITER_H

#include "kernel.h"
#include "reader.h"
#include "socket.h"

/* To be asked with the lock of `sk` held. Doubt means yes. */
static __always_inline bool up_others_in_flight(struct sock *sk)
{
	struct sk_psock *psock = up_psock_of(sk);
	int references, sleepers, waiters;

	if (!psock)
		return false;
	/* The waiters first: one of them that becomes a sender meanwhile is counted among the references. */
	waiters = up_count_waiters((__u64)sk + bpf_core_field_offset(struct sock, sk_lock.wq.head), 0);
	sleepers = up_sleepers(sk);
	references = BPF_CORE_READ(psock, refcnt.refs.counter) - 2;
	return waiters < 0 || sleepers < 0 || references > waiters + sleepers;
}

#endif /* UNDERPASS_BPF_WRITER_H */
