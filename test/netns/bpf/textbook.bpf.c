// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Somebody else's programs on the cgroup of a test: the textbook sockmap acceleration, which redirects every message,
 * knows no network namespace and bounds nothing; and a connect4 that lets everything through. */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2

struct tb_key {
	__u32 local_ip;
	__u32 remote_ip;
	__u32 local_port;
	__u32 remote_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 4096);
	__type(key, struct tb_key);
	__type(value, __u64);
} tb_socks SEC(".maps");

/* 0: maps and redirects nothing. 1: everything. 2: some messages, as chance has it. */
volatile __u32 tb_redirects = 1;

SEC("sockops")
int tb_sockops(struct bpf_sock_ops *ctx)
{
	struct tb_key key = {};

	if (ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	if (ctx->family != AF_INET)
		return 1;
	key.local_ip = ctx->local_ip4;
	key.remote_ip = ctx->remote_ip4;
	key.local_port = ctx->local_port;
	key.remote_port = bpf_ntohl(ctx->remote_port);
	/* Where two pods use the same addresses, the clients' ends replace each other and the first server's stays. */
	bpf_sock_hash_update(ctx, &tb_socks, &key,
			     ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ? BPF_ANY : BPF_NOEXIST);
	return 1;
}

SEC("sk_msg")
int tb_msg(struct sk_msg_md *msg)
{
	struct tb_key peer = {};

	peer.local_ip = msg->remote_ip4;
	peer.remote_ip = msg->local_ip4;
	peer.local_port = bpf_ntohl(msg->remote_port);
	peer.remote_port = msg->local_port;
	if (tb_redirects == 1 || (tb_redirects == 2 && bpf_get_prandom_u32() % 2))
		bpf_msg_redirect_hash(msg, &tb_socks, &peer, BPF_F_INGRESS);
	return SK_PASS;
}

SEC("cgroup/connect4")
int tb_connect4(struct bpf_sock_addr *ctx)
{
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
