// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The entry points, and nothing else: each hands its context to the header that owns the concept. */
#include "calls.h"
#include "capture.h"
#include "connect.h"
#include "establish.h"
#include "kernel.h"
#include "short_circuit.h"
#include "sockopt.h"
#include "watch.h"

SEC("cgroup/connect4")
int up_connect4(struct bpf_sock_addr *ctx)
{
	return up_on_dial(ctx, false);
}

SEC("cgroup/connect6")
int up_connect6(struct bpf_sock_addr *ctx)
{
	return up_on_dial(ctx, true);
}

SEC("cgroup/sendmsg4")
int up_sendmsg4(struct bpf_sock_addr *ctx)
{
	return up_translate_datagram(ctx, false);
}

SEC("cgroup/sendmsg6")
int up_sendmsg6(struct bpf_sock_addr *ctx)
{
	return up_translate_datagram(ctx, true);
}

SEC("cgroup/recvmsg4")
int up_recvmsg4(struct bpf_sock_addr *ctx)
{
	up_show_sender(ctx, false);
	return 1;
}

SEC("cgroup/recvmsg6")
int up_recvmsg6(struct bpf_sock_addr *ctx)
{
	up_show_sender(ctx, true);
	return 1;
}

SEC("cgroup/getpeername4")
int up_getpeername4(struct bpf_sock_addr *ctx)
{
	up_show_peer(ctx, false);
	return 1;
}

SEC("cgroup/getpeername6")
int up_getpeername6(struct bpf_sock_addr *ctx)
{
	up_show_peer(ctx, true);
	return 1;
}

SEC("sockops")
int up_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		up_on_connect(ctx, sk);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		up_on_client_established(ctx, sk);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		up_on_server_established(ctx, sk);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		up_on_client_acknowledged(ctx, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		up_on_state(ctx, sk);
		break;
	}
	return 1;
}

SEC("sk_skb/stream_verdict")
int up_bar_in(struct __sk_buff *skb)
{
	return SK_DROP;
}

SEC("sk_msg")
int up_bar_out(struct sk_msg_md *msg)
{
	return SK_DROP;
}

SEC("sk_msg")
int up_msg(struct sk_msg_md *msg)
{
	return up_message(msg);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(up_recv, struct sock *sk, int result, int flags)
{
	up_on_recv(sk, result, flags);
	return 0;
}

SEC("fentry/tcp_splice_read")
int BPF_PROG(up_splice, struct socket *socket)
{
	up_on_call(BPF_CORE_READ(socket, sk), UP_WHY_SPLICE);
	return 0;
}

SEC("fentry/inet_ioctl")
int BPF_PROG(up_ioctl, struct socket *socket, unsigned int command)
{
	if (up_asks_for_queue(command))
		up_on_call(BPF_CORE_READ(socket, sk), UP_WHY_FIONREAD);
	return 0;
}

SEC("fentry/inet6_ioctl")
int BPF_PROG(up_ioctl6, struct socket *socket, unsigned int command)
{
	if (up_asks_for_queue(command))
		up_on_call(BPF_CORE_READ(socket, sk), UP_WHY_FIONREAD);
	return 0;
}

SEC("cgroup/getsockopt")
int up_getsockopt(struct bpf_sockopt *ctx)
{
	__s32 level = ctx->level, option = ctx->optname;
	struct bpf_sock *sk = ctx->sk;

	if (level == IPPROTO_TCP && option == UP_TCP_ZEROCOPY_RECEIVE && sk)
		up_on_zerocopy_receive(sk);
	else if (ctx->optlen > UP_SOCKOPT_BUFFER)
		ctx->optlen = 0; /* too long to be shown to programs: the kernel's own answer stands */
	return 1;
}

/* The next five are on the cgroup in which the agent makes workers' sockets, and run for those alone. */
SEC("cgroup/sock_create")
int up_mark(struct bpf_sock *ctx)
{
	struct up_worker_sk mark = {.mine = 1};

	return bpf_sk_storage_get(&up_worker_sk, ctx, &mark, BPF_SK_STORAGE_GET_F_CREATE) ? UP_ALLOW : UP_DENY;
}

SEC("cgroup/connect4")
int up_dial4(struct bpf_sock_addr *ctx)
{
	return up_on_workers_dial(ctx, false);
}

SEC("cgroup/connect6")
int up_dial6(struct bpf_sock_addr *ctx)
{
	return up_on_workers_dial(ctx, true);
}

SEC("cgroup/getsockopt")
int up_answer_opt(struct bpf_sockopt *ctx)
{
	up_on_workers_getsockopt(ctx);
	return 1;
}

SEC("cgroup/setsockopt")
int up_take_opt(struct bpf_sockopt *ctx)
{
	return up_on_workers_setsockopt(ctx);
}

SEC("perf_event")
int up_splice_slot(struct bpf_perf_event_data *ctx)
{
	struct up_registers registers = up_registers_of(ctx);

	up_on_call(up_sock_among(&registers), UP_WHY_SPLICE);
	return 0;
}

SEC("perf_event")
int up_ioctl_slot(struct bpf_perf_event_data *ctx)
{
	struct up_registers registers = up_registers_of(ctx);

	if (up_queue_command_among(&registers))
		up_on_call(up_sock_among(&registers), UP_WHY_FIONREAD);
	return 0;
}

SEC("iter/tcp")
int up_slots_of(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;

	if (common)
		up_find_slots(common);
	return 0;
}

SEC("iter/udp")
int up_udp_socks(struct bpf_iter__udp *ctx)
{
	struct sock *sk = (struct sock *)ctx->udp_sk;
	struct up_sk *me = sk ? bpf_sk_storage_get(&up_sk, sk, 0, 0) : NULL;

	if (me)
		up_tell_udp_socket(ctx->meta->seq, sk, me);
	return 0;
}

/*
 * The next two walk over up_conns. No iterator of its elements does: kernels that let nobody write through an iterator refuse
 * to load one. So they hang on the one over the kernel's maps, which ends with a call without a map.
 */
SEC("iter/bpf_map")
int up_sweep(struct bpf_iter__bpf_map *ctx)
{
	if (!ctx->map)
		bpf_for_each_map_elem(&up_conns, up_sweep_connection, NULL, 0);
	return 0;
}

/* Stops short-circuiting: the pod with netns cookie up_stop_netns, or every connection where that is 0. */
volatile __u64 up_stop_netns = 0;

SEC("iter/bpf_map")
int up_stop(struct bpf_iter__bpf_map *ctx)
{
	__u64 netns = up_stop_netns;

	if (!ctx->map)
		bpf_for_each_map_elem(&up_conns, up_stop_connection, &netns, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
