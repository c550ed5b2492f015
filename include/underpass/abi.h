/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the BPF programs and the C++ side share: keys and values of the pinned maps, and the numbers in them. Both include
 * it, and besides it seal.h alone, so it holds plain C structs with fixed widths, explicit padding and no pointers. Both
 * compilers check the layout (the assertions at the end), and a pinned map says by UP_LAYOUT which one it has.
 *
 * Byte order: fields of type __be16 and struct up_addr are in network order, all others in host order.
 * Times: nanoseconds of CLOCK_MONOTONIC (bpf_ktime_get_ns).
 */
#ifndef UNDERPASS_ABI_H
#define UNDERPASS_ABI_H

#include <linux/types.h>

/* Raise it with every change of a key, a value or the meaning of a number below. Sockets that live through an upgrade
 * keep the old sk_msg program and its maps, so an agent refuses pinned maps of another layout instead of guessing. */
#define UP_LAYOUT 10

#define UP_NS_NAME_LEN 64   /* RFC 1123 label, 63 + NUL */
#define UP_POD_NAME_LEN 256 /* RFC 1123 subdomain, 253 + NUL */

/* An IPv6 address, or an IPv4 address in its v4-mapped form ::ffff:a.b.c.d, so that dual-stack sockets need no second
 * lookup. */
struct up_addr {
	__u8 bytes[16];
} __attribute__((aligned(4)));

/* How a connection's payload travels. */
enum up_way {
	UP_WAY_DIRECT = 0,        /* plain kernel TCP */
	UP_WAY_SHORT_CIRCUIT = 1, /* mapped on both ends: socket to socket whenever that is as good as TCP */
	UP_WAY_PROXIED = 2,       /* through the node's worker */
};

/* Mode of a pod, annotation underpass.dev/short-circuit. The smaller of the two ends wins. */
enum up_mode {
	UP_MODE_OFF = 0,
	UP_MODE_AUTO = 1, /* learning: as off, and watched; the agent turns it into on or off when it knows enough */
	UP_MODE_ON = 2,
};

/*
 * Why a connection is not short-circuited, or why a message of a short-circuited connection went by TCP. The names are
 * what `underpassctl connections` shows as fallbackReason and what the metric
 * underpass_short_circuit_fallbacks_total{reason} counts: the enumerator without UP_WHY_, in lower case, dashes for
 * underscores.
 */
enum up_why {
	UP_WHY_NONE = 0,
	/* decided once, in connect() or when the connection is established */
	UP_WHY_NOT_LOCAL,     /* the peer is no enrolled pod of this node */
	UP_WHY_MODE_OFF,      /* one end says off */
	UP_WHY_LEARNING,      /* one end is auto and not learned yet */
	UP_WHY_NAMESPACES,    /* two namespaces, and not both ends say short-circuit-peers: mesh */
	UP_WHY_KERNEL,        /* this kernel lacks what safety needs: see `underpassctl check` */
	UP_WHY_UNCONFIRMED,   /* the server's end did not confirm: no source record, or its sequence number differs */
	UP_WHY_TABLE_FULL,    /* no room in a map */
	UP_WHY_OTHER_SOCKMAP, /* another owner's sockmap program is on the socket */
	UP_WHY_MPTCP,
	UP_WHY_ULP,           /* kTLS and the like */
	UP_WHY_REPAIR,        /* TCP_REPAIR */
	UP_WHY_SIGNED,        /* TCP-MD5, TCP-AO */
	UP_WHY_SOCKET_FILTER, /* SO_ATTACH_FILTER or SO_ATTACH_BPF */
	UP_WHY_ZEROCOPY,      /* SO_ZEROCOPY */
	UP_WHY_TIMESTAMPS,    /* SO_TIMESTAMP, SO_TIMESTAMPING */
	UP_WHY_PEEK_OFF,      /* SO_PEEK_OFF */
	UP_WHY_INQ,           /* TCP_INQ */
	UP_WHY_RCVLOWAT,      /* SO_RCVLOWAT > 1 */
	UP_WHY_SMALL_RCVBUF,  /* SO_RCVBUF set below UP_MIN_LOCKED_RCVBUF */
	UP_WHY_IO_URING,      /* the dialling task has an io_uring: IORING_OP_SEND_ZC fails on a mapped client socket */
	UP_WHY_DENIED,        /* by policy, when the connection was there already */
	UP_WHY_BRIEF,  /* learned, and so many of this pair's last connections were over after a message or two */
	UP_WHY_WORKER, /* one end is a worker's: decided here where its pod is not `on`; of what it sends, always */
	/* decided anew for every message */
	UP_WHY_KILL_SWITCH,     /* short-circuit is switched off for the node */
	UP_WHY_STOPPED,         /* ... for this connection: a label went, a namespace was detached */
	UP_WHY_WAITALL,         /* ... because a reader used MSG_WAITALL */
	UP_WHY_TRUNC,           /* ... because a reader used MSG_TRUNC, which discards TCP's bytes and not ours */
	UP_WHY_THREADS,         /* ... because one thread sends while another sleeps in recv() on the same socket */
	UP_WHY_BLOCKING,        /* ... because a reader sleeps in recv() (seen in auto only; `on` accepts it) */
	UP_WHY_SPLICE,          /* ... because a reader used splice() */
	UP_WHY_FIONREAD,        /* ... because somebody asked how much is queued: FIONREAD, SIOCATMARK */
	UP_WHY_UNREAD_CLOSE,    /* ... because a reader closed with unread data */
	UP_WHY_URGENT,          /* ... because of MSG_OOB */
	UP_WHY_CLOSING,         /* one end is not in a state that can still carry data */
	UP_WHY_FIRST_MESSAGES,  /* the reader's first UP_FIRST_READS reads are watched for what it cannot bear */
	UP_WHY_UNREAD,          /* the reader has not taken every TCP byte yet */
	UP_WHY_UNSEEN_READ,     /* ... or took some with a call that we do not see: splice, TCP_ZEROCOPY_RECEIVE */
	UP_WHY_READER_BUSY,     /* a reader holds the socket right now */
	UP_WHY_READER_WAITS,    /* a reader sleeps where only TCP bytes wake it */
	UP_WHY_QUEUE_FULL,      /* the reader is slow: the connection's cap is reached */
	UP_WHY_POD_BUDGET,      /* the pod's share of memory is used up */
	UP_WHY_NODE_BUDGET,     /* the node's share of memory is used up */
	UP_WHY_TCP_PRESSURE,    /* the kernel is short of TCP memory */
	UP_WHY_KEEPALIVE,       /* one message a minute goes by TCP, for the connection tracking of others */
	UP_WHY_REDIRECT_FAILED, /* the kernel refused */
	UP_WHY_COUNT,
};

