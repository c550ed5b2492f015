/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Is somebody inside tcp_recvmsg() of the receiving socket? Such a reader looks at the TCP queue alone: redirected data
 * would not wake it, or would be overtaken by it. Readers that wait in tcp_bpf_recvmsg() are fine: they look at the
 * redirected queue first.
 *
 * Both sleep on the socket's wait queue with woken_wake_function, so the queue cannot tell them apart; but whoever is in
 * tcp_bpf_recvmsg() holds a reference on the psock, and a sleeper in tcp_recvmsg() does not. More such sleepers than
 * references (beyond the map's own) means that one of them sleeps in tcp_recvmsg().
 */
#ifndef UNDERPASS_BPF_READER_H
#define UNDERPASS_BPF_READER_H

#include "kernel.h"
#include "socket.h"

#define UP_MAX_WAITERS 16

/* Its address; 0: the kernel does not show it. */
const volatile __u64 up_woken_wake_function = 0;

static __always_inline bool up_sock_is_owned(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_lock.owned);
}

/* Entries of a wait queue with this wake-up function (0: any), or -1 when there are too many to look at, or when an entry
 * left under our feet (somebody's poll() ended): the walk holds no lock. `head` is the address of its list. A function of
 * its own for the verifier, which would multiply the loop with everything round its calls. */
__noinline int up_count_waiters(__u64 head, __u64 func)
{
	struct list_head *end = (struct list_head *)head;
	struct list_head *position = BPF_CORE_READ(end, next);
	int waiters = 0;

	for (int i = 0; i < UP_MAX_WAITERS; i++) {
		struct wait_queue_entry *entry;

		if (position == end)
			return waiters;
		entry = (struct wait_queue_entry *)((unsigned long)position -
						    bpf_core_field_offset(struct wait_queue_entry, entry));
		if (!func || (__u64)BPF_CORE_READ(entry, func) == func)
			waiters++;
		position = BPF_CORE_READ(position, next);
	}
	return -1;
}

/* Tasks asleep in a recv or send call on the socket, or -1. */
static __always_inline int up_sleepers(struct sock *sk)
{
	struct socket_wq *wq = BPF_CORE_READ(sk, sk_wq);

	return up_count_waiters((__u64)wq + bpf_core_field_offset(struct socket_wq, wait) +
					bpf_core_field_offset(struct wait_queue_head, head),
				up_woken_wake_function);
}

/* Sleepers without a reference on the psock are inside tcp_recvmsg(). */
static __always_inline bool up_is_accounted(int sleepers, int references)
{
	return sleepers >= 0 && sleepers <= references;
}

/* UP_WHY_THREADS: a thread sleeps in recv() on this socket, on which another sends. Writers that wait for room sleep on the
 * same queue, but are counted. Seen twice, since it is held against the connection for good; what is seen once only, or not
 * clearly, keeps one message on TCP. */
static __always_inline enum up_why up_own_reader_why(struct sock *sk)
{
	int sleepers = up_sleepers(sk), writers = BPF_CORE_READ(sk, sk_write_pending);

	if (sleepers >= 0 && sleepers <= writers)
		return UP_WHY_NONE;
	return sleepers > writers && up_sleepers(sk) > writers ? UP_WHY_THREADS : UP_WHY_READER_WAITS;
}

/*
 * UP_WHY_NONE when no reader is inside tcp_recvmsg(). A reader leaves the wait queue only with the socket lock held and
 * joins it before it lets go of the lock, so one look at the lock between two at the queue finds it in one or the other.
 *
 * A thread that is sending on the receiving socket holds a reference too, without sleeping, and could stand in for a
 * sleeper of the wrong kind. It does for well under a microsecond of each send, so where there are sleepers the sum must
 * come out right UP_SURE_ATTEMPTS times in a row.
 */
static __always_inline enum up_why up_reader_why(struct sock *sk, struct sk_psock *psock, struct up_dir *dir)
{
	int references = BPF_CORE_READ(psock, refcnt.refs.counter) - 1;
	int before = up_sleepers(sk), after;
	bool owned = up_sock_is_owned(sk);

	after = up_sleepers(sk);
	if (!up_is_accounted(before, references) || !up_is_accounted(after, references)) {
		dir->sure = 0;
		return UP_WHY_READER_WAITS;
	}
	if (owned)
		return UP_WHY_READER_BUSY;
	if ((before || after) && ++dir->sure < UP_SURE_ATTEMPTS)
		return UP_WHY_READER_WAITS;
	dir->sure = 0;
	return UP_WHY_NONE;
}

/*
 * The kernel takes the reader's socket lock to queue a message there, and a reader holds it while it copies. Who comes upon
 * it sleeps, and is woken by an interrupt to its processor: over large messages that is most of the time. So wait for it
 * here first, as a mutex does for an owner that runs, and at most as long as copying a large message takes.
 */
#define UP_PATIENCE_NS 20000

struct up_patience {
	__u64 sock;
	__u64 until;
};

static long up_is_still_owned(__u32 round, struct up_patience *patience)
{
	struct sock *sk = up_typed_sock(up_sock_at(patience->sock));

	return !up_read(sk, sk_lock.owned) || bpf_ktime_get_ns() > patience->until;
}

static __always_inline void up_await_reader(struct sock *sk)
{
	struct up_patience patience = {.sock = (__u64)sk};

	if (!up_read(up_typed_sock(sk), sk_lock.owned))
		return;
	patience.until = bpf_ktime_get_ns() + UP_PATIENCE_NS;
	bpf_loop(UP_PATIENCE_NS, up_is_still_owned, &patience, 0);
}

#endif /* UNDERPASS_BPF_READER_H */
