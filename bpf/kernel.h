/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The few kernel structures that the programs read, each with the few members that are read. CO-RE relocates the
 * offsets when the programs are loaded, so the layouts here mean nothing and no generated vmlinux.h is needed.
 */
#ifndef UNDERPASS_BPF_KERNEL_H
#define UNDERPASS_BPF_KERNEL_H

#include <linux/bpf.h>
#include <linux/in6.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "underpass/abi.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_TRUNC 0x20
#define MSG_DONTWAIT 0x40
#define MSG_WAITALL 0x100
#define MSG_ERRQUEUE 0x2000
#define SHUTDOWN_MASK 3
#define SOCK_RCVBUF_LOCK 2
#define SOL_SOCKET 1
#define SO_KEEPALIVE 9
#define TCP_KEEPIDLE 4
#define TCP_KEEPINTVL 5
#define TCP_KEEPCNT 6

/* struct sockaddr_in of <linux/in.h>, whose enum of protocols is not for us. */
struct up_sockaddr4 {
	__u16 family;
	__be16 port;
	__be32 addr;
	__u8 zero[8];
};

/* So often is a row read that is replaced while it is read. */
#define UP_ATTEMPTS 3

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next;
};

struct wait_queue_head {
	struct list_head head;
};

struct wait_queue_entry {
	void *func;
	struct list_head entry;
};

struct socket_wq {
	struct wait_queue_head wait;
};

struct proto {
	unsigned long *memory_pressure;
};

struct sock_cookie {
	__s64 counter;
};

struct sock_common {
	unsigned short skc_family;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num; /* local port, host order */
	unsigned char skc_state;
	struct proto *skc_prot;
	struct sock_cookie skc_cookie;
	unsigned long skc_flags; /* bits of enum sock_flags */
};

struct sock_lock {
	int owned;
	struct wait_queue_head wq; /* tasks that wait for the lock */
};

struct proto_ops {
	void *ioctl;
	void *splice_read;
};

struct socket {
	struct sock *sk;
	struct proto_ops *ops;
};

struct bpf_map {
	__u32 id;
};

struct bpf_local_storage_map {
	struct bpf_map map;
};

struct bpf_local_storage_data {
	struct bpf_local_storage_map *smap;
	__u8 data[];
};

struct bpf_local_storage {
	struct bpf_local_storage_data *cache[16];
};

struct sock {
	struct sock_common __sk_common;
	struct sock_lock sk_lock;
	struct socket *sk_socket;
	struct bpf_local_storage *sk_bpf_storage;
	struct socket_wq *sk_wq;
	void *sk_user_data;
	void *sk_filter;
	int sk_rcvbuf;
	__u16 sk_protocol;
	int sk_rcvlowat;
	int sk_peek_off;
	int sk_write_pending;
	__u32 sk_tsflags;
	__u8 sk_shutdown;
	__u8 sk_userlocks;
};

struct inet_connection_sock {
	void *icsk_ulp_ops;
};

struct tcp_sock {
	__u32 copied_seq;
	__u32 snd_una;
	__u32 write_seq;
	__u32 data_segs_in;
	__u32 data_segs_out;
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 rcv_nxt;
	__u16 urg_data;
	__u8 repair : 1;
	__u8 recvmsg_inq : 1;
	bool is_mptcp;
	void *md5sig_info;
	void *ao_info;
};

struct refcount {
	struct {
		int counter;
	} refs;
};

struct xarray {
	void *xa_head;
};

struct io_uring_task {
	struct xarray xa; /* the task's rings */
};

struct task_struct {
	unsigned int flags;
	struct io_uring_task *io_uring;
};

#define PF_EXITING 0x4

struct sk_psock {
	struct list_head ingress_msg;
	struct refcount refcnt;
};

struct seq_file {
	int poll_event;
};

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__bpf_map {
	struct bpf_map *map;
};

struct bpf_iter__tcp {
	struct sock_common *sk_common;
};

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk; /* begins with its struct sock */
};

#pragma clang attribute pop

enum sock_flags {
	SOCK_DONE, /* a FIN was received */
	SOCK_DEAD,
	SOCK_RCVTSTAMP,
	SOCK_TIMESTAMPING_RX_SOFTWARE,
	SOCK_ZEROCOPY,
};

#endif /* UNDERPASS_BPF_KERNEL_H */