/* State of one direction of a connection. */
enum up_dir_state {
	UP_DIR_TCP = 0,      /* messages go by TCP; every one asks whether it may enter UP_DIR_REDIRECT */
	UP_DIR_REDIRECT = 1, /* messages go socket to socket */
};

/* TCP states, as in the kernel's include/net/tcp_states.h (stable: part of TCP_INFO). */
enum up_tcp_state {
	UP_TCP_NONE = 0, /* this end is not seen: not on this node, or not enrolled */
	UP_TCP_ESTABLISHED = 1,
	UP_TCP_SYN_SENT = 2,
	UP_TCP_SYN_RECV = 3,
	UP_TCP_FIN_WAIT1 = 4,
	UP_TCP_FIN_WAIT2 = 5,
	UP_TCP_TIME_WAIT = 6,
	UP_TCP_CLOSE = 7,
	UP_TCP_CLOSE_WAIT = 8,
	UP_TCP_LAST_ACK = 9,
	UP_TCP_LISTEN = 10,
	UP_TCP_CLOSING = 11,
};

/*
 * Memory. A message that waits in the receiver's queue is charged by its bytes plus what the kernel spends on it
 * outside every cgroup (struct sk_msg and the slab round it).
 */
#define UP_MESSAGE_COST 1024u
#define UP_GRANT 16384u             /* tokens are taken from the pools in steps of this */
#define UP_KEPT_GRANTS 16u          /* ... and kept over an empty queue up to this many */
#define UP_MIN_LOCKED_RCVBUF 131072 /* an application that fixed a smaller SO_RCVBUF means it */
#define UP_DEFAULT_DIR_BYTES (4u << 20)
#define UP_DEFAULT_DIR_MESSAGES 1024u
#define UP_FIRST_READS 4u
#define UP_SURE_ATTEMPTS 8u
#define UP_KEEPALIVE_NS 60000000000ull
#define UP_SOURCE_TTL_NS 130000000000ull /* longer than a SYN is retried (tcp_syn_retries 6: 127 s) */

/* up_config: ARRAY of one. Written by the agent and by `underpassctl detach`, read on every message. The first two
 * fields stand where they stand in every layout: a tool of another version must find the kill switch. */
struct up_config {
	__u32 layout;        /* UP_LAYOUT of the writer */
	__u32 short_circuit; /* the kill switch: 0 sends every message by TCP */
	__u64 node_budget;   /* bytes that all short-circuited connections may hold in queues */
	__u64 pod_budget;    /* ... of which those towards one pod */
	__u32 dir_bytes;     /* cap of one direction: charge in bytes */
	__u32 dir_messages;  /* ... and messages */
	__u64 watched_ns;    /* every recv() since then is seen by up_recv; 0: none is */
	__u64 host_netns;    /* the node's own network namespace, 0: not known */
	__u64 pods_cgroup;   /* id of the cgroup below which all pods are, 0: not known */
	__u32 policed;       /* 1: some pod has a policy, or is captured */
	__u32 deny_unknown;  /* 1: who is below pods_cgroup, and neither in up_pods nor in up_known, connects nowhere */
};

