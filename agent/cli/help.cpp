// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/help.h"

namespace underpass::cli::help {

const char* const kProgram =
    R"(underpassctl - look into the Underpass mesh of this node, and take the node out of it

It asks the agent (underpassd) over its admin socket; `map`, `check` and `detach --node` also work without an agent.)";

const char* const kProgramMore = R"(Output:
  -o table   aligned columns for people; "-" is what is absent, sizes are in KiB, MiB, ... (1024)
  -o json    for programs: one line of JSON; lists are bare arrays, ids and cookies strings, times RFC 3339 in UTC,
             sizes plain numbers of bytes, and what is absent is null
  The answer goes to standard output, everything else to standard error. The options above may stand before or after
  the subcommand.

Exit status:
  0  done
  1  the answer is negative, or the command failed
  2  usage
  3  the agent cannot be reached
  4  what was named does not exist

Files:
  /run/underpass/admin.sock          the agent's admin socket, for root and the agent's own user (--run-dir)
  /sys/fs/bpf/underpass/             the pinned maps and links (--bpffs)
  /var/lib/underpass/detached        what `detach` asked for, until `attach` (--state-dir)
  /var/lib/underpass/workloads.json  what mode `auto` has learned (--state-dir)

Examples:
  underpassctl status
  underpassctl connections -o json | jq '.[] | select(.way == "short-circuit")'
  underpassctl explain --from shop/web-1 --to db:5432
  underpassctl flows -f
  underpassctl map dump up_pods
  underpassctl detach --node

`underpassctl SUBCOMMAND --help` says what a subcommand shows.)";

const char* const kStatus = "How the agent is: its state and why, what it listens on, how many pods it serves";
const char* const kStatusMore = R"(Lines:
  STATE         ready; degraded: serves, with something missing (the REASON lines say what); stale: serves the last
                configuration it could read, since STALE SINCE
  DETACHED      what `underpassctl detach` took out of the mesh
  PODS          enrolled: in the mesh; refused: wanted in the mesh and not possible (`underpassctl pods` says why)
  MEMORY        bytes that short-circuited connections hold in queues, of the node's budget (--node-budget)
  DENY ERRNO    what a denied connect() returns on this kernel
  METRICS       where Prometheus metrics are served; READY: where readiness is
  CAPABILITIES  what this kernel can do; `underpassctl check` shows it line by line

Examples:
  underpassctl status
  underpassctl status -o json | jq -r .state

Exit status:
  0 the agent answered, whatever its state; 3 it did not)";

const char* const kReady = "Whether the agent is ready, for a readiness probe";
const char* const kReadyMore =
    R"(Ready: it has heard of every kind of object once, and its programs are attached. With --instance, or the variable
UNDERPASS_INSTANCE, it must also be the agent with that --instance: while an upgrade has two on a node, one of them is.

Exit codes: 0 ready, 1 not ready, with the reason, 3 no agent answers.

Examples:
  underpassctl ready
  UNDERPASS_INSTANCE=$POD_UID underpassctl ready
)";
const char* const kCheck = "What this kernel can do, found by trying and not by its version";
const char* const kCheckMore = R"(Without an agent the kernel is probed by this command itself, which needs root.

Columns:
  NAME    the property
  RESULT  exact: connections behave as over TCP; guarded: they do because a guard watches, and falls back to TCP in time;
          tcp: it is missing, so connections stay on plain TCP
  REASON  what was found, or what is missing and what that means

Examples:
  underpassctl check
  underpassctl check -o json | jq '.[] | select(.result == "tcp")'

Exit status:
  0 every result is exact or guarded; 1 one is tcp, or this kernel cannot run the mesh at all)";

const char* const kPods = "The pods of this node: which are in the mesh, which are not, and why";
const char* const kPodsMore = R"~(Columns:
  NAMESPACE, NAME  the pod
  IPS              its addresses, the primary one first
  ENROLLED         yes: its connections are seen and decided; no: they are as without Underpass
  CAPTURE          always: its TCP connections go through a worker (annotation underpass.dev/capture); inbound: those
                   that others dial do; tunnel: those with pods that tunnels lead to do; none
  SHORT-CIRCUIT    on; off; learning: off until it is known to be safe for this workload
  WHY              of an enrolled pod: where its short-circuit mode comes from, which in mode auto is what was learned, or
                   how far learning has come; else why it is not enrolled
  IDENTITY         its SPIFFE ID
  NETNS            cookie of its network namespace: the key of map up_pods

