// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The decisions of the datapath, callable one by one: cgroup/connect and sockops programs cannot be run on made-up
 * input, but what they decide is inline functions, and a syscall program can call those. One program a decision; input
 * and output are globals.
 */
#include "budget.h"
#include "kernel.h"
#include "pods.h"
#include "policy.h"
#include "remotes.h"
#include "services.h"
#include "short_circuit.h"
#include "sources.h"
#include "workers.h"

struct up_pod pod_a = {}, pod_b = {};
struct up_end client = {}, server = {};
struct up_addr address = {};
struct up_dir direction = {};
struct up_config config = {};
__u64 netns = 0;
__u32 number = 0; /* ISN, sequence number, message size */

struct up_service_key dialled = {};
__u32 sticky = 0;
struct up_backend backend = {};
__u64 result = 0;

SEC("syscall")
int pair_why(void *ctx)
{
	result = up_pair_why(&pod_a, &pod_b);
	return 0;
}

SEC("syscall")
int is_loopback(void *ctx)
{
	result = up_addr_is_loopback(&address);
	return 0;
}

SEC("syscall")
int netns_of(void *ctx)
{
	result = up_netns_of(&address, netns);
	return 0;
}

__u32 standing_identity = 0, standing_policy = 0, standing_capture = 0;

/* 1: an enrolled pod is in `netns`. */
SEC("syscall")
int standing_of(void *ctx)
{
	struct up_standing standing = {};

	result = up_standing_of(netns, &standing);
	standing_identity = standing.identity;
	standing_policy = standing.policy;
	standing_capture = standing.capture;
	return 0;
}

SEC("syscall")
int source_publish(void *ctx)
{
	up_source_publish(&client, &server, number);
	return 0;
}

SEC("syscall")
int source_consume(void *ctx)
{
	struct up_source source = {};

	result = up_source_consume(&client, &server, number, &source) ? source.client_cookie : 0;
	return 0;
}

SEC("syscall")
int source_withdraw(void *ctx)
{
	up_source_withdraw(&client, &server);
	return 0;
}

/* A peer that cannot be read: its queue never looks drained. */
SEC("syscall")
int charge_why(void *ctx)
{
	struct up_message m = {.config = &config, .dir = &direction, .peer_netns = netns, .size = number};

	result = up_charge_why(&m);
	if (!result)
		up_went_redirected(&direction, number);
	return 0;
}

SEC("syscall")
int tokens_release(void *ctx)
{
	up_tokens_release(&direction, netns);
	return 0;
}

/* 0: no Service is there, 1: nothing is ready, 2: `backend`. Random where `number` is 0, as connect() is. */
SEC("syscall")
int backend_choose(void *ctx)
{
	struct up_service_facts service;
	struct up_backend chosen = {};
	struct up_dial dial = {
		.addr = dialled.addr,
		.port = dialled.port,
		.protocol = dialled.protocol,
		.netns = netns,
		.sticky = sticky,
		.random = number ?: bpf_get_prandom_u32(),
	};

	result = 0;
	if (!up_service_read(&dial, &service))
		return 0;
	result = up_backend_choose(&dial, &service, &chosen) ? 2 : 1;
	backend = chosen;
	return 0;
}

__u32 policy_set = 0, identity = 0, clause = 0, would_deny = 0, audited = 0, would_not_allow = 0, bypassed = 0;

/* Client and server as addresses and the server's port, `identity` of `policy_set`: 1 where it may be. Syscall programs
 * may sleep, and what may sleep must not look into an LPM trie. */
SEC("tc")
int policy_decide(struct __sk_buff *ctx)
{
	struct up_attempt attempt = {
		.set = policy_set,
		.identity = identity,
		.client = client.addr,
		.server = server.addr,
		.port = bpf_ntohs(server.port),
	};
	struct up_verdict verdict = {};

	up_policy_decide(&attempt, &verdict);
	clause = verdict.clause;
	would_deny = verdict.would_deny;
	audited = verdict.audited;
	would_not_allow = verdict.would_not_allow;
	bypassed = verdict.bypassed;
	result = verdict.allowed;
	return 0;
}

__u32 remote_identity = 0, remote_workload = 0;

/* How `address` is reached at the server's port. */
SEC("syscall")
int remote_of(void *ctx)
{
	struct up_remote_facts remote = {};

	up_remote_read(&address, server.port, &remote);
	remote_identity = remote.identity;
	remote_workload = remote.workload;
	result = remote.tunnel;
	return 0;
}

struct up_conn conn = {};
__u32 wanted_port = 0, wanted_tunnel = 0, wanted_direction = 0;

/* 1: the record is one of those that are told and counted. */
SEC("syscall")
int is_told(void *ctx)
{
	result = up_is_told(&conn);
	return 0;
}

/* Where a connection that a worker accepted wanted to go; 0: it may carry it nowhere. */
SEC("syscall")
int wanted_of(void *ctx)
{
	struct up_wanted wanted;

	result = up_is_for_worker(&conn);
	up_wanted_of(&conn, &wanted);
	wanted_port = wanted.port;
	wanted_tunnel = wanted.tunnel;
	wanted_direction = wanted.direction;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