#define UP_CAPTURE_OUTBOUND 1u /* what it dials, if a worker is there */
#define UP_CAPTURE_INBOUND 2u  /* what others dial of it, if a worker is there */
#define UP_CAPTURE_MUST 4u     /* ... and if none is, it is refused: the worker decides whether it may */
#define UP_CAPTURE_TUNNEL 8u /* what it dials of pods that up_remotes says a tunnel leads to, and what tunnels bring */

/* up_pods: HASH by netns cookie (__u64): the enrolled pods of this node. */
struct up_pod {
	enum up_mode mode;
	__u32 peers_mesh;   /* 1: short-circuit-peers: mesh */
	__u32 namespace_id; /* equal for two pods exactly when they are in one namespace */
	__u32 learned;      /* 1: nobody said `on`: it was learned */
	__u32 hash;         /* of its first address: by which a Maglev Service chooses for it, on every node alike */
	__u32 identity;     /* of its service account, UP_IDENTITY_FIRST_ACCOUNT and up */
	__u32 policy;       /* number of the set that says who may connect to it; 0: anybody */
	__u32 excludes;     /* 1: it has rows in up_excluded */
	__u32 capture;      /* UP_CAPTURE_...: which of its connections go through a worker */
	__u32 seal;         /* of identity, policy and capture: seal.h */
	struct up_addr ip4; /* its first address of each family, or zeros: what it dials from */
	struct up_addr ip6;
	char namespace_name[UP_NS_NAME_LEN];
	char name[UP_POD_NAME_LEN];
};

/* up_known: HASH by netns cookie (__u64) -> __u8: pods of this node that are seen and not enrolled. */

/* up_excluded: HASH -> __u8: what these pods dial at these ports is none of the mesh's business; or, inbound, what is
 * dialled of theirs is none of a worker's. */
struct up_excluded_key {
	__u64 netns_cookie;
	__be16 port;
	__u16 inbound;
	__u32 pad;
};

/* up_ips: HASH: the addresses of the enrolled pods of this node. */
struct up_ip_key {
	struct up_addr addr;
};

struct up_ip {
	__u64 netns_cookie;
	__u32 seal; /* seal.h */
	__u32 pad;
};

/* How a pod is reached. */
enum up_tunnel {
	UP_TUNNEL_NONE = 0,  /* by plain TCP */
	UP_TUNNEL_HBONE = 1, /* by HTTP/2 CONNECT over mutual TLS, at UP_TUNNEL_PORT */
};

/* Of the mesh, in each pod. The first two are at its loopback addresses; no tunnel leads to any. */
#define UP_OUTBOUND_PORT 15001
#define UP_INBOUND_PORT 15006
#define UP_TUNNEL_PORT 15008 /* HBONE's */

/* Of workers' sockets: a peer that is gone without a word is noticed within some three minutes, as by many an application's
 * own settings. */
#define UP_KEEP_IDLE_S 60
#define UP_KEEP_INTERVAL_S 20
#define UP_KEEP_PROBES 6

/* up_remotes: HASH: the pods of the mesh that workers of this node reach through a tunnel: those of other nodes, and those
 * of this one that ask for it. Port 0: every port that has no row of its own. */
struct up_remote_key {
	struct up_addr addr;
	__be16 port;
	__u16 pad;
	__u32 pad2;
};

struct up_remote {
	__u32 identity; /* of its service account, UP_IDENTITY_FIRST_ACCOUNT and up */
	enum up_tunnel tunnel;
	__u32 workload; /* as metrics name it: equal for the pods of one workload, and never 0 */
	__u32 seal;     /* of the three: seal.h */
	char namespace_name[UP_NS_NAME_LEN];
	char name[UP_POD_NAME_LEN];
};

/*
 * up_sources: HASH: who sent the SYN that is on its way. Published at TCP_CONNECT by the client's side, consumed at the
 * server's PASSIVE_ESTABLISHED. The server's netns stands in the key, so that 127.0.0.1 means another place in each
 * pod.
 */
struct up_source_key {
	__u64 server_netns;
	struct up_addr client;
	struct up_addr server;
	__be16 client_port;
	__be16 server_port;
	__u32 pad;
};

struct up_source {
	__u64 client_netns;
	__u64 client_cookie; /* also the key in up_conns */
	__u64 created_ns;
	__u32 isn;    /* the client's initial sequence number */
	__u32 worker; /* up_worker.number of whose dial it is, 0: the pod's own */
};

#define UP_TUNNELS 2