Examples:
  underpassctl pods
  underpassctl pods -o json | jq -r '.[] | select(.enrolled | not) | "\(.namespace)/\(.name): \(.reason)"'

Exit status:
  0 done; 3 no agent)~";

const char* const kConnections = "The live connections that have an enrolled pod of this node at one end or both";
const char* const kConnectionsMore = R"(Columns:
  ID               of the connection: the client's socket cookie where the client is enrolled here, else the server's
  FROM, SOURCE     the client's pod and address
  TO, DESTINATION  the server's
  SERVICE          the Service through which it was dialled; the JSON has the address that was dialled too
  WAY              direct: plain kernel TCP; short-circuit: socket to socket; proxied: through a worker; (hbone): and
                   through a tunnel between two
  STATE            TCP's, at the client's end if that is seen, else at the server's
  SENT, RECEIVED   payload, from the client's point of view
  SHORT-CIRCUITED  how much of both went socket to socket
  FALLBACK         of a direct connection: why it is not short-circuited; of a short-circuited one: why its last message
                   that went by TCP did
  AGE              since connect() or accept()

Fallback reasons, decided once:
  not-local      the peer is no enrolled pod of this node
  mode-off       one end says short-circuit: off
  learning       one end is `auto`, and not learned yet
  namespaces     two namespaces, and not both ends say short-circuit-peers: mesh
  kernel         this kernel lacks what safety needs: see `underpassctl check`
  unconfirmed    the server's end has no proof of who called
  table-full     no room in a map
  other-sockmap  another program's sockmap owns the socket
  mptcp, ulp, repair, signed, socket-filter, zerocopy, timestamps, peek-off, inq, rcvlowat,
  small-rcvbuf, io-uring, denied, brief
                 the application uses a socket feature that only TCP serves
  worker         one end is a worker's: what it sends always goes by TCP
From some message on:
  kill-switch            short-circuit is off for the node
  stopped                ... for this connection: a label went, or a namespace was detached
  waitall                ... because a reader used MSG_WAITALL
  trunc                  ... because a reader used MSG_TRUNC
  threads                ... because one thread sends while another sleeps in recv() on the same socket
  blocking               ... because a reader sleeps in recv() (in `auto`; `on` accepts it)
  splice                 ... because a reader used splice()
  fionread               ... because somebody asked how much is queued: FIONREAD, SIOCATMARK
  unread-close           ... because a reader closed with unread data
  urgent                 ... because of MSG_OOB
Message by message:
  first-messages         the reader's first reads are watched for what short-circuit cannot carry
  unread                 the reader has not taken all earlier TCP bytes yet
  unseen-read            ... or took some with a call that cannot be seen (splice)
  reader-busy            a reader holds the socket right now
  reader-waits           a reader sleeps where only TCP bytes wake it
  queue-full             the reader is slow: the connection's cap is reached
  pod-budget, node-budget, tcp-pressure
                         memory is short: the pod's share, the node's, the kernel's for TCP
  keepalive              one message a minute goes by TCP, so that connection tracking does not forget
  closing                one end is not in a state that can still carry data
  redirect-failed        the kernel refused

Examples:
  underpassctl connections
  underpassctl connections -o json | jq 'group_by(.way) | map({(.[0].way): length}) | add'

Exit status:
  0 done; 3 no agent)";

const char* const kMap = "The pinned BPF maps, read from the kernel: works without an agent";

const char* const kMapList = "The pinned maps: their types and how full they are";
const char* const kMapListMore = R"(Columns:
  NAME      of the map, and of its file in <bpffs>/underpass/
  TYPE      as bpftool names it
  ENTRIES   how many there are now; "-" for a type that the kernel cannot list
  CAPACITY  how many there can be
  KEY, VALUE  their sizes

Examples:
  underpassctl map list
  underpassctl map list -o json | jq '.[] | select(.entries == .capacity)'

Exit status:
  0 done, also when nothing is pinned)";