/* One end of a connection. */
struct up_end {
	__u64 netns_cookie; /* 0: this end is no enrolled pod of this node */
	__u64 cookie;       /* the socket's, 0: not seen */
	__u64 sock; /* address of its struct sock: a hint, worth nothing unless the cookie there is still `cookie` */
	struct up_addr addr;
	__be16 port;
	__u8 mapped; /* 1: in up_socks */
	__u8 worker; /* 1: the socket is a worker's, in this netns; UP_TUNNELS: ... and an end of a tunnel */
	enum up_tcp_state state;
};

/* One direction of a connection. Written by the sender's sk_msg program under the sender's socket lock, except `seen`,
 * and `reads` (written when the reader's recv() returns) and `held` (also given back by the sweep). */
struct up_dir {
	__u64 tcp_bytes; /* payload that went by TCP and was acknowledged; as of the last sweep or state change */
	__u64 redirected_bytes; /* payload that went socket to socket */
	__u64 redirected_messages;
	__u64 seen;        /* payload that recv() calls of the reader have returned, whichever way it came */
	__u64 last_tcp_ns; /* when a message last went by TCP */
	__u64 drained_at;  /* redirected_bytes - seen when the queue was empty: what exceeds it now is queued */
	__u64 traits;      /* bit UP_TRAIT(why): what its reader was seen to do */
	__u32 charge;      /* what the queue was charged with at the last redirected message; 0: drained */
	__u32 messages;    /* how many messages that was, at the most */
	__u32 held;        /* tokens taken from the pools */
	enum up_dir_state state;
	enum up_why why; /* why the last message that went by TCP did */
	__u32 first_seq; /* sequence number of the sender's first payload byte */
	__u64 counted;   /* of tcp_bytes + redirected_bytes, what is in up_traffic */
	__u16 reads;     /* recv() calls of the reader that returned payload, up to UP_FIRST_READS */
	__u16 sure;      /* attempts in a row at which every sleeping reader was accounted for */
	__u32 smallest;  /* size of the smallest message since the queue was last seen empty */
};

/* Indices into up_conn.end; up_conn.dir[X] is what end X sends. */
#define UP_CLIENT 0
#define UP_SERVER 1

/*
 * up_conns: HASH by connection id (__u64): one record per connection with an enrolled end on this node. The id is the
 * client's socket cookie where the client is enrolled here, else the server's. It lives until both ends are closed.
 */
struct up_conn {
	__u64 started_ns;
	__u64 established_ns; /* 0: not yet */
	enum up_way way;
	enum up_why why; /* way direct: why not short-circuit */
	__u32 stopped;   /* 1: no new message is short-circuited */
	__u32 closed;    /* bit UP_CLIENT, bit UP_SERVER: that end is closed */
	__u32 service;   /* up_service.id through which it was dialled, 0: none */
	__be16 dialled_port;
	__u16 tunnel;           /* enum up_tunnel: what its bytes go through between two workers */
	struct up_addr dialled; /* where service is not 0: the address that connect() was called with */
	/*
	 * A connection that a worker takes is two or more of TCP's. The first, from the client to the worker, is the one
	 * that is told and counted. Of what its pod dialled, that is at 127.0.0.1 or ::1: `original` is where it wanted to
	 * go. The others are legs: `carries` is the first one's id, `original` its client. A tunnel is a leg (or, dialled on
	 * another node, nobody's connection), of which many make use. Of what it brings from another node the leg to the
	 * application is the first of this node: told and counted, `tunnel` is set, `carries` is the tunnel.
	 */
	__u64 carries;
	__u64 original_netns; /* 0: no enrolled pod of this node */
	struct up_addr original;
	__be16 original_port; /* 0: there is none */
	__u16 paired;         /* 1: both ends are in up_socks, so that messages may be redirected */
	__u32 workload;       /* up_remote.workload of the end that up_remotes has a row of, 0: of none */
	enum up_why broken;   /* why it cannot go on as TCP would: nothing more is sent, broken_end is reset */
	__u32 broken_end;
	struct up_end end[2];
	struct up_dir dir[2];
};

/* up_budget: HASH by netns cookie of the receiving pod (__u64), 0 for the node: tokens out of the pools. */
struct up_budget {
	__u64 used;
};

/*
 * up_habits: HASH by netns cookie (__u64), one for every enrolled pod, made by the agent: what was seen of it on
 * connections with other enrolled pods of the node. Short-circuit cannot carry everything that sockets can do, and no
 * option announces some of it; so in `auto` the agent reads this until it knows enough.
 */
struct up_habits {
	__u64 traits;        /* bit UP_TRAIT(why): it did what `why` names */
	__u64 first_read_ns; /* when it first read payload, 0: not yet */
	__u64 reads;         /* recv() calls that returned payload */
	__u64 connections;   /* connections on which it read payload */
};

/* A reason for which a workload, not just a connection, stays on TCP. */
#define UP_TRAIT(why) (1ull << (why))

/* up_stats: PERCPU_ARRAY of one: what happened since the maps were made. */
struct up_stats {
	__u64 connections[3]; /* established, by enum up_way; those of the node's enrolled pods */
	__u64 redirected_messages;
	__u64 redirected_bytes;
	__u64 fallbacks[UP_WHY_COUNT]; /* connections and messages, by enum up_why */
	__u64 resets[UP_WHY_COUNT];    /* connections that could not go on, by enum up_why */
	__u64 flows_lost;              /* events that found no room in up_flows */
};

/* up_sk: SK_STORAGE: what a socket knows of itself. Freed with the socket. */
struct up_sk {
	__u64 conn;           /* id in up_conns, 0: none */
	__u64 carries;        /* of a worker's dial: the connection that it announced, 0: none */
	__u64 original_netns; /* led to a worker: as in up_conn */
	struct up_addr original;
	__be16 original_port;
	__u16 led;       /* 1: the kernel has `backend` for the peer, and the application sees `dialled` */
	enum up_way way; /* that connect() expects */
	__u32 end;       /* UP_CLIENT or UP_SERVER */
	enum up_why why; /* the decision of connect(): UP_WHY_NONE when this connection may be short-circuited */
	/* Led elsewhere by connect(), TCP or UDP: what the application asked for, and what it got. Of a connection that
	 * came through a worker: its client, and the worker's dial. */
	__u32 service; /* up_service.id, 0: not through one */
	__be16 dialled_port;
	__be16 backend_port;
	struct up_addr dialled;
	struct up_addr backend;
	__u32 alone; /* 1: it has a source record and no connection's: one of the node's own processes, or up_conns was full */
	__u32 errand;   /* 1: of a worker's dial: it carries nothing, and goes where up_errands says */
	__u32 tunnel;   /* 1: led to a worker, to go through a tunnel; or, of a worker's dial: it is to be one */
	__u32 workload; /* of where it goes: as in up_conn */
};

/* up_services: HASH: where Services are dialled. An unspecified address (0.0.0.0, ::) means any that is in up_nodes. */
struct up_service_key {
	struct up_addr addr;
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 pad;
	__u32 pad2;
};

#define UP_SERVICE_MAGLEV 1u /* the slot is the one that up_maglev has for the client, not a random one */
#define UP_SERVICE_EXTERNAL \
	2u /* not at its cluster IPs, which have backends of their own (internalTrafficPolicy: Local) */

/* A port of a Service in one family. All its frontends have the same value. */
struct up_service {
	__u32 id;         /* never re-used while a connection may name it */
	__u32 slots;      /* how many of up_backends are its own; 0: nothing is ready */
	__u32 affinity_s; /* a client stays with its backend for so many seconds after its last connection; 0: does not */
	__u32 flags;
	__be16 port; /* the Service's own, whichever frontend this is */
	__u8 protocol;
	__u8 v6;
	__u32 seal; /* of id, slots, affinity_s and flags: seal.h */
	char namespace_name[UP_NS_NAME_LEN];
	char name[UP_NS_NAME_LEN];
};

/* up_backends: HASH: the backends of a Service's port, numbered from 0. */
struct up_backend_key {
	__u32 service;
	__u32 slot;
};

struct up_backend {
	struct up_addr addr;
	__be16 port;
	__u16 pad;
	__u32 seal; /* seal.h */
};

/*
 * up_maglev: HASH: Maglev's table (Eisenbud et al., NSDI 2016, section 3.4) of a Service's port, in blocks: for a
 * client's hash the slot in up_backends. The number of entries is prime, as Maglev asks; a block and its key fit 2 KiB
 * of the kernel's memory.
 */
#define UP_MAGLEV_ENTRIES 49919u
#define UP_MAGLEV_BLOCK 960u
#define UP_MAGLEV_BLOCKS 52u

struct up_maglev_key {
	__u32 service;
	__u32 block;
};

struct up_maglev {
	__u16 slot[UP_MAGLEV_BLOCK];
};

/* up_affinity: LRU_HASH: which backend a pod has with a Service whose sessionAffinity is ClientIP. */
struct up_affinity_key {
	__u64 client_netns;
	__u32 service;
	__u32 pad;
};

struct up_affinity {
	struct up_backend backend;
	__u64 last_ns;
	__u32 slot; /* where that backend stood */
	__u32 pad;
};

/*
 * Policy. A set is what the policies of a workload come to, as clauses: a connection satisfies those whose bit is set in
 * the rows of who its client is, of both addresses and of the port, and the first of them decides. Clauses stand in the
 * order in which they count: those that bypass policy, that deny, that allow; then those that change nothing (dry run,
 * audit). A set never changes: another content has another number, so a pod goes from one to the next at one moment.
 */