const char* const kMapDump = "The contents of a pinned map, decoded by the types that the map itself carries";
const char* const kMapDumpMore =
    R"(Addresses are shown as text, ports in host order, enumerations, protocols and flags by name; counters that are 0,
padding, seals and kernel addresses are left out, and counters kept per CPU are summed. Times are nanoseconds since boot
(CLOCK_MONOTONIC). Maps of sockets show cookies. For what the kernel cannot list there is a note instead of entries.
The maps change while they are read: an entry that goes meanwhile is not shown.

Maps:
  up_config   settings, the kill switch among them     up_conns   live connections, by id
  up_pods     enrolled pods, by netns cookie           up_socks   sockets that payload may be sent to, by cookie
  up_ips      the pods' addresses                      up_budget  memory in use, by netns cookie; 0 is the node
  up_sources  connections whose SYN is on its way      up_stats   counters since the maps were made
  up_sk       what a socket knows of itself            up_habits  what pods were seen to do, by netns cookie
  up_nodes    addresses of nodes: NodePorts            up_traffic   bytes, by client, server and Service
  up_services  where Services are dialled; 0.0.0.0 and :: mean every address in up_nodes
  up_backends  their backends, by the number of a Service's port, and slot
  up_affinity  which backend a pod stays with, where the Service says sessionAffinity: ClientIP
  up_udp       how datagram sockets that are not connected were led
  up_flows     connections that began and ended: a stream, see `underpassctl flows`
  up_workers   pods whose connections go through a worker, by netns cookie
  up_listeners  the workers' listeners, by netns cookie, direction and family

Examples:
  underpassctl map dump up_pods
  underpassctl map dump all
  underpassctl map dump up_stats -o json | jq '.entries[0].value.fallbacks'

The JSON is {map, type, note, entries: [{key, value}]}, and of `all` an array of these.

Exit status:
  0 done; 4 no such map)";

const char* const kRelearn = "Forget what mode auto has learned of a pod's workload, and learn anew";
const char* const kRelearnMore =
    R"~(In mode `auto` (the default) a workload, which is a namespace, an owner (Deployment, StatefulSet, ...) and the images of
its containers, is short-circuited once its pods have read enough (8 connections and 32 reads, or 10 seconds and 8 reads)
without doing what short-circuit cannot carry, and never once they have. This forgets either, for the workload of the pod
that is named and so for all its pods on this node: new connections are plain until enough is known again, and live
ones are led back to TCP. Meant for a workload that did something once (a debugger, say) and is on TCP ever since.

It changes nothing where an annotation says on or off. `underpassctl pods` shows what is known.

Examples:
  underpassctl relearn shop/web-7d4b9c-x2x5k
  underpassctl pods -o json | jq -r '.[] | select(.shortCircuit == "off") | "\(.namespace)/\(.name)"'

The JSON is {workload: {namespace, owner, images}, was: "learning" | "on" | "off", pods: [NS/NAME]}.

Exit status:
  0 done; 1 failed; 3 no agent; 4 no such pod on this node)~";

const char* const kDetach = "Take the node, or one namespace, out of the mesh without losing a connection";
const char* const kDetachMore =
    R"(New connections are plain at once. Live ones go on: what was short-circuited is led back to TCP as soon as its queue is
drained. A connection whose reader does not take what is queued for it within --timeout is cut (reset: it could not go
on without losing bytes), listed, and the exit status is 1.

With --node, which is also what is meant when neither is given, every program, link and map is removed. That works
without an agent. It lasts until `underpassctl attach`, a restart of the agent and of the node included.

Examples:
  underpassctl detach
  underpassctl detach --namespace shop
  underpassctl detach --node --timeout 5m -o json

The JSON is {cut: [{id, description}], removed: [name of a pin]}.

Exit status:
  0 done, nothing was cut; 1 something was cut, or it failed; 3 --namespace and no agent; 4 no such namespace)";

const char* const kAttach = "Undo detach";
const char* const kAttachMore = R"(Without an agent this only makes sure that the next one attaches.

Examples:
  underpassctl attach
  underpassctl attach --namespace shop

Exit status:
  0 done; 1 failed; 3 the agent is there but does not answer)";

const char* const kVersion = "The version of this tool (the agent's is in `underpassctl status`)";

}  // namespace underpass::cli::help