#define UP_MAX_CLAUSES 2048u
#define UP_CLAUSE_WORDS (UP_MAX_CLAUSES / 64u)

#define UP_IDENTITY_UNAUTHENTICATED 0u
#define UP_IDENTITY_HOST 1u
#define UP_IDENTITY_FIRST_ACCOUNT 2u /* ... and up: a service account; never re-used */

/* up_policies: HASH by the set's number. */
struct up_policy {
	__u32 bypass_end; /* clauses below it bypass policy */
	__u32 deny_end;   /* ... deny */
	__u32 allow_end;  /* ... allow */
	__u32 dry_run_deny_end;
	__u32 dry_run_allow_end; /* and those from it on audit */
	__u32 clauses;
	__u32 closes;         /* 1: where no clause decides, nothing connects */
	__u32 dry_run_closes; /* 1: where no dry-run ALLOW matches, that is counted */
	__u32 unknown_identity_row;
	__u32 other_ports_row;
};

/* up_clauses: HASH: a row of bits, by clause. */
struct up_row_key {
	__u32 set;
	__u32 row;
};

struct up_clauses {
	__u64 words[UP_CLAUSE_WORDS];
};

/* up_arrival: PERCPU_ARRAY of 1: to whom the packet comes that is being looked up. */
struct up_arrival {
	__u64 server_netns;
};

#define UP_NO_CLAUSE 0xffffffffu
#define UP_NO_WORKER 0xfffffffeu     /* in place of a clause: no worker was there to decide (UP_CAPTURE_MUST) */
#define UP_POLICY_CLOSED 0xffffffffu /* a number that no set ever has: nobody connects */

/* up_denied: HASH: how often a clause denied, or (silent) would have denied, or audited -> __u64. */
struct up_denied_key {
	__u32 set;
	__u32 clause; /* UP_NO_CLAUSE: none allowed it, of a silent one: none in dry run would have; UP_NO_WORKER */
	__u32 end;    /* who was asked: UP_CLIENT in connect(), UP_SERVER when the SYN came */
	__u32 silent;
};

/* up_policy_who: HASH: set, identity -> row (__u32). Of what is not there: unknown_identity_row. */
struct up_who_key {
	__u32 set;
	__u32 identity;
};

/* up_policy_port: HASH: set, port -> row (__u32). Of what is not there: other_ports_row. */
struct up_port_key {
	__u32 set;
	__u16 port; /* host order */
	__u16 pad;
};

/* up_policy_ip: LPM_TRIE: set, which end, address -> row (__u32). Each set has 0.0.0.0/0 and ::/0 of both ends. */
struct up_block_key {
	__u32 prefix; /* of all that follows, in bits: UP_BLOCK_PREFIX and the network's own of 128 */
	__u32 set;
	__u32 end; /* UP_CLIENT or UP_SERVER */
	struct up_addr addr;
};

#define UP_BLOCK_PREFIX 64u

/* What the iterator up_udp_socks tells of each datagram socket that is connected through a Service. */
struct up_udp_socket {
	__u64 cookie;
	struct up_addr local;
	struct up_addr backend;
	__be16 local_port;
	__be16 backend_port;
	__u32 service;
};

/* up_nodes: HASH by struct up_ip_key: addresses of nodes, at which NodePorts are dialled. Value: 1. */

/* up_udp: LRU_HASH: how a datagram socket that is not connected was led, so that the answer seems to come from where
 * the question went. */
struct up_udp_key {
	__u64 cookie;
	struct up_addr backend;
	__be16 port;
	__u16 pad;
	__u32 pad2;
};

struct up_udp {
	struct up_addr dialled;
	__be16 port;
	__u16 pad;
	__u32 service;
};

/*
 * up_traffic: HASH: TCP connections of enrolled pods of this node, added up. The agent reads it once a second, adds
 * what is new to the metrics istio_tcp_*, and forgets rows of pods that are gone. The row with a key of zeros is there
 * from the beginning and takes what finds no room.
 */
struct up_traffic_key {
	__u64 client_netns; /* 0: no enrolled pod of this node */
	__u64 server_netns;
	__u32 service;  /* 0: none */
	__u32 workload; /* up_remote.workload of an end whose netns is 0; 0: not known */
	__u32 tunnel;   /* enum up_tunnel */
	__u32 pad;
};

struct up_traffic {
	__u64 opened;
	__u64 closed;
	__u64 sent;     /* bytes from client to server; of live connections as of the last second */
	__u64 received; /* ... and back */
	__u64 brief;    /* how many in a row were over after a message or two, up to now */
};

/* up_flows: RINGBUF of struct up_flow: connections of enrolled pods that began and ended. Lost when nobody takes them.
 */
enum up_flow_event {
	UP_FLOW_OPENED = 0,
	UP_FLOW_CLOSED = 1,
	UP_FLOW_REFUSED = 2, /* the Service has no backend that is ready: client and dialled alone are known */
	UP_FLOW_DENIED =
		3, /* by policy: both ends but the client's port are known, which side asked, and which clause it was */
};

struct up_flow {
	__u64 time_ns;
	__u64 started_ns;
	__u64 id; /* of the connection, 0 where it never came to be one */
	enum up_flow_event event;
	enum up_way way;
	__u32 service;
	__u8 protocol;
	__u8 end; /* of a denied one: who was asked, UP_CLIENT or UP_SERVER */
	__be16 dialled_port;
	struct up_addr dialled; /* where service is not 0 */
	__u64 client_netns;
	__u64 server_netns;
	struct up_addr client;
	struct up_addr server;
	__be16 client_port;
	__be16 server_port;
	enum up_why why;
	__u64 sent;
	__u64 received;
	__u32 policy; /* of a denied one: the set */
	__u32 clause; /* ... and the clause; UP_NO_CLAUSE: no ALLOW matched; UP_NO_WORKER */
	__u32 tunnel; /* enum up_tunnel */
	__u32 pad;
};

/*
 * Workers (docs: ARCHITECTURE.md, "Through a worker").
 *
 * up_workers: HASH by netns cookie (__u64): the pods whose connections a worker takes.
 */
struct up_worker {
	__u32 number; /* of the worker; pods of one have the same. Never 0 */
	__s32 dials;  /* dial sockets that it has for this pod: counted down by connections, set by the agent */
	__be16 port4; /* where its listeners for what the pod dials are: at 127.0.0.1 */
	__be16 port6; /* ... and ::1; 0: there is none */
	__u32 pad;
};

enum up_direction {
	UP_OUTBOUND = 0, /* dialled by the pod */
	UP_INBOUND = 1,  /* dialled by others */
	UP_TUNNEL = 2,   /* by workers, at UP_TUNNEL_PORT: what comes through is dialled by others */
};

/* up_listeners: SOCKHASH: listeners that are in workers' hands. Rows go by themselves with the sockets. The row of netns 0
 * is a socket that the agent alone has: without it there is no agent. */
struct up_listener_key {
	__u64 netns_cookie;
	__u32 direction; /* enum up_direction */
	__u32 v6;
};

/* up_worker_sk: SK_STORAGE: on sockets that the agent made for workers, and on what those accept. */
struct up_worker_sk {
	__u32 mine; /* 1 */
};

/* up_heartbeat: ARRAY of one: the agent writes it every second. */
struct up_heartbeat {
	__u64 beat_ns; /* 0: never */
	__u32 full;    /* 1: up_conns nearly is, and what has no record there a worker cannot carry */
	__u32 pad;
};

/*
 * up_errands: HASH -> __u8: where the worker of a pod may connect to on its own account, as the pod itself would: to ask
 * an authorization provider. A Service's address, or a backend's.
 */
struct up_errand_key {
	__u64 netns_cookie;
	struct up_addr addr;
	__be16 port;
	__u16 pad;
	__u32 pad2;
};

#define UP_HEARTBEAT_STALE_NS 5000000000ull

/*
 * Socket options of workers' sockets, answered by programs on the cgroup in which the agent makes them; level SOL_IP in
 * both families. Everybody else gets the kernel's own answer, ENOPROTOOPT. Besides these there is SO_ORIGINAL_DST (80;
 * SOL_IP with struct sockaddr_in, SOL_IPV6 with struct sockaddr_in6) of an accepted connection: where its client wanted
 * to go.
 */
#define UP_SO_PEER 0x7550    /* getsockopt, of an accepted connection: struct up_peer */
#define UP_SO_CARRIES 0x7551 /* setsockopt, before a dial: __u64, up_peer.id of the connection that it will carry */
#define UP_SO_ERRAND 0x7552  /* setsockopt, before a dial: __u32, 1: it carries nothing (up_errands) */
#define UP_SO_CLIENT 0x7553  /* setsockopt, after UP_SO_CARRIES of a tunnel, before the dial: struct up_tunnelled */

/* Whose connection it is that came through a tunnel: the application sees this one as its client. */
struct up_tunnelled {
	struct up_addr client; /* the tunnel's own client: a worker dials from the address of its pod */
	__be16 client_port;
	__u16 pad;
	__u32 pad2;
};

/* Who is at the other end of a connection that a worker accepted, as the kernel knows it. */
struct up_peer {
	__u64 id;           /* of the connection, for UP_SO_CARRIES */
	__u64 client_netns; /* 0: not attested: outside the mesh, another node, or forged */
	__u64 server_netns; /* 0: no enrolled pod of this node */
	__u32 identity;     /* the client's: UP_IDENTITY_... */
	__u32 direction;    /* enum up_direction */
	__u32 service;      /* up_service.id, 0: not dialled through one */
	__be16 client_port;
	__be16 server_port;
	__be16 dialled_port;   /* where service is not 0 */
	__u16 tunnel;          /* enum up_tunnel: how the server is to be reached */
	__u32 server_identity; /* of a server that is reached so: UP_IDENTITY_... */
	__u32 workload;        /* up_remote.workload of the end that is on another node, 0: not known */
	__u32 pad;
	struct up_addr client; /* the client's own socket */
	struct up_addr server; /* where it wanted to go: a backend of the Service, or what it dialled */
	struct up_addr dialled;
	char client_namespace[UP_NS_NAME_LEN]; /* empty where netns is 0 */
	char client_pod[UP_POD_NAME_LEN];
	char server_namespace[UP_NS_NAME_LEN];
	char server_pod[UP_POD_NAME_LEN];
	char service_namespace[UP_NS_NAME_LEN]; /* empty where service is 0 */
	char service_name[UP_NS_NAME_LEN];
};

#ifdef __cplusplus
#define UP_ASSERT(expression) static_assert(expression, #expression)
#else
#define UP_ASSERT(expression) _Static_assert(expression, #expression)
#endif

UP_ASSERT(sizeof(struct up_addr) == 16);
UP_ASSERT(sizeof(struct up_config) == 64);
UP_ASSERT(sizeof(struct up_pod) == 72 + UP_NS_NAME_LEN + UP_POD_NAME_LEN);
UP_ASSERT(sizeof(struct up_excluded_key) == 16);
UP_ASSERT(sizeof(struct up_ip_key) == 16);
UP_ASSERT(sizeof(struct up_ip) == 16);
UP_ASSERT(sizeof(struct up_remote_key) == 24);
UP_ASSERT(sizeof(struct up_remote) == 16 + UP_NS_NAME_LEN + UP_POD_NAME_LEN);
UP_ASSERT(sizeof(struct up_source_key) == 48);
UP_ASSERT(sizeof(struct up_source) == 32);
UP_ASSERT(sizeof(struct up_end) == 48);
UP_ASSERT(sizeof(struct up_dir) == 96);
UP_ASSERT(sizeof(struct up_conn) == 104 + 2 * 48 + 2 * 96);
UP_ASSERT(sizeof(struct up_budget) == 8);
UP_ASSERT(sizeof(struct up_habits) == 32);
UP_ASSERT(UP_WHY_COUNT <= 64);
UP_ASSERT(sizeof(struct up_stats) == 8 * (6 + 2 * UP_WHY_COUNT));
UP_ASSERT(sizeof(struct up_sk) == 112);
UP_ASSERT(sizeof(struct up_service_key) == 24);
UP_ASSERT(sizeof(struct up_service) == 24 + 2 * UP_NS_NAME_LEN);
UP_ASSERT(sizeof(struct up_backend_key) == 8);
UP_ASSERT(sizeof(struct up_backend) == 24);
UP_ASSERT(sizeof(struct up_maglev_key) == 8);
UP_ASSERT(sizeof(struct up_maglev) == 2 * UP_MAGLEV_BLOCK);
UP_ASSERT(UP_MAGLEV_BLOCK *UP_MAGLEV_BLOCKS >= UP_MAGLEV_ENTRIES);
UP_ASSERT(sizeof(struct up_affinity_key) == 16);
UP_ASSERT(sizeof(struct up_affinity) == 40);
UP_ASSERT(sizeof(struct up_policy) == 40);
UP_ASSERT(sizeof(struct up_row_key) == 8);
UP_ASSERT(sizeof(struct up_clauses) == 8 * UP_CLAUSE_WORDS);
UP_ASSERT(sizeof(struct up_who_key) == 8);
UP_ASSERT(sizeof(struct up_port_key) == 8);
UP_ASSERT(sizeof(struct up_block_key) == 28);
UP_ASSERT(sizeof(struct up_udp_key) == 32);
UP_ASSERT(sizeof(struct up_udp) == 24);
UP_ASSERT(sizeof(struct up_udp_socket) == 48);
UP_ASSERT(sizeof(struct up_traffic_key) == 32);
UP_ASSERT(sizeof(struct up_traffic) == 40);
UP_ASSERT(sizeof(struct up_flow) == 144);
UP_ASSERT(sizeof(struct up_denied_key) == 16);
UP_ASSERT(sizeof(struct up_worker) == 16);
UP_ASSERT(sizeof(struct up_errand_key) == 32);
UP_ASSERT(sizeof(struct up_listener_key) == 16);
UP_ASSERT(sizeof(struct up_tunnelled) == 24);
UP_ASSERT(sizeof(struct up_peer) == 104 + 2 * UP_POD_NAME_LEN + 4 * UP_NS_NAME_LEN);

#endif /* UNDERPASS_ABI_H */
